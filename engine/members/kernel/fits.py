"""Fits of kernel ridge regression without some folds: which rows each learns, by which words' weights, and how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from engine.members.kernel.leave_out import InverseKernel, SumsByFold
from engine.members.outliers import without_outliers
from engine.metrics import weighted_quantile
from index.arrays import Bool, Float32, Float64, Int8, Int64, chunks, rows_of
from index.errors import UsageError
from index.threads import own_threads

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.members.kernel.cosines import Weighing
    from engine.members.kernel.similarity import Landmarks
    from engine.members.member import Out

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Rows:
    """n priced rows to fit on."""

    inputs: Inputs
    log_price: Float64  # (n,)
    fold: Int8  # (n,)
    age_weight: Float64 | None = None  # (n,)
    outliers: float = 0.0  # share of a model's rows, farthest from their median, that it does not learn

    def learned(self, out: Iterable[int]) -> Bool:
        """(n,) rows that a model without the folds `out` learns."""
        inside = np.flatnonzero(~np.isin(self.fold, list(out)))
        learned = np.zeros(len(self.fold), bool)
        learned[inside[without_outliers(self.log_price[inside], self.outliers)]] = True
        return learned

    def take(self, rows: Int64) -> Rows:
        """Some of the rows."""
        age_weight = rows_of(self.age_weight, rows)
        return Rows(self.inputs.take(rows), self.log_price[rows], self.fold[rows], age_weight, self.outliers)

    def level(self, learned: Bool) -> float:
        """The median log price of some rows, by their age; 0 of none."""
        if not learned.any():
            return 0.0
        if self.age_weight is None:
            return float(np.median(self.log_price[learned]))
        return float(weighted_quantile(self.log_price[learned], self.age_weight[learned], 0.5))


def blocks_for(rows: int, landmarks: int) -> int:
    """Number of blocks of folds, of which every two are left out together when words are weighed.

    Of four there are six choices of weights to average for a query, of three there are three; where there are more rows
    than landmarks, each costs sums over all rows.
    """
    return 4 if rows <= landmarks else 3


def kernels_for(rows: int, landmarks: int) -> int:
    """Number of kernels that all folds take: one before words are weighed, and one for each two blocks of folds."""
    return 1 + comb(blocks_for(rows, landmarks), 2)


def word_plan(outs: Sequence[Out], folds: int, blocks: int) -> list[tuple[Out, list[Out]]]:
    """Folds that are left out when words are weighed, and the choices of `outs` that those weights may serve."""
    parts = [tuple(block.tolist()) for block in np.array_split(np.arange(folds), min(blocks, folds)) if len(block)]
    unions = [tuple(sorted(a + b)) for a, b in combinations(parts, 2)] or parts
    plan: dict[Out, list[Out]] = {}
    for out in outs:
        fitting = [union for union in unions if set(out) <= set(union)] if out else [()]
        # To the one that serves fewest so far, so that the models of a build differ in their words.
        plan.setdefault(min(fitting, key=lambda union: len(plan.get(union, ()))), []).append(out)
    return list(plan.items())


@dataclass(frozen=True)
class KernelFit:
    """A fit without some folds."""

    coefficients: Float64  # (m,)
    level: float
    predicted: Float64  # of the rows that it has not seen


class KernelFits:
    """Fits of one set of rows, by kernels whose words weigh differently."""

    def __init__(self, rows: Rows, landmarks: Landmarks, chosen: Int64) -> None:
        self._rows, self._landmarks, self._chosen = rows, landmarks, chosen

    def solve(self, weighing: Weighing, outs: Sequence[Out]) -> dict[Out, KernelFit]:
        """A fit without each of `outs`. UsageError where the ridge is too small for that."""
        exact = len(self._chosen) == len(self._rows.inputs)
        try:
            return self._solve_exactly(weighing, outs) if exact else self._solve_by_landmarks(weighing, outs)
        except np.linalg.LinAlgError as error:
            raise UsageError(
                f"[kernel] ridge is {self._landmarks.settings.ridge:g}, too small for items that are nearly the same: "
                "the kernel's equations cannot be solved. Give more, such as 0.1."
            ) from error

    def _solve_exactly(self, weighing: Weighing, outs: Sequence[Out]) -> dict[Out, KernelFit]:
        rows, n = self._rows, len(self._rows.inputs)
        kernel = np.empty((n, n), np.float32)
        for part in chunks(n, ROWS_AT_ONCE):  # of which the lower triangle is enough
            kernel[part, : part.stop] = self._kernel(weighing, rows.inputs.take(part), part.stop)
        ridge = np.float32(self._landmarks.settings.ridge)
        noise = np.full(n, ridge) if rows.age_weight is None else ridge / rows.age_weight.astype(np.float32)
        inverse = InverseKernel(kernel, noise)
        fits = {}
        for out in outs:
            learned = rows.learned(out)
            unlearned, level = np.flatnonzero(~learned), rows.level(learned)
            target = rows.log_price - level
            short = inverse.predict(target, unlearned)
            coefficients = inverse.coefficients(target, unlearned, short)
            unseen = np.isin(rows.fold[unlearned], out)
            fits[out] = KernelFit(coefficients, level, short[unseen] + level)
        return fits

    def _solve_by_landmarks(self, weighing: Weighing, outs: Sequence[Out]) -> dict[Out, KernelFit]:
        rows, folds = self._rows, int(self._rows.fold.max()) + 1
        place = np.full(len(rows.fold), -1)
        place[self._chosen] = np.arange(len(self._chosen))
        sums = SumsByFold(len(self._chosen), folds)
        for f in range(folds):
            for here, kernel in self._kernels(weighing, np.flatnonzero(rows.fold == f)):
                sums.add(f, kernel, rows.log_price[here], rows_of(rows.age_weight, here), place[here])
        solved, ridge = {}, self._landmarks.settings.ridge
        for out in outs:
            learned = rows.learned(out)
            level = rows.level(learned)
            dropped = np.flatnonzero(~learned & ~np.isin(rows.fold, out))
            self._without(sums, weighing, dropped, 1)
            coefficients = sums.solve(out, level, ridge, learned[self._chosen])
            self._without(sums, weighing, dropped, -1)
            solved[out] = coefficients, level
        predicted = self._predicted(weighing, solved)
        return {out: KernelFit(*found, predicted[out]) for out, found in solved.items()}

    def _without(self, sums: SumsByFold, weighing: Weighing, dropped: Int64, sign: int) -> None:
        """Take rows out of the sums, or with a sign of -1 put them back."""
        change = sums.take_away if sign > 0 else sums.put_back
        for f in np.unique(self._rows.fold[dropped]):
            for here, kernel in self._kernels(weighing, dropped[self._rows.fold[dropped] == f]):
                change(int(f), kernel, self._rows.log_price[here], rows_of(self._rows.age_weight, here))

    def _predicted(self, weighing: Weighing, solved: dict[Out, tuple[Float64, float]]) -> dict[Out, Float64]:
        """Predictions of the rows that a fit has not seen, by its coefficients and level."""
        rows, predicted = self._rows, {out: np.zeros(len(self._rows.fold)) for out in solved}
        for f in sorted({fold for out in solved for fold in out}):
            blind = [out for out in solved if f in out]
            coefficients = np.stack([solved[out][0] for out in blind], axis=1).astype(np.float32)
            for here, kernel in self._kernels(weighing, np.flatnonzero(rows.fold == f)):
                for out, values in zip(blind, (kernel @ coefficients).T, strict=True):
                    predicted[out][here] = values + solved[out][1]
        return {out: values[np.isin(rows.fold, out)] for out, values in predicted.items()}

    def _kernels(self, weighing: Weighing, numbers: Int64) -> Iterable[tuple[Int64, Float32]]:
        """Runs of the rows `numbers`, each with its kernel (rows, m)."""
        for part in chunks(len(numbers), ROWS_AT_ONCE):
            here = numbers[part]
            yield here, self._kernel(weighing, self._rows.inputs.take(here))

    def _kernel(self, weighing: Weighing, inputs: Inputs, upto: int | None = None) -> Float32:
        kernel: Float32 = self._landmarks.kernels(inputs, [weighing], upto, own_threads())[0]
        return kernel
