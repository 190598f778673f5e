"""Items after the whole chain, and the quotes that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.uncertainty.confidence import confidence
from engine.ensemble.uncertainty.expected_price import MEDIAN
from engine.serving.quote import Before, Comparable, Quote
from index.catalogue.money.stored import stored_prices
from index.catalogue.units import unit_prices
from index.errors import DataRefused

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ensemble.price_model import Estimate
    from engine.ensemble.reference import ReferenceSet
    from engine.features.inputs import Inputs
    from engine.serving.quote import Item
    from index.arrays import Bool, Float32, Float64
    from index.search.neighbours import Neighbours


@dataclass(frozen=True)
class ItemFeatures:
    """Features of n items, before any model predicts."""

    vectors: dict[str, Float32]  # column -> (n, dim) unit rows, zero where absent
    absent: list[str | None]  # (n,) why the photograph is not used; None where it is
    inputs: Inputs
    search_vectors: Float32  # (n, dim) unit rows


@dataclass(frozen=True)
class PricedItems:
    """n items after the whole chain."""

    priced: Bool  # (n,) those that have words, or a photograph that could be used
    features: ItemFeatures
    estimate: Estimate | None  # of the priced ones, in their order; None where there are none
    before: Estimate | None = None  # of the same by all comparables, where some were left out or pinned

    def require_estimate(self, path: Path) -> Estimate:
        """Return the estimate of a file's items. Raises DataRefused where none of them can be priced."""
        if self.estimate is None:
            raise DataRefused(f"No item of {path} can be priced: give rows with words.")
        return self.estimate


def make_quotes(
    result: PricedItems,
    reference: ReferenceSet,
    items: Sequence[Item],
    notes: Sequence[Sequence[str]],
    whys: Sequence[tuple[str, ...]],
    *,
    answer: str,
) -> list[Quote]:
    """A quote for each of n items that is priced; `notes` of all, `whys` of these, `answer` as they were priced."""
    estimate, inputs, priced = result.estimate, result.features.inputs, np.flatnonzero(result.priced)
    if estimate is None:
        return []
    base, spread = estimate.base, estimate.spread
    prices = np.exp(estimate.priced)
    per_unit, words = unit_prices(prices, inputs.unit[priced], inputs.log_amount[priced]), confidence(spread)
    stages = {**base.members, "blend": base.blended, **({} if base.stacked is None else {STACKER: base.stacked})}
    quotes = []
    for row, place in enumerate(priced.tolist()):
        item, own = items[place], notes[place]
        parts = {name: float(np.exp(values[row])) for name, values in stages.items()}
        median = float(np.exp(estimate.answer[row]))
        parts["shift"] = median - float(np.exp(base.last[row]))
        comparables, further = make_comparables(estimate.near, estimate.weight, row, reference), []
        if not comparables:
            alone = "No neighbour lies within the band" if item.text.strip() else "Neighbours are found by words"
            further = [f"{alone}: the price is the models' alone."]
        before = None if result.before is None else _before(result.before, row)
        if before and before.price == prices[row]:
            further.append("What was left out had no part in the price.")
        quotes.append(
            Quote(
                price=float(prices[row]),
                low=float(np.exp(spread.low[row])),
                high=float(np.exp(spread.high[row])),
                parts=parts if answer == MEDIAN else parts | {MEDIAN: median},
                comparables=comparables,
                notes=(*own, *further),
                per_unit=per_unit[row],
                confidence=words[row],
                within_20=float(spread.within[row]),
                why=whys[row],
                before=before,
            )
        )
    return quotes


def make_comparables(near: Neighbours, weight: Float64, row: int, reference: ReferenceSet) -> tuple[Comparable, ...]:
    """Neighbours that corrected the price at `row` of n, the nearest first; `weight` (n, k) of `near`."""
    rows = near.rows[row]
    rows = rows[rows >= 0]
    prices = stored_prices(reference.log_price[rows])
    per_unit = unit_prices(prices, reference.unit[rows], reference.log_amount[rows])
    return tuple(
        Comparable(
            item_id=shown["item_id"],
            name=shown["name"],
            price=float(prices[place]),
            similarity=float(near.similarity[row, place]),
            residual=float(reference.residual[number]),
            weight=float(weight[row, place]),
            image=shown["image"],
            per_unit=per_unit[place],
        )
        for place, (number, shown) in enumerate(zip(rows, reference.shown(rows), strict=True))
    )


def _before(estimate: Estimate, row: int) -> Before:
    return Before(*(float(np.exp(values[row])) for values in (estimate.priced, estimate.low, estimate.high)))
