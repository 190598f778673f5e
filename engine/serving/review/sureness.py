"""Tell how sure estimates are, in words and as a share: the one place that a review asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engine.ensemble.price_model import Estimate
    from index.arrays import Float64

WIDTHS = {"high": 3.0, "medium": 8.0}  # confidence -> the widest interval that has it, as high / low


@dataclass(frozen=True)
class Sureness:
    """Sureness of n estimates."""

    confidence: list[str]  # high, medium or low
    within_20: Float64  # (n,) share of such items within 20 % of the estimate; NaN where that is not known
    why: list[str]  # what widens the interval most, "" where nothing is said


def sureness_of(estimate: Estimate) -> Sureness:
    """Sureness of n estimates, by the width of their intervals."""
    width = np.exp(estimate.high - estimate.low)
    confidence = np.select([width <= widest for widest in WIDTHS.values()], list(WIDTHS), "low").tolist()
    return Sureness(confidence, np.full(len(width), np.nan), [""] * len(width))
