"""Tokens behind a number: its unit or the noun of a pack, and what multiplies it.

Every rule is a function of the tokens and of where it looks.
"""

import re
from collections.abc import Sequence

from index.catalogue.units.lexicon import ENTRIES, FOOT, INCH, PACK, PIECE, Unit
from index.catalogue.units.numbers import MAX_PACK, Number, read_number
from index.catalogue.units.packs import CLOSING, HELD
from index.catalogue.units.tokens import DIGITS
from index.catalogue.units.vocabulary import ADJECTIVES, DASHES, ENDING, HOLDERS_AFTER_SIZE, INNER, TIMES, TO

_RANGE_LIMIT = 4.0  # "2-14 oz" are two of 14 oz, "10-14 oz" is about 12
_DESCRIBED = HOLDERS_AFTER_SIZE | INNER  # what may have an adjective before it
_LEAST_MARKED = 4  # tablets in "10's"
_GLUED_TIMES = re.compile(r"([a-z]+)x([0-9]{1,5})")  # "mlx6"


def unit_behind(words: Sequence[str], at: int) -> tuple[Unit, int] | None:
    """Return the unit or the noun of a pack that starts at `at`, maybe behind a hyphen, and where it ends."""
    if words[at] in DASHES:
        at += 1
    first = words[at]
    entries = ENTRIES.get(first)
    if entries is None:
        if first in ADJECTIVES:  # "9 plastic bottles", "120 vegan capsules"
            at += 1 + (words[at + 1] in ADJECTIVES)
            held = words[at]
            return (ENTRIES[held][-1][1], at + 1) if held in ENTRIES and held in _DESCRIBED else None
        if first[-1] in DIGITS and (glued := _GLUED_TIMES.fullmatch(first)):
            return next(((unit, at) for more, unit in ENTRIES.get(glued[1], ()) if not more), None)
        return None
    if first in ENDING and words[at + 1 + (words[at + 1] == ".")] not in CLOSING:
        return None
    for more, unit in entries:
        end = at + 1
        for word in more:
            if words[end] in (".", "-"):
                end += 1
            if words[end] != word:
                break
            end += 1
        else:
            return unit, end + (words[end] == ".")
    return None


def multiplied(words: Sequence[str], number: Number) -> Number:
    """Return "4 x 6 x 330" as 330 in 24 lots."""
    while words[number.after] in TIMES and words[number.after + 1][-1] in DIGITS:
        second = read_number(words, number.after + 1)
        if second is None:
            break
        lots, widest = number.lots * number.whole() * second.lots, max(number.widest, number.value("."))
        number = Number(number.start, second.written, min(lots, MAX_PACK + 1), second.after, widest)
    return number


def times_behind(words: Sequence[str], unit: Unit, after: int) -> tuple[int, int]:
    """Return what an amount is multiplied by behind its unit, and where that ends: (6, end) for "x 6 pcs"."""
    behind = words[after]
    number: Number | None = None
    if behind in TIMES and words[after + 1][0] in DIGITS:
        number = read_number(words, after + 1)
    elif behind[-1] in DIGITS and (glued := _GLUED_TIMES.fullmatch(behind)) and glued[1] == unit.spelling:
        number = Number(after, glued[2], 1, after + 1)
    if number is None or not number.whole() or number.lots != 1 or unit.name in ("millimetre", "square metre"):
        return 1, after
    found = unit_behind(words, number.after)
    if found is None:
        return number.whole(), number.after
    held, end = found
    if held.name == PACK or (held.name == "count" and (unit.name != "count" or held.spelling in HELD)):
        return number.whole() * int(held.factor), end
    return 1, after


def paired(words: Sequence[str], number: Number, folded: str) -> tuple[Number, Unit, int] | None:
    """Read two numbers with one unit, a range ("2-3 lb") or a count and a size ("24-12 fl oz", "6-14 oz boxes").

    Returns the amount, the middle of a range, with its unit and where that ends; None for anything else.
    """
    dash = number.after
    if not (words[dash] in DASHES or words[dash] in TO) or words[dash + 1][-1] not in DIGITS:
        return None
    second = read_number(words, dash + 1)
    found = unit_behind(words, second.after) if second and second.lots == 1 else None
    if second is None or found is None or found[0].name == PACK:
        return None
    unit, after = found
    low, high, count = number.value(unit.thousandths), second.value(unit.thousandths), number.whole()
    spaced = f"{words[dash - 1]} {words[dash]}" in folded
    if unit.name in ("gram", "millilitre") and count and words[dash] in DASHES:
        held = words[after] in HOLDERS_AFTER_SIZE or words[after + 1] in HOLDERS_AFTER_SIZE
        if held or low >= high or (high >= _RANGE_LIMIT * low and not spaced):
            return second._replace(start=number.start, lots=count), unit, after
    if not 0 < low < high or (spaced and high > 2 * low):
        return None
    return Number(number.start, (low + high) / 2, number.lots, second.after), unit, after


def marked(words: Sequence[str], number: Number) -> tuple[Number, Unit, int] | None:
    """Read what an apostrophe marks: feet (6'), inches (6''), a count of tablets (10's); None for anything else."""
    after = number.after
    if words[after] != "'" or words[number.start - 1] == "'":
        return None
    following = words[after + 1]
    if following == "'":
        return number, INCH, after + 2
    if following == "s":
        count = number.whole()
        named = count < _LEAST_MARKED or (count % 10 == 0 and 20 <= count <= 90)  # "2's company", "the 80's"
        return None if named else (number, PIECE, after + 2)
    return (number, FOOT, after + 1) if not following.isalpha() or following in TIMES else None
