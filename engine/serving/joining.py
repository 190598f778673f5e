"""Join of the priced shards: OUT and the list of its rejects, in the order of the input."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    ShardJournal,
    parts_of,
    priced_file,
    read_table,
    record,
    rejects_of,
    sweep,
    system_refusals,
)
from index.catalogue.formats.records import plain_number
from index.catalogue.items import Reject, write_rejects
from index.files import PARTIAL, fsync, sha256_file
from index.visible import without_formula

if TYPE_CHECKING:
    import pyarrow as pa

FILES = (".csv", ".parquet")


def join(out: Path, journal: ShardJournal, output: Iterable[str], *, guard_formulas: bool) -> None:
    """Write OUT and its rejects from the parts, in the order of the shards, and put both in their places.

    With `guard_formulas`, no id in a CSV is taken for a formula by a spreadsheet.
    """
    parts, columns = parts_of(out), ["item_id", *output]
    tables = (read_table(priced_file(parts, shard)) for shard in range(journal.shards))
    names = [journal.id_column, *columns[1:]]
    chosen = (table.select(columns).rename_columns(names) for table in tables)

    def write(partial: Path) -> None:
        if out.suffix.lower() == ".csv":
            _write_csv(partial, chosen, without_formula if guard_formulas else str)
        else:
            write_parquet(partial, _with_typed_ids(chosen, exact_type(journal, parts)))

    put_in_place(out, journal, write)


def put_in_place(out: Path, journal: ShardJournal, write: Callable[[Path], None]) -> None:
    """Put what `write` makes, and the rejects, in their places; then the parts go."""
    parts = parts_of(out)
    with system_refusals(out):
        partial = parts / (out.name + PARTIAL)
        write(partial)
        fsync(partial)
        rejected = parts / rejects_of(out).name
        write_rejects(_rejects(parts, journal.shards), rejected)
        record(parts, "joined", sha256_file(partial))
        if sum(result.rows - result.priced for result in journal.results.values()):
            rejected.replace(rejects_of(out))
        else:
            rejects_of(out).unlink(missing_ok=True)  # of a run that OUT no longer stands for
        partial.replace(out)
        with contextlib.suppress(PermissionError):  # a folder that may be written and not read
            fsync(out.parent)
    sweep(parts)


def _rejects(parts: Path, shards: int) -> Iterator[Reject]:
    for shard in range(shards):
        table = read_table(priced_file(parts, shard)).select([LINE, "item_id", COLUMN, REASON])
        for line, item_id, column, reason in zip(*(cells.to_pylist() for cells in table.columns), strict=True):
            if reason:
                yield Reject(line, item_id[:80], column, reason)


def _write_csv(path: Path, tables: Iterator[pa.Table], guard: Callable[[str], str]) -> None:
    """Write ids as `guard` leaves them, numbers in the fewest digits that give them back; a list as JSON.

    Where there is nothing, nothing is written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for place, table in enumerate(tables):
            if place == 0:
                writer.writerow(table.column_names)
            for item_id, *row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                cells = (json.dumps(cell) if isinstance(cell, list) else cell for cell in row)
                writer.writerow((guard(item_id), *cells))


def exact_type(journal: ShardJournal, parts: Path) -> pa.DataType:
    """The type of the ids of the input, where every id can be one of it and still be written as it is; else text."""
    import pyarrow as pa

    signed, unsigned = (pa.int8(), pa.int16(), pa.int32(), pa.int64()), (pa.uint8(), pa.uint16(), pa.uint32())
    numbers = *signed, *unsigned, pa.uint64(), pa.float32(), pa.float64()
    kind = next((kind for kind in numbers if str(kind) == journal.id_type), None)
    if kind is None:
        return pa.string()
    for shard in range(journal.shards):
        ids = read_table(priced_file(parts, shard))["item_id"]
        try:
            typed = ids.cast(kind)
        except pa.ArrowInvalid:  # a row that has no id is named by its line
            return pa.string()
        if [plain_number(number) for number in typed.to_pylist()] != ids.to_pylist():
            return pa.string()
    return kind


def _with_typed_ids(tables: Iterable[pa.Table], kind: pa.DataType) -> Iterator[pa.Table]:
    return (table.set_column(0, table.column_names[0], table.column(0).cast(kind)) for table in tables)


def write_parquet(path: Path, tables: Iterator[pa.Table]) -> None:
    """Write tables of one schema, at least one, as a Parquet file."""
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
