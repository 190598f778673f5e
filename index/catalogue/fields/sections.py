"""Sections of a text in the challenge's form, cut at its labels: "Item Name:", "Bullet Point 1:", "Value:"."""

import re

LABEL = re.compile(r"\s{0,9}(item name|bullet point|product description|value|unit)(?: ?\d{1,3})?:", re.IGNORECASE)
_AS_WRITTEN = {  # looked up first: nearly every label of such a catalogue is written so
    "Item Name": "item name",
    "Product Description": "product description",
    "Value": "value",
    "Unit": "unit",
    **{f"Bullet Point {number}": "bullet point" for number in range(1, 13)},
}
_LABEL_LIMIT = 40  # characters before the colon, blanks and number included


Section = tuple[str, int, int]
"""A label in lower case, "" for lines before any label or below a value, and the range of lines that it has."""


def cut(text: str) -> tuple[list[str], list[Section]]:
    """Return the lines of a text without the challenge's labels, and the sections that these begin.

    A value and a unit take one line each. A section without a label may be empty.
    """
    lines = text.splitlines()
    sections: list[Section] = []
    label, start = "", 0
    for at, line in enumerate(lines):
        head, colon, rest = line.partition(":")
        if colon and (following := _AS_WRITTEN.get(head) or _label(head, line)):
            lines[at] = rest
        elif label in ("value", "unit"):
            following = ""
        else:
            continue
        sections.append((label, start, at))
        label, start = following, at
    sections.append((label, start, len(lines)))
    return lines, sections


def _label(head: str, line: str) -> str:
    """The label that a line begins with, in any case and with any number; "" for none."""
    found = LABEL.match(line) if len(head) <= _LABEL_LIMIT else None
    return found[1].lower() if found else ""
