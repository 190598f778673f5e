"""Train the ensemble: members, blend, stacker and correction, from priced rows.

It also keeps what the trained whole says of rows that it was not trained on, by which it is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.ensemble.blend import blend, cross_fit_weights
from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import STACKER, predict_out_of_fold
from engine.ensemble.price_model import Models
from engine.ensemble.stacker import Stacker, stacker_out_of_fold
from engine.members.registry import MEMBERS, member_fits
from index.arrays import Float64
from index.encoders.device import torch_threads
from index.progress import OnProgress, silent
from index.threads import own_cores

if TYPE_CHECKING:
    from engine.ensemble.cross_fit import HeldOutPredictions, QueryParameters
    from engine.ensemble.finished_fits import FinishedFits
    from engine.ensemble.out_of_fold import OutOfFold
    from engine.features.training_set import TrainingSet
    from engine.members.member import FoldModels
    from engine.settings.schema import Settings


@dataclass(frozen=True)
class TrainedEnsemble:
    """Result of a training on n rows: what a build keeps, and what it is scored by."""

    models: Models
    oof: OutOfFold  # with the stacker, where there is one
    parameters: QueryParameters
    held_out: HeldOutPredictions

    def residual(self, log_price: Float64) -> Float64:
        """(n,) log price less what the models of each row's own fold predict: what corrects a query."""
        oof = self.oof.oof
        return log_price - (oof[STACKER] if self.oof.stacked else blend(oof, self.parameters.weights))


def train_ensemble(
    training: TrainingSet,
    settings: Settings,
    *,
    finished: FinishedFits | None = None,
    on_progress: OnProgress = silent,
) -> TrainedEnsemble:
    """Fit everything on n rows, but for the members' fits that are `finished`."""
    oof, members = predict_members(training, settings, finished=finished, on_progress=on_progress)
    return train_on_members(oof, members, training, settings, on_progress=on_progress)


def shared_cores() -> tuple[int, int]:
    """Threads of this machine that grow trees, and those beside them for the other members."""
    cores = own_cores()
    return max(1, cores // 2), max(1, cores - cores // 2)


def predict_members(
    training: TrainingSet,
    settings: Settings,
    *,
    finished: FinishedFits | None = None,
    on_progress: OnProgress = silent,
) -> tuple[OutOfFold, dict[str, FoldModels]]:
    """The members' predictions of rows that they were not trained on, and each member's models.

    Half of the cores grow trees, beside the other members on the other half.
    """
    for_trees, for_networks = shared_cores()
    beside = frozenset(name for name, spec in MEMBERS.items() if spec.beside)
    fits = member_fits(settings, for_trees, training.inputs)
    with torch_threads(for_networks):
        return predict_out_of_fold(
            training, fits, seed=settings.seed, beside=beside, finished=finished, on_progress=on_progress
        )


def train_on_members(
    oof: OutOfFold,
    members: Mapping[str, FoldModels],
    training: TrainingSet,
    settings: Settings,
    *,
    on_progress: OnProgress = silent,
) -> TrainedEnsemble:
    """Fit what comes after the members, whose predictions and models these are; a stacker among them is fitted anew."""
    oof, stackers = with_stacker(oof, training, settings, on_progress=on_progress)
    on_progress("fitting the correction", 0, None)
    parameters, held_out = cross_fit(
        oof,
        training.log_price,
        training.search_vectors,
        training.inputs.fields,
        settings,
        age_weight=training.age_weight,
    )
    return TrainedEnsemble(Models(members, oof.folds, stackers), oof, parameters, held_out)


def with_stacker(
    oof: OutOfFold, training: TrainingSet, settings: Settings, *, on_progress: OnProgress = silent
) -> tuple[OutOfFold, list[Stacker]]:
    """The members' predictions with those of a stacker fitted anew on them, and its models; alone where none is set."""
    oof = oof.of(oof.members)
    if not settings.stacker.rounds:
        return oof, []
    weights = cross_fit_weights(oof, training.log_price, settings.blend, training.age_weight)
    return stacker_out_of_fold(oof, weights, training, settings.stacker, seed=settings.seed, on_progress=on_progress)
