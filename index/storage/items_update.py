"""How does the items table grow? Rows are appended and struck out; the vectors that stay are not written again.

A generation never changes, so the next one starts as a copy of its table in which the data files are hard links: Lance
writes beside what is there and never into it. An append is a new file of the new rows; rows that went are struck out in
a small file beside the data and keep their space until the table is compacted. Of Lance's versions only the newest is
kept, for generations are what a reader goes by.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.storage.items_table import TABLE, connect, item_batches

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MOST_DEAD = 0.5  # dead rows for each live one, beyond which the table is compacted
MOST_PIECES = 100  # of a table: every one is opened by every reading
STRUCK_AT_ONCE = 10_000  # rows in one deletion
_BATCH = 4096  # rows copied at once: 6 MB of 384-d vectors
_VERSIONS, _DATA, _DELETIONS, _TRANSACTIONS = "_versions", "data", "_deletions", "_transactions"


def link_file(source: Path, target: Path) -> bool:
    """Give a finished file a second name; a copy where the disk has no links. Says whether it is the same file."""
    try:
        os.link(source, target)
    except OSError:  # another disk, a file system without links, or too many of them
        shutil.copyfile(source, target)
        return False
    return True


def grow_table(
    old: Path, folder: Path, gone: NDArray[np.int64], items: pa.Table | None, vectors: Mapping[str, NDArray[np.float32]]
) -> None:
    """Write `folder`/items.lance: the table of generation `old` without its rows `gone`, and with n items behind.

    `gone` (g,) row numbers; `items` may be None; `vectors` (n, dim) by encoder, as in `write_items`.
    """
    source, target = (each / f"{TABLE}.lance" for each in (old, folder))
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(parents=True)
        elif path.parent.name == _DATA:
            link_file(path, to)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)  # small, and Lance may replace it
    table = connect(folder).open_table(TABLE)
    _strike(table, gone)
    if items is not None and items.num_rows:
        table.add(item_batches(items, vectors))
    _forget_versions(target, _census(folder)["total_data_files"])


def is_wasteful(folder: Path) -> bool:
    """Whether the table holds so many dead rows, or lies in so many pieces, that it should be compacted."""
    made = _census(folder)
    dead = made["total_data_file_rows"] - made["total_rows"]
    return dead > MOST_DEAD * made["total_rows"] or made["total_data_files"] > MOST_PIECES


def compact_table(folder: Path) -> None:
    """Write the table of an unfinished generation anew: its live rows in their order, a batch at a time."""
    import pyarrow as pa

    aside, path = folder / "compact", folder / f"{TABLE}.lance"
    table = connect(folder).open_table(TABLE)
    rows = table.search().limit(max(table.count_rows(), 1)).to_batches(batch_size=_BATCH)
    connect(aside).create_table(TABLE, pa.RecordBatchReader.from_batches(table.schema, rows))
    shutil.rmtree(path)
    (aside / path.name).rename(path)
    aside.rmdir()


def _strike(table: Any, gone: NDArray[np.int64]) -> None:
    """Delete rows by their number; the filter holds whole numbers alone."""
    if not len(gone):
        return
    query = table.search().with_row_id(True).select([]).limit(table.count_rows())
    number = query.to_arrow()["_rowid"].to_numpy()[gone]
    for at in range(0, len(number), STRUCK_AT_ONCE):
        table.delete(f"_rowid IN ({', '.join(map(str, number[at : at + STRUCK_AT_ONCE].tolist()))})")


def _census(folder: Path) -> dict[str, int]:
    """What Lance counts: total_rows (live), total_data_file_rows, total_data_files."""
    versions = connect(folder).open_table(TABLE).list_versions()
    return {name: int(count) for name, count in max(versions, key=lambda each: each["version"])["metadata"].items()}


def _forget_versions(table: Path, data_files: int) -> None:
    """Remove every file that the newest version, which has so many data files, does not name.

    LanceDB does this only together with rewriting the whole table. A version's file holds the names of its data files
    as they are; deletions are named FRAGMENT-VERSION-NUMBER, and a fragment's newest says all that was struck out.
    """
    versions = sorted(
        (table / _VERSIONS).glob("*.manifest")
    )  # named by the largest number less their own: newest first
    said = versions[0].read_bytes()
    unnamed = [path for part in (_DATA, _TRANSACTIONS) for path in (table / part).glob("*")]
    named = [path for path in unnamed if path.name.encode() in said]
    assert sum(path.parent.name == _DATA for path in named) == data_files, f"{versions[0]} names other data"
    newest: dict[str, Path] = {}
    for path in sorted((table / _DELETIONS).glob("*"), key=lambda each: int(each.name.split("-")[1])):
        newest[path.name.split("-")[0]] = path
    kept = {versions[0], *named, *newest.values()}
    for path in [*versions, *unnamed, *(table / _DELETIONS).glob("*")]:
        if path not in kept:
            path.unlink()
