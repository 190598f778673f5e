"""Exact search as a product over the slice of rows that a band is.

By numpy while little is asked: the float32 product nominates every row that its own rounding may have put behind the
k-th, and the definition of `index.search.similarity` decides. Over a large index, once enough has been asked to pay
for loading a compiler, by `index.search.int8_scan`. On a GPU by torch in half precision, with the half's own error as
the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from index.search.price_order import PriceOrder
from index.search.similarity import Float32, Int64, nearest

if TYPE_CHECKING:
    from index.search.int8_scan import Scan

TILE_BYTES = 32 * 2**20  # of float32 products, and two tiles live at the hand-over; one query's band where that is more
TILE_QUERIES = 256  # a product over more queries is no faster, and the union of their bands is wider
TILE_WASTE = 4  # a tile that would multiply this many times what its queries' own bands hold is halved
SCAN_ROWS = 20_000  # of an index; below it a slice is multiplied before a scan has been set up
SCAN_AFTER = 2 * 10**9  # numbers multiplied in float32 before the scan is loaded: about what loading it costs
GPU_TILE_BYTES = 2**30
GPU_ROOM = 4 * GPU_TILE_BYTES  # a tile in float32 and float16, its masks, what they leave, and what others take
NONE = np.zeros(0, np.int64)
HALF_ERROR = 2.0**-10  # of a product of unit vectors rounded to float16, in and out; tiny numbers are added for


@dataclass(frozen=True)
class Tile:
    """Queries that share a product, in positions counted from the first row of it."""

    low: int  # the product's rows are [low, high)
    high: int
    queries: Float32  # (n, dim)
    start: Int64  # (n,) from `low`
    end: Int64  # (n,) from `low`
    excluded: list[Int64]  # n times the positions that a query must not see, from `low`


class SliceSearch:
    """Search by products over slices, each by the means that pays."""

    def __init__(self, rows: PriceOrder, device: str = "cpu") -> None:
        self._rows = rows
        self._excluded = GroupPositions(rows.groups)
        self._multiplied = 0
        self._scan: Scan | None = None
        self._gpu = GpuProduct(rows, device) if device != "cpu" else None
        # Two float32 dot products of unit vectors err by at most dim * eps together; the rest: norms and rounding.
        self._slack = np.float32((1.05 * rows.vectors.shape[1] + 4) * np.finfo(np.float32).eps)

    def search(self, queries: Float32, start: Int64, end: Int64, barred: Int64, k: int) -> tuple[Int64, Float32]:
        """See `index.search.backends.Backend`."""
        if self._gpu is None and self._worth_a_scan(start, end):
            if self._scan is None:
                from index.search.int8_scan import Scan

                self._scan = Scan(self._rows)
            return self._scan.search(queries, start, end, barred, k)
        found = np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
        for query, position in self._candidates(queries, start, end, barred, k):
            rows, similarity = nearest(self._rows.vectors, self._rows.rows, position, queries[query], k)
            found[0][query, : len(rows)], found[1][query, : len(rows)] = rows, similarity
        return found

    def _worth_a_scan(self, start: Int64, end: Int64) -> bool:
        if len(self._rows.rows) < SCAN_ROWS:
            return False
        self._multiplied += int((end - start).sum()) * self._rows.vectors.shape[1]
        return self._scan is not None or self._multiplied > SCAN_AFTER

    def _candidates(
        self, queries: Float32, start: Int64, end: Int64, barred: Int64, k: int
    ) -> Iterator[tuple[int, Int64]]:
        """Each query, and the positions of what may be among its k nearest."""
        for tile in tiles(start, end, TILE_BYTES if self._gpu is None else GPU_TILE_BYTES):
            low, high = int(start[tile][0]), int(end[tile][-1])
            excluded = [
                self._excluded.within(*each) - low if each[0] >= 0 else NONE
                for each in zip(barred[tile].tolist(), start[tile].tolist(), end[tile].tolist(), strict=True)
            ]
            part = Tile(low, high, queries[tile], start[tile] - low, end[tile] - low, excluded)
            found = self._multiplied_candidates(part, k) if self._gpu is None else self._gpu.candidates(part, k)
            for query, position in enumerate(found, tile.start):
                yield query, low + position

    def _multiplied_candidates(self, tile: Tile, k: int) -> Iterable[Int64]:
        scores = tile.queries @ self._rows.vectors[tile.low : tile.high].T  # (queries, rows in the union of the bands)
        for score, first, last, without in zip(scores, tile.start, tile.end, tile.excluded, strict=True):
            if len(without):
                score[without] = -np.inf
            yield first + _candidates(score[first:last], k, self._slack)


def gpu_bytes(rows: int, dim: int) -> int:
    """What a GPU must have free for `rows` vectors of `dim` numbers: as float16, and room to multiply them."""
    return rows * dim * 2 + GPU_ROOM


class GpuProduct:
    """The rows on a GPU as float16, multiplied there. Runs on any device of torch's, which is how it is tested."""

    def __init__(self, rows: PriceOrder, device: str) -> None:
        import torch

        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # the bound needs float32 sums
        self._torch = torch
        self._device = torch.device(device)
        self._vectors = torch.from_numpy(np.ascontiguousarray(rows.vectors, np.float16)).to(self._device)
        # A number below float16's normal ones is off by up to 2^-25, whatever its size; dim of them by its root.
        self._off = 2 * (3 * HALF_ERROR + 2 * 2.0**-25 * float(np.sqrt(rows.vectors.shape[1])))

    def candidates(self, tile: Tile, k: int) -> Iterable[Int64]:
        """Of each query, what may be among the k nearest."""
        torch, device = self._torch, self._device
        asked = torch.from_numpy(tile.queries.astype(np.float16)).to(device)
        scores: Any = (asked @ self._vectors[tile.low : tile.high].T).float()
        place = torch.arange(tile.high - tile.low, device=device)
        first, last = torch.from_numpy(tile.start).to(device), torch.from_numpy(tile.end).to(device)
        scores.masked_fill_((place < first[:, None]) | (place >= last[:, None]), -torch.inf)
        for line, without in zip(scores, tile.excluded, strict=True):
            if len(without):
                line[torch.from_numpy(without).to(device)] = -torch.inf
        bar = scores.topk(min(k, tile.high - tile.low), dim=1).values[:, -1:] - self._off
        query, position = torch.nonzero((scores >= bar) & (scores > -torch.inf), as_tuple=True)
        cuts = torch.bincount(query, minlength=len(tile.queries)).cumsum(0)[:-1].cpu().numpy()
        return np.split(position.cpu().numpy(), cuts)


