"""The neighbours' residuals: what the model missed on the items most like this one, within a band of its price.

    delta = sum_j exp(-lambda d_j) r_j / sum_j exp(-lambda d_j)        answer = prediction + alpha * delta

over the k nearest rows j whose log price lies within `band` of the prediction; d = 1 - cosine similarity, r a row's
out-of-fold residual in log price. Where prices have a half-life, each exponential is multiplied by what row j counts
for by its age. Source: the future work of the towers-knn system (Amazon ML Challenge 2025 finalist).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engine.settings.schema import CorrectionParameters
    from index.arrays import Float64
    from index.search.neighbours import Neighbours


def weights(near: Neighbours, decay: float, age_weight: Float64 | None = None) -> Float64:
    """(n, k) each neighbour's share of the shift, adding up to 1 where there are neighbours; 0 for none.

    `age_weight` (m,) by row of the index, above 0: what a row counts for, where they do not all count the same.
    """
    distance = 1 - near.similarity.astype(np.float64)
    nearest = distance[:, :1]  # taken off so that no exponential underflows; it cancels in the quotient
    weight = np.where(near.found, np.exp(-decay * np.maximum(distance - nearest, 0)), 0)
    if age_weight is not None:
        weight *= age_weight[near.rows]
    total = weight.sum(axis=1, keepdims=True)
    share: Float64 = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    return share


def shift(
    near: Neighbours, residual: Float64, parameters: CorrectionParameters, age_weight: Float64 | None = None
) -> Float64:
    """(n,) alpha * delta in log price; 0 where nobody is in the band. Others (m,) by row of the index."""
    delta: Float64 = (weights(near, parameters.decay, age_weight) * residual[near.rows]).sum(axis=1)
    return parameters.alpha * delta
