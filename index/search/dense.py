"""Search exactly, by a product over the slice of rows that a band is.

By numpy while little is asked: the float32 product yields every row that its own rounding may have put behind the
k-th, and the definition of `index.search.similarity` decides. Over a large index, once enough has been asked to pay
for loading a compiler, by `index.search.int8.scan`. On a GPU by `index.search.gpu`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from index.arrays import Float32, Int64
from index.search.gpu import GPU_TILE_BYTES, GpuProduct
from index.search.price_order import GroupPositions, PriceOrder, Tile, rank_candidates, tiles

if TYPE_CHECKING:
    from index.search.int8.scan import Scan

TILE_BYTES = 32 * 2**20  # of float32 products, and two tiles live at the hand-over; one query's band where that is more
TILE_QUERIES = 256  # a product over more queries is no faster, and the union of their bands is wider
TILE_WASTE = 4  # a tile that would multiply this many times what its queries' own bands hold is halved
SCAN_ROWS = 20_000  # of an index; below it a slice is multiplied before a scan has been set up
SCAN_AFTER = 2 * 10**9  # numbers multiplied in float32 before the scan is loaded: about what loading it costs


class SliceSearch:
    """Search by products over slices, each by the means that pays."""

    def __init__(self, rows: PriceOrder, device: str = "cpu") -> None:
        self._rows = rows
        self._groups = GroupPositions(rows.groups)
        self._multiplied = 0
        self._scan: Scan | None = None
        self._gpu = GpuProduct(rows, device) if device != "cpu" else None
        # Two float32 dot products of unit vectors err by at most dim * eps together; the rest: norms and rounding.
        self._slack = np.float32((1.05 * rows.vectors.shape[1] + 4) * np.finfo(np.float32).eps)

    def search(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """See `index.search.backends.Backend`."""
        if self._gpu is None and self._worth_a_scan(start, end):
            if self._scan is None:
                from index.search.int8.scan import Scan

                self._scan = Scan(self._rows)
            return self._scan.search(queries, start, end, excluded_group, k)
        return rank_candidates(self._rows, queries, self._candidates(queries, start, end, excluded_group, k), k)

    def _worth_a_scan(self, start: Int64, end: Int64) -> bool:
        if len(self._rows.rows) < SCAN_ROWS:
            return False
        self._multiplied += int((end - start).sum()) * self._rows.vectors.shape[1]
        return self._scan is not None or self._multiplied > SCAN_AFTER

    def _candidates(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> Iterator[tuple[int, Int64]]:
        """Each query, and the positions of what may be among its k nearest."""
        tile_bytes, multiply = (
            (TILE_BYTES, self._multiply) if self._gpu is None else (GPU_TILE_BYTES, self._gpu.candidates)
        )
        for part in tiles(start, end, queries=TILE_QUERIES, waste=TILE_WASTE, products=tile_bytes // 4):
            low, high = int(start[part][0]), int(end[part][-1])
            bands = zip(excluded_group[part].tolist(), start[part].tolist(), end[part].tolist(), strict=True)
            excluded = [self._groups.within(*band) - low for band in bands]
            tile = Tile(low, high, queries[part], start[part] - low, end[part] - low, excluded)
            for query, position in enumerate(multiply(tile, k), part.start):
                yield query, low + position

    def _multiply(self, tile: Tile, k: int) -> Iterable[Int64]:
        scores = tile.queries @ self._rows.vectors[tile.low : tile.high].T  # (queries, rows in the union of the bands)
        for score, first, last, excluded in zip(scores, tile.start, tile.end, tile.excluded, strict=True):
            if len(excluded):
                score[excluded] = -np.inf
            yield first + _within_slack(score[first:last], k, self._slack)


def _within_slack(score: Float32, k: int, slack: np.float32) -> Int64:
    """Find the positions of the k best scores, and of every score that rounding may have put behind the k-th."""
    if len(score) <= k:
        return np.flatnonzero(score > -np.inf)
    kth = np.partition(score, -k)[-k]
    return np.flatnonzero(score > kth - slack)  # strictly: where the k-th is excluded (-inf), so is its like
