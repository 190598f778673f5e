"""Evidence of how far a price may be off: what the models make of the item, and what its neighbours cost and were off.

Read by the model of the error and by that of the expected price. An item's neighbours are its nearest, without a band;
their residuals are of models that saw neither them nor the item, so nothing of the item's own price is in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.correction import weights
from engine.ensemble.stacker import compared
from engine.features.inputs import NUMBERS
from engine.metrics import weighted_quantiles
from index.arrays import Float64, Int64

if TYPE_CHECKING:
    from engine.ensemble.stacker import PricedRows
    from engine.features.inputs import Fields
    from index.search.neighbours import Neighbours

NEAREST = 64  # neighbours
FEW, SOME = 8, 32  # of them, that plain statistics are over
DECAY = 10.0  # of the weighted ones: weight = exp(-decay * distance)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MEMBERS, LIKENESS, PRICES, RESIDUALS, AMOUNT, LENGTH, LEVEL = GROUPS = (
    "members",  # how far they are apart
    "likeness",  # of the nearest
    "prices",  # of the neighbours
    "residuals",  # of the neighbours
    "amount",
    "length",  # of the text
    "level",  # of the answer
)
_OF_LENGTH = ("log_name_length", "log_text_length", "log_lines")


@dataclass(frozen=True)
class ComparedRows:
    """m rows whose prices an item is compared with: some of the catalogue."""

    log_price: Float64  # (m,)
    unit: Int64  # (m,) place in UNITS
    log_amount: Float64  # (m,) of the whole listing; NaN where unknown


@dataclass(frozen=True)
class Evidence:
    """Evidence on n items, all prices in log. `near`: numbers of `rows`, (n, NEAREST), without a band."""

    members: Mapping[str, Float64]  # name -> (n,)
    blended: Float64  # (n,)
    base: Float64  # (n,) before the correction
    answer: Float64  # (n,) the median
    fields: Fields
    near: Neighbours
    rows: PricedRows
    residual: Float64  # (m,) of the rows

    @property
    def likeness(self) -> Float64:
        """(n,) cosine of the nearest; 0 where there is none."""
        return np.where(self.near.found[:, 0], self.near.similarity[:, 0], 0).astype(np.float64)

    def groups(self) -> dict[str, Float64]:
        """Columns (n, of the group) by what they tell of, in the order of GROUPS; NaN where nothing is known."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of means over no neighbour at all
            return self._groups()

    def table(self) -> Float64:
        """(n, `width`) as trees read it."""
        return self._table

    @cached_property
    def _table(self) -> Float64:
        return np.hstack(list(self.groups().values()))

    def _groups(self) -> dict[str, Float64]:
        near, fields, found = self.near, self.fields, self.near.found
        predicted = np.stack([*self.members.values()], axis=1)
        apart = np.column_stack(
            [
                predicted - self.answer[:, None],
                self.blended - self.answer,
                self.base - self.answer,
                predicted.std(axis=1),
                np.ptp(predicted, axis=1),
            ]
        )
        difference, at_amount, comparable, _ = compared(self.answer, fields, near, self.rows)
        weight = weights(near, DECAY)
        similarity = np.where(found, near.similarity, np.nan).astype(np.float64)
        residual = np.where(found, self.residual[near.rows], np.nan)
        off = np.abs(residual)
        of_length = [NUMBERS.index(name) for name in _OF_LENGTH]
        of_amount = [place for place in range(len(NUMBERS)) if place not in of_length]
        return {
            MEMBERS: apart,
            LIKENESS: np.column_stack([similarity[:, 0], *_means(similarity, FEW, SOME, NEAREST)]),
            PRICES: np.column_stack(
                [
                    difference[:, 0],
                    *_means(difference, FEW, SOME),
                    *_spreads(difference, FEW, SOME),
                    at_amount[:, 0],
                    *_means(at_amount, FEW),
                    *_spreads(at_amount, FEW, SOME),
                    weighted_quantiles(at_amount, weight, QUANTILES),
                ]
            ),
            RESIDUALS: np.column_stack(
                [
                    *_means(off, FEW, SOME),
                    np.nansum(weight * np.nan_to_num(off), axis=1),
                    *_means(residual, FEW),
                    *_spreads(residual, FEW),
                    weighted_quantiles(residual, weight, QUANTILES),
                ]
            ),
            AMOUNT: np.column_stack([fields.numbers[:, of_amount], fields.unit, comparable.mean(axis=1)]),
            LENGTH: fields.numbers[:, of_length].astype(np.float64),
            LEVEL: self.answer[:, None],
        }


def widths(members: int) -> dict[str, int]:
    """Columns of each group of evidence, where there are so many members."""
    of_length = len(_OF_LENGTH)
    return {
        MEMBERS: members + 4,
        LIKENESS: 4,
        PRICES: 9 + len(QUANTILES),
        RESIDUALS: 5 + len(QUANTILES),
        AMOUNT: len(NUMBERS) - of_length + 2,
        LENGTH: of_length,
        LEVEL: 1,
    }


def width(members: int) -> int:
    """Columns of the table where there are so many members."""
    return sum(widths(members).values())


def _means(values: Float64, *first: int) -> list[Float64]:
    """(n,) means of the `first` columns of (n, k), NaN left out."""
    return [np.nanmean(values[:, :columns], axis=1) for columns in first]


def _spreads(values: Float64, *first: int) -> list[Float64]:
    """(n,) standard deviations, as `_means`."""
    return [np.nanstd(values[:, :columns], axis=1) for columns in first]
