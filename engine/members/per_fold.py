"""The models of a member that share nothing: one fitted, kept and asked for each fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.arrays import Float64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.members.member import Member, Predicts


class PerFold:
    """`FoldModels` of single models, in the order of their folds."""

    def __init__(self, models: Sequence[Member], together: Predicts | None = None) -> None:
        """`together`: what answers for all of the models at once, where that is quicker than one by one."""
        self.models = models
        self._together = together

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,): the mean of all models'."""
        if self._together is not None:
            return self._together.predict(inputs)
        mean: Float64 = np.mean([model.predict(inputs) for model in self.models], axis=0)
        return mean

    def predict_unseen(self, inputs: Inputs, fold: NDArray[np.integer]) -> Float64:
        """Log price (n,), each by the model of its own `fold` (n,) alone."""
        predicted = np.empty(len(inputs))
        for f in np.unique(fold):
            here = np.flatnonzero(fold == f)
            predicted[here] = self.models[f].predict(inputs.take(here))
        return predicted

    def save(self, paths: Sequence[Path]) -> None:
        """Write each model."""
        for model, path in zip(self.models, paths, strict=True):
            model.save(path)
