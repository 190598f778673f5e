"""Decide on each row of a price list: its flag, the price to set, what is at stake, and what speaks for the answer.

It knows estimates and what the rows say of themselves; no file, and no order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.uncertainty.confidence import confidence as confidence_of
from engine.serving.listings.columns import COMPARABLES_SHOWN, FINE, NO_CURRENT, TOO_HIGH, TOO_LOW, UNSURE
from engine.serving.review.bounding import bound_prices
from index.catalogue.money.stored import stored_prices
from index.catalogue.units import unit_prices
from index.visible import visible

if TYPE_CHECKING:
    from engine.ensemble.price_model import Estimate, PriceModel
    from engine.ensemble.reference import ReferenceSet
    from engine.features.inputs import Inputs
    from engine.serving.review.own_cells import Facts
    from index.arrays import Bool, Float64, Int64

LONGEST_NAME = 120  # characters of an item's name


@dataclass(frozen=True)
class Suggestions:
    """Worth of n rows, in money: NaN, or empty, for a row that could not be priced."""

    price: Float64
    low: Float64
    high: Float64
    of_a_unit: Float64  # times a price is the price of a unit; NaN where no amount is known
    unit: list[str]
    confidence: list[str]
    within_20: Float64
    why: list[str]
    comparables: list[list[tuple[str, float]]]  # name and price of those with the greatest weight, the first most


def suggest(estimate: Estimate | None, inputs: Inputs, model: PriceModel, priced: Int64, rows: int) -> Suggestions:
    """Worth of the `priced` of n rows; `estimate` and `inputs` are of these alone, in their order."""
    price, low, high, of_a_unit, within_20 = (np.full(rows, np.nan) for _ in range(5))
    unit, confidence, why = ([""] * rows for _ in range(3))
    comparables: list[list[tuple[str, float]]] = [[] for _ in range(rows)]
    if estimate is not None:
        price[priced], low[priced], high[priced] = map(np.exp, (estimate.priced, estimate.low, estimate.high))
        within_20[priced] = estimate.spread.within
        words, whys = confidence_of(estimate.spread), model.reasons(estimate)
        loudest = loudest_comparables(estimate.near.rows, estimate.weight, model.reference)
        by_unit = unit_prices(np.ones(len(priced)), inputs.unit, inputs.log_amount)
        for place, row in enumerate(priced.tolist()):
            confidence[row], why[row], comparables[row] = words[place], " ".join(whys[place]), loudest[place]
            if (of_one := by_unit[place]) is not None:
                of_a_unit[row], unit[row] = of_one.price, of_one.unit
    return Suggestions(price, low, high, of_a_unit, unit, confidence, within_20, why, comparables)


def loudest_comparables(near: Int64, weight: Float64, reference: ReferenceSet) -> list[list[tuple[str, float]]]:
    """Name and price of the neighbours (n, k), -1 none, with the greatest `weight` (n, k), a few for each of n rows."""
    order = np.argsort(-weight, axis=1, kind="stable")[:, :COMPARABLES_SHOWN]
    chosen = np.take_along_axis(near, order, axis=1)
    found = chosen[chosen >= 0]
    shown = iter(zip(reference.shown(found), stored_prices(reference.log_price[found]).tolist(), strict=True))
    return [
        [(short(item["name"]), price) for item, price in (next(shown) for row in rows if row >= 0)]
        for rows in chosen.tolist()
    ]


def decide(
    suggestions: Suggestions, facts: Facts, names: Sequence[str], reasons: Sequence[str], currency: str
) -> dict[str, Any]:
    """Columns of REVIEW after the id, (n,) each, NaN or "" for nothing; `reasons`: why a row could not be priced."""
    price, current = suggestions.price, facts.current
    bounded = bound_prices(price, current, facts.rules, currency)
    difference = price - current
    columns: dict[str, Any] = {
        "name": list(map(short, names)),
        "flag": flags(suggestions, current),
        "current_price": current,
        "suggested_price": price,
        "price_to_set": bounded.price,
        "bound_by": bounded.bound_by,
        "difference": difference,
        "difference_percent": 100 * difference / current,
        "weight": facts.weight,
        "at_stake": np.abs(difference) * facts.weight,
        "low": suggestions.low,
        "high": suggestions.high,
        "confidence": suggestions.confidence,
        "within_20": suggestions.within_20,
        "why": suggestions.why,
        "current_per_unit": current * suggestions.of_a_unit,
        "per_unit": price * suggestions.of_a_unit,
        "unit": suggestions.unit,
        "category": list(map(short, facts.group)),
        **comparable_columns(suggestions.comparables),
    }
    notes = zip(reasons, facts.fault, bounded.note, strict=True)
    columns["note"] = [visible("; ".join(filter(None, of_row))) for of_row in notes]
    return columns


def comparable_columns(comparables: Sequence[Sequence[tuple[str, float]]]) -> dict[str, Any]:
    """The columns of the comparables that are shown."""
    columns: dict[str, Any] = {}
    for place in range(COMPARABLES_SHOWN):
        here = [of_row[place] if place < len(of_row) else ("", np.nan) for of_row in comparables]
        columns[f"comparable_{place + 1}"] = [name for name, _ in here]
        columns[f"comparable_{place + 1}_price"] = np.array([price for _, price in here], np.float64)
    return columns


def flags(suggestions: Suggestions, current: Float64) -> list[str]:
    """The flag of each row (n,)."""
    unsure: Bool = np.array([confidence in ("low", "") for confidence in suggestions.confidence], bool)
    chosen = np.select(
        [
            np.isnan(current),
            np.isnan(suggestions.price),
            current < suggestions.low,
            current > suggestions.high,
            unsure,
        ],
        [NO_CURRENT, UNSURE, TOO_LOW, TOO_HIGH, UNSURE],
        FINE,
    )
    flagged: list[str] = chosen.tolist()
    return flagged


def short(name: str) -> str:
    """A name for eyes."""
    name = visible(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
