"""Loop over an index where numpy would be slow: scanning bytes, keeping candidates, ranking them by definition.

Compiled by numba for the machine at hand; importing this file imports numba, so it is imported where it is needed. All
loops let go of Python's lock. Integer sums are exact; how far a score can be off is `index.search.int8.codes`'s to
say.
"""

from __future__ import annotations

import numpy as np

from index.arrays import Float32, Float64, Int16, Int64
from index.compiled import compiled
from index.search.int8.codes import LARGEST


@compiled
def _similarity(vectors: Float32, row: int, query: Float64, sums: Float64) -> np.float32:
    """Score a row by the definition of `index.search.similarity`: float64 sums by folding in halves, bit for bit."""
    width = query.shape[0]
    for j in range(width):
        sums[j] = np.float64(vectors[row, j]) * query[j]
    while width > 1:
        half = width // 2
        for j in range(half):
            sums[j] += sums[half + j]
        if width % 2:
            sums[0] += sums[width - 1]
        width = half
    return np.float32(sums[0]) + np.float32(0)  # minus zero is zero: they tie


@compiled
def _key(similarity: np.float32, row: int) -> np.uint64:
    """Return a sort key: smaller is nearer; equal similarities go by row."""
    bits = np.int64(np.float32(similarity).view(np.uint32))
    upwards = bits ^ 0xFFFFFFFF if bits & 0x80000000 else bits | 0x80000000  # as a number, in the order of the floats
    return (np.uint64(0xFFFFFFFF - upwards) << np.uint64(32)) | np.uint64(row)


@compiled
def _keep_nearest(
    vectors: Float32, rows: Int64, query: Float32, k: int, slack: np.float32, count: int,
    position: Int64, low: Float32, high: Float32,
) -> int:  # fmt: skip
    """Keep the k nearest of `count` candidates by definition, where thousands are as good as the k-th."""
    keys, sums, wide = np.empty(count, np.uint64), np.empty(vectors.shape[1]), query.astype(np.float64)
    exact = np.empty(count, np.float32)
    for i in range(count):
        exact[i] = _similarity(vectors, position[i], wide, sums)
        keys[i] = _key(exact[i], rows[position[i]])
    order = np.argsort(keys)[:k]
    kept, score = position[:count][order], exact[order]
    for i in range(len(order)):
        position[i], low[i], high[i] = kept[i], score[i] - slack, score[i] + slack
    return len(order)


@compiled
def compact(
    vectors: Float32, rows: Int64, query: Float32, k: int, slack: np.float32, count: int,
    position: Int64, low: Float32, high: Float32,
) -> tuple[int, np.float32]:  # fmt: skip
    """Drop what can no longer be among the k nearest; return how many are left, and the threshold for those to come."""
    threshold = np.partition(low[:count], count - k)[count - k]
    left = 0
    for i in range(count):
        if high[i] >= threshold:
            position[left], low[left], high[left] = position[i], low[i], high[i]
            left += 1
    if left > position.shape[0] // 2 and left > k:
        left = _keep_nearest(vectors, rows, query, k, slack, left, position, low, high)
        threshold = max(threshold, low[:left].min())
    return left, threshold


@compiled
def encode(
    values: Float64, outside_norm: Float64, largest: int, longest: float, slack: float, code: Int16, numbers: Float32
) -> None:
    """Encode (n, dim) query values, with the numbers beside the codes, for `index.search.int8.scan.QueryEncoder`."""
    width = code.shape[1]
    for q in range(len(values)):
        highest, total, square, missed = 0.0, 0.0, 0.0, 0.0
        for value in values[q]:
            highest, total, square = max(highest, abs(value)), total + abs(value), square + value * value
        scale = np.float32(max(highest / largest, total * LARGEST / (2**31 - LARGEST * width), 1e-30))
        for j in range(values.shape[1]):
            whole = min(max(np.rint(values[q, j] / scale), -largest), largest)
            code[q, j] = whole
            missed += (values[q, j] - whole * scale) ** 2
        numbers[q, 0], numbers[q, 1], numbers[q, 2] = scale, np.sqrt(square), outside_norm[q]
        numbers[q, 3] = np.sqrt(missed) * longest + slack


@compiled
def rank(
    vectors: Float32, rows: Int64, queries: Float32, offsets: Int64, position: Int64, k: int,
    nearest: Int64, similarity: Float32, begin: int, stop: int,
) -> None:  # fmt: skip
    """Score the candidates of queries [begin, stop) by definition; the k nearest, in order, into `nearest` (n, k)."""
    sums = np.empty(vectors.shape[1])
    for q in range(begin, stop):
        query = queries[q].astype(np.float64)
        candidates = position[offsets[q] : offsets[q + 1]]
        keys, exact = np.empty(len(candidates), np.uint64), np.empty(len(candidates), np.float32)
        for i in range(len(candidates)):
            exact[i] = _similarity(vectors, candidates[i], query, sums)
            keys[i] = _key(exact[i], rows[candidates[i]])
        order = np.argsort(keys)[:k]
        for place in range(len(order)):
            nearest[q, place] = rows[candidates[order[place]]]
            similarity[q, place] = exact[order[place]]
