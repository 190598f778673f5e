"""Coverage of the interval over seeds of folds, in a cheap form: the error model and its calibration are fitted anew.

    python benchmarks/sureness/repeat.py INDEX [--seeds 20]

The index's evidence and answers stay; its groups of near-duplicates are dealt anew to as many folds by each seed, and
the error model is fitted and measured by these. Prints each seed's figures and the spread of coverage over all; writes
results/sureness_repeat.json.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `measure`, which all experiments share

import measure
from evidence import figures, known_of

from engine.ensemble.uncertainty.error_model import fit_error_model


def dealt(groups: Any, folds: int, seed: int) -> Any:
    """(n,) fold of each row: whole groups, as many rows to each as can be."""
    numbers, group = np.unique(groups, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(numbers)) % folds
    return place[group].astype(np.int8)


def main() -> None:
    """Fit by every seed, print and write."""
    given = measure.argument_parser(__doc__, "index", seeds=20).parse_args()
    known, _, rows = known_of(given.index)
    level, found = rows.settings.coverage, []
    for seed in range(given.seeds):
        fold = dealt(rows.groups, rows.oof.folds, seed)
        spread = fit_error_model(replace(known, fold=fold), level, seed)[1]
        found.append(figures(spread.low, spread.high, known.log_price, level))
        print(f"seed {seed}: {found[-1]}", flush=True)
    covered = np.array([each["coverage"] for each in found])
    summary = {"least": covered.min(), "mean": covered.mean(), "most": covered.max(), "deviation": covered.std()}
    print("coverage", {name: round(float(value), 4) for name, value in summary.items()})
    document = {name: round(float(value), 4) for name, value in summary.items()}
    measure.write_results("sureness_repeat", {"rows": len(covered), "level": level, "coverage": document, "by": found})


if __name__ == "__main__":
    main()
