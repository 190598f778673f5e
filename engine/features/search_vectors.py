"""Search vectors: one for each item, whose cosines are the mean of the cosines of several views of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.features.lsa import Lsa
from index.arrays import Float32, unit_rows
from index.embedding.columns import space_columns

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.settings.schema import Settings

WORDS = "words"  # the view that is not an encoder's


@dataclass(frozen=True)
class SearchVectorizer:
    """The views that `correction.search_vectors` names: encoders' vectors, and perhaps the words themselves."""

    columns: list[str]  # of Inputs.vectors
    words: Lsa | None

    @classmethod
    def fit(cls, inputs: Inputs, settings: Settings) -> Self:
        """Fit on the catalogue's inputs; nothing in it sees a price."""
        words = Lsa.fit(inputs.words, settings.seed) if WORDS in settings.correction.search_vectors else None
        return cls(space_columns(settings.views, settings.correction.search_vectors), words)

    def vectors(self, inputs: Inputs) -> Float32:
        """(n, sum of dims) unit rows; zero for an item that no view has anything of."""
        views = [inputs.vectors[column] for column in self.columns]
        if self.words is not None:
            views.append(self.words.vectors(inputs.words))
        return joined(views)

    def width(self, shape: InputShape) -> int:
        """Length of the vectors, for inputs of this shape."""
        return sum(shape.dims[column] for column in self.columns) + (
            self.words.directions.shape[1] if self.words else 0
        )

    def save(self, folder: Path) -> None:
        """Write what was fitted into a generation."""
        if self.words is not None:
            self.words.save(folder)

    @classmethod
    def load(cls, folder: Path, settings: Settings, shape: InputShape) -> Self:
        """Load what `save` wrote; the manifest has checked the files before."""
        words = Lsa.load(folder, shape) if WORDS in settings.correction.search_vectors else None
        return cls(space_columns(settings.views, settings.correction.search_vectors), words)


def joined(views: Sequence[Float32]) -> Float32:
    """(n, sum of dims) unit rows from unit rows (n, dim): their cosine is the mean of the views' cosines.

    A view that is all zero in one of two rows counts as a cosine of 0.
    """
    return unit_rows(np.hstack(views))
