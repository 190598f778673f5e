"""Confidence in a price, in a word, and why it is no more.

The word goes by the expected error, the median size of what such a price is off by: `high` where half of such items are
priced within 20 %, `medium` within 40 %, `low` beyond. Where nothing in the catalogue is like the item, or its text is
too short to tell, it is `low`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from index.contents import expect, finite

if TYPE_CHECKING:
    from index.arrays import Bool, Float64

CONFIDENCES = "high", "medium", "low"
MOST_ERROR = np.log([1.2, 1.4])  # of high and of medium confidence
CLOSE = 0.2  # of the price: what is told of such items
LEAST_ROWS = 100  # of a step of `WithinShare`
MOST_STEPS = 20


@dataclass(frozen=True)
class Spread:
    """Distances that n prices may be off, in log price."""

    expected_error: Float64  # (n,) median of its size
    low: Float64  # (n,) the interval's ends
    high: Float64
    unlike: Bool  # (n,) nothing in the catalogue is like the item
    brief: Bool  # (n,) its text says less than nearly all of the catalogue's
    within: Float64  # (n,) share of such items that were within a fifth of their price

    def holding(self, priced: Float64) -> Spread:
        """The same with ends moved out to n log prices that lie beyond them, as an expected price may."""
        return replace(self, low=np.minimum(self.low, priced), high=np.maximum(self.high, priced))


def confidence(spread: Spread) -> list[str]:
    """A word for each of n prices."""
    place = np.searchsorted(MOST_ERROR, spread.expected_error)
    place = np.where(spread.unlike | spread.brief, len(MOST_ERROR), place)
    return [CONFIDENCES[at] for at in place]


@dataclass(frozen=True)
class WithinShare:
    """Share of the rows that were within a fifth of their price, by their expected error."""

    error: tuple[float, ...]  # (steps,) rising: the middle of each step
    share: tuple[float, ...]  # (steps,) never rising

    @classmethod
    def fit(cls, expected: Float64, error: Float64, age_weight: Float64 | None = None) -> Self:
        """Fit on rows' expected errors (n,) and errors, log price less the answer, both of models without their fold.

        The pool-adjacent-violators algorithm: a larger expected error never means a larger share.
        """
        from scipy.optimize import isotonic_regression

        within = np.abs(np.expm1(-error)) <= CLOSE
        weight = np.ones(len(error)) if age_weight is None else age_weight
        steps = np.array_split(np.argsort(expected, kind="stable"), np.clip(len(error) // LEAST_ROWS, 1, MOST_STEPS))
        # Of many equal errors the first and the last are alike: steps with the same middle are one.
        middle, step = np.unique([np.median(expected[rows]) for rows in steps], return_inverse=True)
        counts = np.bincount(step, weights=[weight[rows].sum() for rows in steps])
        close = np.bincount(step, weights=[weight[rows] @ within[rows] for rows in steps])
        fitted = isotonic_regression(close / counts, weights=counts, increasing=False).x
        return cls(tuple(middle.tolist()), tuple(np.clip(fitted, 0, 1).tolist()))

    def of_error(self, expected: Float64) -> Float64:
        """(n,) share for n expected errors; beyond the steps that of the outermost."""
        return np.interp(expected, self.error, self.share)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read what was written of it. Raises WrongContents for what is none."""
        within = cls(tuple(document["error"]), tuple(document["share"]))
        expect(len(within.error) == len(within.share) > 0, "the shares of close prices have other steps")
        expect(all(map(finite, (*within.error, *within.share))), "a share of close prices is no number")
        expect(list(within.error) == sorted(within.error), "the steps of the expected error do not rise")
        falling = list(within.share) == sorted(within.share, reverse=True)
        expect(falling and within.share[-1] >= 0 and within.share[0] <= 1, "the shares of close prices are no shares")
        return within
