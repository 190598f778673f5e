"""Records of Parquet files; of a folder or a pattern of them, if all have the same columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from index.catalogue.formats.records import BATCH, Record, Source, Tally, in_batches
from index.errors import DataRefused

if TYPE_CHECKING:
    import pyarrow as pa


def open_parquet(path: Path, files: Sequence[Path]) -> Source:
    """Open Parquet files, read one after the other. Raises `DataRefused` where one is damaged, or has other columns."""
    schemas = [_schema(file) for file in files]
    for file, schema in zip(files, schemas, strict=True):
        if not schema.equals(schemas[0]):
            odd = next(iter(set(schema) ^ set(schemas[0])), None)
            which = f" ({odd.name!r}: {odd.type})" if odd is not None else " (in another order)"
            raise DataRefused(f"{file} has other columns than {files[0].name}{which}: name files of one kind.")
    kind = "Parquet" if len(files) == 1 and files[0] == path else f"Parquet ({len(files)} files)"
    header = tuple(schemas[0].names)
    return Source(path, kind, header, lambda columns, tally: in_batches(_records(files, header, columns, tally)))


def _schema(file: Path) -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file).remove_metadata()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{file} is a damaged Parquet file: write it again.") from error


def _records(
    files: Sequence[Path], header: Sequence[str], columns: Sequence[int] | None, tally: Tally
) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = range(len(header)) if columns is None else columns
    doubled = len(set(header)) < len(header)  # then a name is not enough to read one
    number = 0
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                names = None if doubled else [header[place] for place in places]
                for batch in file.iter_batches(BATCH, columns=names):
                    cut = [
                        cells_of(path, header[place], batch.column(place if doubled else header[place]))
                        for place in places
                    ]
                    for cells in zip(*cut, strict=True) if cut else [()] * len(batch):
                        number += 1
                        yield Record(number, cells, "")
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataRefused(f"{path} is a damaged Parquet file: write it again.") from error


def cells_of(path: Path, name: str, column: "pa.Array") -> list[str | None]:
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
