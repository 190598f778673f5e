"""How well, how fast and in how much memory does `price` do on a real catalogue? Out of fold, and on a holdout.

    python benchmarks/real_catalogue.py CATALOGUE [--image-dir DIR] [--config price.toml] [--seed 0]

Builds an index of the whole file from a cold cache, evaluates it out of fold, builds another of four fifths of the
twin groups, and prices the remaining fifth as queries. Every step is the command itself, in a process of its own. The
out-of-fold score of the very rows of the holdout stands beside the holdout's: the two differ in what a build knows, and
not in which rows were drawn. Then cold queries are timed. Writes results/real_catalogue.json beside this script:
figures only, no product text.
"""

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from engine.serving.reference import read_comparables

from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import read_out_of_fold
from engine.folds import assign_folds
from engine.metrics import smape
from engine.settings.read import settings_from
from index.catalogue.columns import Columns
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import read_catalogue
from index.storage.generations import current_generation
from index.storage.manifest import read_manifest

RESULTS = Path(__file__).parent / "results" / "real_catalogue.json"


def price(*arguments: str) -> dict:
    """What a `price` command answers as JSON, with its wall seconds and the peak memory of all so far, in GB."""
    started = time.monotonic()
    done = subprocess.run(
        [Path(sys.executable).parent / "price", *arguments, "--json"], stdout=subprocess.PIPE, check=True
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {**json.loads(done.stdout), "wall_seconds": round(time.monotonic() - started, 1), "peak_gb": round(peak, 2)}


def split(catalogue: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Four fifths and one fifth of the rows, whole groups of twins, as two CSV files."""
    items = read_catalogue(catalogue, Columns(), priced=True).items
    groups = duplicate_groups([name_key(name) for name in items["name"].to_pylist()], items["image"].to_pylist())
    held = set(np.array(items["item_id"].to_pylist())[assign_folds(groups, 5, seed) == 0])
    paths = folder / "known.csv", folder / "held.csv"
    with catalogue.open(newline="", encoding="utf-8-sig") as source:
        rows = list(csv.DictReader(source))
    for path, wanted in zip(paths, (False, True), strict=True):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(row for row in rows if (row["sample_id"] in held) == wanted)
    return paths


def out_of_fold_of(index: str, ids: set[str]) -> dict[str, float]:
    """SMAPE out of fold of some rows of an index, by stage."""
    folder = current_generation(Path(index))
    rows, settings = read_comparables(folder), settings_from(read_manifest(folder).settings)
    held = cross_fit(read_out_of_fold(folder), rows.goods.log_price, rows.space, settings)[1]
    some = np.isin(rows.shown["item_id"].to_pylist(), list(ids))
    price = np.exp(rows.goods.log_price[some])
    return {name: smape(price, np.exp(stage[some])) for name, stage in held.stages.items()}


def seconds(*arguments: str) -> float:
    """Median wall seconds of five runs of a `price` command."""
    taken = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([Path(sys.executable).parent / "price", *arguments], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - started)
    return round(statistics.median(taken), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--image-dir")
    parser.add_argument("--config")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    photographs = ["--image-dir", given.image_dir] if given.image_dir else []
    config = ["--config", given.config] if given.config else []
    seed = ["--seed", str(given.seed)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole, part = str(folder / "whole"), str(folder / "part")
        report = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "seed": given.seed,
            "build": price("build-index", str(given.catalogue), "--index", whole, *photographs, *config, *seed),
            "out_of_fold": price("evaluate", "--index", whole),
        }
        report["seconds"] = {
            "cold query": seconds("query", "Sencha green tea, loose leaf, 16 oz bag", "--index", whole),
            "help": seconds("--help"),
        }
        known, held = split(given.catalogue, folder, given.seed + 1)
        report["holdout_build"] = price("build-index", str(known), "--index", part, *photographs, *config, *seed)
        report["holdout_out_of_fold"] = price("evaluate", "--index", part)
        report["holdout"] = price("evaluate", str(held), "--index", part, *photographs)
        with held.open(newline="", encoding="utf-8") as file:
            ids = {row["sample_id"] for row in csv.DictReader(file)}
        report["same_rows_out_of_fold"] = out_of_fold_of(whole, ids)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    build, held_out, same = report["build"], report["holdout"], report["same_rows_out_of_fold"]
    print(f"build {build['wall_seconds']} s, peak {build['peak_gb']} GB, {build['rows']} rows; {report['seconds']}")
    for name, value in report["out_of_fold"]["stages"].items():
        queries = held_out["stages"][name]
        print(f"{name:20} {value:6.2f} out of fold; the holdout's rows {same[name]:6.2f}, as queries {queries:6.2f}")


if __name__ == "__main__":
    main()
