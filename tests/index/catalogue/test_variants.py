"""Texts that say one thing less, or twice the amount: each is read again, and reads as it should."""

import pytest

from index.catalogue.fields import parse_fields
from index.catalogue.fields.rewrite import doubled, quantities, without_stated
from index.catalogue.fields.variants import Parts
from index.catalogue.units import read_quantity

COFFEE = """Item Name: Fauxberry Ground Coffee 12 oz (Pack of 2)
Bullet Point 1: 12 oz bags
Product Description: good
for 20 cups
Value: 24.0
Unit: Ounce"""
TEA = """Title: Acme Green Tea
Brand: Acme
Colour: red
Size: 330 ml
A good tea.
- for 20 people"""


@pytest.mark.parametrize(
    ("words", "twice", "without"),
    [
        ("Coffee, Smoky, 12 oz (Pack of 2)", "Coffee, Smoky, 24 oz (Pack of 2)", "Coffee, Smoky"),
        ("Olive Oil 12 oz (340 g), Pack of 2", "Olive Oil 24 oz (680 g), Pack of 2", "Olive Oil"),
        ("Zip ties 8 inch, 100 pack", "Zip ties 8 inch, 200 pack", "Zip ties"),
        ("6 x 330 ml Cola", "12 x 330 ml Cola", "Cola"),
        ("Mehl 0,5 kg", "Mehl 1 kg", "Mehl"),
        ("Pins 1,500 ct", "Pins 3,000 ct", "Pins"),
        ("Milk 1/2 gallon", "Milk 1 gallon", "Milk"),
        ("1 lb 8 oz bag of Rice", "1 lb 8 oz bag of Rice (Pack of 2)", "bag of Rice"),
        ("Cup for Straße, 250 g", "cup for strasse, 500 g", "cup for strasse"),  # folding moved its letters
        ("Pack of 6", "Pack of 12", ""),
        ("Coffee Pods x12 (Pack of 1)", None, "Coffee Pods"),  # what is left states twelve
        ("Chess set", None, "Chess set"),
        ("", None, ""),
    ],
)
def test_words_state_twice_the_amount_or_none(words: str, twice: str | None, without: str) -> None:
    assert doubled(words) == twice
    assert without_stated(words) == without
    assert read_quantity(without).amount is None
    if twice:
        before, after = read_quantity(words), read_quantity(twice)
        assert (after.amount, after.unit) == (pytest.approx(2 * (before.amount or 0)), before.unit)


def test_quantities_are_the_pieces_as_they_are_written() -> None:
    assert quantities("Fauxberry 12 Oz Coffee (Pack Of 2)") == ["12 Oz", "Pack Of 2"]


def test_a_labelled_text_loses_each_of_its_parts() -> None:
    parts = Parts(COFFEE)
    assert (parts.name, parts.amount, parts.attributes) == (
        "Fauxberry Ground Coffee", "680.389 gram", {},
    )  # fmt: skip
    lines = COFFEE.splitlines()
    assert parts.without_name().splitlines() == ["Item Name: 12 oz, Pack of 2", *lines[1:]]
    assert parts.without_amount().splitlines() == ["Item Name: Fauxberry Ground Coffee", *lines[1:4]]
    assert parts.without_prose().splitlines() == [lines[0], *lines[4:]]
    assert parts.without_words("Faux") == parts.without_words("") == COFFEE  # no word of it
    assert parts.without_words("fauxberry").splitlines()[0] == "Item Name: Ground Coffee 12 oz (Pack of 2)"
    assert parts.with_twice_the_amount() == COFFEE.replace("Coffee 12", "Coffee 24").replace("24.0", "48")


def test_a_free_text_loses_each_of_its_parts() -> None:
    parts, lines = Parts(TEA), TEA.splitlines()
    assert (parts.name, parts.attributes) == ("Acme Green Tea", {"Brand": "Acme", "Colour": "red"})
    assert parts.without_name().splitlines() == lines[1:]
    assert parts.without_amount().splitlines() == [*lines[:3], *lines[4:]]
    assert parts.without_prose().splitlines() == lines[:4]
    assert parts.without_attribute("Colour").splitlines() == [*lines[:2], *lines[3:]]
    assert parts.without_attribute("Brand").splitlines() == ["Title: Green Tea", *lines[2:]]
    assert parts.with_twice_the_amount() == TEA.replace("330", "660")


@pytest.mark.parametrize("text", [COFFEE, TEA, "Tea, 20 bags", "Brand: Acme\nWeight: 500 g\nSoap", "Tea\n\nnice\n2 kg"])
def test_each_change_reads_as_it_should_and_leaves_the_rest(text: str) -> None:
    before, parts = parse_fields(text), Parts(text)
    twice = parse_fields(parts.with_twice_the_amount() or "")
    assert (twice.amount, twice.unit) == (pytest.approx(2 * (before.amount or 0)), before.unit)
    without = parse_fields(parts.without_amount())
    assert without.amount is None
    for word in without.name.split():
        assert word in before.name
    assert parse_fields(parts.without_name()).amount == pytest.approx(before.amount)


@pytest.mark.parametrize(
    "text", ["", " \n ", "\0", "x" * 50_000, "\n" * 5_000 + "tea", "Brand:", "1/0 lb", "💾 3 kg" * 400]
)
def test_no_text_is_too_odd(text: str) -> None:
    parts = Parts(text)
    parts.without_name(), parts.without_amount(), parts.without_prose(), parts.with_twice_the_amount()
