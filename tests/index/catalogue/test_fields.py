"""Parts of an item's text: claims about labelled text, free text and the key that sizes of one item share."""

import random
import time

import pytest

from index.catalogue.fields import Fields, Prose, details, name_key, parse_fields, parse_prose
from index.catalogue.fields.parse import LINE_LIMIT, NAME_LIMIT
from index.catalogue.units import UNITS

OUNCE, FLUID_OUNCE = 28.349523125, 29.5735295625

LABELLED = """Item Name: Acme Mild Sauce, 12 Ounce (Pack of 6)
Bullet Point 1: Made of tomatoes
Bullet Point 2: 2 grams of salt: very little
Product Description: A sauce.
It goes with all.
Value: 72.0
Unit: Fl Oz
"""


def test_a_labelled_text_is_cut_at_its_labels() -> None:
    assert parse_fields(LABELLED).name == "Acme Mild Sauce, 12 Ounce (Pack of 6)"
    bullets = ("Made of tomatoes", "2 grams of salt: very little")
    assert parse_prose(LABELLED) == Prose(bullets, "A sauce. It goes with all.")


def test_value_and_unit_go_before_the_name_and_are_not_multiplied_by_the_pack() -> None:
    fields = parse_fields(LABELLED)
    assert (fields.amount, fields.unit, fields.pack) == (pytest.approx(72 * FLUID_OUNCE), "millilitre", 6)


def listing(value: str, unit: str, name: str = "Acme Tea, 12 Ounce (Pack of 6)") -> Fields:
    return parse_fields(f"Item Name: {name}\nValue: {value}\nUnit: {unit}\n")


@pytest.mark.parametrize("value", ["nan", "0.0", "-3", "inf", "", "many", "1e300"])
def test_without_a_usable_value_the_total_is_read_from_the_name(value: str) -> None:
    assert listing(value, "Count").amount == pytest.approx(72 * OUNCE)
    assert listing(value, "Count").unit == "gram"


@pytest.mark.parametrize("unit", ["None", "", "nan", " none "])
def test_a_value_without_a_unit_has_the_unit_none(unit: str) -> None:
    assert (listing("4.0", unit).amount, listing("4.0", unit).unit) == (4.0, "none")


def test_a_value_in_an_unknown_unit_has_the_unit_other() -> None:
    assert (listing("4.0", "furlong").amount, listing("4.0", "furlong").unit) == (4.0, "other")


@pytest.mark.parametrize(
    ("unit", "canonical", "factor"),
    [("Fl Oz ", "millilitre", FLUID_OUNCE), ("OZ", "gram", OUNCE), ("ct", "count", 1), ("Tea Bags", "count", 1)],
)
def test_the_unit_line_is_read_however_it_is_spelled(unit: str, canonical: str, factor: float) -> None:
    assert (listing("2", unit).amount, listing("2", unit).unit) == (pytest.approx(2 * factor), canonical)


def test_a_value_inside_a_description_does_not_hide_the_last_one() -> None:
    text = "Item Name: Acme\nProduct Description: Great.\nValue: 9\nmore\nValue: 3.0\nUnit: Count\n"
    assert parse_fields(text).amount == 3.0


def test_labels_are_read_in_any_case_and_with_any_line_end() -> None:
    assert parse_fields(LABELLED.upper().replace("\n", "\r\n")).amount == pytest.approx(72 * FLUID_OUNCE)


def test_a_labelled_text_without_a_name_takes_its_first_bullet_or_its_description() -> None:
    assert parse_fields("Item Name:\nBullet Point 1: Soft\nProduct Description: Warm").name == "Soft"
    assert parse_fields("Product Description: Warm 3 oz").name == "Warm 3 oz"


def test_descriptions_of_labelled_listings_are_not_asked_for_the_amount() -> None:
    assert parse_fields("Item Name: Acme Salt\nProduct Description: makes 5 gallons").amount is None


def test_free_text_has_its_first_line_as_name() -> None:
    text = "\n  Acme   Soda, lemon\nCold and clear.\n- 330 ml can\n* pack of 6\n"
    assert parse_fields(text) == Fields("Acme Soda, lemon", 1980.0, "millilitre", 6)
    assert parse_prose(text) == Prose(("330 ml can", "pack of 6"), "Cold and clear.")


def test_a_long_first_line_has_its_first_sentence_as_name() -> None:
    line = "St. Acme soap of fine oils. It is good for hands! " + "Very good. " * 40 + "12 oz"
    fields = parse_fields(line)
    assert fields.name == "St. Acme soap of fine oils."
    assert parse_prose(line).description.startswith("It is good for hands!")
    assert fields.amount == pytest.approx(12 * OUNCE)


