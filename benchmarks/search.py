"""Exact search within a band of price, timed against what one would otherwise use for it.

In one process, in turn, on the same vectors and with the same threads: ours, the product over the slice (numpy),
FAISS flat and IVF with a range of ids, hnswlib with a filter, usearch fetching more than it needs, LanceDB flat and
indexed with the band as a prefilter. Singles (p50, p99), batches, recall against brute force, seconds to build, memory
held; each also as a multiple of ours. Beside them the rate at which the machine multiplies matrices, and the share that
a batch of ours reaches. The vectors are made up: items of a kind are alike and cost alike, and nine tenths of their
length lie in a third of the directions, as those of text encoders do (`--flat` for none of that). `--index DIR` adds an
index's own, `--quick` leaves out those that take minutes to build.

    pip install hnswlib usearch  # for this script alone; what is not installed is left out and said
    python benchmarks/search.py                                            # everything: an hour on two cores
    python benchmarks/search.py --size 75000x384 --band 0.35 --quick       # two minutes
    python benchmarks/search.py --size 75000x384 --only ours faiss-flat
"""

import argparse
import gc
import importlib.util
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1))))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would take the time of whoever is measured next
for _name in ("LANCE_CPU_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS"):
    os.environ.setdefault(_name, str(THREADS))

import measure  # noqa: E402
import numpy as np  # noqa: E402

from index.arrays import chunks, unit_rows  # noqa: E402
from index.search.price_order import PriceOrder, order_by_price  # noqa: E402
from index.search.similarity import nearest  # noqa: E402

SIZES = ("75000x384", "75000x768", "1000000x384")
BANDS = (0.1, 0.35, 1.0)
K, BATCHES = 32, (1000, 10_000)
SINGLES, LEAST_SECONDS = 200, 10.0  # of one kind; a slow one stops after so many seconds
SLOW = ("hnswlib", "usearch", "lance-indexed")  # minutes to build


@dataclass
class Queries:
    """n queries in price order, what they cost by prediction, and the rows from `start` to `end` in their bands."""

    vectors: np.ndarray  # (n, dim)
    centre: np.ndarray  # (n,) log price
    band: float
    start: np.ndarray  # (n,)
    end: np.ndarray

    def take(self, rows: np.ndarray) -> "Queries":
        """Some of them."""
        return Queries(self.vectors[rows], self.centre[rows], self.band, self.start[rows], self.end[rows])


Figures = dict[str, Any]
Search = Callable[[Queries], list[np.ndarray]]  # positions of each query's neighbours
SearchOne = Callable[[np.ndarray, int, int], np.ndarray]  # the same of a vector and its range of positions


def one_by_one(search: SearchOne) -> Search:
    """A way to search that takes another filter for every query, run query by query."""
    return lambda queries: [
        search(*query) for query in zip(queries.vectors, queries.start.tolist(), queries.end.tolist(), strict=True)
    ]


