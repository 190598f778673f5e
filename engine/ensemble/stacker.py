"""The members' predictions and the neighbours' prices, weighed against each other row by row.

A blend has one weight per member for all items. Which member to trust depends on the item: on how far they disagree,
on whether the catalogue holds something very like it, on what that costs for its amount. LightGBM with an L1 objective
starts from the blend and learns when to leave it. Source: stacked generalisation (Wolpert, 1992), its features those of
the towers-knn system (FAISS neighbours as features).

It learns from predictions that are out of fold and from prices of neighbours of other folds, and like every member it
has a model for each fold. The neighbours' *residuals* are no feature: a stored residual is out of fold for its own row
and yet knows the price of the row that it would be shown to (docs/experiments.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from engine.ensemble.blend import blend
from engine.ensemble.correction import weights
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.features.inputs import NUMBERS
from engine.members.lightgbm import fit_l1, read_booster
from engine.metrics import weighted_quantiles
from index.arrays import Bool, Float64, Int64, chunks, rows_of
from index.contents import expect
from index.progress import OnProgress, silent
from index.search.neighbours import BandIndex, Neighbours
from index.search.similarity import no_neighbours
from index.threads import own_threads, thread_pool

if TYPE_CHECKING:
    from engine.ensemble.blend import Weights
    from engine.features.inputs import Fields, Inputs
    from engine.features.training_set import TrainingSet
    from engine.settings.schema import StackerSettings

AMOUNT_SLOPE = 0.6  # log price per log amount among like items: twice as much costs about half as much again
EVIDENCE = 15  # columns of the table that tell of neighbours
LEFT = 1.8  # times k: neighbours that a search for all choices of folds has left without one fold more
SPREADS = (0.5, 0.9, 0.99)  # of the rows, by how far their predictions differ: what lies between is searched together
READ_ROWS = 16_384  # at once: what is made of their neighbours on the way to the table is many times as large as that
ROUNDING = 1e-6  # by which blends of the same predictions may differ
CLOSEST, CLOSE, NEAR = 4, 8, 16  # neighbours that the evidence's plain statistics are over
EVIDENCE_DECAY = 20.0  # of those that are over all k: weight = exp(-decay * distance)
SAME_AMOUNT = 0.05  # log amounts that differ by less are the same


class PricedRows(Protocol):
    """m rows whose prices an item is compared with."""

    @property
    def log_price(self) -> Float64:
        """Log prices (m,)."""

    @property
    def unit(self) -> Int64:
        """(m,) place in UNITS."""

    @property
    def log_amount(self) -> Float64:
        """(m,) of the whole listing; NaN where unknown."""


class Stacker:
    """One LightGBM model over a table of `features`. It answers how far to leave the blend."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    @classmethod
    def fit(
        cls,
        table: Float64,
        blended: Float64,
        log_price: Float64,
        settings: StackerSettings,
        *,
        seed: int,
        age_weight: Float64 | None = None,
    ) -> Self:
        """`table` (n, features), `blended` (n,) where it starts from, `log_price` (n,) where it should end.

        `age_weight` (n,): what each row counts for, where they do not all count the same.
        """
        # The table is small: threads would wait for each other. Splits at random: what speaks for leaving the blend is
        # weak, and said by many columns at once.
        data = {"init_score": blended, "weight": age_weight}
        return cls(fit_l1(table, log_price, settings, seed=seed, threads=1, random_splits=True, **data))

    def predict(self, table: Float64, blended: Float64) -> Float64:
        """Log price (n,)."""
        return blended + np.asarray(self._booster.predict(table), np.float64)

    def save(self, path: Path) -> None:
        """Write LightGBM's own text."""
        path.write_text(self._booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, members: int) -> Self:
        """Load a model as it was saved. Raises WrongContents unless it reads `features` of so many members."""
        booster = read_booster(path.read_text(encoding="utf-8"))
        expect(booster.num_feature() == members + 3 + len(NUMBERS) + EVIDENCE, "its trees read another table")
        return cls(booster)


