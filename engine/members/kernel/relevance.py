"""Weights of words in the kernel: by how rare they are, and then by how much the price moves with them.

Source: recursive feature machines (Radhakrishnan et al., Science 383, 2024), with the diagonal of their average
gradient outer product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index.arrays import Float32, Float64

if TYPE_CHECKING:
    from engine.members.kernel.cosines import Postings, Weighing

LEAST_DIRECTION, MOST_DIRECTIONS = 1e-4, 128  # of the probes' quantity factors: share of the largest; how many
LEAST_RELEVANCE, MOST_RELEVANCE = 0.3, 20.0  # of a word, as a multiple of the mean word's


def main_directions(factor: Float32) -> Float32:
    """(few, m) whose products with any vector have the same sum of squares as those of (probes, m) `factor`, nearly.

    The factor is a smooth function of few numbers: some dozen directions hold all of it.
    """
    value, vector = np.linalg.eigh((factor @ factor.T).astype(np.float64))
    large = (value > LEAST_DIRECTION**2 * value[-1]).nonzero()[0][-MOST_DIRECTIONS:]
    directions: Float32 = vector[:, large].T.astype(np.float32) @ factor
    return directions


def relevance_of(postings: Postings, weighing: Weighing, coefficients: Float64, directions: Float32) -> Float64:
    """(known words,) how much the prediction moves with each word, on average over the probes."""
    from scipy.sparse import csr_matrix

    moved = np.empty(len(postings.columns))
    toward = directions * coefficients.astype(np.float32)
    for row, of in enumerate(postings.kinds.values()):
        starts = postings.starts[of.start : of.stop + 1]
        landmarks = postings.landmarks[starts[0] : starts[-1]].astype(np.int32)
        table = csr_matrix(
            (np.ones(len(landmarks), np.float32), landmarks, starts - starts[0]),
            shape=(of.stop - of.start, postings.count),
        )
        moved[of] = ((table @ np.ascontiguousarray((toward * weighing.factor[row]).T)) ** 2).sum(axis=1)
    relevance: Float64 = np.sqrt(moved) * weighing.weight
    return relevance


def relevant_weights(rarity: Float32, relevance: Float64, postings: Postings) -> Float32:
    """(known words,) what words weigh, by their rarity and, as a multiple of their kind's mean, their relevance."""
    weight = rarity.copy()
    for of in postings.kinds.values():
        own = relevance[of]
        if len(own):
            relative = np.minimum(own / max(float(own.mean()), 1e-12), MOST_RELEVANCE)
            weight[of] *= np.sqrt(LEAST_RELEVANCE + (1 - LEAST_RELEVANCE) * relative)
    return weight.astype(np.float16).astype(np.float32)  # in half precision, in which they are kept
