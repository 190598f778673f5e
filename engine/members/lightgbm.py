"""LightGBM with an L1 objective on log price, over what `engine.members.tree_features` shows it.

L1 predicts the median, which SMAPE rewards; squared error would predict the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.tree_features import TreeTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.members.registry import Model
    from engine.settings.schema import Gbdt as GbdtSettings


class Gbdt:
    """One LightGBM model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any, table: TreeTable) -> None:
        self._booster = booster
        self._table = table

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        log_price: NDArray[np.float64],
        settings: GbdtSettings,
        *,
        seed: int,
        threads: int,
        fitted: Mapping[str, Model],
    ) -> Self:
        """Trained on all of `inputs`; `log_price` (n,). The same trees whatever the number of `threads`."""
        import lightgbm

        parameters = {
            "objective": "l1",
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.least_rows_in_leaf,
            "feature_fraction": settings.feature_fraction,
            "bagging_fraction": max(settings.row_fraction, min(1.0, 2 / len(inputs))),  # of no rows it grows no tree
            "bagging_freq": 1,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": threads,
            "verbose": -1,
        }
        table = TreeTable.fit(inputs, settings, fitted)
        data = lightgbm.Dataset(table.of(inputs, one_hot=False), log_price, categorical_feature=[0])
        return cls(lightgbm.train(parameters, data, settings.rounds), table)

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Log price (n,)."""
        return np.asarray(self._booster.predict(self._table.of(inputs, one_hot=False)), np.float64)

    def save(self, path: Path) -> None:
        """A line of JSON that says which columns the trees split on, then LightGBM's own text."""
        path.write_text(f"{self._table.to_json()}\n{self._booster.model_to_string()}", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, fitted: Mapping[str, Model]) -> Self:
        """A model as it was saved; `fitted` holds the members that it reads."""
        import lightgbm

        header, _, trees = path.read_text(encoding="utf-8").partition("\n")
        return cls(lightgbm.Booster(model_str=trees), TreeTable.from_json(header, fitted))
