"""LightGBM with an L1 objective on log price, over the vectors, the numbers and the unit.

L1 predicts the median, which SMAPE rewards; squared error would predict the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features import Inputs
    from engine.settings import Gbdt as GbdtSettings


class Gbdt:
    """One LightGBM model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    @classmethod
    def fit(
        cls, inputs: Inputs, log_price: NDArray[np.float64], settings: GbdtSettings, seed: int, threads: int
    ) -> Self:
        """Trained on all of `inputs`; `log_price` (n,). The same trees whatever the number of `threads`."""
        import lightgbm

        parameters = {
            "objective": "l1",
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.least_rows_in_leaf,
            "feature_fraction": settings.feature_fraction,
            "bagging_fraction": settings.row_fraction,
            "bagging_freq": 1,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": threads,
            "verbose": -1,
        }
        data = lightgbm.Dataset(_table(inputs), log_price, categorical_feature=[0])
        return cls(lightgbm.train(parameters, data, settings.rounds))

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Log price (n,)."""
        return np.asarray(self._booster.predict(_table(inputs)), np.float64)

    def save(self, path: Path) -> None:
        """As LightGBM's own text."""
        path.write_text(self._booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """A model as it was saved."""
        import lightgbm

        return cls(lightgbm.Booster(model_str=path.read_text(encoding="utf-8")))


def _table(inputs: Inputs) -> NDArray[np.float32]:
    """(n, features): the unit first; a vector that is absent is NaN, which LightGBM sends its own way."""
    columns = [inputs.unit[:, None].astype(np.float32), inputs.numbers]
    for vectors in inputs.vectors.values():
        columns.append(np.where(vectors.any(axis=1, keepdims=True), vectors, np.float32(np.nan)))
    return np.hstack(columns)
