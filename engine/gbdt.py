"""LightGBM with an L1 objective on log price, over the unit, the numbers, and words or vectors or both.

L1 predicts the median, which SMAPE rewards; squared error would predict the mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from engine.features import Inputs
    from engine.settings import Gbdt as GbdtSettings


class Gbdt:
    """One LightGBM model. predict: Inputs of n items -> (n,) log price."""

    def __init__(self, booster: Any, reads: tuple[str, ...], columns: NDArray[np.int64]) -> None:
        self._booster = booster
        self._reads = reads
        self._columns = columns  # of Inputs.words: those frequent enough to split on

    @classmethod
    def fit(
        cls, inputs: Inputs, log_price: NDArray[np.float64], settings: GbdtSettings, *, seed: int, threads: int
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
        columns = np.empty(0, np.int64)
        if "words" in settings.reads:
            columns = inputs.frequent_words(settings.least_rows_of_word)
        data = lightgbm.Dataset(_table(inputs, settings.reads, columns), log_price, categorical_feature=[0])
        return cls(lightgbm.train(parameters, data, settings.rounds), settings.reads, columns)

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Log price (n,)."""
        return np.asarray(self._booster.predict(_table(inputs, self._reads, self._columns)), np.float64)

    def save(self, path: Path) -> None:
        """A line of JSON that says which columns the trees split on, then LightGBM's own text."""
        header = json.dumps({"reads": self._reads, "columns": self._columns.tolist()})
        path.write_text(f"{header}\n{self._booster.model_to_string()}", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """A model as it was saved."""
        import lightgbm

        header, _, trees = path.read_text(encoding="utf-8").partition("\n")
        columns = json.loads(header)
        return cls(lightgbm.Booster(model_str=trees), tuple(columns["reads"]), np.array(columns["columns"], np.int64))


def _table(inputs: Inputs, reads: tuple[str, ...], columns: NDArray[np.int64]) -> csr_matrix | NDArray[np.float32]:
    """(n, features): the unit first; a vector that is absent is NaN, which LightGBM sends its own way."""
    from scipy.sparse import csr_matrix, hstack

    parts = [inputs.unit[:, None].astype(np.float32), inputs.numbers]
    if "vectors" in reads:
        for vectors in inputs.vectors.values():
            parts.append(np.where(vectors.any(axis=1, keepdims=True), vectors, np.float32(np.nan)))
    dense = np.hstack(parts)
    if "words" not in reads:
        return dense
    return hstack([csr_matrix(dense), inputs.words[:, columns]], format="csr")
