"""What is a word worth? One kind of words, weighted by how rare they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.features import WORD_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

LEAST_ROWS = 2  # a word that fewer rows have makes no two of them alike


@dataclass(frozen=True)
class Words:
    """The words of one kind that are known, and what each weighs."""

    columns: NDArray[np.int64]  # of Inputs.words
    weight: NDArray[np.float32]  # (columns,)

    def rows(self, words: csr_matrix) -> csr_matrix:
        """(n, columns) weighted, every row of norm 1, or 0 where an item has none of them."""
        from scipy.sparse import csr_matrix

        # By hand what words[:, columns] and two diagonal products would do, in a tenth of the time.
        place = np.full(words.shape[1], -1, np.int32)
        place[self.columns] = np.arange(len(self.columns))
        at = place[words.indices]
        known = at >= 0
        starts = np.concatenate([[0], np.cumsum(known)])[words.indptr]
        row, at = np.repeat(np.arange(words.shape[0]), np.diff(starts)), at[known]
        weight = self.weight[at]
        norm = np.sqrt(np.bincount(row, weight**2, minlength=words.shape[0])).astype(np.float32)
        share = weight / np.where(norm > 0, norm, np.float32(1))[row]
        return csr_matrix((share, at, starts), shape=(words.shape[0], len(self.columns)))


def weigh_words(words: csr_matrix, kinds: Iterable[str] = WORD_KINDS) -> dict[str, Words]:
    """By kind, the words that enough rows of `words` (n, all columns) have, by the logarithm of how rare they are."""
    counts = np.bincount(words.indices, minlength=words.shape[1])
    weighed = {}
    for kind in kinds:
        of = WORD_KINDS[kind]
        known = of.start + np.flatnonzero(counts[of] >= LEAST_ROWS)
        weighed[kind] = Words(known, np.log(words.shape[0] / counts[known]).astype(np.float32))
    return weighed
