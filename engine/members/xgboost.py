"""XGBoost with an L1 objective on log price, over what `engine.members.tree_features` shows it.

One of the three kinds of trees of the gated-ensemble system. Installed with the extra `trees`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.tree_features import TreeTable
from index.arrays import Float64, around_one
from index.contents import expect

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import FitContext, Member
    from engine.settings.schema import DeepTrees

TABLE = "table"  # the attribute of the saved model that says which columns it reads


class XgBoost:
    """One XGBoost model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any, table: TreeTable) -> None:
        self._booster = booster
        self._table = table

    @classmethod
    def fit(cls, inputs: Inputs, log_price: Float64, settings: DeepTrees, context: FitContext) -> Self:
        """Train on all of `inputs`, each row by its age weight; `log_price` (n,)."""
        import xgboost

        parameters = {
            "objective": "reg:absoluteerror",
            "tree_method": "hist",
            "learning_rate": settings.learning_rate,
            "max_depth": settings.depth,
            "colsample_bytree": settings.feature_fraction,
            "subsample": settings.row_fraction,
            "seed": context.seed,
            "nthread": context.threads,
            "verbosity": 0,
        }
        table = TreeTable.fit(inputs, settings, context)
        columns, weight = table.of(inputs, one_hot=True), around_one(context.age_weight)
        data = xgboost.DMatrix(columns, log_price, weight=weight, nthread=context.threads)
        booster = xgboost.train(parameters, data, settings.rounds)
        booster.set_attr(**{TABLE: table.to_json()})
        return cls(booster, table)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        import xgboost

        return np.asarray(self._booster.predict(xgboost.DMatrix(self._table.of(inputs, one_hot=True))), np.float64)

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the trees split on as many columns as there are."""
        self._table.expect_columns(self._booster.num_features(), shape, one_hot=True)

    def save(self, path: Path) -> None:
        """Save in XGBoost's own format, the columns among its attributes."""
        path.write_bytes(self._booster.save_raw("ubj"))

    @classmethod
    def load(cls, path: Path, fitted: Mapping[str, Member]) -> Self:
        """Load a model as it was saved; `fitted` holds the members that it reads."""
        import xgboost

        content = path.read_bytes()
        expect(content.startswith(b"{"), "it holds no trees")  # of no bytes at all, XGBoost ends the process
        booster = xgboost.Booster(model_file=bytearray(content))
        return cls(booster, TreeTable.from_json(str(booster.attr(TABLE)), fitted))
