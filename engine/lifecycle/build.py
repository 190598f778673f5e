"""Build an index, from a catalogue to a current generation: the whole of `price build-index`."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.finished_fits import FinishedFits
from engine.ensemble.held_out import HeldOutPrices
from engine.ensemble.reference import ReferenceSet
from engine.ensemble.train import TrainedEnsemble, train_ensemble
from engine.evaluation.caveats import caveats_out_of_fold
from engine.evaluation.report import Evaluation, evaluate
from engine.features.inputs import Inputs, make_inputs
from engine.features.search_vectors import SearchVectorizer
from engine.features.tabular import save_categories
from engine.features.training_set import TrainingSet
from engine.finetune.provenance import mark_finetuned
from engine.folds import FEW_FOLDS, LEAST_GROUPS_PER_FOLD, assign_folds, folds_for, refuse_too_few_groups
from engine.lifecycle.ages import read_as_of, weighted_by_age, with_as_of
from engine.lifecycle.bounded import bounded_notes
from engine.lifecycle.cluster_fits import cluster_notes, fit_on_cluster
from engine.lifecycle.generation import finish, new_manifest, write_ensemble, write_rejected, write_rows
from engine.lifecycle.whole_build import WRITING, as_a_whole, expected_seconds
from engine.members.registry import require_members
from engine.settings.schema import DEFAULT_CURRENCY, Settings
from index.arrays import Float32, Float64, Int8, Int64
from index.catalogue.duplicates import LINKS, duplicate_groups, with_duplicate_keys
from index.catalogue.items import Catalogue, read_catalogue
from index.cluster import Cluster, connected
from index.embedding.columns import modalities
from index.embedding.encode import Encoders
from index.encoders import absolute_name, require_encoder
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused
from index.photographs.fingerprints import Fingerprints, read_fingerprints
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.storage.generations import current_generation, writing
from index.storage.items_table import write_items
from index.storage.layout import CACHE, REJECTS, fits_cache, photograph_cache

if TYPE_CHECKING:
    import pyarrow as pa


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
    reading_notes: tuple[str, ...] = ()  # what the file was taken for, first; what was chosen by it, last


def build_index(
    catalogue: Path,
    index_dir: Path,
    settings: Settings,
    *,
    image_dir: Path | None = None,
    runtime: Runtime = AUTO,
    ray: str | None = None,
    on_progress: OnProgress = silent,
) -> BuildResult:
    """Build a new generation from a priced catalogue; the old one stays current until this one is whole.

    A Ray cluster at `ray` encodes and fits. Raises DataRefused, UsageError, DownloadNeeded, IndexLocked: work is kept.
    """
    started, as_of, settings = time.monotonic(), _required(settings), _with_whole_paths(settings)
    with _connected(ray) as cluster, writing(index_dir) as folder:  # from here on something lies there
        photographs = Photographs(image_dir, photograph_cache(index_dir), catalogue.parent)
        encoders = Encoders(modalities(settings.views), runtime, cluster=cluster)
        records = encoders.records()  # opens them all: what cannot be had is said before the catalogue is read
        reading = replace(settings.catalogue, currency=settings.currency)
        read = read_catalogue(catalogue, reading, priced=True, as_of=as_of, on_progress=on_progress)
        refuse_most_rejects(catalogue, read, settings.most_rejects)
        settings = _as_read(catalogue, read, settings)
        fingerprints = read_fingerprints(photographs, read.items["image"].to_pylist(), on_progress)
        settings, items, groups = _grouped(read, fingerprints, settings)
        log_price = items["log_price"].to_numpy().astype(np.float64)
        settings, fold = _with_folds(settings, groups, log_price)
        records = mark_finetuned(records, items, items["fingerprint"].to_pylist(), groups)
        vectors, absent = encoders.encode(items, photographs, index_dir / CACHE, on_progress, fingerprints)
        del encoders  # some hundred megabytes that the models need now
        inputs, vectorizer = _represented(items, vectors, settings, on_progress)
        of_same_age = TrainingSet(inputs, log_price, vectorizer.vectors(inputs), groups, fold)
        training, settings, age_notes = weighted_by_age(of_same_age, items["date"], settings, on_progress)
        whole = as_a_whole(on_progress, expected_seconds(items.num_rows, settings))
        finished = FinishedFits(fits_cache(index_dir), training, settings)
        trained = _train(training, settings, finished, cluster, whole)
        manifest = new_manifest(items, read, records, settings)
        caveats = caveats_out_of_fold(folder, manifest)
        evaluation = evaluate(trained.held_out, log_price, groups, settings, method="out of fold", notes=caveats)
        whole(WRITING, 0, None)
        write_items(folder, items.append_column("group", [groups]), vectors)
        write_ensemble(folder, trained, evaluation)
        HeldOutPrices.of(trained.held_out).write(folder)
        vectorizer.save(folder)
        save_categories(folder, inputs.tabular)
        write_rows(folder, trained, ReferenceSet.build(items, training, trained.residual(log_price)), settings.search)
        write_rejected(folder, read.rejects)
        finish(folder, manifest)
        whole(WRITING, 1, 1)
    finished.remove()  # not before the index that they are part of is current
    return BuildResult(
        rows=items.num_rows,
        rejected=read.rejected,
        rejects_file=current_generation(index_dir) / REJECTS if read.rejects else None,
        photographs_absent=Counter(reason for reason in absent if reason),
        encoders=list(dict.fromkeys(record.name for record in records)),
        evaluation=evaluation,
        seconds=time.monotonic() - started,
        reading_notes=(*read.reading_notes, *age_notes, *bounded_notes(len(fold), settings), *cluster_notes(cluster)),
    )


def _represented(
    items: pa.Table, vectors: dict[str, Float32], settings: Settings, on_progress: OnProgress
) -> tuple[Inputs, SearchVectorizer]:
    """Make what the models read of the items, and their search vectors."""
    on_progress("counting words", 0, None)
    inputs = make_inputs(items, vectors)
    return inputs, SearchVectorizer.fit(inputs, settings)


def _as_read(catalogue: Path, read: Catalogue, settings: Settings) -> Settings:
    """The settings with the currency and the date of what was read."""
    settings = with_as_of(catalogue, read.items["date"], settings)
    return replace(settings, currency=read.reading.currency or DEFAULT_CURRENCY)


def _connected(ray: str | None) -> AbstractContextManager[Cluster | None]:
    return nullcontext() if ray is None else connected(ray)


def _required(settings: Settings) -> dt.date | None:
    """The day after which prices are passed over. UsageError for one to come, and for members or encoders not there."""
    require_members(settings)
    for name in (*settings.text_encoder, *settings.image_encoder):
        require_encoder(name)
    return read_as_of(settings)


def _with_whole_paths(settings: Settings) -> Settings:
    """The settings with every NAME@PATH such that the index can be opened from any folder."""
    texts, images = (tuple(map(absolute_name, names)) for names in (settings.text_encoder, settings.image_encoder))
    settings = replace(settings, text_encoder=texts, image_encoder=images)
    if "finetuned" not in settings.members:
        return settings
    return replace(settings, finetuned=replace(settings.finetuned, encoder=absolute_name(settings.finetuned.encoder)))


def refuse_most_rejects(path: Path, read: Catalogue, most: float) -> None:
    """Raise DataRefused where a greater share than `most` of a file's items is rejected: nothing comes of it."""
    rejected, found = len(read.rejects), read.items.num_rows
    if rejected <= most * (rejected + found):
        return
    reason, times = read.rejected.most_common(1)[0]
    raise DataRefused(
        f"{path}: {rejected:,} of {rejected + found:,} rows are rejected, {times:,} of them with: {reason} (the first "
        f"at line {read.rejects[0].line}). Nothing was built; `price inspect` shows how the file is read, and "
        "--most-rejects 1 builds from what is left."
    )


