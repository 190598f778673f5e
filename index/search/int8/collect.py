"""Loop over the codes of rows, from the shortest to the longest, for what may be among a query's nearest.

Compiled by numba, like `index.search.int8.loops`. `first_code`, `outside` and `lines` are those of
`index.search.int8.levels`; where there is no projection they are empty, and whole codes come first.
"""

from __future__ import annotations

import numpy as np

from index.arrays import Float32, Int8, Int16, Int32, Int64, UInt8
from index.compiled import compiled
from index.search.int8.codes import LARGEST_INT16
from index.search.int8.levels import bounds
from index.search.int8.loops import compact, encode, rank
from index.search.int8.products import LINE, ROWS, gather, halve, multiply_row, prefetch

FEW = 32  # rows of which the highest bound alone counts for the first threshold
CHUNK = 1024  # rows of which those that pass are gathered before the next level is read
LOWEST = np.float32(-3e38)  # below every bound but that of a row that is not to be seen
HOPEFUL = 8  # times k rows are looked at first, for a high threshold


@compiled
def _bounds_of_rows(
    code: Int8, scale: Float32, error: Float32, query: Int16, halves: Int8, total: int, numbers: Float32,
    first: int, last: int, above: Float32,
) -> None:  # fmt: skip
    """Write the most that each row's similarity can be into `above`, where there are whole codes alone."""
    for row in range(first, last):
        above[row - first] = np.float32(multiply_row(code, row, query, halves, total))
    unit, length, more = numbers[0], numbers[1], numbers[3]
    scales, errors = scale[first:last], error[first:last]
    for i in range(last - first):
        above[i] = above[i] * (scales[i] * unit) + errors[i] * length + more
    above[last - first :] = -np.inf


