"""Update an index without building it again: the whole of `price add`, `remove` and `compact`.

Each makes a new generation out of the current one. Files that stay as they are get a second name in it, the items table
is appended to, and the reference set is merged in price order, so that the cost is that of the new rows and of one pass
over the file that a query reads. The models stay: what they were trained on does not change here.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.held_out import HeldOutPrices
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.ensemble.parts import expect_reference, expect_rows, index_columns, index_settings
from engine.ensemble.reference import ReferenceSet
from engine.features.training_set import TrainingSet
from engine.folds import LEAST_GROUPS_PER_FOLD
from engine.lifecycle.ages import ages, weights_of
from engine.lifecycle.assign_added import KNOWN_BY, assign_group_and_fold, read_removed, write_removed
from engine.lifecycle.drift import Drift, drift_of
from engine.lifecycle.generation import finish, link_unchanged, write_rejected
from engine.lifecycle.made_ids import note_on_repeated, refuse_to_replace, with_free_ids
from engine.serving.pricer import Pricer
from index.arrays import Float32, Float64, Int64
from index.catalogue.duplicates import with_duplicate_keys
from index.catalogue.further import with_further
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.reading import read_column
from index.catalogue.settings import FOUND, ReadSettings
from index.catalogue.shops.articles import cleaned_id
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused, UsageError
from index.files import PARTIAL
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.storage.generations import current_generation, writing
from index.storage.items_table import ItemStore
from index.storage.items_update import compact_table, grow_table, is_wasteful
from index.storage.layout import CACHE, REJECTS, Step, photograph_cache
from index.storage.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.settings.schema import Settings

NAMED = 3  # ids named in a refusal
# Added rows are asked about where half of them, and there are so many, differ by such a factor from what is expected.
LEAST_ROWS_OF_A_SCALE, ANOTHER_SCALE = 3, 20.0


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """Result of an update: what the new generation has that the one before it had not."""

    generation: str
    rows: int
    added: int = 0  # under ids that were not there
    replaced: int = 0
    removed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    rejects_file: Path | None = None
    photographs_absent: Counter[str] = field(default_factory=Counter)  # by reason
    compacted: bool
    drift: Drift | None  # where rows have been added since the build
    seconds: float = 0.0
    reading_notes: tuple[str, ...] = ()  # of a file of items: what it was taken for, first

    def to_json(self) -> dict[str, Any]:
        """The contract's keys first: rows, added, replaced, removed, rejected, generation, seconds."""
        counts = {name: getattr(self, name) for name in ("rows", "added", "replaced", "removed")}
        return {
            **counts,
            "rejected": self.rejected.total(),
            "generation": self.generation,
            "seconds": self.seconds,
            "compacted": self.compacted,
            "drift": self.drift and {**asdict(self.drift), "advice": self.drift.advice},
        }


@dataclass(frozen=True)
class _Old:
    """The generation that is updated."""

    folder: Path
    manifest: Manifest
    settings: Settings
    reference: ReferenceSet
    known: pa.Table  # (m,) KNOWN_BY
    oof: OutOfFold
    held_out: HeldOutPrices  # of the rows that are trained

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, reference: ReferenceSet) -> _Old:
        settings = index_settings(folder, manifest)
        expect_reference(folder, reference, manifest, settings)
        known, oof = ItemStore.open(folder, manifest).items(KNOWN_BY), OutOfFold.read(folder)
        expect_rows(folder, settings, reference, oof, known)
        held_out = HeldOutPrices.read(folder, np.flatnonzero(oof.trained))
        return cls(folder, manifest, settings, reference, known, oof, held_out)

    def used_ids(self) -> set[str]:
        """Ids of the rows, and of removed ones that the models were trained on."""
        removed = read_removed(self.folder)
        return {*self.known["item_id"].to_pylist(), *([] if removed is None else removed["item_id"].to_pylist())}

    def numbers(self, ids: Iterable[str]) -> Int64:
        """The numbers of the rows with these ids, rising; unknown ids are passed over."""
        place = {item_id: row for row, item_id in enumerate(self.known["item_id"].to_pylist())}
        return np.array(sorted(place[item_id] for item_id in ids if item_id in place), np.int64)


