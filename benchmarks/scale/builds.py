"""Growth of a build with its catalogue: CPU seconds by stage, memory and size of the index, from thousands of rows on.

    python benchmarks/scale/builds.py CATALOGUE WORK [--rows 7051 15000 ...] [--words 20] [--seed 0] [-o RESULTS.json]

Makes a catalogue of each size out of the real one (`make_catalogue.py`) and builds an index of it with default
settings, in a process of its own and without anything from a build before. Prints a line for each, its stages, and how
the build without its encoding grows: the exponent between one size and the next. A size that has been measured is not
measured again while the results are there. `--svg FIGURE.svg` draws what the results hold. Of accuracy the made
catalogue says nothing.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from make_catalogue import make_catalogue

from cli import FOR_LIBRARIES

ROOT = Path(__file__).resolve().parents[2]
ENCODING = ("texts (", "photographs (")  # how the stages begin, each of an encoder
WIDTH, HEIGHT, MARGIN = 640, 400, 60


def build_here(catalogue: Path, index: Path) -> None:
    """Build an index in this process, and print as JSON what each stage took."""
    from engine.serving.stopwatch import Stopwatch

    clock = Stopwatch("opening", time.process_time)
    from engine.lifecycle.build import build_index
    from engine.settings.read import read_settings

    build_index(catalogue, index, read_settings(), on_progress=clock.update)
    clock.turn("")
    print(json.dumps(clock.taken()))


def build(catalogue: Path, index: Path) -> dict[str, Any]:
    """Build an index in a process of its own, and say what it took."""
    started = time.monotonic()
    command = [sys.executable, __file__, str(catalogue), str(index), "--build"]
    with subprocess.Popen(
        command, env={**os.environ, **FOR_LIBRARIES, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"the build of {catalogue} failed")
    return {
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "stages": json.loads(printed),
    }


def index_mb(index: Path) -> float:
    """Megabytes of the current generation."""
    generation = index / (index / "CURRENT").read_text().strip()
    return sum(path.stat().st_size for path in generation.rglob("*") if path.is_file()) / 1e6


def measure_size(given: argparse.Namespace, rows: int) -> dict[str, Any]:
    """Build an index of one size."""
    folder = given.work / str(rows)
    shutil.rmtree(folder, ignore_errors=True)  # fits of a build that was stopped would be used again
    folder.mkdir(parents=True)
    catalogue, index = folder / "catalogue.csv", folder / "index"
    make_catalogue(given.catalogue, catalogue, rows, seed=given.seed, words=given.words)
    found = build(catalogue, index)
    found |= {"rows": rows, "index_mb": index_mb(index)}
    if not given.keep:
        shutil.rmtree(folder)
    return found


def without_encoding(size: dict[str, Any]) -> float:
    """CPU seconds of a build whose encodings are at hand."""
    return float(size["cpu_seconds"] - sum(took for name, took in size["stages"].items() if name.startswith(ENCODING)))


def exponent(less: dict[str, Any], more: dict[str, Any]) -> float:
    """The power of the rows with which the CPU seconds grow, encoding left out, from one size to the next."""
    return math.log(without_encoding(more) / without_encoding(less)) / math.log(more["rows"] / less["rows"])


def draw(sizes: list[dict[str, Any]], path: Path) -> None:
    """CPU seconds without encoding over the rows, both in powers of ten, and what growth in proportion would be."""
    points = [(size["rows"], without_encoding(size)) for size in sizes]
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
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">rows and CPU seconds of a build without its '
        "encoding, both in powers of ten; dashed: in proportion to the rows</text></svg>\n",
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
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)  # of CATALOGUE into WORK, here
    given = parser.parse_args()
    if given.build:
        build_here(given.catalogue, given.work)
        return
    kept = json.loads(given.results.read_text()) if given.results.exists() else {"sizes": []}
    sizes: dict[int, dict[str, Any]] = {size["rows"]: size for size in kept["sizes"]}
    for rows in sorted(given.rows):
        if rows not in sizes:
            sizes[rows] = measure_size(given, rows) | {"words": given.words, "seed": given.seed}
            in_order = [sizes[own] for own in sorted(sizes)]
            given.results.write_text(json.dumps({"sizes": in_order}, indent=1) + "\n", encoding="utf-8")
        found = sizes[rows]
        print(
            f"{rows:>9,} rows: {found['cpu_seconds']:,.0f} CPU seconds ({without_encoding(found):,.0f} without "
            f"encoding), {found['wall_seconds']:,.0f} s; peak {found['peak_mb']:,.0f} MB, index "
            f"{found['index_mb']:,.0f} MB",
            flush=True,
        )
        for stage, took in sorted(found["stages"].items(), key=itemgetter(1), reverse=True)[:8]:
            print(f"{took:>19,.0f} {stage}", flush=True)
    in_order = [sizes[own] for own in sorted(sizes)]
    for less, more in pairwise(in_order):
        print(f"{less['rows']:,} to {more['rows']:,} rows: CPU grows with n^{exponent(less, more):.2f}")
    if given.svg:
        draw(in_order, given.svg)


if __name__ == "__main__":
    main()
