"""Score an index, out of fold or on a labelled file by the very path of a query: the whole of `price evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.ensemble.correction import shift
from engine.ensemble.cross_fit import HeldOutPredictions, cross_fit, stages_of
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.parts import index_columns
from engine.ensemble.uncertainty.expected_price import MEDIAN, require_answer
from engine.evaluation.caveats import caveats_on_file, caveats_out_of_fold, note_on_left_out
from engine.evaluation.report import Evaluation, evaluate
from engine.serving.pricer import Pricer
from engine.serving.scorable import ScorableRows, open_scorable_rows
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import read_catalogue
from index.catalogue.settings import FOUND, ReadSettings
from index.encoders.device import AUTO, Runtime
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.search.neighbours import BandIndex
from index.storage.layout import photograph_cache


def evaluate_index(index_dir: Path, on_progress: OnProgress = silent, *, answer: str = MEDIAN) -> Evaluation:
    """Score every row that the build learned from out of fold; blend, correction and interval are cross-fitted.

    `answer`: whether the last stage is scored as it is, or as the expected price.
    """
    require_answer(answer)
    rows = open_scorable_rows(index_dir)
    on_progress("scoring out of fold", 0, None)
    return score_out_of_fold(rows, answer=answer)[1]


def score_out_of_fold(rows: ScorableRows, *, answer: str = MEDIAN) -> tuple[HeldOutPredictions, Evaluation]:
    """Price and score rows as `evaluate_index` does."""
    held_out = cross_fit(
        rows.oof,
        rows.log_price,
        rows.search_vectors,
        rows.fields(),
        rows.settings,
        answer=answer,
        age_weight=rows.age_weight,
    )[1]
    caveats = caveats_out_of_fold(rows.folder, rows.manifest, rows.added)
    scores = evaluate(held_out, rows.log_price, rows.groups, rows.settings, method="out of fold", notes=caveats)
    return held_out, scores


def evaluate_labelled(
    index_dir: Path,
    labelled: Path,
    *,
    reading: ReadSettings | None = None,
    image_dir: Path | None = None,
    runtime: Runtime = AUTO,
    answer: str = MEDIAN,
    on_progress: OnProgress = silent,
) -> Evaluation:
    """Price a labelled file as queries, and score that. Items that the index already holds are named in a note.

    So is the number of rows that cannot be priced, which are not scored. Raises DataRefused where none can be, and for
    prices in another currency than the index's; with rates and no currency, these are converted to the index's.
    """
    pricer = Pricer.open(index_dir, runtime)
    settings, correction, currency = pricer.settings, pricer.correction, pricer.manifest.currency
    reading, columns = (reading or FOUND).for_index(currency), index_columns(pricer.folder, pricer.manifest)
    read = read_catalogue(labelled, reading, priced=True, index=columns, on_progress=on_progress)
    read.reading.require_currency(currency)
    result = pricer.price_items(
        read.items,
        Photographs(image_dir, photograph_cache(index_dir), labelled.parent),
        answer=answer,
        on_progress=on_progress,
    )
    estimate, rows = result.require_estimate(labelled), np.flatnonzero(result.priced)
    items, queries = read.items.take(rows), result.features.search_vectors[rows]
    log_price = items["log_price"].to_numpy().astype(np.float64)
    groups = duplicate_groups([name_key(name) for name in items["name"].to_pylist()], items["image"].to_pylist())
    known, base = pricer.reference.log_price, estimate.base
    vectors, age_weight = pricer.reference.search_vectors(), pricer.reference.age_weight
    by_chance = BandIndex(vectors[np.random.default_rng(settings.seed).permutation(len(vectors))], known)
    near = by_chance.search(queries, base.last, k=correction.k, band=correction.band)
    held_out = HeldOutPredictions(
        stages_of(
            {
                "constant median": np.full(len(log_price), np.median(known)),
                "neighbours alone": pricer.model.neighbours_alone(queries, correction),
            },
            base.members,
            {"blend": base.blended, **({} if base.stacked is None else {STACKER: base.stacked})},
            estimate.priced,
        ),
        control=base.last + shift(near, pricer.reference.residual, correction, age_weight),
        spread=estimate.spread,
        plain=None,
        similarity=estimate.near.similarity[:, 0].astype(np.float64),
        likeness=estimate.evidence.likeness,
    )
    caveats = caveats_on_file(pricer.folder, pricer.manifest, items, groups)
    caveats = (*note_on_left_out(read, len(rows), "scored"), *caveats)
    method = f"{labelled.name} priced as queries"
    evaluation = evaluate(held_out, log_price, groups, settings, method=method, notes=caveats)
    return replace(evaluation, reading_notes=read.reading_notes)
