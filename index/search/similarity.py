"""Score vectors by their similarity, to the last bit, and find the k nearest among some candidates.

Similarity is cosine, defined as the dot product summed in float64 and rounded to float32. Products of float32 are exact
in float64; their sum is taken by folding the line of products in halves (of an odd one, the last goes to the first), so
that it has the same bits whichever rows stand beside it and whoever adds them up: here numpy, compiled loops in
`index.search.int8.loops`. Ties go to the lower row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from index.arrays import Float32, Float64, Int64, chunks

SPARE = 8  # rows fetched beyond k: float32 sums may order those near the k-th differently
AT_ONCE = 4096  # candidates scored at once: there are more than k or so only where thousands of rows tie


def no_neighbours(queries: int, k: int) -> tuple[Int64, Float32]:
    """Make (n, k) rows and similarities for a search to fill in: -1, which is none, and 0."""
    return np.full((queries, k), -1, np.int64), np.zeros((queries, k), np.float32)


def nearest(vectors: Float32, rows: Int64, position: Int64, query: Float32, k: int) -> tuple[Int64, Float32]:
    """Rank the candidates at `position` of (m, dim) `vectors`: (rows, similarity), nearest first; at most k of each.

    `rows` (m,): the number by which each is known, and by which ties are broken.
    """
    score = np.empty(len(position), np.float32)
    for part in chunks(len(position), AT_ONCE):
        score[part] = similarities(vectors[position[part]], query)
    order = np.lexsort((rows[position], -score))[:k]
    return rows[position[order]], score[order]


def fetch_ties(fetch: Callable[[int], tuple[Float32, Int64]], k: int, rows: int, dim: int, *, exact: bool) -> Int64:
    """Positions of the likeliest k of some `rows`, and of some more; of all that may tie with the k-th, if `exact`.

    `fetch` takes a count and returns inner products (count,), falling, and positions (count,); fewer where there are no
    more. The products are float32 sums of `dim` products of unit vectors, each off by about dim * 2**-24 at most.
    """
    count, slack = min(k + SPARE, rows), 2 * (dim + 2) * np.finfo(np.float32).eps
    products, positions = fetch(count)
    while exact and len(products) == count < rows and products[-1] >= products[k - 1] - slack:
        count = min(2 * count, rows)
        products, positions = fetch(count)
    return positions


def similarities(vectors: Float32, query: Float32) -> Float32:
    """Return the similarity of (n, dim) vectors to one query, (n,), by the definition."""
    exact, wide = query.astype(np.float64), vectors.astype(np.float64)
    quick = np.einsum("nd,d->n", wide, exact)  # in an order of its own: where that may decide a rounding, fold
    off = 4 * len(exact) * np.finfo(np.float64).eps
    score: Float32 = (quick - off).astype(np.float32)
    unsure = score != (quick + off).astype(np.float32)
    if unsure.any():
        score[unsure] = _folded(wide[unsure] * exact)
    return score + np.float32(0)  # minus zero is zero: they tie


def _folded(sums: Float64) -> Float32:
    """Sum (n, dim) products by folding them in halves: (n,)."""
    while (width := sums.shape[1]) > 1:
        half = width // 2
        folded = sums[:, :half] + sums[:, half : 2 * half]
        if width % 2:
            folded[:, 0] += sums[:, -1]
        sums = folded
    return sums[:, 0].astype(np.float32)
