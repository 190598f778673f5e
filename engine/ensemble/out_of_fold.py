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

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.progress import Report, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.members.registry import Fit, Model

    Float64 = NDArray[np.float64]
    Fitted = tuple[Model, NDArray[np.int64], Float64]  # a model, the rows that it never saw, its predictions of them

FILE = "out_of_fold.parquet"
STACKER = "stacker"
MOST_LAGGING = 2  # fits that wait for the thread beside


@dataclass(frozen=True)
class OutOfFold:
    """n rows' predictions in log price: by member of the blend, and by the stack on top where there is one."""

    fold: NDArray[np.int8]  # (n,)
    own: dict[str, Float64]  # member -> (n,) by the models of the row's own fold: for the stored residuals
    without: dict[str, Float64]  # member -> (folds, n) [f, i]: as a build without fold f predicts row i; NaN if added

    @property
    def members(self) -> list[str]:
        """Of the blend."""
        return [name for name in self.own if name != STACKER]

    @property
    def stacked(self) -> bool:
        """Whether there is a stack."""
        return STACKER in self.own

    @property
    def folds(self) -> int:
        """How many folds."""
        return len(next(iter(self.without.values())))

    @property
    def trained(self) -> NDArray[np.bool_]:
        """(n,) whether the build learned from the row; the models that could score one added since are not kept."""
        trained: NDArray[np.bool_] = ~np.isnan(next(iter(self.without.values()))[0])
        return trained

    def take(self, rows: NDArray[np.integer]) -> OutOfFold:
        """The predictions of some rows, in that order."""
        own = {member: each[rows] for member, each in self.own.items()}
        return OutOfFold(self.fold[rows], own, {member: each[:, rows] for member, each in self.without.items()})

    def without_stack(self) -> OutOfFold:
        """The members' alone."""
        own, without = ({m: each[m] for m in self.members} for each in (self.own, self.without))
        return OutOfFold(self.fold, own, without)

    def held(self) -> dict[str, Float64]:
        """member -> (n,) as a build without the row's fold would predict it as a query."""
        return {member: each[self.fold, np.arange(len(self.fold))] for member, each in self.without.items()}


def predict_out_of_fold(
    inputs: Inputs,
    log_price: Float64,
    fold: NDArray[np.int8],
    member_fits: dict[str, Fit],
    *,
    seed: int,
    aside: frozenset[str] = frozenset(),
    report: Report = silent,
) -> tuple[OutOfFold, dict[str, list[Model]]]:
    """The predictions, and each member's model per fold.

    Members named in `aside` are fitted in a thread of their own, beside the others: for libraries that let go of the
    interpreter and draw no random numbers from a shared generator. They must come after the others in `member_fits`,
    whose models they may read.
    """
    folds = int(fold.max()) + 1
    own = {member: np.zeros(len(fold)) for member in member_fits}
    without = {member: np.zeros((folds, len(fold))) for member in member_fits}
    models: dict[str, list[Model]] = {member: [] for member in member_fits}
    left_out: list[tuple[int, ...]] = [(f,) for f in range(folds)]
    left_out += combinations(range(folds), 2)
    total, done = len(left_out) * len(member_fits), 0

    def fit_one(member: str, out: tuple[int, ...], before: dict[str, Model]) -> Fitted:
        seen, unseen = np.flatnonzero(~np.isin(fold, out)), np.flatnonzero(np.isin(fold, out))
        model = member_fits[member](inputs.take(seen), log_price[seen], _seed(seed, out, folds), before)
        return model, unseen, model.predict(inputs.take(unseen))

    def keep(member: str, out: tuple[int, ...], fitted: Fitted) -> None:
        model, unseen, predicted = fitted
        if len(out) == 1:
            models[member].append(model)
            own[member][unseen] = predicted
            return
        for f, other in (out, out[::-1]):
            there, here = fold[unseen] == other, fold[unseen] == f
            without[member][f, unseen[there]] = predicted[there]
            without[member][f, unseen[here]] += predicted[here] / (folds - 1)

    def tell() -> None:
        report("fitting models", done + sum(future.done() for *_, future in waiting), total)

    pool = ThreadPoolExecutor(1)
    waiting: list[tuple[str, tuple[int, ...], Future[Fitted]]] = []
    try:
        for out in left_out:
            lagging = [future for *_, future in waiting if not future.done()]
            if len(lagging) > MOST_LAGGING:  # each holds the models that it may read
                lagging[0].result()
            before: dict[str, Model] = {}
            for member in member_fits:
                if member in aside:
                    waiting.append((member, out, pool.submit(partial(fit_one, member, out, before))))
                    continue
                fitted = fit_one(member, out, before)
                before[member] = fitted[0]
                keep(member, out, fitted)
                done += 1
                tell()
        for member, out, future in waiting:
            keep(member, out, future.result())
            tell()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for a fit that may take minutes
    return OutOfFold(fold, own, without), models


def write_out_of_fold(folder: Path, oof: OutOfFold) -> None:
    """Every row's fold and predictions, for `price evaluate`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"fold": oof.fold}
    for member, own in oof.own.items():
        columns[f"own_{member}"] = own
        for f, without in enumerate(oof.without[member]):
            columns[f"without_{f}_{member}"] = without
    pq.write_table(pa.table(columns), folder / FILE)


def grow_out_of_fold(
    folder: Path, old: Path, stays: NDArray[np.bool_], fold: NDArray[np.int8], own: dict[str, Float64]
) -> None:
    """Write the file of the generation `old` for its rows that stay, and below them for n that were added.

    `own` (n,) by member; what models without a fold would say of an added row is null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = pq.read_table(old / FILE).filter(pa.array(stays))
    known: dict[str, Any] = {"fold": fold, **{f"own_{member}": each for member, each in own.items()}}
    added = {name: known.get(name, pa.nulls(len(fold), pa.float64())) for name in kept.column_names}
    pq.write_table(pa.concat_tables([kept, pa.table(added, kept.schema)]), folder / FILE)


def read_out_of_fold(folder: Path) -> OutOfFold:
    """What `write_out_of_fold` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / FILE)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    fold = columns["fold"]
    own = {name.removeprefix("own_"): values for name, values in columns.items() if name.startswith("own_")}
    # Not by the rows that are there: all those of a fold may have been removed.
    folds = range(len({name.split("_")[1] for name in columns if name.startswith("without_")}))
    without = {member: np.stack([columns[f"without_{f}_{member}"] for f in folds]) for member in own}
    return OutOfFold(fold, own, without)


def _seed(seed: int, out: tuple[int, ...], folds: int) -> int:
    """One seed for each model, so that models that are averaged differ."""
    return seed * (folds + 1) ** 2 + int(np.ravel_multi_index([f + 1 for f in (*out, -1)[:2]], (folds + 1, folds + 1)))
