"""LightGBM with an L1 objective on log price: the member `gbdt`, and the booster that the stacker is one more of.

L1 predicts the median, which SMAPE rewards; squared error would predict the mean.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.tree_features import TreeTable
from index.arrays import Float64, around_one
from index.contents import expect

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import FitContext, Member
    from engine.settings.schema import Gbdt, StackerSettings


_one_importer = Lock()


def lightgbm() -> Any:
    """The library without scikit-learn and pandas, which it would import to wrap itself for them.

    They take a third of a cold query's time, for nothing here.
    """
    with _one_importer:  # while it imports, what is hidden is hidden from all threads
        return _imported()


@cache
def _imported() -> Any:
    hidden = [name for name in ("sklearn", "pandas") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it is an ImportError
    try:
        import lightgbm
    finally:
        for name in hidden:
            del sys.modules[name]
    return lightgbm


def fit_l1(
    table: Any,
    log_price: Float64,
    settings: Gbdt | StackerSettings,
    *,
    seed: int,
    threads: int,
    random_splits: bool = False,
    **data: Any,
) -> Any:
    """A booster of log price (n,) over a `table` (n, features); otherwise as `fit_trees`.

    With `random_splits` one threshold a column is drawn and tried (extremely randomised trees; Geurts et al., 2006).
    """
    parameters = {
        "objective": "l1",
        "extra_trees": random_splits,
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
    """A booster of (n,) targets; `data` goes with the table, weights as shares of their mean.

    The same trees whatever the number of threads.
    """
    data |= {"weight": around_one(data.get("weight"))}
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


def read_booster(text: str) -> Any:
    """A booster from the text that it was saved as. Raises WrongContents where trees are missing or cut short.

    LightGBM itself reads as many bytes as the head says that each tree has, wherever the text ends.
    """
    sizes = re.search(r"^tree_sizes=([\d ]+)$", text, re.MULTILINE)
    expect(text.isascii() and sizes is not None, "it holds no trees")
    place = text.find("\nTree=0\n") + 1
    for tree, size in enumerate(map(int, sizes[1].split() if sizes else ())):
        expect(text.startswith(f"Tree={tree}\n", place), "its trees are cut short")
        place += size
    expect(text.startswith("end of trees", place), "its trees are cut short")
    return lightgbm().Booster(model_str=text)


class LightGbm:
    """One LightGBM model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any, table: TreeTable) -> None:
        self._booster = booster
        self._table = table

    @classmethod
    def fit(cls, inputs: Inputs, log_price: Float64, settings: Gbdt, context: FitContext) -> Self:
        """Train on all of `inputs`, each row by its age weight; `log_price` (n,)."""
        table = TreeTable.fit(inputs, settings, context)
        columns = table.of(inputs, one_hot=False)
        data: dict[str, Any] = {"categorical_feature": table.categorical, "weight": context.age_weight}
        return cls(fit_l1(columns, log_price, settings, seed=context.seed, threads=context.threads, **data), table)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        return np.asarray(self._booster.predict(self._table.of(inputs, one_hot=False)), np.float64)

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the trees split on as many columns as there are."""
        self._table.expect_columns(self._booster.num_feature(), shape, one_hot=False)

    def save(self, path: Path) -> None:
        """A line of JSON that says which columns the trees split on, then LightGBM's own text."""
        path.write_text(f"{self._table.to_json()}\n{self._booster.model_to_string()}", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, fitted: Mapping[str, Member]) -> Self:
        """Load a model as it was saved; `fitted` holds the members that it reads."""
        header, _, trees = path.read_text(encoding="utf-8").partition("\n")
        return cls(read_booster(trees), TreeTable.from_json(header, fitted))


class LightGbmFolds:
    """Models of all folds. Those that read the same columns share the table."""

    def __init__(self, models: Sequence[LightGbm]) -> None:
        self._models = models
        table = models[0]._table
        self._table = table if all(table.same_columns(model._table) for model in models) else None

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,), the mean of the models'."""
        if self._table is None:
            predicted = [model.predict(inputs) for model in self._models]
        else:
            table = self._table.of(inputs, one_hot=False)
            predicted = [model._booster.predict(table) for model in self._models]
        mean: Float64 = np.mean(predicted, axis=0)
        return mean
