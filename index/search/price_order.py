"""Keep the rows of an index by log price, so that a band of prices is one contiguous range of positions.

Every search in that order shares the rest: queries cut into tiles that share a product, the positions of a group, and
candidates ranked by the definition of `index.search.similarity`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.arrays import Bool, Float32, Float64, Int64
from index.errors import DataRefused
from index.search.int8.codes import Codes
from index.search.similarity import nearest, no_neighbours

UNIT_TOLERANCE = 0.01  # how far from 1 a norm may be: vectors that were kept in half precision are off by up to 0.004


@dataclass(frozen=True)
class PriceOrder:
    """Rows that can be found (m of them), in the order of their log price, and of their number where prices tie."""

    vectors: Float32  # (m, dim) unit rows
    log_price: Float32  # (m,) rising
    rows: Int64  # (m,) the number by which a row is known, and by which equal similarities are ordered
    groups: (
        Int64  # (m,) rows that can be excluded together, such as near-duplicates, from 0; or (0,) where there are none
    )
    codes: Codes | None = None  # of the same rows, where they were made before

    def range_of(self, centre: Float64, band: float) -> tuple[Int64, Int64]:
        """Return the first, (n,), and one past the last position, (n,), with |log price - centre| <= band."""
        start = np.searchsorted(self.log_price, _lowest_within(centre, band), side="left")
        end = np.searchsorted(self.log_price, -_lowest_within(-centre, band), side="right")
        return start, end

    def take(self, position: Int64) -> PriceOrder:
        """Copy the rows at some positions, which rise."""
        groups = self.groups[position] if len(self.groups) else self.groups
        return PriceOrder(self.vectors[position], self.log_price[position], self.rows[position], groups)


def order_by_price(vectors: ArrayLike, log_price: ArrayLike, groups: ArrayLike | None = None) -> PriceOrder:
    """Copy rows into price order. `vectors` (m, dim): unit rows, or zero rows, which nobody can find.

    `log_price` (m,); `groups` (m,) from 0. Raises DataRefused for NaN or infinity.
    """
    vectors, price = np.asarray(vectors, np.float32), np.asarray(log_price, np.float32)
    assert vectors.ndim == 2 and price.shape == (len(vectors),), (vectors.shape, price.shape)
    there = present(vectors, "row of the index")
    refuse_unless_finite(price, "log prices", "row of the index")
    rows = positions_by_price(price, there)
    grouped = np.zeros(0, np.int64)
    if groups is not None:
        grouped = np.asarray(groups, np.int64)
        assert grouped.shape == price.shape and not np.any(grouped < 0), (grouped.shape, price.shape)
        grouped = grouped[rows]
    return PriceOrder(np.ascontiguousarray(vectors[rows]), price[rows], rows, grouped)


def positions_by_price(log_price: Float32, found: Bool) -> Int64:
    """The rows that can be found, in price order."""
    rows = np.flatnonzero(found)
    return rows[np.argsort(log_price[rows], kind="stable")]


def present(vectors: Float32, line: str) -> Bool:
    """Mask of the rows that are vectors at all, (n,); they must have unit length, or a product is no cosine.

    Raises DataRefused for NaN or infinity, naming the first `line` that holds one.
    """
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    off: Float32 = np.abs(norm - 1)
    if (off <= UNIT_TOLERANCE).all():  # which NaN is not: nothing else need be checked
        return np.ones(len(vectors), np.bool_)
    refuse_unless_finite(vectors, "vectors", line)
    there: Bool = np.asarray(vectors.any(axis=1))
    assert np.all(off[there] <= UNIT_TOLERANCE), f"norm {norm[there].min()} to {norm[there].max()}"
    return there


def are_unit(vectors: Float32, *, or_zero: bool = False) -> bool:
    """Tell whether all rows (n, dim) have length 1, or none at all; NaN is no length."""
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return bool(((np.abs(norm - 1) <= UNIT_TOLERANCE) | (or_zero & (norm == 0))).all())


def refuse_unless_finite(values: NDArray[np.floating], what: str, line: str) -> None:
    """Raise DataRefused, naming the first `line`, where values hold NaN or infinity."""
    if np.isfinite(values).all():
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    raise DataRefused(
        f"{len(bad):,} of {len(values):,} {what} hold NaN or infinity, the first at {line} {bad[0]:,}: "
        "check what made them; a missing vector is a row of zeros."
    )


@dataclass(frozen=True)
class Tile:
    """Queries that share a product, in positions counted from the first row of it."""

    low: int  # the product's rows are [low, high)
    high: int
    queries: Float32  # (n, dim)
    start: Int64  # (n,) from `low`
    end: Int64  # (n,) from `low`
    excluded: list[Int64]  # n times the positions that a query must not see, from `low`


def tiles(start: Int64, end: Int64, *, queries: int, waste: int, products: float = np.inf) -> Iterator[slice]:
    """Cut queries in price order into runs whose bands overlap enough to share a product.

    A run has at most so many `queries`; more than one of them multiply at most so many `products` together, and at most
    `waste` times the rows that their own bands [start, end) hold.
    """
    held = np.concatenate(([0], np.cumsum(end - start)))  # rows in the bands of the queries before each
    done = 0
    while done < len(start):
        stop = min(done + queries, len(start))
        while stop - done > 1:
            multiplied = (stop - done) * (end[stop - 1] - start[done])
            if multiplied <= products and multiplied <= waste * (held[stop] - held[done]):
                break
            stop = done + (stop - done) // 2
        yield slice(done, stop)
        done = stop


class GroupPositions:
    """Positions in price order of the members of each group."""

    def __init__(self, groups: Int64) -> None:  # (m,) in price order, or (0,)
        self._position = np.argsort(groups, kind="stable")
        self._group = groups[self._position]

    def within(self, group: int, first: int, last: int) -> Int64:
        """Positions of the group's members, of those in [first, last); of group -1 none."""
        if group < 0:
            return self._position[:0]
        begin, stop = np.searchsorted(self._group, (group, group + 1))
        members = self._position[begin:stop]
        return members[(members >= first) & (members < last)]


def rank_candidates(
    rows: PriceOrder, queries: Float32, candidates: Iterable[tuple[int, Int64]], k: int
) -> tuple[Int64, Float32]:
    """Rank the positions that come with each query's number: (n, k) rows, -1 for none, and similarity."""
    found, similarity = no_neighbours(len(queries), k)
    for query, position in candidates:
        near, score = nearest(rows.vectors, rows.rows, position, queries[query], k)
        found[query, : len(near)], similarity[query, : len(near)] = near, score
    return found, similarity


def _lowest_within(centre: Float64, band: float) -> Float32:
    """The lowest float32 log price with centre - log price <= band: where that sentence, in float64, puts the edge.

    centre - band, rounded to float32, can fall half a step below it.
    """
    near = np.maximum(np.minimum(centre - band, 1e38), -1e38).astype(np.float32)
    return np.where(centre - near <= band, near, np.nextafter(near, np.float32(np.inf)))
