"""Write and read the items and their vectors: one LanceDB table in a generation, read by batch, in row order.

The table keeps the items' columns as they are, and one `fixed_size_list<float32>` column per encoder. Rows are
addressed by position and nothing else, so no filter is ever built from text. How a table grows from one generation to
the next is said in `index.storage.items_update`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from index.arrays import Float32, chunks
from index.contents import expect, loading
from index.embedding.columns import VECTOR_PREFIX, vector_column
from index.errors import IndexUnusable
from index.search.price_order import are_unit
from index.storage.layout import ITEMS
from index.storage.manifest import Manifest

if TYPE_CHECKING:
    from lancedb.table import Table

TABLE = Path(ITEMS).stem  # Lance names a table as its folder, without the end
_BATCH = 4096  # rows: 6 MB of 384-d vectors


def write_items(folder: Path, items: pa.Table, vectors: Mapping[str, Float32]) -> None:
    """Write n items and each encoder's (n, dim) float32 vectors as `folder/items.lance`, a batch at a time."""
    connect(folder).create_table(TABLE, item_batches(items, vectors))


def item_batches(items: pa.Table, vectors: Mapping[str, Float32]) -> pa.RecordBatchReader:
    """Return n items and each encoder's (n, dim) float32 vectors as the batches that the table holds."""
    items = items.rename_columns([_stored(name) for name in items.column_names])
    columns = {vector_column(name): matrix for name, matrix in vectors.items()}
    assert len(columns) == len(vectors), f"two encoders share a column: {sorted(vectors)}"
    for name, matrix in columns.items():
        assert matrix.dtype == np.float32, f"{name} is {matrix.dtype}, not float32"
        assert matrix.ndim == 2 and len(matrix) == items.num_rows, f"{name}: {matrix.shape} for {items.num_rows} items"
    schema = items.schema.remove_metadata()
    for name, matrix in columns.items():
        schema = schema.append(pa.field(name, pa.list_(pa.float32(), matrix.shape[1]), nullable=False))
    return pa.RecordBatchReader.from_batches(schema, _batches(schema, items, columns))


def _batches(schema: pa.Schema, items: pa.Table, columns: Mapping[str, Float32]) -> Iterator[pa.RecordBatch]:
    for rows in chunks(items.num_rows, _BATCH):
        part = items.slice(rows.start, _BATCH).combine_chunks()
        arrays = [column.chunk(0) for column in part.columns]
        for matrix in columns.values():
            flat = matrix[rows].reshape(-1)
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), matrix.shape[1]))
        yield pa.record_batch(arrays, schema=schema)


class ItemStore:
    """An open table: `rows` items, in the order in which they were written."""

    def __init__(self, table: "Table", path: Path) -> None:
        self._table = table
        self._path = path
        self._schema: pa.Schema = table.schema
        self.rows: int = table.count_rows()

    @classmethod
    def open(cls, folder: Path, manifest: Manifest | None = None) -> "ItemStore":
        """Open `folder/items.lance`. IndexUnusable if it is not there, or is not a table of what `manifest` says."""
        path = folder / ITEMS
        if not path.is_dir():  # asked first, because connecting would make the folder
            raise IndexUnusable(f"{path} is missing from the index: build the index again with `price build-index`.")
        with loading(path):
            store = cls(connect(folder).open_table(TABLE), path)
            if manifest is not None:
                store._expect(manifest)
            return store

    def _expect(self, manifest: Manifest) -> None:
        """Raise WrongContents where rows, or an encoder's numbers, are not as many as the manifest says."""
        expect(self.rows == manifest.rows, f"it holds {self.rows:,} rows, the manifest says {manifest.rows:,}")
        for record in manifest.encoders:
            expect(record.column in self._schema.names, f"it has no column {record.column}")
            expected = pa.list_(pa.float32(), record.dim)
            expect(self._schema.field(record.column).type == expected, f"{record.column} is no {expected}")

    def items(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The items' columns (all of them, or those named, in that order), without vectors."""
        stored = (
            [name for name in self._schema.names if not name.startswith(VECTOR_PREFIX)]
            if columns is None
            else [_stored(name) for name in columns]
        )
        schema = pa.schema([self._schema.field(name) for name in stored])
        with loading(self._path):
            return pa.Table.from_batches(self._read(stored), schema).rename_columns([*map(unquote, stored)])

    def vectors(self, name: str) -> Float32:
        """An encoder's vectors, (rows, dim) float32, contiguous."""
        column = vector_column(name)
        if column not in self._schema.names:
            raise IndexUnusable(f"{self._path} has no vectors of {name!r}: build the index again with that encoder.")
        matrix: Float32 = np.empty((self.rows, self._schema.field(column).type.list_size), np.float32)
        filled = 0
        with loading(self._path):
            for batch in self._read([column]):
                part = batch.column(0).flatten().to_numpy(zero_copy_only=True).reshape(len(batch), -1)
                matrix[filled : filled + len(batch)] = part
                filled += len(batch)
            expect(filled == self.rows, f"{column} has {filled:,} rows of {self.rows:,}")
            expect(are_unit(matrix, or_zero=True), f"{column} holds what is no unit vector")
        return matrix

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns in storage order: Lance keeps it unless asked not to, and tests hold it to that."""
        query: Any = self._table.search().select(list(columns)).limit(max(self.rows, 1))
        yield from query.to_batches(batch_size=_BATCH)


def _stored(name: str) -> str:
    """Name of a column on the disk: a further one's may hold a dot or a backtick, which Lance takes for its own."""
    for letter in "%.`":
        name = name.replace(letter, f"%{ord(letter):02X}")
    return name


def connect(folder: Path) -> Any:
    """Open the folder as a LanceDB database."""
    import lancedb

    return lancedb.connect(folder)