def features(
    members: Mapping[str, Float64], blended: Float64, inputs: Inputs, near: Neighbours, rows: PricedRows
) -> Float64:
    """(n, features) of n items: the members' predictions, what is known of the item, the nearest prices in the band.

    `members` name -> (n,) log price; `blended` (n,); `near`: numbers of `rows`.
    """
    predicted = np.stack(list(members.values()), axis=1)
    item = [predicted - blended[:, None], blended[:, None], predicted.std(axis=1, keepdims=True), inputs.numbers]
    return np.hstack([*item, inputs.unit[:, None], _evidence(blended, inputs, near, rows)])


def _evidence(blended: Float64, inputs: Inputs, near: Neighbours, rows: PricedRows) -> Float64:
    """(n, EVIDENCE): similarity of the nearest; their log prices less the blend, as they are and at the item's amount.

    Statistics leave out the neighbours that were not found; NaN where that leaves none.
    """
    found = near.found
    difference, at_amount, comparable, more = compared(blended, inputs.fields, near, rows)
    similarity = np.where(found, near.similarity, np.nan).astype(np.float64)
    weight = weights(near, EVIDENCE_DECAY)
    columns = [
        similarity[:, 0],
        _over(np.nanmean, similarity[:, :CLOSE]),
        difference[:, 0],
        _over(np.nanmean, difference[:, :CLOSEST]),
        _over(np.nanmedian, difference[:, :NEAR]),
        _over(np.nanstd, difference[:, :NEAR]),
        _over(np.nanmean, at_amount[:, :CLOSEST]),
        _over(np.nanmedian, at_amount[:, :NEAR]),
        _over(np.nanstd, at_amount[:, :NEAR]),
        comparable[:, :NEAR].mean(axis=1),
        _weighted_mean(difference, weight),
        _weighted_mean(difference, weight * (comparable & (np.abs(more) < SAME_AMOUNT))),
        weighted_quantiles(at_amount, weight, (0.5,))[:, 0],
        *(at_amount[:, place] if place < at_amount.shape[1] else np.full(len(found), np.nan) for place in (1, 2)),
    ]
    return np.column_stack(columns)


def compared(
    level: Float64, fields: Fields, near: Neighbours, rows: PricedRows
) -> tuple[Float64, Float64, Bool, Float64]:
    """Log prices of n items' neighbours less the `level` (n,), (n, k) each: as they are, and at the item's amount.

    And which have an amount to compare with, and by how much the item's log amount is larger: 0 where there is none.
    """
    difference = np.where(near.found, rows.log_price[near.rows] - level[:, None], np.nan)
    more = fields.log_amount[:, None] - rows.log_amount[near.rows]
    comparable: Bool = near.found & (rows.unit[near.rows] == fields.unit[:, None]) & np.isfinite(more)
    more = np.where(comparable, more, 0)
    return difference, difference + AMOUNT_SLOPE * more, comparable, more


def _weighted_mean(values: Float64, weight: Float64) -> Float64:
    """(n,) of (n, k), of which NaN counts nothing; NaN where nothing counts."""
    total = weight.sum(axis=1)
    summed = (np.where(np.isnan(values), 0, values) * weight).sum(axis=1)
    mean: Float64 = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
    return mean


def _over(statistic: Any, values: Float64) -> Float64:
    """(n,) of (n, k); NaN, and no warning, for a row that is all NaN."""
    result = np.full(len(values), np.nan)
    known = np.isfinite(values).any(axis=1)
    if known.any():
        result[known] = statistic(values[known], axis=1)
    return result


