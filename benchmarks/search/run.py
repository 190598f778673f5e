"""Exact search within a band of price, timed against what one would otherwise use for it.

In one process, in turn, on the same vectors and with the same threads: ours, the product over the slice (numpy), FAISS
flat, Panorama and IVF with a range of ids (rows lie in price order), hnswlib with a filter, usearch fetching more than
it needs, zvec and LanceDB with the band as a prefilter. Singles (p50, p99), batches, recall against brute force,
seconds to build, memory held; each also as a multiple of ours. A band below 0 is a share of the rows: -0.05 is 5% of
them, around the predicted price. Singles are taken in rounds, a subject after the other, and the median round counts.
`--cpu` counts CPU seconds in the place of wall time, for a machine that is busy.

The vectors are made up: items of a kind are alike and cost alike, and nine tenths of their length lie in a third of the
directions, as those of text encoders do (`--flat` for none of that). `--index DIR` adds an index's own, `--quick`
leaves out those that take minutes to build. All chosen subjects are held in memory together.

    pip install hnswlib usearch zvec  # for this script alone; what is not installed is left out and said
    python benchmarks/search/run.py                                            # everything: an hour on two cores
    python benchmarks/search/run.py --size 75000x384 --band 0.35 --quick       # two minutes
    python benchmarks/search/run.py --size 1000000x384 --only ours faiss-ivf faiss-panorama --cpu   # 7 GB
"""

import argparse
import gc
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would take the time of whoever is measured next
for _name in ("LANCE_CPU_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS"):
    os.environ.setdefault(_name, os.environ["OMP_NUM_THREADS"])
sys.path.insert(1, str(Path(__file__).parents[1]))  # measure.py

import measure  # noqa: E402
import numpy as np  # noqa: E402
from made_up import K, MadeUp, Queries, queries_within, recall  # noqa: E402
from subjects import SLOW, SUBJECTS, TAKES_BATCHES, THREADS, Search  # noqa: E402

from index.search.price_order import PriceOrder  # noqa: E402

SIZES = ("75000x384", "75000x768", "1000000x384")
BANDS = (-0.008, -0.05, 0.1, 0.35, 1.0)
BATCHES = (1000, 10_000)
SINGLES, LEAST_SECONDS = 200, 10.0  # of one kind; a slow one stops after so many seconds
ROUNDS = 3
Figures = dict[str, Any]
clock = time.perf_counter


