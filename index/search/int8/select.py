"""Loop over products of int8 codes, of many queries with many rows, and keep each query's candidates.

Compiled by numba, like `index.search.int8.loops`.
"""

from __future__ import annotations

import numpy as np

from index.arrays import Float32, Int32, Int64
from index.compiled import compiled
from index.search.int8.loops import compact

BLOCK = 128  # rows whose best score is taken together
FEW = 16  # the same, where a block holds a candidate or there are few rows to set a threshold by


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
                        count, threshold = compact(
                            vectors, rows, queries[q], k, slack, count, position[q], low[q], high[q]
                        )
                    position[q, count], low[q, count], high[q, count] = row, score - off, score + off
                    count += 1
        if count > 2 * k:
            count, threshold = compact(vectors, rows, queries[q], k, slack, count, position[q], low[q], high[q])
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
