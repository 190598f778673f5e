"""Intervals of the error model beside those of the price's level alone, of MAPIE and of crepes, on the same residuals.

    python benchmarks/sureness/peers.py INDEX

Every row's interval is by models that were fitted on the other folds: ours and the plain levels as `price evaluate` has
them; of the peers, LightGBM learns on three quarters of those rows and is made conformal by the rest, as their manuals
have it. MAPIE: conformalised quantile regression. crepes: a conformal regressor normalised by the expected size of the
error, plain and in five Mondrian classes of it. Prints the log interval score, coverage and median span, and how much
more each scores than ours with its paired interval; writes results/sureness_peers.json.
"""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from crepes import ConformalRegressor
from crepes.extras import binning
from lightgbm import LGBMRegressor
from mapie.regression import ConformalizedQuantileRegressor

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `measure`, which all experiments share

import measure
from evidence import figures, known_of

from engine.ensemble.uncertainty.error_model import (
    LEAST_ERROR,
    OF_ENDS,
    OF_ERROR,
    ROUNDS,
    Known,
)
from engine.ensemble.uncertainty.interval import fit_interval
from index.arrays import rows_of

LEARNED = 0.75  # share of the other folds' rows that trees learn on; the rest calibrate
CLASSES = 5

Ends = tuple[Any, Any]  # (n,) each: low and high, less the answer


@dataclass(frozen=True)
class Errors:
    """Rows to learn from, or to calibrate on."""

    table: Any  # (n, features) evidence
    error: Any  # (n,) log price less the answer


Peer = Callable[[Errors, Errors, Any, float], Ends]  # learned from, calibrated on, the table that is asked, level


def trees(parameters: dict[str, Any], **more: Any) -> LGBMRegressor:
    """An unfitted model with the settings of ours."""
    every = parameters | {"bagging_freq": 1, "verbose": -1, "seed": 0, "num_threads": 1} | more
    return LGBMRegressor(n_estimators=ROUNDS, **every)


def mapie(learned: Errors, calibrating: Errors, asked: Any, level: float) -> Ends:
    """Conformalised quantile regression."""
    quantiles = ((1 - level) / 2, (1 + level) / 2, 0.5)
    fitted = [trees(OF_ENDS, alpha=quantile).fit(learned.table, learned.error) for quantile in quantiles]
    regressor = ConformalizedQuantileRegressor(fitted, confidence_level=level, prefit=True)
    ends = regressor.conformalize(calibrating.table, calibrating.error).predict_interval(asked)[1]
    return ends[:, 0, 0], ends[:, 1, 0]


def crepes(classes: int | None) -> Peer:
    """A conformal regressor normalised by the expected size of the error, by classes of that where there are any."""

    def ends(learned: Errors, calibrating: Errors, asked: Any, level: float) -> Ends:
        size = trees(OF_ERROR).fit(learned.table, np.abs(learned.error))
        known, new = (np.maximum(size.predict(table), LEAST_ERROR) for table in (calibrating.table, asked))
        bins: dict[str, Any] = {"of_known": None, "of_new": None}
        if classes:
            bins["of_known"], edges = binning(known, bins=classes)
            bins["of_new"] = binning(new, bins=edges)
        fitted = ConformalRegressor().fit(calibrating.error, sigmas=known, bins=bins["of_known"])
        # A class of too few rows has no ends: it gets all errors that were seen.
        most = {"y_min": float(learned.error.min()), "y_max": float(learned.error.max())}
        both = fitted.predict_int(np.zeros(len(new)), sigmas=new, bins=bins["of_new"], confidence=level, **most)
        return both[:, 0], both[:, 1]

    return ends


def held_out(known: Known, peer: Peer, level: float) -> Ends:
    """(n,) ends in log price, each row's by a peer that saw nothing of its fold."""
    low, high = known.answer.copy(), known.answer.copy()
    error, random = known.log_price - known.answer, np.random.default_rng(0)
    for others, here in measure.by_fold(known.fold):
        parts = np.split(random.permutation(others), [int(LEARNED * len(others))])
        learned, calibrating = (Errors(known.table[part], error[part]) for part in parts)
        ends = peer(learned, calibrating, known.table[here], level)
        low[here] += ends[0]
        high[here] += ends[1]
    return low, high


def by_level(known: Known, level: float) -> Ends:
    """Ends by the level of the price alone."""
    low, high = np.empty((2, len(known.answer)))
    for others, here in measure.by_fold(known.fold):
        weight = rows_of(known.age_weight, others)
        fitted = fit_interval(known.answer[others], known.log_price[others], level, weight)
        low[here], high[here] = fitted.bounds(known.answer[here])
    return low, high


def losses(known: Known, ends: Ends, level: float) -> Any:
    """(n,) interval score of each row."""
    low, high = ends
    outside = np.maximum(low - known.log_price, 0) + np.maximum(known.log_price - high, 0)
    return high - low + 2 / (1 - level) * outside


def main() -> None:
    """Fit each, print its figures, and write all."""
    given = measure.argument_parser(__doc__, "index").parse_args()
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    known, spread, rows = known_of(given.index)
    level, results = rows.settings.coverage, {}
    ours = spread.low, spread.high
    tries: dict[str, Callable[[], Ends]] = {
        "ours": lambda: ours,
        "levels of price": lambda: by_level(known, level),
        "MAPIE, quantile regression": lambda: held_out(known, mapie, level),
        "crepes, normalised": lambda: held_out(known, crepes(None), level),
        "crepes, normalised, Mondrian": lambda: held_out(known, crepes(CLASSES), level),
    }
    for name, fit in tries.items():
        started = time.monotonic()
        ends = fit()
        worse = measure.interval(losses(known, ends, level) - losses(known, ours, level), rows.groups, digits=4)
        results[name] = figures(*ends, known.log_price, level) | {"worse_than_ours": worse}
        print(f"{name:30} {results[name]}  {time.monotonic() - started:.0f} s", flush=True)
    measure.write_results("sureness_peers", {"rows": len(known.answer), "level": level, "by": results})


if __name__ == "__main__":
    main()
