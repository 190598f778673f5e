"""What would the correction seem to gain, were it scored with residuals that already know the answer?

    python benchmarks/pair_models.py INDEX

Scores the correction of an index twice, with the same members, blend, knobs and rows. Once with the neighbours' stored
out-of-fold residuals, as is usual, though the models behind them have seen the row that is being scored. Once as
`price evaluate` does it, with residuals of models that saw neither. Writes results/pair_models.json.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from engine.serving.reference import read_comparables

from engine.ensemble.blend import blend
from engine.ensemble.correction import shift
from engine.ensemble.out_of_fold import read_out_of_fold
from engine.ensemble.price_model import load_models
from engine.metrics import bootstrap, row_smape
from index.search.neighbours import BandIndex
from index.storage.generations import current_generation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    folder = current_generation(parser.parse_args().index)
    rows, oof, fitted = read_comparables(folder), read_out_of_fold(folder), load_models(folder)[1]
    price, report = np.exp(rows.goods.log_price), {"knobs": asdict(fitted.knobs)}
    own, held = blend(oof.own, fitted.weights), blend(oof.held(), fitted.weights)
    for name, base in (("usual", own), ("pair models", held)):
        answer = base.copy()
        for f in range(oof.folds):
            here, there = np.flatnonzero(oof.fold == f), np.flatnonzero(oof.fold != f)
            known = own if name == "usual" else blend({m: p[f] for m, p in oof.without.items()}, fitted.weights)
            near = BandIndex(rows.space[there], rows.goods.log_price[there]).search(
                rows.space[here], base[here], k=fitted.knobs.k, band=fitted.knobs.band
            )
            answer[here] += shift(near, (rows.goods.log_price - known)[there], fitted.knobs)
        before, after = row_smape(price, np.exp(base)), row_smape(price, np.exp(answer))
        low, high = bootstrap(before - after, seed=0)
        report[name] = {"blend": before.mean(), "corrected": after.mean(), "gain": [(before - after).mean(), low, high]}
        gain = f"{(before - after).mean():+.2f} ({low:+.2f} to {high:+.2f})"
        print(f"{name:12} {before.mean():.2f} -> {after.mean():.2f}, gain {gain}")
    path = Path(__file__).parent / "results" / "pair_models.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
