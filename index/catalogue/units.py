"""Amounts of an item: the table of unit spellings, and the grammar of amounts and packs in a listing's words.

`find_unit` looks one spelling up. `read_quantity` reads words such as "Acme Soda, 6 x 330 ml" into one total in the
unit's canonical member. Every repeat in every pattern is bounded, no pattern starts inside a run of digits or letters,
and no more than `WORDS_LIMIT` characters are read: no text can make it slow. The rules were chosen by how often a name
read by them agreed with the total that the same listing stated apart from its name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import gcd

OTHER = "other"  # a unit was named, and our table does not know it
NONE = "none"  # no unit was named
WORDS_LIMIT = 2_000  # characters; an amount further down is seldom the listing's own
MIN_AMOUNT, MAX_AMOUNT = 1e-9, 1e12  # in the canonical member: a nanogram, a million tonnes; the rest are slips
MAX_PACK = 32_767  # int16
HELD_LIMIT = 10_000.0  # gram or millilitre: "12 oz cans, 12 count" is twelve times 12 oz, "5 lb, 300 count" is 5 lb

_FLUID_OUNCE = 29.5735295625  # US, in millilitres, as are pint, quart and gallon

# canonical member -> how many of it one unit is -> the unit's spellings, as `_normalise` leaves them
TABLE: dict[str, dict[float, str]] = {
    "gram": {
        1e-6: "mcg, µg, μg, ug, microgram, micrograms",
        1e-3: "mg, mgs, milligram, milligrams",
        1: "g, gr, gm, gms, gram, grams, gramm, gramme, grammes, gramo, gramos",
        1000: "kg, kgs, kilo, kilos, kilogram, kilograms, kilogramm, kilogramme, kilogrammes, kilogramo, kilogramos",
        1.7718451953125: "dram, drams",
        28.349523125: "oz, ozs, onz, ounce, ounces, onza, onzas, dry oz, dry ounce, dry ounces",
        453.59237: "lb, lbs, pound, pounds, libra, libras, pfund",
    },
    "millilitre": {
        1: "ml, mls, cc, millilitre, millilitres, milliliter, milliliters",
        10: "cl, centilitre, centilitres, centiliter, centiliters",
        100: "dl, decilitre, decilitres, deciliter, deciliters",
        1000: "l, lt, ltr, ltrs, litre, litres, liter, liters, litro, litros",
        _FLUID_OUNCE: "fl, fl oz, fl ozs, fl ounce, fl ounces, fluid oz, fluid ounce, fluid ounces, floz, fz, oz fl, "
        "ounce fl, ounces fl, liquid oz, liquid ounce, liquid ounces, us fl oz",
        16 * _FLUID_OUNCE: "pt, pts, pint, pints",
        32 * _FLUID_OUNCE: "qt, qts, quart, quarts",
        128 * _FLUID_OUNCE: "gal, gals, gallon, gallons",
    },
    "count": {
        1: "count, counts, ct, cts, cnt, each, ea, unit, units, item, items, piece, pieces, pc, pcs, pce, pieza, "
        "piezas, stück, stk, tablet, tablets, capsule, capsules, caplet, caplets, softgel, softgels, pill, pills, "
        "lozenge, lozenges, gummies, teabag, teabags, tea bag, tea bags, k cup, k cups, kcup, kcups, pod, pods, "
        "stick, sticks, bar, bars, cup, cups, set, sets, sheet, sheets, roll, rolls, wipe, wipes, diaper, diapers, "
        "egg, eggs, envelope, envelopes, card, cards, stem, stems, ampoule, ampoules, sachet, sachets, packet, "
        "packets, bag, bags, pouch, pouches, box, boxes, can, cans, bottle, bottles, jar, jars, tin, tins, tub, "
        "tubs, carton, cartons, canister, canisters, tube, tubes, pack, packs, pk, case, cases",
        2: "pair, pairs",
        12: "dozen, dozens, dz, doz",
        144: "gross",
    },
    "millimetre": {
        1: "mm, millimetre, millimetres, millimeter, millimeters",
        10: "cm, cms, centimetre, centimetres, centimeter, centimeters",
        1000: "m, mtr, mtrs, metre, metres, meter, meters",
        25.4: 'in, inch, inches, ", ”',
        304.8: "ft, foot, feet",
        914.4: "yd, yds, yard, yards",
    },
    "square metre": {
        1: "m2, m², sqm, sq m, square metre, square metres, square meter, square meters",
        0.09290304: "sqft, sq ft, sq feet, square foot, square feet",
    },
}
UNITS = (*TABLE, OTHER, NONE)  # every value that the `unit` column can have
SPELLINGS: dict[str, tuple[str, float]] = {
    spelling: (unit, float(factor))
    for unit, factors in TABLE.items()
    for factor, spellings in factors.items()
    for spelling in spellings.split(", ")
}

_STRENGTHS = frozenset(f"{TABLE['gram'][1e-6]}, {TABLE['gram'][1e-3]}".split(", "))
# A count of these beside a weight says how many times the weight is there ("8 oz bags, 12 count"); a count of pieces,
# tablets or sticks says only how the weight is cut up ("5 oz, 40 pieces").
_HOLDERS = frozenset(
    "bag bags bottle bottles box boxes can canister canisters cans carton cartons cnt count counts ct cts jar jars "
    "packet packets pc pcs pouch pouches tin tins tub tube tubes tubs unit units".split()
)


@dataclass(frozen=True)
class Quantity:
    """Amount and pack of a listing, as its words state them."""

    amount: float | None  # the listing's total in `unit`'s canonical member, None if unstated
    unit: str
    pack: int  # 1 if unstated


@dataclass(frozen=True)
class _Amount:
    size: float  # in `unit`'s canonical member, of one
    unit: str
    spelling: str
    times: int  # stated beside it: 6 in "6 x 330 ml"


def _normalise(spelling: str) -> str:
    """Bring a unit's spelling into one form: 'Fl. Oz ' and 'fl-oz' are both 'fl oz'."""
    return " ".join(re.sub(r"[.\-_]", " ", spelling.casefold()).split())


