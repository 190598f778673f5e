"""The whole of `price build-index`: a catalogue in, a generation of the index in force."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import write_out_of_fold
from engine.ensemble.price_model import save_models
from engine.ensemble.stacker import Catalogue, Goods, amounts
from engine.ensemble.train import learn
from engine.evaluation.report import Evaluation, evaluate
from engine.features.inputs import make_inputs
from engine.features.search_vectors import Space
from engine.finetune.provenance import finetuned_notes, mark_finetuned
from engine.folds import assign_folds, folds_for
from engine.members.registry import require_members
from engine.serving.reference import Comparables, write_comparables
from index.catalogue.duplicates import duplicate_groups, with_duplicate_keys
from index.catalogue.items import Columns, read_catalogue, write_rejects
from index.embedding.columns import Encoders, modalities
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import Report, silent
from index.storage.generations import CACHE, current_generation, photograph_cache, writing
from index.storage.items_table import write_items
from index.storage.manifest import Manifest, write_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.settings.schema import Settings

LEAST_GROUPS_PER_FOLD = 4  # models are fitted without two of the folds, and must be left something to learn from
REJECTS, REPORT = "rejects.csv", "report.json"


@dataclass(frozen=True)
class Built:
    """What a build did."""

    rows: int
    rejected: Counter[str]  # by reason
    rejects_file: Path | None
    photographs_absent: Counter[str]  # by reason
    encoders: list[str]
    evaluation: Evaluation
    seconds: float


def build_index(
    catalogue: Path,
    index: Path,
    settings: Settings,
    *,
    columns: Columns | None = None,
    image_dir: Path | None = None,
    runtime: Runtime = AUTO,
    report: Report = silent,
) -> Built:
    """Build a new generation of `index` from a priced catalogue; the old one stays in force until this one is whole.

    Raises DataRefused, UsageError, DownloadNeeded or IndexLocked; whatever happens, nothing that was encoded is lost.
    """
    started = time.monotonic()
    with writing(index) as folder:
        require_members(settings)
        photographs = Photographs(image_dir, photograph_cache(index), catalogue.parent)
        encoders = Encoders(modalities(settings.views), runtime)
        records = encoders.records()  # opens them all: what cannot be had is said before the catalogue is read
        read = read_catalogue(catalogue, columns or Columns(), priced=True, report=report)
        fingerprints = read_fingerprints(photographs, read.items["image"].to_pylist())
        items = with_duplicate_keys(read.items, fingerprints.of(read.items["image"].to_pylist()))
        keys = {column: items[column].to_pylist() for column in ("name_key", "image", "fingerprint")}
        groups = duplicate_groups(*keys.values())
        log_price = read.items["log_price"].to_numpy().astype(np.float64)
        folds = settings.folds or folds_for(groups)
        _refuse_too_few(groups, folds)
        settings = replace(settings, folds=folds)
        fold = assign_folds(groups, folds, settings.seed, log_price)
        records = mark_finetuned(records, read.items, keys["fingerprint"], groups)
        vectors, absent = encoders.encode(read.items, photographs, index / CACHE, report)
        del encoders  # some hundred megabytes that the models need now
        inputs = make_inputs(read.items, vectors)
        space = Space.fit(inputs, settings)
        places = space.vectors(inputs)
        goods = Goods(log_price, inputs.unit, amounts(inputs))
        learned = learn(Catalogue(inputs, goods, places), fold, settings, report=report)
        evaluation = evaluate(
            learned.held,
            log_price,
            groups,
            method="out of fold",
            coverage_wanted=settings.coverage,
            seed=settings.seed,
            notes=finetuned_notes(records),
        )
        report("writing the index", 0, None)
        items = items.append_column("group", [groups])
        write_items(folder, items, vectors)
        save_models(folder, learned.models, learned.fitted)
        write_out_of_fold(folder, learned.oof)
        space.save(folder)
        rows = Comparables(items, places, goods, learned.residual(log_price), fold)
        write_comparables(folder, rows, settings.search)
        if read.rejects:
            write_rejects(read.rejects, folder / REJECTS)
        (folder / REPORT).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n", encoding="utf-8")
        manifest = Manifest(
            engine_version=version("price-engine"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            rows=items.num_rows,
            rejected=len(read.rejects),
            currency=settings.currency,
            encoders=records,
            settings=asdict(settings),
        )
        write_manifest(folder, manifest)
    reasons = Counter(reject.reason.partition(":")[0].partition(" (")[0] for reject in read.rejects)
    return Built(
        rows=items.num_rows,
        rejected=reasons,
        rejects_file=current_generation(index) / REJECTS if read.rejects else None,
        photographs_absent=Counter(reason for reason in absent if reason),
        encoders=list(dict.fromkeys(record.name for record in records)),
        evaluation=evaluation,
        seconds=time.monotonic() - started,
    )


def _refuse_too_few(groups: NDArray[np.int64], folds: int) -> None:
    found, needed = len(np.unique(groups)), LEAST_GROUPS_PER_FOLD * folds
    if found < needed:
        raise DataRefused(
            f"The catalogue has {len(groups):,} usable rows in {found:,} groups of twins (the same photograph, or the "
            f"same name but for numbers), which is too few for {folds} folds, which take "
            f"{needed}: add rows, or ask for fewer folds."
        )
