"""Loop over an index where numpy would be slow: scanning bytes, keeping candidates, ranking them by definition.

Compiled by numba for the machine at hand; importing this file imports numba, so it is imported where it is needed. All
loops let go of Python's lock. Integer sums are exact; how far a score can be off is `index.search.int8_codes`'s to
say.
"""

from __future__ import annotations

import numpy as np

from index.arrays import Float32, Float64, Int8, Int16, Int32, Int64
from index.compiled import compiled
from index.search.int8_codes import LARGEST

COARSE_BLOCK = 32  # rows of the coarse codes whose highest bound is noted
BLOCK = 128  # rows whose best score is taken together
FEW = 16  # the same, where a block holds a candidate or there are few rows to set a threshold by


@compiled
def _product(code: Int8, row: int, query: Int16) -> np.int32:
    total = np.int32(0)
    for j in range(query.shape[0]):
        # Cut back to 32 bits at each step, which the query's scale makes safe: numba would go on in 64.
        total = np.int32(total + np.int32(code[row, j]) * np.int32(query[j]))
    return total


@compiled
def _bound(
    score: Float32, scale: Float32, error: Float32, outside_norm: Float32,
    unit: np.float32, length: np.float32, beyond: np.float32, more: np.float32,
) -> None:  # fmt: skip
    for i in range(len(score)):
        score[i] = score[i] * (scale[i] * unit) + error[i] * length + outside_norm[i] * beyond + more