def stacker_out_of_fold(
    oof: OutOfFold,
    weights: Weights,
    training: TrainingSet,
    settings: StackerSettings,
    *,
    seed: int,
    on_progress: OnProgress = silent,
) -> tuple[OutOfFold, list[Stacker]]:
    """`oof` with the stacker's predictions, and its model for each fold.

    The stacker of fold f learns from the other folds' rows: from predictions of models that saw neither f nor the row's
    own fold, and from prices of neighbours in neither. So nothing of f reaches it, and f's rows are then predicted from
    their own models (`oof`).

    A score prices f as a build without f would: by the mean of the stackers that left out one more fold, and with
    residuals of the other rows by those same stackers (`nested_oof`). They learn from predictions that did see that one
    more fold, where such a build would take models without three folds: they are never trained on f itself.
    """
    own, nested = np.zeros(len(oof.fold)), np.zeros((oof.folds, len(oof.fold)))
    stackers, near = [], NearRows(oof, weights, training, settings)
    with thread_pool(own_threads()) as pool:  # each fit takes one thread, and lets go of the interpreter
        for f in range(oof.folds):
            on_progress("fitting the stacker", f, oof.folds)
            without_f = _WithoutFold(f, oof, weights.by_fold[f], training, settings, seed, near)
            others = [g for g in range(oof.folds) if g != f]
            one_less = pool.map(without_f.without_one_more, others)
            stacker, here = without_f.fit(frozenset({f})), np.flatnonzero(oof.fold == f)
            members = {member: values[here] for member, values in oof.oof.items()}
            own[here] = stacker.predict(*without_f.read(here, frozenset({f}), members))
            stackers.append(stacker)
            for g, (of_here, of_there) in zip(others, one_less, strict=True):
                nested[f, here] += of_here / len(others)
                nested[f, oof.fold == g] = of_there
    on_progress("fitting the stacker", oof.folds, oof.folds)
    return OutOfFold(oof.fold, {**oof.oof, STACKER: own}, {**oof.nested_oof, STACKER: nested}), stackers


@dataclass(frozen=True)
class _WithoutFold:
    """Every row as a build without fold f predicts it."""

    f: int
    oof: OutOfFold
    weights: dict[str, float]
    training: TrainingSet
    settings: StackerSettings
    seed: int
    near: NearRows

    def fit(self, out: frozenset[int]) -> Stacker:
        """A stacker that learns from all rows but those of the folds in `out`, and sees nothing of these."""
        rows = np.flatnonzero(~np.isin(self.oof.fold, list(out)))
        seed, training = self.seed * self.oof.folds**2 + sum(out), self.training
        weight = rows_of(training.age_weight, rows)
        table, blended = self.read(rows, out)
        return Stacker.fit(table, blended, training.log_price[rows], self.settings, seed=seed, age_weight=weight)

    def without_one_more(self, g: int) -> tuple[Float64, Float64]:
        """Predictions of the rows of f, and of those of g, by a stacker without fold g too."""
        stacker, out = self.fit(frozenset({self.f, g})), frozenset({self.f})
        here, there = (np.flatnonzero(self.oof.fold == fold) for fold in (self.f, g))
        return stacker.predict(*self.read(here, out)), stacker.predict(*self.read(there, out | {g}))

    def read(
        self, rows: Int64, out: frozenset[int], members: dict[str, Float64] | None = None
    ) -> tuple[Float64, Float64]:
        """The table of some rows, with prices of rows that are neither in the folds `out` nor in their own; the blend.

        `members` name -> (rows,) in the place of the predictions without f.
        """
        if members is None:
            members = {member: values[self.f, rows] for member, values in self.oof.nested_oof.items()}
        blended = blend(members, self.weights)
        near = self.near.search(rows, blended, out)
        tables = [
            features(
                {member: values[part] for member, values in members.items()},
                blended[part],
                self.training.inputs.take(rows[part]),
                near.of(part),
                self.training,
            )
            for part in chunks(len(rows), READ_ROWS)
        ]
        return np.vstack(tables), blended


