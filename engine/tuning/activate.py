"""Activation of settings that a search chose: a new generation of the old one's rows and vectors.

What the settings do not touch gets a second name in it. The correction alone changes a few numbers; the blend, the
stacker and the members change what was expected of every row, and so every residual.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.held_out import HeldOutPrices
from engine.ensemble.price_model import load_models
from engine.ensemble.reference import ReferenceSet
from engine.ensemble.train import TrainedEnsemble, train_ensemble, train_on_members
from engine.evaluation.caveats import caveats_out_of_fold
from engine.evaluation.report import evaluate
from engine.evaluation.tuning_record import write_record
from engine.features.inputs import InputShape
from engine.lifecycle.generation import finish, link_unchanged, write_ensemble, write_rows
from engine.tuning.parameter_space import CORRECTION, MEMBERS
from index.errors import IndexLocked
from index.progress import OnProgress
from index.storage.generations import current_generation, writing
from index.storage.layout import Step

if TYPE_CHECKING:
    from engine.serving.scorable import ScorableRows
    from engine.settings.schema import Settings


def activate(
    index_dir: Path,
    rows: ScorableRows,
    settings: Settings,
    parts: tuple[str, ...],
    *,
    record: dict[str, Any],
    on_progress: OnProgress,
) -> None:
    """Write the generation of `rows` anew with other `settings`, which differ in `parts`.

    Raises IndexLocked where another process is writing the index, or has written it since the rows were read.
    """
    with writing(index_dir) as folder:
        if current_generation(index_dir) != rows.folder:
            raise IndexLocked(
                f"The index at {index_dir} was written anew while settings for it were searched for, and it is left as "
                "it is: run `price tune` again."
            )
        trained = _train(rows, settings, parts, on_progress)
        on_progress("writing the index", 0, None)
        correction_alone = parts == (CORRECTION,)
        link_unchanged(folder, rows.folder, rows.manifest, Step.TUNE_CORRECTION if correction_alone else Step.TUNE)
        if not correction_alone:
            reference = ReferenceSet.open(rows.folder).with_residual(trained.residual(rows.log_price))
            write_rows(folder, trained, reference, settings.search)
        write_record(folder, record)
        evaluation = evaluate(
            trained.held_out,
            rows.log_price,
            rows.groups,
            settings,
            method="out of fold",
            notes=caveats_out_of_fold(folder, rows.manifest),
        )
        write_ensemble(folder, trained, evaluation)
        held_out = HeldOutPrices.of(trained.held_out)
        held_out.among(rows.number, rows.manifest.rows).write(folder)
        finish(folder, rows.manifest, rows.folder, settings=asdict(settings))


def _train(rows: ScorableRows, settings: Settings, parts: tuple[str, ...], on_progress: OnProgress) -> TrainedEnsemble:
    """Train no more than what the settings touch."""
    if MEMBERS in parts:
        return train_ensemble(rows.training_set(), settings, on_progress=on_progress)
    models = load_models(rows.folder, rows.settings, InputShape.of(rows.manifest))[0]
    if parts != (CORRECTION,):
        return train_on_members(rows.oof, models.members, rows.training_set(), settings, on_progress=on_progress)
    parameters, held_out = cross_fit(
        rows.oof, rows.log_price, rows.search_vectors, rows.fields(), settings, age_weight=rows.age_weight
    )
    return TrainedEnsemble(models, rows.oof, parameters, held_out)
