"""Kernel ridge regression without some rows, for many choices of them, from what all choices share.

With K the kernel of n rows, R their noise and G = (K + R)^-1, a fit without the rows B predicts of them

    p_B = y_B - (G_BB)^-1 (G y)_B

and its coefficients are G y with p_B in the place of y_B: the rows B ask for nothing beyond what is predicted of them.
So one inverse serves every choice, where each fit alone would take an equation of its own. Source: the leave-one-out
formula of ridge regression (Allen, 1974), block by block. Exact: it is what a fit on the other rows would give.

Where there are more rows than landmarks, the sums over rows that a fit needs are kept fold by fold, and a fit without
some folds adds up the others (the subset of regressors: Rasmussen and Williams, 2006, section 8.3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from index.arrays import Bool, Float32, Float64, Int64

if TYPE_CHECKING:
    from numpy.typing import NDArray

JITTERS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Shares of the mean diagonal that are added to it, of which the first that serves is taken: landmarks that are
duplicates are no basis, and the more of them are nearly so, the more the rounding of float32 weighs."""


class InverseKernel:
    """G of n rows. Takes the memory of one n x n matrix in float32, that of the kernel it is given."""

    def __init__(self, kernel: Float32, noise: Float32) -> None:
        """`kernel` (n, n): its lower triangle is read, and written over; `noise` (n,) for its diagonal."""
        from scipy.linalg import LinAlgError
        from scipy.linalg.lapack import spotrf, spotri

        kernel.flat[:: len(kernel) + 1] += noise
        # Turned, its lower triangle is the upper one of an array in Fortran's order, which LAPACK overwrites in place.
        factor, failed = spotrf(kernel.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise LinAlgError(f"leading minor {failed} of the kernel is not positive definite")
        self._upper, _ = spotri(factor, lower=0, overwrite_c=1)

    def predict(self, target: Float64, out: Int64) -> Float64:
        """(out,) what a fit on the other rows of (n,) `target` predicts of the rows `out`, rising."""
        from scipy.linalg import cho_factor, cho_solve

        if not len(out):
            return np.empty(0)
        block = self._upper[np.ix_(out, out)]  # whose lower triangle may hold anything
        factor = cho_factor(block, lower=False, overwrite_a=True, check_finite=False)
        short = cho_solve(factor, self._times(target)[out].astype(np.float32), check_finite=False)
        predicted: Float64 = target[out] - short
        return predicted

    def coefficients(self, target: Float64, out: Int64, predicted: Float64) -> Float64:
        """(n,) those of the fit without the rows `out`, of which it predicts so much; 0 at these."""
        fitted = target.copy()
        fitted[out] = predicted
        coefficients = self._times(fitted)
        coefficients[out] = 0
        return coefficients

    def _times(self, values: Float64) -> Float64:
        from scipy.linalg.blas import ssymv

        product: Float64 = ssymv(1.0, self._upper, values.astype(np.float32), lower=0).astype(np.float64)
        return product


class SumsByFold:
    """Sums over the rows of each fold that a fit of m landmarks' coefficients needs."""

    def __init__(self, landmarks: int, folds: int) -> None:
        self._products = np.zeros((folds, landmarks, landmarks), np.float32)  # the lower triangle of each
        self._targets = np.zeros((folds, landmarks))
        self._ones = np.zeros((folds, landmarks))
        self._among = np.zeros((landmarks, landmarks), np.float32)

    def add(self, fold: int, kernel: Float32, target: Float64, weight: Float64 | None, at: Int64) -> None:
        """Add rows of one fold: `kernel` (rows, m), `target` and `weight` (rows,).

        `at` (rows,): which landmark a row is, -1 where none.
        """
        self._among[at[at >= 0]] = kernel[at >= 0]
        self._change(fold, kernel, target, weight, 1)

    def take_away(self, fold: int, kernel: Float32, target: Float64, weight: Float64 | None) -> None:
        """Take rows away from a fold, as `add` added them."""
        self._change(fold, kernel, target, weight, -1)

    def put_back(self, fold: int, kernel: Float32, target: Float64, weight: Float64 | None) -> None:
        """Put back what `take_away` took."""
        self._change(fold, kernel, target, weight, 1)

    def _change(self, fold: int, kernel: Float32, target: Float64, weight: Float64 | None, sign: int) -> None:
        from scipy.linalg.blas import ssyrk

        heavy = kernel if weight is None else kernel * np.sqrt(weight, dtype=np.float32)[:, None]
        # Added in place to the lower triangle, in Fortran's order the upper one.
        ssyrk(sign, heavy.T, beta=1, c=self._products[fold].T, lower=0, overwrite_c=1)
        counts = np.ones(len(target)) if weight is None else weight
        self._targets[fold] += sign * (kernel.T @ (counts * target).astype(np.float32))
        self._ones[fold] += sign * (kernel.T @ counts.astype(np.float32))

    def solve(self, out: Sequence[int], level: float, ridge: float, usable: Bool) -> Float64:
        """(m,) coefficients of targets less `level`, of the folds not in `out`; 0 of a landmark that is not usable."""
        from scipy.linalg import cho_solve

        coefficients = np.zeros(len(usable))
        if not usable.any():
            return coefficients
        kept = [fold for fold in range(len(self._products)) if fold not in out]
        right = sum((self._targets[fold] - level * self._ones[fold] for fold in kept), np.zeros(len(usable)))
        factor = self._factor(kept, ridge, usable)
        coefficients[usable] = cho_solve(factor, right[usable].astype(np.float32), check_finite=False)
        return coefficients

    def _factor(self, kept: Sequence[int], ridge: float, usable: Bool) -> tuple[Float32, bool]:
        """Cholesky factor of the equations of some folds. LinAlgError where no jitter makes them solvable."""
        from scipy.linalg import LinAlgError, cho_factor

        for jitter in JITTERS:
            left: NDArray[np.float32] = np.float32(ridge) * self._among
            for fold in kept:
                left += self._products[fold]
            if not usable.all():
                left = left[np.ix_(usable, usable)]
            left.flat[:: len(left) + 1] += jitter * left.diagonal().mean()
            try:
                factor: tuple[Float32, bool] = cho_factor(left, lower=True, overwrite_a=True, check_finite=False)
            except LinAlgError:  # a try overwrites the sums, so they are added up anew
                continue
            return factor
        raise LinAlgError("the sums over rows are no positive definite matrix")
