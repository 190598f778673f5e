"""Priced rows as the models learn from them.

Where a row's neighbours are searched for, which rows are its near-duplicates, and which fold it belongs to stand beside
what the models see of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from engine.features.inputs import Inputs
from index.arrays import Float32, Float64, Int8, Int64


@dataclass(frozen=True)
class TrainingSet:
    """n priced rows, in the order of the catalogue."""

    inputs: Inputs
    log_price: Float64  # (n,)
    search_vectors: Float32  # (n, dim) unit rows to search in; zero where a row has none
    groups: Int64  # (n,) of near-duplicates
    fold: Int8  # (n,) a group is never split between folds
    age_weight: Float64 | None = None  # (n,) above 0, at most 1: what a row counts for in fits; None: all the same

    @property
    def unit(self) -> Int64:
        """(n,) place in UNITS."""
        return self.inputs.unit

    @cached_property
    def log_amount(self) -> Float64:
        """(n,) of the whole listing; NaN where unknown."""
        return self.inputs.log_amount
