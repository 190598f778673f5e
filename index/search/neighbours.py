"""Find the rows that are most like a vector, among those whose price lies near a given one.

Rows are kept sorted by log price, so that a band of prices is one contiguous range: exact search is then a product over
a slice, and gets cheaper as the band narrows. A result does not depend on how it was found: similarity is cosine by the
definition of `index.search.similarity`, and ties go to the lower row, whatever collected the candidates
(`index.search.backends`), how a batch was tiled, and which BLAS was at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from index.arrays import Bool, Float32, Int64, chunks
from index.errors import UsageError
from index.search import AUTO, SLICE
from index.search.backends import NOWHERE, Backend, Paths, choose, open_backend
from index.search.price_order import PriceOrder, order_by_price, present, refuse_unless_finite
from index.search.similarity import no_neighbours

BLOCK_QUERIES = 16_384  # searched at once: their candidates are held in memory


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of n queries, nearest first; where fewer were found, the end of a line is empty."""

    rows: Int64  # (n, k) row numbers in the order given to the index; -1 is none
    similarity: Float32  # (n, k) cosine, higher is closer; 0 where there is none

    @property
    def found(self) -> Bool:
        """Mask of the neighbours that exist, (n, k)."""
        return self.rows >= 0

    def of(self, queries: Int64 | slice) -> Neighbours:
        """Neighbours of a part of the queries."""
        return Neighbours(self.rows[queries], self.similarity[queries])

    def followed_by(self, others: Neighbours) -> Neighbours:
        """Neighbours of further queries after these, as many of each."""
        return Neighbours(np.vstack((self.rows, others.rows)), np.vstack((self.similarity, others.similarity)))

    def first(self, k: int) -> Neighbours:
        """Neighbours as of a search for the k nearest."""
        return Neighbours(self.rows[:, :k], self.similarity[:, :k])

    def without(self, rows: Int64, k: int) -> Neighbours:
        """The k nearest that are none of these rows; there must have been k + len(rows) to choose from."""
        return self.where(~np.isin(self.rows, rows), k)

    def where(self, stays: Bool, k: int) -> Neighbours:
        """The k nearest of those that stay, (n, k) of what is here."""
        stays = self.found & stays
        first = np.argsort(~stays, axis=1, kind="stable")[:, :k]
        there = np.take_along_axis(stays, first, axis=1)
        near, similarity = (np.take_along_axis(values, first, axis=1) for values in (self.rows, self.similarity))
        return Neighbours(np.where(there, near, -1), np.where(there, similarity, np.float32(0)))


class BandIndex:
    """Nearest neighbours within a band of log price; exact unless an approximate backend was asked for.

    `vectors` (m, dim) float32: unit rows, or zero rows (nothing to compare), which are never anyone's neighbours;
    `log_price` (m,); `groups` (m,) from 0: rows that can be excluded together, such as near-duplicates. `search` names
    a backend (`index.search.BACKENDS`). Raises DataRefused for NaN or infinity, UsageError for an unknown
    backend.
    """

    def __init__(
        self, vectors: ArrayLike, log_price: ArrayLike, groups: ArrayLike | None = None, search: str = AUTO
    ) -> None:
        self._open(order_by_price(vectors, log_price, groups), search, NOWHERE)

    @classmethod
    def of(cls, rows: PriceOrder, search: str = AUTO, paths: Paths = NOWHERE) -> Self:
        """Make an index of rows already in price order, and of what the backend keeps at `paths`; copies nothing."""
        index = cls.__new__(cls)
        index._open(rows, search, paths)
        return index

    def _open(self, rows: PriceOrder, search: str, paths: Paths) -> None:
        self._rows = rows
        self._paths = paths
        self._choice = choose(search, *rows.vectors.shape)
        self._backend: Backend | None = None

    def only(self, rows: ArrayLike) -> BandIndex:
        """Make an exact index of a few of the rows, by their numbers, under which it finds them; copies these."""
        return BandIndex.of(self._rows.take(np.flatnonzero(np.isin(self._rows.rows, rows))), SLICE)

    @property
    def backend(self) -> str:
        """A sentence that names the backend and says why it was chosen."""
        return self._choice.why

    def search(
        self, queries: ArrayLike, centre: ArrayLike, *, k: int, band: float, exclude_group: ArrayLike | None = None
    ) -> Neighbours:
        """Find each query's k most similar rows with |log price - centre| <= band; ties go to the lower row.

        `queries` (n, dim) float32, unit or zero (a zero query has no neighbours); `centre` (n,) log price; `band` a
        half-width in log price, infinity for none; `exclude_group` (n,): the group whose rows a query must not see,
        -1 for none. Raises UsageError for k or band, DataRefused for NaN or infinity.
        """
        _check_settings(k, band)
        queries, centre = np.ascontiguousarray(queries, np.float32), np.asarray(centre, np.float64)
        dim = self._rows.vectors.shape[1]
        assert queries.ndim == 2 and queries.shape[1] == dim, (queries.shape, dim)
        assert centre.shape == (len(queries),), (queries.shape, centre.shape)
        there = present(queries, "query")
        refuse_unless_finite(centre, "log prices", "query")
        excluded = np.full(len(queries), -1) if exclude_group is None else np.asarray(exclude_group, np.int64)
        assert excluded.shape == centre.shape, (excluded.shape, centre.shape)
        assert exclude_group is None or len(self._rows.groups) == len(self._rows.rows), "the index has no groups"

        start, end = self._rows.range_of(centre, band)
        if len(queries) == 1 and there[0] and end[0] > start[0]:  # nothing to sort or to put back
            return Neighbours(*self._opened().search(queries, start, end, excluded, k))
        near = Neighbours(*no_neighbours(len(queries), k))
        searched = np.flatnonzero(there & (end > start))
        searched = searched[np.argsort(centre[searched], kind="stable")]
        for part in chunks(len(searched), BLOCK_QUERIES):
            block = searched[part]
            near.rows[block], near.similarity[block] = self._opened().search(
                queries[block], start[block], end[block], excluded[block], k
            )
        return near

    def _opened(self) -> Backend:
        if self._backend is None:  # at the first query that needs it: some read or make files
            self._backend = open_backend(self._choice, self._rows, self._paths)
        return self._backend


def _check_settings(k: int, band: float) -> None:
    if not k >= 1:
        raise UsageError(f"k is {k}: give the number of neighbours to look for, 1 or more.")
    if not band > 0:
        raise UsageError(f"band is {band}: give a half-width in log price above 0, such as 0.35, or inf for no limit.")