@compiled
def _bounds_of_blocks(
    code: Int8, scale: Float32, error: Float32, outside_norm: Float32, query: Int16, numbers: Float32,
    first: int, last: int, above: Float32, best: Float32,
) -> None:  # fmt: skip
    """Write into `above` the most that each row's similarity can be, into `best` the highest of each block of rows."""
    unit, length, beyond, more = numbers[0], numbers[1], numbers[2], numbers[3]
    for row in range(first, last):
        above[row - first] = np.float32(_product(code, row, query))
    here = slice(first, last)
    _bound(above, scale[here], error[here], outside_norm[here], unit, length, beyond, more)
    for block in range(best.shape[0]):
        highest = np.float32(-np.inf)
        for at in range(block * COARSE_BLOCK, min((block + 1) * COARSE_BLOCK, last - first)):
            highest = max(highest, above[at])
        best[block] = highest


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
def _compact(
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
def collect_candidates(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: int, query: Float32, k: int, slack: np.float32,
    coarse: Int8, coarse_scale: Float32, coarse_error: Float32, coarse_outside_norm: Float32,
    coarse_query: Int16, coarse_numbers: Float32,
    code: Int8, scale: Float32, error: Float32, code_query: Int16, numbers: Float32,
    first: int, last: int, position: Int64, low: Float32, high: Float32,
) -> int:  # fmt: skip
    """Write every row of [first, last) that may be among a query's k nearest into `position`; return how many.

    First all rows by their `coarse` codes, which may be of a projection or the whole ones; what may pass is scored by
    the whole codes. `numbers`: the query's scale, its length, that of what lies outside the directions, and what is the
    same for every row. `groups` may be empty; the capacity of `position` is four times k at least.
    """
    above = np.empty(last - first, np.float32)
    best = np.empty((last - first + COARSE_BLOCK - 1) // COARSE_BLOCK, np.float32)
    _bounds_of_blocks(
        coarse, coarse_scale, coarse_error, coarse_outside_norm, coarse_query, coarse_numbers, first, last, above, best
    )
    unit, length, more = numbers[0], numbers[1], numbers[3]
    threshold, hopeful = np.float32(-np.inf), np.float32(np.inf)
    if len(best) > 4 * k:
        hopeful = np.partition(best, len(best) - 2 * k)[len(best) - 2 * k]
    hits, scores = np.empty(COARSE_BLOCK, np.int64), np.empty(COARSE_BLOCK, np.float32)
    count = 0
    # The first round takes the likeliest rows alone, for a high threshold; the second all others that reach it.
    for hopefuls in (True, False):
        for block in range(len(best)):
            if best[block] < threshold or (hopefuls and best[block] < hopeful):
                continue
            hit = 0
            for at in range(block * COARSE_BLOCK, min((block + 1) * COARSE_BLOCK, last - first)):
                # strictly: a row was taken in the first round or is looked at in the second, never both
                if above[at] >= threshold and (above[at] >= hopeful) == hopefuls:
                    hits[hit] = first + at
                    hit += 1
            for i in range(hit):  # a loop of its own, so that the memory is asked for many at once
                scores[i] = np.float32(_product(code, hits[i], code_query)) * (scale[hits[i]] * unit)
            for i in range(hit):
                row, score = hits[i], scores[i]
                off = error[row] * length + more
                if score + off < threshold or (len(groups) and excluded_group >= 0 and groups[row] == excluded_group):
                    continue
                if count == position.shape[0]:
                    count, threshold = _compact(vectors, rows, query, k, slack, count, position, low, high)
                position[count], low[count], high[count] = row, score - off, score + off
                count += 1
        if count > k:
            count, threshold = _compact(vectors, rows, query, k, slack, count, position, low, high)
    return count


@compiled
def _reached(product: Int32, scale: Float32, error: Float32, ratio: np.float32, threshold: np.float32) -> bool:
    """Tell whether any row can reach the threshold; without a branch, so that many are compared in one instruction."""
    passing = np.int32(0)
    for i in range(len(product)):
        passing = np.int32(passing + np.int32(np.float32(product[i]) * scale[i] + error[i] * ratio >= threshold))
    return bool(passing > 0)


@compiled
def _first_threshold(
    product: Int32, scale: Float32, error: Float32, groups: Int64, excluded_group: int,
    unit: np.float32, length: np.float32, extra: np.float32, k: int,
) -> np.float32:  # fmt: skip
    """A similarity that k of these rows surely have: the k-th highest of what the best of each few rows surely has."""
    # Rows are dealt out in turns, so that each step of the loop is one instruction for many of them.
    best = np.full(max(1, len(product) // FEW), -np.inf, np.float32)
    if len(best) <= k:
        return np.float32(-np.inf)
    for start in range(0, len(product), len(best)):
        stop = min(start + len(best), len(product))
        score, here, off = product[start:stop], scale[start:stop], error[start:stop]
        if excluded_group >= 0:
            for j in range(stop - start):
                if groups[start + j] != excluded_group:
                    best[j] = max(best[j], np.float32(score[j]) * (here[j] * unit) - off[j] * length - extra)
        else:
            for j in range(stop - start):
                sure = np.float32(score[j]) * (here[j] * unit) - off[j] * length - extra
                best[j] = sure if sure > best[j] else best[j]
    return np.float32(np.partition(best, len(best) - k)[len(best) - k])


@compiled
def encode(
    values: Float64, outside_norm: Float64, largest: int, longest: float, slack: float, code: Int16, numbers: Float32
) -> None:
    """Encode (n, dim) query values, with the numbers beside the codes, for `index.search.int8_scan.QueryEncoder`."""
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
def select(
    products: Int32, low_row: int, scale: Float32, error: Float32, units: Float32, lengths: Float32, more: Float32,
    start: Int64, end: Int64, vectors: Float32, rows: Int64, groups: Int64, excluded_group: Int64, queries: Float32,
    k: int, slack: np.float32, thresholds: Float32, counts: Int64, position: Int64, low: Float32, high: Float32,
    begin: int, stop: int,
) -> None:  # fmt: skip
    """Keep the candidates of queries [begin, stop) from `products` (queries, rows from `low_row` on) of their codes.

    `thresholds`, `counts`, `position`, `low`, `high`: what each query has so far, carried on from run to run of rows.
    """
    capacity = position.shape[1]
    for q in range(begin, stop):
        first = max(start[q], low_row) - low_row
        last = min(end[q], low_row + products.shape[1]) - low_row
        unit, length, extra, threshold, count = units[q], lengths[q], more[q], thresholds[q], counts[q]
        if threshold == -np.inf and first < last:
            all_of = slice(low_row + first, low_row + last)
            threshold = _first_threshold(
                products[q, first:last], scale[all_of], error[all_of], groups[all_of] if len(groups) else groups,
                excluded_group[q], unit, length, extra, k,
            )  # fmt: skip
        for at in range(first, last, BLOCK):
            until = min(at + BLOCK, last)
            here = slice(low_row + at, low_row + until)
            if not _reached(products[q, at:until], scale[here], error[here], length / unit, (threshold - extra) / unit):
                continue
            for few in range(at, until, FEW):
                few_until = min(few + FEW, until)
                here = slice(low_row + few, low_row + few_until)
                if not _reached(
                    products[q, few:few_until], scale[here], error[here], length / unit, (threshold - extra) / unit
                ):
                    continue
                for i in range(few, few_until):
                    row = low_row + i
                    score = np.float32(products[q, i]) * (scale[row] * unit)
                    off = error[row] * length + extra
                    if score + off < threshold or (
                        len(groups) and excluded_group[q] >= 0 and groups[row] == excluded_group[q]
                    ):
                        continue
                    if count == capacity:
                        count, threshold = _compact(
                            vectors, rows, queries[q], k, slack, count, position[q], low[q], high[q]
                        )
                    position[q, count], low[q, count], high[q, count] = row, score - off, score + off
                    count += 1
        if count > 2 * k:
            count, threshold = _compact(vectors, rows, queries[q], k, slack, count, position[q], low[q], high[q])
        thresholds[q], counts[q] = threshold, count


@compiled
def prune(k: int, counts: Int64, position: Int64, low: Float32, high: Float32, begin: int, stop: int) -> None:
    """Drop what the last rows put out of reach."""
    for q in range(begin, stop):
        count = counts[q]
        if count <= k:
            continue
        threshold = np.partition(low[q, :count], count - k)[count - k]
        left = 0
        for i in range(count):
            if high[q, i] >= threshold:
                position[q, left] = position[q, i]
                left += 1
        counts[q] = left


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


@compiled
def search_one(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: int, query: Float32, k: int, slack: np.float32,
    coarse: Int8, coarse_scale: Float32, coarse_error: Float32, coarse_outside_norm: Float32,
    values: Float64, outside_norm: Float64, coarse_longest: float,
    code: Int8, scale: Float32, error: Float32, longest: float, largest: int,
    first: int, last: int, capacity: int, nearest: Int64, similarity: Float32,
) -> None:  # fmt: skip
    """Call `encode`, `collect_candidates` and `rank` for one query (1, dim): three calls would take a third longer."""
    coarse_query, coarse_numbers = np.zeros((1, coarse.shape[1]), np.int16), np.empty((1, 4), np.float32)
    encode(values, outside_norm, largest, coarse_longest, np.float64(slack), coarse_query, coarse_numbers)
    whole_query, numbers = np.zeros((1, code.shape[1]), np.int16), np.empty((1, 4), np.float32)
    encode(query.astype(np.float64), np.zeros(1), largest, longest, np.float64(slack), whole_query, numbers)
    position, low, high = np.empty(capacity, np.int64), np.empty(capacity, np.float32), np.empty(capacity, np.float32)
    offsets = np.zeros(2, np.int64)
    offsets[1] = collect_candidates(
        vectors, rows, groups, excluded_group, query[0], k, slack,
        coarse, coarse_scale, coarse_error, coarse_outside_norm, coarse_query[0], coarse_numbers[0],
        code, scale, error, whole_query[0], numbers[0], first, last, position, low, high,
    )  # fmt: skip
    rank(vectors, rows, query, offsets, position, k, nearest, similarity, 0, 1)
