"""Number of cores and threads that this process has, as the system and the user say; their work and limits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_LOCK = threading.Lock()  # of both below
_LIMITS: dict[object, int] = {}  # threads of matrix products, by the blocks that are entered, the newest last
_BEFORE: dict[str, tuple[Any, int]] = {}  # libraries by their files, with the threads they had before the first block


def own_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_threads() -> int:
    """Count the threads to compute on: one a core, or fewer where OMP_NUM_THREADS says so."""
    requested = os.environ.get("OMP_NUM_THREADS", "")
    return min(own_cores(), int(requested)) if requested.isdigit() and int(requested) else own_cores()


@contextmanager
def thread_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give tasks to so many threads; an error, or an interrupt, does not wait for those that have begun."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def limited_products(pools: ThreadpoolController, threads: int) -> Iterator[None]:
    """Run matrix products on so many threads inside the block.

    A library's number of threads is the whole process's: where blocks of several threads overlap, the newest counts,
    and the last to be left sets what was there before the first. One that OpenMP runs has a number for each thread,
    as OpenMP has, and the block sets that of its own.
    """
    libraries = [library for library in pools.lib_controllers if library.user_api == "blas"]
    shared = [library for library in libraries if not _is_of_openmp(library)]
    own = [(library, library.num_threads) for library in libraries if _is_of_openmp(library)]
    block = object()
    with _LOCK:
        _LIMITS[block] = threads
        for library in shared:
            _BEFORE.setdefault(library.filepath, (library, library.num_threads))
            _set_threads(library, threads)
    for library, _ in own:
        library.set_num_threads(threads)
    try:
        yield
    finally:
        for library, before in own:
            library.set_num_threads(before)
        with _LOCK:
            del _LIMITS[block]
            for library, before in _BEFORE.values():
                _set_threads(library, next(reversed(_LIMITS.values()), before))
            if not _LIMITS:
                _BEFORE.clear()


def _is_of_openmp(library: Any) -> bool:
    return getattr(library, "threading_layer", None) == "openmp"  # as the OpenBLAS that FAISS brings


def _set_threads(library: Any, threads: int) -> None:
    # threadpoolctl heeds the one thread that set OpenBLAS's first, until it is told that this one no longer does.
    let_go = getattr(library, "clear_controlling_thread", lambda *, force: None)
    let_go(force=True)
    library.set_num_threads(threads)
    let_go(force=True)


@contextmanager
def one_thread(pools: ThreadpoolController) -> Iterator[None]:
    """Run matrix products, and what OpenMP shares out, on one thread inside the block."""
    with limited_products(pools, 1), pools.select(user_api="openmp").limit(limits=1):  # OpenMP's is this thread's own
        yield
