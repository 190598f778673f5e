"""Changes of prices from one generation of an index to another, and whether the evidence says why: all of `price diff`.

Without a file of items, the rows that both generations hold are priced as if they were not in the catalogue: by what
the models of their own fold predicted, which each generation keeps, stacked and corrected by rows of other folds.
Nothing is encoded and no model is asked. These are prices to compare with each other, and no score: the neighbours'
residuals know the row.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.parts import expect_rows, index_columns
from engine.ensemble.reference import OtherFolds
from engine.evaluation.caveats import note_on_left_out
from engine.features.inputs import make_numbers
from engine.serving.pricer import Pricer
from index.arrays import Bool, Float64, Int64
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import FOUND, ReadSettings
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused
from index.files import atomic_write
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.storage.generations import number_of
from index.storage.items_table import ItemStore
from index.storage.layout import MODELS, PRICE_MODEL, photograph_cache
from index.visible import without_formula

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.ensemble.price_model import Estimate

MOVED = 0.01  # change of a price from which it counts as moved
SHOWN = 20  # changes that are listed in JSON
NAMED = 3  # comparables that a reason names


@dataclass(frozen=True)
class DiffSettings:
    """Settings of pricing a file of items by two generations."""

    reading: ReadSettings = FOUND
    image_dir: Path | None = None
    runtime: Runtime = AUTO


@dataclass(frozen=True)
class PriceChanges:
    """Prices of n items by two generations. The table has a row for each, the largest change first."""

    old: int  # generations' numbers
    new: int
    method: str
    table: pa.Table  # item_id, name, old, new, change, by_models, by_evidence, added, removed, why
    rows: Mapping[str, int]  # of the two generations: both, added, removed, replaced
    same_models: bool
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> int:
        """Items whose price moves by MOVED or more."""
        return int((np.abs(self.table["change"].to_numpy()) >= MOVED).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts; of the items the SHOWN whose price moves most."""
        change = np.abs(self.table["change"].to_numpy())
        return {
            "old": self.old,
            "new": self.new,
            "method": self.method,
            "items": self.table.num_rows,
            "moved": self.moved,
            "median_change": float(np.median(change)) if len(change) else None,
            "rows": dict(self.rows),
            "same_models": self.same_models,
            "changes": self.table.slice(0, SHOWN).to_pylist(),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def write(self, path: Path) -> None:
        """Write the table as .csv or .parquet; in a CSV, no cell is one that a spreadsheet would run."""
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        table = self.table
        with atomic_write(path) as partial:
            if path.suffix.lower() != ".csv":
                pyarrow.parquet.write_table(table, partial)
                return
            for place, name in enumerate(table.column_names):
                if table.schema.field(name).type == pa.string():
                    cells = [without_formula(cell) for cell in table[name].to_pylist()]
                    table = table.set_column(place, name, pa.array(cells, pa.string()))
            pyarrow.csv.write_csv(table, partial)


@dataclass(frozen=True)
class _Priced:
    """n items as one generation prices them."""

    pricer: Pricer
    ids: list[str]  # (n,)
    names: list[str]  # (n,)
    estimate: Estimate

    @property
    def evidence(self) -> Float64:
        """(n,) what neighbours add to the members' blend, in log price."""
        return self.estimate.answer - self.estimate.base.blended


def price_changes(
    index_dir: Path,
    old: str,
    new: str,
    items: Path | None = None,
    *,
    settings: DiffSettings | None = None,
    on_progress: OnProgress = silent,
) -> PriceChanges:
    """Compare two generations, by number or name: over a file of `items`, or over the rows that both hold.

    Raises IndexUnusable for a generation that is not there, DataRefused where there is nothing to compare.
    """
    started, settings = time.monotonic(), settings or DiffSettings()
    on_progress("opening the index", 0, None)
    pricers = [Pricer.open(index_dir, settings.runtime, generation=reference) for reference in (old, new)]
    currencies = {pricer.manifest.currency for pricer in pricers}
    if len(currencies) > 1:
        raise DataRefused(f"The two generations price in {' and '.join(sorted(currencies))}, which cannot be compared.")
    read: Catalogue | None = None
    if items is None:
        method = "rows that both generations hold, each by models that never saw it and by rows of other folds"
        on_progress("pricing", 0, None)
        before, after = (_catalogue(pricer) for pricer in pricers)
    else:
        method = f"{items.name} priced by both"
        with tempfile.TemporaryDirectory() as cache:  # what both encode alike is encoded once
            (before, read), (after, _) = (
                _items(pricer, items, index_dir, settings, cache=Path(cache), on_progress=on_progress)
                for pricer in pricers
            )
    known = [_prices_by_id(pricer) for pricer in pricers]
    replaced = {item_id for item_id, row in known[0].items() if known[1].get(item_id, row) != row}
    both = known[0].keys() & known[1].keys()
    rows = {
        "both": len(both),
        "added": len(known[1]) - len(both),
        "removed": len(known[0]) - len(both),
        "replaced": len(replaced),
    }
    left, joined = ((prices.keys() - both) | replaced for prices in known)
    table = _compared(before, after, left, joined, replaced if read is None else set())
    if not table.num_rows:
        raise DataRefused("The two generations hold no row in common: give a file of ITEMS to price by both.")
    notes = () if read is None else (*read.reading_notes, *note_on_left_out(read, table.num_rows, "compared"))
    numbers = [number_of(pricer.folder.name) for pricer in pricers]
    seconds = time.monotonic() - started
    return PriceChanges(numbers[0], numbers[1], method, table, rows, _same_models(*pricers), seconds, notes)


def _catalogue(pricer: Pricer) -> _Priced:
    """Every row of a generation, priced by models of its fold and by rows of other folds."""
    folder, reference = pricer.folder, pricer.reference
    store, oof = ItemStore.open(folder, pricer.manifest), OutOfFold.read(folder)
    expect_rows(folder, pricer.settings, reference, oof, store.items(["item_id", "group"]))
    inputs = make_numbers(store.items(["text", "name", "amount", "unit", "pack"]))
    members = {member: oof.oof[member] for member in oof.members}
    rows = OtherFolds(reference, oof.fold)
    estimate = pricer.model.estimate(inputs, reference.search_vectors(), selected=rows, members=members)
    return _Priced(pricer, reference.ids(), reference.names(), estimate)


def _items(
    pricer: Pricer, path: Path, index_dir: Path, settings: DiffSettings, *, cache: Path, on_progress: OnProgress
) -> tuple[_Priced, Catalogue]:
    """Items of a file as queries, those that can be priced; and the file as it was read."""
    columns = index_columns(pricer.folder, pricer.manifest)
    read = read_catalogue(path, settings.reading, priced=False, index=columns, on_progress=on_progress)
    photographs = Photographs(settings.image_dir, photograph_cache(index_dir), path.parent)
    result = pricer.price_items(read.items, photographs, cache=cache, on_progress=on_progress)
    estimate = result.require_estimate(path)
    ids, names = (read.items[name].filter(result.priced).to_pylist() for name in ("item_id", "name"))
    return _Priced(pricer, ids, names, estimate), read


def _prices_by_id(pricer: Pricer) -> dict[str, tuple[str, float]]:
    """Id of each row of a generation -> its name and log price: by these a row is known to be the same."""
    reference = pricer.reference
    return dict(zip(reference.ids(), zip(reference.names(), reference.log_price.tolist(), strict=True), strict=True))


def _same_models(old: Pricer, new: Pricer) -> bool:
    """Tell whether two generations have the same models and parameters, to the last byte."""
    files = [
        {path: digest for path, digest in pricer.manifest.files.items() if path.startswith((MODELS, PRICE_MODEL))}
        for pricer in (old, new)
    ]
    return files[0] == files[1]


def _compared(old: _Priced, new: _Priced, left: set[str], joined: set[str], replaced: set[str]) -> pa.Table:
    """The table of `PriceChanges`; `left` and `joined`: ids of rows that the other generation has not, or not so.

    `replaced`: ids of priced rows that are others in the new generation; none of a file, which is the same for both.
    """
    import pyarrow as pa

    place = {item_id: row for row, item_id in enumerate(old.ids)}
    here = np.flatnonzero([item_id in place for item_id in new.ids])
    there = np.array([place[new.ids[row]] for row in here], np.int64)
    log_change = new.estimate.priced[here] - old.estimate.priced[there]
    by_models = new.estimate.base.blended[here] - old.estimate.base.blended[there]
    by_evidence = new.evidence[here] - old.evidence[there]
    removed, added = _named(old, there, left), _named(new, here, joined)
    moved_by = zip(log_change, by_models, by_evidence, strict=True)
    why = [
        _why(*parts, replaced=new.ids[row] in replaced, added=more, removed=less)
        for row, parts, more, less in zip(here, moved_by, added, removed, strict=True)
    ]
    order = np.argsort(-np.abs(log_change), kind="stable")
    columns: dict[str, Any] = {
        "item_id": [new.ids[row] for row in here],
        "name": [new.names[row] for row in here],
        "old": np.exp(old.estimate.priced[there]),
        "new": np.exp(new.estimate.priced[here]),
        "change": np.expm1(log_change),
        "by_models": np.expm1(by_models),
        "by_evidence": np.expm1(by_evidence),
        "added": [len(ids) for ids in added],
        "removed": [len(ids) for ids in removed],
        "why": why,
    }
    return pa.table(columns).take(order)


def _named(priced: _Priced, rows: Int64, ids: set[str]) -> list[list[str]]:
    """The comparables of some items that are among `ids`, the nearest first."""
    all_ids, near = priced.pricer.reference.ids(), priced.estimate.near
    is_among: Bool = np.array([item_id in ids for item_id in all_ids], np.bool_)
    among = is_among[near.rows[rows]] & near.found[rows]
    return [[all_ids[row] for row in line[mask]] for line, mask in zip(near.rows[rows], among, strict=True)]


def _why(
    change: float, by_models: float, by_evidence: float, *, replaced: bool, added: list[str], removed: list[str]
) -> str:
    """Reason for which a price moved; "" where it did not."""
    if abs(np.expm1(change)) < MOVED:
        return ""
    reasons = ["the row itself was replaced"] if replaced else []
    if abs(by_models) >= abs(by_evidence):
        reasons += [] if replaced else ["other models"]
    else:
        for what, ids in (("added", added), ("removed", removed)):
            if ids:
                more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
                reasons.append(f"{what} comparables {', '.join(ids[:NAMED])}{more}")
        reasons = reasons or ["what the stacker reads of its neighbours, or other settings"]
    return "; ".join(reasons)
