"""How do settings that were searched for come into force? A new generation, of the old one's rows and vectors.

What the settings do not touch gets a second name in it. The correction alone changes a few numbers; the blend, the
stack and the members change what was expected of every row, and so every residual.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import FILE as OUT_OF_FOLD
from engine.ensemble.out_of_fold import write_out_of_fold
from engine.ensemble.price_model import FOLDER, load_models, save_models
from engine.ensemble.train import Learned, learn, learn_from_members
from engine.evaluation.report import evaluate
from engine.evaluation.tuning_record import FILE as HISTORY
from engine.evaluation.tuning_record import search_notes, write_history
from engine.finetune.provenance import finetuned_notes
from engine.lifecycle.build import REPORT
from engine.serving.reference import FILE as COMPARABLES
from engine.serving.reference import read_comparables, write_comparables
from engine.tuning.parameter_space import CORRECTION, MEMBERS
from index.errors import IndexLocked
from index.progress import Report
from index.search.faiss_backend import FILE as FAISS_FILE
from index.search.lance_backend import TABLE as LANCE_TABLE
from index.storage.generations import current_generation, writing
from index.storage.items_update import link_file
from index.storage.manifest import write_manifest

if TYPE_CHECKING:
    from engine.evaluation.scorable import ScoredRows
    from engine.settings.schema import Settings

ALWAYS = (f"{FOLDER}/", REPORT, HISTORY)
OF_RESIDUALS = (COMPARABLES, OUT_OF_FOLD, FAISS_FILE, f"{LANCE_TABLE}.lance/")


def put_in_force(
    index: Path,
    rows: ScoredRows,
    settings: Settings,
    parts: tuple[str, ...],
    *,
    history: dict[str, Any],
    report: Report,
) -> None:
    """Write the generation of `rows` anew with other `settings`, which differ in `parts`.

    Raises IndexLocked where another process is writing the index, or has written it since the rows were read.
    """
    with writing(index) as folder:
        if current_generation(index) != rows.folder:
            raise IndexLocked(
                f"The index at {index} was written anew while settings for it were searched for, and it is left as it "
                "is: run `price tune` again."
            )
        learned = _learn(rows, settings, parts, report)
        report("writing the index", 0, None)
        rewritten = ALWAYS + (() if parts == (CORRECTION,) else OF_RESIDUALS)
        linked = {path: digest for path, digest in rows.manifest.files.items() if not path.startswith(rewritten)}
        for path in linked:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            link_file(rows.folder / path, folder / path)
        save_models(folder, learned.models, learned.fitted)
        if parts != (CORRECTION,):
            write_out_of_fold(folder, learned.oof)
            comparables = replace(read_comparables(rows.folder), residual=learned.residual(rows.log_price))
            write_comparables(folder, comparables, settings.search)
        write_history(folder, history)
        _write_report(folder, rows, learned, settings)
        manifest = replace(
            rows.manifest,
            engine_version=version("price-engine"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=asdict(settings),
        )
        write_manifest(folder, manifest, linked)


def _learn(rows: ScoredRows, settings: Settings, parts: tuple[str, ...], report: Report) -> Learned:
    """No more of it than the settings touch."""
    if MEMBERS in parts:
        return learn(rows.catalogue(), rows.oof.fold, settings, report=report)
    models = load_models(rows.folder)[0]
    if parts != (CORRECTION,):
        return learn_from_members(rows.oof, models.members, rows.catalogue(), settings, report=report)
    fitted, held = cross_fit(rows.oof, rows.log_price, rows.space, settings)
    return Learned(models, rows.oof, fitted, held)


def _write_report(folder: Path, rows: ScoredRows, learned: Learned, settings: Settings) -> None:
    evaluation = evaluate(
        learned.held,
        rows.log_price,
        rows.groups,
        method="out of fold",
        coverage_wanted=settings.coverage,
        seed=settings.seed,
        notes=(*finetuned_notes(rows.manifest.encoders), *search_notes(folder)),
    )
    (folder / REPORT).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n", encoding="utf-8")
