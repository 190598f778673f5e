"""Texts of an item that say one thing less, or twice the amount: by them a price is taken apart.

A text is cut into lines by what they are for `parse_fields`: the name, an amount, a labelled attribute ("Brand: Acme"),
and prose. It knows no price.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from index.catalogue.fields.labels import ATTRIBUTE, SIZE, label_of, name_line
from index.catalogue.fields.parse import parse_fields
from index.catalogue.fields.rewrite import doubled, quantities, without_stated
from index.catalogue.fields.sections import cut

NAME, AMOUNT, PROSE, NOTHING = "name", "amount", "description", ""  # what a line is, beside labels of attributes
BRANDS = frozenset(
    "brand, brand name, manufacturer, maker, vendor, marke, hersteller, marque, fabricant, marca, fabricante, "
    "produttore, merk, producent".split(", ")
)
_LABELS = {"item name": NAME, "value": AMOUNT, "unit": AMOUNT, "bullet point": PROSE, "product description": PROSE}


@dataclass(frozen=True)
class Line:
    """A line of a text: `before` its words, such as a label, is kept where the words change."""

    kind: str
    before: str
    words: str
    label: str = ""  # of the challenge's form

    def __str__(self) -> str:
        return self.before + self.words


class Parts:
    """A text in lines, by which each of its parts is left out or changed."""

    def __init__(self, text: str, shared: Collection[str] = frozenset()) -> None:
        """Cut a text; `shared` first lines say nothing of the item, as of `parse_fields`."""
        self._shared = shared
        self._fields = parse_fields(text, shared)
        without_labels, sections = cut(text)
        written = text.splitlines()
        self._labelled = any(label in ("item name", "bullet point", "product description") for label, _, _ in sections)
        label_at = {at: label for label, start, end in sections for at in range(start, end)}
        self.lines = [
            _line(label_at.get(at, ""), written[at], words) if words.strip() else Line(NOTHING, "", written[at])
            for at, words in enumerate(without_labels)
        ]
        if not self._labelled:
            self._find_name()

    def _find_name(self) -> None:
        """Mark the line of a free text that names the item, and those that say nothing."""
        places = [at for at, line in enumerate(self.lines) if line.kind != NOTHING and not line.label]
        if places:
            name, words, silent = name_line([str(self.lines[at]) for at in places], self._shared)
            for place, at in enumerate(places):
                line = str(self.lines[at])
                if place == name:
                    self.lines[at] = Line(NAME, line[: len(line) - len(words)] if line.endswith(words) else "", words)
                elif place in silent:
                    self.lines[at] = Line(NOTHING, "", line)

    @property
    def name(self) -> str:
        """Name of the item, without the amount that it states."""
        return without_stated(self._fields.name)

    @property
    def amount(self) -> str:
        """Amount of it, as a person writes it: "680 gram"; "" where the text does not say."""
        amount = self._fields.amount
        return "" if amount is None else f"{amount:,.6g} {self._fields.unit}"

    @property
    def twice_the_amount(self) -> str:
        """Twice that."""
        amount = self._fields.amount
        return "" if amount is None else f"{2 * amount:,.6g} {self._fields.unit}"

    @property
    def prose(self) -> str:
        """Words beside name, amount and attributes."""
        return " ".join(line.words.strip() for line in self.lines if line.kind == PROSE)

    @property
    def attributes(self) -> dict[str, str]:
        """Label -> words of each labelled attribute."""
        kinds = (NAME, AMOUNT, PROSE, NOTHING)
        return {line.kind: line.words.strip() for line in self.lines if line.kind not in kinds}

    def without_name(self) -> str:
        """The text whose name says nothing but the amount."""
        return self._changed(NAME, lambda words: ", ".join(quantities(words)))

    def without_amount(self) -> str:
        """The text without what it says of the amount. Prose of a labelled text stays: no amount is read from it."""
        lines = [line for line in self.lines if line.kind != AMOUNT]
        kinds = {NAME} if self._labelled else {line.kind for line in lines} - {NOTHING}
        return _joined(
            replace(line, words=without_stated(line.words)) if line.kind in kinds else line for line in lines
        )

    def without_prose(self) -> str:
        """The text of name, amount and attributes alone."""
        return self._changed(PROSE, lambda words: "")

    def without_attribute(self, label: str) -> str:
        """The text without an attribute; a brand goes from the name, too."""
        words = self.attributes.get(label, "")
        lines = [line for line in self.lines if line.kind != label]
        text = _joined(lines)
        return Parts(text, self._shared).without_words(words) if label.casefold() in BRANDS else text

    def without_words(self, words: str) -> str:
        """The text whose name lacks these words, where they stand in it."""

        def lacking(name: str) -> str:
            without = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", "", name, count=1, flags=re.IGNORECASE)
            return name if without == name else " ".join(without.split()).strip(" ,;-")

        return self._changed(NAME, lacking)

    def with_twice_the_amount(self) -> str | None:
        """The text that states twice the amount; None where it states none, or in no way that can be changed."""
        if self._fields.amount is None:
            return None
        everything = {line.kind for line in self.lines} - {NOTHING}
        for kinds in ({NAME, AMOUNT}, everything):
            text = "\n".join(str(self._twice(line) if line.kind in kinds else line) for line in self.lines)
            after = parse_fields(text, self._shared)
            if after.unit == self._fields.unit and after.amount and math.isclose(after.amount, 2 * self._fields.amount):
                return text
        return None

    def _twice(self, line: Line) -> Line:
        if line.label == "unit":
            return line
        if line.label == "value":
            try:
                return replace(line, words=f"{2 * float(line.words):.12g}")
            except ValueError:
                return line
        return replace(line, words=doubled(line.words) or line.words)

    def _changed(self, kind: str, change: Callable[[str], str]) -> str:
        """The text with the words of its lines of a kind changed; a line that has none left goes."""
        return _joined(replace(line, words=change(line.words)) if line.kind == kind else line for line in self.lines)


def _line(label: str, written: str, words: str) -> Line:
    """A line below a label of the challenge's, which it may begin with, or below none."""
    words = words.lstrip()
    before = written[: len(written) - len(words)]
    if label:
        return Line(_LABELS[label], before, words, label)
    kind, rest = label_of(words)
    if kind == SIZE:
        return Line(AMOUNT, before, words)
    if kind == ATTRIBUTE and rest != words:
        label = words[: len(words) - len(rest)]
        return Line(label.rstrip().rstrip(":：").strip(), before + label, rest)
    return Line(PROSE, before, words)


def _joined(lines: Iterable[Line]) -> str:
    return "\n".join(str(line) for line in lines if line.words.strip())
