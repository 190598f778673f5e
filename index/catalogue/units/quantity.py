"""One quantity of a listing out of the amounts and packs that its words state.

The rules were chosen by how often a name read by them agreed with the total that the same listing stated apart from
its name.
"""

from collections.abc import Sequence
from typing import NamedTuple

from index.catalogue.units.numbers import MAX_PACK
from index.catalogue.units.packs import BEHIND, HELD, Pack
from index.catalogue.units.scan import Part, Scan
from index.catalogue.units.table import NONE, TABLE, is_sane
from index.catalogue.units.vocabulary import WRAPPED

# In gram and millilitre: "12 oz cans, 12 count" is twelve times 12 oz, "5 lb, 300 count" is 5 lb.
HELD_LIMITS = {"gram": 10_000.0, "millilitre": 50_000.0}
_STRENGTHS = frozenset(spelling for factor in (1e-6, 1e-3) for spelling in TABLE["gram"][factor].split(", "))


class Quantity(NamedTuple):
    """Amount and pack of a listing, as its words state them."""

    amount: float | None  # the listing's total in `unit`'s canonical member, None if unstated
    unit: str
    pack: int  # how many times the size that is stated of one is there; 1 if unstated


# "8 inch zip ties, 100 pack" are a hundred; "10 ft cable, 3 pack" is 30 ft.
_DIMENSIONS = frozenset(spelling for factor in (1, 10, 25.4) for spelling in TABLE["millimetre"][factor].split(", "))
_NOTHING = Quantity(None, NONE, 1)


def read_quantity(words: str) -> Quantity:
    """Read amount and pack from `words`. Of two amounts ("12 oz (340 g)") the first counts; they are never summed.

    Weight and volume go before areas, then counts, lengths, and last strengths ("500 mg").
    """
    scan = Scan(words)
    parts, packs = scan.parts, scan.packs
    pack = _pack(packs) if len(packs) > 1 else packs[0].times if packs else 1
    if not parts:
        return Quantity(float(pack), "count", pack) if pack > 1 else _NOTHING
    if len(parts) == 1 and parts[0].times == 1 and not parts[0].total:  # nearly every listing
        part = parts[0]
        if pack > 1 and part.spelling in _DIMENSIONS:
            return Quantity(float(pack), "count", pack)
        amount, unit = part.size * pack, part.unit
        return Quantity(amount, unit, pack) if is_sane(amount) else Quantity(None, NONE, pack)
    counts = [part for part in parts if part.unit == "count"]
    if measures := [part for part in parts if part.unit in HELD_LIMITS and part.spelling not in _STRENGTHS]:
        unit = measures[0].unit
        amount, pack = _measured(measures, counts, pack)
    elif areas := [part for part in parts if part.unit == "square metre"]:
        amount, unit = areas[0].size * pack, "square metre"
    elif counts:
        unit = "count"
        amount, pack = _counted(counts, pack, packs[0].kind == BEHIND if packs else False)
    else:
        amount, unit = _measured_last(parts, pack)
    pack = pack if pack <= MAX_PACK else 1
    return Quantity(amount, unit, pack) if is_sane(amount) else Quantity(None, NONE, pack)


def without_quantities(words: str) -> str:
    """The words, in lower case, without their amounts and packs; numbers that measure nothing stay."""
    return Scan(words).rest()


def _pack(packs: Sequence[Pack]) -> int:
    """Return the pack that the best of two signs or more says; two on two levels, such as a case of packs, multiply."""
    best = min(packs, key=lambda pack: pack.kind)
    if len(packs) > 2:
        return best.times
    factor = next((pack.times for pack in packs if pack.level != best.level and pack.times != best.times), 1)
    product = best.times * factor
    return product if product <= MAX_PACK else best.times


def _measured(measures: Sequence[Part], counts: Sequence[Part], pack: int) -> tuple[float, int]:
    """Return the total weight or volume, and the pack."""
    chosen = measures[0]
    for part in measures:
        if part.total:
            return part.size * part.times, pack
        repeats = part.times * pack
        if repeats > 1 and part is not chosen and chosen.times == 1 and _near(part.size * repeats, chosen.size):
            return chosen.size, repeats  # "72 oz, 12 oz bags (pack of 6)"
    nested = next((part for part in counts if part.nested), None)
    repeats = pack * (chosen.times if chosen.times != pack else 1)  # "6 x 330 ml (pack of 6)" says it twice
    if (
        nested
        and chosen.times == 1
        and (chosen.of_each or not nested.spelling or nested.spelling in HELD or nested.spelling in WRAPPED)
    ):
        repeats *= int(nested.size) * nested.times
    elif repeats == 1:
        held = next((part for part in counts if chosen.of_each or (part.spelling in HELD and not part.of_each)), None)
        times = int(held.size) * held.times if held else 1
        repeats = times if chosen.of_each or chosen.size * times <= HELD_LIMITS[chosen.unit] else 1
    return chosen.size * repeats, repeats


def _measured_last(parts: Sequence[Part], pack: int) -> tuple[float, str]:
    """Return what a listing holds that states only lengths or strengths, and the unit. Lengths go first."""
    lengths = [part for part in parts if part.unit == "millimetre"] or parts
    longest = max(part.size for part in lengths)
    length = next(part for part in lengths if part.size >= 0.9 * longest)  # the first of "2 m (6.6 ft)"
    if pack > 1 and length.spelling in _DIMENSIONS:
        return float(pack), "count"
    return length.size * length.times * pack, length.unit


def _counted(counts: Sequence[Part], pack: int, behind: bool) -> tuple[float, int]:
    """Return the total count, and the pack; `behind` where the pack is said as "36-pack"."""
    for part in counts:
        if part.total:
            return part.size * part.times, pack
    chosen = next((part for part in counts if part.size * part.times > 1), counts[0])  # "1 box (10 pods)" is ten
    for part in counts:
        if part is chosen:
            continue
        if part.nested and part.size * part.times * pack == chosen.size:  # "96 count (4 boxes of 24)"
            return chosen.size, pack
        if pack == 1 and part.of_each != chosen.of_each:  # "6 boxes, 20 bags each" and "20 bags each, 6 boxes"
            holder = chosen if part.of_each else part
            if holder.spelling in HELD:
                return part.size * chosen.size, int(holder.size)
    if (
        behind and chosen.size == pack and not chosen.nested
    ):  # "36 ct (36-pack)" says it twice, "12 ct (pack of 12)" not
        return chosen.size, pack
    repeats = pack * (chosen.times if chosen.times != pack else 1)
    return chosen.size * repeats, repeats


def _near(amount: float, total: float) -> bool:
    return abs(amount - total) <= 0.03 * total
