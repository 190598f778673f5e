"""The members' shares of the blend: weights on the simplex, fitted out of fold to minimise SMAPE, or fixed.

The blend is a weighted mean in log price. SMAPE has kinks, and members of a blend are few: every point of a grid on the
simplex is tried, which finds the optimum to within the grid and is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from engine.metrics import row_smape
from index.arrays import Float64, rows_of

if TYPE_CHECKING:
    from engine.ensemble.out_of_fold import OutOfFold
    from engine.settings.schema import Blend

STEPS = (20, 10, 5)  # the grid's: weights are multiples of 1/20, or with more members of something coarser
MOST_TRIED = 4000


@dataclass(frozen=True)
class Weights:
    """Weights fitted on every row, for queries; and for each fold on the other folds, by models that never saw it."""

    whole: dict[str, float]
    by_fold: list[dict[str, float]]


def blend(predictions: Mapping[str, Float64], weights: Mapping[str, float]) -> Float64:
    """(n,) weighted mean of the members' log prices, each (n,) or of any one shape."""
    blended: Float64 = np.sum([weight * predictions[member] for member, weight in weights.items()], axis=0)
    return blended


def fit_weights(
    predictions: Mapping[str, Float64], price: Float64, age_weight: Float64 | None = None
) -> dict[str, float]:
    """The weights with the least SMAPE; `predictions` member -> (n,) log price of rows it never saw, `price` money.

    `age_weight` (n,): what each row counts for, where they do not all count the same.
    """
    members = list(predictions)
    columns = np.stack([predictions[member] for member in members], axis=1)

    def loss(weight: Float64) -> float:
        rows = row_smape(price, np.exp(columns @ weight))
        return float(rows.mean() if age_weight is None else np.average(rows, weights=age_weight))

    best = min(_simplex(len(members)), key=loss)
    return dict(zip(members, (float(weight) for weight in best), strict=True))


def cross_fit_weights(oof: OutOfFold, log_price: Float64, fixed: Blend, age_weight: Float64 | None = None) -> Weights:
    """The members' weights; those that `fixed` gives, or the best. `log_price` and `age_weight` (n,)."""
    nested, price, given = oof.nested(), np.exp(log_price), fixed.weights()
    if given:
        weights = {member: given[member] for member in oof.members}
        return Weights(weights, [weights] * oof.folds)
    others = [oof.fold != f for f in range(oof.folds)]
    by_fold = [
        fit_weights(
            {m: oof.nested_oof[m][f, there] for m in oof.members},
            price[there],
            rows_of(age_weight, there),
        )
        for f, there in enumerate(others)
    ]
    return Weights(fit_weights({m: nested[m] for m in oof.members}, price, age_weight), by_fold)


def _simplex(size: int) -> Iterator[Float64]:
    """Every vector of `size` multiples of 1 / steps that add up to 1 (stars and bars)."""
    steps = next((steps for steps in STEPS if comb(steps + size - 1, size - 1) <= MOST_TRIED), STEPS[-1])
    for bars in combinations(range(steps + size - 1), size - 1):
        edges = np.array([-1, *bars, steps + size - 1])
        yield (np.diff(edges) - 1) / steps
