"""Which rows are most like this vector, among those whose price lies near a given one?

Rows are kept sorted by log price, so that a band of prices is one contiguous range: exact search is a matrix product
over a slice, and gets cheaper as the band narrows.

Similarity is cosine, and defined as the dot product summed in float64 and rounded to float32. The float32 product only
nominates: every row that it places within its own error bound of the k-th is scored again by that definition, and only
then ordered by (similarity, row). So a result depends neither on how a batch is tiled nor on which BLAS is at work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.errors import DataRefused, UsageError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

TILE_BYTES = 32 * 2**20  # of float32 products, and two tiles live at the hand-over; one query's band where that is more
TILE_QUERIES = 256  # a product over more queries is no faster, and the union of their bands is wider
TILE_WASTE = 4  # a tile that would multiply this many times what its queries' own bands hold is halved
RESCORE_ROWS = 4096  # candidates scored again at once: there are more than k or so only where thousands of rows tie
UNIT_TOLERANCE = 0.01  # how far from 1 a norm may be: vectors that were kept in half precision are off by up to 0.004


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of n queries, nearest first; where fewer were found, the end of a line is empty."""

    rows: Int64  # (n, k) row numbers in the order given to the index; -1 is none
    similarity: Float32  # (n, k) cosine, higher is closer; 0 where there is none

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n, k) whether there is a neighbour."""
        return self.rows >= 0


class BandIndex:
    """Exact nearest neighbours within a band of log price.

    `vectors` (m, dim) float32: unit rows, or zero rows (nothing to compare), which are never anyone's neighbours;
    `log_price` (m,); `groups` (m,) from 0: rows that can be excluded together, such as twins.
    Raises DataRefused for NaN or infinity.
    """

    def __init__(self, vectors: ArrayLike, log_price: ArrayLike, groups: ArrayLike | None = None) -> None:
        vectors, price = np.asarray(vectors, np.float32), np.asarray(log_price, np.float32)
        assert vectors.ndim == 2 and price.shape == (len(vectors),), (vectors.shape, price.shape)
        _refuse_unless_finite(vectors, "vectors", "row of the index")
        _refuse_unless_finite(price, "log prices", "row of the index")
        present = np.flatnonzero(_present(vectors))
        self._rows: Int64 = present[np.argsort(price[present], kind="stable")]  # position in price order -> row
        self._vectors: Float32 = np.ascontiguousarray(vectors[self._rows])
        self._log_price: Float32 = price[self._rows]
        self._groups: _Groups | None = None
        if groups is not None:
            groups = np.asarray(groups, np.int64)
            assert groups.shape == price.shape and not np.any(groups < 0), (groups.shape, price.shape)
            self._groups = _Groups(groups[self._rows])
        # Two float32 dot products of unit vectors err by at most dim * eps together; the rest: norms and rounding.
        self._slack = np.float32((1.05 * vectors.shape[1] + 4) * np.finfo(np.float32).eps)

    def search(
        self, queries: ArrayLike, centre: ArrayLike, *, k: int, band: float, exclude_group: ArrayLike | None = None
    ) -> Neighbours:
        """Find each query's k most similar rows with |log price - centre| <= band; ties go to the lower row.

        `queries` (n, dim) float32, unit or zero (a zero query has no neighbours); `centre` (n,) log price; `band` a
        half-width in log price, infinity for none; `exclude_group` (n,): the group whose rows a query must not see,
        -1 for none. Raises UsageError for k or band, DataRefused for NaN or infinity.
        """
        _check_settings(k, band)
        queries, centre = np.asarray(queries, np.float32), np.asarray(centre, np.float64)
        assert queries.ndim == 2 and queries.shape[1] == self._vectors.shape[1], (queries.shape, self._vectors.shape)
        assert centre.shape == (len(queries),), (queries.shape, centre.shape)
        _refuse_unless_finite(queries, "vectors", "query")
        _refuse_unless_finite(centre, "log prices", "query")
        barred = np.full(len(queries), -1) if exclude_group is None else np.asarray(exclude_group, np.int64)
        assert barred.shape == centre.shape, (barred.shape, centre.shape)
        assert exclude_group is None or self._groups is not None, "the index was made without groups"

        near = Neighbours(np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32))
        asked = np.flatnonzero(_present(queries))
        asked = asked[np.argsort(centre[asked], kind="stable")]
        start = np.searchsorted(self._log_price, _lowest_within(centre[asked], band), side="left")
        end = np.searchsorted(self._log_price, -_lowest_within(-centre[asked], band), side="right")
        for tile in _tiles(start, end):
            low, high = start[tile][0], end[tile][-1]
            scores = queries[asked[tile]] @ self._vectors[low:high].T  # (tile, rows in the union of its bands)
            for score, query, first, last in zip(scores, asked[tile], start[tile], end[tile], strict=True):
                inside = score[first - low : last - low]
                if self._groups is not None and barred[query] >= 0:
                    inside[self._groups.within(barred[query], first, last) - first] = -np.inf
                position = first + _candidates(inside, k, self._slack)
                rows, similarity = self._ranked(position, queries[query], k)
                near.rows[query, : len(rows)] = rows
                near.similarity[query, : len(rows)] = similarity
        return near

    def _ranked(self, position: Int64, query: Float32, k: int) -> tuple[Int64, Float32]:
        """The candidates at these positions as (rows, similarity), scored by the definition; at most k of each."""
        rows, similarity = self._rows[position], np.empty(len(position), np.float32)
        exact = query.astype(np.float64)
        for at in range(0, len(position), RESCORE_ROWS):
            some = slice(at, at + RESCORE_ROWS)
            # Not `@`: a row's sum must be the same whichever rows stand beside it, and BLAS does not promise that.
            similarity[some] = (self._vectors[position[some]] * exact).sum(axis=1)
        order = np.lexsort((rows, -similarity))[:k]
        return rows[order], similarity[order]


class _Groups:
    """Where the members of a group stand in price order."""

    def __init__(self, groups: Int64) -> None:  # (m,) in price order
        self._position = np.argsort(groups, kind="stable")
        self._group = groups[self._position]

    def within(self, group: int, first: int, last: int) -> Int64:
        """Positions of the group's members, of those in [first, last)."""
        begin, stop = np.searchsorted(self._group, (group, group + 1))
        members = self._position[begin:stop]
        return members[(members >= first) & (members < last)]