@dataclass(frozen=True)
class _Added:
    """n rows that come in."""

    items: pa.Table
    vectors: dict[str, Float32]  # column -> (n, dim)
    reference: ReferenceSet
    oof: dict[str, Float64]  # member -> (n,)


def add_items(
    new: Path,
    index_dir: Path,
    *,
    reading: ReadSettings | None = None,
    image_dir: Path | None = None,
    replace_known: bool = False,
    runtime: Runtime = AUTO,
    on_progress: OnProgress = silent,
) -> UpdateResult:
    """Append the priced items of a file; rows that cannot be used are listed as by a build.

    `replace_known`: an item whose id is in the index takes that row's place. Otherwise it raises DataRefused, and
    nothing changes. An item without an id takes no row's place; of a file of such items alone, to replace rows is
    refused. So are prices in another currency than the index's, and, without `reading.any_price`, prices of another
    order than the models expect and items without ids that seem to be there already. Raises IndexUnusable,
    IndexLocked, and whatever reading a catalogue and encoding raise.
    """
    started = time.monotonic()
    current = current_generation(index_dir)  # a missing index is said before a folder is made for it
    manifest = read_manifest(current, files=False)
    reading = (reading or FOUND).for_index(manifest.currency)
    columns = index_columns(current, manifest)
    read = read_catalogue(new, reading, priced=True, index=columns, on_progress=on_progress)
    if replace_known:
        refuse_to_replace(new, read)
    with writing(index_dir) as folder:
        on_progress("opening the index", 0, None)
        pricer = Pricer(current_generation(index_dir), runtime)
        read = replace(read, items=with_further(read.items, pricer.manifest.further))
        old = _Old.open(pricer.folder, pricer.manifest, pricer.reference)
        read.reading.require_currency(pricer.manifest.currency)
        if read.made_ids:
            read = with_free_ids(read, old.used_ids())
        notes = note_on_repeated(new, read, old.reference, any_price=reading.any_price)
        ids = read.items["item_id"].to_pylist()
        replaced = old.numbers(ids)
        if len(replaced) and not replace_known:
            raise DataRefused(_already_there(new, set(old.known["item_id"].to_pylist()), ids))
        photographs = Photographs(image_dir, photograph_cache(index_dir), new.parent)
        added, absent = _added(
            pricer, old, read.items, photographs=photographs, cache=index_dir / CACHE, on_progress=on_progress
        )
        if not reading.any_price:
            _refuse_another_scale(new, added.reference.residual)
        result = _write(folder, old, replaced, on_progress, added=added, read=read)
    return replace(
        result,
        added=read.items.num_rows - len(replaced),
        replaced=len(replaced),
        rejected=read.rejected,
        rejects_file=_finished(folder) / REJECTS if read.rejects else None,
        photographs_absent=Counter(reason for reason in absent if reason),
        seconds=time.monotonic() - started,
        reading_notes=(*read.reading_notes, *notes),
    )


def remove_items(
    ids: Iterable[str], index_dir: Path, *, ignore_missing: bool = False, on_progress: OnProgress = silent
) -> UpdateResult:
    """Remove the rows with these ids: nobody's neighbours from now on, not shown and not scored.

    Raises DataRefused, and changes nothing, for an id that there is not (unless `ignore_missing`) and where too few
    rows would be left; UsageError where no id is given; IndexUnusable, IndexLocked.
    """
    started = time.monotonic()
    given = {item_id.strip() for item_id in ids} - {""}
    if not given:
        raise UsageError("No id is given: name the rows to remove, or a file of their ids with --file.")
    current_generation(index_dir)
    with writing(index_dir) as folder:
        old = _open(index_dir, on_progress)
        removed = old.numbers(given)
        if len(removed) < len(given) and not ignore_missing:
            raise DataRefused(_unknown(sorted(given - set(old.known["item_id"].to_pylist()))))
        _refuse_too_few_left(old, removed)
        result = _write(folder, old, removed, on_progress)
    return replace(result, removed=len(removed), seconds=time.monotonic() - started)


