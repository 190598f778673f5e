"""Claim: exact search within a band of price is many times as fast here as anything one would otherwise use for it.

In one process, in turn, on the same vectors and with the same threads: ours, the product over the slice (numpy),
FAISS flat and IVF with a range of ids, hnswlib with a filter, usearch fetching more than it needs, LanceDB flat and
indexed with the band as a prefilter. Singles (p50, p99), batches, recall against brute force, seconds to build, memory
held; each also as a multiple of ours. Beside them the rate at which the machine multiplies matrices, and the share that
a batch of ours reaches. The vectors are made up: items of a kind are alike and cost alike, and nine tenths of their
length lie in a third of the directions, as those of text encoders do (`--flat` for none of that). `--index DIR` adds an
index's own.

    pip install hnswlib usearch  # wanted here alone; what is not installed is left out and said
    python benchmarks/search.py                                            # everything: an hour on two cores
    python benchmarks/search.py --size 75000x384 --band 0.35 --quick       # two minutes
    python benchmarks/search.py --size 75000x384 --only ours faiss-flat
"""

import argparse
import gc
import importlib.util
import json
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
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from index.search.price_order import PriceOrder, order_by_price  # noqa: E402
from index.search.similarity import nearest  # noqa: E402

RESULT = Path(__file__).parent / "results" / "search.json"
SIZES = ("75000x384", "75000x768", "1000000x384")
BANDS = (0.1, 0.35, 1.0)
K = 32
SINGLES, LEAST_SECONDS = 200, 10.0  # of one kind; a slow one stops after so many seconds


@dataclass
class Asked:
    """Queries in price order, what they cost by prediction, and where their bands are."""

    queries: np.ndarray
    centre: np.ndarray
    band: float
    start: np.ndarray
    end: np.ndarray

    def take(self, which: np.ndarray) -> "Asked":
        """Some of them."""
        return Asked(self.queries[which], self.centre[which], self.band, self.start[which], self.end[which])


Search = Callable[[Asked], list[np.ndarray]]  # positions of each query's neighbours


@dataclass
class Subject:
    """Something that searches."""

    name: str
    build: Callable[[PriceOrder], Search]
    batches: bool = True  # whether a batch means more than singles in turn


