"""The neighbours' residuals: what the model missed on the items most like this one, within a band of its price.

    delta = sum_j exp(-lambda d_j) r_j / sum_j exp(-lambda d_j)        answer = prediction + alpha * delta

over the k nearest rows j whose log price lies within `band` of the prediction; d = 1 - cosine similarity, r a row's
out-of-fold residual in log price. Source: the future work of the towers-knn system (Amazon ML Challenge 2025 finalist).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.search.neighbours import Neighbours

    Float64 = NDArray[np.float64]

MOST_NEIGHBOURS = 10_000
MOST_ALPHA = 10.0


@dataclass(frozen=True)
class Knobs:
    """The four controls; ranges are checked here and nowhere else."""

    k: int  # neighbours
    band: float  # half-width in log price; inf for no limit
    decay: float  # lambda: how fast a neighbour's weight falls with its distance
    alpha: float  # share of the neighbours' mean residual that is added

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_NEIGHBOURS:
            raise UsageError(f"k is {self.k}: give a number of neighbours from 1 to {MOST_NEIGHBOURS:,}.")
        if not self.band > 0:
            raise UsageError(f"band is {self.band}: give a half-width in log price above 0, such as 0.35, or inf.")
        if not 0 < self.decay < math.inf:
            raise UsageError(f"lambda is {self.decay}: give a number above 0, such as 5.")
        if not 0 < self.alpha <= MOST_ALPHA:
            raise UsageError(
                f"alpha is {self.alpha}: give a number above 0 and at most {MOST_ALPHA:g}; 1 adds the whole residual."
            )


def weights(near: Neighbours, decay: float) -> Float64:
    """(n, k) each neighbour's share of the shift, adding up to 1 where there are neighbours; 0 for none."""
    distance = 1 - near.similarity.astype(np.float64)
    nearest = distance[:, :1]  # taken off so that no exponential underflows; it cancels in the quotient
    weight = np.where(near.found, np.exp(-decay * np.maximum(distance - nearest, 0)), 0)
    total = weight.sum(axis=1, keepdims=True)
    share: Float64 = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    return share


def shift(near: Neighbours, residual: Float64, knobs: Knobs) -> Float64:
    """(n,) alpha * delta in log price; 0 where nobody is in the band. `residual` (m,) by row of the index."""
    delta: Float64 = (weights(near, knobs.decay) * residual[near.rows]).sum(axis=1)
    return knobs.alpha * delta