def find_unit(spelling: str) -> tuple[str, float]:
    """Return a spelling's canonical member, and how many of that one unit is; (`other`, 1.0) for an unknown one."""
    return SPELLINGS.get(_normalise(spelling), (OTHER, 1.0))


def is_sane(amount: float) -> bool:
    """Tell whether an amount can be one: finite, positive, and within what float32 and a warehouse hold."""
    return MIN_AMOUNT <= amount <= MAX_AMOUNT


def _spelled(*units: str) -> str:
    """A pattern of every spelling of some canonical members, longest first, each up to the end of its word."""
    spellings = sorted((s for s, (unit, _) in SPELLINGS.items() if unit in units), key=len, reverse=True)
    return "|".join(
        re.escape(s).replace(r"\ ", "[ .-]{1,2}") + (r"(?:(?!\w)|(?=x ?\d))" if s[-1].isalnum() else "")
        for s in spellings
    )


_WORDS = {
    "twin": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
_END = r"(?!\w|[.,/]\d)"
# "10g protein" is what is in it, not how much of it there is; "500 g protein powder" is.
_NUTRIENT = (
    r"(?! (?:of )?(?:net |total |added |dietary |plant |vegan |whey )?(?:carbs?|carbohydrates?|caffeine|cbd|fat|sodium|"
    r"sugars?|fib(?:er|re)|protein(?! (?:powder|bars?|shakes?|drinks?|cookies?|chips)))(?!\w))"
)
_NUMBER = (
    r"\d{1,4}[ -]\d{1,2}/\d{1,2}(?![\d/])|\d{1,4}/\d{1,4}(?:\.\d{1,4})?(?![\d/])|\d{1,9}(?:[.,]\d{1,9}){0,3}|\.\d{1,6}"
)


@cache
def _pack_patterns() -> tuple[re.Pattern[str], ...]:
    """Signs of a pack, the best first. A number that a unit follows ("pack of 3.3 oz cups") is a size, not a pack."""
    n = rf"(?P<n>\d{{1,5}}|{'|'.join(_WORDS)})"
    unmeasured = rf"{_END}(?! ?-? ?(?:{_spelled('gram', 'millilitre', 'millimetre', 'square metre')}))"
    uncounted = rf"{unmeasured}(?! ?-? ?(?:{_spelled('count')}))"
    patterns = (
        rf"(?<!\w)(?:pack|pk|pck|package|case|set|bundle|lot)s? of ?[:(]? ?{n}{unmeasured}",
        rf"(?<![\w.,/#$]){n}[ -]{{0,2}}(?:packs?|pks?|pck)(?!\w)",
        rf"(?<!\w)pk[ .:#-]{{1,3}}{n}{uncounted}",
        rf"(?<!\w)pack[ .:#-]{{1,3}}{n}(?= ?(?:[]),;|]|- |$))",
        rf"(?<![\w.,/#$]){n} ?(?:per|/) ?(?:case|carton|box|pack)(?!\w)",
        rf"(?<!\w)(?:box|carton|tray)(?:es|s)? of ?{n}{uncounted}",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


@cache
def _amount_pattern() -> re.Pattern[str]:
    return re.compile(
        rf"(?<![\w.,/#$])(?!(?-i:3M|[2-6]G)\b)"  # a maker of tape and the generations of telephones
        rf"(?:(?P<times>\d{{1,5}}) ?[x×*] ?)?(?P<number>{_NUMBER}) ?-? ?(?!(?-i:M)\b)(?P<unit>{_spelled(*TABLE)})"
        rf"(?!(?<=[\d -]in)(?: [a-z]| ?-?\d)){_NUTRIENT}"  # "2 in 1" and "5 in a row" are not inches
        rf"(?: ?[x×*] ?(?P<by>\d{{1,5}}){_END})?",
        re.IGNORECASE,
    )


_FRACTIONS = str.maketrans(
    dict(zip("½⅓⅔¼¾⅛⅜⅝⅞", (" 1/2", " 1/3", " 2/3", " 1/4", " 3/4", " 1/8", " 3/8", " 5/8", " 7/8"), strict=True))
)


def read_quantity(words: str) -> Quantity:
    """Read amount and pack from `words`. Of two amounts ("12 oz (340 g)") the first counts; they are never summed.

    Weight and volume go before areas, then counts, lengths, and last strengths ("500 mg").
    """
    pack, rest = _take_packs(words)
    amounts = list(_amounts(rest))
    measures = [a for a in amounts if a.unit in ("gram", "millilitre") and a.spelling not in _STRENGTHS]
    counts = sorted((a for a in amounts if a.unit == "count"), key=lambda a: a.size <= 1)  # "1 box (10 pods)" is ten
    areas = [a for a in amounts if a.unit == "square metre"]
    lengths = [a for a in amounts if a.unit == "millimetre"]
    candidates = measures or areas or counts or lengths or amounts
    if not candidates:
        return Quantity(float(pack), "count", pack) if pack > 1 else Quantity(None, NONE, 1)
    chosen = candidates[0]
    times = chosen.times if chosen.times != pack else 1  # "6 x 330 ml (pack of 6)" says it twice
    pack = pack * times if pack * times <= MAX_PACK else 1
    amount = chosen.size * pack
    if measures and pack == 1:
        held = next((a.size for a in counts if a.spelling in _HOLDERS), 1)
        amount *= held if amount * held <= HELD_LIMIT else 1
    return Quantity(amount, chosen.unit, pack) if is_sane(amount) else Quantity(None, NONE, pack)


def without_quantities(words: str) -> str:
    """The words without their amounts and packs; numbers that measure nothing stay."""
    return _amount_pattern().sub(" ", _take_packs(words)[1])


def _take_packs(words: str) -> tuple[int, str]:
    """The pack that the best sign says, and the words without any sign of a pack, singly spaced."""
    words = " ".join(words[:WORDS_LIMIT].translate(_FRACTIONS).split())
    pack = None
    for pattern in _pack_patterns():
        if pack is None and (found := pattern.search(words)):
            pack = _WORDS.get(found["n"].lower()) or int(found["n"])
        words = pattern.sub(" , ", words)
    return (pack if pack and pack <= MAX_PACK else 1), words


def _amounts(words: str) -> Iterator[_Amount]:
    for found in _amount_pattern().finditer(words):
        number, lots = _number(found["number"])
        unit, factor = find_unit(found["unit"])
        times = lots * int(found["times"] or 1) * int(found["by"] or 1)
        if unit in ("millimetre", "square metre"):
            times = 1  # "8 x 10 in" is a shape
        if number > 0 and times > 0:
            yield _Amount(number * factor, unit, _normalise(found["unit"]), times)


def _number(written: str) -> tuple[float, int]:
    """A number as shops write it, and how many lots: (0.5, 1) for "1/2", (12.0, 4) for "4/12", (0.0, 1) if none."""
    if mixed := re.fullmatch(r"(\d+)[ -](\d+)/(\d+)", written):
        whole, above, below = (int(part) for part in mixed.groups())
        return (whole + above / below if below else 0.0), 1
    if "/" in written:
        lots, size = written.split("/")
        usual = size in ("2", "3", "4", "8", "16") and 0 < int(lots) < int(size) and gcd(int(lots), int(size)) == 1
        return (int(lots) / int(size), 1) if usual else (float(size), int(lots))
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", written):  # 1,500 and 1,234,567.5
        return float(written.replace(",", "")), 1
    if re.fullmatch(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+", written):  # 1.500,5
        return float(written.replace(".", "").replace(",", ".")), 1
    if re.fullmatch(r"\d*[.,]?\d+", written):  # 1.5 and 1,5
        return float(written.replace(",", ".")), 1
    return 0.0, 1