def _lowest_within(centre: Float64, band: float) -> Float32:
    """The lowest float32 log price with centre - log price <= band: where that sentence, in float64, puts the edge.

    centre - band, rounded to float32, can fall half a step below it.
    """
    near = np.clip(centre - band, -1e38, 1e38).astype(np.float32)
    return np.where(centre - near <= band, near, np.nextafter(near, np.float32(np.inf)))


def _tiles(start: Int64, end: Int64) -> Iterator[slice]:
    """Cut queries in price order into runs whose bands overlap enough to share a product that fits the memory."""
    held = np.concatenate(([0], np.cumsum(end - start)))  # rows in the bands of the queries before each
    done = 0
    while done < len(start):
        stop = min(done + TILE_QUERIES, len(start))
        while stop - done > 1:
            products = (stop - done) * (end[stop - 1] - start[done])
            if products * 4 <= TILE_BYTES and products <= TILE_WASTE * (held[stop] - held[done]):
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


def _present(vectors: Float32) -> NDArray[np.bool_]:
    """(n,) which rows are vectors at all; those must be of unit length, or a product would not be a cosine."""
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    present = np.asarray(vectors.any(axis=1))
    assert np.all(np.abs(norm[present] - 1) <= UNIT_TOLERANCE), f"norm {norm[present].min()} to {norm[present].max()}"
    return present


def _check_settings(k: int, band: float) -> None:
    if not k >= 1:
        raise UsageError(f"k is {k}: give the number of neighbours to look for, 1 or more.")
    if not band > 0:
        raise UsageError(f"band is {band}: give a half-width in log price above 0, such as 0.35, or inf for no limit.")


def _refuse_unless_finite(values: NDArray[np.floating], what: str, line: str) -> None:
    if np.isfinite(values).all():
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    raise DataRefused(
        f"{len(bad):,} of {len(values):,} {what} hold NaN or infinity, the first at {line} {bad[0]:,}: "
        "check what made them; a missing vector is a row of zeros."
    )
