"""One quantity of a listing out of the amounts and packs that its words state.

The rules were chosen by how often a name read by them agreed with the total that the same listing stated apart from
its name.
"""

from collections.abc import Sequence
from typing import NamedTuple

from index.catalogue.units.numbers import MAX_PACK
from index.catalogue.units.packs import BEHIND, HELD, Pack
from index.catalogue.units.scan import Part, Scan
from index.catalogue.units.table import NONE, SPELLINGS, TABLE, is_sane
from index.catalogue.units.vocabulary import PACKS, WRAPPED

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
# "12 fl (355 ml)" are fluid ounces, "6 Fl. à 0,75 l" and "6 Fl. (0,75 l)" are Flaschen.
_METRIC = frozenset(spelling for factor in (1, 10, 100, 1000) for spelling in TABLE["millilitre"][factor].split(", "))
_BOTTLE, _MOST_BOTTLES = "fl", 24  # of more, "32 fl (1 l)", each volume is to be said as that of each
_GRAMS = frozenset(TABLE["gram"][1].split(", "))
_SHEETS = frozenset("sheet sheets ream reams blatt feuilles hojas folhas fogli vellen arkuszy листов 枚 张".split())
_PAPER_SIZES = frozenset(("a3", "a4", "a5", "a6"))
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
    part = parts[0]
    if len(parts) == 1 and part.times == 1 and not (part.total or (part.unit == "count" and pack > 1)):  # nearly all
        if pack > 1 and part.spelling in _DIMENSIONS:
            return Quantity(float(pack), "count", pack)
        amount, unit = part.size * pack, part.unit
        return Quantity(amount, unit, pack) if is_sane(amount) else Quantity(None, NONE, pack)
    spellings = {part.spelling for part in parts}
    if _BOTTLE in spellings:
        parts = _with_bottles(parts, pack)
    # What weighs "80 g" in "A4 80 g, 500 sheets" is a square metre.
    of_paper = not (_SHEETS.isdisjoint(spellings) or _PAPER_SIZES.isdisjoint(scan.words))
    passed_over = _STRENGTHS | _GRAMS if of_paper else _STRENGTHS
    counts = [part for part in parts if part.unit == "count"]
    if measures := [part for part in parts if part.unit in HELD_LIMITS and part.spelling not in passed_over]:
        unit = measures[0].unit
        amount, pack = _measured(measures, counts, pack)
    elif areas := [part for part in parts if part.unit == "square metre"]:
        area = next((part for part in areas if part.total), areas[0])
        amount, unit = area.size * (1 if area.total else pack), "square metre"
    elif counts:
        unit = "count"
        behind = bool(packs) and packs[0].kind == BEHIND and PACKS.isdisjoint(scan.words)
        amount, pack = _counted(counts, pack, behind)
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


def _with_bottles(parts: list[Part], pack: int) -> list[Part]:
    """Return the parts, of which "6 fl" is a count of bottles where a metric volume is that of one and not of all."""
    ounce = SPELLINGS[_BOTTLE][1]
    volumes = [part for part in parts if part.spelling in _METRIC]

    def read(part: Part) -> Part:
        count = round(part.size / ounce)
        if part.spelling != _BOTTLE or abs(part.size / ounce - count) > 1e-6:
            return part
        apart = [v for v in volumes if not any(_near(v.size * times, part.size) for times in (v.times, pack))]
        if (count <= _MOST_BOTTLES and apart) or any(volume.of_each for volume in volumes):
            return Part(float(count), "count", "flaschen", part.times, nested=count != pack)
        return part

    return [read(part) for part in parts]


def _is_again(part: Part, chosen: Part) -> bool:
    """Tell whether a part says the chosen size again, with its count: "250 ml (24 x 250 ml)"."""
    return part.times > 1 == chosen.times and part.unit == chosen.unit and _near(part.size, chosen.size)


def _measured(measures: Sequence[Part], counts: Sequence[Part], pack: int) -> tuple[float, int]:
    """Return the total weight or volume, and the pack."""
    chosen = measures[0]
    for part in measures:
        if part.total:
            return part.size * part.times, pack if pack > 1 else chosen.times
        if _is_again(part, chosen):
            chosen = part
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
    for part in lengths:
        if part.total:
            return part.size * part.times, part.unit
    longest = max(part.size for part in lengths)
    length = next(part for part in lengths if part.size >= 0.9 * longest)  # the first of "2 m (6.6 ft)"
    if pack > 1 and length.spelling in _DIMENSIONS:
        return float(pack), "count"
    if pack > 1 and any(_near(part.size * pack, length.size) for part in lengths if part is not length):
        return length.size, length.unit  # "2 m, 6 m (pack of 3)"
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
        if _is_again(part, chosen):
            chosen = part
            continue
        repeats = part.times * pack
        if repeats > 1 and chosen.times == 1 and not part.nested and 1 < part.size == chosen.size / repeats:
            return chosen.size, repeats  # "96 ct (4 x 24 ct)"
        if part.nested and part.size * part.times * pack == chosen.size:  # "96 count (4 boxes of 24)"
            return chosen.size, pack
        if pack == 1 and part.of_each != chosen.of_each:  # "6 boxes, 20 bags each" and "20 bags each, 6 boxes"
            holder = chosen if part.of_each else part
            if holder.spelling in HELD or holder.spelling in WRAPPED:
                return part.size * chosen.size, int(holder.size)
    if behind and chosen.size == pack and not (chosen.nested or chosen.of_each):
        # "36 ct (36-pack)" says it twice, "12 ct (pack of 12)" and "12 ct, 12 packs" not
        return chosen.size, pack
    repeats = pack * (chosen.times if chosen.times != pack else 1)
    return chosen.size * repeats, repeats


def _near(amount: float, total: float) -> bool:
    return abs(amount - total) <= 0.03 * total
