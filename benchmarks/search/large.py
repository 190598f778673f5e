"""Search of more rows than fit into memory as float32: their codes in memory, the vectors in a mapped file.

A batch of queries within a band, answered exactly; beside it FAISS's exact search (IndexFlatIP) with a range of ids.
That needs all rows in memory; so it is timed on a part of the band and reckoned from there, for it is a scan of the
band. Some of the answers are checked against brute force over the mapped rows.

10,000,000 x 384, reckoned: 15.4 GB in `--work`, 8.5 GB of memory (3.8 whole codes, 1.9 coarse ones, 1.9 levels; what
is held of the mapped file is the system's to take back), and an hour. `--rows` takes less of it in proportion.

    python benchmarks/search/large.py --work DIR
    python benchmarks/search/large.py --work DIR --rows 2000000 --batch 1000
"""

import mmap
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
sys.path.insert(1, str(Path(__file__).parents[1]))  # measure.py

import measure
import numpy as np
from made_up import K, MadeUp, Queries, queries_within
from subjects import THREADS, ours

from index.arrays import chunks
from index.search.int8.codes import CHUNK_ROWS, SAMPLED_ROWS, Codes, Projection, empty_level, encode_chunk, encode_rows
from index.search.price_order import PriceOrder
from index.search.similarity import nearest

CHECKED = 5  # queries answered by brute force too
PART = 200_000  # rows that FAISS is timed on
TIMED = 20  # queries that it is timed with


def mapped(made: MadeUp, path: Path) -> PriceOrder:
    """Write the rows to a file, encode what was written, and map it; no more of it is held than a chunk."""
    dim = len(made.strength)
    sample: list[np.ndarray] = []
    with path.open("wb") as file:
        for part in made.vectors(made.kind):
            file.write(part.data)
            sample.append(part[:: max(1, len(made.kind) // SAMPLED_ROWS)])
    # The directions are drawn from a sample; all rows are encoded by them, as rows that are added to an index are.
    codes = encode_rows(np.concatenate(sample))
    coarse = codes.coarse
    if coarse is not None:
        level = empty_level(len(made.kind), len(coarse.directions))
        coarse = Projection(level, np.empty(len(made.kind), np.float32), coarse.directions)
    codes = Codes(empty_level(len(made.kind), dim), coarse)
    for run in chunks(len(made.kind), CHUNK_ROWS):
        count, offset = (run.stop - run.start) * dim, run.start * dim * 4
        encode_chunk(np.fromfile(path, np.float32, count, offset=offset).reshape(-1, dim), codes, run)
    rows = np.memmap(path, np.float32, "r", shape=(len(made.kind), dim))
    rows._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]  # few rows are read, far from each other
    return replace(made.order(rows), codes=codes)


def brute_force(rows: PriceOrder, queries: Queries, query: int) -> np.ndarray:
    """The true nearest of one query, in order."""
    best = np.zeros(0, np.int64)
    for run in chunks(int(queries.end[query] - queries.start[query]), 100_000):
        here = np.arange(run.start, run.stop) + int(queries.start[query])
        scores = np.array(rows.vectors[here[0] : here[-1] + 1]) @ queries.vectors[query]
        likely = here[np.argsort(-scores, kind="stable")[: K + 64]]
        best = nearest(rows.vectors, rows.rows, np.sort(np.append(best, likely)), queries.vectors[query], K)[0]
    return best


def faiss_seconds(rows: PriceOrder, queries: Queries) -> float:
    """CPU seconds that FAISS takes for a row of a query's band."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    first = int(queries.start[len(queries.start) // 2])
    index = faiss.IndexFlatIP(rows.vectors.shape[1])
    index.add(np.array(rows.vectors[first : first + PART]))
    parameters = faiss.SearchParameters(sel=faiss.IDSelectorRange(0, index.ntotal, True))  # type: ignore[call-arg]
    began = time.process_time()
    for query in range(TIMED):
        index.search(queries.vectors[query : query + 1], K, params=parameters)
    return (time.process_time() - began) / (TIMED * index.ntotal)


def main() -> None:
    parser = measure.argument_parser(__doc__, "--work", "--output", rows=10_000_000, dim=384, batch=10_000, seed=0)
    parser.add_argument("--band", type=float, default=0.35)
    given = parser.parse_args()
    began = time.process_time()
    made = MadeUp.of(given.rows, given.dim, np.random.default_rng(given.seed))
    path = given.work / "search-vectors.f32"
    try:
        rows = mapped(made, path)
        queries = queries_within(rows, *made.queries(given.batch), given.band)
        print(f"made and encoded in {time.process_time() - began:.0f} CPU seconds", flush=True)
        search = ours(rows)
        began, wall = time.process_time(), time.perf_counter()
        found = search(queries)
        took, wall = time.process_time() - began, time.perf_counter() - wall
        in_bands = int((queries.end - queries.start).sum())
        for query in np.linspace(0, given.batch - 1, CHECKED).astype(int):
            assert np.array_equal(found[query], brute_force(rows, queries, query)), query
        reckoned = faiss_seconds(rows, queries) * in_bands
    finally:
        path.unlink(missing_ok=True)
    result = {
        "rows": given.rows,
        "dim": given.dim,
        "batch": given.batch,
        "band": given.band,
        "threads": THREADS,
        "rows_in_band": round(in_bands / given.batch),
        "cpu_seconds": round(took, 1),
        "wall_seconds": round(wall, 1),
        "faiss_flat_cpu_seconds": round(reckoned, 1),
        "times": round(reckoned / took, 1),
        "checked": CHECKED,
    }
    print(result)
    measure.write_results("search_large", result, given.output)


if __name__ == "__main__":
    main()
