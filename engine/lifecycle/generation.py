"""Files of a generation, each saved in one place: models, predictions, reference set, report, manifest.

A build writes a new generation whole, every other step as far as the step changes it: the files that stay as they are
get a second name in it (`index.storage.layout` says which).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ensemble.price_model import save_models
from engine.settings.schema import DEFAULT_CURRENCY
from index.catalogue.further import further_columns
from index.catalogue.items import Catalogue, Reject, write_rejects
from index.files import link_or_copy
from index.storage.layout import REJECTS, REPORT, Step, unchanged_by
from index.storage.manifest import Manifest, write_manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.ensemble.reference import ReferenceSet
    from engine.ensemble.train import TrainedEnsemble
    from engine.evaluation.report import Evaluation


def link_unchanged(folder: Path, old: Path, manifest: Manifest, step: Step) -> None:
    """Give the files of the generation `old` that `step` leaves alone a second name in `folder`."""
    for path in unchanged_by(step, manifest.files):
        link_or_copy(old / path, folder / path)


def write_ensemble(folder: Path, trained: TrainedEnsemble, evaluation: Evaluation) -> None:
    """Write models and the report; predictions and residuals are for `write_rows`."""
    save_models(folder, trained.models, trained.parameters)
    (folder / REPORT).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n", encoding="utf-8")


def write_rows(folder: Path, trained: TrainedEnsemble, reference: ReferenceSet, search: str) -> None:
    """Write what the models predict of every row, and what a query may use of them."""
    trained.oof.write(folder)
    reference.write(folder, search)


def write_rejected(folder: Path, rejects: Iterable[Reject]) -> None:
    """Write the rows of a file that were no items, where there are any."""
    rejects = list(rejects)
    if rejects:
        write_rejects(rejects, folder / REJECTS)


def finish(folder: Path, manifest: Manifest, old: Path | None = None, **changes: Any) -> None:
    """Write `manifest` with `changes`, last; what is still a file of the generation `old` is not hashed again."""
    known = {}
    if old is not None:
        known = {
            path: digest
            for path, digest in manifest.files.items()
            if (folder / path).exists() and (folder / path).samefile(old / path)
        }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_manifest(folder, replace(manifest, created=now, engine_version=version("price-engine"), **changes), known)


def new_manifest(items: pa.Table, read: Catalogue, encoders: Any, settings: Any) -> Manifest:
    """Manifest of a build; `finish` puts the version, the time and the files in."""
    return Manifest(
        rows=items.num_rows,
        rejected=len(read.rejects),
        currency=settings.currency or DEFAULT_CURRENCY,
        encoders=encoders,
        settings=asdict(settings),
        further=further_columns(items),
        shared_lines=tuple(sorted(read.shared.lines)),
        shared_lines_kept=read.shared.kept,
        engine_version="",
        created="",
    )
