"""Rows of a file: CSV or Parquet, told apart by the bytes, as cells of the columns asked for, in batches.

Whole files are refused here (`DataRefused`, one sentence): missing, a folder, empty, UTF-16, no text at all, damaged
Parquet, doubled or missing columns. A row that cannot be cut into cells is passed on with its fault: what becomes of it
is decided by the caller. A wrong column is the data refused (exit 3), not a usage error, also where an option named it:
which of the two is wrong only the user knows.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from index.catalogue.columns import ColumnSpec, find_columns
from index.errors import DataRefused

if TYPE_CHECKING:
    from _csv import Reader

    import pyarrow as pa

BATCH = 4_096  # rows
BATCH_CHARACTERS = 32_000_000  # a batch ends here too, where cells are huge
LINE_LIMIT = 16_000_000  # characters that one line, or one cell over many lines, may have before the file is given up
UNCLOSED_LINES = 100  # a quote open at the end of the file is a row cut short, if it took no more lines than this
NOT_UTF8 = "not UTF-8"

_DELIMITERS = ",;\t"
_UNDECODED = re.compile(r"[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that is not UTF-8
_OTHER_KINDS = {
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"PK\x03\x04": "is a zip file or a spreadsheet: export it as CSV (UTF-8) or Parquet",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: export it as CSV (UTF-8) or Parquet",
    b"\x1f\x8b": "is compressed: unpack it first",
}


class Row(NamedTuple):
    """One row of a file."""

    line: int  # where it starts, the header's line being 1; in Parquet the row's number
    cells: tuple[str | None, ...]  # of the columns asked for, in their order
    fault: str  # why the row could not be cut into cells, "" if it could


def read_rows(path: Path, specs: Sequence[ColumnSpec]) -> Iterator[list[Row]]:
    """Read a CSV or Parquet file in batches of rows, with one batch in memory at a time. Raises `DataRefused`."""
    head = _first_bytes(path)
    rows = _parquet_rows(path, specs) if head.startswith(b"PAR1") else _csv_rows(path, head, specs)
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(cell or "") for cell in row.cells)
        if len(batch) == BATCH or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    yield batch


def _first_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DataRefused(f"{path} is a folder: name the CSV or Parquet file in it.")
        if path.exists() and not path.is_file():
            raise DataRefused(f"{path} is not a regular file: save the data to a file first.")
        with path.open("rb") as file:
            head = file.read(4_096)
    except FileNotFoundError as error:
        raise DataRefused(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}.") from error
    for magic, sentence in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise DataRefused(f"{path} {sentence}.")
    if abs(head[::2].count(b"\0") - head[1::2].count(b"\0")) * 3 > len(head):  # every other byte
        raise DataRefused(f"{path} looks like UTF-16 without its mark: save it as UTF-8.")
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataRefused(f"{path} is empty: it needs a header and rows.")
    return head


def _csv_rows(path: Path, head: bytes, specs: Sequence[ColumnSpec]) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))  # the module has one limit, for everybody
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(_lines(path, text), delimiter=_delimiter(head, specs), strict=True)
        records = _records(path, reader)
        _, header, fault = next(records, (0, [], "no text"))
        if fault or any(_UNDECODED.search(name) or "\0" in name for name in header):
            raise DataRefused(f"{path} has no readable header ({fault or NOT_UTF8}): save it as CSV in UTF-8.")
        positions = find_columns(path, header, specs)
        for start, cells, unread in records:
            chosen = tuple(cells[at] if at is not None and at < len(cells) else None for at in positions)
            if unread:
                fault = unread
            elif len(cells) != len(header):
                fault = f"{len(cells)} cells where the header has {len(header)}{_span(start, reader.line_num)}"
            else:
                fault = NOT_UTF8 if any(cell and _UNDECODED.search(cell) for cell in chosen) else ""
            yield Row(start, chosen, fault)


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(LINE_LIMIT):
        number += 1
        if len(line) == LINE_LIMIT:
            raise DataRefused(f"{path}: line {number} has over {LINE_LIMIT} characters: is this a catalogue?")
        yield line


def _records(path: Path, reader: "Reader") -> Iterator[tuple[int, list[str], str]]:
    """Each record as (first line, cells, fault), blank lines left out. Strict, so that a stray quote cannot pass."""
    while True:
        start = reader.line_num + 1
        try:
            cells, fault = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            cells, fault = [], _quote_fault(path, str(error), start, reader.line_num)
        if cells or fault:
            yield start, cells, fault


def _quote_fault(path: Path, error: str, start: int, end: int) -> str:
    """Return the fault of a record's quotes; refuse the file where an open one swallowed more lines than a row has."""
    if "end of data" not in error and "field limit" not in error:
        return f"a misplaced quote{_span(start, end)}"
    if "field limit" in error or end - start > UNCLOSED_LINES:
        raise DataRefused(f"{path}: a quote opened in the row at line {start} is not closed by line {end}: close it.")
    return f"a quote that is never closed{_span(start, end)}"


def _span(start: int, end: int) -> str:
    return f" (lines {start} to {end}: is a quote missing?)" if end > start else ""


def _delimiter(head: bytes, specs: Sequence[ColumnSpec]) -> str:
    """The delimiter by which the header shows most of the columns to read, and of those equal the most columns."""
    first_line = head.decode("utf-8-sig", "replace").lstrip().splitlines()[0]

    def shows(delimiter: str) -> tuple[int, int]:
        names = [name.strip(' "') for name in first_line.split(delimiter)]
        return sum(spec.name in names for spec in specs), len(names)

    return max(_DELIMITERS, key=shows)


def _parquet_rows(path: Path, specs: Sequence[ColumnSpec]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            header = file.schema_arrow.names
            names = [None if place is None else header[place] for place in find_columns(path, header, specs)]
            line = 1
            for batch in file.iter_batches(BATCH, columns=[name for name in names if name is not None]):
                columns = [
                    [None] * len(batch) if name is None else _cells(path, name, batch.column(name)) for name in names
                ]
                for cells in zip(*columns, strict=True):
                    yield Row(line, cells, "")
                    line += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path} is a damaged Parquet file: write it again.") from error


def _cells(path: Path, name: str, column: "pa.Array") -> list[str | None]:
    """A Parquet column as cells like those of a CSV file; whole floats lose their ".0", so that ids stay ids."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string())
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_floating(kind):
        return [None if value is None else repr(value).removesuffix(".0") for value in column.to_pylist()]
    raise DataRefused(f"{path}: column {name!r} holds {kind}, which is neither text nor numbers: convert it.")
