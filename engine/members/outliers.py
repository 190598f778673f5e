"""Outliers: training rows whose price is far from all others, which are better not trained on.

Source: the gated-ensemble system, which leaves out under 1 % of its rows. Only what a model is fitted on goes through
here: what is scored, and who may be a neighbour, stays whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from index.arrays import Float64, Int64


def without_outliers(log_price: Float64, share: float) -> Int64:
    """The rows of (n,) log prices, in their order, but for the `share` of them that is farthest from the median."""
    dropped = int(share * len(log_price))
    if not dropped:
        return np.arange(len(log_price))
    far = np.abs(log_price - np.median(log_price))
    return np.sort(np.argsort(far, kind="stable")[: len(log_price) - dropped])
