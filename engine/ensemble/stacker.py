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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from engine.ensemble.blend import blend
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.features.inputs import NUMBERS
from index.progress import Report, silent
from index.search.neighbours import BandIndex, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.blend import Weights
    from engine.features.inputs import Inputs
    from engine.settings.schema import StackerSettings

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

AMOUNT_SLOPE = 0.6  # log price per log amount among items alike: twice as much costs about half as much again
CLOSEST, CLOSE = 4, 8  # neighbours that the evidence's means are over


@dataclass(frozen=True)
class Goods:
    """What the stack knows of m rows of the catalogue: what they cost, and how much of what was sold."""

    log_price: Float64  # (m,)
    unit: NDArray[np.int64]  # (m,) place in UNITS
    log_amount: Float64  # (m,) of the whole listing; NaN where unknown

    def take(self, rows: NDArray[np.integer]) -> Goods:
        """Some of them, in that order."""
        return Goods(self.log_price[rows], self.unit[rows], self.log_amount[rows])


def amounts(inputs: Inputs) -> Float64:
    """(n,) log amount; NaN where unknown."""
    amount, unknown = (inputs.numbers[:, NUMBERS.index(name)] for name in ("log_amount", "amount_unknown"))
    return np.where(unknown > 0, np.nan, amount.astype(np.float64))


class Catalogue(NamedTuple):
    """All n rows of a build."""

    inputs: Inputs
    goods: Goods
    space: Float32  # (n, dim) unit rows to search in