class GroupPositions:
    """Where the members of a group stand in price order."""

    def __init__(self, groups: Int64) -> None:  # (m,) in price order, or (0,)
        self._position = np.argsort(groups, kind="stable")
        self._group = groups[self._position]

    def within(self, group: int, first: int, last: int) -> Int64:
        """Positions of the group's members, of those in [first, last)."""
        begin, stop = np.searchsorted(self._group, (group, group + 1))
        members = self._position[begin:stop]
        return members[(members >= first) & (members < last)]


def tiles(start: Int64, end: Int64, tile_bytes: int) -> Iterator[slice]:
    """Cut queries in price order into runs whose bands overlap enough to share a product that fits the memory."""
    held = np.concatenate(([0], np.cumsum(end - start)))  # rows in the bands of the queries before each
    done = 0
    while done < len(start):
        stop = min(done + TILE_QUERIES, len(start))
        while stop - done > 1:
            products = (stop - done) * (end[stop - 1] - start[done])
            if products * 4 <= tile_bytes and products <= TILE_WASTE * (held[stop] - held[done]):
                break
            stop = done + (stop - done) // 2
        yield slice(done, stop)
        done = stop


def _candidates(score: Float32, k: int, slack: np.float32) -> Int64:
    """Where the k best scores are, and every score that rounding may have put behind the k-th."""
    if len(score) <= k:
        return np.flatnonzero(score > -np.inf)
    kth = np.partition(score, -k)[-k]
    return np.flatnonzero(score > kth - slack)  # strictly: where the k-th is excluded (-inf), so is its like
