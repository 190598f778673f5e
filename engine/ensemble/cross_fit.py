"""Fit what comes after the models, and score it honestly: blend weights, the correction's parameters, the interval.

For queries they are fitted on every row. For a score they are fitted anew for each fold, on the other folds' rows, and
that fold is then priced as a build without it would price it (`engine.ensemble.out_of_fold`): no row is scored by
weights, parameters or interval ends that were fitted on it, and the rows that correct a fold carry residuals of models
that never saw it. What remains is of second order: the other folds' predictions, on which parameters and ends are
fitted, come from models that did see the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.blend import blend, cross_fit_weights
from engine.ensemble.correction import shift, weights
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.uncertainty.confidence import Spread
from engine.ensemble.uncertainty.error_model import ErrorModel, Known, Novelty, fit_error_model
from engine.ensemble.uncertainty.evidence import NEAREST, ComparedRows, Evidence, width
from engine.ensemble.uncertainty.expected_price import MEDIAN, ExpectedPrice
from engine.ensemble.uncertainty.interval import fit_interval
from engine.metrics import row_smape
from engine.settings.schema import CorrectionParameters
from index.arrays import Bool, Float32, Float64, Int8, Int64, rows_of
from index.search.neighbours import BandIndex, Neighbours

if TYPE_CHECKING:
    from engine.ensemble.blend import Weights
    from engine.ensemble.out_of_fold import OutOfFold
    from engine.features.inputs import Fields
    from engine.settings.schema import Correction, Settings

# As `engine.ensemble.correction.shift`.
Shift = Callable[[Neighbours, Float64, CorrectionParameters, Float64 | None], Float64]

ALL = slice(None)  # rows

# What is tried for a parameter that is not fixed.
GRID_K = (4, 8, 16, 32, 64)
GRID_BAND = (0.2, 0.35, 0.6, 1.0, 1.5, 2.5)
GRID_DECAY = (1.0, 2.0, 5.0, 10.0, 20.0)
GRID_ALPHA = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
MOST_TRIED_ON = 20_000  # rows: to try a band takes a search for each


@dataclass(frozen=True)
class QueryParameters:
    """Parameters that a query needs beside models and rows, fitted on every row."""

    weights: dict[str, float]  # of the blend
    correction: CorrectionParameters
    error: ErrorModel
    expected: ExpectedPrice


@dataclass(frozen=True)
class HeldOutPredictions:
    """n rows priced without their fold, in log price: what evaluation scores."""

    stages: dict[str, Float64]  # stage -> (n,), see `stages_of`
    control: Float64  # (n,) the last stage, corrected by random neighbours in the band instead of the nearest
    spread: Spread
    # (n,) ends of an interval by the level of the price alone, to compare with; None where it is not known
    plain: tuple[Float64, Float64] | None
    similarity: Float64  # (n,) of the nearest neighbour in the band; 0 where there is none
    likeness: Float64  # (n,) of the nearest neighbour of all
    corrections: Sequence[CorrectionParameters] = ()  # of each fold; none where rows are priced as queries

    @property
    def uncorrected(self) -> Float64:
        """(n,) log price of the stage before the last, around which the neighbours are that correct it."""
        *_, uncorrected, _ = self.stages.values()
        return uncorrected

    @property
    def answer(self) -> Float64:
        """(n,) log price of the last stage."""
        *_, answer = self.stages.values()
        return answer


def cross_fit(
    oof: OutOfFold,
    log_price: Float64,
    search_vectors: Float32,
    fields: Fields,
    settings: Settings,
    *,
    answer: str = MEDIAN,
    age_weight: Float64 | None = None,
) -> tuple[QueryParameters, HeldOutPredictions]:
    """Fit on every row, and score by folds. `log_price` (n,), `search_vectors` (n, dim) unit rows, `fields` of n.

    `answer`: what the last stage holds, MEDIAN or MEAN. `age_weight` (n,): what a row counts for in all that is fitted
    here, where they do not all count the same.
    """
    folds = [oof.fold == f for f in range(oof.folds)]
    best = answer_out_of_fold(oof, log_price, search_vectors, settings, age_weight=age_weight)
    task, by_fold, median = best.task, best.parameters_by_fold, best.answer
    known, error, spread = fit_spread(best, oof, fields, settings)
    table = known.table
    plain = [
        fit_interval(median[~here], log_price[~here], settings.coverage, rows_of(age_weight, ~here)).bounds(
            median[here]
        )
        for here in folds
    ]
    constant = _join(folds, [np.full(here.sum(), np.median(log_price[~here])) for here in folds])
    nested, alone = oof.nested(), task.neighbours_alone(by_fold)
    expected = ExpectedPrice.fit(table, median, log_price, seed=settings.seed, age_weight=age_weight)
    stages = stages_of(
        {"constant median": constant, "neighbours alone": alone},
        {member: nested[member] for member in oof.members},
        {"blend": best.blended, **({STACKER: task.base} if oof.stacked else {})},
        median if answer == MEDIAN else _means(task, table, median, settings.seed),
    )
    control = task.shuffled(settings.seed).corrected(by_fold)[0]
    low, high = (_join(folds, [pair[end] for pair in plain]) for end in (0, 1))
    parameters = QueryParameters(best.weights.whole, best.parameters, error, expected)
    likeness = known.novelty.likeness
    held_out = HeldOutPredictions(stages, control, spread, (low, high), best.similarity, likeness, by_fold)
    return parameters, replace(held_out, spread=spread.holding(held_out.answer))


def fit_spread(best: Answer, oof: OutOfFold, fields: Fields, settings: Settings) -> tuple[Known, ErrorModel, Spread]:
    """Fit the model of the error on answers that are out of fold; and the spread of each without its fold."""
    task = best.task
    known = Known(*_evidence(best, oof, fields), best.answer, task.log_price, task.fold, task.age_weight)
    return known, *fit_error_model(known, settings.coverage, settings.seed)


def _evidence(best: Answer, oof: OutOfFold, fields: Fields) -> tuple[Float64, Novelty]:
    """The evidence of every row, (n, features), without its fold; and what tells that nothing is like it."""
    task, nested, n = best.task, oof.nested(), len(oof.fold)
    table, rows = np.empty((n, width(len(oof.members)))), ComparedRows(task.log_price, fields.unit, fields.log_amount)
    novelty = Novelty(np.empty(n), np.empty(n))
    for f, here in enumerate(task.folds()):
        evidence = Evidence(
            {member: nested[member][here] for member in oof.members},
            best.blended[here],
            task.base[here],
            best.answer[here],
            fields.take(here),
            task.nearest.of(here),
            rows,
            task.residual[f],
        )
        of_fold = Novelty.of(evidence)
        table[here], novelty.likeness[here], novelty.length[here] = evidence.table(), of_fold.likeness, of_fold.length
    return table, novelty


def _means(task: CorrectionTask, table: Float64, median: Float64, seed: int) -> Float64:
    """(n,) log of expected prices, each fold's by what the others taught."""
    folds, means = [task.fold == f for f in range(len(task.residual))], []
    for here in folds:
        age_weight, log_price = rows_of(task.age_weight, ~here), task.log_price[~here]
        fitted = ExpectedPrice.fit(table[~here], median[~here], log_price, seed=seed, age_weight=age_weight)
        means.append(fitted.log_mean(table[here], median[here]))
    return _join(folds, means)