class Stacker:
    """One LightGBM model over a table of `features`. It answers how far to leave the blend."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    @classmethod
    def fit(cls, table: Float64, blended: Float64, log_price: Float64, settings: StackerSettings, *, seed: int) -> Self:
        """`table` (n, features), `blended` (n,) where it starts from, `log_price` (n,) where it should end."""
        import lightgbm

        parameters = {
            "objective": "l1",
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.least_rows_in_leaf,
            "feature_fraction": settings.feature_fraction,
            "bagging_fraction": max(settings.row_fraction, min(1.0, 2 / len(table))),  # of no rows it grows no tree
            "bagging_freq": 1,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1,  # the table is small: threads would wait for each other
            "verbose": -1,
        }
        data = lightgbm.Dataset(table, log_price, init_score=blended)
        return cls(lightgbm.train(parameters, data, settings.rounds))

    def predict(self, table: Float64, blended: Float64) -> Float64:
        """Log price (n,)."""
        return blended + np.asarray(self._booster.predict(table), np.float64)

    def save(self, path: Path) -> None:
        """As LightGBM's own text."""
        path.write_text(self._booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """A model as it was saved."""
        import lightgbm

        return cls(lightgbm.Booster(model_str=path.read_text(encoding="utf-8")))


def features(
    members: Mapping[str, Float64], blended: Float64, inputs: Inputs, near: Neighbours, goods: Goods
) -> Float64:
    """(n, features) of n items: what the members say, what is known of the item, what the nearest in the band cost.

    `members` name -> (n,) log price; `blended` (n,); `near`: rows of `goods`.
    """
    each = np.stack(list(members.values()), axis=1)
    item = [each - blended[:, None], blended[:, None], each.std(axis=1, keepdims=True), inputs.numbers]
    return np.hstack([*item, inputs.unit[:, None], _evidence(blended, inputs, near, goods)])


def _evidence(blended: Float64, inputs: Inputs, near: Neighbours, goods: Goods) -> Float64:
    """(n, 10): likeness of the nearest, and their log prices less the blend, as they are and at the item's amount.

    Means leave out the neighbours that were not found; NaN where that leaves none.
    """
    found, theirs = near.found, goods.take(near.rows)
    apart = np.where(found, theirs.log_price - blended[:, None], np.nan)
    more = amounts(inputs)[:, None] - theirs.log_amount
    comparable = found & (theirs.unit == inputs.unit[:, None]) & np.isfinite(more)
    at_amount = apart + AMOUNT_SLOPE * np.where(comparable, more, 0)
    alike = np.where(found, near.similarity, np.nan).astype(np.float64)
    columns = [
        alike[:, 0],
        _over(np.nanmean, alike[:, :CLOSE]),
        apart[:, 0],
        _over(np.nanmean, apart[:, :CLOSEST]),
        _over(np.nanmedian, apart),
        _over(np.nanstd, apart),
        _over(np.nanmean, at_amount[:, :CLOSEST]),
        _over(np.nanmedian, at_amount),
        _over(np.nanstd, at_amount),
        comparable.mean(axis=1),
    ]
    return np.column_stack(columns)


def _over(statistic: Any, values: Float64) -> Float64:
    """(n,) of (n, k); NaN, and no warning, for a row that is all NaN."""
    summed = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    if some.any():
        summed[some] = statistic(values[some], axis=1)
    return summed


def stack_out_of_fold(
    oof: OutOfFold,
    weights: Weights,
    catalogue: Catalogue,
    settings: StackerSettings,
    *,
    seed: int,
    report: Report = silent,
) -> tuple[OutOfFold, list[Stacker]]:
    """`oof` with what the stack makes of it, and its model for each fold.

    The stack of fold f learns from the other folds' rows: from predictions of models that saw neither f nor the row's
    own fold, and from prices of neighbours in neither. So nothing of f reaches it, and f's rows are then predicted from
    their own models (`own`).

    A score prices f as a build without f would: by the mean of the stacks that left out one more fold, and with
    residuals of the other rows by those same stacks (`without`). They learn from predictions that did see that one more
    fold, where such a build would take models without three folds: f itself they never hear of.
    """
    own, without = np.zeros(len(oof.fold)), np.zeros((oof.folds, len(oof.fold)))
    stacks = []
    for f in range(oof.folds):
        report("fitting the stack", f, oof.folds)
        world = _World(f, oof, weights.by_fold[f], catalogue, settings, seed)
        stack = world.fit(frozenset({f}))
        here = np.flatnonzero(oof.fold == f)
        own[here] = stack.predict(*world.read(here, frozenset({f}), {m: each[here] for m, each in oof.own.items()}))
        stacks.append(stack)
        for g in range(oof.folds):
            if g != f:
                one_less, there = world.fit(frozenset({f, g})), np.flatnonzero(oof.fold == g)
                without[f, there] = one_less.predict(*world.read(there, frozenset({f, g})))
                without[f, here] += one_less.predict(*world.read(here, frozenset({f}))) / (oof.folds - 1)
    report("fitting the stack", oof.folds, oof.folds)
    return OutOfFold(oof.fold, {**oof.own, STACKER: own}, {**oof.without, STACKER: without}), stacks


@dataclass(frozen=True)
class _World:
    """Every row as a build without fold f predicts it."""

    f: int
    oof: OutOfFold
    weights: dict[str, float]
    catalogue: Catalogue
    settings: StackerSettings
    seed: int

    def fit(self, out: frozenset[int]) -> Stacker:
        """A stack that learns from all rows but those of the folds in `out`, and hears of none of these."""
        rows = np.flatnonzero(~np.isin(self.oof.fold, list(out)))
        seed = self.seed * self.oof.folds**2 + sum(out)
        return Stacker.fit(*self.read(rows, out), self.catalogue.goods.log_price[rows], self.settings, seed=seed)

    def read(
        self, rows: NDArray[np.int64], out: frozenset[int], members: dict[str, Float64] | None = None
    ) -> tuple[Float64, Float64]:
        """The table of some rows, with prices of rows that are neither in the folds `out` nor in their own; the blend.

        `members` name -> (rows,) in the place of the world's own predictions.
        """
        fold, (inputs, goods, space) = self.oof.fold, self.catalogue
        if members is None:
            members = {m: each[self.f, rows] for m, each in self.oof.without.items()}
        blended = blend(members, self.weights)
        heard = np.flatnonzero(~np.isin(fold, list(out)))
        index = BandIndex(space[heard], goods.log_price[heard], groups=fold[heard])
        near = index.search(space[rows], blended, k=self.settings.k, band=self.settings.band, exclude_group=fold[rows])
        return features(members, blended, inputs.take(rows), near, goods.take(heard)), blended
