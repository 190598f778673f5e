"""Where are an item's neighbours looked for? In one space, in which the cosines of several views are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.features.lsa import NAME, WordSpace
from index.embedding.columns import space_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.settings.schema import Settings

    Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Space:
    """The views that `correction.search_vectors` names: encoders' vectors, and perhaps the words themselves."""

    columns: list[str]  # of Inputs.vectors
    words: WordSpace | None

    @classmethod
    def fit(cls, inputs: Inputs, settings: Settings) -> Self:
        """Nothing in it sees a price."""
        words = WordSpace.fit(inputs.words, settings.seed) if NAME in settings.correction.search_vectors else None
        return cls(space_columns(settings.views, settings.correction.search_vectors), words)

    def vectors(self, inputs: Inputs) -> Float32:
        """(n, sum of dims) unit rows; zero for an item that no view has anything of."""
        views = [inputs.vectors[column] for column in self.columns]
        if self.words is not None:
            views.append(self.words.vectors(inputs.words))
        return joined(views)

    def save(self, folder: Path) -> None:
        """Below `folder`: what was fitted."""
        if self.words is not None:
            self.words.save(folder)

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> Self:
        """What `save` wrote; the manifest has checked the files before."""
        words = WordSpace.load(folder) if NAME in settings.correction.search_vectors else None
        return cls(space_columns(settings.views, settings.correction.search_vectors), words)


def joined(views: Sequence[Float32]) -> Float32:
    """(n, sum of dims) unit rows from unit rows (n, dim): their cosine is the mean of the views' cosines.

    A view that is all zero in one of two rows counts as a cosine of 0.
    """
    side_by_side = np.hstack(views)
    norm = np.linalg.norm(side_by_side, axis=1, keepdims=True)
    unit: Float32 = np.divide(side_by_side, norm, out=np.zeros_like(side_by_side), where=norm > 0)
    return unit
