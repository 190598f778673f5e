"""How do the rows of an index lie? By log price, so that a band of prices is one contiguous range of positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.errors import DataRefused
from index.search.int8_codes import Codes
from index.search.similarity import Float32, Float64, Int64

UNIT_TOLERANCE = 0.01  # how far from 1 a norm may be: vectors that were kept in half precision are off by up to 0.004


@dataclass(frozen=True)
class PriceOrder:
    """m rows that can be found, in the order of their log price, and of their number where prices tie."""

    vectors: Float32  # (m, dim) unit rows
    log_price: Float32  # (m,) rising
    rows: Int64  # (m,) the number by which a row is known, and by which equal similarities are ordered
    groups: Int64  # (m,) rows that can be excluded together, such as twins, from 0; or (0,) where there are none
    codes: Codes | None = None  # of the same rows, where they were made before

    def range_of(self, centre: Float64, band: float) -> tuple[Int64, Int64]:
        """(n,) first and (n,) one past the last position with |log price - centre| <= band."""
        start = np.searchsorted(self.log_price, _lowest_within(centre, band), side="left")
        end = np.searchsorted(self.log_price, -_lowest_within(-centre, band), side="right")
        return start, end


def order_by_price(vectors: ArrayLike, log_price: ArrayLike, groups: ArrayLike | None = None) -> PriceOrder:
    """Copy rows into price order. `vectors` (m, dim): unit rows, or zero rows, which nobody can find.

    `log_price` (m,); `groups` (m,) from 0. Raises DataRefused for NaN or infinity.
    """
    vectors, price = np.asarray(vectors, np.float32), np.asarray(log_price, np.float32)
    assert vectors.ndim == 2 and price.shape == (len(vectors),), (vectors.shape, price.shape)
    there = present(vectors, "row of the index")
    refuse_unless_finite(price, "log prices", "row of the index")
    rows = positions_by_price(price, there)
    grouped = np.zeros(0, np.int64)
    if groups is not None:
        grouped = np.asarray(groups, np.int64)
        assert grouped.shape == price.shape and not np.any(grouped < 0), (grouped.shape, price.shape)
        grouped = grouped[rows]
    return PriceOrder(np.ascontiguousarray(vectors[rows]), price[rows], rows, grouped)


def positions_by_price(log_price: Float32, found: NDArray[np.bool_]) -> Int64:
    """The rows that can be found, in price order."""
    rows = np.flatnonzero(found)
    return rows[np.argsort(log_price[rows], kind="stable")]


def present(vectors: Float32, line: str) -> NDArray[np.bool_]:
    """(n,) which rows are vectors at all; those must be of unit length, or a product would not be a cosine.

    Raises DataRefused for NaN or infinity, naming the first `line` that holds one.
    """
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    off: Float32 = np.abs(norm - 1)
    if (off <= UNIT_TOLERANCE).all():  # which NaN is not: nothing else need be asked
        return np.ones(len(vectors), np.bool_)
    refuse_unless_finite(vectors, "vectors", line)
    there: NDArray[np.bool_] = np.asarray(vectors.any(axis=1))
    assert np.all(off[there] <= UNIT_TOLERANCE), f"norm {norm[there].min()} to {norm[there].max()}"
    return there


def refuse_unless_finite(values: NDArray[np.floating], what: str, line: str) -> None:
    """DataRefused names the first `line` whose values hold NaN or infinity."""
    if np.isfinite(values).all():
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    raise DataRefused(
        f"{len(bad):,} of {len(values):,} {what} hold NaN or infinity, the first at {line} {bad[0]:,}: "
        "check what made them; a missing vector is a row of zeros."
    )


def _lowest_within(centre: Float64, band: float) -> Float32:
    """The lowest float32 log price with centre - log price <= band: where that sentence, in float64, puts the edge.

    centre - band, rounded to float32, can fall half a step below it.
    """
    near = np.maximum(np.minimum(centre - band, 1e38), -1e38).astype(np.float32)
    return np.where(centre - near <= band, near, np.nextafter(near, np.float32(np.inf)))
