"""Claim: what a score out of fold says of stack and correction holds for queries of an index that never saw them.

    python benchmarks/queries.py INDEX

Five splits by groups of twins: four fifths of an index's rows go through the whole of a build, with folds of their own,
and the last fifth is priced as queries, so that every row is a query once. Kernel ridge regression is the only member,
in the MLP's place, which makes it minutes instead of an hour. Writes results/queries.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.ensemble.out_of_fold import predict_out_of_fold
from engine.ensemble.price_model import Bank, PriceModel
from engine.ensemble.stacker import Catalogue, Goods, amounts
from engine.ensemble.train import learn_from_members
from engine.evaluation.scorable import open_scored_rows
from engine.features.inputs import Inputs
from engine.features.search_vectors import Space
from engine.folds import assign_folds
from engine.members.kernel_ridge import Kernel
from engine.metrics import bootstrap, row_smape
from engine.settings.schema import Blend, Settings
from index.search.neighbours import BandIndex

SPLITS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    rows = open_scored_rows(parser.parse_args().index)
    inputs, settings = rows.catalogue().inputs, replace(rows.settings, blend=Blend(mlp=1.0), members=("mlp",))
    split = assign_folds(rows.groups, SPLITS, settings.seed + 1, rows.log_price)
    price, gain, answer, expected = np.exp(rows.log_price), np.zeros(len(split)), np.zeros(len(split)), []
    for f in range(SPLITS):
        there, here = np.flatnonzero(split != f), np.flatnonzero(split == f)
        model, space, promised = built(inputs.take(there), rows.log_price[there], rows.groups[there], settings)
        asked = inputs.take(here)
        estimate = model.estimate(asked, space.vectors(asked))
        answer[here] = row_smape(price[here], np.exp(estimate.answer))
        gain[here] = row_smape(price[here], np.exp(estimate.base.last)) - answer[here]
        expected.append(promised)
        print(
            f"split {f}: {answer[here].mean():.2f}, the correction gains {gain[here].mean():+.2f}; {promised}",
            flush=True,
        )
    low, high = bootstrap(gain, groups=rows.groups, seed=settings.seed)
    report = {
        "smape_of_queries": answer.mean(),
        "gain_of_queries": [gain.mean(), low, high],
        "gain_out_of_fold": float(np.mean([each["gain"] for each in expected])),
        "smape_out_of_fold": float(np.mean([each["smape"] for each in expected])),
    }
    print(report)
    path = Path(__file__).parent / "results" / "queries.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def built(
    inputs: Inputs, log_price: np.ndarray, groups: np.ndarray, settings: Settings
) -> tuple[PriceModel, Space, dict[str, float]]:
    """A build of some rows, and what it says of itself out of fold."""

    def fit(some: Inputs, prices: np.ndarray, seed: int, _: object) -> Kernel:
        return Kernel.fit(some, prices, settings.kernel, seed=seed)

    fold = assign_folds(groups, settings.folds, settings.seed, log_price)
    oof, models = predict_out_of_fold(inputs, log_price, fold, {"mlp": fit}, seed=settings.seed)
    space = Space.fit(inputs, settings)
    places, goods = space.vectors(inputs), Goods(log_price, inputs.unit, amounts(inputs))
    learned = learn_from_members(oof, models, Catalogue(inputs, goods, places), settings)
    bank = Bank(BandIndex(places, log_price, groups=fold), goods, learned.residual(log_price))
    *_, before, after = (row_smape(np.exp(log_price), np.exp(each)).mean() for each in learned.held.stages.values())
    promised = {"smape": round(float(after), 2), "gain": round(float(before - after), 2)}
    return PriceModel(learned.models, learned.fitted, bank, settings.stacker), space, promised


if __name__ == "__main__":
    main()
