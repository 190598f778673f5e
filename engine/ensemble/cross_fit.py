"""What is fitted after the models: blend weights, the correction's knobs, the interval. And their honest score.

For queries they are fitted on every row. For a score they are fitted anew for each fold, on the other folds' rows, and
that fold is then priced as a build without it would price it (`engine.ensemble.out_of_fold`): no row is scored by
weights, knobs or ends that were fitted on it, and the rows that correct a fold carry residuals of models that never
saw it. What remains is of second order: the other folds' predictions, on which knobs and ends are fitted, come
from models that did see the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.blend import blend, cross_fit_weights
from engine.ensemble.correction import shift, weights
from engine.ensemble.interval import Interval, fit_interval
from engine.ensemble.out_of_fold import STACKER
from engine.metrics import row_smape
from engine.settings.schema import CorrectionParameters
from index.search.neighbours import BandIndex, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.blend import Weights
    from engine.ensemble.out_of_fold import OutOfFold
    from engine.settings.schema import Correction, Settings

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Shift = Callable[[Neighbours, Float64, CorrectionParameters], Float64]  # as `engine.ensemble.correction.shift`

# What is tried for a knob that is not fixed.
GRID_K = (4, 8, 16, 32, 64)
GRID_BAND = (0.2, 0.35, 0.6, 1.0, 1.5, 2.5)
GRID_DECAY = (1.0, 2.0, 5.0, 10.0, 20.0)
GRID_ALPHA = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Fitted:
    """What a query needs, fitted on every row."""

    weights: dict[str, float]
    knobs: CorrectionParameters
    mlp_knobs: CorrectionParameters  # of the stage "mlp + correction", which is there to compare with
    interval: Interval


@dataclass(frozen=True)
class Held:
    """n rows priced without their fold, in log price: what evaluation scores."""

    stages: dict[str, Float64]  # stage -> (n,), see `stages_of`
    control: Float64  # (n,) the last stage, corrected by random neighbours in the band instead of the nearest
    low: Float64  # (n,)
    high: Float64
    similarity: Float64  # (n,) of the nearest neighbour in the band; 0 where there is none


def cross_fit(oof: OutOfFold, log_price: Float64, space: Float32, settings: Settings) -> tuple[Fitted, Held]:
    """Fit on every row, and score by folds. `log_price` (n,), `space` (n, dim) unit rows to search in."""
    held, folds = oof.held(), [oof.fold == f for f in range(oof.folds)]
    best = answer_out_of_fold(oof, log_price, space, settings)
    task, knobs_by_fold, answer = best.task, best.knobs_by_fold, best.answer
    mlp = Task(log_price, oof.fold, space, held["mlp"], log_price - oof.without["mlp"])
    mlp_knobs, mlp_knobs_by_fold = fit_knobs(mlp, settings.correction)
    interval = fit_interval(answer, log_price, settings.coverage)
    bounds = [fit_interval(answer[~here], log_price[~here], settings.coverage).bounds(answer[here]) for here in folds]
    median = _join(folds, [np.full(here.sum(), np.median(log_price[~here])) for here in folds])
    stages = stages_of(
        {"constant median": median, "neighbours alone": task.neighbours_alone(knobs_by_fold)},
        {member: held[member] for member in oof.members},
        mlp.corrected(mlp_knobs_by_fold)[0],
        {"blend": best.blended, **({"stacker": task.base} if oof.stacked else {})},
        answer,
    )
    control = task.shuffled(settings.seed).corrected(knobs_by_fold)[0]
    low, high = (_join(folds, [pair[end] for pair in bounds]) for end in (0, 1))
    fitted = Fitted(best.weights.whole, best.knobs, mlp_knobs, interval)
    return fitted, Held(stages, control, low, high, best.similarity)


@dataclass(frozen=True)
class Answer:
    """n rows priced without their fold, and what of it is chosen for queries and for each fold."""

    weights: Weights
    knobs: CorrectionParameters
    knobs_by_fold: list[CorrectionParameters]
    task: Task
    blended: Float64  # (n,)
    answer: Float64  # (n,)
    similarity: Float64  # (n,) of the nearest neighbour in the band; 0 where there is none


def answer_out_of_fold(
    oof: OutOfFold, log_price: Float64, space: Float32, settings: Settings, move: Shift = shift
) -> Answer:
    """Blend, then correct what comes last: the stack where there is one. Shapes as of `cross_fit`."""
    weights = cross_fit_weights(oof, log_price, settings.blend)
    blends = np.stack(
        [blend({m: oof.without[m][f] for m in oof.members}, weights.by_fold[f]) for f in range(oof.folds)]
    )  # (folds, n)
    blended = blends[oof.fold, np.arange(len(oof.fold))]
    base, expected = (oof.held()[STACKER], oof.without[STACKER]) if oof.stacked else (blended, blends)
    task = Task(log_price, oof.fold, space, base, log_price - expected, move)
    knobs, knobs_by_fold = fit_knobs(task, settings.correction)
    return Answer(weights, knobs, knobs_by_fold, task, blended, *task.corrected(knobs_by_fold))


def stages_of(
    baselines: dict[str, Float64],
    members: dict[str, Float64],
    mlp_corrected: Float64,
    combined: dict[str, Float64],
    answer: Float64,
) -> dict[str, Float64]:
    """Every stage of an evaluation, the last the answer and the one before it the answer without its correction."""
    stages = dict(baselines)
    for member, predicted in members.items():
        stages[member] = predicted
        if member == "mlp":
            stages["mlp + correction"] = mlp_corrected
    *_, last = combined
    return {**stages, **combined, f"{last} + correction": answer}


@dataclass(frozen=True)
class Task:
    """Rows to correct, each with the residuals that it may hear."""

    log_price: Float64  # (n,)
    fold: NDArray[np.int8]  # (n,)
    space: Float32  # (n, dim)
    base: Float64  # (n,) prediction without the row's own fold
    bank: Float64  # (folds, n) [f, i]: residual of row i in a build without fold f; not for i in f
    move: Shift = shift  # how residuals become a shift, in proportion to alpha

    def shuffled(self, seed: int) -> Task:
        """The same with neighbours that are alike by chance alone: the control."""
        order = np.random.default_rng(seed).permutation(len(self.space))
        return replace(self, space=self.space[order])

    def folds(self) -> Iterator[Fold]:
        for f in range(len(self.bank)):
            yield Fold(self, f)

    def corrected(self, knobs: list[CorrectionParameters]) -> tuple[Float64, Float64]:
        """(n,) base plus shift with each fold's own knobs, and (n,) the nearest neighbour's similarity."""
        answer, similarity = self.base.copy(), np.zeros(len(self.base))
        for fold, own in zip(self.folds(), knobs, strict=True):
            near = fold.search(own.k, own.band)
            answer[fold.here] += self.move(near, fold.residual, own)
            similarity[fold.here] = near.similarity[:, 0]
        return answer, similarity

    def neighbours_alone(self, knobs: list[CorrectionParameters]) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model and so without a band."""
        answer = np.zeros(len(self.base))
        for fold, own in zip(self.folds(), knobs, strict=True):
            near = fold.search(own.k, np.inf)
            mean = (weights(near, own.decay) * self.log_price[fold.there][near.rows]).sum(axis=1)
            answer[fold.here] = np.where(near.found[:, 0], mean, np.median(self.log_price[fold.there]))
        return answer


