"""An index that is added to and removed from: that it stays exact and small, and what it saves against a new build.

    python benchmarks/growth.py CATALOGUE [--image-dir DIR] [--rounds 50] [--config price.toml] [--index DIR]

Builds an index of four fifths of the rows, unless one lies at --index, which is kept. Then, round by round, adds 100
rows (never seen, removed before, and a few that are there, by --replace) and removes 100 at random. After every step:
the counts are exact; a search finds the neighbours, to the last row and similarity, that it finds in the list of live
rows laid out afresh, each where the build or its text puts it; a group of near-duplicates lies in one fold, and a row
that comes back in its old one; and the disk holds at most twice the live data. Last, the seconds of an add are set
beside those of building the index of all rows again, with every encoding kept. Writes results/growth.json beside this
script: figures only.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np

from engine.ensemble.reference import ReferenceSet
from engine.lifecycle.update import add_items, remove_items
from engine.serving.pricer import Pricer
from index.catalogue.items import read_catalogue
from index.catalogue.settings import ReadSettings
from index.photographs.source import Photographs
from index.search.neighbours import BandIndex
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.items_update import compact_table, grow_table
from index.storage.layout import CACHE, CURRENT, ITEMS, LSA, MODELS, photograph_cache

BUILT, PIECE, REPLACED = 0.8, 100, 5  # share of the rows; rows added and removed in a round, and of them replaced
QUERIES, BAND, K = 200, 0.35, 32
COLD = 5  # adds by the command, in a process of their own
MOST_DISK = 2.0


class Growth:
    """An index, what it must hold (the slow and obvious way, a list of live rows), and what was measured of it."""

    def __init__(self, given: argparse.Namespace, index: Path, aside: Path) -> None:
        self.index, self.aside, self.image_dir = index, aside, given.image_dir
        self.random = np.random.default_rng(0)
        self.images = measure.options(image_dir=given.image_dir)
        self.settings = self.images + measure.options(config=given.config)
        read = read_catalogue(given.catalogue, ReadSettings(), priced=True)
        usable = set(read.items["item_id"].to_pylist()) - {reject.item_id for reject in read.rejects}
        rows = [row for row in measure.read_csv(given.catalogue) if row["sample_id"] in usable]
        self.rows = {rows[row]["sample_id"]: rows[row] for row in self.random.permutation(len(rows))}
        self.order = list(self.rows)[: int(BUILT * len(rows))]  # of the live rows
        self.seconds: dict[str, list[float]] = {"command": [], "in_process": [], "removal": []}
        self.ratios: list[dict[str, float]] = []
        self.compacted = 0
        if not (index / CURRENT).exists():
            print(f"built in {self.build(index, self.order):.0f} s")
        self.pricer = Pricer(current_generation(index))
        built = self.pricer.reference
        self.fold_of = dict(zip(self.order, built.fold.tolist(), strict=True))  # of what was built
        vectors_and_prices = zip(built.search_vectors(), built.log_price, strict=True)
        self.searched = dict(zip(self.order, vectors_and_prices, strict=True))  # each row's search vector and log price
        self.check()

    def write(self, ids: list[str], name: str) -> Path:
        """A catalogue of these rows."""
        columns = next(iter(self.rows.values()))
        return measure.write_csv(self.aside / name, columns, (self.rows[item_id].values() for item_id in ids))

    def build(self, index: Path, ids: list[str]) -> float:
        """Wall seconds of `price build-index` of these rows."""
        catalogue = self.write(ids, "built.csv")
        return measure.price("build-index", catalogue, "--index", index, *self.settings).wall_seconds

    def add(self, cold: bool) -> None:
        """Rows that are not there, and a few that are."""
        before, live = len(self.order), set(self.order)
        again = self.random.choice(self.order, REPLACED, replace=False).tolist()
        outside = [item_id for item_id in self.rows if item_id not in live]
        fresh = self.random.choice(outside, PIECE - REPLACED, replace=False).tolist()
        piece = self.write(again + fresh, "piece.csv")
        if cold:
            ran = measure.price("add", piece, "--replace", "--index", self.index, *self.images)
            self.seconds["command"].append(ran.wall_seconds)
        else:
            grown = add_items(piece, self.index, image_dir=self.image_dir, replace_known=True)
            assert (grown.rows, grown.added, grown.replaced) == (before + len(fresh), len(fresh), len(again)), grown
            assert not grown.rejected
            self.seconds["in_process"].append(grown.seconds)
            self.compacted += grown.compacted
        self.order = [item_id for item_id in self.order if item_id not in set(again)] + again + fresh
        self.encode(piece)
        self.check()

    def remove(self) -> None:
        """Rows at random."""
        removed = set(self.random.choice(self.order, PIECE, replace=False).tolist())
        shrunk = remove_items(removed, self.index)
        self.order = [item_id for item_id in self.order if item_id not in removed]
        assert (shrunk.rows, shrunk.removed) == (len(self.order), PIECE), shrunk
        self.seconds["removal"].append(shrunk.seconds)
        self.compacted += shrunk.compacted
        self.check()

    def encode(self, piece: Path) -> None:
        """Search vectors of the items of a file, from their texts."""
        items = measure.read_items(piece)
        photographs = Photographs(self.image_dir, photograph_cache(self.index), piece.parent)
        features = self.pricer.features(items, photographs, cache=self.index / CACHE)
        vectors_and_prices = zip(features.search_vectors, items["log_price"].to_pylist(), strict=True)
        self.searched |= dict(zip(items["item_id"].to_pylist(), vectors_and_prices, strict=True))

    def check(self) -> None:
        """Counts, neighbours, groups, folds and the disk."""
        folder = current_generation(self.index)
        items = ItemStore.open(folder).items(["item_id", "group"])
        assert items["item_id"].to_pylist() == self.order, "other rows, or in another order"
        reference = ReferenceSet.open(folder)
        vectors, log_price = (np.array(part) for part in zip(*(self.searched[i] for i in self.order), strict=True))
        queries = self.random.choice(len(vectors), QUERIES, replace=False)
        centre = log_price[queries] + self.random.normal(0, 0.3, QUERIES)
        expected = BandIndex(vectors, log_price).search(vectors[queries], centre, k=K, band=BAND)
        near = reference.index.search(vectors[queries], centre, k=K, band=BAND)
        same = (near.rows == expected.rows).all() and (near.similarity == expected.similarity).all()
        assert same, "other neighbours"
        assert [row["item_id"] for row in reference.shown(np.arange(len(vectors)))] == self.order
        pairs = np.unique(np.stack([items["group"].to_numpy(), reference.fold]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1], "a group of near-duplicates lies in two folds"
        for item_id, fold in zip(self.order, reference.fold.tolist(), strict=True):
            assert self.fold_of.get(item_id, fold) == fold, "a row came back in a fold whose models know it"
        self.ratios.append(disk(self.index))
        assert max(self.ratios[-1].values()) <= MOST_DISK, self.ratios[-1]

    def rebuild(self) -> float:
        """Seconds of building an index of all rows, with every encoding kept."""
        again = self.aside / "again"
        shutil.copytree(self.index / CACHE, again / CACHE)
        return self.build(again, list(self.rows))


def sizes(folder: Path) -> dict[tuple[int, int], int]:
    """Bytes of every file below, by what it is on the disk: a second name takes no space."""
    states = (path.stat() for path in folder.rglob("*") if path.is_file())
    return {(state.st_dev, state.st_ino): state.st_size for state in states}


def disk(index: Path) -> dict[str, float]:
    """Bytes that all generations take, for each byte of a generation of live rows alone; models in both, or in none."""
    folder = current_generation(index)
    on_disk: dict[tuple[int, int], int] = {}
    for generation in index.glob("gen-*"):
        on_disk |= sizes(generation)
    with tempfile.TemporaryDirectory(dir=index.parent) as aside:
        grow_table(folder, Path(aside), np.zeros(0, np.int64), None, {})
        compact_table(Path(aside))
        live_table = sum(sizes(Path(aside)).values())
    current, table = sum(sizes(folder).values()), sum(sizes(folder / ITEMS).values())
    models = sum(sizes(folder / MODELS).values()) + (folder / LSA).stat().st_size
    held, live = sum(on_disk.values()), current - table + live_table
    return {"with_models": held / live, "rows_alone": (held - models) / (live - models)}


def grow(given: argparse.Namespace, index: Path, aside: Path) -> None:
    """Every round, and what came of it; written once before the index is built again, which takes long."""
    growth = Growth(given, index, aside)
    for turn in range(given.rounds):
        growth.add(cold=turn % (given.rounds // COLD or 1) == 0)
        growth.remove()
        print(f"round {turn + 1}: {len(growth.order)} rows, disk over live {growth.ratios[-1]}", flush=True)
    seconds = {name: statistics.median(taken) for name, taken in growth.seconds.items() if taken}
    report: dict[str, Any] = {
        "rows": len(growth.rows),
        "built": int(BUILT * len(growth.rows)),
        "rounds": given.rounds,
        "rows_a_round": PIECE,
        "seed": 0,
        "cores": os.cpu_count(),
        "seconds": seconds,
        "most_disk_over_live": {name: max(ratio[name] for ratio in growth.ratios) for name in growth.ratios[0]},
        "compacted": growth.compacted,
        "neighbours_compared": QUERIES * len(growth.ratios),
    }
    measure.write_results("growth", report)
    rebuild = growth.rebuild()
    report["seconds"] = {**seconds, "building_again": rebuild}
    report["building_again_over"] = {name: rebuild / taken for name, taken in seconds.items()}
    measure.write_results("growth", report)
    print(json.dumps(report, indent=1))


def main() -> None:
    given = measure.argument_parser(__doc__, "catalogue", "--image-dir", "--config", "--index", rounds=50).parse_args()
    with tempfile.TemporaryDirectory() as aside:
        grow(given, given.index or Path(aside) / "index", Path(aside))


if __name__ == "__main__":
    main()
