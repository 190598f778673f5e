"""Cut the rows' projections into levels: what a scan reads of every row, and what it reads next of those that may pass.

The first level is a byte for each of the first directions and one for the length of what lies outside of them, in
blocks as `index.search.int8.products` reads them. Each level after it takes a line of the cache, 64 bytes a row: the
codes of the next 63 directions, and the length outside all directions up to there. A level has one unit for all rows.

Levels are made from the coarse codes when a scan is opened. Compiled by numba, like `index.search.int8.loops`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from index.arrays import Float32, Float64, Int8, Int16, Int32, UInt8
from index.compiled import compiled
from index.search.int8.codes import LARGEST, LARGEST_INT16, LONGEST, ROUNDING, SLACK, STEP, Projection
from index.search.int8.products import FOUR, LINE, ROWS, SIGN, multiply_block

ENERGY = 0.7  # share of the squared lengths that the first level's directions must hold
SAMPLED_ROWS = 10_000
MOST_LINES = 3
MOST = 255  # of a byte
STRETCH = 1024  # rows whose products are held at once: they stay in the nearest cache


@dataclass(frozen=True)
class Levels:
    """The projections of m rows, cut up: the first `width` directions, then `lines` of them."""

    code: UInt8  # (blocks * width * 16,)
    outside: UInt8  # (blocks * 16,) length of what lies outside, as so many units
    lines: Int8  # (lines, m, 64) codes, and last the length of what lies outside
    width: int
    units: Float64  # (1 + lines, 2) what one of a code is, and one of a length outside
    error: Float64  # (1 + lines,) length of what the codes miss of any row's projection up to here, at most

    def encode(self, values: Float64, outside_norm: Float64) -> tuple[Int8, Int16, Float32]:
        """Encode projections of n queries, and the lengths outside of them, as `bounds` and `refine` take them.

        Return (n, width) codes, (n, lines, 64) codes, and (n, 1 + lines, 3) numbers: what a product of codes is worth,
        a unit of a row's length outside, and what a score up to there can be off whatever the row.
        """
        n = len(values)
        code, lines = np.zeros((n, self.width), np.int8), np.zeros((n, len(self.lines), LINE), np.int16)
        numbers = np.zeros((n, len(self.units), 3), np.float32)
        if self.width:
            _encode(values, outside_norm, self.units, self.error, code, lines, numbers)
        return code, lines, numbers


NO_LEVELS = Levels(
    np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros((0, 0, LINE), np.int8), 0, np.zeros((1, 2)), np.zeros(1)
)
"""What is kept where there is no projection."""


def cut(coarse: Projection) -> Levels:
    """Make levels of the coarse codes."""
    level, directions = coarse.level, len(coarse.directions)
    width = _first_width(coarse)
    lines = min(MOST_LINES, -(-(directions - width) // LINE))
    blocks = -(-len(level.code) // ROWS)
    code, outside = np.full(blocks * width * ROWS, SIGN, np.uint8), np.zeros(blocks * ROWS, np.uint8)
    line, error = np.zeros((lines, len(level.code), LINE), np.int8), np.zeros(1 + lines)
    given = (level.code[:, :directions], level.scale, level.error, coarse.outside_norm)
    units = np.full((1 + lines, 2), 1e-30)
    _measure(*given, width, units)
    _write(*given, width, units, code, outside, line, error)
    return Levels(code, outside, line, width, units, error)


def _first_width(coarse: Projection) -> int:
    """The fewest directions, in steps, that hold enough of the rows' squared lengths; which are 1."""
    level, directions = coarse.level, len(coarse.directions)
    sample = slice(None, None, max(1, len(level.code) // SAMPLED_ROWS))
    values = level.code[sample].astype(np.float32) * level.scale[sample, None]
    share = np.cumsum(np.square(values).mean(axis=0))[STEP - 1 : directions : STEP]
    return min(directions, STEP * (1 + int(np.searchsorted(share, ENERGY))))


@compiled
def _ends(width: int, directions: int, level: int) -> tuple[int, int]:
    """The directions [first, last) of a level."""
    if level == 0:
        return 0, width
    first = width + (level - 1) * (LINE - 1)
    return min(first, directions), min(first + LINE - 1, directions)


@compiled
def _outside(code: Int8, scale: np.float32, error: np.float32, outside_norm: np.float32, last: int) -> float:
    total = 0.0
    for j in range(last, code.shape[0]):
        total += np.float64(code[j]) ** 2
    return float(np.sqrt((np.sqrt(total) * scale + error) ** 2 + np.float64(outside_norm) ** 2)) + ROUNDING


@compiled
def _measure(code: Int8, scale: Float32, error: Float32, outside_norm: Float32, width: int, units: Float64) -> None:
    """Find the units by which no row leaves a byte."""
    for level in range(len(units)):
        first, last = _ends(width, code.shape[1], level)
        highest, furthest = 1e-30, 1e-30
        for row in range(len(code)):
            largest = 0
            for j in range(first, last):
                largest = max(largest, abs(int(code[row, j])))
            highest = max(highest, largest * np.float64(scale[row]))
            furthest = max(furthest, _outside(code[row], scale[row], error[row], outside_norm[row], last))
        units[level, 0] = highest / LARGEST
        units[level, 1] = furthest / ((MOST if level == 0 else LARGEST) - 1)


@compiled
def _write(
    code: Int8, scale: Float32, error: Float32, outside_norm: Float32, width: int, units: Float64,
    first_code: UInt8, first_outside: UInt8, lines: Int8, most: Float64,
) -> None:  # fmt: skip
    """Write the bytes of all rows, and into `most` by how much they miss any."""
    for row in range(len(code)):
        start, missed = (row // ROWS) * ROWS * width + (row % ROWS) * FOUR, 0.0
        for level in range(len(units)):
            first, last = _ends(width, code.shape[1], level)
            for j in range(first, last):
                value = code[row, j] * np.float64(scale[row])
                whole = np.rint(value / units[level, 0])
                missed += (value - whole * units[level, 0]) ** 2
                if level == 0:
                    first_code[start + (j // FOUR) * ROWS * FOUR + j % FOUR] = np.uint8(whole + SIGN)
                else:
                    lines[level - 1, row, j - first] = np.int8(whole)
            most[level] = max(most[level], np.sqrt(missed) + error[row] + ROUNDING)
            outside = np.ceil(_outside(code[row], scale[row], error[row], outside_norm[row], last) / units[level, 1])
            if level == 0:
                first_outside[row] = np.uint8(outside)
            else:
                lines[level - 1, row, LINE - 1] = np.int8(outside)


@compiled
def _encode(
    values: Float64, outside_norm: Float64, units: Float64, error: Float64, code: Int8, lines: Int16, numbers: Float32
) -> None:
    width = code.shape[1]
    for q in range(len(values)):
        total = outside_norm[q] ** 2
        for value in values[q]:
            total += value**2
        inside, missed = 0.0, 0.0
        for level in range(len(units)):
            first, last = _ends(width, values.shape[1], level)
            highest, largest = 1e-30, LARGEST if level == 0 else LARGEST_INT16
            for j in range(first, last):
                highest = max(highest, abs(values[q, j]))
            unit = highest / largest
            for j in range(first, last):
                value = values[q, j]
                whole = np.rint(value / unit)
                missed += (value - whole * unit) ** 2
                inside += value**2
                if level == 0:
                    code[q, j] = np.int8(whole)
                else:
                    lines[q, level - 1, j - first] = np.int16(whole)
            # Of rows the codes stand for at most LONGEST and what they miss: the two errors meet in the last product.
            off = error[level] * np.sqrt(inside) + np.sqrt(missed) * (LONGEST + error[level]) + SLACK
            numbers[q, level, 0] = unit * units[level, 0]
            numbers[q, level, 1] = np.sqrt(max(0.0, total - inside)) * units[level, 1]
            numbers[q, level, 2] = off


@compiled
def _bound(
    product: Int32, outside: UInt8, times: np.float32, beyond: np.float32, more: np.float32, above: Float32
) -> None:
    for i in range(len(above)):
        above[i] = np.float32(product[i]) * times + np.float32(outside[i]) * beyond + more


@compiled
def bounds(code: UInt8, outside: UInt8, query: Int8, numbers: Float32, first: int, last: int, above: Float32) -> None:
    """Write the most that the similarity of each row from `first`'s block to `last`'s can be into `above`.

    `numbers`: the query's, of the first level. Rows of those blocks outside [first, last) get -inf.
    """
    width, low = len(query), first // ROWS
    begin = 0  # in whole numbers, where nothing is rounded
    for j in range(width):
        begin -= SIGN * int(query[j])
    products, blocks = np.empty(STRETCH, np.int32), (last + ROWS - 1) // ROWS - low
    for done in range(0, blocks, STRETCH // ROWS):
        count = min(STRETCH // ROWS, blocks - done)
        for block in range(count):
            multiply_block(code, (low + done + block) * ROWS * width, query, begin, products, block * ROWS)
        here = slice((low + done) * ROWS, (low + done + count) * ROWS)
        _bound(
            products[: count * ROWS], outside[here], numbers[0], numbers[1], numbers[2],
            above[done * ROWS : (done + count) * ROWS],
        )  # fmt: skip
    above[: first - low * ROWS] = -np.inf
    above[last - low * ROWS : blocks * ROWS] = -np.inf
