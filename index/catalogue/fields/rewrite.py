"""Rewrite words so that they state no amount, or twice the amount, of an item that is otherwise the same.

Nothing here decides what an amount is: each change is read again by `read_quantity`, and taken if it reads as it
should.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from index.catalogue.units.quantity import Quantity, read_quantity
from index.catalogue.units.scan import Scan
from index.catalogue.units.tokens import WORDS_LIMIT

MOST_NUMBERS = 8  # of the words that are tried
MOST_READINGS = 4
_NUMBER = re.compile(r"[0-9]+/[0-9]+|[0-9]+(?:[.,][0-9]+)*")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
_EMPTY_BRACKETS = re.compile(r"\(\W*\)|\[\W*\]")
_DANGLING = re.compile(r"(?:\s*[,;|/&+-]+)+\s*(?=[,;|)\]]|$)")

Place = tuple[int, int]


def quantities(words: str) -> list[str]:
    """List the pieces of the words that state amounts and packs, in their order."""
    written, places = _cut(words)
    return [written[start:end] for start, end in places]


def without_stated(words: str) -> str:
    """The words as they are written, singly spaced, without their amounts and packs."""
    for _ in range(MOST_READINGS):  # what is left may read as an amount only now: "x12" of "x12 (Pack of 1)"
        rest = _without_read(words)
        if rest == words:
            break
        words = rest
    return words


def _without_read(words: str) -> str:
    """The words without what is read of amounts at once."""
    written, places = _cut(words)
    if not places:
        return words
    kept, at = [], 0
    for start, end in places:
        kept.append(written[at:start])
        at = end
    rest = " ".join(" ".join((*kept, written[at:])).split())
    return _DANGLING.sub("", _EMPTY_BRACKETS.sub("", rest)).strip(" ,;|-")


def doubled(words: str) -> str | None:
    """The words with the numbers changed that make them state twice the amount; None where that cannot be done."""
    before = read_quantity(words)
    if before.amount is None:
        return None
    written, places = _cut(words)
    numbers = list(_numbers(written, places))[:MOST_NUMBERS]
    # "12 oz (340 g)" says it twice; of "6 x 330 ml" either number will do.
    like = [place for place, of in numbers if read_quantity(written[slice(*of)]).unit == before.unit]
    for chosen in (like, *([place] for place, _ in numbers)):
        if _doubles(after := _with_twice(written, chosen), before):
            return after
    twice = f"{words} (Pack of 2)"  # of "1 lb 8 oz", and of words: "a dozen"
    return twice if _doubles(twice, before) else None


def _doubles(words: str, before: Quantity) -> bool:
    """Tell whether the words state twice the amount of `before`."""
    after = read_quantity(words)
    if before.amount is None or after.amount is None or after.unit != before.unit:
        return False
    return abs(after.amount - 2 * before.amount) <= 1e-6 * before.amount


def _with_twice(written: str, places: list[Place]) -> str:
    """The words with the numbers at `places`, which rise, twice as large."""
    pieces, at = [], 0
    for start, end in places:
        pieces += [written[at:start], _twice(written[start:end])]
        at = end
    return "".join((*pieces, written[at:]))


def _twice(number: str) -> str:
    """Twice a number, written as it is."""
    if "/" in number:
        above, below = map(int, number.split("/"))
        return str(Fraction(2 * above, below)) if below else number
    if number.isdigit():
        return str(2 * int(number))
    if _THOUSANDS.fullmatch(number):
        return f"{2 * int(number.replace(',', '')):,}"
    if number.count(".") + number.count(",") > 1:
        return number
    return f"{2 * float(number.replace(',', '.')):g}".replace(".", "," if "," in number else ".")


def _numbers(written: str, places: list[Place]) -> Iterator[tuple[Place, Place]]:
    """Yield where each number stands that is part of a stated amount, and where that amount stands."""
    for start, end in places:
        for found in _NUMBER.finditer(written, start, end):
            if len(found[0]) <= 9:
                yield found.span(), (start, end)


def _cut(words: str) -> tuple[str, list[Place]]:
    """The words and where their amounts and packs stand: as they are written, or folded where that moves characters."""
    scan = Scan(words)
    read, tail = words[:WORDS_LIMIT], words[WORDS_LIMIT:]
    aligned = len(scan.folded) == len(read) and all(
        folded == plain.lower() for folded, plain in zip(scan.folded, read, strict=True) if plain.isascii()
    )
    return (words if aligned else scan.folded + tail), scan.places()
