"""Search from the disk: an inverted file in a Lance table, with the band as a prefilter, for tables beyond memory.

The table holds each row's position in price order, its group and its vector. A band is a range of positions and who is
excluded is one group, so every filter is an expression over three whole numbers at most, and none is built from text.
What Lance finds is ordered by `index.search.similarity`'s definition.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from index.arrays import Float32, Int64, chunks
from index.contents import expect, loading
from index.search.price_order import PriceOrder, rank_candidates
from index.search.similarity import fetch_ties

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 4096  # rows written at once
IVF_ROWS = 20_000  # below it Lance looks at all rows
PROBED = 1 / 8  # share of the partitions that are looked into
PATIENCE = timedelta(hours=12)


class LanceSearch:
    """An open table of rows in price order."""

    def __init__(self, rows: PriceOrder, table: Any = None) -> None:
        self._rows = rows
        self._table = table

    @classmethod
    def open(cls, rows: PriceOrder, path: Path | None) -> Self:
        """Open the table at `path`, or write one into a temporary folder that goes with what is returned."""
        import lancedb

        if path is not None and path.is_dir():
            with loading(path):
                table = lancedb.connect(path.parent).open_table(path.stem)
                width = table.schema.field("vector").type.list_size
                expect((table.count_rows(), width) == rows.vectors.shape, "it is of other vectors")
            return cls(rows, table)
        aside = Path(tempfile.mkdtemp(prefix="price-search-"))
        search = cls(rows)
        weakref.finalize(search, shutil.rmtree, aside, ignore_errors=True)  # first: a full disk must not stay full
        search._table = cls.write(rows, aside / "rows.lance")
        return search

    @staticmethod
    def write(rows: PriceOrder, path: Path) -> Any:
        """Write a table to the folder `path`, whose name ends in .lance as Lance has it, and return it."""
        import lancedb
        import pyarrow as pa
        from lancedb.index import BTree, IvfFlat

        vector = pa.list_(pa.float32(), rows.vectors.shape[1])
        schema = pa.schema([("position", pa.int64()), ("group", pa.int64()), ("vector", vector)])
        batches = pa.RecordBatchReader.from_batches(schema, _batches(schema, rows))
        table = lancedb.connect(path.parent).create_table(path.stem, batches)
        if len(rows.vectors) >= IVF_ROWS:
            partitions = round(len(rows.vectors) ** 0.5)
            lists = IvfFlat(distance_type="dot", num_partitions=partitions, sample_rate=64, max_iterations=10)
            table.create_index("vector", config=lists, wait_timeout=PATIENCE)
            table.create_index("position", config=BTree(), wait_timeout=PATIENCE)
        return table

    def search(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """See `index.search.backends.Backend`."""
        bands = zip(start.tolist(), end.tolist(), excluded_group.tolist(), strict=True)
        candidates = (
            (query, self._positions(queries[query], (first, last), group, k))
            for query, (first, last, group) in enumerate(bands)
            if first < last
        )
        return rank_candidates(self._rows, queries, candidates, k)

    def _positions(self, query: Float32, band: tuple[int, int], group: int, k: int) -> Int64:
        """The likeliest k of the positions in a band [first, last) that are not the group's, and some more.

        Where Lance looks at all rows, until none is left that may be as similar as the k-th.
        """
        fetch, exact = partial(self._search, query, band, group), len(self._rows.vectors) < IVF_ROWS
        return np.unique(fetch_ties(fetch, k, band[1] - band[0], len(query), exact=exact))

    def _search(self, query: Float32, band: tuple[int, int], group: int, count: int) -> tuple[Float32, Int64]:
        """Inner products, falling, and positions, (count,) or fewer."""
        from lancedb.expr import col, lit

        first, last = band
        inside = (col("position") >= lit(first)) & (col("position") < lit(last))
        if group >= 0:
            inside = inside & (col("group") != lit(group))
        search = self._table.search(query, vector_column_name="vector", query_type="vector")
        probed = max(24, round(PROBED * len(self._rows.vectors) ** 0.5))
        found = search.distance_type("dot").where(inside, prefilter=True).nprobes(probed).limit(count)
        table = found.select(["position", "_distance"]).to_arrow()
        return 1 - table["_distance"].to_numpy(), table["position"].to_numpy()


def _batches(schema: pa.Schema, rows: PriceOrder) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    groups = rows.groups if len(rows.groups) else np.full(len(rows.vectors), -1)
    for part in chunks(len(rows.vectors), BATCH):
        vectors = np.ascontiguousarray(rows.vectors[part])
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        position = np.arange(part.start, part.stop)
        yield pa.record_batch([pa.array(position), pa.array(groups[position]), flat], schema=schema)
