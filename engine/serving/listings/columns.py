"""Columns of a review and of an audit: their names, what they hold, and how they are explained and shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

COMPARABLES_SHOWN = 3


class Kind(Enum):
    """Kind of what a column holds."""

    TEXT = "text"
    MONEY = "money"
    PERCENT = "percent"
    SHARE = "share"  # 0 to 1
    NUMBER = "number"


@dataclass(frozen=True)
class Column:
    """A column of a table for people."""

    name: str
    kind: Kind
    heading: str
    explains: str
    width: int = 12  # characters

    @property
    def is_text(self) -> bool:
        """Tell whether the column holds words."""
        return self.kind is Kind.TEXT


def _text(name: str, heading: str, explains: str, width: int = 12) -> Column:
    return Column(name, Kind.TEXT, heading, explains, width)


def _money(name: str, heading: str, explains: str) -> Column:
    return Column(name, Kind.MONEY, heading, explains)


def _comparables() -> tuple[Column, ...]:
    columns: list[Column] = []
    for place in range(1, COMPARABLES_SHOWN + 1):
        columns.append(
            _text(
                f"comparable_{place}", f"Comparable {place}", "An item of the catalogue that the answer rests on.", 36
            )
        )
        columns.append(_money(f"comparable_{place}_price", f"Price of {place}", "What that comparable costs."))
    return tuple(columns)


FLAG, CATEGORY, NOTE, STAKE = "flag", "category", "note", "at_stake"
TOO_LOW, TOO_HIGH, FINE, UNSURE, NO_CURRENT = "too low", "too high", "fine", "unsure", "no price"
FLAGS = (TOO_LOW, TOO_HIGH, FINE, UNSURE, NO_CURRENT)

REVIEW = (
    _text("item_id", "Id", "The item, as the file names it.", 16),
    _text("name", "Item", "Its name, as it was read from the file.", 48),
    _text(
        FLAG,
        "Flag",
        "too low, too high: the current price lies outside the interval. fine: inside. unsure: inside, but the "
        "confidence is low, so that this says little, or the item could not be priced. no price: the file has none "
        "that can be read.",
    ),
    _money("current_price", "Current price", "What the file says that the item costs now."),
    _money("suggested_price", "Suggestion", "What the item is worth by the catalogue, before any rule."),
    _money(
        "price_to_set",
        "Price to set",
        "The suggestion, bounded by the rules and rounded. Empty where no price can be said.",
    ),
    _text("bound_by", "Bound by", "The rules that moved the suggestion.", 14),
    _money("difference", "Difference", "The suggestion less the current price."),
    Column("difference_percent", Kind.PERCENT, "Difference, %", "The difference in percent of the current price."),
    Column("weight", Kind.NUMBER, "Weight", "What a difference is multiplied by: 1, or the column of --weight-column."),
    _money(STAKE, "At stake", "The size of the difference times the weight. Rows are sorted by it."),
    _money("low", "Low", "Lower end of the interval."),
    _money("high", "High", "Upper end of the interval."),
    _text("confidence", "Confidence", "high, medium or low: how sure the suggestion is.", 11),
    Column("within_20", Kind.SHARE, "Within 20%", "Share of such items whose price was within 20% of the suggestion."),
    _text("why", "Why", "What makes the suggestion no surer.", 30),
    _money("current_per_unit", "Current per unit", "What a unit costs now, where the text says an amount."),
    _money("per_unit", "Suggestion per unit", "What a unit costs at the suggestion."),
    _text("unit", "Unit", "The unit: kg, litre, piece, metre or square metre.", 8),
    _text(CATEGORY, "Category", "The item's category, by which the summary is.", 20),
    *_comparables(),
    _text(NOTE, "Note", "What could not be read, and what did not go as the rules would have it.", 40),
)

AUDIT = (
    _text("item_id", "Id", "The row, as the catalogue names it.", 16),
    _text("name", "Item", "Its name.", 48),
    _text(FLAG, "Flag", "too low, too high: on which side of the interval its own price lies."),
    _money("price", "Own price", "What the catalogue says that it costs."),
    _money("should_be", "Should be", "What models say that saw neither this row nor its near-duplicates."),
    Column("times", Kind.NUMBER, "Times", "The own price divided by what it should be."),
    _money("low", "Low", "Lower end of the interval of such models."),
    _money("high", "High", "Upper end of it."),
    Column(
        "severity",
        Kind.NUMBER,
        "Severity",
        "How far outside: 1 is the end of the interval, 2 twice as far from the middle.",
    ),
    _text("reason", "Likely reason", "What fault would explain the price, where one can be told.", 44),
    _money("would_be", "Would be", "The price, were that the fault."),
    *_comparables(),
)
