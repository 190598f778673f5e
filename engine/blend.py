"""The members' shares of the blend: weights on the simplex, fitted out of fold to minimise SMAPE, or fixed.

The blend is a weighted mean in log price. SMAPE has kinks, and members of a blend are few: every point of a grid on the
simplex is tried, which finds the optimum to within the grid and is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from engine.metrics import row_smape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

STEPS = 20  # the grid's: weights are multiples of 1/20


def blend(predictions: Mapping[str, Float64], weights: Mapping[str, float]) -> Float64:
    """(n,) weighted mean of the members' log prices, each (n,) or of any one shape."""
    blended: Float64 = np.sum([weight * predictions[member] for member, weight in weights.items()], axis=0)
    return blended


def fit_weights(predictions: Mapping[str, Float64], price: Float64) -> dict[str, float]:
    """The weights with the least SMAPE; `predictions` member -> (n,) log price of rows it never saw, `price` money."""
    members = list(predictions)
    each = np.stack([predictions[member] for member in members], axis=1)
    best = min(_simplex(len(members)), key=lambda weight: row_smape(price, np.exp(each @ weight)).mean())
    return dict(zip(members, (float(weight) for weight in best), strict=True))


def _simplex(size: int) -> Iterator[Float64]:
    """Every vector of `size` multiples of 1 / STEPS that add up to 1 (stars and bars)."""
    for bars in combinations(range(STEPS + size - 1), size - 1):
        edges = np.array([-1, *bars, STEPS + size - 1])
        yield (np.diff(edges) - 1) / STEPS
