"""Cosines of words, kind by kind, between items and landmarks: which landmarks have a word is kept once for all folds.

What a word weighs differs from fold to fold (`engine.members.kernel.member`), which landmarks have it does not. So the
postings (word -> landmarks) stand beside as many `Weighing`s as there are, each a number for every word, and one for
every landmark and kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.features.inputs import places_of_known
from index.arrays import Float32, Int32, Int64
from index.threads import thread_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

FEW = 16  # items; for more it is worth to bring in a compiler


@dataclass(frozen=True)
class Weighing:
    """Weights of words: one of several beside one `Postings`."""

    weight: Float32  # (known words,)
    factor: Float32  # (kinds, landmarks) the kind's share over the norm of a landmark's words; 0 where it has none


@dataclass(frozen=True)
class Postings:
    """The landmarks that have each known word."""

    kinds: dict[str, slice]  # kind -> its known words, by place
    columns: Int64  # (known words,) of Inputs.words, rising
    starts: Int64  # (known words + 1,) where each word's landmarks begin
    landmarks: NDArray[Any]  # (all,) uint16 or int32, rising within a word
    count: int  # of landmarks

    @classmethod
    def of(cls, words: csr_matrix, columns: Mapping[str, Int64]) -> Self:
        """Postings of landmarks that have `words` (m, all columns) 0/1, of the known `columns` of each kind."""
        known = np.concatenate(list(columns.values()))
        by_word = words[:, known].tocsc()
        by_word.sort_indices()
        small = np.uint16 if words.shape[0] <= 2**16 else np.int32
        ends = np.cumsum([len(of) for of in columns.values()])
        kinds = {
            kind: slice(int(end) - len(of), int(end)) for (kind, of), end in zip(columns.items(), ends, strict=True)
        }
        return cls(kinds, known, by_word.indptr.astype(np.int64), by_word.indices.astype(small), words.shape[0])

    def weighing(self, weight: Float32, shares: Mapping[str, float]) -> Weighing:
        """Weighing of words that weigh so much; `shares` of the kinds in the sum of cosines."""
        factor = np.zeros((len(self.kinds), self.count), np.float32)
        for row, (kind, words) in enumerate(self.kinds.items()):
            first, last = self.starts[words.start], self.starts[words.stop]
            squares = np.repeat(
                weight[words].astype(np.float64) ** 2, np.diff(self.starts[words.start : words.stop + 1])
            )
            norm = np.sqrt(np.bincount(self.landmarks[first:last], squares, minlength=self.count))
            np.divide(shares[kind], norm, out=factor[row], where=norm > 0, casting="unsafe")
        return Weighing(weight, factor)

    def cosines(
        self, words: csr_matrix, weighings: Sequence[Weighing], upto: int | None = None, threads: int = 1
    ) -> Float32:
        """(weighings, n, m) sum over the kinds of share times cosine; `words` (n, all columns) with sorted indices.

        Of the first `upto` landmarks alone, if given. Each of the `threads` takes some of the items, if they are many.
        """
        count = self.count if upto is None else upto
        at, starts = places_of_known(words, self.columns)
        summed = np.zeros((len(weighings), words.shape[0], count), np.float32)
        if words.shape[0] > FEW:
            self._add_many(summed, at, starts, weighings, threads)
            return summed
        for row in range(words.shape[0]):
            self._add(summed[:, row], at[starts[row] : starts[row + 1]], weighings)
        return summed

    def _add_many(self, summed: Float32, at: Int32, starts: Int64, weighings: Sequence[Weighing], threads: int) -> None:
        """Add the cosines of n items to (weighings, n, m); `at` their known words, which begin at `starts` (n + 1,)."""
        from engine.members.kernel.loops import add_cosines

        ends = np.array([of.stop for of in self.kinds.values()], np.int64)
        cuts = np.linspace(0, summed.shape[1], threads + 1).astype(int).tolist()
        with thread_pool(threads) as pool:
            tasks = [
                pool.submit(
                    add_cosines, starts[begin : end + 1], at, ends, weighing.weight, weighing.factor, self.starts,
                    self.landmarks, out[begin:end],
                )
                for weighing, out in zip(weighings, summed, strict=True) for begin, end in pairwise(cuts)
            ]  # fmt: skip
            for task in tasks:
                task.result()

    def _add(self, summed: Float32, at: Int32, weighings: Sequence[Weighing]) -> None:
        """Add one item's cosines to (weighings, m); `at` its known words, rising."""
        from scipy.sparse import csc_matrix

        for row, words in enumerate(self.kinds.values()):
            own = at[np.searchsorted(at, words.start) : np.searchsorted(at, words.stop)]
            if not len(own):
                continue
            squares = np.stack([weighing.weight[own] for weighing in weighings], axis=1) ** 2  # (own, weighings)
            norm = np.sqrt(squares.sum(axis=0))
            share = np.divide(squares, norm, out=np.zeros_like(squares), where=norm > 0)
            first = self.starts[own]
            length = self.starts[own + 1] - first
            ends = np.cumsum(length)
            within = np.arange(ends[-1]) + np.repeat(first - (ends - length), length)
            table = csc_matrix(
                (
                    np.ones(len(within), np.float32),
                    self.landmarks[within].astype(np.int32),
                    np.concatenate([[0], ends]),
                ),
                shape=(self.count, len(own)),
            )
            factors = np.stack([weighing.factor[row] for weighing in weighings])
            summed += (table @ share).T[:, : summed.shape[1]] * factors[:, : summed.shape[1]]


def kinds_of(columns: Mapping[str, Int64]) -> dict[str, slice]:
    """Places of each kind's words among all, one kind after the other."""
    ends = [int(end) for end in np.cumsum([len(of) for of in columns.values()])]
    return {kind: slice(end - len(of), end) for (kind, of), end in zip(columns.items(), ends, strict=True)}
