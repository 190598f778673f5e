"""Speed, memory and bytes of pricing a file, and a killed Ray job that ends in the same bytes as a local one.

    python benchmarks/predict.py CATALOGUE --index DIR [--image-dir DIR] [--parts bytes,ray,speed,memory] [--seed 0]

`speed`: 10,000 items of real size against the index of CATALOGUE. Each has the name of one row of it and the rest of
the text of another, and every number in the name is drawn anew (1 to 48): lengths and words are real, no two texts are
alike. A fifth of them keeps its row's photograph link. Items per second, and the shares of encoding and of models.

`memory`: peak memory of `price predict` over 10,000 and over 1,000,000 rows, in shards of 5,000. So that it ends, the
index is a small one (139 made-up items, a tiny MLP and trees, no photographs) and the rows repeat 200 short texts, each
of which is encoded once a shard; what is read, cut, searched, priced, journalled and joined is all there.

`ray`: 100,000 rows against the same index; a ninth has no text and so no price, the others have 200 texts a shard of
2,000 rows, other ones in every shard. Here, by one process; then `--ray local`, with one worker killed after a quarter
of the shards, the whole job killed by SIGKILL after half, and the same command again. The files must be equal.

`bytes`: what a row takes on the disk, by column, once an index has the bytes that a scan reads (20,000 rows): three
copies of the index's own rows, each vector moved by a fiftieth of its length so that no two are alike, each price by
as much. And how many of 4 to 256 equally large shards by price a band around a row's price touches.

The other steps are the command itself, in a process of its own. Writes results/predict.json: figures, no product text.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pyarrow as pa

from engine.ensemble.parts import index_settings
from engine.ensemble.price_model import load_models
from engine.ensemble.reference import SHOWN, ReferenceSet
from engine.features.inputs import InputShape
from index.arrays import unit_rows
from index.search.table import SearchTable
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore, write_items
from index.storage.layout import ITEMS, REFERENCE
from index.storage.manifest import read_manifest

MAKE_CATALOGUE = Path(__file__).parents[1] / "examples" / "make_catalogue.py"
SMALL = """
members = ["mlp", "gbdt"]
text_views = ["name"]
image_encoder = "none"
folds = 3
[correction]
search_vectors = ["name"]
[mlp]
members = 1
width = 16
[mlp.fit]
epochs = 2
[gbdt]
rounds = 20
leaves = 8
"""
SPEED_ROWS, SHARD_ROWS, RAY_ROWS, RAY_SHARD_ROWS = 10_000, 5_000, 100_000, 2_000
MEMORY_ROWS = (10_000, 1_000_000)
COLUMNS = ("sample_id", "catalog_content", "image_link")
BESIDE = (*SHOWN, "unit", "log_amount", "residual")  # columns of a reference set that are not searched by
KEPT = ("rows", "priced", "rejected", "resumed", "seconds", "items_per_second", "stages")


def predict(items: Path, out: Path, *options: object, index: Path) -> dict[str, Any]:
    """Run `price predict`: its answer, with its wall and CPU seconds and its own peak memory in MB."""
    ran = measure.price("predict", items, "-o", out, *options, "--index", index)
    cost = {"wall_seconds": ran.wall_seconds, "cpu_seconds": ran.cpu_seconds, "peak_mb": round(ran.peak_mb)}
    return {name: ran.answer[name] for name in KEPT} | cost


def shares(stages: dict[str, float]) -> dict[str, float]:
    """Encoding, features, models (with their search), and what is left, of the whole."""
    whole = sum(stages.values())
    encoders = ("texts", "photo", "reading photo")
    named = {"encoding": sum(seconds for stage, seconds in stages.items() if stage.startswith(encoders))}
    named |= {name: stages.get(name, 0.0) for name in ("features", "models")}
    named["reading, opening, writing"] = whole - sum(named.values())
    return {name: round(seconds / whole, 3) for name, seconds in named.items()}


def write_texts(path: Path, texts: Iterable[str]) -> Path:
    """Items of words alone."""
    return measure.write_csv(path, COLUMNS, ((row, text, "") for row, text in enumerate(texts)))


def small_index(folder: Path, seed: int) -> tuple[Path, list[str]]:
    """An index of 139 made-up items, and 200 texts."""
    shop, index, settings = folder / "shop", folder / "index", folder / "price.toml"
    measure.run(sys.executable, MAKE_CATALOGUE, shop, "--rows", 150)
    settings.write_text(SMALL, encoding="utf-8")
    measure.price("build-index", shop / "catalogue.csv", *measure.options(index=index, seed=seed, config=settings))
    names = measure.read_items(shop / "catalogue.csv", priced=False)["name"].to_pylist()
    return index, [f"{names[n % len(names)]}, {n + 2} oz" for n in range(200)]


def measure_speed(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    items = measure.read_items(given.catalogue, priced=False)
    names, texts, images = (items[name].to_pylist() for name in ("name", "text", "image"))
    draw = random.Random(given.seed)  # noqa: S311

    def made() -> tuple[str, str]:
        name, row = draw.choice(names), draw.randrange(len(texts))
        name = re.sub(r"\d+(\.\d+)?", lambda found: str(draw.randint(1, 48)), name)
        image = (images[row] or "") if draw.random() < 0.2 else ""
        return texts[row].replace(names[row], name, 1), image

    real = measure.write_csv(folder / "real.csv", COLUMNS, ((row, *made()) for row in range(SPEED_ROWS)))
    photographs = measure.options(image_dir=given.image_dir)
    figures = predict(real, folder / "real-prices.csv", *photographs, index=given.index)
    return {**figures, "shares": shares(figures["stages"])}


def measure_memory(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    index, texts = small_index(folder, given.seed)
    figures = {}
    for rows in MEMORY_ROWS:
        items = write_texts(folder / f"{rows}.csv", (texts[row % len(texts)] for row in range(rows)))
        out = folder / f"{rows}-prices.csv"
        figures[str(rows)] = predict(items, out, "--shard-rows", SHARD_ROWS, index=index)
        items.unlink()
        out.unlink()
    return figures


def measure_ray(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    index, texts = small_index(folder, given.seed)
    rows = (f"{texts[row % 200]} {row // RAY_SHARD_ROWS}" if row % 9 else "" for row in range(RAY_ROWS))
    items = write_texts(folder / "items.csv", rows)
    here, there = folder / "here.csv", folder / "there.csv"
    cut, ray = ("--shard-rows", RAY_SHARD_ROWS), ("--ray", "local")
    figures: dict[str, Any] = {"local": predict(items, here, *cut, index=index)}
    command = [measure.PRICE, "predict", items, "-o", there, *cut, "--index", index, *ray]
    child = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shards = -(-RAY_ROWS // RAY_SHARD_ROWS)
    wait_for_shards(child, there, shards // 4)
    os.kill(workers_of(child.pid)[0], signal.SIGKILL)
    figures["worker_killed_after_shards"] = shards_done(there)
    wait_for_shards(child, there, shards // 2)
    child.kill()
    child.wait()
    figures["job_killed_after_shards"], figures["shards"] = shards_done(there), shards
    figures["resumed"] = predict(items, there, *cut, *ray, index=index)
    figures["equal"] = here.read_bytes() == there.read_bytes()
    rejects = [Path(f"{out}.rejects.csv").read_bytes() for out in (here, there)]
    figures["rejects_equal"] = rejects[0] == rejects[1]
    assert figures["equal"] and figures["rejects_equal"] and figures["resumed"]["resumed"]
    return figures


def shards_done(out: Path) -> int:
    journal = Path(f"{out}.parts") / "journal.jsonl"
    return journal.read_bytes().count(b'\n{"done"') if journal.exists() else 0


def wait_for_shards(child: subprocess.Popen[bytes], out: Path, count: int) -> None:
    while shards_done(out) < count:
        assert child.poll() is None, "the job ended before it was killed"
        time.sleep(0.02)


def workers_of(driver: int) -> list[int]:
    """Processes of Ray that price for one driver: descendants of it, by their name."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            names[int(folder.name)] = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])

    def descends(process: int) -> bool:
        while process in parents and process != driver:
            process = parents[process]
        return process == driver

    return [process for process, name in names.items() if name.startswith("ray::MapWorker") and descends(process)]


