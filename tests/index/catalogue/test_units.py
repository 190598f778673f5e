"""Amounts: claims about the table of units and the grammar of amounts and packs."""

import random
import time

import pytest

from index.catalogue.units import (
    UNITS,
    Quantity,
    find_unit,
    is_sane,
    read_quantity,
    without_quantities,
)
from index.catalogue.units.numbers import MAX_PACK
from index.catalogue.units.table import MAX_AMOUNT, SPELLINGS, TABLE

OUNCE, FLUID_OUNCE, POUND = 28.349523125, 29.5735295625, 453.59237


def test_the_table_has_at_least_sixty_spellings_and_none_of_them_twice() -> None:
    listed = [s for factors in TABLE.values() for spellings in factors.values() for s in spellings.split(", ")]
    assert len(listed) == len(set(listed)) == len(SPELLINGS) >= 60


def test_every_spelling_in_the_table_is_found_as_it_stands() -> None:
    for spelling, (unit, factor) in SPELLINGS.items():
        assert find_unit(spelling) == (unit, factor)
        assert unit in UNITS and factor > 0


def test_units_agree_with_each_other() -> None:
    assert find_unit("lb")[1] == pytest.approx(16 * find_unit("oz")[1])
    assert find_unit("gal")[1] == pytest.approx(4 * find_unit("qt")[1])
    assert find_unit("qt")[1] == pytest.approx(2 * find_unit("pt")[1])
    assert find_unit("pt")[1] == pytest.approx(16 * find_unit("fl oz")[1])
    assert find_unit("yd")[1] == pytest.approx(3 * find_unit("ft")[1])
    assert find_unit("ft")[1] == pytest.approx(12 * find_unit("inch")[1])
    assert find_unit("sq ft")[1] == pytest.approx((find_unit("ft")[1] / 1000) ** 2)


@pytest.mark.parametrize("spelling", ["Fl Oz", "fl. oz.", "FL-OZ", "Fl Oz ", "Fluid Ounce", "fl.oz", "floz", "FL"])
def test_an_ounce_said_to_be_fluid_is_a_volume(spelling: str) -> None:
    assert find_unit(spelling) == ("millilitre", FLUID_OUNCE)


@pytest.mark.parametrize("spelling", ["oz", "OZ.", "Ounce", "ounces"])
def test_an_ounce_not_said_to_be_fluid_is_a_mass(spelling: str) -> None:
    assert find_unit(spelling) == ("gram", OUNCE)


@pytest.mark.parametrize("spelling", ["furlong", "", "ounce (approximately)", "fl oz per day"])
def test_an_unknown_unit_is_other(spelling: str) -> None:
    assert find_unit(spelling) == ("other", 1.0)


@pytest.mark.parametrize(
    ("words", "amount", "unit", "pack"),
    [
        ("Acme Sauce, 12 Ounce", 12 * OUNCE, "gram", 1),
        ("Acme Sauce 12oz", 12 * OUNCE, "gram", 1),
        ("Acme Sauce 12-oz. jar", 12 * OUNCE, "gram", 1),
        ("Acme Soda 8 fl.oz", 8 * FLUID_OUNCE, "millilitre", 1),
        ("Acme Soda 8 fl. oz. can", 8 * FLUID_OUNCE, "millilitre", 1),
        ("Flour 2.5 lbs", 2.5 * POUND, "gram", 1),
        ("Flour .5 lb", 0.5 * POUND, "gram", 1),
        ("Flour 1\u00a0kg", 1000, "gram", 1),
        ("Oil 75cl", 750, "millilitre", 1),
        ("Milk 1 gal", 128 * FLUID_OUNCE, "millilitre", 1),
        ("Eggs 2 dozen", 24, "count", 1),
        ("Tea, 20 tea bags", 20, "count", 1),
        ("Socks, 3 pairs", 6, "count", 1),
        ("Cable 6 ft", 6 * 304.8, "millimetre", 1),
        ('Pan, 10" wide', 254, "millimetre", 1),
        ("Foil 75 sq ft", 75 * 0.09290304, "square metre", 1),
        ("Iron 500 mg", 0.5, "gram", 1),
    ],
)
def test_an_amount_is_read_in_the_canonical_member(words: str, amount: float, unit: str, pack: int) -> None:
    assert read_quantity(words) == Quantity(pytest.approx(amount), unit, pack)


