"""Made-up evidence, and a model of the error that was fitted on it once."""

from dataclasses import dataclass

import numpy as np
import pytest

from engine.ensemble.uncertainty.confidence import Spread
from engine.ensemble.uncertainty.error_model import ErrorModel, Known, Novelty, fit_error_model
from engine.ensemble.uncertainty.evidence import width
from index.arrays import Float64

APART = 4  # column of the evidence of two members that holds how far they are apart
COVERAGE = 0.8


def known_of(rows: int, seed: int = 0, scale: float = 1.0) -> Known:
    """Errors that spread the more the members are apart, and lean upward; the level of the price tells nothing."""
    random = np.random.default_rng(seed)
    apart, answer = random.uniform(0.05, 1.0, rows), random.normal(3, 1, rows)
    table = np.zeros((rows, width(2)))
    table[:, APART], table[:, -1] = apart, answer
    error = scale * apart * (random.exponential(1.0, rows) - 0.7)
    fold = random.permutation(np.arange(rows) % 3).astype(np.int8)
    novelty = Novelty(random.uniform(0.3, 1, rows), random.uniform(2, 6, rows))
    return Known(table, novelty, answer, answer + error, fold)


@dataclass(frozen=True)
class Fitted:
    """A model, the rows that it was fitted on, and their spread by it, each without its own fold."""

    known: Known
    model: ErrorModel
    spread: Spread


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    """750 rows, by the trees that an index gets."""
    known = known_of(750)
    return Fitted(known, *fit_error_model(known, COVERAGE, seed=0))


def inside(spread: Spread, log_price: Float64) -> Float64:
    """(n,) 1 where the interval holds the price."""
    return ((spread.low <= log_price) & (log_price <= spread.high)).astype(float)
