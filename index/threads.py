"""Number of cores and threads that this process has, as the system and the user say; and work for the threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


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
