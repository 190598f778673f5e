"""Scan of a text for amounts and packs: every number, with what stands behind and before it, read once from the left.

It finds the parts ("6 x 330 ml", "20 bags each") and the packs ("pack of 4"); `quantity` makes one amount of them.
Every rule looks a bounded number of tokens ahead or back, so the time is linear in the text, which `tokens` bounds.
"""

import re
from typing import NamedTuple

from index.catalogue.units import context
from index.catalogue.units.behind import marked, multiplied, paired, times_behind, unit_behind
from index.catalogue.units.lexicon import ENTRIES, FLAT, PACK, PIECE, Unit
from index.catalogue.units.numbers import MAX_PACK, Number, read_number
from index.catalogue.units.packs import BEFORE, BEHIND, BOX, OF, PER_CASE, Pack, level_of, pack_before, times_before
from index.catalogue.units.plain import SPEAKING_BEFORE, is_silent, is_spoken_for, plain_pack, plain_unit
from index.catalogue.units.tokens import DIGITS, PADDING, fold, pattern_of, read_decimal, tokenize
from index.catalogue.units.vocabulary import (
    BOX_NOUNS,
    CONTAINERS,
    DOZENS,
    HOLDERS_AFTER_SIZE,
    LINKS,
    NAMED_BY_NUMBER,
    NUMBER_WORDS,
    OF_EACH,
    PACK_NOUNS,
    PACK_ONLY_WORDS,
    PACK_WORDS,
    PER,
    SHAPED,
    TIMES,
    TOTALS,
)

_STARTS = frozenset((*NUMBER_WORDS, *DOZENS, *PACK_WORDS))
_KNOWN_PIECES, _LONGEST_PIECE = 1 << 15, 40  # how many are kept, and of how many characters
_GALLON, _FLUID_OUNCE = 3785.411784, 29.5735295625
# Factors of the two units that one amount may be said in: "1 lb 8 oz", "5 ft 10 in", "1 qt 1.8 fl oz".
_LARGE_AND_SMALL = frozenset(
    (round(large, 3), round(small, 3))
    for large, *smaller in (
        (453.59237, 28.349523125),
        (1000.0, 1.0, 10.0),
        (304.8, 25.4),
        (914.4, 304.8, 25.4),
        (_GALLON, _GALLON / 4, _GALLON / 8, _FLUID_OUNCE),
        (_GALLON / 4, _GALLON / 8, _FLUID_OUNCE),
        (_GALLON / 8, _FLUID_OUNCE),
    )
    for small in smaller
)
_JOINTS = frozenset((".", ",", "&", "and"))  # between the two units of one amount
_TELEPHONES = frozenset("23456")  # 5G
_QUOTATION = re.compile(r'(?:^|[\s(])"\S')


class Part(NamedTuple):
    """An amount that the text states, in the canonical member of `unit`."""

    size: float  # of one
    unit: str
    spelling: str  # "" for a bare number: 72 in "8 packs of 72"
    times: int = 1  # stated with it: 6 in "6 x 330 ml"
    of_each: bool = False  # said to be of each
    total: bool = False  # said to be of all
    nested: bool = False  # said to be what a pack holds: 6 bags in "12 packs of 6 bags"


class _Signs(NamedTuple):
    """Signs in a piece of text that an amount may stand there."""

    starts: tuple[int, ...]  # the tokens that a number may start at
    filled: bool  # whether a word of `context.FILLED` is among them


class _Pieces(dict[str, tuple[list[str], _Signs | None]]):
    """The tokens of what stands between two blanks, which no token goes beyond, and the signs in them.

    A catalogue writes few such pieces, a million times: they are cut once.
    """

    def __missing__(self, piece: str) -> tuple[list[str], _Signs | None]:
        tokens = tokenize(piece)
        starts = tuple(at for at, token in enumerate(tokens) if token[-1] in DIGITS or token in _STARTS)
        filled = not context.FILLED.isdisjoint(tokens)
        cut = tokens, _Signs(starts, filled) if starts or filled else None
        if len(self) < _KNOWN_PIECES and len(piece) <= _LONGEST_PIECE:
            self[piece] = cut
        return cut


