"""Names of array types, runs of rows, unit rows: what every folder needs of arrays.

It knows numpy alone, and nothing of items or prices.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MOST_INT8 = 127


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Cut `rows` rows into runs of at most `size`, in order, so that a loop needs memory for one run at a time."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def rows_of(values: Float64 | None, rows: Bool | Int64) -> Float64 | None:
    """Take some rows of (n,) values, which may be None."""
    return None if values is None else values[rows]


def around_one(weight: Float64 | None) -> Float64 | None:
    """Scale (n,) weights, which may be None, to a mean of 1: what regularises a fit is as many rows as it says."""
    return None if weight is None else weight / weight.mean()


def unit_rows(vectors: Float32, least: float = 0.0) -> Float32:
    """Scale (n, dim) rows to length 1; rows no longer than `least` become zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > least)
    return unit


def int8_rows(values: Float32) -> tuple[Int8, Float32]:
    """Round (n, dim) rows to whole parts of a scale (n,) of their own: a quarter of the bytes, within half a scale.

    The scale of a row that holds what is no number is none either.
    """
    most = np.abs(values).max(axis=1, initial=0)
    scale = np.where(most == 0, np.float32(1), most / np.float32(MOST_INT8))
    with np.errstate(invalid="ignore"):
        return np.rint(values / scale[:, None]).astype(np.int8), scale
