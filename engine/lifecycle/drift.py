"""Drift of an index that has grown: whether its models still predict what is added, or should be built again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from index.arrays import Bool, Float64

MOST_GROWTH = 0.5  # rows added since the build for each row that it learned from, above which to build anew is advised
WORSE = 1.5  # times the median error of the rows that the build learned from, likewise
LEAST_JUDGED = 20  # rows added since the build, below which their error says nothing
AGAIN = "build the index again with `price build-index`, so that the models learn from them"


@dataclass(frozen=True)
class Drift:
    """Error of models on rows that they never saw: medians of |log price - expected|, of built and of added rows."""

    rows_built: int  # that the build learned from
    rows_added: int  # since
    built: float
    added: float

    @property
    def advice(self) -> str:
        """Reason to build anew, and the way to do it; "" while there is no need."""
        if self.rows_added > MOST_GROWTH * self.rows_built:
            return f"{self.rows_added:,} rows came to the {self.rows_built:,} that the models know: {AGAIN}."
        if self.rows_added >= LEAST_JUDGED and self.added > WORSE * self.built:
            return (
                f"The models miss half of the {self.rows_added:,} added rows by more than {np.expm1(self.added):.0%}, "
                f"of those that they know by {np.expm1(self.built):.0%}: {AGAIN}."
            )
        return ""


def drift_of(trained: Bool, residual: Float64) -> Drift | None:
    """Compare the rows `trained` on by the build with the others by `residual`, both (m,); None without others."""
    if trained.all():
        return None
    return Drift(int(trained.sum()), int((~trained).sum()), _median(residual[trained]), _median(residual[~trained]))


def _median(residual: Float64) -> float:
    return float(np.median(np.abs(residual))) if len(residual) else 0.0
