"""The table that all trees read: unit, numbers, and words, vectors or the MLP's last layer, as the settings say.

Of further columns, numbers are read as they are, NaN where missing. LightGBM reads a category as such, and splits it
into sets of values; for the other trees, as for LightGBM too, its frequent values are words.

The MLP's last layer ("fused") is what the gated-ensemble system gives its trees. It comes from the MLP that was fitted
on the same rows, and so knows their prices: trees on it trust it too much, which is why that system gives them a
twentieth of the blend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.features.inputs import NUMBERS, known_columns, places_of_known
from engine.features.tabular import KnownCategories
from engine.settings.schema import TREES_READ
from index.catalogue.units import UNITS
from index.contents import expect, parse_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import FitContext, Member
    from engine.members.neural import NeuralMember
    from engine.settings.schema import Trees
    from index.arrays import Float32, Int64

LEAST_ROWS = 2  # a category's value that fewer training rows have is unknown


@dataclass(frozen=True)
class TreeTable:
    """The columns that trees were fitted on."""

    reads: tuple[str, ...]  # words, vectors, fused
    words: Int64  # columns of Inputs.words: those frequent enough to split on
    known: KnownCategories  # values of further columns; of none where there are none
    mlp: NeuralMember | None  # whose last hidden layer is read

    @classmethod
    def fit(cls, inputs: Inputs, settings: Trees, context: FitContext) -> Self:
        """Choose the columns of trees that are fitted on `inputs`.

        Those of all folds are chosen by what all rows say, not by any price, and so are the same: see `same_columns`.
        """
        inputs = inputs if context.whole is None else context.whole
        words = np.empty(0, np.int64)
        if "words" in settings.reads:
            words = inputs.frequent_words(settings.least_rows_of_word, most=settings.most_words)
        known = KnownCategories(()) if inputs.tabular is None else KnownCategories.fit(inputs.tabular, LEAST_ROWS)
        return cls(settings.reads, words, known, _mlp(settings.reads, context.fitted))

    @property
    def categorical(self) -> list[int]:
        """Columns that hold places of categories, where they are not one-hot: the unit, and then further ones."""
        return list(range(1 + len(self.known.values)))

    def of(self, inputs: Inputs, *, one_hot: bool) -> csr_matrix | Float32:
        """(n, columns): the unit first, as its place in UNITS or a column each; what is absent of vectors is NaN.

        The places of categories follow, which `one_hot` leaves to the words.
        """
        from scipy.sparse import csr_matrix, hstack

        unit = np.eye(len(UNITS), dtype=np.float32)[inputs.unit] if one_hot else inputs.unit[:, None]
        parts = [unit.astype(np.float32)]
        if inputs.tabular is not None and not one_hot:
            parts.append(self.known.places(inputs.tabular).astype(np.float32))
        parts.append(inputs.numbers)
        if inputs.tabular is not None:
            parts.append(inputs.tabular.numbers)
        if "vectors" in self.reads:
            for vectors in inputs.vectors.values():
                parts.append(np.where(vectors.any(axis=1, keepdims=True), vectors, np.float32(np.nan)))
        if self.mlp is not None:
            parts.append(self.mlp.fused(inputs))
        dense = np.hstack(parts)
        if "words" not in self.reads:
            return dense
        # Zeros and all: XGBoost takes what a sparse table leaves out for missing.
        n, width = dense.shape
        positions = np.tile(np.arange(width), n), np.arange(n + 1) * width
        whole = csr_matrix((dense.reshape(-1), *positions), shape=dense.shape)
        at, starts = places_of_known(inputs.words, self.words)
        words = csr_matrix((np.ones(len(at), np.float32), at, starts), shape=(n, len(self.words)))
        return hstack([whole, words], format="csr")

    def same_columns(self, table: TreeTable) -> bool:
        """Tell whether another table has the same numbers for every item."""
        known = zip(self.known.values, table.known.values, strict=True)
        return (
            self.reads == table.reads
            and self.mlp is None is table.mlp
            and np.array_equal(self.words, table.words)
            and all(np.array_equal(*values) for values in known)
        )

    def to_json(self) -> str:
        """Write as one line of JSON; the MLP is a member itself, and kept there."""
        document = {"reads": self.reads, "columns": self.words.tolist()}
        if self.known.values:
            document["categories"] = [values.tolist() for values in self.known.values]
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str, fitted: Mapping[str, Member]) -> Self:
        """Read what `to_json` wrote; `fitted` holds the MLP of the same fold, where it is read."""
        document = parse_json(text)
        reads, words = tuple(document["reads"]), np.array(document["columns"], np.int64)
        known = KnownCategories(tuple(np.array(values, np.int64) for values in document.get("categories", ())))
        expect(set(reads) <= set(TREES_READ), "it reads columns that there are not")
        return cls(reads, words, known, _mlp(reads, fitted))

    def expect_columns(self, count: int, shape: InputShape, *, one_hot: bool) -> None:
        """Raise WrongContents unless trees that split on `count` columns split on those of `of`, for such inputs."""
        expect(known_columns(self.words, shape.word_columns), "a word's column is out of range")
        self.known.expect_columns(shape.categories)
        width = (len(UNITS) if one_hot else 1 + shape.categories) + len(NUMBERS) + shape.numbers + len(self.words)
        if "vectors" in self.reads:
            width += sum(shape.dims.values())
        width += self.mlp.fused_width if self.mlp is not None else 0
        expect(count == width, "its trees read another table")


def _mlp(reads: tuple[str, ...], fitted: Mapping[str, Member]) -> NeuralMember | None:
    from engine.members.neural import NeuralMember

    if "fused" not in reads:
        return None
    mlp = fitted["mlp"]
    assert isinstance(mlp, NeuralMember), mlp
    return mlp