def compact_index(index_dir: Path, on_progress: OnProgress = silent) -> UpdateResult:
    """Write the items table and the reference set anew, so that the disk holds no removed rows."""
    started = time.monotonic()
    current_generation(index_dir)
    with writing(index_dir) as folder:
        result = _write(folder, _open(index_dir, on_progress), np.zeros(0, np.int64), on_progress, compact=True)
    return replace(result, seconds=time.monotonic() - started)


def read_ids(path: Path, column: str | None = None) -> list[str]:
    """The ids in a column of a file. DataRefused for a file or a row that cannot be read."""
    ids = []
    for record in read_column(path, "id", column):
        item_id = cleaned_id(record.cells[0] or "")
        if record.fault or not item_id:
            raise DataRefused(f"{path} has no id in line {record.line} ({record.fault or 'empty'}): mend that line.")
        ids.append(item_id)
    if not ids:
        raise DataRefused(f"{path} has a header and no rows.")
    return ids


def _open(index_dir: Path, on_progress: OnProgress) -> _Old:
    """Open the current generation without the models, which only added rows need."""
    on_progress("opening the index", 0, None)
    folder = current_generation(index_dir)
    return _Old.open(folder, read_manifest(folder), ReferenceSet.open(folder))


def _added(
    pricer: Pricer, old: _Old, items: pa.Table, *, photographs: Photographs, cache: Path, on_progress: OnProgress
) -> tuple[_Added, list[str | None]]:
    """Search vector, prediction and residual of each added row, by models not trained on it or a near-duplicate."""
    import pyarrow as pa

    fingerprints = read_fingerprints(photographs, items["image"].to_pylist(), on_progress)
    items = with_duplicate_keys(
        items, fingerprints.of(items["image"].to_pylist()), whole_names=bool(pricer.settings.whole_names)
    )
    features = pricer.features(items, photographs, cache=cache, fingerprints=fingerprints, on_progress=on_progress)
    on_progress("predicting", 0, None)
    known, fold_of_known = old.known, old.reference.fold
    if (removed := read_removed(old.folder)) is not None:
        known = pa.concat_tables([known, removed.select(KNOWN_BY).cast(known.schema)])
        fold_of_known = np.concatenate([fold_of_known, removed["fold"].to_numpy()])
    group, fold = assign_group_and_fold(known, fold_of_known, items, pricer.model.models.folds)
    base = pricer.model.unseen(features.inputs, features.search_vectors, fold)
    log_price = items["log_price"].to_numpy().astype(np.float64)
    age_weight = _age_weight(pricer, items["date"])
    rows = TrainingSet(features.inputs, log_price, features.search_vectors, group, fold, age_weight)
    reference = ReferenceSet.build(items, rows, log_price - base.last)
    oof = base.members | ({} if base.stacked is None else {STACKER: base.stacked})
    return _Added(items.append_column("group", [group]), features.vectors, reference, oof), features.absent


def _age_weight(pricer: Pricer, dates: pa.ChunkedArray) -> Float64 | None:
    """(n,) what rows with these `dates` (n,) count for; None where the index has no half-life."""
    settings, known = pricer.settings, pricer.reference.age_weight
    if known is None:
        return None
    assert isinstance(settings.half_life, float) and settings.as_of is not None, settings
    return weights_of(ages(dates, settings.as_of), settings.half_life, undated=float(np.median(known)))


