"""Do the models of an index that has grown still know what they price, or should it be built again?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import read_out_of_fold
from engine.serving.reference import open_comparables

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_GROWTH = 0.5  # rows added since the build for each row that it learned from, above which to build anew is advised
WORSE = 1.5  # times the median error of the rows that the build learned from, likewise
LEAST_JUDGED = 20  # rows added since the build, below which their error says nothing
AGAIN = "build the index again with `price build-index`, so that the models learn from them"


@dataclass(frozen=True)
class Drift:
    """How far rows were from what models that never saw them expected: medians of |log price - expected|."""

    rows_built: int  # that the build learned from
    rows_added: int  # since
    built: float
    added: float

    @property
    def advice(self) -> str:
        """Why to build anew, and how; "" while there is no need."""
        if self.rows_added > MOST_GROWTH * self.rows_built:
            return f"{self.rows_added:,} rows came to the {self.rows_built:,} that the models know: {AGAIN}."
        if self.rows_added >= LEAST_JUDGED and self.added > WORSE * self.built:
            return (
                f"The models miss half of the {self.rows_added:,} added rows by more than {np.expm1(self.added):.0%}, "
                f"of those that they know by {np.expm1(self.built):.0%}: {AGAIN}."
            )
        return ""


def drift_of(folder: Path) -> Drift | None:
    """Of a generation; None where no row has been added since its build."""
    trained, residual = read_out_of_fold(folder).trained, open_comparables(folder).residual
    if trained.all():
        return None
    return Drift(int(trained.sum()), int((~trained).sum()), _median(residual[trained]), _median(residual[~trained]))


def _median(residual: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(residual))) if len(residual) else 0.0
