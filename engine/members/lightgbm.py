"""LightGBM with an L1 objective on log price: the member `gbdt`, and the booster that the stacker is one more of.

L1 predicts the median, which SMAPE rewards; squared error would predict the mean.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.tree_features import TreeTable
from index.arrays import Float64

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.members.member import FitContext, Member
    from engine.settings.schema import Gbdt, StackerSettings


@cache
def lightgbm() -> Any:
    """The library without scikit-learn and pandas, which it would import to wrap itself for them.

    They take a third of a cold query's time, for nothing here.
    """
    hidden = [name for name in ("sklearn", "pandas") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it is an ImportError
    try:
        import lightgbm
    finally:
        for name in hidden:
            del sys.modules[name]
    return lightgbm


def fit_l1(
    table: Any, log_price: Float64, settings: Gbdt | StackerSettings, *, seed: int, threads: int, **data: Any
) -> Any:
    """A booster of log price (n,) over a `table` (n, features); otherwise as `fit_trees`."""
    parameters = {
        "objective": "l1",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least_rows_in_leaf,
        "feature_fraction": settings.feature_fraction,
        "bagging_fraction": settings.row_fraction,
    }
    return fit_trees(table, log_price, parameters, settings.rounds, seed=seed, threads=threads, **data)


def fit_trees(
    table: Any, target: Float64, parameters: Mapping[str, Any], rounds: int, *, seed: int, threads: int, **data: Any
) -> Any:
    """A booster of (n,) targets; `data` goes with the table. The same trees whatever the number of threads."""
    repeatable = {
        "bagging_fraction": max(parameters["bagging_fraction"], min(1.0, 2 / len(target))),  # of no rows grows no tree
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads,
        "verbose": -1,
    }
    return lightgbm().train({**parameters, **repeatable}, lightgbm().Dataset(table, target, **data), rounds)


class LightGbm:
    """One LightGBM model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any, table: TreeTable) -> None:
        self._booster = booster
        self._table = table

    @classmethod
    def fit(cls, inputs: Inputs, log_price: Float64, settings: Gbdt, context: FitContext) -> Self:
        """Train on all of `inputs`; `log_price` (n,)."""
        table = TreeTable.fit(inputs, settings, context.fitted)
        columns = table.of(inputs, one_hot=False)
        seed, threads = context.seed, context.threads
        categorical = table.categorical
        return cls(
            fit_l1(columns, log_price, settings, seed=seed, threads=threads, categorical_feature=categorical), table
        )

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        return np.asarray(self._booster.predict(self._table.of(inputs, one_hot=False)), np.float64)

    def save(self, path: Path) -> None:
        """A line of JSON that says which columns the trees split on, then LightGBM's own text."""
        path.write_text(f"{self._table.to_json()}\n{self._booster.model_to_string()}", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, fitted: Mapping[str, Member]) -> Self:
        """Load a model as it was saved; `fitted` holds the members that it reads."""
        header, _, trees = path.read_text(encoding="utf-8").partition("\n")
        return cls(lightgbm().Booster(model_str=trees), TreeTable.from_json(header, fitted))