@compiled
def _hopeful(above: Float32, k: int) -> np.float32:
    """A bound that a few times k rows reach; infinity where there are too few of them."""
    # Rows are dealt out in turns, so that each step of the loop is one instruction for many of them.
    parts = len(above) // FEW
    if parts <= 4 * k:
        return np.float32(np.inf)
    best = above[:parts].copy()
    for start in range(parts, len(above) - parts + 1, parts):
        part = above[start : start + parts]
        for i in range(parts):
            best[i] = part[i] if part[i] > best[i] else best[i]
    few = min(HOPEFUL * k, parts // 2)
    return np.float32(np.partition(best, parts - few)[parts - few])


@compiled
def _refine(
    line: Int8, query: Int16, halves: Int8, total: int, numbers: Float32, threshold: np.float32,
    hits: Int32, hit: int, scores: Float32,
) -> int:  # fmt: skip
    """Keep those of the first `hit` of `hits` that may reach the threshold, and their `scores`; return how many."""
    for i in range(hit):
        prefetch(line, int(hits[i]) * LINE)
    kept = 0
    for i in range(hit):
        row = int(hits[i])
        score = scores[i] + np.float32(multiply_row(line, row, query, halves, total)) * numbers[0]
        hits[kept], scores[kept] = row, score
        # no branch: half of them would be guessed
        kept += int(score + np.float32(line[row, LINE - 1]) * numbers[1] + numbers[2] >= threshold)
    return kept


@compiled
def _keep(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: int, query: Float32, k: int, slack: np.float32,
    code: Int8, scale: Float32, error: Float32, code_query: Int16, halves: Int8, total: int, numbers: Float32,
    hits: Int32, hit: int, threshold: np.float32, count: int, position: Int64, low: Float32, high: Float32,
) -> tuple[int, np.float32]:  # fmt: skip
    """Write those of `hits` that may be among the nearest by their whole codes into `position`; see `collect`."""
    unit, length, more = numbers[0], numbers[1], numbers[3]
    for i in range(hit):
        for j in range(0, code.shape[1], LINE):
            prefetch(code, int(hits[i]) * code.shape[1] + j)
        prefetch(scale, hits[i])
        prefetch(error, hits[i])
    for i in range(hit):
        row = int(hits[i])
        score = np.float32(multiply_row(code, row, code_query, halves, total)) * (scale[row] * unit)
        off = error[row] * length + more
        if score + off < threshold or (len(groups) and excluded_group >= 0 and groups[row] == excluded_group):
            continue
        if count == position.shape[0]:
            count, threshold = compact(vectors, rows, query, k, slack, count, position, low, high)
        position[count], low[count], high[count] = row, score - off, score + off
        count += 1
    return count, threshold


@compiled
def collect(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: int, query: Float32, k: int, slack: np.float32,
    first_code: UInt8, outside: UInt8, lines: Int8, first_query: Int8, line_query: Int16, level_numbers: Float32,
    code: Int8, scale: Float32, error: Float32, code_query: Int16, numbers: Float32,
    first: int, last: int, position: Int64, low: Float32, high: Float32,
) -> int:  # fmt: skip
    """Write every row of [first, last) that may be among a query's k nearest into `position`; return how many.

    First all rows by their `first_code`; what may pass by one of the `lines` after the other, then by the whole codes.
    `numbers`: the query's scale, its length, and last what is the same for every row. `groups` may be empty; the
    capacity of `position` is four times k at least.
    """
    halves, totals = np.empty((2, len(code_query)), np.int8), np.empty(len(lines), np.int64)
    line_halves, total = np.empty((len(lines), 2, LINE), np.int8), halve(code_query, halves)
    for level in range(len(lines)):
        totals[level] = halve(line_query[level], line_halves[level])
    base = first // ROWS * ROWS if len(first_code) else first
    above = np.empty((last - base + ROWS - 1) // ROWS * ROWS, np.float32)
    if len(first_code):
        bounds(first_code, outside, first_query, level_numbers[0], first, last, above)
    else:
        _bounds_of_rows(code, scale, error, code_query, halves, total, numbers, first, last, above)
    count, threshold, hopeful = 0, LOWEST, _hopeful(above, k)
    hits, scores = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.float32)
    # The first round takes the likeliest rows alone, for a high threshold; the second all others that reach it.
    for hopefuls in (True, False):
        if hopefuls and hopeful == np.inf:
            continue
        for start in range(0, len(above), CHUNK):
            # a row was taken in the first round or is looked at in the second, never both
            lower, upper = (hopeful, np.float32(np.inf)) if hopefuls else (threshold, hopeful)
            hit = gather(above, start, min(start + CHUNK, len(above)), lower, upper, hits)
            for i in range(hit):
                at = hits[i]
                hits[i] += base
                if len(first_code):
                    scores[i] = above[at] - np.float32(outside[hits[i]]) * level_numbers[0, 1] - level_numbers[0, 2]
            for level in range(len(lines)):
                hit = _refine(
                    lines[level], line_query[level], line_halves[level], totals[level], level_numbers[1 + level],
                    threshold, hits, hit, scores,
                )  # fmt: skip
            count, threshold = _keep(
                vectors, rows, groups, excluded_group, query, k, slack, code, scale, error,
                code_query, halves, total, numbers, hits, hit, threshold, count, position, low, high,
            )  # fmt: skip
        if count > k:
            count, threshold = compact(vectors, rows, query, k, slack, count, position, low, high)
    return count


@compiled
def collect_many(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: Int64, queries: Float32, k: int, slack: np.float32,
    first_code: UInt8, outside: UInt8, lines: Int8, first_query: Int8, line_query: Int16, level_numbers: Float32,
    code: Int8, scale: Float32, error: Float32, code_query: Int16, numbers: Float32,
    start: Int64, end: Int64, counts: Int64, position: Int64, low: Float32, high: Float32, begin: int, stop: int,
) -> None:  # fmt: skip
    """Call `collect` for queries [begin, stop)."""
    for q in range(begin, stop):
        counts[q] = collect(
            vectors, rows, groups, excluded_group[q], queries[q], k, slack,
            first_code, outside, lines, first_query[q], line_query[q], level_numbers[q],
            code, scale, error, code_query[q], numbers[q],
            start[q], end[q], position[q], low[q], high[q],
        )  # fmt: skip


@compiled
def search_one(
    vectors: Float32, rows: Int64, groups: Int64, excluded_group: int, query: Float32, k: int, slack: np.float32,
    first_code: UInt8, outside: UInt8, lines: Int8, first_query: Int8, line_query: Int16, level_numbers: Float32,
    code: Int8, scale: Float32, error: Float32, longest: float,
    first: int, last: int, capacity: int, nearest: Int64, similarity: Float32,
) -> None:  # fmt: skip
    """Call `encode`, `collect` and `rank` for one query (1, dim): apart they would take a third longer."""
    whole_query, numbers = np.zeros((1, code.shape[1]), np.int16), np.empty((1, 4), np.float32)
    encode(query.astype(np.float64), np.zeros(1), LARGEST_INT16, longest, np.float64(slack), whole_query, numbers)
    position, low, high = np.empty(capacity, np.int64), np.empty(capacity, np.float32), np.empty(capacity, np.float32)
    offsets = np.zeros(2, np.int64)
    offsets[1] = collect(
        vectors, rows, groups, excluded_group, query[0], k, slack,
        first_code, outside, lines, first_query[0], line_query[0], level_numbers[0],
        code, scale, error, whole_query[0], numbers[0], first, last, position, low, high,
    )  # fmt: skip
    rank(vectors, rows, query, offsets, position, k, nearest, similarity, 0, 1)
