"""Parts of an item's text: name, bullet points, description, and how much of the item there is.

Two kinds of text are read. A labelled one has lines "Item Name:", "Bullet Point 1:", "Product Description:", "Value:"
and "Unit:" (the challenge's form); any other is free text, whose name is the line that a label says or else the first
one that is no attribute ("Brand: ..."), no condition ("Used") and nothing that many items begin with; or, where that is
long, its first sentence.

`Value:` is believed as it stands and never multiplied by the pack. Measured on a real catalogue, where the name says
both size and pack: Value is the total in 89 of 100 listings, the size of one in 5, and neither in 6, and nothing else
in the listing tells which. Without a usable Value the total is read from the name, and in free text from what follows
the name if the name says nothing; descriptions of labelled listings are not read, they speak of servings and recipes.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from index.catalogue.fields.labels import TITLE, contents, label_of, name_line
from index.catalogue.fields.sections import Section, cut
from index.catalogue.units import NONE, OTHER, Quantity, find_unit, is_sane, read_quantity

NAME_LIMIT = 500  # characters of a name, labelled or not
DETAIL_BULLETS = 5
LINE_LIMIT = 200  # a first line of free text up to this long is the name as a whole

_NAMING = frozenset(("item name", "bullet point", "product description"))  # labels of a labelled text
_BULLET = re.compile(r"\s{0,9}[-*•‣▪–—]\s")
_SENTENCE_END = re.compile(r"(?<=[.!?;|])\s")
_UNIT_UNSTATED = frozenset(("", "none", "nan", "null", "n/a", "na", "-"))


class Fields(NamedTuple):
    """The item that a text describes. `amount` is the listing's total in the canonical member of `unit`."""

    name: str
    amount: float | None
    unit: str
    pack: int


class Prose(NamedTuple):
    """Parts of a text beside the name."""

    bullets: tuple[str, ...]
    description: str


class _FreeText(NamedTuple):
    """The parts of a text without the challenge's labels."""

    name: str
    remainder: str  # of the name's line
    further: list[str]  # the other lines, without those that say nothing of the item


def parse_fields(text: str, shared: Collection[str] = frozenset()) -> Fields:
    """Read any text, however odd: what it does not say is empty, None, `none` or a pack of 1. Linear in its length.

    `shared` are the first lines that say nothing of the item, as `shared_first_lines` finds them.
    """
    if ":" not in text and len(text.splitlines()) == 1:  # the short way for a name alone
        alone = _FreeText(*_split_name(" ".join(text.split())), [])
        return Fields(alone.name, *_free_quantity(alone))
    lines, sections = cut(text)
    last = {section[0]: section for section in sections}  # of a label that comes twice, the last part counts
    if _NAMING.isdisjoint(last):
        free = _free_text(lines, sections, shared)
        name, quantity = free.name, _free_quantity(free)
    else:
        name = _labelled_name(lines, sections, last)
        quantity = read_quantity(name)
    stated = _stated(_part(lines, last["value"]), last.get("unit"), lines) if "value" in last else None
    amount, unit = stated or (quantity.amount, quantity.unit)
    return Fields(name, amount, unit, quantity.pack)


def name_first(text: str, shared: Collection[str], *, kept: bool) -> str:
    """Return a text without the lines above its name that say nothing of the item, or with these below it if `kept`.

    These are the `shared` lines and those that end in a colon. So whoever reads the text alone, an encoder or
    `parse_prose`, finds the name where it finds every other. Done again, it changes nothing. A labelled text, and one
    of nothing but such lines, is returned as it is.
    """
    if "\n" not in text:
        return text
    unlabelled, sections = cut(text)
    if not _NAMING.isdisjoint(label for label, _, _ in sections):
        return text
    lines = text.splitlines()
    places = _free_lines(unlabelled, sections) or [0]
    name, _, silent = name_line([lines[at] for at in places], shared)
    above = [places[at] for at in sorted(silent)]
    if not above:
        return text
    left = [line for at, line in enumerate(lines) if at not in above]
    below = places[name] + 1 - len(above)
    return "\n".join([*left[:below], *(lines[at] for at in above if kept), *left[below:]])


def parse_prose(text: str) -> Prose:
    """Read what stands beside the name: bullet points and description. Of free text, every line but the name's."""
    lines, sections = cut(text)
    if _NAMING.isdisjoint(label for label, _, _ in sections):
        free = _free_text(lines, sections, ())
        bullets = tuple(" ".join(line.split()[1:]) for line in free.further if _BULLET.match(line))
        prose = [free.remainder, *(line for line in free.further if not _BULLET.match(line))]
        return Prose(bullets, " ".join(" ".join(prose).split()))
    return Prose(_parts(lines, sections, "bullet point"), " ".join(_parts(lines, sections, "product description", "")))


