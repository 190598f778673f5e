"""Every row predicted by models that never saw it, twice over.

Once as the stored residuals need it: a row is predicted by the models of its own fold, trained on all the others.

Once more as an honest score needs it. To say what the corrected price of a row would be, its neighbours' residuals must
come from models that never saw that row either, or they already hold its price: a model that has learned row i predicts
i's neighbours towards i, and their residuals point away from it. So for every pair of folds there is a model that saw
neither. With them, each fold is priced exactly as a build without that fold would price it as a query: the average of
the remaining folds' models, corrected by residuals that are out of fold among the remaining rows.

F folds take F models to keep and F (F - 1) / 2 to score with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.member import CrossFit
from engine.members.per_fold import PerFold
from index.arrays import Bool, Float64, Int8, Int64, rows_of
from index.contents import expect, loading
from index.progress import OnProgress, silent
from index.storage.layout import OUT_OF_FOLD
from index.threads import thread_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.finished_fits import FinishedFits
    from engine.features.training_set import TrainingSet
    from engine.members.member import Fit, FoldModels, Member, Out

    FoldFit = tuple[Member | None, Int64, Float64]
    """A model, where it is kept or was fitted now, the rows that it never saw, and its predictions of them."""

STACKER = "stacker"
MOST_LAGGING = 2  # fits that wait for the thread beside


@dataclass(frozen=True)
class OutOfFold:
    """n rows' predictions in log price: by member of the blend, and by the stacker on top where there is one."""

    fold: Int8  # (n,)
    oof: dict[str, Float64]  # member -> (n,) by the models of the row's own fold: for the stored residuals
    nested_oof: dict[str, Float64]
    """member -> (folds, n) [f, i]: as a build without fold f predicts row i; NaN for added rows."""

    @property
    def members(self) -> list[str]:
        """Names of the blend's members."""
        return [name for name in self.oof if name != STACKER]

    @property
    def stacked(self) -> bool:
        """Tell whether there is a stacker."""
        return STACKER in self.oof

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(next(iter(self.nested_oof.values())))

    @property
    def trained(self) -> Bool:
        """(n,) bool: the build trained on the row. The models that could score a row added since are not kept."""
        trained: Bool = ~np.isnan(next(iter(self.nested_oof.values()))[0])
        return trained

    def take(self, rows: NDArray[np.integer]) -> OutOfFold:
        """The predictions of some rows, in that order."""
        oof = {member: values[rows] for member, values in self.oof.items()}
        return OutOfFold(self.fold[rows], oof, {member: values[:, rows] for member, values in self.nested_oof.items()})

    def of(self, members: Sequence[str]) -> OutOfFold:
        """The predictions of some members, or of the stacker, alone."""
        oof, nested = ({member: values[member] for member in members} for values in (self.oof, self.nested_oof))
        return OutOfFold(self.fold, oof, nested)

    def nested(self) -> dict[str, Float64]:
        """member -> (n,) as a build without the row's fold would predict it as a query."""
        return {member: values[self.fold, np.arange(len(self.fold))] for member, values in self.nested_oof.items()}

    def extended(self, fold: Int8, oof: Mapping[str, Float64]) -> OutOfFold:
        """Append n added rows; what models without a fold would predict of these is not known."""
        unknown = np.full((self.folds, len(fold)), np.nan)
        return OutOfFold(
            np.concatenate([self.fold, fold]),
            {member: np.concatenate([values, oof[member]]) for member, values in self.oof.items()},
            {member: np.hstack([values, unknown]) for member, values in self.nested_oof.items()},
        )

    def write(self, folder: Path) -> None:
        """Write into the folder of a generation."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {"fold": self.fold}
        for member, values in self.oof.items():
            columns[f"oof_{member}"] = values
            for f, nested in enumerate(self.nested_oof[member]):
                columns[f"nested_oof_{f}_{member}"] = nested
        pq.write_table(pa.table(columns), folder / OUT_OF_FOLD)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote. IndexUnusable for contents that no build writes."""
        with loading(folder / OUT_OF_FOLD):
            return cls._read(folder)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        import pyarrow.parquet as pq

        table = pq.read_table(folder / OUT_OF_FOLD)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        oof = {name.removeprefix("oof_"): values for name, values in columns.items() if name.startswith("oof_")}
        # Not by the rows that are there: all those of a fold may have been removed.
        folds = range(len({name.split("_")[2] for name in columns if name.startswith("nested_oof_")}))
        nested = {member: np.stack([columns[f"nested_oof_{f}_{member}"] for f in folds]) for member in oof}
        fold, added = columns["fold"], np.isnan(next(iter(nested.values()))[0])
        expect(fold.dtype == np.int8 and ((fold >= 0) & (fold < len(folds))).all(), "a fold is out of range")
        for member, values in oof.items():
            expect(np.isfinite(values).all(), f"a prediction of {member} is no number")
            expect((np.isfinite(nested[member]) == ~added).all(), f"a nested prediction of {member} is no number")
        return cls(fold, oof, nested)