def resident() -> int:
    """Bytes of memory held by this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def rates() -> dict[str, float]:
    """GFLOP/s (of int8: operations) at which torch multiplies (256, 384) by (384, 16384)."""
    import torch

    torch.set_num_threads(THREADS)
    left, right = torch.randn(256, 384), torch.randn(16384, 384)
    half = [matrix.bfloat16() for matrix in (left, right)]
    eight = [(matrix * 20).to(torch.int8) for matrix in (left, right)]
    kinds: dict[str, Callable[[], Any]] = {
        "fp32": lambda: left @ right.T,
        "bf16": lambda: half[0] @ half[1].T,
        "int8": lambda: torch._int_mm(eight[0], eight[1].T),
    }
    work = 2 * 256 * 384 * 16384 / 1e9
    return {
        name: round(work / float(np.median([seconds(multiply) for _ in range(15)]))) for name, multiply in kinds.items()
    }


def seconds(work: Callable[[], Any]) -> float:
    """Wall time, or CPU time where that was asked for."""
    started = clock()
    work()
    return clock() - started


def time_singles(search: Search, queries: Queries) -> tuple[list[float], list[np.ndarray]]:
    """Seconds of each query alone, and what was found; fewer of them where they are slow."""
    singles = [queries.take(np.array([row])) for row in range(len(queries.vectors))]
    for single in singles[:5]:
        search(single)
    times: list[float] = []
    found: list[np.ndarray] = []
    began = time.perf_counter()
    for single in singles:
        times.append(seconds(lambda single=single: found.extend(search(single))))  # type: ignore[misc]
        if time.perf_counter() - began > LEAST_SECONDS and len(times) >= 20:
            break
    return times, found


def time_subjects(searches: dict[str, Search], rows: PriceOrder, queries: Queries) -> dict[str, Figures]:
    """Singles, batches and recall of each subject within one band; who takes no batch is reckoned from its singles."""
    few = queries.take(np.random.default_rng(1).permutation(len(queries.vectors))[:SINGLES])
    rounds = [{name: time_singles(search, few) for name, search in searches.items()} for _ in range(ROUNDS)]
    figures: dict[str, Figures] = {}
    for name, search in searches.items():
        times, found = sorted((taken[name] for taken in rounds), key=lambda taken: float(np.median(taken[0])))[1]
        figures[name] = {
            "p50_ms": round(float(np.median(times)) * 1e3, 4),
            "p99_ms": round(float(np.quantile(times, 0.99)) * 1e3, 4),
            "recall": round(recall(rows, few, found), 5),
        }
        for size in BATCHES:
            figures[name][f"batch_{size}"] = (
                time_batch(search, rows, queries, size)
                if name in TAKES_BATCHES
                else {"seconds": round(size * float(np.mean(times)), 4), "from_singles": True}
            )
    return figures


def time_batch(search: Search, rows: PriceOrder, queries: Queries, size: int) -> Figures:
    """So many queries at once, and the rate of products within their bands alone."""
    batch = queries.take(np.linspace(0, len(queries.vectors) - 1, size).astype(int))
    taken = float(np.median([seconds(partial(search, batch)) for _ in range(4)][1:]))
    products = 2 * int((batch.end - batch.start).sum()) * rows.vectors.shape[1]
    return {"seconds": round(taken, 4), "gflops": round(products / taken / 1e9, 1)}


def sets(given: argparse.Namespace) -> Iterator[tuple[str, PriceOrder, np.ndarray, np.ndarray]]:
    """A name, rows, (10,000, dim) queries and their predicted log prices."""
    for size in given.size:
        rows, dim = (int(part) for part in size.split("x"))
        made = MadeUp.of(rows, dim, np.random.default_rng(given.seed), given.flat)
        vectors, at = np.empty((rows, dim), np.float32), 0
        for part in made.vectors(made.kind):
            vectors[at : at + len(part)] = part
            at += len(part)
        yield size, made.order(vectors), *made.queries(10_000)
    if given.index:
        from engine.ensemble.reference import ReferenceSet
        from index.storage.generations import current_generation

        order = ReferenceSet.open(current_generation(given.index)).table.order
        pick = np.sort(np.random.default_rng(given.seed).choice(len(order.rows), 10_000))
        yield "index", order, order.vectors[pick], order.log_price[pick] + np.float32(0.1)


def print_table(name: str, band: float, results: dict[str, Figures]) -> None:
    """A table on the terminal: milliseconds, and multiples of ours."""
    base = results.get("ours")
    print(f"\n{name}, band {band}")
    for subject, figures in results.items():
        batch = figures["batch_10000"]
        line = f"{subject:14} p50 {figures['p50_ms']:9.3f} ms  p99 {figures['p99_ms']:9.3f}"
        line += f"  recall {figures['recall']:.4f}"
        line += f"  10,000 in {batch['seconds']:9.3f} s{'*' if batch.get('from_singles') else ' '}"
        if base:
            line += f"  x ours: {figures['p50_ms'] / base['p50_ms']:8.1f}"
            line += f" {batch['seconds'] / base['batch_10000']['seconds']:8.1f}"
        print(line, flush=True)


def measure_set(name: str, rows: PriceOrder, queries: list[Queries], chosen: list[str], int8_rate: float) -> Figures:
    """Every subject within every band; how much of the int8 rate a batch of ours reaches, products in bands alone."""
    built: dict[str, Figures] = {}
    searches: dict[str, Search] = {}
    for subject in chosen:
        gc.collect()
        before, began = resident(), time.perf_counter()
        try:
            searches[subject] = SUBJECTS[subject](rows)
        except ImportError as missing:
            print(f"{subject}: left out, {missing}", file=sys.stderr)
            continue
        built[subject] = {
            "build_s": round(time.perf_counter() - began, 2),
            "held_mb": (resident() - before) >> 20,
        }
        print(f"{name} {subject}: {built[subject]}", file=sys.stderr)
    results: dict[float, dict[str, Figures]] = {}
    for within in queries:
        figures = time_subjects(searches, rows, within)
        results[within.band] = {subject: built[subject] | figures[subject] for subject in searches}
        print_table(name, within.band, results[within.band])
    rates = {band: t["ours"]["batch_10000"]["gflops"] for band, t in results.items() if "ours" in t}
    return {
        "share_of_int8_rate": {str(band): round(rate / int8_rate, 3) for band, rate in rates.items()},
        "rows_in_band": {str(within.band): float(np.mean(within.end - within.start)) for within in queries},
        "bands": {str(band): table for band, table in results.items()},
    }


def main() -> None:
    parser = measure.argument_parser(__doc__, "--index", "--output", seed=0, quick=False, flat=False)
    parser.add_argument("--size", nargs="*", default=SIZES, help="ROWSxDIM")
    parser.add_argument("--band", nargs="*", type=float, default=BANDS)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS), choices=SUBJECTS, help="subjects")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    given = parser.parse_args()
    if given.cpu:
        global clock  # noqa: PLW0603
        clock = time.process_time
    chosen = [name for name in SUBJECTS if name in given.only and not (given.quick and name in SLOW)]
    document: Figures = {
        "machine": platform.processor() or platform.machine(),
        "threads": THREADS,
        "k": K,
        "seconds": "CPU" if given.cpu else "wall",
        "seed": given.seed,
        "flat": given.flat,
        "rates_gflops": rates(),
        "sets": {},
    }
    print("matrix products, GFLOP/s:", document["rates_gflops"])
    for name, rows, vectors, centre in sets(given):
        queries = [queries_within(rows, vectors, centre, band) for band in given.band]
        document["sets"][name] = measure_set(name, rows, queries, chosen, document["rates_gflops"]["int8"])
        measure.write_results("search", document, given.output)
    print("\n* from singles: it takes a filter per query, so a batch is its queries in turn", file=sys.stderr)


if __name__ == "__main__":
    main()
