"""Items of kinds that an index lacks: whether the interval holds them, and whether the confidence says so.

    python benchmarks/sureness/novelty.py CATALOGUE INDEX [--kinds 10] [--left-out 2] [--config price.toml]

The rows of INDEX, a build of CATALOGUE, are grouped into kinds by their search vectors (k-means). The rows of some of
these, drawn at random, are left out, an index of the rest is built in a folder that goes afterwards, and they are
priced as queries. Prints the share that the interval holds and the share of `low` confidence, and the same of the other
kinds, scored out of fold. Writes results/sureness_novelty.json.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `measure`, which all experiments share

import measure
from evidence import figures

from engine.ensemble.uncertainty.confidence import confidence
from engine.serving.pricer import Pricer
from engine.serving.scorable import open_scorable_rows
from index.catalogue.items import read_catalogue
from index.catalogue.settings import ReadSettings
from index.photographs.source import Photographs
from index.storage.items_table import ItemStore
from index.storage.layout import photograph_cache


def kinds_of(index: Path, kinds: int) -> dict[str, int]:
    """Id of each row of an index -> the number of its kind."""
    rows = open_scorable_rows(index)
    ids = ItemStore.open(rows.folder, rows.manifest).items(["item_id"])["item_id"].to_pylist()
    kind = KMeans(kinds, n_init=3, random_state=0).fit_predict(rows.search_vectors)
    return {ids[number]: int(own) for number, own in zip(rows.number, kind, strict=True)}


def split(catalogue: Path, left_out: set[str], folder: Path) -> tuple[Path, Path]:
    """The catalogue without the rows of those ids, and these alone."""
    every = measure.read_csv(catalogue)
    parts = [row for row in every if row["sample_id"] not in left_out], [r for r in every if r["sample_id"] in left_out]
    paths = folder / "known.csv", folder / "novel.csv"
    for path, part in zip(paths, parts, strict=True):
        measure.write_csv(path, part[0], (row.values() for row in part))
    return paths


def priced(index: Path, labelled: Path, image_dir: Path | None) -> dict[str, Any]:
    """Figures of the items of a labelled file, priced as queries."""
    pricer = Pricer.open(index)
    items = read_catalogue(labelled, ReadSettings(), priced=True).items
    photographs = Photographs(image_dir, photograph_cache(index), labelled.parent)
    estimate = pricer.price_items(items, photographs).estimate
    assert estimate is not None, "a priced row has words"
    log_price = items["log_price"].to_numpy().astype(np.float64)
    words = np.array(confidence(estimate.spread))
    held = figures(estimate.low, estimate.high, log_price, pricer.settings.coverage)
    shares = {"low": float(np.mean(words == "low")), "unlike": float(estimate.spread.unlike.mean())}
    return {"rows": len(log_price)} | held | {name: round(share, 4) for name, share in shares.items()}


def main() -> None:
    """Leave kinds out, build, price, print and write."""
    parser = measure.argument_parser(__doc__, "catalogue", "index", kinds=10, left_out=2)
    parser.add_argument("--image-dir", type=Path)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    kind = kinds_of(given.index, given.kinds)
    gone = np.random.default_rng(0).choice(given.kinds, given.left_out, replace=False).tolist()
    novel = {item for item, own in kind.items() if own in gone}
    print(f"{len(novel):,} of {len(kind):,} rows are left out, of {given.left_out} kinds of {given.kinds}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known, unknown = split(given.catalogue, novel, folder)
        extra = measure.options(image_dir=given.image_dir, config=given.config)
        measure.price("build-index", known, "--index", folder / "index", *extra)
        result = priced(folder / "index", unknown, given.image_dir)
        rest = measure.price("evaluate", "--index", folder / "index").answer
    words = {part["confidence"]: part["n"] for part in rest["by_confidence"]}
    usual = {"rows": rest["n"], "coverage": rest["coverage"], "low": round(words["low"] / rest["n"], 4)}
    print("kinds left out:", result, "\nthe others, out of fold:", usual)
    measure.write_results("sureness_novelty", {"kinds": given.kinds, "left_out": result, "others": usual})


if __name__ == "__main__":
    main()
