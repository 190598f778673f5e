"""Conformal bounds of a price, by price level.

Split conformal prediction on signed out-of-fold errors (Lei et al., 2018), conditional on the level of the estimate
(Mondrian bins; Vovk, 2003): cheap and dear items err by different factors, and in different directions. The two ends
are fitted separately, so that an interval need not be symmetric. Where rows do not all count the same, quantiles are
weighted, and the item to price counts 1 (Barber et al., Conformal prediction beyond exchangeability, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.metrics import weighted_quantile

if TYPE_CHECKING:
    from index.arrays import Float64

MOST_LEVELS = 10
LEAST_ROWS = 100  # per level: below it the ends rest on a handful of rows


@dataclass(frozen=True)
class Interval:
    """Bounds of the error by level of the estimate."""

    edges: tuple[float, ...]  # (levels - 1,) log price, rising: where one level ends and the next begins
    low: tuple[float, ...]  # (levels,) added to the estimate, in log price
    high: tuple[float, ...]

    def bounds(self, estimate: Float64) -> tuple[Float64, Float64]:
        """(low, high), each (n,) log price."""
        level = np.searchsorted(self.edges, estimate, side="right")
        return estimate + np.array(self.low)[level], estimate + np.array(self.high)[level]


def fit_interval(estimate: Float64, log_price: Float64, coverage: float, age_weight: Float64 | None = None) -> Interval:
    """Fit on estimates (n,) of rows that the models never saw, and on their prices, both log.

    `age_weight` (n,), at most 1: what each row counts for, where they do not all count the same.
    """
    rows = len(estimate) if age_weight is None else age_weight.sum()
    levels = int(np.clip(rows // LEAST_ROWS, 1, MOST_LEVELS))
    shares = np.arange(1, levels) / levels
    edges = np.quantile(estimate, shares) if age_weight is None else weighted_quantile(estimate, age_weight, shares)
    # Equal estimates can leave a level empty, which would then know nothing: every level ends above one of its own.
    begins = np.searchsorted(np.sort(estimate), edges, side="left")
    edges = edges[np.diff(begins, prepend=0) > 0]
    levels = len(edges) + 1
    level = np.searchsorted(edges, estimate, side="right")
    error = log_price - estimate
    if age_weight is None:
        ends = [_ends(error[level == n], coverage) for n in range(levels)]
    else:
        ends = [_weighted_ends(error[level == n], coverage, age_weight[level == n]) for n in range(levels)]
    return Interval(tuple(map(float, edges)), tuple(low for low, _ in ends), tuple(high for _, high in ends))


def conformal_end(beyond: Float64, coverage: float, age_weight: Float64 | None = None) -> float:
    """Distance by which an end must be moved out so that a new value lies beyond it as seldom as `coverage` allows.

    `beyond` (n,): by how much each value lies beyond the end as it is; below 0 inside. One of the two ends.
    """
    if age_weight is None:
        return _ends(beyond, coverage)[1]
    return _weighted_ends(beyond, coverage, age_weight)[1]


def _ends(error: Float64, coverage: float) -> tuple[float, float]:
    """The errors that a new one falls between with probability `coverage`: split conformal's finite-sample ranks."""
    tail, rows = (1 - coverage) / 2, len(error)
    ordered = np.sort(error)
    rank = min(rows, int(np.ceil((1 - tail) * (rows + 1))))  # of the upper end, from 1; the lower mirrors it
    return float(ordered[rows - rank]), float(ordered[rank - 1])


def _weighted_ends(error: Float64, coverage: float, weight: Float64) -> tuple[float, float]:
    """Ends as of `_ends`, which counts rows, by their `weight` (n,) and 1 for the new one."""
    most = (1 - (1 - coverage) / 2) * (weight.sum() + 1) / weight.sum()  # as a share of theirs
    low, high = weighted_quantile(-error, weight, most), weighted_quantile(error, weight, most)
    return -float(low), float(high)
