"""CatBoost with an L1 objective on log price, over what `engine.members.tree_features` shows it.

One of the three kinds of trees of the gated-ensemble system. Installed with the extra `trees`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.members.tree_features import TreeTable
from index.arrays import Float64, around_one
from index.errors import DataRefused

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import FitContext, Member
    from engine.settings.schema import DeepTrees

TABLE = "table"  # the key of the saved model's metadata that says which columns it reads
OF_THE_MOMENT = ("model_guid", "train_finish_time")  # metadata that no two fits share


class CatBoost:
    """One CatBoost model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, model: Any, table: TreeTable) -> None:
        self._model = model
        self._table = table

    @classmethod
    def fit(cls, inputs: Inputs, log_price: Float64, settings: DeepTrees, context: FitContext) -> Self:
        """Train on all of `inputs`, each row by its age weight; `log_price` (n,).

        Raises DataRefused where no column differs between the rows.
        """
        import catboost

        parameters = {
            "loss_function": "MAE",
            "iterations": settings.rounds,
            "learning_rate": settings.learning_rate,
            "depth": settings.depth,
            "rsm": settings.feature_fraction,
            "bootstrap_type": "Bernoulli",
            "subsample": settings.row_fraction,
            "random_seed": context.seed,
            "thread_count": context.threads,
            "allow_const_label": True,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
        if context.age_weight is not None:  # the medians of its leaves, which are its default, leave weights unread
            parameters["leaf_estimation_method"] = "Gradient"
        table = TreeTable.fit(inputs, settings, context)
        model, columns = catboost.CatBoost(parameters), table.of(inputs, one_hot=True)
        try:
            model.fit(
                catboost.Pool(columns, log_price, weight=around_one(context.age_weight), thread_count=context.threads)
            )
        except catboost.CatBoostError as error:
            reason = str(error).splitlines()[0].rpartition(": ")[2].rstrip(".")
            raise DataRefused(f"catboost cannot learn from these rows ({reason}): leave it out of members.") from error
        metadata = model.get_metadata()
        metadata[TABLE] = table.to_json()
        for chance in OF_THE_MOMENT:
            metadata[chance] = ""  # the same trees must be the same bytes
        return cls(model, table)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        return np.asarray(self._model.predict(self._table.of(inputs, one_hot=True)), np.float64)

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the trees split on as many columns as there are."""
        self._table.expect_columns(len(self._model.feature_names_), shape, one_hot=True)

    def save(self, path: Path) -> None:
        """Save in CatBoost's own format, the columns in its metadata."""
        self._model.save_model(str(path), format="cbm")

    @classmethod
    def load(cls, path: Path, fitted: Mapping[str, Member]) -> Self:
        """Load a model as it was saved; `fitted` holds the members that it reads."""
        import catboost

        model = catboost.CatBoost()
        model.load_model(str(path), format="cbm")
        return cls(model, TreeTable.from_json(model.get_metadata()[TABLE], fitted))