def test_a_long_first_line_of_one_sentence_is_cut_between_words() -> None:
    fields, prose = parse_fields("soap " * 100), parse_prose("soap " * 100)
    assert len(fields.name) <= LINE_LIMIT and set(fields.name.split()) == {"soap"}
    assert f"{fields.name} {prose.description}" == ("soap " * 100).strip()


def test_free_text_with_a_value_line_keeps_both() -> None:
    text = "Acme rope\nstrong\nValue: 2\nUnit: m\nAnd light"
    assert parse_fields(text) == Fields("Acme rope", 2000.0, "millimetre", 1)
    assert parse_prose(text) == Prose((), "strong And light")


@pytest.mark.parametrize("text", ["", " \n\t ", "\u200b", "\0"])
def test_a_text_that_says_nothing_has_empty_parts(text: str) -> None:
    assert parse_fields(text)[1:] == (None, "none", 1)
    assert parse_prose(text).bullets == ()


def test_a_name_is_bounded() -> None:
    assert len(parse_fields("Item Name: " + "soap " * 9_999).name) <= NAME_LIMIT
    assert len(parse_fields("x" * 9_999).name) <= NAME_LIMIT


def test_sizes_and_packs_of_one_item_share_a_key() -> None:
    keys = {
        name_key(name)
        for name in (
            "Acme Tea, 12 Ounce (Pack of 6)",
            "Acme Tea 20 oz (Pack of 2)",
            "ACME TEA - 6 x 1,5 kg",
            "A.cme T\u200bea 20-count",
            "Acme Tea",
        )
    }
    assert keys == {"acme tea"}


def test_names_that_differ_by_a_number_share_a_key_and_others_do_not() -> None:
    assert name_key("Soap No. 4 classic") == name_key("Soap No. 11 classic")
    assert name_key("Acme Green Tea 12 oz") != name_key("Acme Black Tea 12 oz")
    assert name_key("Crème brûlée") == "crème brûlée"


def test_a_name_of_nothing_but_numbers_is_its_own_key() -> None:
    assert name_key("12 oz") == "12 oz"
    assert name_key("25") != name_key("26")
    assert name_key("") == ""


@pytest.mark.parametrize("unit", ["1", "\n", "Item Name:\n", "- \n", "Value: 1\n", "½ ", "Bullet Point 1: 1\n", "a. "])
def test_a_megabyte_of_anything_is_parsed_at_once(unit: str) -> None:
    started = time.thread_time()
    name_key(parse_fields((unit * 1_000_000)[:1_000_000]).name)
    assert (
        time.thread_time() - started < 5
    )  # of the processor's time: it takes 0.7 at most; what is not linear takes minutes


def test_whatever_is_written_the_fields_are_whole() -> None:
    source = random.Random(0)  # noqa: S311
    pieces = [
        "Item Name:",
        "Value:",
        "Unit:",
        "Bullet Point 1:",
        "\n",
        "\n",
        "\n",
        "12",
        " oz",
        "\r",
        "x",
        "½",
        " ",
        "- ",
    ]
    for _ in range(2_000):
        text = "".join(source.choices(pieces, k=source.randrange(15)))
        fields = parse_fields(text)
        assert fields.unit in UNITS and fields.pack >= 1, text
        assert fields.amount is None or fields.amount > 0, text
        assert "\n" not in fields.name + parse_prose(text).description, text


BULLETED = "Item Name: Acme Tea\n{bullets}{description}Value: 12\nUnit: {unit}\n"


def bulleted(bullets=7, description="", unit="Ounce") -> str:
    said = "".join(f"Bullet Point {n}: b{n}\n" for n in range(1, bullets + 1))
    return BULLETED.format(bullets=said, description=description, unit=unit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bulleted(description="Product Description: Leaves.\n"), "Acme Tea\nLeaves.\n340.194 gram"),
        (bulleted(), "Acme Tea\nb1\nb2\nb3\nb4\nb5\n340.194 gram"),
        (bulleted(bullets=0, unit="fl oz"), "Acme Tea\n354.882 millilitre"),
        (bulleted(bullets=0, unit="smidgen"), "Acme Tea\n12 NA"),
        (bulleted(bullets=0, unit="None"), "Acme Tea\n12 NA"),
        ("Acme Tea", "Acme Tea"),
        ("", ""),
    ],
)
def test_details_prefer_the_description_to_the_first_five_bullets(text, said):
    assert details(text) == said
