"""Rows in price order as one Arrow file that is mapped into memory: vectors, codes for a scan, and any columns beside.

To open it sorts nothing, copies no vector, and reads none before it is needed. Rows without a vector, which nobody can
find, come last. It knows nothing of what the other columns mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from index.arrays import Float32, Float64, Int8, Int64
from index.contents import expect
from index.search.dense import SCAN_ROWS
from index.search.int8.codes import ROUNDING, Codes, Level, Projection, encode_rows
from index.search.price_order import PriceOrder, are_unit, positions_by_price, present, refuse_unless_finite

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ROW, LOG_PRICE, FOLD, VECTORS = "row", "log_price", "fold", "search_vectors"  # columns that every table has
CODE, COARSE = "code", "coarse"  # what the names of the columns begin with that a scan reads
OUTSIDE_NORM = f"{COARSE}_outside_norm"
LOOKED_AT = 2048  # rows of a table whose vectors are looked at when it is opened
FOUND, DIRECTIONS = b"found", b"directions"  # metadata: rows with a vector; the directions of the coarse codes


class SearchTable:
    """A table of m rows, known by their number in the catalogue."""

    def __init__(self, table: pa.Table) -> None:
        row, found = table[ROW].to_numpy(), int(table.schema.metadata[FOUND])
        self.table = table
        self.position = np.zeros(len(row), np.int64)  # (m,) of each row, by its number
        self.position[row] = np.arange(len(row))
        self.order = PriceOrder(
            _matrix(table[VECTORS])[:found],
            table[LOG_PRICE].to_numpy()[:found].astype(np.float32),
            row[:found],
            table[FOLD].to_numpy()[:found].astype(np.int64),
            _read_codes(table, found),
        )

    @classmethod
    def build(cls, beside: pa.Table, log_price: Float64, fold: Int8, vectors: Float32) -> Self:
        """Build a table of n rows in the catalogue's order, each (n,) or (n, dim); `beside` holds the other columns.

        Raises DataRefused for NaN or infinity.
        """
        import pyarrow as pa

        there = present(vectors, "row of the catalogue")
        refuse_unless_finite(log_price, "log prices", "row of the catalogue")
        found = positions_by_price(log_price.astype(np.float32), there)
        row = np.concatenate([found, np.flatnonzero(~there)])
        columns = {ROW: row, LOG_PRICE: log_price[row], FOLD: fold[row]}
        table = _appended(
            beside.take(row).combine_chunks().replace_schema_metadata(),
            {**{name: pa.array(values) for name, values in columns.items()}, VECTORS: _lists(vectors[row])},
        )
        return cls(_finished(table, len(found)))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open what `write` wrote; the caller has checked the file's hash. WrongContents for what no build writes."""
        import pyarrow as pa

        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        row, found = table[ROW].to_numpy(), int(table.schema.metadata[FOUND])
        expect(0 <= found <= len(row), f"of {len(row):,} rows {found:,} have a vector")
        expect(len(row) and row.min() == 0 and row.max() == len(row) - 1, "a row's number is out of range")
        opened = cls(table)
        expect((row[opened.position] == np.arange(len(row))).all(), "two rows have one number")
        opened._expect_order()
        return opened

    def _expect_order(self) -> None:
        """Raise WrongContents unless rows lie in price order, with unit vectors; of many rows, some are looked at."""
        log_price, order = self.table[LOG_PRICE].to_numpy(), self.order
        expect(np.isfinite(log_price).all(), "a price is no number")
        expect((np.diff(order.log_price) >= 0).all(), "the rows are not in price order")
        sample = slice(None, None, max(1, len(order.rows) // LOOKED_AT))
        vectors = order.vectors[sample]
        expect(are_unit(vectors), f"{VECTORS} holds what is no unit vector")
        if order.codes is not None:
            level = order.codes.whole
            expect(level.code.shape[1] >= vectors.shape[1], "the codes are too short")
            lost = vectors - level.scale[sample, None] * level.code[sample, : vectors.shape[1]]
            expect(
                (np.linalg.norm(lost, axis=1) <= level.error[sample] + ROUNDING).all(), "the codes are of other vectors"
            )

    def write(self, path: Path) -> None:
        """Write an Arrow file of one chunk, so that arrays map without a copy."""
        import pyarrow as pa

        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, self.table.schema) as writer:
            writer.write_table(self.table, max_chunksize=max(1, self.table.num_rows))

    def column(self, name: str) -> NDArray[Any]:
        """Copy a column (m,) in the order of the catalogue."""
        values: NDArray[Any] = self.table[name].to_numpy()
        return values[self.position]

    def vectors(self) -> Float32:
        """Copy the search vectors (m, dim) in the order of the catalogue."""
        return _matrix(self.table[VECTORS])[self.position]

    def with_column(self, name: str, values: NDArray[Any]) -> SearchTable:
        """Return the table with other values (m,), in the catalogue's order, of a column that is not searched by."""
        return SearchTable(_replaced(self.table, name, values[self.table[ROW].to_numpy()]))

    def rebuilt(self) -> SearchTable:
        """Return the same rows with codes by directions of their own."""
        return SearchTable(_finished(_without_codes(self.table), len(self.order.rows)))

    def merged(self, removed: Int64, added: SearchTable | None) -> SearchTable:
        """Merge these rows but `removed` (r,) with the `added` ones into what `build` would make of them.

        What lies between two added or removed rows is copied as it is. Rows keep their codes, and added ones get theirs
        by the directions that were fixed when the table was first built.
        """
        import pyarrow as pa

        table, found, row = self.table, len(self.order.rows), self.table[ROW].to_numpy()
        stays = np.ones(len(row), np.bool_)
        stays[removed] = False
        kept = np.flatnonzero(stays[row])
        first, rest = kept[kept < found], kept[kept >= found]
        pieces = [_replaced(table, ROW, (np.cumsum(stays) - 1)[row])]
        if added is not None:
            new, count, added_found = added.table, added.table.num_rows, len(added.order.rows)
            new = _replaced(new, ROW, new[ROW].to_numpy() + int(stays.sum()))
            place = np.searchsorted(self.order.log_price[first], added.order.log_price, side="right")
            first = np.insert(first, place, len(row) + np.arange(added_found))
            rest = np.concatenate([rest, len(row) + np.arange(added_found, count)])
            if CODE in table.column_names:
                new = _with_codes(_without_codes(new), self.order.codes)
            pieces.append(new.select(table.column_names))
        merged = _gathered(pa.concat_tables(pieces), np.concatenate([first, rest]))
        return SearchTable(_finished(merged.replace_schema_metadata(table.schema.metadata), len(first)))


def _finished(table: pa.Table, found: int) -> pa.Table:
    """Add codes where there are rows enough for a scan, and the number of rows that can be found."""
    if found < SCAN_ROWS:
        table = _without_codes(table)
    elif CODE not in table.column_names:
        table = _with_codes(table)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), FOUND: str(found).encode()})


