"""Error of a price: how far off it may be, by what is known of the item, and the interval that follows.

Trees learn the median size of the out-of-fold errors (the expected error) and their outer quantiles: an item on which
the members disagree, or whose neighbours' prices are far apart, gets a wide interval. What trees learn need not hold
what it says, so the ends are moved until they do, by the ranks of rows that the trees did not see: conformalised
quantile regression (Romano, Patterson and Candès, 2019), moved in units of the expected error. Where rows do not all
count the same, ranks are weighted.

An item less like the catalogue than nearly all of its own rows is beyond what the trees can know: its interval also
holds what the catalogue's prices span.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.ensemble.uncertainty.confidence import Spread, WithinShare
from engine.ensemble.uncertainty.evidence import width, widths
from engine.ensemble.uncertainty.interval import conformal_end
from engine.features.inputs import NUMBERS
from engine.members.lightgbm import fit_trees, read_booster
from engine.metrics import weighted_quantile
from index.arrays import Bool, Float64, Int8, rows_of
from index.contents import expect, finite, loading
from index.storage.layout import model_file
from index.threads import own_threads, thread_pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.ensemble.uncertainty.evidence import Evidence

TEXT_LENGTH = NUMBERS.index("log_text_length")
ERROR, LOW, HIGH = BOOSTERS = "error", "low", "high"
LEAST_ERROR = 0.02  # log price: what is known better than that is known
LEAST_LIKE = 0.005  # share of the catalogue's rows that are as unlike it as an item that is told to be
OF_ERROR = {
    "objective": "l1",
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "lambda_l2": 1.0,
    "extra_trees": True,
}
OF_ENDS = OF_ERROR | {"objective": "quantile", "num_leaves": 31, "min_data_in_leaf": 60}
ROUNDS = 200
LEAST_ROWS = 250  # of fewer trees learn noise: one expected error and one pair of ends is then all that is told


@dataclass(frozen=True)
class Novelty:
    """Signs that the catalogue knows nothing like an item."""

    likeness: Float64  # (n,) of the nearest
    length: Float64  # (n,) log length of its text

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        """Take them of n items."""
        return cls(evidence.likeness, evidence.fields.numbers[:, TEXT_LENGTH].astype(np.float64))


@dataclass(frozen=True)
class Calibration:
    """Calibration on rows that the trees did not see."""

    low: float  # by which the lower end is moved down, in units of the expected error
    high: float
    least_likeness: float  # below it nothing in the catalogue is like the item
    least_length: float  # log length of a text: below it one says less than nearly all of the catalogue's
    cheap: float  # the catalogue's prices span, at the interval's coverage; log price
    dear: float


@dataclass(frozen=True)
class _Trees:
    """Predictions of the trees for n items."""

    scale: Float64  # (n,) expected error
    low: Float64  # (n,) end of the interval less the answer
    high: Float64


class ErrorModel:
    """The trees of the expected error and of both ends, and their calibration."""

    def __init__(self, boosters: Mapping[str, Any], calibration: Calibration, within: WithinShare) -> None:
        self._boosters = boosters
        self.calibration = calibration
        self.within = within

    def spread(self, table: Float64, answer: Float64, novelty: Novelty) -> Spread:
        """Return the spread of n answers, by their `Evidence.table()`."""
        scale, low, high = (np.asarray(self._boosters[name].predict(table), np.float64) for name in BOOSTERS)
        trees = _Trees(np.maximum(scale, LEAST_ERROR), low, high)
        return _spread(answer, trees, novelty, self.calibration, self.within)

    def raised(self, table: Float64) -> Float64:
        """(n, groups of evidence): by how much each raises the expected error, in log price.

        Source: SHAP values of trees (Lundberg et al., 2020).
        """
        share = np.asarray(self._boosters[ERROR].predict(table, pred_contrib=True), np.float64)
        columns = widths(table.shape[1] - width(0)).values()
        return np.add.reduceat(share[:, :-1], np.cumsum([0, *columns])[:-1], axis=1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees, and return what belongs beside them."""
        for name, booster in self._boosters.items():
            (folder / model_file(name, 0, "txt")).write_text(booster.model_to_string(), encoding="utf-8")
        return {"calibration": asdict(self.calibration), "within": asdict(self.within)}

    @classmethod
    def load(cls, folder: Path, document: Mapping[str, Any], members: int) -> Self:
        """Load what `save` wrote. Raises WrongContents for what reads the evidence of another number of members."""
        boosters = {}
        for name in BOOSTERS:
            path = folder / model_file(name, 0, "txt")
            with loading(path):
                boosters[name] = read_booster(path.read_text(encoding="utf-8"))
                expect(boosters[name].num_feature() == width(members), "its trees read another table")
        calibration = Calibration(**document["calibration"])
        expect(all(map(finite, asdict(calibration).values())), "the calibration of the interval is no number")
        expect(calibration.cheap <= calibration.dear, "the span of the prices is upside down")
        return cls(boosters, calibration, WithinShare.of(document["within"]))


