"""Choose what searches an index, say why, open it and write what it keeps.

`slice`  exact: products over slices of rows kept in price order (`index.search.dense`), on a GPU where there is one.
`faiss`  approximate above some thousands of rows: inverted lists whose entries stand in price order, so that a band is
         a range of each; what they find is scored by the vectors themselves (`index.search.faiss_backend`).
`lance`  approximate, from the disk: an inverted file in a Lance table with the band as a prefilter, for tables larger
         than memory (`index.search.lance_backend`).

All answer alike: rows, and similarities of the same definition to the last bit. An approximate one may miss a row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from index.arrays import Float32, Int64
from index.errors import UsageError
from index.search import AUTO, BACKENDS, FAISS, LANCE, SLICE
from index.search.gpu import free_gpu_memory, gpu_bytes
from index.search.price_order import PriceOrder

GPU_ROWS = 20_000  # of an index from which looking for a GPU, which loads torch, pays
MEMORY_SHARE = 0.8  # of the machine's memory that vectors and codes may take
BYTES_PER_NUMBER = 5.5  # float32, int8, and the levels of a scan: half the width at most

Paths = Mapping[str, Path]
"""Path of each backend that keeps something on the disk: a file of FAISS's, the folder of a Lance table."""
NOWHERE: Paths = MappingProxyType({})


class Backend(Protocol):
    """Search among rows in price order."""

    def search(
        self, queries: Float32, start: Int64, end: Int64, excluded_group: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """Return (n, k) rows, nearest first, -1 for none, and (n, k) similarity for n >= 1 unit queries in price order.

        A query searches the positions [start, end), less those of its group in `excluded_group` (n,), -1 for none.
        """


@dataclass(frozen=True)
class Choice:
    """A chosen backend, its device, and a sentence that says why."""

    name: str
    device: str
    why: str


def choose(requested: str, rows: int, dim: int, memory: int | None = None, gpu: int | None = None) -> Choice:
    """Choose the backend for `rows` vectors of `dim` numbers.

    `memory` of the machine and `gpu`, what is free of a GPU's (0 where there is none), are in bytes and looked up where
    they are None. Raises UsageError for a name that is not in BACKENDS.
    """
    if requested not in BACKENDS:
        raise UsageError(f"search is {requested!r}: choose from {', '.join(BACKENDS)}.")
    memory = total_memory() if memory is None else memory
    needed, size = rows * dim * BYTES_PER_NUMBER, f"{rows:,} rows of {dim} numbers"
    fits = needed <= MEMORY_SHARE * memory
    if requested in (FAISS, LANCE):
        return Choice(requested, "cpu", f"{requested}: asked for by name, or written by the build; {size}.")
    if requested == AUTO and not fits:
        why = f"need {needed / 2**30:.1f} GB for vectors and codes, the machine has {memory / 2**30:.1f}"
        return Choice(LANCE, "cpu", f"lance: {size} {why}.")
    if rows >= GPU_ROWS and gpu_bytes(rows, dim) <= (free_gpu_memory() if gpu is None else gpu):
        return Choice(SLICE, "cuda", f"slice on the GPU: exact; {size}.")
    return Choice(SLICE, "cpu", f"slice: exact, and {size} {'fit into memory' if fits else 'are mapped'}.")


def at_open(requested: str, paths: Paths) -> str:
    """Return the backend to open an index by: `auto` is what the writer of `paths` chose, whatever machine opens it.

    A machine of less memory maps what was written for `slice`: slow where it does not fit, but nothing is made anew.
    """
    if requested != AUTO:
        return requested
    return LANCE if LANCE in paths and paths[LANCE].is_dir() else SLICE


def open_backend(choice: Choice, rows: PriceOrder, paths: Paths = NOWHERE) -> Backend:
    """Open the chosen backend over these rows; what it keeps is read from its path, or made where it is not there."""
    if choice.name == FAISS:
        from index.search.faiss_backend import FaissSearch

        return FaissSearch.open(rows, paths.get(FAISS))
    if choice.name == LANCE:
        from index.search.lance_backend import LanceSearch

        return LanceSearch.open(rows, paths.get(LANCE))
    from index.search.dense import SliceSearch

    return SliceSearch(rows, choice.device)


def write_backend(choice: Choice, rows: PriceOrder, paths: Paths) -> None:
    """Write to its path what the chosen backend would otherwise make when it is opened."""
    if choice.name == FAISS:
        from index.search.faiss_backend import FaissSearch

        FaissSearch.write(rows, paths[FAISS])
    elif choice.name == LANCE:
        from index.search.lance_backend import LanceSearch

        LanceSearch.write(rows, paths[LANCE])


def total_memory() -> int:
    """Memory of the machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