def details(text: str) -> str:
    """The name, the description or else the first five bullet points, and the amount with its unit in one spelling.

    Source: what the towers-knn system lets its encoders read (its write-up does not say whether the name is part of
    it; here it is, or a listing without bullet points would have none).
    """
    fields, (bullets, description) = parse_fields(text), parse_prose(text)
    prose = description or "\n".join(bullets[:DETAIL_BULLETS])
    unit = "NA" if fields.unit in (OTHER, NONE) else fields.unit  # as that system writes what it does not know
    amount = "" if fields.amount is None else f"{fields.amount:g} {unit}"
    return "\n".join(part for part in (fields.name, prose, amount) if part)


def _part(lines: Sequence[str], section: Section) -> str:
    """A section, singly spaced."""
    _, start, end = section
    part = lines[start] if end == start + 1 else " ".join(lines[start:end])
    return " ".join(part.split())


def _parts(lines: Sequence[str], sections: Iterable[Section], *labels: str) -> tuple[str, ...]:
    """The sections with these labels, singly spaced, without the empty ones."""
    parts = (_part(lines, section) for section in sections if section[0] in labels)
    return tuple(part for part in parts if part)


def _stated(value: str, unit: Section | None, lines: Sequence[str]) -> tuple[float, str] | None:
    """The amount that `Value:` and `Unit:` lines state, in the canonical member; None where they state none."""
    spelling = lines[unit[1]].strip() if unit else ""
    canonical, factor = (NONE, 1.0) if spelling.casefold() in _UNIT_UNSTATED else find_unit(spelling)
    try:
        amount = float(value) * factor
    except ValueError:
        return None
    return (amount, canonical) if is_sane(amount) else None


def _labelled_name(lines: Sequence[str], sections: Sequence[Section], last: Mapping[str, Section]) -> str:
    """The item's name, or else a line that another label makes its title, a bullet point or the description."""
    name = _part(lines, last["item name"]) if "item name" in last else ""
    if not name:
        unlabelled = (line for label, start, end in sections if not label for line in lines[start:end])
        title = next((words for kind, words in map(label_of, unlabelled) if kind == TITLE and words), "")
        bullets = _parts(lines, sections, "bullet point")
        name = title or (*bullets, " ".join(_parts(lines, sections, "product description", "")))[0]
    return _bounded(name, NAME_LIMIT)


def _free_lines(lines: Sequence[str], sections: Iterable[Section]) -> list[int]:
    """The places of the lines that are neither blank nor below a label of the challenge's."""
    return [at for label, start, end in sections if not label for at in range(start, end) if lines[at].strip()]


def _free_text(lines: Sequence[str], sections: Iterable[Section], shared: Collection[str]) -> _FreeText:
    kept = [lines[at] for at in _free_lines(lines, sections)] or [""]
    if len(kept) == 1 and ":" not in kept[0]:
        return _FreeText(*_split_name(" ".join(kept[0].split())), [])
    at, line, silent = name_line(kept, shared)
    further = [words for place, words in enumerate(kept) if place != at and place not in silent]
    return _FreeText(*_split_name(" ".join(line.split())), further)


def _free_quantity(text: _FreeText) -> Quantity:
    """The quantity that a free text says: in its name, in a line such as "Size: 330 ml", or anywhere else."""
    quantity = read_quantity(text.name)
    if quantity.unit in ("gram", "millilitre") or not (text.further or text.remainder):
        return quantity
    if sizes := contents(text.further):
        quantity = read_quantity(", ".join((text.name, *sizes)))
    return read_quantity(" ".join((text.remainder, *text.further))) if quantity.amount is None else quantity


def _split_name(line: str) -> tuple[str, str]:
    """A first line as (name, what is left of it): whole if short, else its first sentence, else what fits."""
    if len(line) <= LINE_LIMIT:
        return line, ""
    sentence = _SENTENCE_END.search(line, 20, LINE_LIMIT)  # not before 20: "Dr. ", "St. "
    name = line[: sentence.start()] if sentence else _bounded(line, LINE_LIMIT)
    return name, line[len(name) :].strip()


def _bounded(words: str, limit: int) -> str:
    """Return as many whole words as fit into `limit` characters."""
    if len(words) <= limit:
        return words
    return words[:limit].rpartition(" ")[0] or words[:limit]