def _grouped(read: Catalogue, fingerprints: Fingerprints, settings: Settings) -> tuple[Settings, pa.Table, Int64]:
    """The items with what links near-duplicates, their groups (n,), and the settings with how names are compared."""
    contents = fingerprints.of(read.items["image"].to_pylist())
    whole = bool(settings.whole_names)
    items = with_duplicate_keys(read.items, contents, whole_names=whole)
    groups = duplicate_groups(*(items[column].to_pylist() for column in LINKS))
    if settings.whole_names is None and len(np.unique(groups)) < LEAST_GROUPS_PER_FOLD * (settings.folds or FEW_FOLDS):
        by_whole = with_duplicate_keys(read.items, contents, whole_names=True)
        groups_of_whole = duplicate_groups(*(by_whole[column].to_pylist() for column in LINKS))
        if len(np.unique(groups_of_whole)) > len(np.unique(groups)):
            whole, items, groups = True, by_whole, groups_of_whole
    return replace(settings, whole_names=whole), items, groups


def _train(
    training: TrainingSet, settings: Settings, finished: FinishedFits, cluster: Cluster | None, on_progress: OnProgress
) -> TrainedEnsemble:
    """Fit everything: the members by the workers of a cluster, where there is one."""
    if cluster:
        fit_on_cluster(training, settings, finished, cluster, on_progress)
    return train_ensemble(training, settings, finished=finished, on_progress=on_progress)


def _with_folds(settings: Settings, groups: Int64, log_price: Float64) -> tuple[Settings, Int8]:
    """The settings with their number of folds, and each row's (n,). Raises DataRefused for too few groups."""
    folds = settings.folds or folds_for(groups)
    needed = LEAST_GROUPS_PER_FOLD * folds
    refuse_too_few_groups(
        groups, needed, f"is too few for {folds} folds, which take {needed}: add rows, or ask for fewer folds"
    )
    return replace(settings, folds=folds), assign_folds(groups, folds, settings.seed, log_price)
