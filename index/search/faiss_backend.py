"""Search by FAISS: inverted lists whose entries stand in price order, so that a band is a range of each list.

The lists are trained, written and read by FAISS; a search returns the rows that it finds best, and the definition of
`index.search.similarity` orders them. Below IVF_ROWS all rows are looked at; above, those of the likeliest lists,
which may miss a neighbour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from index.search.dense import GroupPositions
from index.search.price_order import PriceOrder
from index.search.similarity import Float32, Int64, nearest

FILE = "search.faiss"
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
        self._excluded = GroupPositions(rows.groups)

    @classmethod
    def open(cls, rows: PriceOrder, folder: Path | None) -> Self:
        """Read `folder`/search.faiss, or train one in memory."""
        import faiss

        if folder is not None and (folder / FILE).is_file():
            return cls(rows, faiss.read_index(str(folder / FILE)))
        return cls(rows, _trained(rows.vectors))

    @staticmethod
    def write(rows: PriceOrder, folder: Path) -> None:
        """As `folder`/search.faiss."""
        import faiss

        faiss.write_index(_trained(rows.vectors), str(folder / FILE))

    def search(self, queries: Float32, start: Int64, end: Int64, barred: Int64, k: int) -> tuple[Int64, Float32]:
        """See `index.search.backends.Backend`."""
        found = np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
        for query in range(len(queries)):
            first, last = int(start[query]), int(end[query])
            if first >= last:
                continue
            without = self._excluded.within(barred[query], first, last) if barred[query] >= 0 else np.zeros(0, np.int64)
            position = self._index.search(
                queries[query : query + 1], min(k + SPARE, last - first), params=self._within(first, last, without)
            )[1][0]
            position = np.sort(position[position >= 0])
            rows, similarity = nearest(self._rows.vectors, self._rows.rows, position, queries[query], k)
            found[0][query, : len(rows)], found[1][query, : len(rows)] = rows, similarity
        return found

    def _within(self, first: int, last: int, without: Int64) -> Any:
        import faiss

        chosen: Any = faiss.IDSelectorRange(first, last, True)  # ids rise within a list: a range is found by bisection
        if len(without):
            chosen = faiss.IDSelectorAnd(chosen, faiss.IDSelectorNot(faiss.IDSelectorBatch(without)))
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
