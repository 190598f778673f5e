"""Gain of fine-tuning over a frozen encoder, and how both grow with the rows that they learn from.

    python benchmarks/finetune.py CATALOGUE --work DIR [--folds-run 2] [--blend --image-dir DIR [--config price.toml]]

Five grouped folds, of which the first few are priced. For each of them a system learns from 1/8, 1/4, 1/2 and all of
the groups of the other folds (nested), and prices the same rows:

    frozen     MiniLM of the item name as it is published; the gated head learns
    finetuned  the same head, and MiniLM's last two layers with it (the member `finetuned` of the blend)
    blend      with --blend: a whole index built on those rows by `price build-index`, its queries scored

Smaller parts are learned from for more epochs (by one over the root of the share), so that they are not merely seen
less often. The gain is paired, groups of near-duplicates drawn whole. Two curves are laid through the four points,
SMAPE = a + b log(rows) and log(SMAPE) = a + b log(rows), and followed to 75,000 rows; their intervals are those of the
priced rows drawn anew, by groups: what another draw of training rows would change is not in them. Every part is kept in
DIR as soon as it is done; the same command goes on where it was stopped. Writes results/finetune.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.features.inputs import make_inputs
from engine.finetune.examples import FrozenActivations
from engine.folds import assign_folds
from engine.members.finetuned import FinetunedMember
from engine.metrics import row_smape
from engine.settings.finetuning import FinetuneSettings
from index.encoders.device import AUTO
from index.files import atomic_write

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
Predict = Callable[[np.ndarray, np.ndarray, float], np.ndarray]  # rows learned from, rows priced, share -> log price


def nested(groups: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """(rows,) a place from 0 to 1: the rows below a share are that share of the groups, none of them split."""
    label, member = np.unique(groups[rows], return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(label)) / len(label))[member]


def by_member(items: pa.Table, log_price: np.ndarray, settings: FinetuneSettings, seed: int) -> Predict:
    """Fit the member on some rows, price others."""
    inputs, activations = make_inputs(items, {}), FrozenActivations()

    def predict(there: np.ndarray, here: np.ndarray, share: float) -> np.ndarray:
        longer = replace(settings, epochs=round(settings.epochs / share**0.5))
        member = FinetunedMember.fit(inputs.take(there), log_price[there], longer, activations, seed)
        return member.predict(inputs.take(here))

    return predict


def by_index(items: pa.Table, log_price: np.ndarray, given: argparse.Namespace) -> Predict:
    """Build an index on some rows, price others as queries. One folder for all, so that nothing is encoded twice."""
    columns = {"sample_id": items["item_id"], "catalog_content": items["text"], "image_link": items["image"]}
    table = pa.table({**columns, "price": np.exp(log_price)})
    index, images = given.work / "index", measure.options(image_dir=given.image_dir)

    def predict(there: np.ndarray, here: np.ndarray, share: float) -> np.ndarray:
        known, queries, out = (given.work / f"{name}.parquet" for name in ("part", "queries", "prices"))
        pq.write_table(table.take(there), known)
        pq.write_table(table.take(here).drop_columns("price"), queries)
        settings = measure.options(config=given.config, seed=given.seed)
        measure.price("build-index", known, "--index", index, *images, *settings)
        measure.price("predict", queries, "-o", out, "--index", index, *images, "--overwrite")
        return np.asarray(np.log(pq.read_table(out)["price"].to_numpy()))

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
    size = np.bincount(member)[drawn].sum(axis=1)
    scores = np.stack([total[drawn].sum(axis=1) / size for total in totals], axis=1)  # (draws, points)
    whole, many = followed(rows, losses.mean(axis=1)[None]), followed(rows, scores)
    return {
        form: [round(float(v), 2) for v in (whole[form][0], *np.quantile(many[form], [0.025, 0.975]))] for form in whole
    }


def kept(path: Path, predict: Callable[[], np.ndarray], price: np.ndarray) -> tuple[np.ndarray, float]:
    """The losses of a part and its seconds, from `path` where they are there already."""
    if not path.exists():
        started = time.monotonic()
        log_price, spent = predict(), time.monotonic() - started
        print(f"{path.stem}: {row_smape(price, np.exp(log_price)).mean():.2f} in {spent:.0f} s", flush=True)
        with atomic_write(path) as partial:
            partial.write_text(json.dumps({"log_price": log_price.tolist(), "seconds": spent}))
    document = json.loads(path.read_text())
    return row_smape(price, np.exp(document["log_price"])), document["seconds"]


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Price every part, and say what came of it."""
    given.work.mkdir(parents=True, exist_ok=True)
    items = measure.read_items(given.catalogue)
    log_price, groups = items["log_price"].to_numpy().astype(np.float64), measure.duplicate_groups(items)
    folds = list(measure.by_fold(assign_folds(groups, FOLDS, given.seed, log_price)))[: given.folds_run]
    settings = FinetuneSettings(epochs=given.epochs)
    systems = {
        "frozen": by_member(items, log_price, replace(settings, layers=0), given.seed),
        "finetuned": by_member(items, log_price, settings, given.seed),
    } | ({"blend": by_index(items, log_price, given)} if given.blend else {})
    trained_on = {
        share: [there[nested(groups, there, given.seed) < part] for there, _ in folds] for share, part in SHARES.items()
    }
    losses: dict[str, Any] = {system: dict.fromkeys(SHARES) for system in systems}
    seconds: dict[str, Any] = {system: dict.fromkeys(SHARES) for system in systems}
    for share, system in product(reversed(SHARES), systems):  # what matters most comes first
        done = []
        for f, (there, (_, here)) in enumerate(zip(trained_on[share], folds, strict=True)):
            path = given.work / f"{system}-{share.replace('/', '_')}-{f}-{given.seed}-{given.epochs}.json"
            done.append(kept(path, partial(systems[system], there, here, SHARES[share]), np.exp(log_price[here])))
        losses[system][share] = np.concatenate([loss for loss, _ in done])
        seconds[system][share] = round(float(np.mean([spent for _, spent in done])), 1)
    rows = np.array([np.mean([len(there) for there in parts]) for parts in trained_on.values()])
    groups = groups[np.concatenate([here for _, here in folds])]

    def scores(values: dict[str, np.ndarray]) -> dict[str, list[float]]:
        return {share: measure.interval(loss, groups, digits=2) for share, loss in values.items()}

    machine, frozen = AUTO.resolve_for_training(), losses["frozen"]
    return {
        "rows priced": len(groups),
        "folds priced": given.folds_run,
        "seed": given.seed,
        "epochs on all rows": given.epochs,
        "machine": f"{machine.device.type}, {machine.precision}, {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s)",
        "rows learned from": {share: round(n) for share, n in zip(SHARES, rows, strict=True)},
        "smape": {system: scores(by_share) for system, by_share in losses.items()},
        "gain over frozen": {
            system: scores({share: frozen[share] - loss for share, loss in by_share.items()})
            for system, by_share in losses.items()
            if system != "frozen"
        },
        "seconds a fit": seconds,
        f"at {FAR:,} rows": {
            system: extrapolation(rows, np.stack(list(by_share.values())), groups, seed=0)
            for system, by_share in losses.items()
        },
        "published": PUBLISHED,
    }


def main() -> None:
    defaults = {"folds_run": 2, "epochs": FinetuneSettings().epochs, "seed": 0, "blend": False}
    parser = measure.argument_parser(__doc__, "catalogue", "--image-dir", "--config", **defaults)
    parser.add_argument("--work", type=Path, required=True)
    report = run(parser.parse_args())
    measure.write_results("finetune", report)
    print(json.dumps({key: report[key] for key in ("smape", "gain over frozen", f"at {FAR:,} rows")}, indent=1))


if __name__ == "__main__":
    main()
