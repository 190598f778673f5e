"""Turn vectors into bytes that can be scanned, with a bound on how far a score of the bytes can be off.

A row x is kept as x' = scale * code, code int8, with error(x) = |x - x'|. For a query q, kept as q' likewise, Cauchy
and Schwarz bound what a product of codes misses:

    |q.x - q'.x'| <= |q| error(x) + error(q) |x'|

so a row whose score and bound together stay below the k-th best row's score less its bound is no neighbour, and what is
left is scored by the vectors themselves: the result is exact, whatever the codes lose.

Coarse codes come first: those of a projection. With P the directions that carry most of the rows' length (principal
components), q.x = Pq.Px + (q outside of P).(x outside of P), and the second term is at most the product of those two
lengths. On text vectors a third of the dimensions holds nine tenths of the length, and the coarse codes rule out all
but one row in a hundred. The first directions, which carry most, already rule out nineteen in twenty: a scan reads them
first (`index.search.int8.levels`). Where no such directions are found there is no projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from index.arrays import Float32, Float64, Int8, chunks

LONGEST = 1.01  # vector that counts as one of length 1: see `index.search.price_order`
LARGEST_INT16 = 32639  # of a query's code, whose upper byte is a byte still
LARGEST = 127  # of a row's code; -128 is left out, so that every code has its opposite
STEP = 64  # directions that are turned among themselves
WIDTH_STEP = 64  # codes are padded to a multiple: no remainder loop in a scan
ENERGY = 0.9  # share of the squared lengths that a projection must hold
WIDEST_SHARE = 0.5  # a projection wider than this share of the codes would save too little
WIDEST = 2048  # vectors with more numbers get no projection: finding its directions takes the cube of them
SAMPLED_ROWS = 20_000  # from which the directions of a projection are drawn
CHUNK_ROWS = 8192  # encoded at once
ROUNDING = 1e-5  # what float32 may have lost in an error or a length: they are stored that much too large
SLACK = 1e-5  # what float32 may lose in a score and its bound, and directions by not being quite orthonormal


@dataclass(frozen=True)
class Level:
    """Rows as bytes: m of them."""

    code: Int8  # (m, width)
    scale: Float32  # (m,)
    error: Float32  # (m,) length of what scale * code misses, rounded up


@dataclass(frozen=True)
class Projection:
    """The rows' projections as bytes."""

    level: Level  # width: the directions
    outside_norm: Float32  # (m,) length of what lies outside the directions, rounded up
    directions: Float32  # (directions, dim) orthonormal rows


@dataclass(frozen=True)
class Codes:
    """Rows as bytes (m of them), and perhaps their projections, which are shorter."""

    whole: Level
    coarse: Projection | None


def encode_rows(vectors: Float32, like: Codes | None = None) -> Codes:
    """Encode (m, dim) unit rows, projected as `like` if given; memory beside the result is a chunk's."""
    whole = empty_level(*vectors.shape)
    directions = main_directions(vectors) if like is None else like.coarse.directions if like.coarse else None
    coarse = None
    if directions is not None:
        coarse = Projection(empty_level(len(vectors), len(directions)), np.empty(len(vectors), np.float32), directions)
    codes = Codes(whole, coarse)
    for part in chunks(len(vectors), CHUNK_ROWS):
        encode_chunk(vectors[part], codes, part)
    return codes


def empty_level(rows: int, dim: int) -> Level:
    """Make empty arrays for the codes of `rows` vectors."""
    width = -(-dim // WIDTH_STEP) * WIDTH_STEP
    return Level(np.zeros((rows, width), np.int8), np.empty(rows, np.float32), np.empty(rows, np.float32))


def encode_chunk(vectors: Float32, codes: Codes, place: slice) -> None:
    """Write the codes of some rows into `place` of `codes`."""
    _quantise(vectors, codes.whole, place)
    if codes.coarse is None:
        return
    exact, directions = vectors.astype(np.float64), codes.coarse.directions.astype(np.float64)
    projected = exact @ directions.T
    _quantise(projected.astype(np.float32), codes.coarse.level, place)
    codes.coarse.outside_norm[place] = _length(exact - projected @ directions) + ROUNDING


def main_directions(vectors: Float32) -> Float32 | None:
    """Find orthonormal rows (directions, dim) that hold most of the length; None where too many would be needed.

    Drawn from a sample, which costs tightness where it misleads, never exactness. Those that carry most come first,
    each STEP of them turned among themselves at random, so that no one of them dominates a row's scale.
    """
    sample = np.asarray(vectors[:: max(1, len(vectors) // SAMPLED_ROWS)], np.float64)
    if not 0 < sample.shape[1] <= WIDEST or not len(sample):
        return None
    energy, directions = np.linalg.eigh(sample.T @ sample)
    share = np.cumsum(energy[::-1]) / energy.sum()
    width = -(-(int(np.searchsorted(share, ENERGY)) + 1) // WIDTH_STEP) * WIDTH_STEP
    if width > WIDEST_SHARE * vectors.shape[1]:
        return None
    random, main = np.random.default_rng(0), directions[:, ::-1][:, :width].T
    turned = [np.linalg.qr(random.standard_normal((STEP, STEP)))[0] @ main[few] for few in chunks(width, STEP)]
    return np.concatenate(turned).astype(np.float32)


def _quantise(values: Float32, level: Level, place: slice) -> None:
    scale = np.maximum(np.abs(values).max(axis=1), np.float32(1e-30)) / np.float32(LARGEST)
    code = np.rint(values / scale[:, None])
    level.code[place, : values.shape[1]] = code
    level.scale[place] = scale
    level.error[place] = _length(values - scale[:, None] * code) + ROUNDING


def _length(values: Float32 | Float64) -> Float32:
    length: Float32 = np.sqrt(np.einsum("nd,nd->n", values, values)).astype(np.float32)
    return length
