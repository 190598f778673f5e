"""Records of Parquet files: of one, or of a folder or a pattern of them, if all have the same columns."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.catalogue.formats.records import BATCH, Record, Source, as_record, plain_number, unmistakable
from index.errors import DataRefused

if TYPE_CHECKING:
    import pyarrow as pa


def open_parquet(path: Path, files: Sequence[Path]) -> Source:
    """Open Parquet files, to be read one after the other.

    Fields of a struct become columns with dotted names. Raises `DataRefused` where a file is damaged, or has other
    columns than the first.
    """
    schemas = [_schema(file) for file in files]
    for file, schema in zip(files, schemas, strict=True):
        if not schema.equals(schemas[0]):
            odd = next((field for field in schema if field not in list(schemas[0])), None)
            odd = odd or next((field for field in schemas[0] if field not in list(schema)), None)
            which = f"{odd.name!r} of {odd.type} is in one of them alone" if odd else "they are in another order"
            raise DataRefused(f"{file} has other columns than {files[0].name} ({which}): name files of one kind.")
    kind = "Parquet" if list(files) == [path] else f"Parquet ({len(files)} file{'s' * (len(files) > 1)})"
    header = tuple(schemas[0].names)
    unread = [f"{field.name!r}" for field in schemas[0] if _as_text(field.type) is None]
    notes = (f"Not read, being neither text nor numbers: {', '.join(unread)}.",) if unread else ()
    types = {place: str(field.type) for place, field in enumerate(schemas[0])}
    return Source(path, kind, header, lambda columns, _: _batches(files, header, columns), 0, notes, types=types)


def parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files in a folder, at any depth, or those that a pattern names, in the order of their names.

    Raises `DataRefused` where there are none, or something else among those that a pattern names.
    """
    found = path.rglob("*.parquet") if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    files = sorted(file for file in found if file.is_file() and not is_hidden(file))
    for file in files:
        with file.open("rb") as opened:
            if opened.read(4) != b"PAR1":
                raise DataRefused(f"{file} is no Parquet file: several files can be named only where all are Parquet.")
    if not files:
        what = "is a folder without a .parquet file" if path.is_dir() else "names no file"
        raise DataRefused(f"{path} {what}: name a file with the items.")
    return files


def is_hidden(file: Path) -> bool:
    """Tell whether a file of a folder is none of the data, by its name."""
    return file.name.startswith((".", "_"))


def _schema(path: Path) -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_schema(path).remove_metadata().empty_table()
        while any(pa.types.is_struct(kind) for kind in table.schema.types):
            table = table.flatten()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path} is a damaged Parquet file: write it again.") from error
    return table.schema


def _batches(files: Sequence[Path], header: Sequence[str], columns: Sequence[int] | None) -> Iterator[list[Record]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = range(len(header)) if columns is None else columns
    doubled = len(set(header)) < len(header)  # then a name is not enough to read one
    number = 1
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                names = None if doubled else [header[place] for place in places]
                for batch in file.iter_batches(BATCH, columns=names):
                    table = pa.Table.from_batches([batch])
                    while any(pa.types.is_struct(kind) for kind in table.schema.types):
                        table = table.flatten()
                    cut = [
                        _cells(path, header[place], table.column(place if doubled else header[place]), columns is None)
                        for place in places
                    ]
                    cells = zip(*cut, strict=True) if cut else [()] * len(batch)
                    yield list(map(as_record, zip(count(number), cells, repeat(""))))
                    number += len(batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataRefused(f"{path} is a damaged Parquet file: write it again.") from error


def _cells(path: Path, name: str, column: "pa.ChunkedArray", every: bool) -> list[str | None]:
    """Return a column as cells like those of a CSV file; None, where `every` column is read, for one of no text."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            column, kind = column.cast(pa.large_string()), pa.large_string()
        except pa.ArrowInvalid:
            if not every:
                raise
            return [None] * len(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.to_pylist()  # type: ignore[no-any-return]
    as_text = _as_text(kind)
    if as_text is None:
        if every:
            return [None] * len(column)
        raise DataRefused(f"{path}: column {name!r} holds {kind}, which is neither text nor numbers: convert it.")
    return [None if value is None else as_text(value) for value in column.to_pylist()]


def _as_text(kind: "pa.DataType") -> Callable[[Any], str] | None:
    """Return how a value of a type is written; None where that is not plain."""
    import pyarrow as pa

    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if (types.is_list(kind) or types.is_large_list(kind)) and not types.is_nested(kind.value_type):
        entry = _as_text(kind.value_type)
        return entry and (lambda values: ",".join("" if value is None else entry(value) for value in values))
    plain: list[tuple[Callable[[pa.DataType], bool], Callable[[Any], str]]] = [
        (types.is_floating, plain_number),
        (types.is_boolean, lambda value: "true" if value else "false"),
        (types.is_temporal, lambda value: value.isoformat() if hasattr(value, "isoformat") else str(value)),
        (types.is_decimal, lambda value: unmistakable(str(value))),
        *((is_kind, str) for is_kind in (types.is_integer, types.is_string, types.is_large_string)),
        *((is_kind, str) for is_kind in (types.is_null, types.is_binary, types.is_large_binary)),
    ]
    return next((as_text for is_kind, as_text in plain if is_kind(kind)), None)
