"""What do photographs bring? SMAPE out of fold from words alone, photographs alone and both, on rows that have one.

    python benchmarks/modalities.py CATALOGUE --image-dir DIR --image-encoder pixels --image-encoder mobilenet-v2@FILE

One member, the gated MLP, so that modalities are compared and nothing else; "words" are the text encoder's vectors with
unit and numbers, and a photograph alone comes without either. Intervals of the difference are paired and drawn by
twins. Writes results/modalities.json beside this script.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.features.inputs import Inputs, make_inputs
from engine.folds import assign_folds
from engine.members.neural import NeuralMember
from engine.metrics import bootstrap, paired_bootstrap, row_smape
from engine.settings.schema import Settings
from index.catalogue.columns import Columns
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import read_catalogue
from index.embedding.columns import Encoders, modalities
from index.photographs.source import Photographs

FOLDS = 5
RESULTS = Path(__file__).parent / "results" / "modalities.json"


def out_of_fold(inputs: Inputs, log_price: np.ndarray, fold: np.ndarray, settings: Settings) -> np.ndarray:
    """(n,) SMAPE of each row, predicted by the MLP that never saw its fold."""
    own = np.zeros(len(log_price))
    for f in range(FOLDS):
        there, here = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        network = NeuralMember.fit(inputs.take(there), log_price[there], settings.mlp, settings.seed + f)
        own[here] = network.predict(inputs.take(here))
    return row_smape(np.exp(log_price), np.exp(own))


def _shown(value: list[float]) -> str:
    return f"{value[0]:6.2f} ({value[1]:.2f} to {value[2]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--image-dir", type=Path, required=True)
    parser.add_argument("--image-encoder", action="append", required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings = Settings(image_encoder=tuple(given.image_encoder), seed=given.seed)
    items, wanted = read_catalogue(given.catalogue, Columns(), priced=True).items, modalities(settings.views)
    photographs = Photographs(given.image_dir)
    there = [
        reference is not None and (given.image_dir / reference.rsplit("/", 1)[-1]).is_file()
        for reference in items["image"].to_pylist()
    ]
    items = items.filter(there)
    with tempfile.TemporaryDirectory() as cache:
        vectors = Encoders(wanted).encode(items, photographs, Path(cache))[0]
    seen = np.all([vectors[each.name].any(axis=1) for each in wanted if each.view == "photograph"], axis=0)
    items, vectors = items.filter(seen), {name: value[seen] for name, value in vectors.items()}
    log_price = items["log_price"].to_numpy().astype(np.float64)
    groups = duplicate_groups([name_key(name) for name in items["name"].to_pylist()], items["image"].to_pylist())
    fold = assign_folds(groups, FOLDS, settings.seed, log_price)
    words = {each.name: vectors[each.name] for each in wanted if each.view != "photograph"}
    said = make_inputs(items, words)
    baseline = out_of_fold(said, log_price, fold, settings)
    losses = {"words": baseline}
    for each in wanted:
        if each.view == "photograph":
            own = {each.name: vectors[each.name]}
            silent = replace(said, vectors=own, numbers=np.zeros_like(said.numbers), unit=np.zeros_like(said.unit))
            losses[f"{each.encoder.partition('@')[0]} alone"] = out_of_fold(silent, log_price, fold, settings)
            both = replace(said, vectors={**words, **own})
            losses[f"words and {each.encoder.partition('@')[0]}"] = out_of_fold(both, log_price, fold, settings)
    median = np.array([np.median(log_price[fold != f]) for f in fold])
    losses["constant median"] = row_smape(np.exp(log_price), np.exp(median))
    report = {"rows": len(log_price), "seed": settings.seed, "smape": {}}
    for name, loss in losses.items():
        score = [loss.mean(), *bootstrap(loss, groups=groups, seed=0)]
        gain = [(baseline - loss).mean(), *paired_bootstrap(baseline, loss, groups=groups, seed=0)]
        report["smape"][name] = {"smape": np.round(score, 2).tolist(), "gain over words": np.round(gain, 2).tolist()}
        print(f"{name:26} {_shown(score)}  gain over words {_shown(gain)}")
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