@dataclass(frozen=True)
class Known:
    """n answers that are out of fold, and the prices."""

    table: Float64  # (n, features) `Evidence.table()`
    novelty: Novelty
    answer: Float64  # (n,) log price
    log_price: Float64  # (n,)
    fold: Int8  # (n,)
    age_weight: Float64 | None = None  # (n,) what each counts for; None: all the same

    @property
    def error(self) -> Float64:
        """(n,) log price less the answer."""
        return self.log_price - self.answer

    def folds(self) -> list[Bool]:
        """(n,) which rows each fold holds; a fold without rows is left out."""
        return [here for f in range(int(self.fold.max()) + 1) if (here := self.fold == f).any()]


def fit_error_model(known: Known, coverage: float, seed: int) -> tuple[ErrorModel, Spread]:
    """Fit on answers that are out of fold, for queries; and the spread of these rows, each without its own fold.

    What the ends are calibrated by is of trees that did not see the row's fold; a fold is then measured by calibration
    on the others.
    """
    answer, log_price, age_weight = known.answer, known.log_price, known.age_weight
    likeness, length = known.novelty.likeness, known.novelty.length
    error, folds, tail = known.error, known.folds(), (1 - coverage) / 2
    boosters, predicted = _fit_boosters(known, tail, seed)
    scale, low, high = np.maximum(predicted[ERROR], LEAST_ERROR), predicted[LOW], predicted[HIGH]
    missing = (low - error) / scale, (error - high) / scale

    def calibrated(rows: Bool) -> tuple[Calibration, WithinShare]:
        weight = rows_of(age_weight, rows)
        beyond = [conformal_end(missed[rows], coverage, weight) for missed in missing]
        least = [float(np.quantile(values[rows], LEAST_LIKE)) for values in (likeness, length)]
        counts = np.ones(rows.sum()) if weight is None else weight
        span = weighted_quantile(log_price[rows], counts, [tail, 1 - tail])
        within = WithinShare.fit(scale[rows], error[rows], weight)
        return Calibration(*beyond, *least, *map(float, span)), within

    parts = [calibrated(~here) for here in folds]
    spreads = [
        _spread(answer[here], _Trees(scale[here], low[here], high[here]), Novelty(likeness[here], length[here]), *part)
        for here, part in zip(folds, parts, strict=True)
    ]
    return ErrorModel(boosters, *calibrated(np.ones(len(error), bool))), _joined(folds, spreads)


def _fit_boosters(known: Known, tail: float, seed: int) -> tuple[dict[str, Any], dict[str, Float64]]:
    """The trees that learned from all rows, and (n,) what trees that did not see a row's fold say of the row."""
    table, error, folds = known.table, known.error, known.folds()
    every, few = np.ones(len(error), bool), len(error) < LEAST_ROWS
    learned: dict[str, tuple[Float64, dict[str, Any]]] = {
        ERROR: (np.abs(error), OF_ERROR),
        LOW: (error, OF_ENDS | {"alpha": tail}),
        HIGH: (error, OF_ENDS | {"alpha": 1 - tail}),
    }

    def fit(name: str, rows: Bool, place: int) -> Any:
        target, parameters = learned[name]
        if few:
            parameters = {**parameters, "min_data_in_leaf": len(error)}
        own_seed, weight = seed * 100 + place, rows_of(known.age_weight, rows)
        return fit_trees(table[rows], target[rows], parameters, ROUNDS, seed=own_seed, threads=1, weight=weight)

    with thread_pool(own_threads()) as pool:  # each fit takes one thread, and lets go of the interpreter
        fits = {name: pool.submit(fit, name, every, 0) for name in BOOSTERS}
        # Of few rows one value is told, from which calibration moves the ends to where they belong.
        parts = [] if few else folds
        fits_without = {
            name: [pool.submit(fit, name, ~here, place) for place, here in enumerate(parts, 1)] for name in BOOSTERS
        }
        boosters = {name: fitted.result() for name, fitted in fits.items()}
        predicted = {name: boosters[name].predict(table) if few else np.zeros(len(error)) for name in BOOSTERS}
        for name, fitted in fits_without.items():
            for here, trees in zip(parts, fitted, strict=True):
                predicted[name][here] = trees.result().predict(table[here])
    return boosters, predicted


def _spread(answer: Float64, trees: _Trees, novelty: Novelty, calibration: Calibration, within: WithinShare) -> Spread:
    """The interval, which always holds the answer."""
    unlike, brief = novelty.likeness < calibration.least_likeness, novelty.length < calibration.least_length
    low = np.minimum(answer + trees.low - trees.scale * calibration.low, answer)
    high = np.maximum(answer + trees.high + trees.scale * calibration.high, answer)
    low = np.where(unlike, np.minimum(low, calibration.cheap), low)
    high = np.where(unlike, np.maximum(high, calibration.dear), high)
    return Spread(trees.scale, low, high, unlike, brief, within.of_error(trees.scale))


def _joined(folds: list[Bool], parts: list[Spread]) -> Spread:
    """Each fold's rows put back in their places."""
    rows = len(folds[0])
    joined = {field.name: np.empty(rows, getattr(parts[0], field.name).dtype) for field in fields(Spread)}
    for here, part in zip(folds, parts, strict=True):
        for name, values in joined.items():
            values[here] = getattr(part, name)
    return Spread(**joined)
