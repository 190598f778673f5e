"""Make rows and queries up for the search benchmarks, and say which of the nearest rows a search has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from index.arrays import chunks, unit_rows
from index.search.price_order import PriceOrder
from index.search.similarity import nearest

K = 32
KIND = 50  # items of one kind, which are alike and cost alike
CHUNK = 50_000  # rows made at once


@dataclass
class Queries:
    """n queries in price order, what they cost by prediction, and the rows from `start` to `end` in their bands."""

    vectors: np.ndarray  # (n, dim)
    centre: np.ndarray  # (n,) log price
    band: float
    start: np.ndarray  # (n,)
    end: np.ndarray

    def take(self, rows: np.ndarray) -> Queries:
        """Some of them."""
        return Queries(self.vectors[rows], self.centre[rows], self.band, self.start[rows], self.end[rows])


@dataclass
class MadeUp:
    """Items of kinds, in price order: (rows,) log prices and kinds; vectors are made chunk by chunk."""

    log_price: np.ndarray
    kind: np.ndarray
    middle: np.ndarray  # (kinds, dim) float32
    turn: np.ndarray  # (dim, dim)
    strength: np.ndarray  # (dim,)
    random: np.random.Generator

    @classmethod
    def of(cls, rows: int, dim: int, random: np.random.Generator, flat: bool = False) -> MadeUp:
        """Make so many rows; nine tenths of the length in a third of the directions unless `flat`."""
        kinds = max(1, rows // KIND)
        strength = np.ones(dim) if flat else np.arange(1, dim + 1) ** -0.6
        turn = np.linalg.qr(random.standard_normal((dim, dim)))[0].astype(np.float32)
        level, middle = random.normal(2.7, 0.9, kinds), random.standard_normal((kinds, dim), np.float32)
        kind = random.integers(0, kinds, rows)
        log_price = (level[kind] + random.normal(0, 0.35, rows)).astype(np.float32)
        order = np.argsort(log_price, kind="stable")
        return cls(log_price[order], kind[order], middle, turn, strength.astype(np.float32), random)

    def vectors(self, kind: np.ndarray) -> Iterator[np.ndarray]:
        """Unit vectors of items of these kinds, chunk after chunk."""
        for run in chunks(len(kind), CHUNK):
            own = self.random.standard_normal((len(kind[run]), len(self.strength)), np.float32)
            yield unit_rows(((self.middle[kind[run]] + np.float32(0.7) * own) * self.strength) @ self.turn)

    def order(self, rows: np.ndarray) -> PriceOrder:
        """The rows (rows, dim), which their maker was asked for, as an index has them."""
        return PriceOrder(rows, self.log_price, np.arange(len(rows)), np.zeros(0, np.int64))

    def queries(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """More items, (count, dim), and what they cost by prediction, (count,) log price."""
        pick = self.random.integers(0, len(self.kind), count)
        centre = self.log_price[pick] + self.random.normal(0, 0.3, count)
        return np.concatenate(list(self.vectors(self.kind[pick]))), centre


def queries_within(rows: PriceOrder, vectors: np.ndarray, centre: np.ndarray, band: float) -> Queries:
    """Sort by price, as an index would. A band below 0 is a share of the rows: the half-width that holds it."""
    order = np.argsort(centre, kind="stable")
    centre = centre[order].astype(np.float64)
    half = half_width(rows, centre, -band) if band < 0 else band
    return Queries(vectors[order], centre, half, *rows.range_of(centre, half))


def half_width(rows: PriceOrder, centre: np.ndarray, share: float) -> float:
    """The half-width of a band that holds this share of the rows, on average over the queries."""
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        start, end = rows.range_of(centre, middle)
        low, high = (middle, high) if (end - start).mean() < share * len(rows.rows) else (low, middle)
    return round(high, 4)


def recall(rows: PriceOrder, queries: Queries, found: list[np.ndarray]) -> float:
    """Share of the true neighbours, by brute force, that were found."""
    right = total = 0
    for query, start, end, own in zip(queries.vectors, queries.start, queries.end, found, strict=False):
        inside = np.arange(start, end)
        scores = rows.vectors[start:end] @ query
        likely = inside[np.argsort(-scores, kind="stable")[: K + 64]]
        truth = nearest(rows.vectors, np.arange(len(rows.rows)), np.sort(likely), query, K)[0]
        right, total = right + len(np.intersect1d(own[own >= 0], truth)), total + len(truth)
    return right / max(1, total)
