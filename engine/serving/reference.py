"""What a query hears of the catalogue: every row's place in the search space, price, residual, and what to show of it.

Drawn from the items table and the models at build, in one Arrow file that is mapped into memory. Its rows lie in price
order, as a search wants them, with the bytes that a large index is scanned by: to open it sorts nothing, copies no
vector, and reads none before it is asked for. What the search's backend keeps for itself lies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.stacker import Goods
from index.search.backends import AUTO, at_open, choose, write_backend
from index.search.dense import SCAN_ROWS
from index.search.int8_codes import Codes, Head, Level, encode_rows
from index.search.neighbours import BandIndex
from index.search.price_order import PriceOrder, positions_by_price, present, refuse_unless_finite
from index.storage.layout import search_paths

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FILE = "comparables.arrow"
SHOWN = ("item_id", "name", "image")
CODES = ("code", "head")  # what the names of the columns begin with that a scan reads
FOUND, PROJECTION = b"found", b"projection"  # metadata: rows with a vector, which come first; the head's directions


@dataclass(frozen=True)
class Comparables:
    """m rows of the catalogue, in its order."""

    shown: pa.Table  # (m,) item_id, name, image
    space: NDArray[np.float32]  # (m, dim) unit rows: what is searched
    goods: Goods  # m
    residual: NDArray[np.float64]  # (m,) log price less what models that never saw the row expected
    fold: NDArray[np.int8]  # (m,) of the models that never saw the row


def write_comparables(folder: Path, rows: Comparables, search: str = AUTO) -> None:
    """As `folder`/comparables.arrow, and what the backend `search` keeps beside it. DataRefused for NaN or infinity."""
    table, found = _in_price_order(rows)
    _write(folder, _with_codes(table) if found >= SCAN_ROWS else table, found, search)


def merge_comparables(
    folder: Path, old: OpenComparables, gone: NDArray[np.int64], new: Comparables | None, search: str = AUTO
) -> None:
    """What `write_comparables` would write of the rows of `old` but `gone` (g,), and then the `new` ones: by a merge.

    The old rows lie in order already; what lies between two new or missing rows is copied as it is. Rows keep their
    bytes for the scan, and new ones get theirs by the head that was fixed when the file was first written.
    """
    import pyarrow as pa

    stays = np.ones(len(old.residual), np.bool_)
    stays[gone] = False
    table, found = old.table, len(old.order.rows)
    row = table["row"].to_numpy()
    kept = np.flatnonzero(stays[row])
    first, rest = kept[kept < found], kept[kept >= found]
    table = _renumbered(table, (np.cumsum(stays) - 1)[row])
    if new is not None:
        added, added_found = _in_price_order(new)
        added = _renumbered(added, added["row"].to_numpy() + int(stays.sum()))
        place = np.searchsorted(old.order.log_price[first], _float32(added)[:added_found], side="right")
        first = np.insert(first, place, table.num_rows + np.arange(added_found))
        rest = np.concatenate([rest, table.num_rows + np.arange(added_found, added.num_rows)])
        pieces = [table, _with_codes(added, old.order.codes) if "code" in table.column_names else added]
    else:
        pieces = [table]
    merged = _gathered(pa.concat_tables(pieces), np.concatenate([first, rest]))
    if len(first) < SCAN_ROWS:
        plain = [name for name in merged.column_names if not name.startswith(CODES)]
        merged = merged.select(plain).replace_schema_metadata()
    elif "code" not in merged.column_names:
        merged = _with_codes(merged)
    _write(folder, merged, len(first), search)


def _in_price_order(rows: Comparables) -> tuple[pa.Table, int]:
    """The file's columns but for the codes, and how many of the rows have a vector."""
    import pyarrow as pa

    there = present(rows.space, "row of the catalogue")
    refuse_unless_finite(rows.goods.log_price, "log prices", "row of the catalogue")
    found = positions_by_price(rows.goods.log_price.astype(np.float32), there)
    row = np.concatenate([found, np.flatnonzero(~there)])
    columns = {
        "row": pa.array(row),
        "log_price": pa.array(rows.goods.log_price[row]),
        "unit": pa.array(rows.goods.unit[row]),
        "log_amount": pa.array(rows.goods.log_amount[row]),
        "residual": pa.array(rows.residual[row]),
        "fold": pa.array(rows.fold[row]),
        "space": _lists(rows.space[row]),
    }
    return _appended(rows.shown.select(SHOWN).take(row).combine_chunks().replace_schema_metadata(), columns), len(found)


def _with_codes(table: pa.Table, like: Codes | None = None) -> pa.Table:
    """With the columns that a scan reads; the head of `like` where it is given."""
    import pyarrow as pa

    codes = encode_rows(_matrix(table["space"]), like)
    columns = _code_columns("code", codes.whole)
    metadata = {}
    if codes.head is not None:
        columns |= {**_code_columns("head", codes.head.level), "head_rest": pa.array(codes.head.rest)}
        metadata[PROJECTION] = codes.head.projection.astype("<f4").tobytes()
    return _appended(table, columns).replace_schema_metadata(metadata)