class NearRows:
    """Nearest rows of every row, of which those of some folds may be left out: searched once for all choices of folds.

    The nearest of other folds, so many that `LEFT` times as many as are read are left without one fold more, are
    searched for in a band that holds those of all choices, which is as wide as the row's predictions differ. What is
    left of them without some folds, and in the band of a choice, begins with the nearest of what would be found in it.
    Where too few are left, as in the midst of many near-duplicates, twice as many are searched for, and kept likewise.
    """

    def __init__(self, oof: OutOfFold, weights: Weights, training: TrainingSet, settings: StackerSettings) -> None:
        self._fold, self._training, self._settings = oof.fold, training, settings
        self._price = training.log_price.astype(np.float32).astype(np.float64)  # as a BandIndex keeps them
        blends = [blend({m: oof.nested_oof[m][f] for m in oof.members}, weights.by_fold[f]) for f in range(oof.folds)]
        blends += [blend({m: oof.oof[m] for m in oof.members}, own) for own in weights.by_fold]
        low, high = np.min(blends, axis=0), np.max(blends, axis=0)
        self._middle, self._apart = (low + high) / 2, (high - low) / 2 + ROUNDING
        self._index = BandIndex(training.search_vectors, training.log_price, groups=oof.fold)
        self._wide = math.ceil(LEFT * settings.k * (oof.folds - 1) / (oof.folds - 2))
        whole = np.arange(len(oof.fold))
        # For each doubling of k: where each row is among those searched for, -1 for nowhere.
        self._known = [(whole, self._searched(whole, self._wide))]
        self._growing = threading.Lock()

    def search(self, rows: Int64, centre: Float64, out: frozenset[int]) -> Neighbours:
        """The k nearest of each of some `rows` in the band around its `centre` (rows,), of neither `out` nor its fold.

        As a `BandIndex` of the rows without the folds `out` finds them. `centre` is a row's blend by some choice.
        """
        assert np.all(np.abs(centre - self._middle[rows]) <= self._apart[rows]), "a centre that no choice of folds has"
        found, again, doubled = Neighbours(*no_neighbours(len(rows), self._settings.k)), np.arange(len(rows)), 0
        while len(again):
            (place, near), whole = self._known_of(rows[again], doubled), np.zeros(len(again), np.bool_)
            for part in chunks(len(again), READ_ROWS):
                own = again[part]
                left, whole[part] = self._left(near.of(place[rows[own]]), centre[own], out)
                found.rows[own], found.similarity[own] = left.rows, left.similarity
            again, doubled = again[~whole], doubled + 1
        return found

    def _known_of(self, rows: Int64, doubled: int) -> tuple[Int64, Neighbours]:
        """Place of every row among those searched for, which these `rows` are among, and what was found.

        That is the nearest of other folds than a row's own, in the band of all choices; k is so often `doubled`.
        """
        with self._growing:
            if doubled == len(self._known):
                nowhere, nothing = np.full(len(self._fold), -1), no_neighbours(0, self._wide << doubled)
                self._known.append((nowhere, Neighbours(*nothing)))
            place, near = self._known[doubled]
            if len(new := rows[place[rows] < 0]):
                more = near.followed_by(self._searched(new, self._wide << doubled))
                place[new] = len(near.rows) + np.arange(len(new))
                self._known[doubled] = place, more
            return self._known[doubled]

    def _searched(self, rows: Int64, k: int) -> Neighbours:
        near = Neighbours(*no_neighbours(len(rows), k))
        cuts = [round(share * len(rows)) for share in SPREADS]
        for part in np.split(np.argsort(self._apart[rows], kind="stable"), cuts):
            own, band = rows[part], self._settings.band + float(self._apart[rows[part]].max(initial=0))
            queries, fold = self._training.search_vectors[own], self._fold[own]
            found = self._index.search(queries, self._middle[own], k=k, band=band, exclude_group=fold)
            near.rows[part], near.similarity[part] = found.rows, found.similarity
        return near

    def _left(self, near: Neighbours, centre: Float64, out: frozenset[int]) -> tuple[Neighbours, Bool]:
        """The k nearest of what is `near` (n, more), in the band around `centre` and not of `out`; whether they are.

        They are where there are k of them, or where no more could be found.
        """
        in_band = np.abs(self._price[near.rows] - centre[:, None]) <= self._settings.band
        left = near.where(in_band & ~np.isin(self._fold[near.rows], list(out)), self._settings.k)
        return left, left.found[:, -1] | ~near.found[:, -1]
