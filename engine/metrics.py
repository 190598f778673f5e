"""Errors of prices, and bootstrap intervals of those errors.

Everything here is in money units and plain percent; log prices are turned into money before they come in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from index.arrays import Float64, Int64

RESAMPLED_AT_ONCE = 4 * 2**20  # units drawn per step of a bootstrap: some 48 MB, whatever the number of rows


def row_smape(price: ArrayLike, predicted: ArrayLike) -> Float64:
    """(n,) 100 |p - y| / ((|p| + |y|) / 2), from 0 to 200: the full definition; 0 where both are 0."""
    price, predicted = _pair(price, predicted)
    half = (np.abs(price) + np.abs(predicted)) / 2
    return 100 * np.divide(np.abs(price - predicted), half, out=np.zeros_like(half), where=half > 0)


def smape(price: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of `row_smape`: 0 to 200, the figure that the challenge scores."""
    return float(row_smape(price, predicted).mean())


def r_squared(price: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the variance of `price` that `predicted` explains: 1 at best, below 0 where the mean would be better.

    Where all prices are equal, 1 if each was met and else 0, as scikit-learn has it.
    """
    price, predicted = _pair(price, predicted)
    missed, spread = float(((price - predicted) ** 2).sum()), float(((price - price.mean()) ** 2).sum())
    return 1 - missed / spread if spread > 0 else float(missed == 0)


def weighted_quantile(values: Float64, weight: Float64, share: ArrayLike) -> Float64:
    """(s,) the least of `values` (n,) up to which at least each `share` (s,) of the whole `weight` (n,) lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    place = np.searchsorted(reached, np.asarray(share) * reached[-1], side="left")
    quantile: Float64 = values[order[np.minimum(place, len(values) - 1)]]
    return quantile


def weighted_quantiles(values: Float64, weight: Float64, shares: tuple[float, ...]) -> Float64:
    """(n, shares) quantiles of each row of (n, k), whose weights add up to 1, or are all 0: NaN there."""
    order = np.argsort(values, axis=1)
    reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    places = np.stack([np.argmax(reached >= share, axis=1) for share in shares], axis=1)
    quantiles: Float64 = np.take_along_axis(values, np.take_along_axis(order, places, axis=1), axis=1)
    return quantiles


def median_ape(price: ArrayLike, predicted: ArrayLike) -> float:
    """The median of 100 |p - y| / |y|, y the true price; 0 where both are 0, infinite where only the price is."""
    price, predicted = _pair(price, predicted)
    missed = np.abs(price - predicted)
    beyond = np.where(missed > 0, np.inf, 0.0)
    return float(np.median(100 * np.divide(missed, np.abs(price), out=beyond, where=price != 0)))


def coverage(price: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """The share (0 to 1) of prices that lie within [low, high], ends included."""
    price, low = _pair(price, low)
    price, high = _pair(price, high)
    return float(np.mean((low <= price) & (price <= high)))


def interval_score(values: ArrayLike, low: ArrayLike, high: ArrayLike, level: float) -> float:
    """The mean interval score of central intervals at a `level` (Gneiting and Raftery, 2007): lower is better.

    Width, and for a value outside its distance times 2 / (1 - level); in the units of `values`.
    """
    values, low = _pair(values, low)
    values, high = _pair(values, high)
    outside = np.maximum(low - values, 0) + np.maximum(values - high, 0)
    return float(np.mean(high - low + 2 / (1 - level) * outside))


def bootstrap(
    values: ArrayLike, *, groups: ArrayLike | None = None, draws: int = 1000, level: float = 0.95, seed: int
) -> tuple[float, float]:
    """The percentile interval (low, high) of the mean of `values` (n,).

    With `groups` (n,), whole groups are drawn (the cluster bootstrap): the errors of near-duplicates are similar, and
    drawn as single rows they would make the interval too narrow. A draw's mean is then over the rows that it holds:
    large groups count by their rows.
    """
    values = np.asarray(values, np.float64)
    assert values.ndim == 1 and len(values) and np.isfinite(values).all(), values.shape
    assert draws >= 1 and 0 < level < 1, (draws, level)
    total, rows = values, None
    if groups is not None:
        groups = np.asarray(groups)
        assert groups.shape == values.shape, (groups.shape, values.shape)
        _, member, rows = np.unique(groups, return_inverse=True, return_counts=True)
        total = np.bincount(member, weights=values)
    means = _resampled_means(total, rows, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, groups: ArrayLike | None = None, draws: int = 1000, level: float = 0.95, seed: int
) -> tuple[float, float]:
    """The percentile interval of mean(a - b), two measures of the same rows; with 0 outside it, they really differ."""
    a, b = _pair(a, b)
    return bootstrap(a - b, groups=groups, draws=draws, level=level, seed=seed)


def _resampled_means(total: Float64, rows: Int64 | None, draws: int, random: np.random.Generator) -> Float64:
    """(draws,) means of as many units as there are, drawn with replacement; `rows` a unit holds, one where None."""
    units = len(total)
    means = np.empty(draws)
    step = max(1, RESAMPLED_AT_ONCE // units)
    for done in range(0, draws, step):
        drawn = random.integers(units, size=(min(step, draws - done), units), dtype=np.int32)
        held = units if rows is None else rows[drawn].sum(axis=1)
        means[done : done + len(drawn)] = total[drawn].sum(axis=1) / held
    return means


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Float64, Float64]:
    """Both as float64 (n,), of one length above 0 and without NaN or infinity."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    assert first.ndim == 1 and len(first) and first.shape == second.shape, (first.shape, second.shape)
    assert np.isfinite(first).all() and np.isfinite(second).all()
    return first, second
