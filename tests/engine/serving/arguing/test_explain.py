"""What moves a price: each part of an item is left out, in one batch, and priced as a query of its own would be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.serving.arguing.explain import variants_of
from engine.serving.pricer import Item, Pricer, Selection
from index.errors import DataRefused

TEXT = """Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)
Bullet Point 1: Roasted slowly
Value: 24
Unit: Ounce"""
Price = Callable[..., Any]


@pytest.fixture(scope="module")
def pricer(shop: Any) -> Pricer:
    return Pricer.open(shop.index)


def test_each_part_is_priced_as_the_text_without_it_would_be(
    pricer: Pricer, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    priced = pricer.price_items
    monkeypatch.setattr(
        pricer, "price_items", lambda items, *a, **k: batches.append(len(items)) or priced(items, *a, **k)
    )
    item = Item(TEXT, str(shop.photograph))
    explanation = pricer.explain(item)
    assert batches == [7]  # one batch: the item, its parts, twice the amount
    assert [effect.part for effect in explanation.parts] == [
        "name",
        "amount",
        "first words",
        "description",
        "photograph",
    ]
    (quote,) = pricer.price([item])
    assert explanation.quote.price == pytest.approx(quote.price, rel=1e-5)
    lines = TEXT.splitlines()
    oracle = [
        ["Item Name: 12 oz, Pack of 2", *lines[1:]],
        ["Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut", lines[1]],
        ["Item Name: Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)", *lines[1:]],
        [lines[0], *lines[2:]],
        lines,
        [lines[0].replace("12 oz", "24 oz"), lines[1], "Value: 48", lines[3]],
    ]
    assert explanation.twice is not None
    for text, effect in zip(oracle, (*explanation.parts, explanation.twice), strict=True):
        image = None if effect.part == "photograph" else item.image
        (alone,) = pricer.price([Item("\n".join(text), image)])
        assert effect.price == pytest.approx(alone.price, rel=1e-3)
        assert effect.change == pytest.approx(alone.price / quote.price - 1, abs=2e-3)
    assert explanation.twice.says == "1,360.78 gram"


def test_an_item_of_one_part_says_that_nothing_is_left(pricer: Pricer) -> None:
    explanation = pricer.explain(Item("rope"))
    assert [(effect.part, effect.price) for effect in explanation.parts] == [("name", None)]
    assert explanation.twice is None


def test_without_its_name_an_item_is_priced_by_its_photograph(pricer: Pricer, shop: Any, tmp_path: Path) -> None:
    name, photograph = "Fauxberry Ground Coffee", str(shop.photograph)
    (alone,) = pricer.price([Item(image=photograph)])
    (left_out,) = [effect for effect in pricer.explain(Item(name, photograph)).parts if effect.part == "name"]
    assert left_out.price == pytest.approx(alone.price, rel=1e-3) and left_out.change is not None
    (tmp_path / "bad.png").write_text("no image")
    for image in (str(tmp_path / "bad.png"), " ", None):  # by words alone, and nothing is left without them
        parts = pricer.explain(Item(name, image)).parts
        assert [(effect.price, effect.change) for effect in parts if effect.part == "name"] == [(None, None)]
        assert all(effect.price for effect in parts if effect.part != "name")


def test_an_index_that_looks_at_no_photograph_has_no_variant_of_one(pricer: Pricer) -> None:
    item = Item("Acme", "acme.jpg")
    variants, _ = variants_of(item, item.text, frozenset(), lambda words: 0, photograph=False)
    assert [(variant.part, variant.item) for variant in variants] == [("name", None)]


def test_a_photograph_beside_markup_without_words_has_no_parts(pricer: Pricer, shop: Any, tmp_path: Path) -> None:
    assert pricer.explain(Item("<p></p>", str(shop.photograph))).parts == ()
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataRefused, match=r"could not be used \(not an image\) and there are no words"):
        pricer.explain(Item("<p></p>", str(tmp_path / "bad.png")))


def test_a_photograph_alone_has_no_parts(pricer: Pricer, shop: Any) -> None:
    assert pricer.explain(Item(image=str(shop.photograph))).parts == ()


def test_comparables_that_are_left_out_are_left_out_of_every_variant(pricer: Pricer) -> None:
    row = pricer.price([Item(TEXT)])[0].comparables[0].item_id
    explanation = pricer.explain(Item(TEXT), selection=Selection(without=(row,)))
    (quote,) = pricer.price([Item(TEXT)], selection=Selection(without=(row,)))
    assert explanation.quote.price == pytest.approx(quote.price, rel=1e-5)
    assert explanation.quote.before is not None


def test_each_further_column_is_left_out_once() -> None:
    item = Item("Acme tea", further={"brand": "Acme", "weight": 0.4, "colour": None})
    variants, twice = variants_of(item, item.text, frozenset(), lambda words: 0, photograph=False)
    assert [(variant.part, variant.says) for variant in variants] == [
        ("name", "Acme tea"),
        ("brand", "Acme"),
        ("weight", "0.4"),
    ]
    assert variants[1].item == replace(item, text="tea", further={**item.further, "brand": None})
    assert variants[2].item == replace(item, further={**item.further, "weight": None})
    assert twice is None


@pytest.mark.parametrize(
    ("rows", "opening"),
    [
        ({"Harney": 40, "Harney &": 40, "Harney & Sons": 38}, "Harney & Sons"),
        ({"Harney": 40, "Harney &": 2}, "Harney"),
        ({"Harney": 40, "Harney &": 25, "Harney & Sons": 12}, "Harney &"),  # fewer than half go on
        ({"Harney": 2}, ""),
    ],
)
def test_first_words_are_taken_as_long_as_other_names_go_on_with_them(rows: dict[str, int], opening: str) -> None:
    item = Item("Harney & Sons Earl Grey")
    variants, _ = variants_of(item, item.text, frozenset(), lambda words: rows.get(words, 0), photograph=False)
    assert [variant.says for variant in variants if variant.part == "first words"] == [opening] * bool(opening)


def test_names_are_counted_that_begin_with_some_words_and_go_on(pricer: Pricer) -> None:
    names = [row["name"] for row in pricer.reference.shown(np.arange(len(pricer.reference.log_price)))]
    words = names[0].split()[0]
    count = sum(name.lower().startswith(f"{words.lower()} ") for name in names)
    assert pricer.reference.names_beginning(words.upper()) == count > 0
    assert pricer.reference.names_beginning("%_\\[(") == 0


def test_an_item_of_nothing_is_refused_as_by_a_query(pricer: Pricer) -> None:
    with pytest.raises(DataRefused, match="Item 1 has no text and no photograph"):
        pricer.explain(Item(" "))


def test_the_command_shows_what_moves_the_price(price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = price("query", TEXT, "--index", shop.index, "--explain", "--json").json
    explain = answer["explain"]
    assert [effect["part"] for effect in explain["parts"]] == ["name", "amount", "first words", "description"]
    assert set(explain["twice"]) == {"part", "says", "price", "change"}
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = price("query", TEXT, "--index", shop.index, "--explain").out
        assert max(map(len, out.splitlines())) <= columns
        for effect in (*explain["parts"], explain["twice"]):
            assert f"{effect['change']:+.1%}" in out
    assert "with twice the amount" in out
    assert "explain" not in price("query", TEXT, "--index", shop.index, "--json").json
