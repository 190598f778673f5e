"""Parts of an item's text: name, bullet points, description, and how much of the item there is.

Two kinds of text are read. A labelled one has lines "Item Name:", "Bullet Point 1:", "Product Description:", "Value:"
and "Unit:" (the challenge's form); any other is free text, whose name is its first line or, where that is long, its
first sentence.

`Value:` is believed as it stands and never multiplied by the pack. Measured on a real catalogue, where the name says
both size and pack: Value is the total in 89 of 100 listings, the size of one in 5, and neither in 6, and nothing else
in the listing tells which. Without a usable Value the total is read from the name, and in free text from what follows
the name if the name says nothing; descriptions of labelled listings are not read, they speak of servings and recipes.
"""

import re
import unicodedata
from dataclasses import dataclass, replace

from index.catalogue.units import NONE, OTHER, find_unit, is_sane, read_quantity, without_quantities

NAME_LIMIT = 500  # characters of a name, labelled or not
DETAIL_BULLETS = 5
LINE_LIMIT = 200  # a first line of free text up to this long is the name as a whole

_LABEL = re.compile(r"\s{0,9}(item name|bullet point|product description|value|unit)(?: ?\d{1,3})?:", re.IGNORECASE)
_BULLET = re.compile(r"\s{0,9}[-*•‣▪–—]\s")
_SENTENCE_END = re.compile(r"(?<=[.!?;|])\s")
_UNIT_UNSTATED = frozenset(("", "none", "nan", "null", "n/a", "na", "-"))


@dataclass(frozen=True)
class Fields:
    """The parts of one item's text. `amount` is the listing's total in the canonical member of `unit` (see `units`)."""

    name: str
    bullets: tuple[str, ...]
    description: str
    amount: float | None
    unit: str
    pack: int


def parse_fields(text: str) -> Fields:
    """Read any text, however odd: what it does not say is empty, None, `none` or a pack of 1. Linear in its length."""
    sections = _sections(text)
    # Of a label that comes twice, the last part counts.
    last_parts = {label: " ".join(part.split()) for label, part in sections}
    if last_parts.keys() <= {"", "value", "unit"}:
        fields = _free_fields("\n".join(part for label, part in sections if label == ""))
    else:
        fields = _labelled_fields([(label, " ".join(part.split())) for label, part in sections], last_parts)
    stated = _stated(last_parts.get("value", ""), last_parts.get("unit", ""))
    return replace(fields, amount=stated[0], unit=stated[1]) if stated else fields


def details(text: str) -> str:
    """The name, the description or else the first five bullet points, and the amount with its unit in one spelling.

    Source: what the towers-knn system lets its encoders read (its write-up does not say whether the name is part of
    it; here it is, or a listing without bullet points would have none).
    """
    fields = parse_fields(text)
    prose = fields.description or "\n".join(fields.bullets[:DETAIL_BULLETS])
    unit = "NA" if fields.unit in (OTHER, NONE) else fields.unit  # as that system writes what it does not know
    amount = "" if fields.amount is None else f"{fields.amount:g} {unit}"
    return "\n".join(part for part in (fields.name, prose, amount) if part)


def name_key(name: str) -> str:
    """Return what the sizes of one item share: the name's words without numbers, amounts, packs and punctuation.

    "Acme Tea, 12 Ounce (Pack of 6)" and "ACME Tea 20oz" share a key. A name of nothing else is its own key.
    """
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")  # zero-width characters
    words = unicodedata.normalize("NFKC", without_quantities(visible)).casefold()
    words = re.sub(r"['’`.]", "", words)  # "A.nnie's" is "Annies"
    return " ".join(re.sub(r"[\W\d_]", " ", words).split()) or " ".join(name.casefold().split())


def _sections(text: str) -> list[tuple[str, str]]:
    """The text cut at its labels: (label, what follows it up to the next label); what has no label has the label ""."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if label := _LABEL.match(line):
            sections.append((label[1].lower(), [line[label.end() :]]))
        elif sections[-1][0] in ("value", "unit"):  # these take one line
            sections.append(("", [line]))
        else:
            sections[-1][1].append(line)
    return [(label, "\n".join(lines)) for label, lines in sections]


def _stated(value: str, unit: str) -> tuple[float, str] | None:
    """The amount that `Value:` and `Unit:` lines state, in the canonical member; None where they state none."""
    canonical, factor = (NONE, 1.0) if unit.casefold() in _UNIT_UNSTATED else find_unit(unit)
    try:
        amount = float(value) * factor
    except ValueError:
        return None
    return (amount, canonical) if is_sane(amount) else None


def _labelled_fields(sections: list[tuple[str, str]], last_parts: dict[str, str]) -> Fields:
    bullets = tuple(part for label, part in sections if label == "bullet point" and part)
    description = " ".join(part for label, part in sections if label in ("product description", "") and part)
    name = _bounded(last_parts.get("item name") or (*bullets, description)[0], NAME_LIMIT)
    quantity = read_quantity(name)
    return Fields(name, bullets, description, quantity.amount, quantity.unit, quantity.pack)


def _free_fields(text: str) -> Fields:
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    name, remainder = _split_name(" ".join(lines[0].split()))
    bullets = tuple(" ".join(line.split()[1:]) for line in lines[1:] if _BULLET.match(line))
    prose = [remainder, *(line for line in lines[1:] if not _BULLET.match(line))]
    quantity = read_quantity(name)
    if quantity.amount is None:
        quantity = read_quantity(" ".join((remainder, *lines[1:])))
    return Fields(name, bullets, " ".join(" ".join(prose).split()), quantity.amount, quantity.unit, quantity.pack)


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