class Fold:
    """One fold as queries, the others as the index."""

    def __init__(self, task: Task, f: int) -> None:
        self.here = np.flatnonzero(task.fold == f)
        self.there = np.flatnonzero(task.fold != f)
        self.residual = task.bank[f, self.there]
        self.base = task.base[self.here]
        self._queries = task.space[self.here]
        self._index = BandIndex(task.space[self.there], task.log_price[self.there])

    def search(self, k: int, band: float) -> Neighbours:
        """Rows count within `there`."""
        return self._index.search(self._queries, self.base, k=k, band=band)


def fit_knobs(task: Task, fixed: Correction) -> tuple[CorrectionParameters, list[CorrectionParameters]]:
    """The knobs with the least SMAPE on every row, and for each fold those with the least on the other folds."""
    bands = GRID_BAND if fixed.band is None else (fixed.band,)
    ks = GRID_K if fixed.k is None else (fixed.k,)
    decays = GRID_DECAY if fixed.decay is None else (fixed.decay,)
    alphas = GRID_ALPHA if fixed.alpha is None else (fixed.alpha,)
    tried = [
        CorrectionParameters(k, band, decay, alpha) for band, k, decay, alpha in product(bands, ks, decays, alphas)
    ]
    if len(tried) == 1:
        return tried[0], tried * len(task.bank)
    loss = np.zeros((len(task.bank), len(tried)))
    for f, fold in enumerate(task.folds()):
        price = np.exp(task.log_price[fold.here])
        column = 0
        for band in bands:
            widest = fold.search(max(ks), band)
            for k, decay in product(ks, decays):
                near = Neighbours(widest.rows[:, :k], widest.similarity[:, :k])
                delta = task.move(near, fold.residual, CorrectionParameters(k, band, decay, 1.0))
                for alpha in alphas:
                    loss[f, column] = row_smape(price, np.exp(fold.base + alpha * delta)).sum()
                    column += 1
    total = loss.sum(axis=0)
    return tried[int(total.argmin())], [tried[int(each.argmin())] for each in total - loss]


def _join(folds: list[NDArray[np.bool_]], parts: list[Float64]) -> Float64:
    """Each fold's values put back in row order."""
    joined = np.empty(len(folds[0]))
    for here, part in zip(folds, parts, strict=True):
        joined[here] = part
    return joined
