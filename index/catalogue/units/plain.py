"""Plain numbers: what may be read without the rules of the grammar, because nothing around it can change it.

Each rule is the short way to what `scan` would make of the same tokens, and says no where it cannot be sure.
"""

from collections.abc import Sequence

from index.catalogue.units import context
from index.catalogue.units.behind import unit_behind
from index.catalogue.units.lexicon import CONTINUING, ENTRIES, FLAT, PACK, PLAIN, Unit
from index.catalogue.units.numbers import MAX_PACK, NOT_AMOUNTS
from index.catalogue.units.packs import BEFORE, CLOSING, OPENING, PACK_NEAR
from index.catalogue.units.table import TABLE
from index.catalogue.units.tokens import DIGITS
from index.catalogue.units.vocabulary import (
    ADJECTIVES,
    BESIDE_NUTRIENTS,
    CONTAINERS,
    DASHES,
    ENDING,
    LINKS,
    NAMED_BY_NUMBER,
    NUTRIENTS,
    OF_EACH,
    PACK_NOUNS,
    PER,
    SHAPED,
    TIMES,
    TO,
    TOTALS,
)

SPEAKING_BEFORE = context.BEFORE | BEFORE | TIMES | NAMED_BY_NUMBER | NOT_AMOUNTS | CONTAINERS
"""Tokens before a number that may say what it is."""
_NEAR = PACK_NEAR | TOTALS | NUTRIENTS | NOT_AMOUNTS  # before an opening sign
_SPEAKING_BEHIND = context.AFTER | TIMES | CONTINUING  # behind a unit
_GOING_ON = PER | TOTALS | TIMES | DASHES | TO | ADJECTIVES | {"'", "\n"}  # and behind a number without a unit
# First tokens of units that are also words or more than one unit.
_AMBIGUOUS = frozenset(("in", '"', "m", "er")) | SHAPED | OF_EACH | ENDING
_AMBIGUOUS |= {text.partition(" ")[0] for name in FLAT for texts in TABLE[name].values() for text in texts.split(", ")}
_INGREDIENTS = NUTRIENTS | BESIDE_NUTRIENTS | {"/"}
_TELEPHONES = frozenset("23456")  # 5G


def plain_pack(words: Sequence[str], at: int) -> int:
    """Return the pack that the number at `at` behind an "of" closes ("pack of 6"), 0 for anything else."""
    if words[at + 1] not in CLOSING or words[at - 2] not in PACK_NOUNS:
        return 0
    word = words[at]
    return int(word) if word.isdigit() and len(word) < 6 and int(word) <= MAX_PACK else 0


def is_spoken_for(words: Sequence[str], at: int) -> bool:
    """Tell whether the speaking token before the number at `at` may say what it is."""
    return words[at - 1] not in OPENING or words[at - 2] in _NEAR


def is_silent(words: Sequence[str], at: int) -> bool:
    """Tell whether what stands behind a number that no plain unit follows says nothing of it: "100% pure"."""
    behind = words[at + 1]
    return behind not in ENTRIES and behind not in _GOING_ON and behind[-1] not in DIGITS


def plain_unit(words: Sequence[str], at: int) -> tuple[Unit, int] | None:
    """Return the unit behind the number at `at`, and where it ends, if nothing behind can change the amount."""
    behind, end = words[at + 1], at + 2
    if behind == "-":
        behind, end = words[end], at + 3
    unit = PLAIN.get(behind)
    if unit is None:
        if behind not in ENTRIES or behind in _AMBIGUOUS or (found := unit_behind(words, end - 1)) is None:
            return None
        unit, end = found
    last = words[end]
    if last == ".":
        end += 1
        last = words[end]
    if last in _SPEAKING_BEHIND:
        return None
    word = words[at]
    if unit.name in ("count", PACK):
        return (unit, end) if word.isdigit() and last not in LINKS else None
    if unit.factor <= 1.0 and unit.name == "gram" and (last in _INGREDIENTS or word in _TELEPHONES):
        return None
    return unit, end
