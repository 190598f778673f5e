"""Do scores out of fold hold for queries of an index that never saw them, and what do more folds bring a query?

    python benchmarks/queries.py INDEX

Five splits by groups of twins: four fifths of an index's rows go through the whole of a build, with 5 and with 10 folds
of their own, and the last fifth is priced as queries, so that every row is a query once. Kernel ridge regression is the
only member, in the MLP's place, which makes it minutes instead of hours. Writes results/queries.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.features import Inputs
from engine.folds import assign_folds
from engine.kernel import Kernel
from engine.learn import learn_from_members
from engine.metrics import bootstrap, row_smape
from engine.out_of_fold import predict_out_of_fold
from engine.price_model import Bank, PriceModel
from engine.scored_rows import open_scored_rows
from engine.settings import Blend, Settings
from engine.space import Space
from engine.stack import Catalogue, Goods, amounts
from index.neighbours import BandIndex

SPLITS = 5
FOLDS = (5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    rows = open_scored_rows(parser.parse_args().index)
    inputs, settings = rows.catalogue().inputs, replace(rows.settings, blend=Blend(mlp=1.0), members=("mlp",))
    split = assign_folds(rows.groups, SPLITS, settings.seed + 1, rows.log_price)
    price, shape = np.exp(rows.log_price), (len(FOLDS), len(split))
    base, answer, promised = np.zeros(shape), np.zeros(shape), np.zeros((len(FOLDS), SPLITS, 2))
    for f in range(SPLITS):
        there, here = np.flatnonzero(split != f), np.flatnonzero(split == f)
        known, asked = (inputs.take(there), rows.log_price[there], rows.groups[there]), inputs.take(here)
        for i, folds in enumerate(FOLDS):
            model, space, promised[i, f] = built(*known, settings, folds)
            estimate = model.estimate(asked, space.vectors(asked))
            base[i, here] = row_smape(price[here], np.exp(estimate.base.last))
            answer[i, here] = row_smape(price[here], np.exp(estimate.answer))
            before, after = base[i, here].mean(), answer[i, here].mean()
            print(
                f"split {f}, {folds} folds: {after:.2f}, the correction gains {before - after:+.2f}; "
                f"out of fold {promised[i, f, 1]:.2f}, {promised[i, f, 0] - promised[i, f, 1]:+.2f}",
                flush=True,
            )

    def interval(gain: np.ndarray) -> list[float]:
        return [float(gain.mean()), *bootstrap(gain, groups=rows.groups, seed=settings.seed)]

    report: dict[str, object] = {}
    for i, folds in enumerate(FOLDS):
        before, after = promised[i].mean(axis=0)
        report[f"{folds} folds"] = {
            "smape_of_queries": answer[i].mean(),
            "gain_of_queries": interval(base[i] - answer[i]),
            "smape_out_of_fold": after,
            "gain_out_of_fold": before - after,
        }
    report["gain_of_more_folds"] = interval(answer[0] - answer[-1])
    print(report)
    path = Path(__file__).parent / "results" / "queries.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def built(
    inputs: Inputs, log_price: np.ndarray, groups: np.ndarray, settings: Settings, folds: int
) -> tuple[PriceModel, Space, list[float]]:
    """A build of some rows, and its SMAPE out of fold without and with the correction."""

    def fit(some: Inputs, prices: np.ndarray, seed: int, _: object) -> Kernel:
        return Kernel.fit(some, prices, settings.kernel, seed=seed)

    fold = assign_folds(groups, folds, settings.seed, log_price)
    oof, models = predict_out_of_fold(inputs, log_price, fold, {"mlp": fit}, seed=settings.seed)
    space = Space.fit(inputs, settings)
    places, goods = space.vectors(inputs), Goods(log_price, inputs.unit, amounts(inputs))
    learned = learn_from_members(oof, models, Catalogue(inputs, goods, places), settings)
    bank = Bank(BandIndex(places, log_price, groups=fold), goods, learned.residual(log_price))
    *_, before, after = (row_smape(np.exp(log_price), np.exp(each)).mean() for each in learned.held.stages.values())
    return PriceModel(learned.models, learned.fitted, bank, settings.stack), space, [before, after]


if __name__ == "__main__":
    main()
