"""How fast is a file priced, does memory stay flat, and does a killed Ray job end in the same bytes as a local one?

    python benchmarks/predict.py CATALOGUE --index DIR [--image-dir DIR] [--parts bytes,ray,speed,memory] [--seed 0]

`speed`: 10,000 items of real size against the index of CATALOGUE. Each has the name of one row of it and the rest of
the text of another, and every number in the name is drawn anew (1 to 48): lengths and words are real, no two texts are
alike. A fifth of them keeps its row's photograph link. Items per second, and the shares of encoding, search and models.

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
import csv
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from engine.serving.reference import Comparables, read_comparables, write_comparables

from index.catalogue.columns import Columns
from index.catalogue.items import read_catalogue
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore, write_items
from index.storage.manifest import read_manifest

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "predict.json"
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
PRICE = str(Path(sys.executable).parent / "price")


def price(*arguments: object, index: Path | str) -> dict:
    """What `price predict` answers as JSON, with its wall seconds and its own peak memory in MB."""
    started = time.monotonic()
    command = [PRICE, "predict", *map(str, arguments), "--index", str(index), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    answer = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    figures = json.loads(answer)
    kept = ("rows", "priced", "rejected", "resumed", "seconds", "items_per_second", "stages")
    spent = {"wall_seconds": time.monotonic() - started, "cpu_seconds": used.ru_utime + used.ru_stime}
    return {name: figures[name] for name in kept} | spent | {"peak_mb": round(used.ru_maxrss / 1024)}


def shares(stages: dict[str, float]) -> dict[str, float]:
    """Encoding, features, search, models, and what is left, of the whole."""
    whole = sum(stages.values())
    encoding = sum(
        seconds for stage, seconds in stages.items() if stage.startswith(("texts", "photo", "reading photo"))
    )
    named = {"encoding": encoding, **{name: stages.get(name, 0.0) for name in ("features", "search", "models")}}
    named["reading, opening, writing"] = whole - sum(named.values())
    return {name: round(seconds / whole, 3) for name, seconds in named.items()}


def write(path: Path, rows: int, text_of: Callable[[int], tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "catalog_content", "image_link"])
        writer.writerows((row, *text_of(row)) for row in range(rows))
    return path


def real_sized(catalogue: Path, path: Path, seed: int) -> Path:
    items = read_catalogue(catalogue, Columns(), priced=False).items
    names, texts, images = (items[name].to_pylist() for name in ("name", "text", "image"))
    draw = random.Random(seed)  # noqa: S311

    def made(_: int) -> tuple[str, str]:
        name, row = draw.choice(names), draw.randrange(len(texts))
        name = re.sub(r"\d+(\.\d+)?", lambda found: str(draw.randint(1, 48)), name)
        image = (images[row] or "") if draw.random() < 0.2 else ""
        return texts[row].replace(items["name"][row].as_py(), name, 1), image

    return write(path, SPEED_ROWS, made)


def small_index(folder: Path, seed: int) -> tuple[Path, list[str]]:
    """An index of 139 made-up items, and 200 texts."""
    make = [sys.executable, ROOT / "examples" / "make_catalogue.py", folder / "shop", "--rows", "150"]
    subprocess.run(make, check=True, capture_output=True)
    (folder / "price.toml").write_text(SMALL, encoding="utf-8")
    build = ["build-index", folder / "shop" / "catalogue.csv", "--index", folder / "index", "--seed", str(seed)]
    subprocess.run([PRICE, *build, "--config", folder / "price.toml"], check=True, capture_output=True)
    items = read_catalogue(folder / "shop" / "catalogue.csv", Columns(), priced=False).items
    names = items["name"].to_pylist()
    return folder / "index", [f"{names[n % len(names)]}, {n + 2} oz" for n in range(200)]


def measure_speed(given: argparse.Namespace, folder: Path) -> dict:
    items = real_sized(given.catalogue, folder / "real.csv", given.seed)
    photographs = ["--image-dir", given.image_dir] if given.image_dir else []
    figures = price(items, "-o", folder / "real-prices.csv", *photographs, index=given.index)
    return {**figures, "shares": shares(figures["stages"])}


def measure_memory(given: argparse.Namespace, folder: Path) -> dict:
    index, texts = small_index(folder, given.seed)
    figures = {}
    for rows in MEMORY_ROWS:
        items = write(folder / f"{rows}.csv", rows, lambda row: (texts[row % len(texts)], ""))
        out = folder / f"{rows}-prices.csv"
        figures[str(rows)] = price(items, "-o", out, "--shard-rows", SHARD_ROWS, index=index)
        items.unlink()
        out.unlink()
    return figures


def measure_ray(given: argparse.Namespace, folder: Path) -> dict:
    index, texts = small_index(folder, given.seed)
    items = write(
        folder / "items.csv",
        RAY_ROWS,
        lambda row: (f"{texts[row % 200]} {row // RAY_SHARD_ROWS}" if row % 9 else "", ""),
    )
    here, there = folder / "here.csv", folder / "there.csv"
    options = ["--shard-rows", RAY_SHARD_ROWS]
    figures = {"local": price(items, "-o", here, *options, index=index)}
    command = [PRICE, "predict", items, "-o", there, *options, "--index", index, "--ray", "local"]
    child = subprocess.Popen([str(each) for each in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shards = -(-RAY_ROWS // RAY_SHARD_ROWS)
    wait_for_shards(child, there, shards // 4)
    worker = workers_of(child.pid)[0]
    os.kill(worker, signal.SIGKILL)
    figures["worker_killed_after_shards"] = shards_done(there)
    wait_for_shards(child, there, shards // 2)
    child.kill()
    child.wait()
    figures["job_killed_after_shards"], figures["shards"] = shards_done(there), shards
    figures["resumed"] = price(items, "-o", there, *options, "--ray", "local", index=index)
    figures["equal"] = here.read_bytes() == there.read_bytes()
    rejects = [Path(f"{out}.rejects.csv").read_bytes() for out in (here, there)]
    figures["rejects_equal"] = rejects[0] == rejects[1]
    assert figures["equal"] and figures["rejects_equal"] and figures["resumed"]["resumed"]
    return figures


def shards_done(out: Path) -> int:
    journal = Path(f"{out}.parts") / "journal.jsonl"
    return journal.read_bytes().count(b'\n{"done"') if journal.exists() else 0


def wait_for_shards(child: subprocess.Popen, out: Path, wanted: int) -> None:
    while shards_done(out) < wanted:
        assert child.poll() is None, "the job ended before it was killed"
        time.sleep(0.02)


def workers_of(driver: int) -> list[int]:
    """Processes of Ray that price for one driver: descendants of it, by their name."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
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


