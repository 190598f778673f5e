"""Search exactly over byte codes: scan, keep what may be among the nearest, score that by the vectors themselves.

Few queries scan their bands one by one, by the levels of `index.search.int8.levels`. Many are multiplied at once:
queries in price order share a tile of rows, and each keeps its candidates from the tile of products while that is still
in the cache. The products are of int8 and exact where the processor has instructions for them; elsewhere float32 holds
the same integers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.arrays import Float32, Float64, Int8, Int64
from index.search.int8.codes import LARGEST, LARGEST_INT16, LONGEST, SLACK, Codes, Level, encode_rows
from index.search.price_order import PriceOrder, tiles
from index.search.similarity import no_neighbours
from index.threads import own_threads

if TYPE_CHECKING:
    from index.search.int8.levels import Levels

FEW_ROWS = 2048  # of which one query reads the whole codes sooner than it is projected
BATCHED = 12  # queries in a tile from which a product pays
TILE_QUERIES = 256
TILE_ROWS = 4096  # 4 MB of products: they stay in the cache until they are read
TILE_WASTE = 2  # a tile that would multiply this many times what its queries' own bands hold is halved
CANDIDATE_BYTES = 64 * 2**20  # of candidates that the queries of a tile may keep
SHARED_BYTES = 4 * 2**20  # of codes from which one query's scan is shared between threads
EXACT_IN_FLOAT32 = 2**24


class Scan:
    """Search in the codes of `rows`, which are made here if they were not before."""

    def __init__(self, rows: PriceOrder, threads: int | None = None) -> None:
        from index.search.int8 import collect, levels, loops, select  # compile: not before there is something to scan

        self._collect, self._loops, self._select = collect, loops, select
        self._rows = _unwritable(rows)
        self._codes: Codes = _unwritable(rows.codes or encode_rows(rows.vectors))
        self._whole = QueryEncoder(self._codes.whole)
        coarse = self._codes.coarse
        self._levels = _unwritable(levels.NO_LEVELS if coarse is None else levels.cut(coarse))
        nothing: Levels = _unwritable(levels.NO_LEVELS)
        self._no_levels = (nothing, *nothing.encode(np.zeros((1, 0)), np.zeros(1)))
        self._directions = np.zeros((0, rows.vectors.shape[1])) if coarse is None else coarse.directions.astype(float)
        self._threads = threads or own_threads()
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="scan")
        self._product: _Product | None = None

    def search(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """Return (n, k) rows, -1 for none, and (n, k) similarity for n unit queries in price order.

        A query searches positions [start, end); `excluded_group` (n,) is the group that it must not see, -1 for none.
        """
        if len(queries) == 1 and not self._is_shared(int(end[0] - start[0])):
            return self._alone(queries, (int(start[0]), int(end[0])), int(excluded_group[0]), k)
        nearest, similarity = no_neighbours(len(queries), k)
        offsets, position = self._candidates(queries, start, end, excluded_group, k)

        def rank(begin: int, stop: int) -> None:
            self._loops.rank(
                self._rows.vectors, self._rows.rows, queries, offsets, position, k, nearest, similarity, begin, stop
            )

        self._share(rank, len(queries))
        return nearest, similarity

    def _candidates(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Int64]:
        """Each query's candidates, one after another, as (n + 1,) offsets and positions."""
        found: list[Int64] = []
        most = max(BATCHED, min(TILE_QUERIES, CANDIDATE_BYTES // (16 * capacity_for(k))))
        for tile in tiles(start, end, queries=most, waste=TILE_WASTE):
            part = (queries[tile], start[tile], end[tile], excluded_group[tile], k)
            if len(part[0]) >= BATCHED:
                found += self._multiplied(*part)
            else:
                found += self._collected(*part)
        offsets = np.zeros(len(queries) + 1, np.int64)
        np.cumsum([len(positions) for positions in found], out=offsets[1:])
        return offsets, np.concatenate(found)

    def _is_shared(self, rows: int) -> bool:
        """Tell whether one query's scan of so many rows pays for waking another thread."""
        width = self._levels.width or self._codes.whole.code.shape[1]
        return self._threads > 1 and rows * width >= SHARED_BYTES

    def _alone(self, query: Float32, band: tuple[int, int], excluded_group: int, k: int) -> tuple[Int64, Float32]:
        nearest, similarity = no_neighbours(1, k)
        rows, whole, levels = self._rows, self._codes.whole, self._levels
        if band[1] - band[0] <= FEW_ROWS:
            levels, code, lines, numbers = self._no_levels
        else:
            code, lines, numbers = levels.encode(*self._project(query))
        self._collect.search_one(
            rows.vectors, rows.rows, rows.groups, excluded_group, query, k, np.float32(SLACK),
            levels.code, levels.outside, levels.lines, code, lines, numbers,
            whole.code, whole.scale, whole.error, self._whole.longest,
            band[0], band[1], capacity_for(k), nearest, similarity,
        )  # fmt: skip
        return nearest, similarity

    def _collected(self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int) -> list[Int64]:
        """Each query's candidates, collected row by row; a few queries' long scans are shared between the threads."""
        parts = self._threads if len(queries) < BATCHED and self._is_shared(int((end - start).max())) else 1
        cuts = np.linspace(start, end, parts + 1).astype(np.int64)  # (parts + 1, n): each in price order
        n, capacity = len(queries), capacity_for(k)
        position, counts = np.empty((parts, n, capacity), np.int64), np.zeros((parts, n), np.int64)
        low, high = (np.empty((parts, n, capacity), np.float32) for _ in range(2))
        rows, whole, levels = self._rows, self._codes.whole, self._levels
        encoded = (*levels.encode(*self._project(queries)), *self._whole.encode(queries, LARGEST_INT16))

        def scan(part: int, begin: int, stop: int) -> None:
            self._collect.collect_many(
                rows.vectors, rows.rows, rows.groups, excluded_group, queries, k, np.float32(SLACK),
                levels.code, levels.outside, levels.lines, *encoded[:3],
                whole.code, whole.scale, whole.error, *encoded[3:],
                cuts[part], cuts[part + 1], counts[part], position[part], low[part], high[part], begin, stop,
            )  # fmt: skip

        if parts == 1:
            self._share(partial(scan, 0), n)
        else:
            futures = [self._pool.submit(scan, part, 0, n) for part in range(1, parts)]
            scan(0, 0, n)
            for future in futures:
                future.result()
        return [
            np.concatenate([position[part, query, : counts[part, query]] for part in range(parts)])
            for query in range(n)
        ]

    def _project(self, queries: Float32) -> tuple[Float64, Float64]:
        """The queries' projections, (n, directions), and the length of what lies outside of them, (n,)."""
        values = queries.astype(np.float64)
        projected = values @ self._directions.T
        return projected, np.sqrt(np.square(values - projected @ self._directions).sum(axis=1))

    def _multiplied(self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int) -> list[Int64]:
        product, whole, rows = self._multiplier(), self._codes.whole, self._rows
        code, numbers = self._whole.encode(queries, product.largest)
        units, lengths, _, more = (np.ascontiguousarray(column) for column in numbers.T)
        n, capacity = len(queries), capacity_for(k)
        position, low, high = (
            np.empty((n, capacity), np.int64),
            *(np.empty((n, capacity), np.float32) for _ in range(2)),
        )
        thresholds, counts = np.full(n, -np.inf, np.float32), np.zeros(n, np.int64)
        multiply = product.of(code)
        for at in range(int(start[0]), int(end[-1]), TILE_ROWS):
            products = multiply(at, min(at + TILE_ROWS, int(end[-1])))

            def select(begin: int, stop: int, products: Any = products, at: int = at) -> None:
                self._select.select(
                    products, at, whole.scale, whole.error, units, lengths, more, start, end,
                    rows.vectors, rows.rows, rows.groups, excluded_group, queries, k, np.float32(SLACK),
                    thresholds, counts, position, low, high, begin, stop,
                )  # fmt: skip

            self._share(select, n)
        self._select.prune(k, counts, position, low, high, 0, n)
        return [position[query, : counts[query]] for query in range(n)]

    def _multiplier(self) -> _Product:
        if self._product is None:
            self._product = _Product(self._codes.whole.code)
        return self._product

    def _share(self, work: Callable[[int, int], None], queries: int) -> None:
        """Give each thread some of the queries."""
        threads = min(self._threads, queries // 8)
        if threads < 2:
            work(0, queries)
            return
        cuts = np.linspace(0, queries, threads + 1).astype(int).tolist()
        futures = [self._pool.submit(work, *ends) for ends in pairwise(cuts[1:])]
        work(cuts[0], cuts[1])
        for future in futures:
            future.result()


class QueryEncoder:
    """Turn queries into numbers to multiply whole codes with."""

    def __init__(self, level: Level) -> None:
        from index.search.int8.loops import encode

        self._loop = encode
        self.level = level
        self.longest = LONGEST + float(level.error.max(initial=0))  # of scale * code of a row

    def encode(self, queries: Float32, largest: int) -> tuple[NDArray[np.integer], Float32]:
        """Return (n, width) codes up to `largest`: int8 up to 127, else int16; no sum of products overflows.

        And (n, 4) numbers: scale; length; 0; what a score may be off whatever the row.
        """
        code = np.zeros((len(queries), self.level.code.shape[1]), np.int8 if largest <= LARGEST else np.int16)
        numbers = np.empty((len(queries), 4), np.float32)
        self._loop(queries.astype(np.float64), np.zeros(len(queries)), largest, self.longest, SLACK, code, numbers)
        return code, numbers


class _Product:
    """Products of the codes of rows and queries as exact integers."""

    def __init__(self, code: Int8) -> None:
        import torch

        with warnings.catch_warnings():  # torch minds that a mapped file cannot be written; nobody writes to it
            warnings.simplefilter("ignore", UserWarning)
            self._code = torch.from_numpy(code)
        self._bytes = multiplies_bytes()
        self.largest = LARGEST if self._bytes else max(1, min(LARGEST, EXACT_IN_FLOAT32 // (LARGEST * code.shape[1])))

    def of(self, queries: NDArray[np.integer]) -> Callable[[int, int], Any]:
        """Return a function from a range of rows to (queries, rows) int32 products with their codes."""
        import torch

        code = torch.from_numpy(queries)
        if self._bytes:
            return lambda first, last: torch._int_mm(code, self._code[first:last].T).numpy()
        wide = code.float()
        return lambda first, last: (wide @ self._code[first:last].float().T).int().numpy()


def _unwritable(part: Any) -> Any:
    """Make every array read-only, as those of a mapped file are, so that loops are compiled once for both."""
    changes = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        changes[field.name] = _unwritable(value) if is_dataclass(value) else value
    return replace(part, **changes)


def multiplies_bytes() -> bool:
    """Tell whether torch's product of int8 is exact here: without VNNI it is slow, or adds pairs up in 16 bits."""
    import torch

    return bool(torch.cpu._is_vnni_supported() and torch._C._has_mkldnn)


def capacity_for(k: int) -> int:
    """Candidates that a query may hold before those out of reach are dropped."""
    return max(4 * k, k + 256)