@pytest.mark.parametrize(
    ("written", "grams"),
    [
        ("1,5 kg", 1500),
        ("12,50 g", 12.5),
        ("0,500 kg", 500),
        ("1,500 g", 1500),
        ("1,234,567 g", 1_234_567),
        ("1,234.5 g", 1234.5),
        ("1.234,5 g", 1234.5),
        ("1.500 kg", 1500),
        ("1/2 kg", 500),
        ("1 1/2 kg", 1500),
        ("1-1/2 kg", 1500),
        ("½ kg", 500),
        ("1½ kg", 1500),
    ],
)
def test_a_number_is_read_as_shops_write_it(written: str, grams: float) -> None:
    assert read_quantity(f"Acme Flour {written}") == Quantity(pytest.approx(grams), "gram", 1)


@pytest.mark.parametrize(
    "sign",
    [
        "pack of 6",
        "(Pack of 6)",
        "6 pack",
        "6-pack",
        "6-pk",
        "6pk",
        "PK- 6",
        "case of 6",
        "set of 6",
        "Pack of Six",
        "(Pack-6)",
        "6 per case",
        "box of 6",
        "Pack of 6 Cans",
        "Six Pack",
        "6 Packs",
    ],
)
def test_every_sign_of_a_pack_multiplies_the_amount(sign: str) -> None:
    assert read_quantity(f"Acme Soda 330 ml, {sign}") == Quantity(1980.0, "millilitre", 6)
    assert read_quantity(f"{sign}, Acme Soda 330 ml") == Quantity(1980.0, "millilitre", 6)


@pytest.mark.parametrize("words", ["6 x 330 ml", "6x330ml", "330 ml x 6", "330mlx6", "6 × 330 ml", "6/330 ml"])
def test_a_multiplied_amount_is_a_pack(words: str) -> None:
    assert read_quantity(f"Acme Soda {words}") == Quantity(1980.0, "millilitre", 6)


def test_a_fraction_that_is_not_reduced_is_a_pack_as_wholesalers_write_it() -> None:
    assert read_quantity("Sauce 4/8 kg") == Quantity(32_000.0, "gram", 4)
    assert read_quantity("Sauce 3/8 kg") == Quantity(375.0, "gram", 1)


def test_a_pack_said_twice_counts_once_and_packs_of_packs_multiply() -> None:
    assert read_quantity("Soda 6 x 330 ml (pack of 6)") == Quantity(1980.0, "millilitre", 6)
    assert read_quantity("Soda 6 x 330 ml (pack of 4)") == Quantity(7920.0, "millilitre", 24)


@pytest.mark.parametrize(
    ("words", "amount", "unit", "pack"),
    [
        ("Energy drink 250ml (24 x 250ml)", 6000, "millilitre", 24),
        ("Cola 330 ml, 6 x 330 ml", 1980, "millilitre", 6),
        ("Beans 415g - 24 x 415g", 9960, "gram", 24),
        ("Crisps 165 g (Pack of 6 x 165g)", 990, "gram", 6),
        ("Cola 330 ml, 330 ml x 6, 6-pack", 1980, "millilitre", 6),
        ("Cola 8.4 fl oz (24 x 250 ml)", 6000, "millilitre", 24),
        ("Tea 20 bags (4 x 20 bags)", 80, "count", 4),
    ],
)
def test_a_size_that_is_said_again_with_its_count_is_there_so_often(
    words: str, amount: float, unit: str, pack: int
) -> None:
    assert read_quantity(words) == Quantity(pytest.approx(amount), unit, pack)


def test_a_total_beside_the_count_of_a_smaller_size_stays_the_total() -> None:
    assert read_quantity("Rice 5 kg (2 x 2.5 kg)") == Quantity(5000.0, "gram", 2)
    assert read_quantity("Cola 24 pack (24 x 330 ml)") == Quantity(7920.0, "millilitre", 24)
    assert read_quantity("Coffee pods 96 ct (4 x 24 ct)") == Quantity(96.0, "count", 4)
    assert read_quantity("Coffee pods 96 count (24 count, pack of 4)") == Quantity(96.0, "count", 4)


def test_a_total_is_not_multiplied_by_the_pack_whatever_its_unit() -> None:
    for total, unit in (("9 l", "millilitre"), ("30 m", "millimetre"), ("12 sqm", "square metre"), ("72 ct", "count")):
        expected = read_quantity(total).amount
        assert read_quantity(f"Thing, total {total}, Pack of 6") == Quantity(expected, unit, 6)
        assert read_quantity(f"Thing 6-pack, {total} total") == Quantity(expected, unit, 6)
        assert without_quantities(f"Thing, total {total}, Pack of 6").split() == ["thing,", ","]