def _write(
    folder: Path,
    old: _Old,
    removed: Int64,
    on_progress: OnProgress,
    *,
    added: _Added | None = None,
    read: Catalogue | None = None,
    compact: bool = False,
) -> UpdateResult:
    """Write everything of the new generation, the manifest last.

    `read` from the file that it is made from; None where it is made from no file, and the old list of rejects stays.
    """
    on_progress("writing the index", 0, None)
    link_unchanged(folder, old.folder, old.manifest, Step.ADD if read else Step.COMPACT if compact else Step.REMOVE)
    grow_table(old.folder, folder, removed, added.items if added else None, added.vectors if added else {})
    if compacts := compact or is_wasteful(folder):
        compact_table(folder)
    reference = (
        old.reference.rebuilt() if compact else old.reference.merged(removed, added.reference if added else None)
    )
    reference.write(folder, old.settings.search)
    stays = np.ones(old.known.num_rows, np.bool_)
    stays[removed] = False
    oof = old.oof.take(np.flatnonzero(stays))
    if added:
        oof = oof.extended(added.reference.fold, added.oof)
    oof.write(folder)
    held_out = old.held_out.take(np.flatnonzero(stays[old.oof.trained]))
    held_out.among(np.flatnonzero(oof.trained), len(oof.fold)).write(folder)
    leaving = old.known.append_column("fold", [old.reference.fold]).filter(~stays & old.oof.trained)
    write_removed(folder, read_removed(old.folder), leaving)
    changes: dict[str, Any] = {}
    if read:
        write_rejected(folder, read.rejects)
        shared = old.manifest.shared.joined(read.shared.lines)  # or a query, or a later file, would be read otherwise
        changes = {"rejected": len(read.rejects), "shared_lines": tuple(sorted(shared.lines))}
    finish(folder, old.manifest, old.folder, rows=len(oof.fold), **changes)
    return UpdateResult(
        generation=_finished(folder).name,
        rows=len(oof.fold),
        compacted=compacts,
        drift=drift_of(oof.trained, reference.residual),
    )


def _finished(partial: Path) -> Path:
    """Name of an unfinished generation's folder once it is current."""
    return partial.with_name(partial.name.removesuffix(PARTIAL))


def _refuse_too_few_left(old: _Old, removed: Int64) -> None:
    """Raise DataRefused where fewer groups of near-duplicates would be left than a build asks for."""
    left = np.delete(old.known["group"].to_numpy(), removed)
    groups, needed = len(np.unique(left)), LEAST_GROUPS_PER_FOLD * (old.settings.folds or 0)
    if groups < needed:
        raise DataRefused(
            f"Without these {len(removed):,} rows the index would hold {len(left):,} rows in {groups:,} groups of "
            f"near-duplicates, and it stands on no fewer than {needed}: nothing was removed; add rows first, or build "
            "another index."
        )


def _refuse_another_scale(new: Path, residual: Float64) -> None:
    """Raise DataRefused where half of the added rows cost so much more or less than expected: (n,) residuals."""
    shift = float(np.median(residual))
    if len(residual) < LEAST_ROWS_OF_A_SCALE or abs(shift) < math.log(ANOTHER_SCALE):
        return
    factor = math.exp(abs(shift))
    raise DataRefused(
        f"The rows of {new} cost about {factor:,.0f} times {'more' if shift > 0 else 'less'} than the models expect: "
        "in cents, or in another currency or unit? Nothing was added; --yes adds them as they are."
    )


def _already_there(new: Path, known: set[str], ids: list[str]) -> str:
    there = [item_id for item_id in ids if item_id in known]
    more = f" (and {len(there) - 1:,} more)" if len(there) > 1 else ""
    return (
        f"The item {there[0]!r}{more} of {new} is in the index already: nothing was added; with --replace the new rows "
        "take the place of the old ones."
    )


def _unknown(ids: list[str]) -> str:
    named = ", ".join(map(repr, ids[:NAMED])) + (f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else "")
    return f"The index has no item {named}: nothing was removed; with --ignore-missing they are passed over."
