"""Amounts of whole phrases: a table labelled by hand, and the short way of the scan against the long one.

`amounts.tsv` has phrases as shops write them: total, unit, pack and kind, "-" where no total is said. The pack is how
many times the size that is stated of one is there ("8 packs of 72" are 8 times 72 pieces, "12 packs of 6 bags, 50 g
each" are 72 times 50 g); a pack of unsaid size counts itself ("set of 3 mugs"), and pieces in a box are no pack.
"""

import csv
import random
from collections import Counter
from pathlib import Path

import pytest

from index.catalogue.units import NONE, find_unit, read_quantity
from index.catalogue.units.scan import Scan
from index.catalogue.units.table import SPELLINGS
from index.catalogue.units.tokens import PADDING, fold, tokenize
from index.catalogue.units.vocabulary import NUMBER_WORDS, PACK_NOUNS

LEAST_WHOLE = 0.97  # share of phrases of which amount, unit and pack are all right
MISSED = {  # read wrong, and known to be
    "Birch Nitrile gloves 100/box, case of 10",  # the total is right, the pack said to be 1,000
    "Birch Omega 3 6 9 softgels 120 count",  # nine softgels
    "Birch 5 gallon bucket",  # five gallons of something
    "Elder Tassimo 5 x 8 T-Discs, 40 drinks",  # nouns that are not known
    "Frost Acrylic paint 36 colors 59 ml each",
    "Frost Magnesium citrate 200mg tabs 250",
    "Frost K-Cup 24 count, 4 boxes (96 total)",  # the total is right, the pack said to be 1
}


def phrases() -> list[dict[str, str]]:
    with (Path(__file__).parent / "amounts.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def is_read(row: dict[str, str]) -> bool:
    """Tell whether amount, unit and pack of a phrase are all read as its label says."""
    amount, unit, pack = read_quantity(row["phrase"])
    if pack != int(row["pack"]):
        return False
    if row["amount"] == "-":
        return (amount, unit) == (None, NONE)
    name, factor = find_unit(row["unit"])
    return unit == name and amount == pytest.approx(float(row["amount"]) * factor)


def test_nearly_every_phrase_is_read_whole_and_no_other_is_missed_than_before() -> None:
    rows = phrases()
    missed = {row["phrase"] for row in rows if not is_read(row)}
    assert missed == MISSED
    assert len(rows) - len(missed) >= LEAST_WHOLE * len(rows)


def test_the_table_has_phrases_of_every_kind_and_none_of_them_twice() -> None:
    rows = phrases()
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) == len({row["phrase"] for row in rows}) >= 400
    assert len(kinds) >= 25 and min(kinds.values()) >= 6


class LongWay(Scan):
    """A scan that reads every number by the whole grammar."""

    def _read_plain(self, at: int) -> bool:
        return False


def test_the_short_way_reads_what_the_long_way_reads() -> None:
    source = random.Random(0)  # noqa: S311
    words = [*source.sample(sorted(SPELLINGS), 60), *source.sample(sorted(NUMBER_WORDS), 12), *sorted(PACK_NOUNS)[:20]]
    words += ["of", "x", "per", "case", "(", ")", ",", "-", "/", ".", "6", "12", "2.5", "1,500", "1/2", "24", "each"]
    words += ["oz", "fl oz", "lb", "g", "ml", "count", "pack", "total", "for", "protein", "soap", "tea", "in", "'", "#"]
    made = (" ".join(source.choices(words, k=source.randrange(3, 9))) for _ in range(4_000))
    for text in (*(row["phrase"] for row in phrases()), *made):
        short, long = Scan(text), LongWay(text)
        assert (short.parts, short.packs) == (long.parts, long.packs), text
        assert short.rest() == long.rest(), text


def test_a_text_has_the_tokens_of_its_pieces() -> None:
    source = random.Random(0)  # noqa: S311
    signs = "ab xof0123456789.,/½×'\u2003\x1c\n(é茶\u0301"
    made = ("".join(source.choices(signs, k=source.randrange(12))) for _ in range(5_000))
    for text in (*(row["phrase"] for row in phrases()), *made):
        assert Scan(text).words == [*tokenize(fold(text)), *PADDING], text


@pytest.mark.parametrize(
    ("code", "unit", "factor"),
    [
        ("LBR", "gram", 453.59237),
        ("ONZ", "gram", 28.349523125),
        ("GRM", "gram", 1),
        ("KGM", "gram", 1000),
        ("OZA", "millilitre", 29.5735295625),
        ("MLT", "millilitre", 1),
        ("LTR", "millilitre", 1000),
        ("H87", "count", 1),
        ("C62", "count", 1),
        ("EA", "count", 1),
        ("PR", "count", 2),
        ("DZN", "count", 12),
        ("CMT", "millimetre", 10),
        ("INH", "millimetre", 25.4),
        ("FOT", "millimetre", 304.8),
        ("MTK", "square metre", 1),
        ("floz", "millilitre", 29.5735295625),
        ("cbm", "millilitre", 1e6),
        ("sqft", "square metre", 0.09290304),
        ("ct", "count", 1),
        ("sheet", "count", 1),
        ("㎖", "millilitre", 1),
        ("ＫＧ", "gram", 1000),
        ("毫升", "millilitre", 1),
    ],
)
def test_codes_and_units_of_feeds_are_found_in_a_column_of_units(code: str, unit: str, factor: float) -> None:
    assert find_unit(code) == (unit, pytest.approx(factor))


def test_a_code_is_a_word_where_it_stands_in_one() -> None:
    assert read_quantity("Band 3 ST Special").amount is None
    assert read_quantity("2 PR Managers").amount is None


@pytest.mark.parametrize(
    "spellings",
    [
        (
            "Oil, 500 ml (Pack of 6)", "Oil, 500 ml (6er Pack)", "Oil, carton de 6, 500 ml", "Oil, 500 мл х 6 шт",
            "Oil, half dozen, 500 ml each", "Oil, 500ml×6瓶", "Oil, 6 x 500 ml", "Oil, 2 packs of 3, 500 ml",
            "Oil, 500 ml, 6/cs",
        ),
        ("Oil, 500 ml", "Oil, 500毫升", "Oil, 500 мл", "Oil, 500㎖", "Oil, 0,5 l", "Oil, 50 cl", "Oil, ５００ｍｌ"),
        ("Honey, 1.5 lb", "Honey, 1 lb 8 oz", "Honey, 1 1/2 lb", "Honey, 24 oz", "Honey, 1½ pounds"),
    ],
)  # fmt: skip
def test_spellings_of_one_amount_are_read_alike(spellings: tuple[str, ...]) -> None:
    first = read_quantity(spellings[0])
    for words in spellings[1:]:
        amount, unit, pack = read_quantity(words)
        assert (pytest.approx(amount), unit, pack) == tuple(first), words


def test_an_amount_of_a_drink_rises_with_the_count_of_its_bottles() -> None:
    one = read_quantity("Oil, 16.9 fl oz").amount
    assert one is not None
    for count in (6, 12, 18, 24, 40):
        assert read_quantity(f"Oil, 16.9 fl oz, {count}-Count") == (pytest.approx(count * one), "millilitre", count)
