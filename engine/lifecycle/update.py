"""How does an index grow and shrink without being built again? The whole of `price add`, `remove` and `compact`.

Each makes a new generation out of the one in force. Files that stay as they are get a second name in it, the items
table is appended to, and the comparables are merged in price order, so that the cost is that of the new rows and of one
pass over the file that a query reads. The models stay: what they were trained on does not change here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.out_of_fold import FILE as OUT_OF_FOLD
from engine.ensemble.out_of_fold import STACKER, grow_out_of_fold, read_out_of_fold
from engine.ensemble.stacker import Goods, amounts
from engine.features.inputs import make_inputs
from engine.lifecycle.assign_added import DEPARTED, KNOWN_BY, read_departed, settle, write_departed
from engine.lifecycle.build import LEAST_GROUPS_PER_FOLD, REJECTS
from engine.lifecycle.drift import Drift, drift_of
from engine.serving.pricer import Pricer
from engine.serving.reference import FILE as COMPARABLES
from engine.serving.reference import (
    Comparables,
    OpenComparables,
    merge_comparables,
    open_comparables,
    write_comparables,
)
from engine.settings.read import settings_from
from index.catalogue.duplicates import with_duplicate_keys
from index.catalogue.items import Columns, Reject, read_catalogue, write_rejects
from index.catalogue.reader import Wanted, read_rows
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused, UsageError
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import Report, silent
from index.search.faiss_backend import FILE as FAISS_FILE
from index.search.lance_backend import TABLE as LANCE_TABLE
from index.storage.generations import CACHE, PARTIAL, current_generation, photograph_cache, writing
from index.storage.items_table import TABLE, ItemStore
from index.storage.items_update import compact_table, grow_table, is_wasteful, link_file
from index.storage.manifest import Manifest, read_manifest, write_manifest

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.ensemble.price_model import Base

    Int64 = NDArray[np.int64]

NAMED = 3  # ids named in a refusal
REWRITTEN = (f"{TABLE}.lance/", COMPARABLES, OUT_OF_FOLD, DEPARTED, FAISS_FILE, f"{LANCE_TABLE}.lance/")


@dataclass(frozen=True, kw_only=True)
class Grown:
    """What a new generation has that the one before it had not."""

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
    seconds: float

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
class _Newcomers:
    """n rows that come in."""

    items: pa.Table
    vectors: dict[str, NDArray[np.float32]]
    comparables: Comparables
    own: dict[str, NDArray[np.float64]]  # as in OutOfFold


@dataclass(frozen=True)
class _Old:
    """The generation that is grown from."""

    folder: Path
    manifest: Manifest
    rows: OpenComparables
    known: pa.Table  # (m,) KNOWN_BY
    trained: NDArray[np.bool_]  # (m,)

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, rows: OpenComparables) -> _Old:
        known = ItemStore.open(folder).items(KNOWN_BY)
        return cls(folder, manifest, rows, known, read_out_of_fold(folder).trained)

    def numbers(self, ids: Iterable[str]) -> Int64:
        """The numbers of the rows with these ids, rising; ids that there are not are passed over."""
        place = {item_id: row for row, item_id in enumerate(self.known["item_id"].to_pylist())}
        return np.array(sorted(place[item_id] for item_id in ids if item_id in place), np.int64)


def add_items(
    new: Path,
    index: Path,
    *,
    columns: Columns | None = None,
    image_dir: Path | None = None,
    replace_known: bool = False,
    runtime: Runtime = AUTO,
    report: Report = silent,
) -> Grown:
    """Append the priced items of a file to `index`; rows that cannot be used are listed as by a build.

    `replace_known`: an item whose id is in the index takes that row's place. Otherwise it raises DataRefused, and
    nothing changes. Raises IndexUnusable, IndexLocked, and whatever reading a catalogue and encoding raise.
    """
    started = time.monotonic()
    current_generation(index)  # a missing index is said before the file is read, and before a folder is made for it
    read = read_catalogue(new, columns or Columns(), priced=True, report=report)
    with writing(index) as folder:
        report("opening the index", 0, None)
        pricer = Pricer.of(current_generation(index), runtime)
        old = _Old.of(pricer.folder, pricer.manifest, pricer.rows)
        ids = read.items["item_id"].to_pylist()
        gone = old.numbers(ids)
        if len(gone) and not replace_known:
            raise DataRefused(_already_there(new, set(old.known["item_id"].to_pylist()), ids))
        photographs = Photographs(image_dir, photograph_cache(index), new.parent)
        vectors, absent = pricer.encoders.encode(read.items, photographs, index / CACHE, report)
        report("predicting", 0, None)
        images = read.items["image"].to_pylist()
        items = with_duplicate_keys(read.items, read_fingerprints(photographs, images).of(images))
        newcomers = _newcomers(pricer, old, items, vectors)
        compacted = _write(folder, old, gone, newcomers, report, rejects=read.rejects)
        drift = drift_of(folder)
    return Grown(
        generation=_finished(folder).name,
        rows=old.known.num_rows - len(gone) + read.items.num_rows,
        added=read.items.num_rows - len(gone),
        replaced=len(gone),
        rejected=Counter(reject.reason.partition(":")[0].partition(" (")[0] for reject in read.rejects),
        rejects_file=_finished(folder) / REJECTS if read.rejects else None,
        photographs_absent=Counter(reason for reason in absent if reason),
        compacted=compacted,
        drift=drift,
        seconds=time.monotonic() - started,
    )


def remove_items(ids: Iterable[str], index: Path, *, ignore_missing: bool = False, report: Report = silent) -> Grown:
    """Take the rows with these ids out of `index`: nobody's neighbours from now on, not shown and not scored.

    Raises DataRefused, and changes nothing, for an id that there is not (unless `ignore_missing`) and where too few
    rows would be left; UsageError where no id is given; IndexUnusable, IndexLocked.
    """
    started = time.monotonic()
    wanted = {item_id.strip() for item_id in ids} - {""}
    if not wanted:
        raise UsageError("No id is given: name the rows to remove, or a file of their ids with --file.")
    current_generation(index)
    with writing(index) as folder:
        old = _open(index, report)
        gone = old.numbers(wanted)
        if len(gone) < len(wanted) and not ignore_missing:
            raise DataRefused(_unknown(sorted(wanted - set(old.known["item_id"].to_pylist()))))
        _refuse_too_few_left(old, gone)
        compacted = _write(folder, old, gone, None, report)
        drift = drift_of(folder)
    return Grown(
        generation=_finished(folder).name,
        rows=old.known.num_rows - len(gone),
        removed=len(gone),
        compacted=compacted,
        drift=drift,
        seconds=time.monotonic() - started,
    )


def compact_index(index: Path, report: Report = silent) -> Grown:
    """Write table and comparables of `index` anew, so that the disk holds live rows alone."""
    started = time.monotonic()
    current_generation(index)
    with writing(index) as folder:
        old = _open(index, report)
        _write(folder, old, np.zeros(0, np.int64), None, report, compact=True)
        drift = drift_of(folder)
    return Grown(
        generation=_finished(folder).name,
        rows=old.known.num_rows,
        compacted=True,
        drift=drift,
        seconds=time.monotonic() - started,
    )


def read_ids(path: Path, column: str) -> list[str]:
    """The ids in a column of a CSV or Parquet file. DataRefused for a file or a row that cannot be read."""
    ids = []
    for row in (row for rows in read_rows(path, [Wanted("id", column, True)]) for row in rows):
        if row.fault or not (row.cells[0] or "").strip():
            raise DataRefused(f"{path} has no id in line {row.line} ({row.fault or 'empty'}): mend that line.")
        ids.append(str(row.cells[0]).strip())
    if not ids:
        raise DataRefused(f"{path} has a header and no rows.")
    return ids


def _open(index: Path, report: Report) -> _Old:
    """Without the models, which only new rows need."""
    report("opening the index", 0, None)
    folder = current_generation(index)
    return _Old.of(folder, read_manifest(folder), open_comparables(folder))


def _newcomers(pricer: Pricer, old: _Old, items: pa.Table, vectors: dict[str, NDArray[np.float32]]) -> _Newcomers:
    """Place, expectation and residual of each new row, by models that saw neither it nor a twin."""
    import pyarrow as pa

    known, fold_of_known = old.known, old.rows.fold
    if (departed := read_departed(old.folder)) is not None:
        known = pa.concat_tables([known, departed.select(KNOWN_BY).cast(known.schema)])
        fold_of_known = np.concatenate([fold_of_known, departed["fold"].to_numpy()])
    group, fold = settle(known, fold_of_known, items, pricer.model.models.folds)
    inputs = make_inputs(items, vectors)
    space = pricer.space.vectors(inputs)
    base = pricer.model.unseen(inputs, space, fold)
    log_price = items["log_price"].to_numpy().astype(np.float64)
    goods = Goods(log_price, inputs.unit, amounts(inputs))
    return _Newcomers(
        items.append_column("group", [group]),
        vectors,
        Comparables(items, space, goods, log_price - base.last, fold),
        _own(base),
    )


def _own(base: Base) -> dict[str, NDArray[np.float64]]:
    return base.members | ({} if base.stacked is None else {STACKER: base.stacked})


def _write(
    folder: Path,
    old: _Old,
    gone: Int64,
    new: _Newcomers | None,
    report: Report,
    *,
    rejects: list[Reject] | None = None,
    compact: bool = False,
) -> bool:
    """Everything of the new generation, the manifest last; whether its table was compacted.

    `rejects` of the file that it is made from; None where it is made from no file, and the old list stays.
    """
    report("writing the index", 0, None)
    search = settings_from(old.manifest.settings).search
    for path in old.manifest.files:
        if not path.startswith(REWRITTEN) and (rejects is None or path != REJECTS):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            link_file(old.folder / path, folder / path)
    grow_table(old.folder, folder, gone, new.items if new else None, new.vectors if new else {})
    if compacts := compact or is_wasteful(folder):
        compact_table(folder)
    if compact:
        write_comparables(folder, old.rows.everything(), search)
    else:
        merge_comparables(folder, old.rows, gone, new.comparables if new else None, search)
    stays = np.ones(old.known.num_rows, np.bool_)
    stays[gone] = False
    fold, own = (new.comparables.fold, new.own) if new else (np.zeros(0, np.int8), {})
    grow_out_of_fold(folder, old.folder, stays, fold, own)
    leaving = old.known.append_column("fold", [old.rows.fold]).filter(~stays & old.trained)
    write_departed(folder, read_departed(old.folder), leaving)
    if rejects:
        write_rejects(rejects, folder / REJECTS)
    _write_manifest(folder, old, int(stays.sum()) + len(fold), rejects)
    return compacts


def _write_manifest(folder: Path, old: _Old, rows: int, rejects: list[Reject] | None) -> None:
    manifest = replace(
        old.manifest,
        engine_version=version("price-engine"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=rows,
        rejected=old.manifest.rejected if rejects is None else len(rejects),
    )
    same = {
        path: digest
        for path, digest in old.manifest.files.items()
        if (folder / path).exists() and (folder / path).samefile(old.folder / path)
    }
    write_manifest(folder, manifest, same)


def _finished(partial: Path) -> Path:
    """What the folder of an unfinished generation is called once it is in force."""
    return partial.with_name(partial.name.removesuffix(PARTIAL))


def _refuse_too_few_left(old: _Old, gone: Int64) -> None:
    """An index stands on as many groups of twins as a build asks for."""
    left = np.delete(old.known["group"].to_numpy(), gone)
    groups, needed = len(np.unique(left)), LEAST_GROUPS_PER_FOLD * int(old.manifest.settings["folds"])
    if groups < needed:
        raise DataRefused(
            f"Without these {len(gone):,} rows the index would hold {len(left):,} rows in {groups:,} groups of twins, "
            f"and it stands on no fewer than {needed}: nothing was removed; add rows first, or build another index."
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
