"""An item to price and the answer to it, as Python sees them, and what a refusal or a note says of an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.settings.read import suggestion
from index.catalogue.further import further_cell
from index.catalogue.shops.headings import normalised
from index.catalogue.units import UnitPrice
from index.errors import DataRefused, UsageError

NO_PHOTOGRAPHS = "the index has no photographs"


@dataclass(frozen=True)
class Item:
    """An item to price: words, a photograph (URL or path), or both."""

    text: str = ""
    image: str | None = None
    further: Mapping[str, str | float | None] = field(default_factory=dict)  # of the index's further columns, by name


@dataclass(frozen=True)
class Comparable:
    """A row of the catalogue that corrected the price."""

    item_id: str
    name: str
    price: float
    similarity: float  # cosine, higher is closer
    residual: float  # log price less what the models expected of it, out of fold: 0.1 is about 10 % dearer
    weight: float  # its share of the shift
    image: str | None
    per_unit: UnitPrice | None  # where its text says an amount


@dataclass(frozen=True)
class Before:
    """A price by all comparables and all models, in the index's currency."""

    price: float
    low: float
    high: float


@dataclass(frozen=True)
class Quote:
    """A price, in the index's currency. `parts`: each member's, the blend's, the stacker's, the correction's.

    Where the price is the expected one, `parts` have the median, too.
    """

    price: float
    low: float
    high: float
    parts: dict[str, float]
    comparables: tuple[Comparable, ...]
    notes: tuple[str, ...]
    per_unit: UnitPrice | None  # where the text says an amount
    confidence: str  # high, medium or low: see `engine.ensemble.uncertainty.confidence`
    within_20: float  # share of such items that were within 20 % of their price, out of fold
    why: tuple[str, ...]  # what makes the price no surer, the weightiest first
    before: Before | None = None  # where comparables were left out or pinned: the price without that


def require_items(items: Sequence[Item]) -> None:
    """Raise DataRefused for an item that holds what is no string, or has neither words nor a photograph."""
    for place, item in enumerate(items):
        if not isinstance(item.text, str) or not isinstance(item.image, str | None):
            cells = f"text {item.text!r:.40} and image {item.image!r:.40}"
            raise DataRefused(f"Item {place + 1} has {cells}: give strings, and no photograph as None.")
        if not item.text.strip() and not (item.image or "").strip():
            raise DataRefused(f"Item {place + 1} has no text and no photograph: give at least one of them.")


def further_cells(items: Sequence[Item], further: Sequence[str]) -> dict[str, list[Any]]:
    """Cells of each of the index's `further` columns. UsageError for one that it has not, or a number that is none."""
    names = {normalised(column.partition(":")[2]): column for column in further}
    cells: dict[str, list[Any]] = {column: [None] * len(items) for column in names.values()}
    for row, item in enumerate(items):
        for name, cell in item.further.items():
            column = names.get(normalised(name))
            if column is None:
                known = dict.fromkeys(column.partition(":")[2] for column in cells)
                raise UsageError(f"The index has no column {name!r}{suggestion(name, known)}.")
            cells[column][row] = further_cell(column, cell)
    return cells


def refusal(why: str | None) -> str:
    """The refusal of an item without words whose photograph is not used."""
    if why == NO_PHOTOGRAPHS:
        return "The index was built without photographs: describe the item in words."
    return f"The photograph could not be used ({why}) and there are no words: give one of them."


def unpriced(why: str | None) -> str:
    """The reason that a row of a list has no price: it has no words, and its photograph is not used."""
    return f"no text, and the photograph cannot be used: {why}"


def require_quote(answer: Quote | str) -> Quote:
    """Return a quote. Raises DataRefused with the refusal that stands in the place of one."""
    if isinstance(answer, str):
        raise DataRefused(answer)
    return answer


def photograph_notes(item: Item, why: str | None) -> list[str]:
    """Notes on the unused photograph of an item that was priced by its words."""
    if not item.image or why is None:
        return []
    if why == NO_PHOTOGRAPHS:
        return ["The index has no photographs: the photograph was not looked at."]
    return [f"The photograph could not be used ({why}): priced by its words alone."]
