"""Names of free text: claims about labelled lines, conditions, banners and first lines that many items share."""

import pytest

from index.catalogue.fields import name_first, parse_fields, parse_prose, shared_first_lines
from index.catalogue.fields.labels import CONDITIONS, LABELS

NAME = "Acme Tea, 20 bags"
KINDS = ("Kettle", "Lamp", "Rope", "Soap", "Honey", "Chair", "Scarf", "Paint", "Drill", "Vase", "Rug", "Oil", "Pan")
MAKERS = (
    "Acme",
    "Bogus",
    "Corvo",
    "Delmont",
    "Evergreen",
    "Fernway",
    "Gullwing",
    "Halden",
    "Ironbark",
    "Juno",
    "Kestrel",
)


@pytest.mark.parametrize(
    "label",
    "Title Name Product Item TITLE Titel Produktname Artikel Titre Produit Título Producto Titolo 标题".split(),
)
def test_a_line_that_a_label_makes_the_name_is_the_name(label: str) -> None:
    for colon in (": ", ":", " : ", "\uff1a"):
        assert parse_fields(f"Brand: Acme\n{label}{colon}{NAME}\nSoft and warm") == (NAME, 20.0, "count", 1), colon


def test_a_title_goes_before_what_stands_above_it_and_another_name_only_before_labels() -> None:
    assert parse_fields(f"Free delivery\nTitle: {NAME}").name == NAME
    assert parse_fields(f"{NAME}\nProduct: beverage").name == NAME


@pytest.mark.parametrize(
    "line",
    (
        "Brand: Acme|Category: Tea|Condition: New|Colour: Green|Color: Green|Size: L|Material: Wool|Description: Soft|"
        "Marke: Acme|Zustand: Neu|Farbe: Grün|Größe: L|Marque : Acme|Couleur : vert|Marca: Acme|Categoría: Té|"
        "Colore: verde|Merk: Acme|品牌\uff1a普瑞"
    ).split("|"),
)
def test_an_attribute_above_the_name_is_not_the_name_and_stays_in_the_prose(line: str) -> None:
    text = f"{line}\n{NAME}\nSoft"
    assert parse_fields(text).name == NAME
    assert parse_prose(text).description == f"{line} Soft"


@pytest.mark.parametrize("word", ["New", "USED", "Refurbished", "Like new", "Neu", "Gebraucht", "Occasion", "(Used)"])
def test_a_condition_above_the_name_is_not_the_name(word: str) -> None:
    assert parse_fields(f"{word}\n{NAME}").name == NAME
    assert parse_fields(word).name == word


def test_a_text_of_nothing_but_attributes_is_named_by_its_first_line() -> None:
    assert parse_fields("Brand: Acme\nColour: green").name == "Brand: Acme"
    assert parse_fields("Used\nBrand: Acme").name == "Used"


def test_a_first_line_that_ends_in_a_colon_is_passed_over_where_more_follows() -> None:
    text = f"Our listing of the day:\n{NAME}\nSoft"
    assert parse_fields(text) == parse_fields(NAME)
    assert parse_prose(text).description == "Soft"
    assert parse_fields(f"Title:\n{NAME}").name == NAME
    assert parse_fields("Our listing of the day:").name == "Our listing of the day:"


def test_a_colon_inside_a_line_makes_no_label_of_any_word() -> None:
    assert parse_fields("Lamp: the warm one\nFor the desk").name == "Lamp: the warm one"
    assert parse_fields("Departs 12:30\nA novel").name == "Departs 12:30"


@pytest.mark.parametrize("label", ["Size", "Net weight", "Contents", "Inhalt", "Contenance", "Contenido", "容量"])
def test_an_amount_that_the_name_lacks_is_read_from_the_line_of_its_size(label: str) -> None:
    assert parse_fields(f"Acme Soda\n{label}: 330 ml\nServe 2 kg of ice")[1:] == (330.0, "millilitre", 1)
    assert parse_fields(f"Acme Soda (pack of 6)\n{label}: 330 ml")[1:] == (1980.0, "millilitre", 6)
    assert parse_fields(f"Acme Soda 500 ml\n{label}: 330 ml")[1:] == (500.0, "millilitre", 1)


def test_the_challenges_own_labels_go_before_those_of_other_shops() -> None:
    text = f"Title: Another\nItem Name: {NAME}\nBullet Point 1: Soft\nBrand: Acme\n"
    assert parse_fields(text).name == NAME
    assert parse_prose(text) == (("Soft Brand: Acme",), "Title: Another")
    assert parse_fields("Title: Another\nBullet Point 1: Soft").name == "Another"


def test_every_label_is_as_it_is_looked_up_and_none_is_a_condition() -> None:
    assert all(label == " ".join(label.casefold().split()) for label in [*LABELS, *CONDITIONS])
    assert LABELS.keys().isdisjoint(CONDITIONS)


def shop(line: str = "", every: int = 1, rows: int = 260) -> list[str]:
    """Texts of many items, of which every so-manieth has a line in front."""
    texts = [f"{MAKERS[row % 11]} {KINDS[row % 13]} {'new' * (row // 143)} {row} cm\nGood." for row in range(rows)]
    return [f"{line}\n{text}" if line and row % every == 0 else text for row, text in enumerate(texts)]


def test_a_first_line_that_many_different_items_share_is_found_and_names_nothing() -> None:
    clean, texts = shop(), shop("Free  Delivery from 50", every=3)
    shared = shared_first_lines(texts)
    assert shared == {"free delivery from 50"}
    assert [parse_fields(text, shared) for text in texts] == [parse_fields(text) for text in clean]
    assert [name_first(text, shared, kept=False) for text in texts] == clean


def test_two_shared_lines_one_below_the_other_are_both_found() -> None:
    assert shared_first_lines(shop("Free delivery\nOnly today", every=2)) == {"free delivery", "only today"}


def test_a_shared_line_above_labelled_lines_is_found() -> None:
    texts = [f"Free delivery\nBrand: Acme\nTitle: {KINDS[row % 13]} {'x' * (row + 3)}" for row in range(40)]
    assert shared_first_lines(texts) == {"free delivery"}


def test_a_line_that_few_items_share_is_a_name() -> None:
    assert shared_first_lines(shop("Free delivery", every=26)) == frozenset()  # 10 of 260
    assert shared_first_lines(shop("Free delivery", every=60, rows=1_200)) == frozenset()  # 20 of 1,200
    assert shared_first_lines(shop("Free delivery", every=40, rows=1_200)) == {"free delivery"}


def test_variants_share_their_name_and_keep_it() -> None:
    sizes = [f"Acme Scarf\nSize: {size}\nColour: {colour}" for size in range(30) for colour in ("red", "blue")]
    lengths = [f"Acme Rope\n{length} m\nStrong" for length in range(1, 60)]
    assert shared_first_lines(sizes + lengths) == frozenset()


def test_labelled_texts_and_texts_of_one_line_share_nothing() -> None:
    labelled = [f"Item Name: Tea\nBullet Point 1: {KINDS[row % 13]} {'y' * row}\nValue: {row}" for row in range(60)]
    assert shared_first_lines(labelled) == frozenset()
    assert shared_first_lines(["Brand: Acme\n" + text for text in shop()]) == frozenset()
    assert shared_first_lines(["Tea"] * 60 + ["", "\n", "Tea\n"]) == frozenset()


def test_a_shared_line_alone_is_still_a_name() -> None:
    assert parse_fields("Free delivery", {"free delivery"}).name == "Free delivery"
    assert parse_fields("Free delivery\nBrand: Acme", {"free delivery"}).name == "Free delivery"
