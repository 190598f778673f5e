"""Text for eyes: one line in which nothing is hidden, moves a cursor or turns its surroundings around.

Whatever a person reads passes through here: a terminal, a refusal, a list of rejects. Data for programs does not.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_CELL = 80  # characters that a message shows of a cell

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # controls, invisible formats, halves of characters, characters of nobody
_BREAKS = dict.fromkeys("\t\r\n\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}", " ")
# Joiners shape the letters of Persian, Hindi and others, and emoji; among Latin letters they only hide.
_JOINED = re.compile(r"(?<=[^\x00-\u024f\u2000-\u206f])[\u200c\u200d](?=[^\x00-\u024f\u2000-\u206f])")


def visible(text: str) -> str:
    r"""Return `text` with what does not show as an escape, such as `\x1b` or `\u202e`, and line breaks as spaces."""
    if text.isprintable():
        return text
    kept = {match.start() for match in _JOINED.finditer(text)}
    return "".join(character if place in kept else _shown(character) for place, character in enumerate(text))


def money(amount: float) -> str:
    """Format money with two decimals, or more for a price that two would show as zero."""
    return f"{amount:,.2f}" if abs(amount) >= 0.1 or not amount else f"{amount:.2g}"


def excerpt(cell: str) -> str:
    """Return what a message shows of a cell: no more than LONGEST_CELL characters of it, each visible."""
    return visible(cell if len(cell) <= LONGEST_CELL else cell[: LONGEST_CELL - 1] + "…")


def without_formula(cell: str) -> str:
    """Return a cell with a ' in front where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")) else cell


def _shown(character: str) -> str:
    if character in _BREAKS:
        return _BREAKS[character]
    return ascii(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character
