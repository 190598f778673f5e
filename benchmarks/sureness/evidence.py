"""Out-of-fold evidence of an index: what its model of the error is fitted on, for experiments that fit it anew."""

from pathlib import Path

import numpy as np

from engine.ensemble.cross_fit import answer_out_of_fold, fit_spread
from engine.ensemble.uncertainty.confidence import Spread
from engine.ensemble.uncertainty.error_model import Known
from engine.metrics import coverage, interval_score
from engine.serving.scorable import ScorableRows, open_scorable_rows
from index.arrays import Float64


def known_of(index: Path) -> tuple[Known, Spread, ScorableRows]:
    """Evidence, answers and prices of an index's rows, all without their fold, and their spread."""
    rows = open_scorable_rows(index)
    best = answer_out_of_fold(rows.oof, rows.log_price, rows.search_vectors, rows.settings, age_weight=rows.age_weight)
    known, _, spread = fit_spread(best, rows.oof, rows.fields(), rows.settings)
    return known, spread, rows


def figures(low: Float64, high: Float64, log_price: Float64, level: float) -> dict[str, float]:
    """Log interval score, coverage and median span (high / low) of n intervals in log price."""
    return {
        "interval_score": round(interval_score(log_price, low, high, level), 4),
        "coverage": round(coverage(log_price, low, high), 4),
        "span": round(float(np.exp(np.median(high - low))), 3),
    }