_pieces = _Pieces()


class Scan:
    """The parts and packs of a text, in order, and which of its tokens state them."""

    _end = 0  # tokens before it are read
    _link = -1  # where a number starts that says what the last part or pack holds
    _links_part = False
    _lots = (-1, 1)  # where an amount starts that a bare number stands right before: "two 12 oz bottles"
    _joint = -9  # where the smaller of two units may stand
    _larger = ("", 0.0)  # canonical member and factor of what ends there
    _fit = -9  # where a fit ends, behind which another unit may say it again: "fits 750 ml (25.4 oz)"
    _filled = False  # whether the text names products that are sold by what fits in

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = folded = fold(text)
        self.words = words = list[str]()
        self.parts: list[Part] = []
        self.packs: list[Pack] = []
        self._spans: list[tuple[int, int]] = []
        starts: list[int] = []
        filled = False
        for piece in folded.split():
            tokens, signs = _pieces[piece]
            if signs:
                starts += [len(words) + place for place in signs.starts]
                filled = filled or signs.filled
            words += tokens
        if filled:
            self._filled = context.may_be_filled(words)
        words += PADDING
        for start in starts:
            if start >= self._end and (self._filled or not self._read_plain(start)):
                self._read(start)

    def rest(self) -> str:
        """Return the folded text without the tokens that state parts and packs, singly spaced."""
        kept, at = [], 0
        for start, end in self.places():
            kept.append(self.folded[at:start])
            at = end
        return " ".join(" ".join((*kept, self.folded[at:])).split())

    def places(self) -> list[tuple[int, int]]:
        """List where in the folded text parts and packs are stated, rising; none overlap."""
        if not self._spans:
            return []
        tokens = [found.span() for found in pattern_of(self.folded).finditer(self.folded)]
        stated, at = [], 0
        for first, last in sorted(self._spans):
            start, end = max(at, tokens[first][0]), tokens[last - 1][1]
            if end > start:
                stated.append((start, end))
                at = end
        return stated

    def _read_plain(self, at: int) -> bool:
        """Read a plain number ("12 oz", "20-count", "pack of 6", "100% pure"), and tell whether it was one.

        The short way to what `_read` does with them: three in four numbers of a catalogue are so.
        """
        words = self.words
        word, before = words[at], words[at - 1]
        if word[0] not in DIGITS and word[0].isalpha():
            return word not in _STARTS  # "b12" is a name
        if before == "of" and (count := plain_pack(words, at)):
            if at - 2 >= self._end:  # else the "packs of" in "8 packs of 72" are read
                self._add_pack(Pack(count, OF, level_of(words[at - 2])), at - 2, at + 1)
            return at < self._end
        if at in (self._link, self._lots[0], self._fit, self._fit + 1) or (
            before in SPEAKING_BEFORE and is_spoken_for(words, at)
        ):
            return False
        found = plain_unit(words, at)
        if found is None:
            return is_silent(words, at)
        (name, factor, spelling, thousandths), end = found
        value = float(word) if word.isdigit() and len(word) < 9 else read_decimal(word, thousandths)
        smaller = at - self._joint < 2 and name == self._larger[0]  # maybe the ounces of "1 lb 8 oz"
        if value <= 0 or smaller or (name == PACK and value > MAX_PACK):
            return False
        if name == PACK:
            self.packs.append(Pack(int(value), BEHIND, 0))
        else:
            self.parts.append(Part(value * factor, name, spelling))
            if name != "count":
                self._joint, self._larger = end, (name, factor)
        self._spans.append((at, end))
        self._end = end
        return True

    def _read(self, at: int) -> None:
        """Read the number at `at`, and what it counts or measures."""
        words = self.words
        word, after = words[at], at + 1
        if word in PACK_WORDS:
            self._add_pack(Pack(PACK_WORDS[word], BEHIND, level=0), at, after)
            return
        if word in DOZENS:
            if words[after] in ENTRIES or not words[after].isalpha():  # not "A Dozen Cousins"
                self._add_amount(Number(at, 12.0, 1, after), PIECE, after)
            return
        number = read_number(words, at) if word[0] in DIGITS or word[0] == "." or word in NUMBER_WORDS else None
        if number is None:  # a price, a date, "b12"
            return
        if words[number.after] in TIMES:
            number = multiplied(words, number)
        found = unit_behind(words, number.after)
        counted = found is None or found[0].name in ("count", PACK)
        if counted and number.lots == 1 and words[at - 1] in BEFORE:
            before = pack_before(words, number, found)
            if before and before.start >= self._end:  # not the "packs of" in "8 packs of 72"
                if before.pack:
                    self._add_pack(before.pack, before.start, before.end)
                    return
                self._spans.append((before.start, before.end))
        if found is None:
            self._read_unmeasured(number)
        elif found[0].name == PACK:
            self._pack_after(number, found[1])
        elif word not in PACK_ONLY_WORDS:
            self._add_amount(number, *found)

    def _read_unmeasured(self, number: Number) -> None:
        """Read a number that no unit follows: a range, feet, "6/cs", what a pack holds, "x6"; or nothing."""
        words, after, count = self.words, number.after, number.whole()
        if number.widest:
            self._end = after
        if amount := paired(words, number, self.folded) or marked(words, number):
            self._add_amount(*amount)
        elif not count:
            return
        elif words[after] in TOTALS:
            counted = unit_behind(words, after + 1)
            if counted and counted[0].name == "count":  # "48 total pieces"
                self._add_part(Part(float(count), "count", "", total=True), number.start, counted[1])
            elif not words[after + 1].isalpha():
                self._add_part(Part(float(count), "count", "", total=True), number.start, after + 1)
        elif words[after] in PER and words[after + 1] in CONTAINERS:
            self._add_pack(Pack(count, PER_CASE, level_of(words[after + 1])), number.start, after + 2)
        elif number.start == self._link and number.lots == 1 and not words[after].isalpha():
            self._hold()
            self._add_part(Part(float(count), "count", "", nested=True), number.start, after)
        elif times_before(words, number, self.text, bool(self.parts)):
            self._add_pack(Pack(count, BEHIND, level=0), number.start - 1, after)
        elif context.total_at(words, number.start, after) >= 0:
            self._add_part(Part(float(count), "count", "", total=True), number.start, after)
        elif number.lots == 1 and words[after][-1] in DIGITS:
            self._lots = (after, count)

    def _pack_after(self, number: Number, after: int) -> None:
        """Take "6 packs", "6-pk", "6er Set"."""
        words = self.words
        count = number.whole() * number.lots
        if not 0 < count <= MAX_PACK or self._is_name(number.start):
            return
        if words[after - 1] == "er":
            noun = after + (words[after] == "-")
            after = noun + 1 if words[noun] in PACK_NOUNS or words[noun] in BOX_NOUNS else after
        self._add_pack(Pack(count, BEHIND, level=0), number.start, after)

    def _add_amount(self, number: Number, unit: Unit, after: int) -> None:
        """Take an amount, unless what stands around it says that it is none."""
        words, start = self.words, number.start
        value = number.value(unit.thousandths)
        if unit.name in FLAT:
            value = max(value, number.widest)  # "8 x 10 in" is a shape
        size = value * unit.factor
        if size <= 0 or self._is_word(number, unit, value, after):
            self._end = number.after if number.widest else self._end
            return
        self._end = after
        again = start - self._fit in (0, 1) and unit.name != "count"
        if again or context.is_fit(words, start, after, unit, self._filled):
            self._fit = after
            self._spans.append((start, after))
            return
        if unit.name == "gram" and context.is_ingredient(words, start, after, unit, size):
            self._end = after + context.dilution(words, after)
            return
        times, end = self._times(number, unit, after)
        if not 0 < times <= MAX_PACK:
            return
        linked = start == self._link and (unit.name == "count" or words[start - 1] not in ("with", "mit", "con", "com"))
        if linked:
            self._hold()
        elif self._is_smaller(start, unit, size):
            self.parts[-1] = self.parts[-1]._replace(size=self.parts[-1].size + size)
            self._spans.append((start, end))
            return
        tokens = context.each_after(words, end)
        before = context.each_before(words, start)
        of_each = before or tokens > 0 or unit.spelling in OF_EACH
        total = context.total_at(words, start, end)
        if total >= 0:
            self._spans.append((min(total, start), max(total + 1, end)))
        self._add_part(
            Part(size, unit.name, unit.spelling, times, of_each, total >= 0, linked and unit.name == "count"),
            start - before,
            end + tokens,
        )
        if unit.name != "count" and times == 1:
            self._joint, self._larger = end, (unit.name, unit.factor)

    def _times(self, number: Number, unit: Unit, after: int) -> tuple[int, int]:
        """Return how often an amount is said to be there, 0 for no whole number, and where that ends."""
        if unit.name in FLAT:
            return 1, after
        words = self.words
        by, end = times_behind(words, unit, after)
        times = number.lots * by
        if self._lots[0] == number.start and unit.name in ("gram", "millilitre"):
            counted = words[end] in HOLDERS_AFTER_SIZE or words[end + 1] in HOLDERS_AFTER_SIZE
            times *= self._lots[1] if counted else 1
        return times, end

    def _is_word(self, number: Number, unit: Unit, value: float, after: int) -> bool:
        """Tell whether what looks like a unit is a word, a name or a quotation mark, or what is counted no whole."""
        spelling, written = unit.spelling, number.written
        if unit.name == "count":
            named = self._is_name(number.start) and spelling not in ("ct", "count")
            named = named or (spelling == "st" and f"{written}st" in self.folded and str(written)[-1] == "1")  # 21st
            shaped = spelling in SHAPED and number.widest > 0 and value <= 14
            decimal = isinstance(written, str) and "." in written and value < 1000  # "Keurig 2.0 K-Cup"
            return (unit.factor == 1.0 and (decimal or not value.is_integer())) or named or shaped
        if spelling == "in":
            glued = f"{written}in" in self.folded or f"{written}-in" in self.folded
            return context.is_preposition(self.words, after, glued)
        if spelling == '"':
            return _QUOTATION.search(self.folded) is not None
        if spelling == "m":
            return re.search(rf"{re.escape(str(written))}\s*M", self.text) is not None  # 3M tape
        return spelling == "g" and written in _TELEPHONES and f"{written}G" in self.text

    def _is_name(self, start: int) -> bool:
        """Tell whether a number names a thing: "iPhone 12", but not 4 in "12 V 4 pack"."""
        return self.words[start - 1] in NAMED_BY_NUMBER and self.words[start - 2][0] not in DIGITS

    def _is_smaller(self, start: int, unit: Unit, size: float) -> bool:
        """Tell whether an amount goes on with the one that ends at the joint: 8 oz in "1 lb 8 oz"."""
        name, factor = self._larger
        between = start - self._joint
        if name != unit.name or between > 1 or (between == 1 and self.words[self._joint] not in _JOINTS):
            return False
        whole = (self.parts[-1].size / factor).is_integer()  # else "half gallon, 64 fl oz" says it twice
        return whole and size < factor and (round(factor, 3), round(unit.factor, 3)) in _LARGE_AND_SMALL

    def _hold(self) -> None:
        """Make a pack of the counted holders that what is read next is in: 6 boxes in "6 boxes of 20 bags"."""
        self._spans.append((self._link - 1, self._link))
        if self._links_part:
            holder = self.parts.pop()
            count = int(holder.size * holder.times)
            if count <= MAX_PACK:
                self.packs.append(Pack(count, BOX, level_of(holder.spelling)))

    def _add_part(self, part: Part, start: int, end: int) -> None:
        self.parts.append(part)
        self._spans.append((start, end))
        self._end = end
        if self.words[end] in LINKS and part.unit == "count":
            self._link, self._links_part = end + 1, True

    def _add_pack(self, pack: Pack, start: int, end: int) -> None:
        self.packs.append(pack)
        self._spans.append((start, end))
        self._end = end
        if self.words[end] in LINKS:
            self._link, self._links_part = end + 1, False
