"""Answers by other numbers of threads: to which digit they agree, and that equal numbers give equal bits.

    python benchmarks/prove/threads.py [--scale 1] [--seed 0]

A made-up catalogue is built twice with one thread and once with two (OMP_NUM_THREADS), each from nothing, and the items
held out are priced by each. With one number of threads everything is equal to the last bit: every file of the models,
every price. With another, the sums of the member `kernel` are made in another order, and prices agree to the digits
that docs/scripting.md promises.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from outcome import Tally, arguments, finish, scaled

ROOT = Path(__file__).parents[2]
ROWS, FEWEST_ROWS = 400, 120
BOUND = 1e-5  # difference in log price, as in docs/scripting.md
MODELS = ("models", "out_of_fold.parquet", "reference.arrow", "lsa.safetensors")


def price(threads: int, *arguments: object) -> None:
    """Run `price ARGUMENTS` with so many threads."""
    command = [sys.executable, "-c", "import cli; cli.main()", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def build(shop: Path, name: str, threads: int, seed: int) -> Path:
    """Build an index from nothing."""
    index = shop / name
    options = ["--index", index, "--image-dir", shop / "images", "--folds", 4, "--seed", seed]
    price(threads, "build-index", shop / "catalogue.csv", *options)
    return index


def prices(shop: Path, index: Path, threads: int) -> list[float]:
    """Prices of the items held out."""
    out = shop / f"{index.name}-{threads}.csv"
    price(threads, "predict", shop / "holdout.csv", "-o", out, "--index", index, "--image-dir", shop / "images")
    with out.open(newline="", encoding="utf-8") as file:
        return [float(row["price"]) for row in csv.DictReader(file)]


def hashes(index: Path) -> dict[str, str]:
    """Hash of every file of the models, and of what they predict."""
    (generation,) = index.glob("gen-*")
    files = [path for path in sorted(generation.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(generation)): path for path in files}
    own = {name: path for name, path in names.items() if name.startswith(MODELS)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in own.items()}


def compare(what: str, one: list[float], other: list[float]) -> Tally:
    """Count every pair of prices."""
    tally = Tally(f"threads: {what}, within {BOUND:g} in log price")
    differences = [abs(math.log(a / b)) for a, b in zip(one, other, strict=True)]
    for a, b, difference in zip(one, other, differences, strict=True):
        tally.add("" if difference <= BOUND else f"{a} and {b} differ by {difference:.2g} in log price")
    print(f"{tally.what}: at most {max(differences):.2g}, median {statistics.median(differences):.2g}", flush=True)
    return tally


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        rows = max(FEWEST_ROWS, scaled(ROWS, given.scale))
        make = [sys.executable, str(ROOT / "examples" / "make_catalogue.py"), str(shop), "--rows", str(rows)]
        subprocess.run(make, check=True, capture_output=True)
        same = Tally("threads: equal numbers, files and prices equal to the last bit")
        one, again, two = (build(shop, name, n, given.seed) for name, n in (("one", 1), ("again", 1), ("two", 2)))
        files, files_again = hashes(one), hashes(again)
        for name in sorted(files.keys() | files_again.keys()):
            same.add("" if files.get(name) == files_again.get(name) else f"{name} differs")
        of_one, of_again = prices(shop, one, 1), prices(shop, again, 1)
        for a, b in zip(of_one, of_again, strict=True):
            same.add("" if a == b else f"{a} and {b}")
        tallies = [
            same,
            compare("one index with 1 and 2", of_one, prices(shop, one, 2)),
            compare("built from nothing with 1 and 2", of_one, prices(shop, two, 2)),
        ]
    finish(tallies)


if __name__ == "__main__":
    main()
