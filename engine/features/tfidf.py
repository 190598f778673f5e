"""Tf-idf: words of several kinds, each weighted by how rare it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.features.inputs import FURTHER, WORD_KINDS, places_of_known

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from index.arrays import Float32, Int64

LEAST_ROWS = 2  # a word that only one row has makes no two of them similar


@dataclass(frozen=True)
class Words:
    """The words of one kind that are known, and what each weighs."""

    columns: Int64  # of Inputs.words
    weight: Float32  # (columns,)


def word_table(words: csr_matrix, kinds: Mapping[str, Words], shares: Mapping[str, float] | None = None) -> csr_matrix:
    """(n, columns of all `kinds`) weighted: in every row each kind's part has norm 1, or 0 where it has no word.

    `words` (n, all columns) 0/1. With `shares`, a kind's norm is the root of its share, so that the product of two rows
    is the sum of the cosines by kind, each times its share.
    """
    from scipy.sparse import csr_matrix

    columns = np.concatenate([known.columns for known in kinds.values()])
    weight = np.concatenate([known.weight for known in kinds.values()])
    kind = np.repeat(np.arange(len(kinds), dtype=np.int32), [len(known.columns) for known in kinds.values()])
    at, starts = places_of_known(words, columns)
    part = np.repeat(np.arange(words.shape[0], dtype=np.int32) * len(kinds), np.diff(starts)) + kind[at]
    weighed = weight[at]
    norm = np.sqrt(np.bincount(part, weighed**2, minlength=words.shape[0] * len(kinds)).reshape(-1, len(kinds)))
    target = np.sqrt([1.0 if shares is None else shares[name] for name in kinds])
    factor = np.divide(target, norm, out=np.zeros_like(norm), where=norm > 0).astype(np.float32)
    return csr_matrix((weighed * factor.ravel()[part], at, starts), shape=(words.shape[0], len(columns)))


def weigh_words(words: csr_matrix, kinds: Iterable[str] = WORD_KINDS) -> dict[str, Words]:
    """Weigh, by kind, the words that enough rows of `words` (n, all columns) have, by the log of how rare they are."""
    counts = np.bincount(words.indices, minlength=words.shape[1])
    weighed = {}
    for kind in kinds:
        of = WORD_KINDS[kind]
        if kind == FURTHER and of.start >= len(counts):
            continue  # there are no such columns
        known = of.start + np.flatnonzero(counts[of] >= LEAST_ROWS)
        weighed[kind] = Words(known, np.log(words.shape[0] / counts[known]).astype(np.float32))
    return weighed
