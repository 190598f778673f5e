"""Packs that the words before a number say: "pack of 6", "lot de 6", "Packung mit 10", "PK- 6", "Qty 6", "soap x6"."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from index.catalogue.units.lexicon import Unit
from index.catalogue.units.numbers import Number
from index.catalogue.units.table import HOLDERS
from index.catalogue.units.tokens import DIGITS
from index.catalogue.units.vocabulary import (
    BOX_NOUNS,
    CASES,
    CONNECTORS,
    CONTAINERS,
    DASHES,
    INNER,
    PACK_NOUNS,
    QUANTITY_NOUNS,
    TIMES,
    WRAPPED,
)

HELD = frozenset(HOLDERS.split(", "))
"""Spellings of what can hold a stated size each."""
OF, BEHIND, BARE, PER_CASE, BOX = range(5)
"""Kinds of sign, the surest first: "pack of 6"; "6-pack"; "pk 6" and "qty 6"; "6 per case"; "box of 6"."""
BEFORE = CONNECTORS | QUANTITY_NOUNS | set(":.-/('") | {"pk", "pks", "pck", "pack", "packs", "packung", "pak"}
"""Tokens right before a number that may say a pack; where none stands there, nothing before it does."""
OPENING = frozenset(":.-/('")
"""Tokens between a noun of a pack and its number."""
PACK_NEAR = BEFORE | PACK_NOUNS | BOX_NOUNS | CONTAINERS
"""Tokens that, before an opening one, may say a pack."""
CLOSING = frozenset(("\n", ")", "]", ",", ";", "|", "/", "-", "–", ".", "+"))
"""Tokens behind a number that nothing counts."""


class Pack(NamedTuple):
    """A sign of a pack."""

    times: int
    kind: int
    level: int  # 0 for packs and sets, 1 for boxes, 2 for cases, which hold either


class PackSign(NamedTuple):
    """Tokens before a number that say a pack."""

    pack: Pack | None  # None where they only say what counts the number: "box of 40 tea bags"
    start: int
    end: int


def level_of(noun: str) -> int:
    """Return the level of a pack that a noun says: what holds what."""
    return 2 if noun in CASES else 1 if noun in BOX_NOUNS else 0


def pack_before(words: Sequence[str], number: Number, following: tuple[Unit, int] | None) -> PackSign | None:
    """Return the pack that the words before a number say, or that they are a part of its amount; else None.

    `following` is the unit behind the number, if any, and where that ends: no unit of measure.
    """
    kind, start, noun = _noun_before(words, number)
    count = number.whole()
    if kind < 0 or not count:
        return None
    end = number.after
    if following is not None and words[end] not in DASHES:  # "pack of 6 - set" is no set
        unit, behind = following
        if kind == BARE and noun not in QUANTITY_NOUNS:
            return None
        inner = unit.spelling in INNER or (kind == BOX and unit.spelling in WRAPPED)  # "box of 40 tea bags"
        if unit.factor != 1.0 or inner:
            return PackSign(None, start, number.start)
        end = behind
    return PackSign(Pack(count, kind, level_of(noun)), start, end)


def _noun_before(words: Sequence[str], number: Number) -> tuple[int, int, str]:
    """Return the kind of sign of a pack before a number, where it starts and its noun; kind -1 for none."""
    at = number.start - 1
    while words[at] in OPENING and at > number.start - 4:
        at -= 1
    noun = words[at]
    if noun in CONNECTORS:
        noun = words[at - 1]
        return (OF if noun in PACK_NOUNS else BOX if noun in BOX_NOUNS else -1), at - 1, noun
    closed = words[number.after] in CLOSING
    bare = noun in ("pk", "pks", "pck") or noun in QUANTITY_NOUNS or (noun in CONTAINERS and words[at + 1] == "/")
    return (BARE if bare or (noun in ("pack", "packs", "packung", "pak") and closed) else -1), at, noun


def times_before(words: Sequence[str], number: Number, text: str, measured: bool) -> bool:
    """Tell whether an "x" before a number makes it a pack: "soap x6", "(x 12)"; "BMW X5" is a name.

    `text` as it is written; `measured` where an amount stands before.
    """
    start = number.start
    if words[start - 1] not in TIMES or words[start - 2][0] in DIGITS:
        return False
    named = re.search(rf"X\s*{re.escape(str(number.written))}", text) is not None
    return words[number.after] in CLOSING and (measured or words[start - 2] in ("(", "[") or not named)