def _with_codes(table: pa.Table, like: Codes | None = None) -> pa.Table:
    """Add the columns that a scan reads, by the directions of `like` where it is given."""
    import pyarrow as pa

    codes = encode_rows(_matrix(table[VECTORS]), like)
    columns, metadata = _code_columns(CODE, codes.whole), {}
    if codes.coarse is not None:
        columns |= _code_columns(COARSE, codes.coarse.level) | {OUTSIDE_NORM: pa.array(codes.coarse.outside_norm)}
        metadata[DIRECTIONS] = codes.coarse.directions.astype("<f4").tobytes()
    return _appended(table, columns).replace_schema_metadata(metadata)


def _without_codes(table: pa.Table) -> pa.Table:
    plain = [name for name in table.column_names if not name.startswith((CODE, COARSE))]
    return table.select(plain).replace_schema_metadata()


def _gathered(table: pa.Table, position: Int64) -> pa.Table:
    """Rows at `position` in one chunk; runs of them are copied whole, which is what a merge mostly consists of."""
    import pyarrow as pa

    ends = np.flatnonzero(np.diff(position) != 1) + 1
    starts, lengths = position[np.r_[0, ends]], np.diff(np.r_[0, ends, len(position)])
    pieces = [table.slice(start, length) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]
    return pa.concat_tables(pieces).combine_chunks()


def _replaced(table: pa.Table, name: str, values: NDArray[Any]) -> pa.Table:
    import pyarrow as pa

    return table.set_column(table.column_names.index(name), name, pa.array(values))


def _appended(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _code_columns(name: str, level: Level) -> dict[str, Any]:
    import pyarrow as pa

    return {name: _lists(level.code), f"{name}_scale": pa.array(level.scale), f"{name}_error": pa.array(level.error)}


def _read_codes(table: Any, found: int) -> Codes | None:
    if CODE not in table.column_names:
        return None
    coarse = None
    if COARSE in table.column_names:
        dim = table[VECTORS].type.list_size
        directions = np.frombuffer(table.schema.metadata[DIRECTIONS], "<f4").reshape(-1, dim)
        assert table[COARSE].type.list_size >= len(directions), (table[COARSE].type, directions.shape)
        coarse = Projection(_level(table, COARSE, found), table[OUTSIDE_NORM].to_numpy()[:found], directions)
    return Codes(_level(table, CODE, found), coarse)


def _level(table: Any, name: str, found: int) -> Level:
    scale, error = (table[f"{name}_{part}"].to_numpy()[:found] for part in ("scale", "error"))
    return Level(_matrix(table[name])[:found], scale, error)


def _lists(matrix: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _matrix(column: Any) -> NDArray[Any]:
    lists = column.chunk(0)
    size = lists.type.list_size
    values = lists.values.slice(lists.offset * size, len(lists) * size)  # `flatten` would import pyarrow.compute
    matrix: NDArray[Any] = values.to_numpy().reshape(-1, size)
    return matrix
