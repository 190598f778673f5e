"""R2 on raw prices of a public benchmark whose catalogue has categories and numbers, by `price` as it is.

    python benchmarks/columns/babies_r_us.py babies_r_us.csv [--folds 0,1,2,3,4] [--build-folds 3]

Babies R Us of MulTaBench (arXiv 2605.10616; data of the Magellan project): 5,085 products, five published folds, fold f
being scikit-learn's train_test_split(test_size=508, random_state=42 + f). The columns int_id, ext_id, SKU and brand are
dropped, as published. Every build has default settings, but for its own number of folds where one is given; prices are
asked for with `--answer mean`, because R2 rewards the mean, and with the median beside it. Prints a line of JSON for
each fold, and the means.

Published, mean of the five folds: CatBoost with a tuned encoder .893, TabM .903, AutoGluon multimodal .905, TabICLv2
.937, TabFM .943.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from engine.metrics import r_squared, smape

PRICE = Path(sys.executable).parent / "price"
DROPPED = ("int_id", "ext_id", "SKU", "brand")
NUMBERS = ("is_discounted",)
ANSWERS = ("median", "mean")
Row = dict[str, str]


def run(*arguments: object) -> None:
    """Run a `price` command in a process of its own; what it says on stderr is shown."""
    subprocess.run([PRICE, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def write(path: Path, rows: list[Row]) -> Path:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def score(rows: list[Row], fold: int, folder: Path, build_folds: int | None) -> dict[str, float]:
    """R2 and SMAPE of a fold, by what is answered."""
    known, unseen = train_test_split(rows, test_size=508, random_state=42 + fold)
    columns: list[object] = ["--id-column", "id", "--text-column", "title", "--price-column", "price"]
    for name in rows[0]:
        if name not in ("id", "title", "price"):
            columns += ["--number-column" if name in NUMBERS else "--category-column", name]
    index = folder / "index"  # one for all folds: what is encoded is kept
    if build_folds is not None:
        columns += ["--folds", build_folds]
    run("build-index", write(folder / "known.csv", known), "--index", index, *columns)
    items, prices = write(folder / "unseen.csv", unseen), np.array([float(row["price"]) for row in unseen])
    scores: dict[str, Any] = {}
    for answer in ANSWERS:
        out = folder / f"{answer}.csv"
        run("predict", items, "--index", index, "--answer", answer, "-o", out, "--overwrite")
        with out.open(encoding="utf-8", newline="") as file:
            priced = {row["id"]: float(row["price"]) for row in csv.DictReader(file)}
        predicted = np.array([priced[row["id"]] for row in unseen])
        scores |= {f"r2_{answer}": r_squared(prices, predicted), f"smape_{answer}": smape(prices, predicted)}
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--build-folds", type=int)
    given = parser.parse_args()
    with given.catalogue.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    rows = [{"id": str(n), **{k: v for k, v in row.items() if k not in DROPPED}} for n, row in enumerate(read)]
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for fold in map(int, given.folds.split(",")):
            scores.append(score(rows, fold, Path(folder), given.build_folds))
            print(json.dumps({"fold": fold, **scores[-1]}), flush=True)
    print(json.dumps({f"mean_{name}": float(np.mean([fold[name] for fold in scores])) for name in scores[0]}))


if __name__ == "__main__":
    main()