def test_a_count_that_is_the_pack_itself_is_not_multiplied_by_it() -> None:
    assert read_quantity("Favours 36ct (36 Pack)") == Quantity(36.0, "count", 36)
    assert read_quantity("Tortillas, 6 Count - 6 Packs") == Quantity(36.0, "count", 6)
    assert read_quantity("Mints, 12 count (pack of 12)") == Quantity(144.0, "count", 12)
    assert read_quantity("Gum, 6 pieces each, 6-pack") == Quantity(36.0, "count", 6)


@pytest.mark.parametrize(
    ("words", "bottles"),
    [
        ("Riesling 6 Fl. à 0,75 l", 6),
        ("Riesling 12 Fl. je 0,75 l", 12),
        ("Riesling 6 Fl x 0,75 l", 6),
        ("Riesling 0,75 l (9 Fl.)", 9),
        ("Riesling 32 Fl. à 0,75 l", 32),
        ("Riesling 2er Pack, 6 Fl. à 0,75 l", 12),
    ],
)
def test_fl_counts_bottles_beside_the_metric_volume_of_one(words: str, bottles: int) -> None:
    assert read_quantity(words) == Quantity(pytest.approx(750 * bottles), "millilitre", bottles)


@pytest.mark.parametrize(
    ("words", "ounces", "pack"),
    [
        ("Soda 12 fl", 12, 1),
        ("Soda 12 fl (355 ml)", 12, 1),
        ("Soda 32 fl (1 l)", 32, 1),
        ("Soda 1.5 fl, 1 l", 1.5, 1),
        ("Soda 16 fl, 473 ml, 12 pack", 192, 12),
        ("Soda 192 fl (24 x 237 ml)", 192, 24),
        ("Soda 6 fl oz, 0.75 l", 6, 1),
    ],
)
def test_fl_is_fluid_ounces_beside_the_same_volume_or_none(words: str, ounces: float, pack: int) -> None:
    assert read_quantity(words) == Quantity(pytest.approx(ounces * FLUID_OUNCE), "millilitre", pack)


def test_a_size_of_batteries_or_a_voltage_names_no_number_of_them() -> None:
    assert read_quantity("Plus AA 12 Pack") == Quantity(12.0, "count", 12)
    assert read_quantity("AAA 16 Pack") == Quantity(16.0, "count", 16)
    assert read_quantity("Bulb 12 V 4 pack") == Quantity(4.0, "count", 4)
    assert read_quantity("Charger V 4 pack").amount is None


def test_capsules_are_counted_under_every_name_and_with_every_adjective() -> None:
    for noun in ("caps", "tabs", "vcaps", "Kaps.", "veg caps", "vegan coated tablets", "Vegetarian Capsules"):
        assert read_quantity(f"Vitamin C 500 mg 100 {noun}") == Quantity(100.0, "count", 1)
        assert read_quantity(f"Vitamin C 500 mg pack of 100 {noun}".replace("Kaps.", "Kaps")).amount == 100


def test_st_and_par_count_where_nothing_goes_on_behind_them() -> None:
    assert read_quantity("Ägg 12 st") == Quantity(12.0, "count", 1)
    assert read_quantity("Teelichter 100 St., weiß") == Quantity(100.0, "count", 1)
    assert read_quantity("Strumpor 5 par") == Quantity(10.0, "count", 1)
    assert read_quantity("Verres 500 g, 6 par caisse") == Quantity(3000.0, "gram", 6)
    for words in ("34 St. Marks", "Band 3 ST Special", "Happy 21st, banner", "2 par personne"):
        assert read_quantity(words).amount is None, words


def test_the_weight_of_paper_is_not_how_much_of_it_there_is() -> None:
    assert read_quantity("Paper A4 80 g/m², 500 sheets") == Quantity(500.0, "count", 1)
    assert read_quantity("Papier A4 80 g, 5 x 500 feuilles") == Quantity(2500.0, "count", 5)
    assert read_quantity("Nori 50 g, 20 sheets") == Quantity(50.0, "gram", 1)


def test_the_same_amount_in_two_units_counts_once_as_the_first_says_it() -> None:
    assert read_quantity("Sauce 12 oz (340 g)").amount == pytest.approx(12 * OUNCE)
    assert read_quantity("Sauce 340 g (12 oz)").amount == 340
    assert read_quantity("Soda 16 Fl Oz (473 ml) pack of 2").amount == pytest.approx(32 * FLUID_OUNCE)


def test_a_count_in_packs_is_their_product() -> None:
    assert read_quantity("Mints, 2 count (pack of 4)") == Quantity(8.0, "count", 4)
    assert read_quantity("Mints, 1 box (10 pieces)") == Quantity(10.0, "count", 1)


def test_a_pack_of_unsaid_size_is_a_count() -> None:
    assert read_quantity("Mugs (set of 3)") == Quantity(3.0, "count", 3)


