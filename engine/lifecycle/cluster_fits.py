"""Fits of the members on a Ray cluster: what its workers have fitted is kept as if it had been fitted here.

A task is all members without one fold or two, in their order (trees may read what the MLP makes of the same rows), or
one member that is fitted for all folds at once. Each runs on one core, so that a fit does not depend on where it runs.
What comes back goes to `FinishedFits`, where the build finds it: so a build that is killed goes on, here or there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.ensemble.finished_fits import FinishedFits, computed_by
from engine.ensemble.out_of_fold import all_outs, fit_without
from engine.ensemble.train import shared_cores
from engine.members.member import CrossFit
from engine.members.registry import member_fits
from index.encoders.device import torch_threads
from index.errors import UsageError
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    from engine.features.training_set import TrainingSet
    from engine.members.member import Member, Out
    from engine.settings.schema import Settings
    from index.arrays import Float64
    from index.cluster import Cluster


class FitTask(NamedTuple):
    """Fits of some members, in their order, on the same rows."""

    members: tuple[str, ...]
    out: Out  # the folds that are left out; () for a member that is fitted for all folds at once
    kept: frozenset[str]  # members whose models come back, and not only what they predict


class SavedFit(NamedTuple):
    """A fit as it comes back."""

    member: str
    model: bytes | None  # of the file that it was saved as
    predicted: Float64  # of the rows left out; of a member fitted at once those of all outs, one after the other


def fit_on_cluster(
    training: TrainingSet, settings: Settings, finished: FinishedFits, cluster: Cluster, on_progress: OnProgress
) -> None:
    """Have workers fit all members that are not `finished`, and keep them there.

    PriceError where workers die over one task again and again, UsageError where they have other versions installed.
    """
    fits = member_fits(settings)
    alone = tuple(member for member, fit in fits.items() if not isinstance(fit, CrossFit))
    outs = all_outs(int(training.fold.max()) + 1)
    tasks = [  # the longest first
        FitTask((member,), (), frozenset((member,)))
        for member in fits
        if member not in alone and not finished.read_together(member, _rows_without(training, outs))
    ]
    for out in outs if alone else ():
        if not _are_finished(finished, alone, out):
            kept = frozenset(member for member in alone if finished.keeps_model(member, out))
            tasks.append(FitTask(alone, out, kept))
    if not tasks:
        return
    total = sum(len(task.members) for task in tasks)
    done, stage = 0, "fitting models on the cluster"
    on_progress(stage, done, total)
    given = (training, settings, computed_by(settings))
    for task, saved in cluster.share_out(_open_worker, given, tasks, most=len(tasks), lost="one fit"):
        for fit in saved:
            finished.keep_saved(fit.member, task.out, fit.model, fit.predicted)
        done += len(saved)
        on_progress(stage, done, total)


def cluster_notes(cluster: Cluster | None) -> tuple[str, ...]:
    """Say, of a build on a cluster, how like one without it is: sums that threads share are rounded in another way."""
    from threadpoolctl import threadpool_info

    if cluster is None:
        return ()
    threads = [shared_cores()[1], *(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")]
    same = "the same to the byte" if max(threads) == 1 else "another in the fifth decimal of log prices, by rounding"
    return (f"Members were fitted on the cluster, on one core each: without --ray, the index is {same}.",)


def _rows_without(training: TrainingSet, outs: Sequence[Out]) -> list[int]:
    """Number of rows of each of `outs`."""
    rows = np.bincount(training.fold)
    return [int(rows[list(out)].sum()) for out in outs]


def _are_finished(finished: FinishedFits, members: Sequence[str], out: Out) -> bool:
    """Tell whether all members without some folds are kept, whole."""
    before: dict[str, Member] = {}
    for member in members:
        found = finished.read(member, out, before)
        if found is None:
            return False
        if found[0] is not None:
            before[member] = found[0]
    return True


def _open_worker(
    training: TrainingSet, settings: Settings, versions: dict[str, str]
) -> Callable[[FitTask], list[SavedFit]]:
    """Return what a worker does with a task. UsageError if its machine computes with other versions."""
    for package, own in computed_by(settings).items():
        if own != versions[package]:
            raise UsageError(
                f"A worker of the cluster has {package} {own}, and this machine {versions[package]}: install the same "
                "on every machine."
            )
    fits = member_fits(settings, 1, training.inputs)

    def work(task: FitTask) -> list[SavedFit]:
        from threadpoolctl import threadpool_limits

        with torch_threads(1), threadpool_limits(1):
            saved: list[SavedFit] = []
            before: dict[str, Member] = {}
            for member in task.members:
                fit = fits[member]
                if isinstance(fit, CrossFit):
                    saved.append(_fit_together(training, member, fit, settings.seed))
                    continue
                model, predicted = fit_without(training, fit, task.out, settings.seed, before)
                before[member] = model
                saved.append(SavedFit(member, _saved(model.save) if member in task.kept else None, predicted))
        return saved

    return work


def _fit_together(training: TrainingSet, member: str, fit: CrossFit, seed: int) -> SavedFit:
    outs = all_outs(int(training.fold.max()) + 1)
    models, by_out = fit.fit(training, outs, seed, silent)
    return SavedFit(member, _saved(lambda path: models.save([path])), np.concatenate([by_out[out] for out in outs]))


def _saved(save: Callable[[Path], None]) -> bytes:
    """The bytes of the file that a model is saved as."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save(path)
        return path.read_bytes()