@dataclass(frozen=True)
class Answer:
    """n rows priced without their fold, and what of it is chosen for queries and for each fold."""

    weights: Weights
    parameters: CorrectionParameters
    parameters_by_fold: list[CorrectionParameters]
    task: CorrectionTask
    blended: Float64  # (n,)
    answer: Float64  # (n,)
    similarity: Float64  # (n,) of the nearest neighbour in the band; 0 where there is none


def answer_out_of_fold(
    oof: OutOfFold,
    log_price: Float64,
    search_vectors: Float32,
    settings: Settings,
    move: Shift = shift,
    *,
    age_weight: Float64 | None = None,
) -> Answer:
    """Blend, then correct what comes last: the stacker where there is one. Shapes as of `cross_fit`."""
    weights = cross_fit_weights(oof, log_price, settings.blend, age_weight)
    blends = np.stack(
        [blend({m: oof.nested_oof[m][f] for m in oof.members}, weights.by_fold[f]) for f in range(oof.folds)]
    )  # (folds, n)
    blended = blends[oof.fold, np.arange(len(oof.fold))]
    base, expected = (oof.nested()[STACKER], oof.nested_oof[STACKER]) if oof.stacked else (blended, blends)
    task = CorrectionTask(log_price, oof.fold, search_vectors, base, log_price - expected, move, age_weight)
    parameters, by_fold = fit_correction(task, settings.correction)
    return Answer(weights, parameters, by_fold, task, blended, *task.corrected(by_fold))


def stages_of(
    baselines: dict[str, Float64], members: dict[str, Float64], combined: dict[str, Float64], answer: Float64
) -> dict[str, Float64]:
    """Every stage of an evaluation, the last the answer and the one before it the answer without its correction."""
    *_, last = combined
    return {**baselines, **members, **combined, f"{last} + correction": answer}


