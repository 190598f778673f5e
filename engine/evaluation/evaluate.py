"""The whole of `price evaluate`: an index scored out of fold, or on a labelled file by the very path of a query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.correction import shift
from engine.ensemble.cross_fit import Held, cross_fit, stages_of
from engine.ensemble.out_of_fold import STACKER, read_out_of_fold
from engine.ensemble.price_model import Models, PriceModel
from engine.evaluation.report import Evaluation, evaluate
from engine.evaluation.scorable import open_scored_rows
from engine.evaluation.tuning_record import search_notes
from engine.features.inputs import make_inputs
from engine.finetune.provenance import finetuned_notes, notes_on_file
from engine.serving.pricer import Pricer
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import Columns, read_catalogue
from index.encoders.device import AUTO, Runtime
from index.photographs.source import Photographs
from index.progress import Report, silent
from index.search.neighbours import BandIndex
from index.storage.generations import photograph_cache
from index.storage.items_table import ItemStore

if TYPE_CHECKING:
    import pyarrow as pa


def evaluate_index(index: Path, report: Report = silent) -> Evaluation:
    """Score every row that the build learned from out of fold; blend, correction and interval are cross-fitted."""
    rows = open_scored_rows(index)
    report("scoring out of fold", 0, None)
    held = cross_fit(rows.oof, rows.log_price, rows.space, rows.settings)[1]
    return evaluate(
        held,
        rows.log_price,
        rows.groups,
        method="out of fold",
        coverage_wanted=rows.settings.coverage,
        seed=rows.settings.seed,
        notes=(*finetuned_notes(rows.manifest.encoders), *search_notes(rows.folder), *_note_on_added(rows.added)),
    )


def _note_on_added(rows: int) -> tuple[str, ...]:
    """To score a row takes models that saw neither its fold nor a neighbour's; a build does not keep those."""
    if not rows:
        return ()
    return (f"{rows:,} rows were added since the build: they correct prices, and are not scored here.",)


def evaluate_labelled(
    index: Path,
    labelled: Path,
    *,
    columns: Columns | None = None,
    image_dir: Path | None = None,
    runtime: Runtime = AUTO,
    report: Report = silent,
) -> Evaluation:
    """Price a labelled file as queries, and score that. Items that the index already holds are named in a note."""
    pricer = Pricer.open(index, runtime)
    read = read_catalogue(labelled, columns or Columns(), priced=True, report=report)
    items, settings = read.items, pricer.settings
    vectors = pricer.encode(items, Photographs(image_dir, photograph_cache(index), labelled.parent), report=report)
    log_price = items["log_price"].to_numpy().astype(np.float64)
    groups = duplicate_groups([name_key(name) for name in items["name"].to_pylist()], items["image"].to_pylist())
    inputs = make_inputs(items, vectors)
    queries = pricer.space.vectors(inputs)
    catalogue, own = pricer.rows.space(), pricer.rows.goods.log_price
    model, oof = pricer.model, read_out_of_fold(pricer.folder)
    answer = model.estimate(inputs, queries)
    mlp = {"mlp": model.models.members["mlp"]}
    mlp_alone = PriceModel(
        Models(mlp),
        replace(model.fitted, weights={"mlp": 1.0}),
        replace(model.bank, residual=own - oof.own["mlp"]),
        settings.stacker,
    )
    combined = {"blend": answer.base.blended}
    if answer.base.stacked is not None:
        combined[STACKER] = answer.base.stacked
    order = np.random.default_rng(settings.seed).permutation(len(catalogue))
    by_chance = BandIndex(catalogue[order], own)
    near = by_chance.search(queries, answer.base.last, k=pricer.knobs.k, band=pricer.knobs.band)
    held = Held(
        stages_of(
            {
                "constant median": np.full(len(log_price), np.median(own)),
                "neighbours alone": model.neighbours_alone(queries, pricer.knobs),
            },
            answer.base.members,
            mlp_alone.estimate(inputs, queries, model.fitted.mlp_knobs).answer,
            combined,
            answer.answer,
        ),
        control=answer.base.last + shift(near, model.bank.residual, pricer.knobs),
        low=answer.low,
        high=answer.high,
        similarity=answer.near.similarity[:, 0].astype(np.float64),
    )
    return evaluate(
        held,
        log_price,
        groups,
        method=f"{labelled.name} priced as queries",
        coverage_wanted=settings.coverage,
        seed=settings.seed,
        notes=_notes(pricer, items, len(read.rejects)) + notes_on_file(pricer.manifest.encoders, items, groups),
    )


def _notes(pricer: Pricer, items: pa.Table, rejected: int) -> tuple[str, ...]:
    """What a reader of the score must know of the file."""
    notes = []
    if rejected:
        notes.append(f"{rejected:,} rows of the file cannot be used and are not scored.")
    known = set(ItemStore.open(pricer.folder).items(["text"])["text"].to_pylist())
    seen = sum(text in known for text in items["text"].to_pylist())
    if seen:
        notes.append(
            f"{seen:,} items stand word for word in the index: the models know their prices, so this flatters."
        )
    return tuple(notes)