def test_a_count_of_what_holds_a_weight_multiplies_it_but_pieces_do_not() -> None:
    assert read_quantity("Soda 12 fl oz cans, 12 count").amount == pytest.approx(144 * FLUID_OUNCE)
    assert read_quantity("Crisps 2 oz (4 bags)").amount == pytest.approx(8 * OUNCE)
    assert read_quantity("Toffee 10 oz, 40 pieces").amount == pytest.approx(10 * OUNCE)
    assert read_quantity("Lollies 5 lb, 300 count").amount == pytest.approx(5 * POUND)


def test_what_is_in_it_is_not_how_much_of_it_there_is() -> None:
    assert read_quantity("Bar, 10g Protein, 2 oz").amount == pytest.approx(2 * OUNCE)
    assert read_quantity("Whey 500 g protein powder").amount == 500
    assert read_quantity("Vitamin C 1000 mg, 60 capsules") == Quantity(60.0, "count", 1)


@pytest.mark.parametrize(
    "text", ["3 M tape", "Cable 1 M", "BMW X 5", "Soap x 6", "Rope 2 m", "Oil 6 x 330 ml", "Bags (x 12)"]
)
@pytest.mark.parametrize("blank", ["  ", "\t", "\u00a0"])
def test_more_blanks_or_others_are_no_other_amount(text: str, blank: str) -> None:
    assert read_quantity(text.replace(" ", blank)) == read_quantity(text)


@pytest.mark.parametrize(
    "words",
    [
        "3-in-1 shampoo",
        "5 in a row",
        "5G phone",
        "3M tape",
        "$5 ct",
        "#10 can",
        "model 1200",
        "100% cotton",
        "",
        "oz",
        "0 oz",
        "2,5,10 lb",
        "99999999999999 oz",
        "1/0 oz",
        "B12g",
        "1e5 oz",
        "pack of 3.3 oz",
        "pack of 0",
    ],
)
def test_no_amount_is_read_where_none_is_said(words: str) -> None:
    quantity = read_quantity(words)
    assert quantity.pack == 1
    if words != "pack of 3.3 oz":
        assert quantity == Quantity(None, "none", 1)


def test_a_shape_is_not_a_pack() -> None:
    assert read_quantity("Print 30 x 40 cm").pack == 1


def test_a_pack_or_amount_beyond_bounds_is_not_believed() -> None:
    assert read_quantity(f"Pins pack of {MAX_PACK}").pack == MAX_PACK
    assert read_quantity(f"Pins pack of {MAX_PACK + 1}").pack == 1
    assert read_quantity("Sand 999999999 kg x 9999") == Quantity(None, "none", 9999)
    assert not is_sane(float("inf")) and not is_sane(float("nan")) and not is_sane(0.0) and is_sane(MAX_AMOUNT)


def test_words_are_left_without_amounts_and_packs_but_with_other_numbers() -> None:
    assert without_quantities("Acme 7 Sauce 12 oz, 6-pack").split() == ["acme", "7", "sauce", ","]
    assert without_quantities("Oil, 2 packs of 3, 500 ml each").split() == ["oil,", ","]
    assert without_quantities("普瑞洗发水350毫升 3件装") == "普瑞洗发水"


@pytest.mark.parametrize(
    "unit",
    (
        "1|1 |1,|1/|1 1/|pack of |1 pack |1x|12 oz |12 fl. |-|½|1-|6 packs of |1'|two |half a |1 plastic |1lb |片|1片|"
        'trash |"|1"|per |1 total |x1 |1 of '
    ).split("|"),
)
def test_a_megabyte_of_anything_is_read_at_once(unit: str) -> None:
    started = time.thread_time()
    read_quantity((unit * 1_000_000)[:1_000_000])
    assert time.thread_time() - started < 1  # of the processor's time: it takes 0.04 at most


def test_whatever_is_written_the_quantity_is_sane() -> None:
    source = random.Random(0)  # noqa: S311
    pieces = [
        *"0123456789.,/½ -xX()\"'ñ٣",
        " oz",
        " fl",
        "lb",
        "pack of ",
        " pk",
        " m",
        " x ",
        "1 1/",
        "000",
        "片",
        " total",
        "two ",
    ]
    for _ in range(3_000):
        words = "".join(source.choices(pieces, k=source.randrange(12)))
        quantity = read_quantity(words)
        assert quantity.unit in UNITS, words
        assert 1 <= quantity.pack <= MAX_PACK, words
        assert quantity.amount is None or is_sane(quantity.amount), words
        assert (quantity.amount is None) == (quantity.unit == "none"), words
