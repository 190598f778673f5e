"""Growth of a build with its catalogue: CPU seconds, memory and size of the index, from thousands of rows on.

    python benchmarks/scale/builds.py CATALOGUE WORK [--rows 7051 15000 ...] [--words 20] [--seed 0] [-o RESULTS.json]

Makes a catalogue of each size out of the real one (`make_catalogue.py`), builds an index of it in a process of its own,
twice: cold, and with the encodings of the first build. Prints a line for each, and how the warm build grows: the
exponent between one size and the next. A size that has been measured is not measured again while WORK and the results
are there. `--svg FIGURE.svg` draws what the results hold. Of accuracy the made catalogue says nothing.
"""

import argparse
import json
import math
import os
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from make_catalogue import make_catalogue

PRICE = Path(sys.executable).parent / "price"
WIDTH, HEIGHT, MARGIN = 640, 400, 60


def build(catalogue: Path, index: Path, log: Path) -> dict[str, float]:
    """Build an index, and say what it took."""
    started = time.monotonic()
    with log.open("wb") as file:
        child = os.posix_spawn(
            PRICE,
            [str(PRICE), "build-index", str(catalogue), "--index", str(index)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)],
        )
        _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"the build failed: {log.read_text(errors='replace')[-2000:]}")
    return {
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def index_mb(index: Path) -> float:
    """Megabytes of the current generation."""
    generation = index / (index / "CURRENT").read_text().strip()
    return sum(path.stat().st_size for path in generation.rglob("*") if path.is_file()) / 1e6


def measure_size(given: argparse.Namespace, rows: int) -> dict[str, Any]:
    """One size, cold and warm."""
    folder = given.work / str(rows)
    folder.mkdir(parents=True, exist_ok=True)
    catalogue, index = folder / "catalogue.csv", folder / "index"
    make_catalogue(given.catalogue, catalogue, rows, seed=given.seed, words=given.words)
    cold = build(catalogue, index, folder / "cold.log")
    warm = build(catalogue, index, folder / "warm.log")
    found = {"rows": rows, "cold": cold, "warm": warm, "index_mb": index_mb(index)}
    if not given.keep:
        shutil.rmtree(folder)
    return found


def exponent(less: dict[str, Any], more: dict[str, Any], figure: str) -> float:
    """The power of the rows with which a figure of the warm build grows from one size to the next."""
    return math.log(more["warm"][figure] / less["warm"][figure]) / math.log(more["rows"] / less["rows"])


def draw(sizes: list[dict[str, Any]], path: Path) -> None:
    """CPU seconds of the warm builds over the rows, both in powers of ten, and what growth in proportion would be."""
    points = [(size["rows"], size["warm"]["cpu_seconds"]) for size in sizes]
    low, high = ([math.log10(ends(column)) for column in zip(*points, strict=True)] for ends in (min, max))
    span = [max(top - bottom, 0.1) for bottom, top in zip(low, high, strict=True)]

    def place(rows: float, seconds: float) -> str:
        across = (math.log10(rows) - low[0]) / span[0]
        up = (math.log10(seconds) - low[1]) / span[1]
        return f"{MARGIN + across * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN):.1f}"

    first, last = points[0], points[-1]
    even = place(last[0], first[1] * last[0] / first[0])
    marks = "".join(f'<circle cx="{x}" cy="{y}" r="4"/>' for x, y in (place(*point).split(",") for point in points))
    labels = "".join(
        f'<text x="{x}" y="{float(y) - 10:.1f}" text-anchor="middle">{rows:,} rows: {seconds:,.0f} s</text>'
        for (rows, seconds), (x, y) in zip(points, (place(*point).split(",") for point in points), strict=True)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<polyline points="{" ".join(place(*point) for point in points)}" fill="none" stroke="black"/>'
        f'<polyline points="{place(*first)} {even}" fill="none" stroke="grey" stroke-dasharray="4"/>{marks}{labels}'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">rows and CPU seconds of a build with its '
        "encodings at hand, both in powers of ten; dashed: in proportion to the rows</text></svg>\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[7051, 15_000, 30_000, 75_000, 300_000])
    parser.add_argument("--words", type=int, default=0, help="cut each text after so many words; 0: whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave catalogues and indexes in WORK")
    parser.add_argument("-o", "--results", type=Path, default=Path(__file__).parent.parent / "results" / "builds.json")
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    kept = json.loads(given.results.read_text()) if given.results.exists() else {"sizes": []}
    sizes: dict[int, dict[str, Any]] = {size["rows"]: size for size in kept["sizes"]}
    for rows in sorted(given.rows):
        if rows not in sizes:
            sizes[rows] = measure_size(given, rows) | {"words": given.words, "seed": given.seed}
            in_order = [sizes[own] for own in sorted(sizes)]
            given.results.write_text(json.dumps({"sizes": in_order}, indent=1) + "\n", encoding="utf-8")
        found = sizes[rows]
        cold, warm = found["cold"], found["warm"]
        print(
            f"{rows:>9,} rows: CPU seconds {cold['cpu_seconds']:,.0f} cold, {warm['cpu_seconds']:,.0f} warm; "
            f"peak {warm['peak_mb']:,.0f} MB, index {found['index_mb']:,.0f} MB",
            flush=True,
        )
    in_order = [sizes[own] for own in sorted(sizes)]
    for less, more in pairwise(in_order):
        print(f"{less['rows']:,} to {more['rows']:,} rows: CPU grows with n^{exponent(less, more, 'cpu_seconds'):.2f}")
    if given.svg:
        draw(in_order, given.svg)


if __name__ == "__main__":
    main()