@dataclass(frozen=True)
class CorrectionTask:
    """Rows to correct, each with the residuals that it may be corrected by."""

    log_price: Float64  # (n,)
    fold: Int8  # (n,)
    search_vectors: Float32  # (n, dim)
    base: Float64  # (n,) prediction without the row's own fold
    residual: Float64  # (folds, n) [f, i]: that of row i in a build without fold f; not for i in f
    move: Shift = shift  # how residuals become a shift, in proportion to alpha
    age_weight: Float64 | None = None  # (n,) what a row counts for; None: all the same

    def shuffled(self, seed: int) -> CorrectionTask:
        """The same task with random neighbours, as a control."""
        order = np.random.default_rng(seed).permutation(len(self.search_vectors))
        return replace(self, search_vectors=self.search_vectors[order])

    def folds(self) -> list[Int64]:
        """The rows of every fold, rising."""
        return [np.flatnonzero(self.fold == f) for f in range(len(self.residual))]

    def search(self, k: int, band: float, rows: Int64 | slice = ALL) -> Neighbours:
        """Neighbours of these rows among the rows of other folds than each one's own."""
        queries, base, fold = self.search_vectors[rows], self.base[rows], self.fold[rows]
        return self._index.search(queries, base, k=k, band=band, exclude_group=fold)

    @cached_property
    def nearest(self) -> Neighbours:
        """The NEAREST neighbours of every row, without a band."""
        return self.search(NEAREST, np.inf)

    @cached_property
    def _index(self) -> BandIndex:
        return BandIndex(self.search_vectors, self.log_price, groups=self.fold)

    def corrected(self, by_fold: list[CorrectionParameters]) -> tuple[Float64, Float64]:
        """(n,) base plus shift by each fold's own parameters, and (n,) the nearest neighbour's similarity."""
        answer, similarity = self.base.copy(), np.zeros(len(self.base))
        for f, (here, own) in enumerate(zip(self.folds(), by_fold, strict=True)):
            near = self.search(own.k, own.band, here)
            answer[here] += self.move(near, self.residual[f], own, self.age_weight)
            similarity[here] = near.similarity[:, 0]
        return answer, similarity

    def neighbours_alone(self, by_fold: list[CorrectionParameters]) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model and so without a band."""
        answer = np.zeros(len(self.base))
        for f, (here, own) in enumerate(zip(self.folds(), by_fold, strict=True)):
            known = own.k <= NEAREST
            near = self.nearest.of(here).first(own.k) if known else self.search(own.k, np.inf, here)
            mean = (weights(near, own.decay, self.age_weight) * self.log_price[near.rows]).sum(axis=1)
            answer[here] = np.where(near.found[:, 0], mean, np.median(self.log_price[self.fold != f]))
        return answer


def fit_correction(task: CorrectionTask, fixed: Correction) -> tuple[CorrectionParameters, list[CorrectionParameters]]:
    """The parameters with the least SMAPE on every row, and for each fold those with the least on the other folds.

    Of more than MOST_TRIED_ON rows, so many at random tell: each still has all rows of other folds for neighbours.
    """
    bands = GRID_BAND if fixed.band is None else (fixed.band,)
    ks = GRID_K if fixed.k is None else (fixed.k,)
    decays = GRID_DECAY if fixed.decay is None else (fixed.decay,)
    alphas = GRID_ALPHA if fixed.alpha is None else (fixed.alpha,)
    tried = [
        CorrectionParameters(k, band, decay, alpha) for band, k, decay, alpha in product(bands, ks, decays, alphas)
    ]
    if len(tried) == 1:
        return tried[0], tried * len(task.residual)
    rows = np.arange(len(task.fold))
    if len(rows) > MOST_TRIED_ON:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_TRIED_ON, replace=False))
    of_fold = [np.flatnonzero(task.fold[rows] == f) for f in range(len(task.residual))]
    known = [(rows[here], np.exp(task.log_price[rows[here]]), rows_of(task.age_weight, rows[here])) for here in of_fold]
    loss = np.zeros((len(of_fold), len(tried)))
    column = 0
    for band in bands:
        widest = task.search(max(ks), band, rows)
        for k, decay in product(ks, decays):
            parameters, near = CorrectionParameters(k, band, decay, 1.0), widest.first(k)
            for f, (here, (own, price, counts)) in enumerate(zip(of_fold, known, strict=True)):
                delta = task.move(near.of(here), task.residual[f], parameters, task.age_weight)
                for at, alpha in enumerate(alphas, column):
                    missed = row_smape(price, np.exp(task.base[own] + alpha * delta))
                    loss[f, at] = missed.sum() if counts is None else missed @ counts
            column += len(alphas)
    total = loss.sum(axis=0)
    return tried[int(total.argmin())], [tried[int(others.argmin())] for others in total - loss]


def _join(folds: list[Bool], parts: list[Float64]) -> Float64:
    """Each fold's values put back in row order."""
    joined = np.empty(len(folds[0]))
    for here, part in zip(folds, parts, strict=True):
        joined[here] = part
    return joined
