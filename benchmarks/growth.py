"""Does an index that is added to and removed from stay exact and small, and what does it save against building anew?

    python benchmarks/growth.py CATALOGUE [--image-dir DIR] [--rounds 50] [--config price.toml] [--index DIR]

Builds an index of four fifths of the rows. Then, round by round, adds 100 rows (never seen, removed before, and a few
that are there, by --replace) and removes 100 at random. After every step: the counts are exact; a search finds the
neighbours, to the last row and similarity, that it finds in the list of live rows laid out afresh, each where the build
or its text puts it; a group of twins lies in one fold, and a row that comes back in its old one; and the disk holds at
most twice the live data. Last, the seconds of an add are set beside those of building the index of all rows again, with
every encoding kept. Writes results/growth.json beside this script: figures only.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from engine.serving.reference import open_comparables

from engine.features.inputs import make_inputs
from engine.lifecycle.update import add_items, remove_items
from engine.serving.pricer import Pricer
from index.catalogue.columns import Columns
from index.catalogue.items import read_catalogue
from index.photographs.source import Photographs
from index.search.neighbours import BandIndex
from index.storage.generations import CACHE, current_generation, photograph_cache
from index.storage.items_table import ItemStore
from index.storage.items_update import compact_table, grow_table

RESULTS = Path(__file__).parent / "results" / "growth.json"
BUILT, PIECE, REPLACED = 0.8, 100, 5  # share of the rows; rows added and removed in a round, and of them replaced
QUERIES, BAND, K = 200, 0.35, 32
COLD = 5  # adds by the command, in a process of their own
MOST_DISK = 2.0


class Mirror:
    """What the index must hold: the slow and obvious way, a list of live rows."""

    def __init__(self, rows: list[dict[str, str]], order: list[str]) -> None:
        self.rows = {row["sample_id"]: row for row in rows}
        self.order = order  # of the live rows
        self.places: dict[str, tuple[np.ndarray, float]] = {}  # id -> where it lies in the space, and its log price

    def outside(self) -> list[str]:
        live = set(self.order)
        return [item_id for item_id in self.rows if item_id not in live]

    def write(self, ids: list[str], path: Path) -> Path:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, next(iter(self.rows.values())).keys())
            writer.writeheader()
            writer.writerows(self.rows[item_id] for item_id in ids)
        return path

    def learn(self, path: Path, pricer: Pricer, index: Path, image_dir: Path | None) -> None:
        """Where the items of a file lie, from its text."""
        items = read_catalogue(path, Columns(), priced=True).items
        photographs = Photographs(image_dir, photograph_cache(index), path.parent)
        vectors, _ = pricer.encoders.encode(items, photographs, index / CACHE)
        space = pricer.space.vectors(make_inputs(items, vectors))
        for item_id, place, price in zip(items["item_id"].to_pylist(), space, items["log_price"], strict=True):
            self.places[item_id] = place, price.as_py()

    def index(self) -> tuple[BandIndex, np.ndarray, np.ndarray]:
        space = np.stack([self.places[item_id][0] for item_id in self.order])
        log_price = np.array([self.places[item_id][1] for item_id in self.order])
        return BandIndex(space, log_price), space, log_price


def check(index: Path, mirror: Mirror, fold_of: dict[str, int], random: np.random.Generator) -> None:
    """Counts, neighbours, groups and folds."""
    folder = current_generation(index)
    items = ItemStore.open(folder).items(["item_id", "group"])
    assert items["item_id"].to_pylist() == mirror.order, "other rows, or in another order"
    opened = open_comparables(folder)
    fresh, space, log_price = mirror.index()
    asked = random.choice(len(space), QUERIES, replace=False)
    centre = log_price[asked] + random.normal(0, 0.3, QUERIES)
    want = fresh.search(space[asked], centre, k=K, band=BAND)
    near = opened.index().search(space[asked], centre, k=K, band=BAND)
    assert (near.rows == want.rows).all() and (near.similarity == want.similarity).all(), "other neighbours"
    assert [one["item_id"] for one in opened.shown(np.arange(len(space)))] == mirror.order
    pairs = np.unique(np.stack([items["group"].to_numpy(), opened.fold]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "a group of twins lies in two folds"
    for item_id, fold in zip(mirror.order, opened.fold.tolist(), strict=True):
        assert fold_of.get(item_id, fold) == fold, "a row came back in a fold whose models know it"


def held(folder: Path) -> dict[tuple[int, int], int]:
    """Bytes of every file below, by what it is on the disk: a second name takes no space."""
    every = (path.stat() for path in folder.rglob("*") if path.is_file())
    return {(status.st_dev, status.st_ino): status.st_size for status in every}


def disk(index: Path) -> dict[str, float]:
    """Bytes that all generations take, for each byte of a generation of live rows alone; models in both, or in none."""
    folder = current_generation(index)
    generations = [path for path in index.iterdir() if path.name.startswith("gen-")]
    on_disk = sum({inode: size for each in generations for inode, size in held(each).items()}.values())
    with tempfile.TemporaryDirectory(dir=index.parent) as aside:
        grow_table(folder, Path(aside), np.zeros(0, np.int64), None, {})
        compact_table(Path(aside))
        live_table = sum(held(Path(aside)).values())
    in_force, table = sum(held(folder).values()), sum(held(folder / "items.lance").values())
    models = sum(held(folder / "models").values()) + (folder / "word_space.safetensors").stat().st_size
    live = in_force - table + live_table
    return {"with_models": on_disk / live, "rows_alone": (on_disk - models) / (live - models)}


def price(*arguments: object) -> float:
    """Wall seconds of a `price` command."""
    started = time.monotonic()
    command = [Path(sys.executable).parent / "price", *map(str, arguments), "--json"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--image-dir", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--index", type=Path, help="Where to work; kept, and built only if it is not there.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        measure(given, given.index or Path(aside) / "index", Path(aside))


def read_rows(catalogue: Path, random: np.random.Generator) -> list[dict[str, str]]:
    """The usable rows, shuffled."""
    read = read_catalogue(catalogue, Columns(), priced=True)
    usable = set(read.items["item_id"].to_pylist()) - {reject.item_id for reject in read.rejects}
    with catalogue.open(newline="", encoding="utf-8-sig") as source:
        rows = [row for row in csv.DictReader(source) if row["sample_id"] in usable]
    return [rows[row] for row in random.permutation(len(rows))]


class Run:
    """An index, its mirror, and what was measured of it."""

    def __init__(self, given: argparse.Namespace, index: Path, aside: Path) -> None:
        self.index, self.aside, self.image_dir = index, aside, given.image_dir
        self.random = np.random.default_rng(0)
        self.options: list[object] = ["--image-dir", given.image_dir] if given.image_dir else []
        self.settings: list[object] = ["--config", given.config] if given.config else []
        rows = read_rows(given.catalogue, self.random)
        self.mirror = Mirror(rows, [row["sample_id"] for row in rows[: int(BUILT * len(rows))]])
        self.seconds: dict[str, list[float]] = {"command": [], "in_process": [], "removal": []}
        self.ratios: list[dict[str, float]] = []
        self.compacted = 0
        built = self.mirror.write(self.mirror.order, aside / "built.csv")
        if not (index / "CURRENT").exists():
            print(f"built in {price('build-index', built, '--index', index, *self.options, *self.settings):.0f} s")
        self.pricer = Pricer.of(current_generation(index))
        self.fold_of = dict(zip(self.mirror.order, self.pricer.rows.fold.tolist(), strict=True))  # of what was built
        rows = self.pricer.rows
        self.mirror.places = dict(
            zip(self.mirror.order, zip(rows.space(), rows.goods.log_price, strict=True), strict=True)
        )
        self.check()

    def add(self, cold: bool) -> None:
        """Rows that are not there, and a few that are."""
        before = len(self.mirror.order)
        again = self.random.choice(self.mirror.order, REPLACED, replace=False).tolist()
        fresh = self.random.choice(self.mirror.outside(), PIECE - REPLACED, replace=False).tolist()
        piece = self.mirror.write(again + fresh, self.aside / "piece.csv")
        if cold:
            self.seconds["command"].append(price("add", piece, "--replace", "--index", self.index, *self.options))
        else:
            grown = add_items(piece, self.index, image_dir=self.image_dir, replace_known=True)
            assert (grown.rows, grown.added, grown.replaced) == (before + len(fresh), len(fresh), len(again)), grown
            assert not grown.rejected
            self.seconds["in_process"].append(grown.seconds)
            self.compacted += grown.compacted
        self.mirror.order = [each for each in self.mirror.order if each not in set(again)] + again + fresh
        self.mirror.learn(piece, self.pricer, self.index, self.image_dir)
        self.check()

    def remove(self) -> None:
        """Rows at random."""
        gone = set(self.random.choice(self.mirror.order, PIECE, replace=False).tolist())
        shrunk = remove_items(gone, self.index)
        self.mirror.order = [each for each in self.mirror.order if each not in gone]
        assert (shrunk.rows, shrunk.removed) == (len(self.mirror.order), PIECE), shrunk
        self.seconds["removal"].append(shrunk.seconds)
        self.compacted += shrunk.compacted
        self.check()

    def check(self) -> None:
        check(self.index, self.mirror, self.fold_of, self.random)
        self.ratios.append(disk(self.index))
        assert max(self.ratios[-1].values()) <= MOST_DISK, self.ratios[-1]

    def rebuild(self) -> float:
        """Seconds of building an index of all rows, with every encoding kept."""
        again = self.aside / "again"
        shutil.copytree(self.index / CACHE, again / CACHE)
        everything = self.mirror.write(list(self.mirror.rows), self.aside / "everything.csv")
        return price("build-index", everything, "--index", again, *self.options, *self.settings)


def measure(given: argparse.Namespace, index: Path, aside: Path) -> None:
    run = Run(given, index, aside)
    for turn in range(given.rounds):
        run.add(cold=turn % (given.rounds // COLD or 1) == 0)
        run.remove()
        print(f"round {turn + 1}: {len(run.mirror.order)} rows, disk over live {run.ratios[-1]}", flush=True)
    seconds = {name: statistics.median(each) for name, each in run.seconds.items() if each}
    document = {
        "rows": len(run.mirror.rows),
        "built": int(BUILT * len(run.mirror.rows)),
        "rounds": given.rounds,
        "rows_a_round": PIECE,
        "seed": 0,
        "cores": os.cpu_count(),
        "seconds": seconds,
        "most_disk_over_live": {name: max(each[name] for each in run.ratios) for name in run.ratios[0]},
        "compacted": run.compacted,
        "neighbours_compared": QUERIES * len(run.ratios),
    }
    write(document)
    rebuild = run.rebuild()
    document["seconds"] = {**seconds, "building_again": rebuild}
    write({**document, "building_again_over": {name: rebuild / each for name, each in seconds.items()}})


def write(document: dict[str, object]) -> None:
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2), flush=True)


if __name__ == "__main__":
    main()
