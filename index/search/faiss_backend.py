"""Search by FAISS: inverted lists whose entries stand in price order, so that a band is a range of each list.

The lists are trained, written and read by FAISS; a search returns the rows that it finds best, and the definition of
`index.search.similarity` orders them. Below IVF_ROWS all rows are looked at; above, those of the likeliest lists,
which may miss a neighbour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from index.arrays import Float32, Int64
from index.search.price_order import GroupPositions, PriceOrder, rank_candidates

FILE = "search.faiss"  # until those who take it from here ask `index.storage.layout`
IVF_ROWS = 20_000
LISTS_PER_ROOT = 1.0  # lists: this times the square root of the rows
PROBED = 1 / 16  # share of the lists that are looked into
LEAST_PROBED = 24
ROWS_PER_LIST = 64  # that the lists are trained on
SPARE = 8  # rows fetched beyond k: float32 sums may order those near the k-th differently


class FaissSearch:
    """An open FAISS index of rows in price order."""

    def __init__(self, rows: PriceOrder, index: Any) -> None:
        self._rows = rows
        self._index = index
        self._groups = GroupPositions(rows.groups)

    @classmethod
    def open(cls, rows: PriceOrder, path: Path | None) -> Self:
        """Read the index at `path`, or train one in memory where there is none."""
        import faiss

        if path is not None and path.is_file():
            return cls(rows, faiss.read_index(str(path)))
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
        bands = zip(start.tolist(), end.tolist(), excluded_group.tolist(), strict=True)
        candidates = (
            (query, self._positions(queries[query], first, last, group, min(k + SPARE, last - first)))
            for query, (first, last, group) in enumerate(bands)
            if first < last
        )
        return rank_candidates(self._rows, queries, candidates, k)

    def _positions(self, query: Float32, first: int, last: int, group: int, count: int) -> Int64:
        """The likeliest `count` of the positions [first, last) that are not the group's, or fewer."""
        parameters = self._parameters(first, last, self._groups.within(group, first, last))
        position = self._index.search(query[None], count, params=parameters)[1][0]
        return np.sort(position[position >= 0])

    def _parameters(self, first: int, last: int, excluded: Int64) -> Any:
        import faiss

        chosen: Any = faiss.IDSelectorRange(first, last, True)  # ids rise within a list: a range is found by bisection
        if len(excluded):
            chosen = faiss.IDSelectorAnd(chosen, faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded)))
        if isinstance(self._index, faiss.IndexFlat):
            return faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]  # FAISS adds them as it is imported
        probed = min(self._index.nlist, max(LEAST_PROBED, round(PROBED * self._index.nlist)))
        return faiss.SearchParametersIVF(sel=chosen, nprobe=probed)  # type: ignore[call-arg]


def _trained(vectors: Float32) -> Any:
    """A FAISS index of (m, dim) vectors by inner product, each under its position."""
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
