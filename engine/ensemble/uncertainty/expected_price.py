"""Expected price of an item: the mean of what it may cost, in the place of its median.

The models answer with the middle of what an item may cost, in log price. The mean lies above it: prices are skewed, and
the more so the less is known of an item. How much above is learned from answers that are out of fold. First all answers
are raised so that their sum is the sum of the prices (a smearing estimate: Duan, 1983); then trees with a Poisson
objective, whose optimum is the mean, raise or lower each by what speaks for it: how far the members are apart, how near
the nearest neighbour lies, what the neighbours cost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.ensemble.uncertainty.evidence import width
from engine.members.lightgbm import fit_trees, read_booster
from index.contents import expect, finite, parse_json
from index.errors import UsageError

if TYPE_CHECKING:
    from index.arrays import Float64

MEDIAN, MEAN = ANSWERS = "median", "mean"  # of what an item may cost: what a price is
ROUNDS = 200
PARAMETERS = {
    "objective": "poisson",
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "lambda_l2": 1.0,
}


class ExpectedPrice:
    """A fitted model. log_mean: evidence of n answers -> (n,) log of their expected prices."""

    def __init__(self, booster: Any, raised: float) -> None:
        self._booster = booster
        self._raised = raised  # by which all answers are, in log price

    @classmethod
    def fit(
        cls, table: Float64, answer: Float64, log_price: Float64, *, seed: int, age_weight: Float64 | None = None
    ) -> Self:
        """Fit on n answers that are out of fold: their `Evidence.table()`, themselves, and the log prices.

        `age_weight` (n,): what each counts for, where they do not all count the same.
        """
        price, expected = np.exp(log_price), np.exp(answer)
        mean = price.mean()
        if age_weight is None:
            raised = float(np.log(price.sum()) - np.log(expected.sum()))
        else:
            mean = np.average(price, weights=age_weight)
            raised = float(np.log(mean) - np.log(np.average(expected, weights=age_weight)))
        # As multiples of the mean: what regularises must not depend on the currency.
        data = {"init_score": answer + raised - np.log(mean), "weight": age_weight}
        return cls(fit_trees(table, price / mean, PARAMETERS, ROUNDS, seed=seed, threads=1, **data), raised)

    def log_mean(self, table: Float64, answer: Float64) -> Float64:
        """(n,) log of the expected price."""
        return answer + self._raised + np.asarray(self._booster.predict(table, raw_score=True), np.float64)

    def save(self, path: Path) -> None:
        """A line of JSON, then LightGBM's own text."""
        header = json.dumps({"raised": self._raised})
        path.write_text(f"{header}\n{self._booster.model_to_string()}", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, members: int) -> Self:
        """Load a model as it was saved. Raises WrongContents unless it reads the evidence of so many members."""
        header, _, trees = path.read_text(encoding="utf-8").partition("\n")
        raised, booster = parse_json(header)["raised"], read_booster(trees)
        expect(finite(raised), "what it raises prices by is no number")
        expect(booster.num_feature() == width(members), "its trees read another table")
        return cls(booster, raised)


def require_answer(answer: str) -> None:
    """Raise UsageError for what is no way to answer."""
    if answer not in ANSWERS:
        raise UsageError(f"answer is {answer!r}: choose from {', '.join(ANSWERS)}.")
