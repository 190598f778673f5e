"""What does fine-tuning bring over a frozen encoder, and how do both grow with the rows that they learn from?

    python benchmarks/finetune.py CATALOGUE --work DIR [--folds-run 2] [--blend --image-dir DIR [--config price.toml]]

Five grouped folds, of which the first few are priced. For each of them a system learns from 1/8, 1/4, 1/2 and all of
the groups of the other folds (nested), and prices the same rows:

    frozen    MiniLM of the item name as it is published; the gated head learns
    tuned     the same head, and MiniLM's last two layers with it (the member `finetuned` of the blend)
    blend     with --blend: a whole index built on those rows by `price build-index`, its queries scored

Smaller parts are learned from for more epochs (by one over the root of the share), so that they are not merely seen
less often. The gain is paired and drawn by twins. Two curves are laid through the four points, SMAPE = a + b log(rows)
and log(SMAPE) = a + b log(rows), and followed to 75,000 rows; their intervals are those of the priced rows drawn anew,
by twins: what another draw of training rows would change is not in them. Every part is kept in DIR as soon as it is
done; the same command goes on where it was stopped. Writes results/finetune.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.features.inputs import make_inputs
from engine.finetune.examples import FrozenActivations
from engine.folds import assign_folds
from engine.lifecycle.build import build_index
from engine.members.finetuned import FinetunedMember
from engine.metrics import bootstrap, paired_bootstrap, row_smape
from engine.serving.pricer import Item, Pricer
from engine.settings.finetuning import FinetuneSettings
from engine.settings.read import read_settings
from index.catalogue.columns import Columns
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import read_catalogue
from index.encoders.device import AUTO
from index.photographs.source import Photographs

RESULTS = Path(__file__).parent / "results" / "finetune.json"
FOLDS = 5
SHARES = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "all": 1.0}
FAR = 75_000  # rows of the challenge
DRAWS = 1000
PUBLISHED = {  # SMAPE on about 75,000 rows, from public write-ups of the Amazon ML Challenge 2025
    "3rd: DeBERTa-v3-large fine-tuned, 110 epochs, text only": 40.33,
    "top 50: Stella-400M, last 8 layers": 42.30,
    "frozen MiniLM + CLIP, gated MLP, out of fold": 46.73,
    "MiniLM-L6, last two layers tuned, 25 epochs": 47.55,
    "TF-IDF, quantities, LightGBM, out of fold": 48.96,
}
Predict = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def nested(groups: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """(rows,) a place from 0 to 1: the rows below a share are that share of the groups, none of them split."""
    label, member = np.unique(groups[rows], return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(label)) / len(label))[member]


def by_member(
    inputs, log_price: np.ndarray, settings: FinetuneSettings, activations: FrozenActivations, seed: int
) -> Predict:
    """Fit the member on some rows, price others."""

    def predict(there: np.ndarray, here: np.ndarray, share: float) -> np.ndarray:
        own = replace(settings, epochs=round(settings.epochs / share**0.5))
        fitted = FinetunedMember.fit(inputs.take(there), log_price[there], own, seed=seed, activations=activations)
        return fitted.predict(inputs.take(here))

    return predict


def by_index(items: pa.Table, given: argparse.Namespace) -> Predict:
    """Build an index on some rows, price others as queries. One folder for all, so that nothing is encoded twice."""
    settings = read_settings(given.config, seed=given.seed)
    index = given.work / "index"

    def predict(there: np.ndarray, here: np.ndarray, share: float) -> np.ndarray:
        part = items.take(there)
        columns = {"sample_id": part["item_id"], "catalog_content": part["text"], "image_link": part["image"]}
        path = given.work / "part.parquet"
        pq.write_table(pa.table({**columns, "price": np.exp(part["log_price"].to_numpy().astype(float))}), path)
        build_index(path, index, settings, image_dir=given.image_dir)
        asked = items.take(here)
        wanted = [Item(*each) for each in zip(asked["text"].to_pylist(), asked["image"].to_pylist(), strict=True)]
        quotes = Pricer.open(index).price(wanted, photographs=Photographs(given.image_dir))
        return np.log([quote.price for quote in quotes])

    return predict


def followed(rows: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray]:
    """SMAPE at FAR rows by each form, from (draws, points) scores at (points,) rows."""
    line = np.polynomial.polynomial.polyfit(np.log(rows), score.T, 1)
    power = np.polynomial.polynomial.polyfit(np.log(rows), np.log(score.T), 1)
    at = np.log(FAR)
    return {"log-linear": line[0] + line[1] * at, "power law": np.exp(power[0] + power[1] * at)}


def extrapolation(rows: np.ndarray, losses: np.ndarray, groups: np.ndarray, seed: int) -> dict[str, list[float]]:
    """(points, n) losses of the same n rows -> each form's value and its 95% interval over draws of groups."""
    label, member = np.unique(groups, return_inverse=True)
    totals = np.stack([np.bincount(member, weights=loss) for loss in losses])  # (points, groups)
    drawn = np.random.default_rng(seed).integers(len(label), size=(DRAWS, len(label)))
    held = np.bincount(member)[drawn].sum(axis=1)
    scores = np.stack([total[drawn].sum(axis=1) / held for total in totals], axis=1)  # (draws, points)
    whole, many = followed(rows, losses.mean(axis=1)[None]), followed(rows, scores)
    return {
        form: [round(float(v), 2) for v in (whole[form][0], *np.quantile(many[form], [0.025, 0.975]))] for form in whole
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folds-run", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=FinetuneSettings().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blend", action="store_true")
    parser.add_argument("--image-dir", type=Path)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    items = read_catalogue(given.catalogue, Columns(), priced=True).items
    log_price = items["log_price"].to_numpy().astype(np.float64)
    groups = duplicate_groups([name_key(name) for name in items["name"].to_pylist()], items["image"].to_pylist())
    fold = assign_folds(groups, FOLDS, given.seed, log_price)
    inputs, activations, tuning = make_inputs(items, {}), FrozenActivations(), FinetuneSettings(epochs=given.epochs)
    systems = {
        "frozen": by_member(inputs, log_price, replace(tuning, layers=0), FrozenActivations(), given.seed),
        "tuned": by_member(inputs, log_price, tuning, activations, given.seed),
    }
    if given.blend:
        systems["blend"] = by_index(items, given)
    here = [np.flatnonzero(fold == f) for f in range(given.folds_run)]
    asked = np.concatenate(here)
    losses = {system: np.zeros((len(SHARES), len(asked))) for system in systems}
    seconds = {system: [0.0] * len(SHARES) for system in systems}
    rows = np.zeros(len(SHARES))
    for point, (share, part) in reversed(list(enumerate(SHARES.items()))):  # what matters most comes first
        for system, predict in systems.items():
            done = []
            for f, test in enumerate(here):
                rest = np.flatnonzero(fold != f)
                there = rest[nested(groups, rest, given.seed) < part]
                rows[point] += len(there) / len(here) / len(systems)
                kept = given.work / f"{system}-{share.replace('/', '_')}-{f}-{given.seed}-{given.epochs}.json"
                if not kept.exists():
                    started = time.monotonic()
                    predicted = predict(there, test, part)
                    spent = time.monotonic() - started
                    score = row_smape(np.exp(log_price[test]), np.exp(predicted)).mean()
                    print(f"{system:7} {share:4} fold {f}: {score:.2f} in {spent:.0f} s", flush=True)
                    partial = kept.with_suffix(".partial")
                    partial.write_text(json.dumps({"log_price": predicted.tolist(), "seconds": spent}))
                    partial.replace(kept)
                document = json.loads(kept.read_text())
                done.append(np.array(document["log_price"]))
                seconds[system][point] += document["seconds"] / len(here)
            losses[system][point] = row_smape(np.exp(log_price[asked]), np.exp(np.concatenate(done)))
    twins = groups[asked]
    report = {
        "rows priced": len(asked),
        "folds priced": given.folds_run,
        "seed": given.seed,
        "epochs on all rows": given.epochs,
        "machine": f"{AUTO.resolve_for_training().device.type}, {AUTO.resolve_for_training().precision}, "
        f"{os.environ.get('OMP_NUM_THREADS', 'all')} thread(s)",
        "rows learned from": {share: round(n) for share, n in zip(SHARES, rows, strict=True)},
        "smape": {
            system: {
                share: [round(v, 2) for v in (loss.mean(), *bootstrap(loss, groups=twins, seed=0))]
                for share, loss in zip(SHARES, own, strict=True)
            }
            for system, own in losses.items()
        },
        "gain over frozen": {
            system: {
                share: [
                    round(float(v), 2)
                    for v in ((base - loss).mean(), *paired_bootstrap(base, loss, groups=twins, seed=0))
                ]
                for share, base, loss in zip(SHARES, losses["frozen"], own, strict=True)
            }
            for system, own in losses.items()
            if system != "frozen"
        },
        "seconds a fit": {s: {h: round(v, 1) for h, v in zip(SHARES, t, strict=True)} for s, t in seconds.items()},
        f"at {FAR:,} rows": {system: extrapolation(rows, own, twins, seed=0) for system, own in losses.items()},
        "published": PUBLISHED,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: report[key] for key in ("smape", "gain over frozen", f"at {FAR:,} rows")}, indent=1))


if __name__ == "__main__":
    main()
