"""Search by FAISS: inverted lists whose entries stand in price order, so that a band is a range of each list.

The lists are trained, written and read by FAISS; a search returns the rows that it finds best, and the definition of
`index.search.similarity` orders them. Below IVF_ROWS all rows are looked at; above, those of the likeliest lists,
which may miss a neighbour. Where FAISS has a GPU, lists are searched there first.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from index.arrays import Float32, Int64
from index.contents import expect, loading
from index.search.price_order import GroupPositions, PriceOrder, rank_candidates
from index.search.similarity import SPARE, fetch_ties

IVF_ROWS = 20_000
LISTS_PER_ROOT = 1.0  # lists: this times the square root of the rows
PROBED = 1 / 16  # share of the lists that are looked into
LEAST_PROBED = 24
ROWS_PER_LIST = 64  # that the lists are trained on
FETCHED_FROM_GPU = 8  # times as many rows: a GPU's lists know no bands, and what lies outside is dropped
MOST_ON_GPU = 2048  # rows that FAISS can fetch from a GPU at once, and lists that it can look into there
NONE = np.zeros(0, np.int64)


class FaissSearch:
    """An open FAISS index of rows in price order."""

    def __init__(self, rows: PriceOrder, index: Any) -> None:
        import faiss

        self._rows = rows
        self._index = index
        self._is_flat = isinstance(index, faiss.IndexFlat)
        self._groups = GroupPositions(rows.groups)
        self._gpu = _gpu_copy(index)

    @classmethod
    def open(cls, rows: PriceOrder, path: Path | None) -> Self:
        """Read the index at `path`, or train one in memory where there is none."""
        import faiss

        if path is not None and path.is_file():
            with loading(path):
                index = faiss.read_index(str(path))
                expect((index.ntotal, index.d) == rows.vectors.shape, "it is of other vectors")
                expect(index.metric_type == faiss.METRIC_INNER_PRODUCT, "it has another metric")
            return cls(rows, index)
        return cls(rows, _trained(rows.vectors))

    @staticmethod
    def write(rows: PriceOrder, path: Path) -> None:
        """Train an index and write it to `path`."""
        import faiss

        faiss.write_index(_trained(rows.vectors), str(path))

    def search(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """See `index.search.backends.Backend`."""
        fetched = self._gpu.likeliest(queries, FETCHED_FROM_GPU * (k + SPARE)) if self._gpu else [NONE] * len(queries)
        bands = zip(start.tolist(), end.tolist(), excluded_group.tolist(), strict=True)
        candidates = (
            (query, self._positions(queries[query], band, k, fetched[query]))
            for query, band in enumerate(bands)
            if band[0] < band[1]
        )
        return rank_candidates(self._rows, queries, candidates, k)

    def _positions(self, query: Float32, band: tuple[int, int, int], k: int, fetched: Int64) -> Int64:
        """The likeliest k of the positions in a band (first, last, excluded group), and some more where there are any.

        They are among those `fetched` whatever the price, or the index is searched again, in the band alone; one that
        looks at all rows, until none is left that may be as similar as the k-th.
        """
        first, last, group = band
        inside = fetched[(fetched >= first) & (fetched < last)]
        if group >= 0:
            inside = inside[self._rows.groups[inside] != group]
        if len(inside) < min(k + SPARE, last - first):
            parameters = self._parameters(first, last, self._groups.within(group, first, last))
            fetch = partial(self._search, query, parameters)
            inside = fetch_ties(fetch, k, last - first, len(query), exact=self._is_flat)
        return np.sort(inside)

    def _search(self, query: Float32, parameters: Any, count: int) -> tuple[Float32, Int64]:
        """Inner products, falling, and positions, (count,) or fewer."""
        products, positions = self._index.search(query[None], count, params=parameters)
        there = positions[0] >= 0  # FAISS fills up with -1
        return products[0][there], positions[0][there]

    def _parameters(self, first: int, last: int, excluded: Int64) -> Any:
        import faiss

        chosen: Any = faiss.IDSelectorRange(first, last, True)  # ids rise within a list: a range is found by bisection
        if len(excluded):
            chosen = faiss.IDSelectorAnd(chosen, faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded)))
        if self._is_flat:
            return faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]  # FAISS adds them as it is imported
        return faiss.SearchParametersIVF(sel=chosen, nprobe=_probed(self._index))  # type: ignore[call-arg]


class _GpuLists:
    """The lists of an index on a GPU, which are searched whatever the price.

    FAISS's indexes on a GPU know no selector of ids, and say nothing where one is given to them.
    """

    def __init__(self, index: Any) -> None:
        import faiss

        self._resources = faiss.StandardGpuResources()  # the memory that the copy works in lives as long as it
        self._index = cast(Any, faiss.index_cpu_to_gpu(self._resources, 0, index))
        self._index.nprobe = min(MOST_ON_GPU, _probed(index))
        self._one_at_a_time = threading.Lock()  # an index on a GPU may not be searched by two threads at once

    def likeliest(self, queries: Float32, count: int) -> Int64:
        """Find each query's `count` likeliest positions, or as many as a GPU can fetch: (n, count), -1 for none."""
        with self._one_at_a_time:
            positions: Int64 = self._index.search(queries, min(count, MOST_ON_GPU))[1]
        return positions


def _gpu_copy(index: Any) -> _GpuLists | None:
    """Copy the lists to a GPU; None if there are no lists, no FAISS with a GPU, or too little memory on it."""
    import faiss

    gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    if not gpus or isinstance(index, faiss.IndexFlat):
        return None
    try:
        return _GpuLists(index)
    except RuntimeError:  # what FAISS raises where the GPU has too little memory; the index in hand finds the same
        return None


def _probed(index: Any) -> int:
    """Number of lists that are searched for a query."""
    lists: int = index.nlist
    return min(lists, max(LEAST_PROBED, round(PROBED * lists)))


def _trained(vectors: Float32) -> Any:
    """Train a FAISS index of (m, dim) vectors by inner product, each under its position."""
    import faiss

    flat: Any = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors) < IVF_ROWS:
        flat.add(vectors)
        return flat
    lists = round(LISTS_PER_ROOT * len(vectors) ** 0.5)
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True  # the lists' centres live and die with the index, not with the name here
    flat.this.disown()
    index.cp.max_points_per_centroid, index.cp.niter = ROWS_PER_LIST, 10
    index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // (lists * ROWS_PER_LIST))]))
    index.add(vectors)
    return index
