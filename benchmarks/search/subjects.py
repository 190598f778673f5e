"""Wrap what the search benchmark times: ours, and what one would otherwise use for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from made_up import K, Queries

from index.arrays import chunks
from index.search.price_order import PriceOrder

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1))))
PROBED = 1 / 16  # of FAISS's lists
LEVELS, BLOCK = 8, 128  # of Panorama: what its paper takes for vectors of this size; FAISS's own block
SLOW = ("hnswlib", "usearch", "lance-indexed", "zvec-hnsw")  # minutes to build

Search = Callable[[Queries], list[np.ndarray]]  # positions of each query's neighbours
SearchOne = Callable[[np.ndarray, int, int], np.ndarray]  # the same of a vector and its range of positions


def one_by_one(search: SearchOne) -> Search:
    """A way to search that takes another filter for every query, run query by query."""
    return lambda queries: [
        search(*query) for query in zip(queries.vectors, queries.start.tolist(), queries.end.tolist(), strict=True)
    ]


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
    """FAISS with a range of ids; Panorama's vectors turned to their principal axes first, as its paper says."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    dim = rows.vectors.shape[1]
    turn = principal_axes(rows.vectors) if "panorama" in kind else None
    parameters: Any = faiss.SearchParameters
    index: Any = faiss.IndexFlatIP(dim)
    if kind == "panorama":
        index = faiss.IndexFlatIPPanorama(dim, LEVELS, BLOCK)
    if kind.startswith("ivf"):
        lists = round(len(rows.vectors) ** 0.5)
        index = (
            faiss.IndexIVFFlat(index, dim, lists, faiss.METRIC_INNER_PRODUCT)
            if kind == "ivf"
            else faiss.IndexIVFFlatPanorama(index, dim, lists, LEVELS, faiss.METRIC_INNER_PRODUCT)
        )
        index.cp.max_points_per_centroid, index.cp.niter = 64, 10
        sample = rows.vectors[:: max(1, len(rows.vectors) // (64 * lists))]
        index.train(sample if turn is None else sample @ turn)
        lists_searched: Any = faiss.SearchParametersIVF
        parameters = partial(lists_searched, nprobe=max(24, round(lists * PROBED)))
    for run in chunks(len(rows.vectors), 100_000):
        index.add(rows.vectors[run] if turn is None else rows.vectors[run] @ turn)

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        # Panorama's lists lose rows where ids are assumed to be sorted, which they are: see findings/.
        band = faiss.IDSelectorRange(start, end, kind != "ivf-panorama")
        turned = query[None] if turn is None else query[None] @ turn
        found: np.ndarray = index.search(turned, K, params=parameters(sel=band))[1][0]
        return found

    return one_by_one(search)


def principal_axes(vectors: np.ndarray) -> np.ndarray:
    """(dim, dim) float32 to multiply rows with, the axis with most of the length first; nothing is taken away."""
    sample = vectors[:: max(1, len(vectors) // 100_000)].astype(np.float64)
    axes: np.ndarray = np.linalg.eigh(sample.T @ sample)[1][:, ::-1].astype(np.float32)
    return np.ascontiguousarray(axes)


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
        builder: Any = table.search(query, vector_column_name="vector")
        near = builder.distance_type("dot").limit(K)
        near = near.where((col("position") >= lit(start)) & (col("position") < lit(end)), prefilter=True)
        if kind == "indexed":
            near = near.nprobes(32).refine_factor(10)
        return np.asarray(near.select(["position", "_distance"]).to_arrow()["position"].to_numpy())

    return one_by_one(search)


def zvec_with(kind: str, rows: PriceOrder) -> Search:
    """zvec in a folder of its own; the band is a filter of its query language on an indexed column."""
    import zvec

    zvec.init(query_threads=THREADS, optimize_threads=THREADS)
    dim = rows.vectors.shape[1]
    how = zvec.FlatIndexParam if kind == "flat" else partial(zvec.HnswIndexParam, m=16, ef_construction=200)
    schema = zvec.CollectionSchema(
        "items",
        zvec.FieldSchema(
            "position", zvec.DataType.INT64, index_param=zvec.InvertIndexParam(enable_range_optimization=True)
        ),
        zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, dim, how(zvec.MetricType.IP)),
    )
    table = zvec.create_and_open(str(Path(tempfile.mkdtemp(prefix="search-benchmark-")) / "items"), schema)
    for run in chunks(len(rows.vectors), 1000):
        table.insert(
            [
                zvec.Doc(str(row), vectors={"vector": rows.vectors[row]}, fields={"position": row})
                for row in range(run.start, run.stop)
            ]
        )
    table.optimize()
    parameters = None if kind == "flat" else zvec.HnswQueryParam(ef=256)

    def search(query: np.ndarray, start: int, end: int) -> np.ndarray:
        near = table.query(
            zvec.Query("vector", vector=query, param=parameters),
            topk=K,
            filter=f"position >= {int(start)} and position < {int(end)}",
            output_fields=[],
        )
        return np.array([int(row.id) for row in near], np.int64)

    return one_by_one(search)


SUBJECTS: dict[str, Callable[[PriceOrder], Search]] = {
    "ours": ours,
    "ours-gpu": on_a_gpu,
    "numpy-slice": numpy_slice,
    "faiss-flat": partial(faiss_with, "flat"),
    "faiss-ivf": partial(faiss_with, "ivf"),
    "faiss-panorama": partial(faiss_with, "panorama"),
    "faiss-ivf-panorama": partial(faiss_with, "ivf-panorama"),
    "hnswlib": hnsw,
    "usearch": usearch_more,
    "zvec-flat": partial(zvec_with, "flat"),
    "zvec-hnsw": partial(zvec_with, "hnsw"),
    "lance-flat": partial(lance_with, "flat"),
    "lance-indexed": partial(lance_with, "indexed"),
}
TAKES_BATCHES = ("ours", "ours-gpu")
