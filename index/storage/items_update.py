"""Append rows to the items table and delete others; the vectors that stay are not written again.

A generation never changes, so the next one starts as a copy of its table in which the data files are hard links: Lance
writes beside what is there and never into it. An append is a new file of the new rows; deleted rows are named in a
small file beside the data and keep their space until the table is compacted. Of Lance's versions only the newest is
kept, for generations are what a reader goes by.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.arrays import Float32, Int64, chunks
from index.files import link_or_copy
from index.storage.items_table import TABLE, connect, item_batches
from index.storage.layout import ITEMS

if TYPE_CHECKING:
    import pyarrow as pa

MOST_DELETED = 0.5  # deleted rows for each one left, beyond which the table is compacted
MOST_DATA_FILES = 100  # of a table: every one is opened by every reading
DELETED_AT_ONCE = 10_000  # rows in one deletion
_BATCH = 4096  # rows copied at once: 6 MB of 384-d vectors
_VERSIONS, _DATA, _DELETIONS, _TRANSACTIONS = "_versions", "data", "_deletions", "_transactions"


def grow_table(old: Path, folder: Path, removed: Int64, items: pa.Table | None, vectors: Mapping[str, Float32]) -> None:
    """Write `folder`/items.lance: the table of generation `old` without its rows `removed`, and with n items behind.

    `removed` (r,) row numbers; `items` may be None; `vectors` (n, dim) by encoder, as in `write_items`.
    """
    source, target = old / ITEMS, folder / ITEMS
    target.mkdir()
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir()
        elif path.parent.name == _DATA:
            link_or_copy(path, to)
        else:
            shutil.copyfile(path, to)  # small, and Lance may replace it
    table = connect(folder).open_table(TABLE)
    _delete(table, removed)
    if items is not None and items.num_rows:
        table.add(item_batches(items, vectors))
    _forget_versions(target, _census(folder)["total_data_files"])


def is_wasteful(folder: Path) -> bool:
    """Tell whether the table holds so many deleted rows, or lies in so many files, that it should be compacted."""
    counts = _census(folder)
    deleted = counts["total_data_file_rows"] - counts["total_rows"]
    return deleted > MOST_DELETED * counts["total_rows"] or counts["total_data_files"] > MOST_DATA_FILES


def compact_table(folder: Path) -> None:
    """Write the table of an unfinished generation anew: the rows left, in their order, a batch at a time."""
    import pyarrow as pa

    aside, path = folder / "compact", folder / ITEMS
    table = connect(folder).open_table(TABLE)
    rows = table.search().limit(max(table.count_rows(), 1)).to_batches(batch_size=_BATCH)
    connect(aside).create_table(TABLE, pa.RecordBatchReader.from_batches(table.schema, rows))
    shutil.rmtree(path)
    (aside / path.name).rename(path)
    aside.rmdir()


def _delete(table: Any, rows: Int64) -> None:
    """Delete rows by their number; the filter holds whole numbers alone."""
    if not len(rows):
        return
    query = table.search().with_row_id(True).select([]).limit(table.count_rows())
    ids = query.to_arrow()["_rowid"].to_numpy()[rows]
    for part in chunks(len(ids), DELETED_AT_ONCE):
        table.delete(f"_rowid IN ({', '.join(map(str, ids[part].tolist()))})")


def _census(folder: Path) -> dict[str, int]:
    """Counts that Lance keeps: total_rows (without deleted ones), total_data_file_rows, total_data_files."""
    versions = connect(folder).open_table(TABLE).list_versions()
    newest = max(versions, key=lambda version: version["version"])
    return {name: int(count) for name, count in newest["metadata"].items()}


def _forget_versions(table: Path, data_files: int) -> None:
    """Remove every file that the newest version, which has so many data files, does not name.

    LanceDB does this only together with rewriting the whole table. A version's file holds the names of its data files
    as they are; deletions are named FRAGMENT-VERSION-NUMBER, and a fragment's newest says all that was deleted.
    """
    versions = sorted(
        (table / _VERSIONS).glob("*.manifest")
    )  # named by the largest number less their own: newest first
    names = versions[0].read_bytes()
    files = [path for folder in (_DATA, _TRANSACTIONS) for path in (table / folder).glob("*")]
    named = [path for path in files if path.name.encode() in names]
    assert sum(path.parent.name == _DATA for path in named) == data_files, f"{versions[0]} names other data"
    deletions = sorted((table / _DELETIONS).glob("*"), key=lambda path: int(path.name.split("-")[1]))
    newest = {path.name.split("-")[0]: path for path in deletions}
    kept = {versions[0], *named, *newest.values()}
    for path in [*versions, *files, *deletions]:
        if path not in kept:
            path.unlink()