def made_up(rows: int, dim: int, random: np.random.Generator, flat: bool) -> tuple[np.ndarray, np.ndarray]:
    """(rows, dim) unit vectors and (rows,) log prices: kinds of 50 items, each with its own price level."""
    kinds = max(1, rows // 50)
    strength = np.ones(dim) if flat else np.arange(1, dim + 1) ** -0.6
    turn = np.linalg.qr(random.standard_normal((dim, dim)))[0].astype(np.float32)
    level, middle = random.normal(2.7, 0.9, kinds), random.standard_normal((kinds, dim))
    kind = random.integers(0, kinds, rows)
    vectors = np.empty((rows, dim), np.float32)
    for at in range(0, rows, 50_000):
        some = kind[at : at + 50_000]
        own = (middle[some] + 0.7 * random.standard_normal((len(some), dim))) * strength
        vectors[at : at + 50_000] = own.astype(np.float32) @ turn
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, (level[kind] + random.normal(0, 0.35, rows)).astype(np.float32)


def ours(rows: PriceOrder, gpu: bool = False) -> Search:
    """As users call it, with its checks; rows numbered by position, as the others number them."""
    from index.search import dense as slice_search
    from index.search.backends import SLICE, Choice
    from index.search.neighbours import BandIndex

    slice_search.SCAN_AFTER = 0  # as in a process that has answered a hundred queries
    index = BandIndex.of(replace(rows, rows=np.arange(len(rows.rows))), SLICE)
    index._choice = Choice(SLICE, "cuda" if gpu else "cpu", "")
    index.search(rows.vectors[:1], rows.log_price[:1], k=K, band=0.1)
    return lambda asked: list(index.search(asked.queries, asked.centre, k=K, band=asked.band).rows)


def on_a_gpu(rows: PriceOrder) -> Search:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("torch sees no GPU")
    return ours(rows, gpu=True)


def numpy_slice(rows: PriceOrder) -> Search:
    def search(asked: Asked) -> list[np.ndarray]:
        queries, start, end = asked.queries, asked.start, asked.end
        found = []
        for query, first, last in zip(queries, start, end, strict=True):
            scores = rows.vectors[first:last] @ query
            best = np.argpartition(scores, -K)[-K:] if len(scores) > K else np.arange(len(scores))
            found.append(first + best)
        return found

    return search


def faiss_with(kind: str) -> Callable[[PriceOrder], Search]:
    def build(rows: PriceOrder) -> Search:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        dim, options = rows.vectors.shape[1], {}
        flat = faiss.IndexFlatIP(dim)
        index = flat
        if kind == "ivf":
            lists = round(len(rows.vectors) ** 0.5)
            index = faiss.IndexIVFFlat(flat, dim, lists, faiss.METRIC_INNER_PRODUCT)
            index.cp.max_points_per_centroid, index.cp.niter = 64, 10
            index.train(rows.vectors[:: max(1, len(rows.vectors) // (64 * lists))])
            options = {"nprobe": max(24, lists // 16)}
        index.add(rows.vectors)
        parameters = faiss.SearchParameters if kind == "flat" else faiss.SearchParametersIVF

        def search(asked: Asked) -> list[np.ndarray]:
            queries, start, end = asked.queries, asked.start, asked.end
            found = []
            for query in range(len(queries)):
                band = faiss.IDSelectorRange(int(start[query]), int(end[query]), True)
                own = parameters(sel=band, **options)
                found.append(index.search(queries[query : query + 1], K, params=own)[1][0])
            return found

        search.keep = flat  # type: ignore[attr-defined]  # FAISS does not hold on to its quantiser
        return search

    return build


def hnsw(rows: PriceOrder) -> Search:
    import hnswlib

    index = hnswlib.Index("ip", rows.vectors.shape[1])
    index.init_index(len(rows.vectors), M=16, ef_construction=200)
    index.set_num_threads(THREADS)
    index.add_items(rows.vectors, np.arange(len(rows.vectors)))
    index.set_ef(256)

    def search(asked: Asked) -> list[np.ndarray]:
        queries, start, end = asked.queries, asked.start, asked.end
        found = []
        for query, first, last in zip(queries, start.tolist(), end.tolist(), strict=True):
            try:
                own = index.knn_query(query, K, num_threads=1, filter=lambda row, a=first, b=last: a <= row < b)[0][0]
            except RuntimeError:  # fewer than k in reach
                own = np.zeros(0, np.int64)
            found.append(own.astype(np.int64))
        return found

    return search


def usearch_more(rows: PriceOrder) -> Search:
    from usearch.index import Index

    index = Index(ndim=rows.vectors.shape[1], metric="ip", dtype="f32", expansion_search=1024)
    index.add(np.arange(len(rows.vectors)), rows.vectors, threads=THREADS)

    def search(asked: Asked) -> list[np.ndarray]:
        queries, start, end = asked.queries, asked.start, asked.end
        found = []
        for query, first, last in zip(queries, start, end, strict=True):
            keys = index.search(query, 1024, threads=1).keys.astype(np.int64)
            found.append(keys[(keys >= first) & (keys < last)][:K])
        return found

    return search


def lance_with(kind: str) -> Callable[[PriceOrder], Search]:
    def build(rows: PriceOrder) -> Search:
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

        def search(asked: Asked) -> list[np.ndarray]:
            queries, start, end = asked.queries, asked.start, asked.end
            found = []
            for query, first, last in zip(queries, start.tolist(), end.tolist(), strict=True):
                near = table.search(query, vector_column_name="vector").distance_type("dot").limit(K)
                near = near.where((col("position") >= lit(first)) & (col("position") < lit(last)), prefilter=True)
                if kind == "indexed":
                    near = near.nprobes(32).refine_factor(10)
                found.append(near.select(["position", "_distance"]).to_arrow()["position"].to_numpy())
            return found

        return search

    return build


def subjects() -> list[Subject]:
    return [
        Subject("ours", ours),
        Subject("ours-gpu", on_a_gpu),
        Subject("numpy-slice", numpy_slice, batches=False),
        Subject("faiss-flat", faiss_with("flat"), batches=False),
        Subject("faiss-ivf", faiss_with("ivf"), batches=False),
        Subject("hnswlib", hnsw, batches=False),
        Subject("usearch", usearch_more, batches=False),
        Subject("lance-flat", lance_with("flat"), batches=False),
        Subject("lance-indexed", lance_with("indexed"), batches=False),
    ]


def resident() -> int:
    """Bytes of memory held by this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def rates() -> dict[str, float]:
    """GFLOP/s (of int8: operations) at which torch multiplies (256, 384) by (384, 16384)."""
    import torch

    torch.set_num_threads(THREADS)
    left, right = torch.randn(256, 384), torch.randn(16384, 384)
    half = [each.bfloat16() for each in (left, right)]
    eight = [(each * 20).to(torch.int8) for each in (left, right)]
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


def ask(rows: PriceOrder, queries: np.ndarray, centre: np.ndarray, band: float) -> Asked:
    """As an index would: sorted by price."""
    order = np.argsort(centre, kind="stable")
    centre = centre[order].astype(np.float64)
    return Asked(queries[order], centre, band, *rows.range_of(centre, band))


def measure(
    subject: Subject, search: Search, rows: PriceOrder, asked: Asked, batches: tuple[int, ...]
) -> dict[str, Any]:
    """Singles, batches and recall of one subject within one band."""
    few = asked.take(np.random.default_rng(1).permutation(len(asked.queries))[:SINGLES])
    singles = [few.take(np.array([one])) for one in range(SINGLES)]
    for one in singles[:10]:
        search(one)
    times, found, began = [], [], time.perf_counter()
    for one in singles:
        times.append(seconds(lambda one=one: found.extend(search(one))))  # type: ignore[misc]
        if time.perf_counter() - began > LEAST_SECONDS and len(times) >= 20:
            break
    figures: dict[str, Any] = {
        "p50_ms": round(float(np.median(times)) * 1e3, 4),
        "p99_ms": round(float(np.quantile(times, 0.99)) * 1e3, 4),
        "recall": round(recall(rows, few, found), 5),
    }
    for size in batches:
        if subject.batches:
            batch = asked.take(np.linspace(0, len(asked.queries) - 1, size).astype(int))
            taken = float(np.median([seconds(partial(search, batch)) for _ in range(4)][1:]))
            held = 2 * int((batch.end - batch.start).sum()) * rows.vectors.shape[1]
            figures[f"batch_{size}"] = {"seconds": round(taken, 4), "gflops": round(held / taken / 1e9, 1)}
        else:  # it takes queries one at a time, each with its own filter: the mean of the singles says it
            figures[f"batch_{size}"] = {"seconds": round(size * float(np.mean(times)), 4), "from_singles": True}
    return figures


def recall(rows: PriceOrder, asked: Asked, found: list[np.ndarray]) -> float:
    """Share of the true neighbours, by brute force, that were found."""
    right = total = 0
    for query, first, last, own in zip(asked.queries, asked.start, asked.end, found, strict=False):
        inside = np.arange(first, last)
        scores = rows.vectors[first:last] @ query
        likely = inside[np.argsort(-scores, kind="stable")[: K + 64]]
        truth = nearest(rows.vectors, np.arange(len(rows.rows)), np.sort(likely), query, K)[0]
        right, total = right + len(np.intersect1d(own[own >= 0], truth)), total + len(truth)
    return right / max(1, total)


def sets(arguments: argparse.Namespace) -> Iterator[tuple[str, PriceOrder, np.ndarray, np.ndarray]]:
    """A name, rows, (10,000, dim) queries and their predicted log prices."""
    for size in arguments.size:
        rows, dim = (int(part) for part in size.split("x"))
        random = np.random.default_rng(arguments.seed)
        vectors, log_price = made_up(rows + 10_000, dim, random, arguments.flat)
        order = order_by_price(vectors[:rows], log_price[:rows])
        yield size, order, vectors[rows:], log_price[rows:] + random.normal(0, 0.3, 10_000)
    if arguments.index:
        from engine.serving.reference import open_comparables

        from index.storage.generations import current_generation

        order = open_comparables(current_generation(arguments.index)).order
        pick = np.sort(np.random.default_rng(arguments.seed).choice(len(order.rows), 10_000))
        yield "index", order, order.vectors[pick], order.log_price[pick] + np.float32(0.1)


def share(results: dict[float, dict[str, Any]], rate: float) -> dict[str, float]:
    """What part of the machine's int8 rate a batch of 10,000 of ours reaches, by band: products within bands alone."""
    own = {band: each["ours"]["batch_10000"]["gflops"] for band, each in results.items() if "ours" in each}
    return {str(band): round(gflops / rate, 3) for band, gflops in own.items()}


def report(name: str, band: float, results: dict[str, dict[str, Any]]) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="*", default=SIZES, help="ROWSxDIM")
    parser.add_argument("--band", nargs="*", type=float, default=BANDS)
    parser.add_argument("--only", nargs="*", help="subjects")
    parser.add_argument("--quick", action="store_true", help="without those that take minutes to build")
    parser.add_argument("--flat", action="store_true", help="vectors whose directions all weigh the same")
    parser.add_argument("--index", type=Path, help="also the vectors of this index")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    slow = ("hnswlib", "usearch", "lance-indexed")
    chosen = [
        each
        for each in subjects()
        if (not arguments.only or each.name in arguments.only) and not (arguments.quick and each.name in slow)
    ]
    document: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": THREADS,
        "k": K,
        "seed": arguments.seed,
        "flat": arguments.flat,
        "rates_gflops": rates(),
        "sets": {},
    }
    print("matrix products, GFLOP/s:", document["rates_gflops"])
    for name, rows, queries, centre in sets(arguments):
        asked = {band: ask(rows, queries, centre, band) for band in arguments.band}
        results: dict[float, dict[str, Any]] = {band: {} for band in arguments.band}
        for subject in chosen:
            gc.collect()
            before, began = resident(), time.perf_counter()
            try:
                search = subject.build(rows)
            except ImportError as missing:
                print(f"{subject.name}: left out, {missing}", file=sys.stderr)
                continue
            built = {"build_s": round(time.perf_counter() - began, 2), "held_mb": (resident() - before) >> 20}
            print(f"{name} {subject.name}: {built}", file=sys.stderr)
            for band in arguments.band:
                results[band][subject.name] = built | measure(subject, search, rows, asked[band], (1000, 10_000))
            del search
        for band in arguments.band:
            report(name, band, results[band])
        document["sets"][name] = {
            "share_of_int8_rate": share(results, document["rates_gflops"]["int8"]),
            "rows_in_band": {str(band): float(np.mean(each.end - each.start)) for band, each in asked.items()},
            "bands": {str(band): each for band, each in results.items()},
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print("\n* from singles: it takes a filter per query, so a batch is its queries in turn", file=sys.stderr)


if __name__ == "__main__":
    if importlib.util.find_spec("hnswlib") is None or importlib.util.find_spec("usearch") is None:
        print("For all subjects: pip install hnswlib usearch", file=sys.stderr)
    main()