def _write(folder: Path, table: pa.Table, found: int, search: str) -> None:
    import pyarrow as pa

    table = table.replace_schema_metadata({**(table.schema.metadata or {}), FOUND: str(found).encode()})
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))  # one chunk, so that arrays map without a copy
    order = open_comparables(folder).order
    write_backend(choose(search, *order.vectors.shape), order, search_paths(folder))


class OpenComparables:
    """The file of a generation, mapped into memory. Rows are known by their number in the catalogue."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        table = pa.ipc.open_file(pa.memory_map(str(folder / FILE))).read_all().combine_chunks()
        row, found = table["row"].to_numpy(), int(table.schema.metadata[FOUND])
        self.table = table  # in price order
        self._folder = folder
        self._shown = table.select(SHOWN)
        self._place = np.empty(len(row), np.int64)
        self._place[row] = np.arange(len(row))
        self._space = _matrix(table["space"])
        log_price, fold = table["log_price"].to_numpy(), table["fold"].to_numpy()
        goods = Goods(log_price, table["unit"].to_numpy(), table["log_amount"].to_numpy())
        self.goods = goods.take(self._place)  # in the order of the catalogue
        self.residual: NDArray[np.float64] = table["residual"].to_numpy()[self._place]  # (m,) likewise
        self.fold: NDArray[np.int8] = fold[self._place]  # (m,) likewise
        self.order = PriceOrder(
            self._space[:found],
            log_price[:found].astype(np.float32),
            row[:found],
            fold[:found].astype(np.int64),
            _read_codes(table, found),
        )

    def index(self, search: str = AUTO) -> BandIndex:
        """To search among the rows that have a vector, by what was written for it."""
        paths = search_paths(self._folder)
        return BandIndex.of(self.order, at_open(search, paths), paths)

    def space(self) -> NDArray[np.float32]:
        """(m, dim) every vector in the order of the catalogue: a copy."""
        return self._space[self._place]

    def shown(self, rows: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """item_id, name and image of some rows."""
        shown: list[dict[str, Any]] = self._shown.take(self._place[rows]).to_pylist()
        return shown

    def everything(self) -> Comparables:
        """All of it in the order of the catalogue: a copy."""
        return Comparables(self._shown.take(self._place), self.space(), self.goods, self.residual, self.fold)


def open_comparables(folder: Path) -> OpenComparables:
    """What `write_comparables` wrote; the manifest has checked the file before."""
    return OpenComparables(folder)


def read_comparables(folder: Path) -> Comparables:
    """The same, all of it, in the order of the catalogue."""
    return open_comparables(folder).everything()


def _gathered(table: pa.Table, position: NDArray[np.int64]) -> pa.Table:
    """Some rows in one chunk; runs of them are copied whole, which is what a merge mostly consists of."""
    import pyarrow as pa

    ends = np.flatnonzero(np.diff(position) != 1) + 1
    starts, lengths = position[np.r_[0, ends]], np.diff(np.r_[0, ends, len(position)])
    pieces = [table.slice(start, length) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]
    return pa.concat_tables(pieces).combine_chunks()


def _renumbered(table: pa.Table, row: NDArray[np.int64]) -> pa.Table:
    import pyarrow as pa

    return table.set_column(table.column_names.index("row"), "row", pa.array(row))


def _float32(table: pa.Table) -> NDArray[np.float32]:
    """Log prices as they are ordered."""
    log_price: NDArray[np.float64] = table["log_price"].to_numpy()
    return log_price.astype(np.float32)


def _appended(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _code_columns(name: str, level: Level) -> dict[str, Any]:
    import pyarrow as pa

    return {
        name: _lists(level.code),
        f"{name}_scale": pa.array(level.scale),
        f"{name}_error": pa.array(level.error),
    }


def _read_codes(table: Any, found: int) -> Codes | None:
    if "code" not in table.column_names:
        return None
    head = None
    if "head" in table.column_names:
        width, dim = table["head"].type.list_size, table["space"].type.list_size
        projection = np.frombuffer(table.schema.metadata[PROJECTION], "<f4").reshape(-1, dim)
        assert width >= len(projection), (width, projection.shape)
        head = Head(_level(table, "head", found), table["head_rest"].to_numpy()[:found], projection)
    return Codes(_level(table, "code", found), head)


def _level(table: Any, name: str, found: int) -> Level:
    scale, error = (table[f"{name}_{part}"].to_numpy()[:found] for part in ("scale", "error"))
    return Level(_matrix(table[name])[:found], scale, error)


def _lists(matrix: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _matrix(column: Any) -> NDArray[Any]:
    lists = column.chunk(0)
    matrix: NDArray[Any] = lists.flatten().to_numpy().reshape(-1, lists.type.list_size)
    return matrix
