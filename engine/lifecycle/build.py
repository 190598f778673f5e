"""Build an index, from a catalogue to a current generation: the whole of `price build-index`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.ensemble.reference import ReferenceSet
from engine.ensemble.train import train_ensemble
from engine.evaluation.caveats import caveats_out_of_fold
from engine.evaluation.report import Evaluation, evaluate
from engine.features.inputs import make_inputs
from engine.features.search_vectors import SearchVectorizer
from engine.features.tabular import save_categories
from engine.features.training_set import TrainingSet
from engine.finetune.provenance import mark_finetuned
from engine.folds import LEAST_GROUPS_PER_FOLD, assign_folds, folds_for, refuse_too_few_groups
from engine.lifecycle.generation import finish, new_manifest, write_ensemble, write_rejected, write_rows
from engine.members.registry import require_members
from engine.settings.schema import Settings
from index.arrays import Float64, Int8, Int64
from index.catalogue.columns import Columns
from index.catalogue.duplicates import duplicate_groups, with_duplicate_keys
from index.catalogue.items import read_catalogue
from index.embedding.columns import modalities
from index.embedding.encode import Encoders
from index.encoders.device import AUTO, Runtime
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.storage.generations import current_generation, writing
from index.storage.items_table import write_items
from index.storage.layout import CACHE, REJECTS, photograph_cache


@dataclass(frozen=True)
class BuildResult:
    """Result of a build."""

    rows: int
    rejected: Counter[str]  # by reason
    rejects_file: Path | None
    photographs_absent: Counter[str]  # by reason
    encoders: list[str]
    evaluation: Evaluation
    seconds: float


def build_index(
    catalogue: Path,
    index_dir: Path,
    settings: Settings,
    *,
    columns: Columns | None = None,
    image_dir: Path | None = None,
    runtime: Runtime = AUTO,
    on_progress: OnProgress = silent,
) -> BuildResult:
    """Build a new generation from a priced catalogue; the old one stays current until this one is whole.

    Raises DataRefused, UsageError, DownloadNeeded or IndexLocked; whatever happens, nothing that was encoded is lost.
    """
    started = time.monotonic()
    with writing(index_dir) as folder:
        require_members(settings)
        photographs = Photographs(image_dir, photograph_cache(index_dir), catalogue.parent)
        encoders = Encoders(modalities(settings.views), runtime)
        records = encoders.records()  # opens them all: what cannot be had is said before the catalogue is read
        read = read_catalogue(catalogue, columns or Columns(), priced=True, on_progress=on_progress)
        fingerprints = read_fingerprints(photographs, read.items["image"].to_pylist(), on_progress)
        items = with_duplicate_keys(read.items, fingerprints.of(read.items["image"].to_pylist()))
        keys = {column: items[column].to_pylist() for column in ("name_key", "image", "fingerprint")}
        groups = duplicate_groups(*keys.values())
        log_price = items["log_price"].to_numpy().astype(np.float64)
        settings, fold = _with_folds(settings, groups, log_price)
        records = mark_finetuned(records, items, keys["fingerprint"], groups)
        vectors, absent = encoders.encode(items, photographs, index_dir / CACHE, on_progress, fingerprints)
        del encoders  # some hundred megabytes that the models need now
        inputs = make_inputs(items, vectors)
        vectorizer = SearchVectorizer.fit(inputs, settings)
        training = TrainingSet(inputs, log_price, vectorizer.vectors(inputs), groups, fold)
        trained = train_ensemble(training, settings, on_progress=on_progress)
        manifest = new_manifest(items, len(read.rejects), records, settings)
        evaluation = evaluate(
            trained.held_out,
            log_price,
            groups,
            settings,
            method="out of fold",
            notes=caveats_out_of_fold(folder, manifest),
        )
        on_progress("writing the index", 0, None)
        write_items(folder, items.append_column("group", [groups]), vectors)
        write_ensemble(folder, trained, evaluation)
        vectorizer.save(folder)
        save_categories(folder, inputs.tabular)
        write_rows(folder, trained, ReferenceSet.build(items, training, trained.residual(log_price)), settings.search)
        write_rejected(folder, read.rejects)
        finish(folder, manifest)
    return BuildResult(
        rows=items.num_rows,
        rejected=read.rejected,
        rejects_file=current_generation(index_dir) / REJECTS if read.rejects else None,
        photographs_absent=Counter(reason for reason in absent if reason),
        encoders=list(dict.fromkeys(record.name for record in records)),
        evaluation=evaluation,
        seconds=time.monotonic() - started,
    )


def _with_folds(settings: Settings, groups: Int64, log_price: Float64) -> tuple[Settings, Int8]:
    """The settings with their number of folds, and each row's (n,). Raises DataRefused for too few groups."""
    folds = settings.folds or folds_for(groups)
    needed = LEAST_GROUPS_PER_FOLD * folds
    refuse_too_few_groups(
        groups, needed, f"is too few for {folds} folds, which take {needed}: add rows, or ask for fewer folds"
    )
    return replace(settings, folds=folds), assign_folds(groups, folds, settings.seed, log_price)