def made_up(rows: int, dim: int, random: np.random.Generator, flat: bool) -> tuple[np.ndarray, np.ndarray]:
    """(rows, dim) unit vectors and (rows,) log prices: kinds of 50 items, each with its own price level."""
    kinds = max(1, rows // 50)
    strength = np.ones(dim) if flat else np.arange(1, dim + 1) ** -0.6
    turn = np.linalg.qr(random.standard_normal((dim, dim)))[0].astype(np.float32)
    level, middle = random.normal(2.7, 0.9, kinds), random.standard_normal((kinds, dim))
    kind = random.integers(0, kinds, rows)
    vectors = np.empty((rows, dim), np.float32)
    for run in chunks(rows, 50_000):
        own = (middle[kind[run]] + 0.7 * random.standard_normal((len(kind[run]), dim))) * strength
        vectors[run] = own.astype(np.float32) @ turn
    return unit_rows(vectors), (level[kind] + random.normal(0, 0.35, rows)).astype(np.float32)


def ours(rows: PriceOrder, device: str = "cpu") -> Search:
    """Our search as users call it, with its checks; rows numbered by position, as the others number them."""
    from index.search import SLICE, dense
    from index.search.backends import Choice
    from index.search.neighbours import BandIndex

    dense.SCAN_AFTER = 0  # as in a process that has answered a hundred queries
    index = BandIndex.of(replace(rows, rows=np.arange(len(rows.rows))), SLICE)
    index._choice = Choice(SLICE, device, "")
    index.search(rows.vectors[:1], rows.log_price[:1], k=K, band=0.1)
    return lambda queries: list(index.search(queries.vectors, queries.centre, k=K, band=queries.band).rows)


def on_a_gpu(rows: PriceOrder) -> Search:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("torch sees no GPU")
    return ours(rows, "cuda")


def numpy_slice(rows: PriceOrder) -> Search:
    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        scores = rows.vectors[start:end] @ query
        return start + (np.argpartition(scores, -K)[-K:] if len(scores) > K else np.arange(len(scores)))

    return one_by_one(search)


def faiss_with(kind: str, rows: PriceOrder) -> Search:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    dim = rows.vectors.shape[1]
    flat = index = faiss.IndexFlatIP(dim)
    parameters = faiss.SearchParameters
    if kind == "ivf":
        lists = round(len(rows.vectors) ** 0.5)
        index = faiss.IndexIVFFlat(flat, dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid, index.cp.niter = 64, 10
        index.train(rows.vectors[:: max(1, len(rows.vectors) // (64 * lists))])
        parameters = partial(faiss.SearchParametersIVF, nprobe=max(24, lists // 16))
    index.add(rows.vectors)

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        band = faiss.IDSelectorRange(start, end, True)
        found: np.ndarray = index.search(query[None], K, params=parameters(sel=band))[1][0]
        return found

    return one_by_one(search)


def hnsw(rows: PriceOrder) -> Search:
    import hnswlib

    index = hnswlib.Index("ip", rows.vectors.shape[1])
    index.init_index(len(rows.vectors), M=16, ef_construction=200)
    index.set_num_threads(THREADS)
    index.add_items(rows.vectors, np.arange(len(rows.vectors)))
    index.set_ef(256)

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        try:
            found = index.knn_query(query, K, num_threads=1, filter=lambda row: start <= row < end)[0][0]
        except RuntimeError:  # fewer than k in reach
            found = np.zeros(0)
        return np.asarray(found, np.int64)

    return one_by_one(search)


def usearch_more(rows: PriceOrder) -> Search:
    from usearch.index import Index

    index = Index(ndim=rows.vectors.shape[1], metric="ip", dtype="f32", expansion_search=1024)
    index.add(np.arange(len(rows.vectors)), rows.vectors, threads=THREADS)

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        keys = index.search(query, 1024, threads=1).keys.astype(np.int64)
        return np.asarray(keys[(keys >= start) & (keys < end)][:K])

    return one_by_one(search)


def lance_with(kind: str, rows: PriceOrder) -> Search:
    import lancedb
    import pyarrow as pa
    from lancedb.expr import col, lit
    from lancedb.index import BTree, IvfPq

    folder = tempfile.mkdtemp(prefix="search-benchmark-")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.reshape(-1)), rows.vectors.shape[1])
    # a user's table: rows as they come, the price in a column
    shuffled = np.random.default_rng(0).permutation(len(rows.vectors))
    table = pa.table({"position": np.arange(len(vectors)), "vector": vectors}).take(shuffled)
    table = lancedb.connect(folder).create_table("items", table)
    if kind == "indexed":
        table.create_index("vector", config=IvfPq(distance_type="dot", sample_rate=64, max_iterations=10))
        table.create_index("position", config=BTree())

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        near = table.search(query, vector_column_name="vector").distance_type("dot").limit(K)
        near = near.where((col("position") >= lit(start)) & (col("position") < lit(end)), prefilter=True)
        if kind == "indexed":
            near = near.nprobes(32).refine_factor(10)
        return np.asarray(near.select(["position", "_distance"]).to_arrow()["position"].to_numpy())

    return one_by_one(search)


SUBJECTS: dict[str, Callable[[PriceOrder], Search]] = {
    "ours": ours,
    "ours-gpu": on_a_gpu,
    "numpy-slice": numpy_slice,
    "faiss-flat": partial(faiss_with, "flat"),
    "faiss-ivf": partial(faiss_with, "ivf"),
    "hnswlib": hnsw,
    "usearch": usearch_more,
    "lance-flat": partial(lance_with, "flat"),
    "lance-indexed": partial(lance_with, "indexed"),
}
TAKES_BATCHES = ("ours", "ours-gpu")


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
    """Wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def queries_within(rows: PriceOrder, vectors: np.ndarray, centre: np.ndarray, band: float) -> Queries:
    """Sort by price, as an index would."""
    order = np.argsort(centre, kind="stable")
    centre = centre[order].astype(np.float64)
    return Queries(vectors[order], centre, band, *rows.range_of(centre, band))


def time_subject(search: Search, rows: PriceOrder, queries: Queries, batches: bool) -> Figures:
    """Singles, batches and recall of one subject within one band; without `batches` the mean of the singles says it."""
    few = queries.take(np.random.default_rng(1).permutation(len(queries.vectors))[:SINGLES])
    singles = [few.take(np.array([row])) for row in range(SINGLES)]
    for single in singles[:10]:
        search(single)
    times, found, began = [], [], time.perf_counter()
    for single in singles:
        times.append(seconds(lambda single=single: found.extend(search(single))))  # type: ignore[misc]
        if time.perf_counter() - began > LEAST_SECONDS and len(times) >= 20:
            break
    figures: Figures = {
        "p50_ms": round(float(np.median(times)) * 1e3, 4),
        "p99_ms": round(float(np.quantile(times, 0.99)) * 1e3, 4),
        "recall": round(recall(rows, few, found), 5),
    }
    for size in BATCHES:
        if batches:
            batch = queries.take(np.linspace(0, len(queries.vectors) - 1, size).astype(int))
            taken = float(np.median([seconds(partial(search, batch)) for _ in range(4)][1:]))
            products = 2 * int((batch.end - batch.start).sum()) * rows.vectors.shape[1]
            figures[f"batch_{size}"] = {"seconds": round(taken, 4), "gflops": round(products / taken / 1e9, 1)}
        else:
            figures[f"batch_{size}"] = {"seconds": round(size * float(np.mean(times)), 4), "from_singles": True}
    return figures


def recall(rows: PriceOrder, queries: Queries, found: list[np.ndarray]) -> float:
    """Share of the true neighbours, by brute force, that were found."""
    right = total = 0
    for query, start, end, own in zip(queries.vectors, queries.start, queries.end, found, strict=False):
        inside = np.arange(start, end)
        scores = rows.vectors[start:end] @ query
        likely = inside[np.argsort(-scores, kind="stable")[: K + 64]]
        truth = nearest(rows.vectors, np.arange(len(rows.rows)), np.sort(likely), query, K)[0]
        right, total = right + len(np.intersect1d(own[own >= 0], truth)), total + len(truth)
    return right / max(1, total)


def sets(given: argparse.Namespace) -> Iterator[tuple[str, PriceOrder, np.ndarray, np.ndarray]]:
    """A name, rows, (10,000, dim) queries and their predicted log prices."""
    for size in given.size:
        rows, dim = (int(part) for part in size.split("x"))
        random = np.random.default_rng(given.seed)
        vectors, log_price = made_up(rows + 10_000, dim, random, given.flat)
        order = order_by_price(vectors[:rows], log_price[:rows])
        yield size, order, vectors[rows:], log_price[rows:] + random.normal(0, 0.3, 10_000)
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
    results: dict[float, Figures] = {within.band: {} for within in queries}
    for subject in chosen:
        gc.collect()
        before, began = resident(), time.perf_counter()
        try:
            search = SUBJECTS[subject](rows)
        except ImportError as missing:
            print(f"{subject}: left out, {missing}", file=sys.stderr)
            continue
        built = {"build_s": round(time.perf_counter() - began, 2), "held_mb": (resident() - before) >> 20}
        print(f"{name} {subject}: {built}", file=sys.stderr)
        for within in queries:
            figures = time_subject(search, rows, within, subject in TAKES_BATCHES)
            results[within.band][subject] = built | figures
        del search
    for band, table in results.items():
        print_table(name, band, table)
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
    given = parser.parse_args()
    chosen = [name for name in SUBJECTS if name in given.only and not (given.quick and name in SLOW)]
    document: Figures = {
        "machine": platform.processor() or platform.machine(),
        "threads": THREADS,
        "k": K,
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
    if importlib.util.find_spec("hnswlib") is None or importlib.util.find_spec("usearch") is None:
        print("For all subjects: pip install hnswlib usearch", file=sys.stderr)
    main()
