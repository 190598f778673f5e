"""Accuracy, seconds and memory of `price` on a real catalogue, out of fold and on a holdout.

    python benchmarks/real_catalogue.py CATALOGUE [--image-dir DIR] [--config price.toml] [--seed 0]

Builds an index of the whole file from a cold cache, evaluates it out of fold, builds another of four fifths of the
groups of near-duplicates, and prices the remaining fifth as queries. Every step is the command itself, in a process of
its own. The out-of-fold score of the very rows of the holdout stands beside the holdout's: the two differ in what a
build knows, and not in which rows were drawn. Then cold queries are timed. Writes results/real_catalogue.json beside
this script: figures only, no product text.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np

from engine.folds import assign_folds
from engine.serving.scorable import open_scorable_rows
from index.storage.items_table import ItemStore


def step(*arguments: object) -> dict[str, Any]:
    """Run a `price` command: its answer, with its wall seconds and peak memory in GB."""
    ran = measure.price(*arguments)
    return ran.answer | {"wall_seconds": round(ran.wall_seconds, 1), "peak_gb": round(ran.peak_mb / 1024, 2)}


def median_seconds(*arguments: object) -> float:
    """Wall seconds of a `price` command, the median of five."""
    return round(statistics.median(measure.run(measure.PRICE, *arguments).wall_seconds for _ in range(5)), 2)


def split(catalogue: Path, folder: Path, seed: int) -> tuple[Path, Path, list[str]]:
    """Four fifths and one fifth of the rows, whole groups of near-duplicates, as two CSV files; the fifth's ids."""
    items = measure.read_items(catalogue)
    fold = assign_folds(measure.duplicate_groups(items), 5, seed)
    held_out = set(np.array(items["item_id"].to_pylist())[fold == 0])
    rows = measure.read_csv(catalogue)
    parts = [[row for row in rows if (row["sample_id"] in held_out) == side] for side in (False, True)]
    known, holdout = (
        measure.write_csv(folder / name, rows[0], (row.values() for row in part))
        for name, part in zip(("known.csv", "holdout.csv"), parts, strict=True)
    )
    return known, holdout, [row["sample_id"] for row in parts[1]]


def out_of_fold_of(index: Path, ids: list[str]) -> dict[str, float]:
    """SMAPE out of fold of some rows of an index, by stage."""
    rows = open_scorable_rows(index)
    item_ids = ItemStore.open(rows.folder).items(["item_id"])["item_id"].to_numpy()[rows.number]
    chosen = np.isin(item_ids, ids)
    return {name: float(losses[chosen].mean()) for name, losses in measure.stage_losses(rows).items()}


def main() -> None:
    given = measure.argument_parser(__doc__, "catalogue", "--image-dir", "--config", seed=0).parse_args()
    photographs = measure.options(image_dir=given.image_dir)
    settings = photographs + measure.options(config=given.config, seed=given.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole, part = folder / "whole", folder / "part"
        report: dict[str, Any] = {
            "machine": measure.machine(),
            "seed": given.seed,
            "build": step("build-index", given.catalogue, "--index", whole, *settings),
            "out_of_fold": step("evaluate", "--index", whole),
        }
        report["seconds"] = {
            "cold query": median_seconds("query", "Sencha green tea, loose leaf, 16 oz bag", "--index", whole),
            "help": median_seconds("--help"),
        }
        known, holdout, ids = split(given.catalogue, folder, given.seed + 1)
        report["holdout_build"] = step("build-index", known, "--index", part, *settings)
        report["holdout_out_of_fold"] = step("evaluate", "--index", part)
        report["holdout"] = step("evaluate", holdout, "--index", part, *photographs)
        report["same_rows_out_of_fold"] = out_of_fold_of(whole, ids)
    measure.write_results("real_catalogue", report)
    build, held_out, same = report["build"], report["holdout"], report["same_rows_out_of_fold"]
    print(f"build {build['wall_seconds']} s, peak {build['peak_gb']} GB, {build['rows']} rows; {report['seconds']}")
    for name, value in report["out_of_fold"]["stages"].items():
        queries = held_out["stages"][name]
        print(f"{name:20} {value:6.2f} out of fold; the holdout's rows {same[name]:6.2f}, as queries {queries:6.2f}")


if __name__ == "__main__":
    main()
