"""Numbers among tokens: whole, decimal, mixed, fractions and wholesalers' lots; and what only looks like a number.

What three digits after a comma are worth depends on the unit, so a `Number` keeps what is written.
"""

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

from index.catalogue.units.tokens import DIGITS, read_decimal
from index.catalogue.units.vocabulary import NUMBER_WORDS

MAX_PACK = 32_767  # int16
_DENOMINATORS = frozenset(("2", "3", "4", "8", "16"))  # of the fractions that shops write; "4/12" are lots
NOT_AMOUNTS = frozenset("$€£¥₹₩₽#_@")  # before a number: a price, a number of a thing


class Number(NamedTuple):
    """A number that a text writes, and the tokens it takes."""

    start: int
    written: str | float  # what a unit decides the value of, or the value
    lots: int  # 4 in "4/12 oz" and in "4 x 12 oz"; 0 where what multiplies is no whole number
    after: int  # where the tokens after it start
    widest: float = 0.0  # of what was multiplied: 48 in "48 x 24 in"

    def value(self, thousandths: str = "") -> float:
        """Return the value, 0.0 if it is none; three digits after one of the signs `thousandths` are a fraction."""
        return read_decimal(self.written, thousandths) if isinstance(self.written, str) else self.written

    def whole(self) -> int:
        """Return a whole number that can be a pack, else 0."""
        value = self.value()
        return int(value) if value <= MAX_PACK and value.is_integer() else 0


def read_number(words: Sequence[str], at: int) -> Number | None:
    """Return the number that starts at `at`, None for a price or a date."""
    word, after = words[at], at + 1
    if word in NUMBER_WORDS:
        return Number(at, NUMBER_WORDS[word], 1, after + (word == "half" and words[after] == "a"))
    if words[at - 1] in NOT_AMOUNTS:
        return None
    if "/" in word:
        return _fraction(word, at)
    if word.isdigit():
        above = after + (words[after] == "-")  # "1 1/2" and "1-1/2"
        if "/" in words[above] and words[above][0] in DIGITS and (part := _proper(words[above])):
            return Number(at, read_decimal(word, "") + part, 1, above + 1)
    return Number(at, word, 1, after)


def _proper(written: str) -> float:
    """Return a fraction as shops write it, 0.0 for any other."""
    above, _, below = written.partition("/")
    fits = below in _DENOMINATORS and above.isdigit() and len(above) < 3 and 0 < int(above) < int(below)
    return int(above) / int(below) if fits and gcd(int(above), int(below)) == 1 else 0.0


def _fraction(written: str, at: int) -> Number | None:
    """Return "1/2" as a half, "4/12" and "24/1" as lots; None for a date."""
    if part := _proper(written):
        return Number(at, part, 1, at + 1)
    above, _, below = written.partition("/")
    if "/" in below or not above.isdigit() or len(above) > 5 or not int(above):
        return None
    return Number(at, below, int(above), at + 1)
