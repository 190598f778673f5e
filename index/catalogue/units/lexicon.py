"""Look-up of what stands behind a number: the spelling of a unit, or a noun of a pack, by its first token."""

from typing import NamedTuple

from index.catalogue.units.table import SPELLINGS
from index.catalogue.units.tokens import fold, tokenize
from index.catalogue.units.vocabulary import ENDING, OF_EACH, PACK_AFTER, SHAPED

PACK = "pack"


class Unit(NamedTuple):
    """A unit as one spelling means it."""

    name: str  # the canonical member, or `PACK`
    factor: float
    spelling: str
    thousandths: str  # signs after which three digits are a fraction


def _thousandths(name: str, factor: float) -> str:
    """Nobody sells 1,485 litres of oil or 1.250 g of tea: three digits are thousandths of the large metric units and
    thousands of the small ones. In between, and of the imperial units, the English way to write holds."""
    if name in ("gram", "millilitre") and factor in (1000.0, 1e6):
        return ",."
    small = name in ("count", PACK) or factor <= 1.0
    return "" if small else "."


def _entries() -> dict[str, tuple[tuple[tuple[str, ...], Unit], ...]]:
    units = [Unit(name, factor, spelling, _thousandths(name, factor)) for spelling, (name, factor) in SPELLINGS.items()]
    units += [Unit(PACK, 1.0, spelling, "") for spelling in PACK_AFTER]  # the last of one spelling counts
    by_tokens = {tuple(tokenize(fold(unit.spelling))): unit for unit in units}
    entries: dict[str, list[tuple[tuple[str, ...], Unit]]] = {}
    for tokens in sorted(by_tokens, key=len, reverse=True):
        entries.setdefault(tokens[0], []).append((tokens[1:], by_tokens[tokens]))
    return {first: tuple(found) for first, found in entries.items()}


ENTRIES = _entries()
"""First token -> (the tokens after it, the unit), the longest spelling first."""
FLAT = ("millimetre", "square metre")
"""Canonical members of sizes that nothing multiplies: "8 x 10 in" is a shape."""
FOOT, INCH, PIECE = (ENTRIES[spelling][-1][1] for spelling in ("ft", "inch", "ct"))
CONTINUING = frozenset(("fl", "cup", "cups"))
"""Tokens that may go on with the spelling of a plain unit: "ounce fl"."""
_NEVER_PLAIN = SHAPED | OF_EACH | ENDING | {"er"}
PLAIN = {
    first: found[-1][1]
    for first, found in ENTRIES.items()
    if not found[-1][0] and all(more[0] in CONTINUING for more, _ in found[:-1])
    if found[-1][1].name not in FLAT and found[-1][1].spelling not in _NEVER_PLAIN
}
"""Word -> the unit that it always is, where nothing `CONTINUING` stands behind."""
