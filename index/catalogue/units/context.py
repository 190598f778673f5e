"""Signs around an amount that it is something else than what the listing holds, or that it is meant of each.

Every rule is a function of the tokens, where the amount starts and where the tokens after it start.
"""

from collections.abc import Sequence
from itertools import pairwise

from index.catalogue.units.lexicon import ENTRIES, PACK, Unit
from index.catalogue.units.table import TABLE
from index.catalogue.units.tokens import DIGITS
from index.catalogue.units.vocabulary import (
    BESIDE_NUTRIENTS,
    BODIES,
    CONNECTORS,
    DIAPERS,
    EACH,
    EACH_BEFORE,
    FOR,
    NUTRIENT_LIMIT,
    NUTRIENT_PRODUCTS,
    NUTRIENTS,
    PAPER,
    PER,
    PHRASE_ENDS,
    PORTIONS,
    TIMES,
    TOTALS,
    VESSEL_PAIRS,
    VESSELS,
)

FILLED = VESSELS | DIAPERS | {first for first, _ in VESSEL_PAIRS}
"""Words that products have that are sold by what fits in or whom they fit; see `may_be_filled`."""
BEFORE = FOR | EACH_BEFORE | TOTALS | BODIES | {"to", "of", ":", "paper", "cardstock"}
"""Tokens before an amount that may change its meaning; where none stands there, nothing before it does."""
AFTER = BODIES | PAPER | EACH | PER | TIMES | TOTALS | {"in", "im", "en", "au"}
"""Tokens behind an amount that may change its meaning."""
AREAS = frozenset(TABLE["square metre"][1].split(", "))
_WHOLE_WORDS = VESSELS | DIAPERS
_PHRASE = 4  # tokens behind an amount, of which the last may be what it fits: "16 oz stainless travel mug"


def may_be_filled(words: Sequence[str]) -> bool:
    """Tell whether a text names products that are sold by what fits in or whom they fit: `is_fit` must look closer."""
    pairs = pairwise(words)
    return not _WHOLE_WORDS.isdisjoint(words) or any(pair in VESSEL_PAIRS for pair in pairs)


def is_fit(words: Sequence[str], start: int, after: int, unit: Unit, filled: bool) -> bool:
    """Tell whether an amount says for whom, into what or up to what: "for 5-10 lb cats", "13 gallon trash bags"."""
    if words[start - 1] in FOR or (words[start - 1] == "to" and words[start - 2] == "up"):
        return unit.name != "count"
    heavy = unit.name == "gram" and unit.factor > 1
    if heavy and (words[after] in BODIES or words[after] in PAPER or words[start - 1] in ("paper", "cardstock")):
        return True
    if heavy and unit.factor > 100 and words[start - 1] in BODIES and words[start - 2] in FOR:
        return True
    if not filled or unit.name not in ("gram", "millilitre"):
        return False
    if heavy and unit.factor > 100 and not DIAPERS.isdisjoint(words):
        return True
    before = start - 2 if words[start - 1] in PHRASE_ENDS else start - 1
    last = after
    while words[last] not in PHRASE_ENDS and words[last][0] not in DIGITS and last < after + _PHRASE:
        last += 1
    return any(words[at] in VESSELS or (words[at - 1], words[at]) in VESSEL_PAIRS for at in (before, last - 1))


def is_ingredient(words: Sequence[str], start: int, after: int, unit: Unit, grams: float) -> bool:
    """Tell whether a mass is that of an ingredient, a portion or an area: "10g protein", "sugar (3g)", "80 g/m2"."""
    per = words[after + 1] if words[after] in PER else ""
    if grams > NUTRIENT_LIMIT or per in AREAS:
        return per in AREAS  # "paper 80 g/m2"
    if per in PORTIONS:
        return True
    if unit.factor > 1:
        return False
    if unit.factor < 1 and dilution(words, after):
        return True
    at = after
    while words[at] in BESIDE_NUTRIENTS and at < after + 3:
        at += 1
    if words[at] in NUTRIENTS:
        return words[at + 1] not in NUTRIENT_PRODUCTS
    return words[start - 1] == "(" and words[start - 2] in NUTRIENTS


def dilution(words: Sequence[str], after: int) -> int:
    """Return how many tokens behind a strength say in how much of a liquid it is: 3 in "5 mg/5 ml", 2 in "5 mg/ml"."""
    if words[after] != "/":
        return 0
    at = after + 1 + (words[after + 1][0] in DIGITS)
    return at + 1 - after if words[at] in ("ml", "l", "cc") else 0


def each_after(words: Sequence[str], after: int) -> int:
    """Return how many tokens behind an amount say that it is meant of each: "each", "/each", "per bottle"."""
    if words[after] in EACH:
        return 1
    if words[after] not in PER:
        return 0
    if words[after + 1] in EACH:
        return 2
    found = ENTRIES.get(words[after + 1])
    if words[after + 2] in CONNECTORS:  # "/case of 24"
        return 0
    return 2 if found and found[-1][1].name in ("count", PACK) and not found[-1][0] else 0


def each_before(words: Sequence[str], start: int) -> bool:
    """Tell whether what stands before an amount says that it is meant of each: "je 500 ml", "à 0,75 l"."""
    return words[start - 1] in EACH_BEFORE


def total_at(words: Sequence[str], start: int, after: int) -> int:
    """Return where a word says that an amount is of everything: "(42 pieces total)", "total of 24"; -1 for none."""
    if words[start - 1] in TOTALS:
        return start - 1 if words[start - 2] in ("(", ",", "-", "=", "a", "\n") else -1
    if words[start - 1] in ("of", ":") and words[start - 2] in TOTALS:
        return start - 2
    ahead = after + 1 if words[after] in ("in", "im", "en", "au") else after
    return ahead if words[ahead] in TOTALS and not words[ahead + 1].isalpha() else -1


def is_preposition(words: Sequence[str], after: int, glued: bool) -> bool:
    """Tell whether the "in" that ends before `after` is no inch: "2 in 1", "3-in-1", "5 in a row"."""
    following = words[after]
    if words[after - 1] == ".":
        return False
    if following[0] in DIGITS or (following == "-" and words[after + 1][0] in DIGITS):
        return True
    return not glued and following.isalpha() and following not in TIMES
