"""What does the searching, and why that?

`slice`  exact: products over slices of rows kept in price order (`index.search.dense`), on a GPU where there is one.
`faiss`  approximate above some thousands of rows: inverted lists whose entries stand in price order, so that a band is
         a range of each; what they find is scored by the vectors themselves (`index.search.faiss_backend`).
`lance`  approximate, from the disk: an inverted file in a Lance table with the band as a prefilter, for tables larger
         than memory (`index.search.lance_backend`).

All answer alike: rows, and similarities of the same definition to the last bit. An approximate one may miss a row.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from index.errors import UsageError
from index.search.dense import gpu_bytes
from index.search.price_order import PriceOrder
from index.search.similarity import Float32, Int64

AUTO, SLICE, FAISS, LANCE = "auto", "slice", "faiss", "lance"
BACKENDS = (AUTO, SLICE, FAISS, LANCE)
GPU_ROWS = 20_000  # of an index from which looking for a GPU, which loads torch, pays
MEMORY_SHARE = 0.8  # of the machine's memory that vectors and codes may take
BYTES_PER_NUMBER = 5.5  # float32, int8, and a head of half the width at most


class Backend(Protocol):
    """Search among rows in price order."""

    def search(self, queries: Float32, start: Int64, end: Int64, barred: Int64, k: int) -> tuple[Int64, Float32]:
        """For n >= 1 unit queries in price order: (n, k) rows, nearest first, -1 for none, and (n, k) similarity.

        A query's own are the positions [start, end) less those of the group `barred` (n,), where that is not -1.
        """


@dataclass(frozen=True)
class Choice:
    """What was chosen, and a sentence that says why."""

    name: str
    device: str
    why: str


def choose(wanted: str, rows: int, dim: int, memory: int | None = None, gpu: int | None = None) -> Choice:
    """The backend for `rows` vectors of `dim` numbers.

    `memory` of the machine and `gpu`, what is free of a GPU's (0 where there is none), are in bytes and looked up where
    they are None. Raises UsageError for a name that is not in BACKENDS.
    """
    if wanted not in BACKENDS:
        raise UsageError(f"search is {wanted!r}: choose from {', '.join(BACKENDS)}.")
    memory = total_memory() if memory is None else memory
    needed, size = rows * dim * BYTES_PER_NUMBER, f"{rows:,} rows of {dim} numbers"
    fits = needed <= MEMORY_SHARE * memory
    if wanted in (FAISS, LANCE):
        return Choice(wanted, "cpu", f"{wanted}: asked for by name, or written by the build; {size}.")
    if wanted == AUTO and not fits:
        room = f"{needed / 2**30:.1f} GB for vectors and codes, the machine has {memory / 2**30:.1f}"
        return Choice(LANCE, "cpu", f"lance: {size} need {room}.")
    if rows >= GPU_ROWS and gpu_bytes(rows, dim) <= (free_gpu_memory() if gpu is None else gpu):
        return Choice(SLICE, "cuda", f"slice on the GPU: exact; {size}.")
    return Choice(SLICE, "cpu", f"slice: exact, and {size} {'fit into memory' if fits else 'are mapped'}.")


def at_open(wanted: str, folder: Path) -> str:
    """The name to open an index by: what `auto` is was decided by who wrote `folder`, whatever machine opens it.

    A machine of less memory maps what was written for `slice`: slow where it does not fit, but nothing is made anew.
    """
    if wanted != AUTO:
        return wanted
    from index.search.lance_backend import is_written

    return LANCE if is_written(folder) else SLICE


def open_backend(choice: Choice, rows: PriceOrder, folder: Path | None = None) -> Backend:
    """The chosen one over these rows; what it keeps on the disk is read from `folder`, or made where it is missing."""
    if choice.name == FAISS:
        from index.search.faiss_backend import FaissSearch

        return FaissSearch.open(rows, folder)
    if choice.name == LANCE:
        from index.search.lance_backend import LanceSearch

        return LanceSearch.open(rows, folder)
    from index.search.dense import SliceSearch

    return SliceSearch(rows, choice.device)


def write_backend(choice: Choice, rows: PriceOrder, folder: Path) -> None:
    """Leave in `folder` what the chosen one would otherwise make when it is opened."""
    if choice.name == FAISS:
        from index.search.faiss_backend import FaissSearch

        FaissSearch.write(rows, folder)
    elif choice.name == LANCE:
        from index.search.lance_backend import LanceSearch

        LanceSearch.write(rows, folder)


def total_memory() -> int:
    """Of the machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_gpu_memory() -> int:
    """Of the GPU that would be used, in bytes; 0 where there is none."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0
