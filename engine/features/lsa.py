"""Latent semantic analysis: items as vectors of their words, searched beside the encoders' vectors.

A sentence vector says what kind of thing an item is; its words say which brand and which variety. Source: Deerwester
et al., 1990: tf-idf of the words and word pairs of name and text, cut down to its main
directions. It is fitted on what the catalogue says, and never sees a price.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.features.inputs import FURTHER, WORD_KINDS, known_columns
from engine.features.tfidf import Words, weigh_words, word_table
from index.arrays import Float32, Int8, int8_rows, unit_rows
from index.contents import expect, loading
from index.storage.layout import LSA
from index.tensors import map_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from engine.features.inputs import InputShape

ROUNDS = 3  # of the power iteration
LEAST_ENERGY = 1e-10  # of a direction, as a share of the first one's; what is less is noise
KINDS = ("name", "text", FURTHER)  # the last where there are further columns
DIRECTIONS = 256
MOST_ROWS = 20_000  # that it is fitted on: more move no direction that matters


@dataclass(frozen=True)
class Lsa:
    """Words of an item to a unit vector."""

    words: dict[str, Words]
    directions: Int8  # (columns of all kinds, dim), in parts of `scale`; those of an index stay in its file, mapped
    scale: Float32  # (columns of all kinds,)

    @classmethod
    def fit(cls, words: csr_matrix, seed: int) -> Self:
        """`words` (n, all columns) 0/1, as in Inputs. The same directions for the same rows and seed."""
        if words.shape[0] > MOST_ROWS:
            words = words[np.sort(np.random.default_rng(seed).choice(words.shape[0], MOST_ROWS, replace=False))]
        weighed = weigh_words(words, KINDS)
        directions = right_singular_vectors(word_table(words, weighed), DIRECTIONS, seed)
        return cls(weighed, *int8_rows(directions))  # a cosine moves by 0.0003, at most 0.002

    def vectors(self, words: csr_matrix) -> Float32:
        """(n, dim) unit rows; zero for an item with no word that is known."""
        from scipy.sparse import csr_matrix

        table = word_table(words, self.words)
        columns, place = np.unique(table.indices, return_inverse=True)  # so that no other direction is read
        scaled = table.data * self.scale[table.indices]
        known = csr_matrix((scaled, place, table.indptr), shape=(table.shape[0], len(columns)))
        seen = np.asarray(known @ self.directions[columns].astype(np.float32), np.float32)
        return unit_rows(seen, least=1e-6)

    def save(self, folder: Path) -> None:
        """Write into a generation."""
        from safetensors.numpy import save_file

        tensors: dict[str, NDArray[Any]] = {"directions": self.directions, "scale": self.scale}
        for kind, words in self.words.items():
            tensors |= {f"columns.{kind}": words.columns, f"weight.{kind}": words.weight}
        save_file(tensors, folder / LSA)

    @classmethod
    def load(cls, folder: Path, shape: InputShape) -> Self:
        """Load what `save` wrote. IndexUnusable for contents that no build of an index of this shape writes."""
        with loading(folder / LSA):
            tensors = map_tensors(folder / LSA)
            kinds = [kind for kind in KINDS if kind in shape.word_kinds]
            words = {kind: Words(tensors[f"columns.{kind}"], tensors[f"weight.{kind}"]) for kind in kinds}
            for kind, known in words.items():
                expect(known_columns(known.columns, WORD_KINDS[kind]), "a word's column is out of range")
                expect(known.weight.shape == known.columns.shape, "a word has no weight")
            directions, scale = tensors["directions"], tensors["scale"]
            rows = sum(len(known.columns) for known in words.values())
            expect(directions.dtype == np.int8, "its directions are not in int8")
            expect(directions.ndim == 2 and len(directions) == rows, "it has a vocabulary of another size")
            expect(scale.shape == (rows,) and scale.dtype == np.float32, "a direction has no scale")
            numbers = [scale, *(known.weight for known in words.values())]
            expect(all(np.isfinite(kind).all() for kind in numbers), "a weight is no number")
            return cls(words, directions, scale)


def right_singular_vectors(table: csr_matrix, most: int, seed: int) -> Float32:
    """The first `most` right singular vectors of `table` (n, columns), as (columns, at most `most`); zero for noise.

    Randomised power iteration (Halko, Martinsson and Tropp, SIAM Review, 2011) on the side of the rows, of which there
    are fewer than columns: what is made orthonormal in each round is (n, most). On one thread, for the same directions
    whatever their number.
    """
    from threadpoolctl import threadpool_limits

    count, transposed = max(1, min(most, *table.shape)), table.T.tocsr()
    start = np.random.default_rng(seed).standard_normal((table.shape[1], count), dtype=np.float32)
    with threadpool_limits(1):
        rows = table @ start
        for _ in range(ROUNDS):
            rows = table @ (transposed @ np.linalg.qr(rows)[0])
        seen = transposed @ np.linalg.qr(rows)[0]
        energy, turn = np.linalg.eigh(seen.T.astype(np.float64) @ seen)
        lengths = np.sqrt(np.where(energy > LEAST_ENERGY * energy[-1], energy, np.inf))
        directions: Float32 = (seen @ (turn / lengths)[:, ::-1]).astype(np.float32)
    return directions
