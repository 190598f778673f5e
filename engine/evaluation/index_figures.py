"""Figures of an index in whole: scores, those of units and categories, the rows priced worst and best, the growth.

Every price is one of models that never saw the row, as the scores have it; nothing is encoded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.correction import weights
from engine.ensemble.uncertainty.confidence import confidence
from engine.evaluation.evaluate import score_out_of_fold
from engine.evaluation.report import LEAST_IN_SLICE, Evaluation, Score
from engine.metrics import bootstrap, coverage, median_ape, row_smape
from engine.serving.priced_items import make_comparables
from engine.serving.pricer import Pricer
from engine.serving.quote import Comparable, Quote
from engine.serving.scorable import ScorableRows, scorable_rows
from index.catalogue.further import CATEGORY
from index.catalogue.money.stored import stored_prices
from index.catalogue.units import NONE
from index.errors import IndexUnusable
from index.progress import OnProgress, silent
from index.search.neighbours import BandIndex
from index.storage.generations import finished_generations, lease_generation
from index.storage.items_table import ItemStore
from index.storage.kept import read_kept
from index.storage.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.ensemble.cross_fit import HeldOutPredictions
    from engine.ensemble.reference import ReferenceSet
    from index.arrays import Float64, Int64

MOST_GROUPS = 12  # of a column, the largest
MOST_COLUMNS = 4  # of categories
MOST_ROWS = 12  # worst, and best
MOST_COMPARABLES = 4  # of a row, the weightiest
OTHERS = "all others"
NO_AMOUNT = "no amount"
UNIT = "unit"


@dataclass(frozen=True)
class GroupScore:
    """Scores of the rows of a unit or a category."""

    label: str
    n: int
    smape: Score
    median_ape: float
    coverage: float


@dataclass(frozen=True)
class GenerationRows:
    """A generation of the index and how many rows it holds."""

    generation: str
    created: str  # UTC, ISO 8601
    rows: int
    kept_as: tuple[str, ...]


@dataclass(frozen=True)
class HeldOutRow:
    """A row of the catalogue, and what it was priced at without its fold."""

    item_id: str
    name: str
    price: float  # its own
    quote: Quote


@dataclass(frozen=True)
class IndexFigures:
    """Figures of the current generation, over the n rows that can be scored."""

    pricer: Pricer
    evaluation: Evaluation
    held_out: HeldOutPredictions
    log_price: Float64  # (n,)
    added: int  # rows added since the build, which cannot be scored
    by_group: dict[str, tuple[GroupScore, ...]]  # UNIT, or a column of categories -> its groups, the largest first
    growth: tuple[GenerationRows, ...]  # the oldest first
    worst: tuple[HeldOutRow, ...]
    best: tuple[HeldOutRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {
            "evaluation": self.evaluation.to_json(),
            "by_group": {name: [asdict(group) for group in groups] for name, groups in self.by_group.items()},
            "not_scored": self.added,
            "growth": [asdict(generation) for generation in self.growth],
            "worst": [asdict(row) for row in self.worst],
            "best": [asdict(row) for row in self.best],
        }


def index_figures(index_dir: Path, on_progress: OnProgress = silent) -> IndexFigures:
    """Score an index and pick its rows. Raises IndexUnusable, and DataRefused where too few rows can be scored."""
    on_progress("opening", 0, None)
    lease = lease_generation(index_dir)
    rows, pricer = scorable_rows(lease), Pricer(lease.folder)
    on_progress("scoring out of fold", 0, None)
    held_out, evaluation = score_out_of_fold(rows)
    order = np.argsort(-np.abs(held_out.answer - rows.log_price), kind="stable")
    most = min(MOST_ROWS, len(order) // 2)
    chosen = _held_out_rows(rows, held_out, np.concatenate([order[:most], order[::-1][:most]]), pricer)
    return IndexFigures(
        pricer=pricer,
        evaluation=evaluation,
        held_out=held_out,
        log_price=rows.log_price,
        added=rows.added,
        by_group=_by_group(rows, held_out),
        growth=_growth(index_dir),
        worst=chosen[:most],
        best=chosen[most:],
    )


def _held_out_rows(
    rows: ScorableRows, held_out: HeldOutPredictions, listed: Int64, pricer: Pricer
) -> tuple[HeldOutRow, ...]:
    """Price some rows as the scores have it, each with the comparables that corrected it."""
    answer, spread = held_out.answer, held_out.spread
    comparables_of = _comparables(rows, held_out, listed, pricer.reference)
    words, shown = confidence(spread), pricer.reference.shown(rows.number[listed])
    found = []
    for place, row in enumerate(listed.tolist()):
        comparables = sorted(comparables_of[row], key=lambda comparable: -comparable.weight)
        quote = Quote(
            price=float(np.exp(answer[row])),
            low=float(np.exp(spread.low[row])),
            high=float(np.exp(spread.high[row])),
            parts={},
            comparables=tuple(comparables[:MOST_COMPARABLES]),
            notes=(),
            per_unit=None,
            confidence=words[row],
            within_20=float(spread.within[row]),
            why=(),
        )
        (price,) = stored_prices(rows.log_price[[row]]).tolist()
        found.append(HeldOutRow(shown[place]["item_id"], shown[place]["name"], price, quote))
    return tuple(found)


def _comparables(
    rows: ScorableRows, held_out: HeldOutPredictions, listed: Int64, reference: ReferenceSet
) -> dict[int, tuple[Comparable, ...]]:
    """Row -> the rows of other folds that corrected it: scored ones, and by the parameters of its own fold."""
    index, fold = BandIndex(rows.search_vectors, rows.log_price, groups=rows.oof.fold), rows.oof.fold[listed]
    found: dict[int, tuple[Comparable, ...]] = {}
    for f, correction in enumerate(held_out.corrections):
        here = listed[fold == f]
        queries, base, own = rows.search_vectors[here], held_out.uncorrected[here], rows.oof.fold[here]
        near = index.search(queries, base, k=correction.k, band=correction.band, exclude_group=own)
        weight = weights(near, correction.decay, rows.age_weight)
        near = replace(near, rows=np.where(near.found, rows.number[near.rows], near.rows))
        found |= {row: make_comparables(near, weight, place, reference) for place, row in enumerate(here.tolist())}
    return found


def _by_group(rows: ScorableRows, held_out: HeldOutPredictions) -> dict[str, tuple[GroupScore, ...]]:
    """Scores by unit and by each column of categories; a column that sorts no rows apart is left out."""
    categories = [column for column in rows.manifest.further if column.startswith(CATEGORY)][:MOST_COLUMNS]
    items = ItemStore.open(rows.folder, rows.manifest).items(["unit", *categories]).take(rows.number)
    units = [NO_AMOUNT if unit == NONE else unit for unit in items["unit"].to_pylist()]
    columns = {UNIT: units} | {
        column.removeprefix(CATEGORY): [cell or "none given" for cell in items[column].to_pylist()]
        for column in categories
    }
    scored = {name: _groups(cells, rows, held_out) for name, cells in columns.items()}
    return {name: groups for name, groups in scored.items() if len(groups) > 1}


def _groups(cells: Sequence[str], rows: ScorableRows, held_out: HeldOutPredictions) -> tuple[GroupScore, ...]:
    """Scores of the largest groups of rows with one cell, and last of all others where these are enough."""
    labels, group, counts = np.unique(np.array(cells, dtype=object), return_inverse=True, return_counts=True)
    largest = [label for label in np.argsort(-counts, kind="stable")[:MOST_GROUPS] if counts[label] >= LEAST_IN_SLICE]
    price, predicted = np.exp(rows.log_price), np.exp(held_out.answer)
    low, high = np.exp(held_out.spread.low), np.exp(held_out.spread.high)
    smape, seed = row_smape(price, predicted), rows.settings.seed

    def score(label: str, here: Int64) -> GroupScore:
        interval = bootstrap(smape[here], groups=rows.groups[here], seed=seed)
        return GroupScore(
            label,
            len(here),
            Score(float(smape[here].mean()), *interval),
            median_ape(price[here], predicted[here]),
            coverage(price[here], low[here], high[here]),
        )

    found = [score(labels[label], np.flatnonzero(group == label)) for label in largest]
    left = np.flatnonzero(~np.isin(group, largest))
    return tuple(found + ([score(OTHERS, left)] if len(left) >= LEAST_IN_SLICE else []))


def _growth(index_dir: Path) -> tuple[GenerationRows, ...]:
    """Generations that are there and can be read: one may be removed meanwhile, or be of an older format."""
    kept, found = read_kept(index_dir), []
    for folder in finished_generations(index_dir):
        try:
            manifest = read_manifest(folder, files=False)
        except IndexUnusable:
            continue
        names = tuple(name for name, generation in kept.items() if generation == folder.name)
        found.append(GenerationRows(folder.name, manifest.created, manifest.rows, names))
    return tuple(found)