def predict_out_of_fold(
    training: TrainingSet,
    fits: Mapping[str, Fit | CrossFit],
    *,
    seed: int,
    beside: frozenset[str] = frozenset(),
    finished: FinishedFits | None = None,
    on_progress: OnProgress = silent,
) -> tuple[OutOfFold, dict[str, FoldModels]]:
    """The predictions of n rows, and each member's models; those that are `finished` are not fitted again.

    Members named in `beside` are fitted in a thread of their own: for libraries that let go of the interpreter and draw
    no random numbers from a shared generator. They must come after the others in `fits`, whose models they may read.
    """
    work = _Fits(training, fits, seed, finished)
    together = {member: fit for member, fit in fits.items() if isinstance(fit, CrossFit)}
    alone = [member for member in fits if member not in together]
    for member, cross_fit in together.items():
        work.fit_together(member, cross_fit, on_progress)
    total, done = len(work.outs) * len(alone), 0
    waiting: list[tuple[str, Out, Future[FoldFit]]] = []

    def tell() -> None:
        on_progress("fitting models", done + sum(future.done() for *_, future in waiting), total)

    with thread_pool(1) as pool:  # an interrupt does not wait for a fit that may take minutes
        for out in work.outs:
            lagging = [future for *_, future in waiting if not future.done()]
            if len(lagging) > MOST_LAGGING:  # each holds the models that it may read
                lagging[0].result()
            before: dict[str, Member] = {}
            for member in alone:
                if member in beside:
                    waiting.append((member, out, pool.submit(work.fit, member, out, before)))
                    continue
                fitted = work.fit(member, out, before)
                if fitted[0] is not None:
                    before[member] = fitted[0]
                work.keep(member, out, fitted)
                done += 1
                tell()
        for member, out, future in waiting:
            work.keep(member, out, future.result())
            tell()
    return OutOfFold(training.fold, work.oof, work.nested_oof), work.fold_models()


class _Fits:
    """Fits that leave out one fold or two, and what their models predict of the rows left out."""

    def __init__(
        self, training: TrainingSet, fits: Mapping[str, Fit | CrossFit], seed: int, finished: FinishedFits | None
    ) -> None:
        self._training, self._fits, self._seed, self._finished = training, fits, seed, finished
        self.folds = int(training.fold.max()) + 1
        self.outs = all_outs(self.folds)
        rows = len(training.fold)
        self.oof = {member: np.zeros(rows) for member in fits}
        self.nested_oof = {member: np.zeros((self.folds, rows)) for member in fits}
        self._alone: dict[str, list[Member]] = {member: [] for member in fits}
        self._together: dict[str, FoldModels] = {}

    def fit(self, member: str, out: Out, before: dict[str, Member]) -> FoldFit:
        """A model trained on all rows but those of the folds `out`, these rows, and its predictions of them."""
        fit, unseen = self._fits[member], np.flatnonzero(np.isin(self._training.fold, out))
        assert not isinstance(fit, CrossFit), member
        found = self._finished and self._finished.read(member, out, before)
        if found and len(found[1]) == len(unseen):
            return found[0], unseen, found[1]
        model, predicted = fit_without(self._training, fit, out, self._seed, before)
        if self._finished:
            self._finished.keep(member, out, model, predicted)
        return model, unseen, predicted

    def fit_together(self, member: str, cross_fit: CrossFit, on_progress: OnProgress) -> None:
        """Fit all models of a member at once."""
        unseen = [np.flatnonzero(np.isin(self._training.fold, out)) for out in self.outs]
        found = self._finished and self._finished.read_together(member, [len(rows) for rows in unseen])
        if not found:
            models, by_out = cross_fit.fit(self._training, self.outs, self._seed, on_progress)
            found = models, [by_out[out] for out in self.outs]
            if self._finished:
                self._finished.keep_together(member, *found)
        self._together[member], predicted = found
        for out, rows, values in zip(self.outs, unseen, predicted, strict=True):
            self._keep_predicted(member, out, rows, values)

    def keep(self, member: str, out: Out, fitted: FoldFit) -> None:
        """Put predictions in their places; of models without two folds, only those are kept."""
        model, unseen, predicted = fitted
        if len(out) == 1:
            assert model is not None, (member, out)
            self._alone[member].append(model)
        self._keep_predicted(member, out, unseen, predicted)

    def _keep_predicted(self, member: str, out: Out, unseen: Int64, predicted: Float64) -> None:
        if len(out) == 1:
            self.oof[member][unseen] = predicted
            return
        fold, nested = self._training.fold[unseen], self.nested_oof[member]
        for f, second in (out, out[::-1]):
            there, here = fold == second, fold == f
            nested[f, unseen[there]] = predicted[there]
            nested[f, unseen[here]] += predicted[here] / (self.folds - 1)

    def fold_models(self) -> dict[str, FoldModels]:
        """The models of every member, in their order."""
        return {member: self._together.get(member) or PerFold(self._alone[member]) for member in self._fits}


def all_outs(folds: int) -> list[Out]:
    """Folds that models leave out: each, then every two."""
    return [*((f,) for f in range(folds)), *combinations(range(folds), 2)]


def fit_without(
    training: TrainingSet, fit: Fit, out: Out, seed: int, before: Mapping[str, Member]
) -> tuple[Member, Float64]:
    """A model trained on all rows but those of the folds `out`, and its predictions of these, in their order."""
    is_out = np.isin(training.fold, out)
    rows, unseen = np.flatnonzero(~is_out), np.flatnonzero(is_out)
    own_seed = _seed(seed, out, int(training.fold.max()) + 1)
    age_weight = rows_of(training.age_weight, rows)
    model = fit(training.inputs.take(rows), training.log_price[rows], own_seed, before, age_weight)
    return model, model.predict(training.inputs.take(unseen))


def _seed(seed: int, out: tuple[int, ...], folds: int) -> int:
    """One seed for each model, so that models that are averaged differ."""
    return seed * (folds + 1) ** 2 + int(np.ravel_multi_index([f + 1 for f in (*out, -1)[:2]], (folds + 1, folds + 1)))