def measure_bytes(given: argparse.Namespace, folder: Path) -> dict:
    generation = current_generation(given.index)
    rows, store = read_comparables(generation), ItemStore.open(generation)
    names = [record.column.removeprefix("vector_") for record in read_manifest(generation).encoders]
    items, vectors = (
        pa.concat_tables([store.items()] * 3),
        {name: np.tile(store.vectors(name), (3, 1)) for name in names},
    )
    random = np.random.default_rng(given.seed)
    moved = random.standard_normal((items.num_rows, rows.space.shape[1])).astype(np.float32)
    space = np.tile(rows.space, (3, 1)) + 0.02 / np.sqrt(moved.shape[1]).astype(np.float32) * moved
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    three = np.tile(np.arange(len(rows.fold)), 3)
    goods = rows.goods.take(three)
    goods = replace(goods, log_price=goods.log_price + 0.02 * random.standard_normal(len(three)))
    write_comparables(folder, Comparables(rows.shown.take(three), space, goods, rows.residual[three], rows.fold[three]))
    write_items(folder, items, vectors)
    table = pa.ipc.open_file(pa.memory_map(str(folder / "comparables.arrow"))).read_all()
    by_column = {name: round(table[name].nbytes / table.num_rows, 1) for name in table.column_names}
    lance = sum(path.stat().st_size for path in (folder / "items.lance").rglob("*") if path.is_file())
    band = json.loads((generation / "models" / "price_model.json").read_text())["knobs"]["band"]
    return {
        "rows": table.num_rows,
        "dim": space.shape[1],
        "comparables_bytes_per_row": round((folder / "comparables.arrow").stat().st_size / table.num_rows, 1),
        "by_column": by_column,
        "items_lance_bytes_per_row": round(lance / table.num_rows, 1),
        "text_bytes_per_row": round(items["text"].nbytes / table.num_rows, 1),
        "vectors_of": {name: matrix.shape[1] for name, matrix in vectors.items()},
        "bands": {
            str(width): {
                "share_of_rows": round(in_band(rows.goods.log_price, width), 3),
                "shards_touched": {str(n): touched(rows.goods.log_price, width, n) for n in (4, 8, 16, 64, 256)},
            }
            for width in (0.1, 0.35, band)
        },
        "fitted_band": band,
    }


def touched(log_price: np.ndarray, band: float, shards: int) -> float:
    """Mean number of equally large shards by price that a band around a row's price reaches into."""
    edges = np.quantile(log_price, np.arange(1, shards) / shards)
    reached = np.searchsorted(edges, log_price + band) - np.searchsorted(edges, log_price - band) + 1
    return round(float(reached.mean()), 2)


def in_band(log_price: np.ndarray, band: float) -> float:
    """Mean share of the rows that lie in the band around a row's price."""
    ordered = np.sort(log_price)
    held = np.searchsorted(ordered, log_price + band, "right") - np.searchsorted(ordered, log_price - band)
    return float(held.mean() / len(ordered))


PARTS = {"bytes": measure_bytes, "ray": measure_ray, "speed": measure_speed, "memory": measure_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--image-dir")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    report["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    report["seed"] = given.seed
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            load = os.getloadavg()[0]
            report[part] = PARTS[part](given, Path(folder)) | {"load_before": round(load, 1)}
        report[part] = json.loads(json.dumps(report[part]), parse_float=lambda figure: round(float(figure), 3))
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(part, json.dumps(report[part], indent=1))


if __name__ == "__main__":
    main()
