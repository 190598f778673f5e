"""Names of items: what the sizes of one item share, and the first lines of texts that name nothing."""

import re
from collections.abc import Iterable

from index.catalogue.fields.labels import BANNER, NAME, PLAIN, TITLE, first_line_key, label_of, name_line
from index.catalogue.fields.sections import LABEL
from index.catalogue.units import without_quantities

LEAST_SHARING = 10  # texts that begin with one line before it is looked at
SHARE_OF_TEXTS = 0.02  # and the share of all texts
_LINES = 3  # first lines of a text that may say nothing of its item
_LEAST_LETTERS, _LEAST_CHARACTERS = 8, 4  # of a name, in Latin letters alone and in others


def name_key(name: str) -> str:
    """Return what the sizes of one item share: the name's words without numbers, amounts, packs and punctuation.

    "Acme Tea, 12 Ounce (Pack of 6)" and "ACME Tea 20oz" share a key. A name of nothing else is its own key.
    """
    words = re.sub(r"['.`]", "", without_quantities(name))  # "A.nnie's" is "Annies"
    return " ".join(re.sub(r"[\W\d_]+", " ", words).split()) or " ".join(name.casefold().split())


def shared_first_lines(texts: Iterable[str]) -> frozenset[str]:
    """Return what many different items begin with, such as "Free delivery from 50", as `first_line_key` writes it.

    A line names nothing if more than `LEAST_SHARING` texts and `SHARE_OF_TEXTS` of all begin with it, and more than
    half of these go on with a name of their own, sizes aside. Variants of one item share their name, too, but go on
    alike or with attributes. Of up to `_LINES` such lines, one below the other, all are found.
    """
    return _shared(texts, _LINES)


def _shared(texts: Iterable[str], lines: int) -> frozenset[str]:
    """The shared lines among the first so many of the texts."""
    below: dict[str, list[str]] = {}  # first line -> what stands below it
    rows = 0
    for text in texts:
        rows += 1
        head, _, rest = text.lstrip().partition("\n")
        if rest and label_of(head)[0] in (PLAIN, BANNER) and not LABEL.match(head):
            below.setdefault(first_line_key(head), []).append(rest)
    least = max(LEAST_SHARING, SHARE_OF_TEXTS * rows)
    found: frozenset[str] = frozenset()
    for key, rests in below.items():
        if len(rests) > least:
            further = _shared(rests, lines - 1) if lines > 1 else frozenset()
            names = {name for rest in rests if (name := _name_of(rest, further))}
            if 2 * len(names) > len(rests):
                found |= {key} | further
    return found


def _name_of(text: str, shared: frozenset[str]) -> str:
    """The key that the sizes of a text's item share, "" if it names no more than attributes: "red, M"."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    at, name, _ = name_line(lines, shared)
    key = name_key(name) if label_of(lines[at])[0] in (PLAIN, NAME, TITLE) else ""
    return key if len(key) >= (_LEAST_LETTERS if key.isascii() else _LEAST_CHARACTERS) else ""