def measure_bytes(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    generation = current_generation(given.index)
    reference, store = ReferenceSet.open(generation), ItemStore.open(generation)
    manifest = read_manifest(generation)
    names = list(manifest.dims)
    items = pa.concat_tables([store.items()] * 3)
    vectors = {name: np.tile(store.vectors(name), (3, 1)) for name in names}
    dim = write_moved(folder, reference, np.random.default_rng(given.seed))
    write_items(folder, items, vectors)
    table = ReferenceSet.open(folder).table.table
    lance = sum(path.stat().st_size for path in (folder / ITEMS).rglob("*") if path.is_file())
    band, log_price = (
        load_models(generation, index_settings(generation, manifest), InputShape.of(manifest))[1].correction.band,
        reference.log_price,
    )
    reached = partial(shards_touched, log_price)
    return {
        "rows": table.num_rows,
        "dim": dim,
        "comparables_bytes_per_row": round((folder / REFERENCE).stat().st_size / table.num_rows, 1),
        "by_column": {name: round(table[name].nbytes / table.num_rows, 1) for name in table.column_names},
        "items_lance_bytes_per_row": round(lance / table.num_rows, 1),
        "text_bytes_per_row": round(items["text"].nbytes / table.num_rows, 1),
        "vectors_of": {name: matrix.shape[1] for name, matrix in vectors.items()},
        "bands": {
            str(width): {
                "share_of_rows": round(in_band(log_price, width), 3),
                "shards_touched": {str(shards): reached(width, shards) for shards in (4, 8, 16, 64, 256)},
            }
            for width in (0.1, 0.35, band)
        },
        "fitted_band": band,
    }


def write_moved(folder: Path, reference: ReferenceSet, draws: np.random.Generator) -> int:
    """Write an index's rows three times over, vectors and prices moved a little; the vectors' length."""
    three, vectors = np.tile(np.arange(len(reference.fold)), 3), reference.search_vectors()
    moved = draws.standard_normal((len(three), vectors.shape[1])).astype(np.float32)
    vectors = unit_rows(vectors[three] + 0.02 / np.sqrt(moved.shape[1]).astype(np.float32) * moved)
    log_price = reference.log_price[three] + 0.02 * draws.standard_normal(len(three))
    beside = reference.table.table.select(BESIDE).take(reference.table.position[three])
    ReferenceSet(SearchTable.build(beside, log_price, reference.fold[three], vectors)).write(folder)
    return int(moved.shape[1])


def shards_touched(log_price: np.ndarray, band: float, shards: int) -> float:
    """Mean number of equally large shards by price that a band around a row's price reaches into."""
    edges = np.quantile(log_price, np.arange(1, shards) / shards)
    reached = np.searchsorted(edges, log_price + band) - np.searchsorted(edges, log_price - band) + 1
    return round(float(reached.mean()), 2)


def in_band(log_price: np.ndarray, band: float) -> float:
    """Mean share of the rows that lie in the band around a row's price."""
    ordered = np.sort(log_price)
    rows = np.searchsorted(ordered, log_price + band, "right") - np.searchsorted(ordered, log_price - band)
    return float(rows.mean() / len(ordered))


PARTS = {"bytes": measure_bytes, "ray": measure_ray, "speed": measure_speed, "memory": measure_memory}


def main() -> None:
    parser = measure.argument_parser(__doc__, "catalogue", "--image-dir", parts=",".join(PARTS), seed=0)
    parser.add_argument("--index", type=Path, required=True)
    given = parser.parse_args()
    report = measure.read_results("predict") | {"machine": measure.machine(), "seed": given.seed}
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            load = round(os.getloadavg()[0], 1)
            figures = PARTS[part](given, Path(folder)) | {"load_before": load}
        report[part] = json.loads(json.dumps(figures), parse_float=lambda figure: round(float(figure), 3))
        measure.write_results("predict", report)
        print(part, json.dumps(report[part], indent=1))


if __name__ == "__main__":
    main()
