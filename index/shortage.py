"""Shortages of the machine: what an error says of a full disk or of too little memory, and a look at it beforehand.

Libraries tell of both in ways of their own, and some end the whole process where memory runs out: what is known to be
too little is refused before they are imported. It knows errors and limits, and nothing of what was being done.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from index.errors import PriceError
from index.threads import own_cores

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_MEMORY = frozenset({errno.ENOMEM})
_SPACE = re.compile(  # as libraries spell it whose errors carry no number: Lance, SQLite, safetensors, FAISS
    r"No space left on device|Disk quota exceeded|File too large|(?:database or )?disk is full|os error (?:28|122|27)\b"
)
_MEMORY = re.compile(
    r"Cannot allocate memory|[Oo]ut of memory|bad_alloc|can't allocate memory|can't start new thread|os error 12\b|"
    r"failed to map segment|unable to mmap|[Mm]emory allocation|Resource temporarily unavailable.*thread|"
    r"thread.*Resource temporarily unavailable|malloc of size|not enough memory",
    re.DOTALL,
)

LIBRARIES = 2_500 * 2**20  # bytes of address space that a query takes beside its index, on one core
PER_CORE = 150 * 2**20  # stacks and arenas of the threads that libraries start on each core
TRAINING = 1_000 * 2**20  # more, where rows are encoded by the hundred or models are trained
RESIDENT = 250 * 2**20  # of it, what is in memory at once


def shortage(error: BaseException) -> str | None:
    """Sentences about the full disk or the little memory that an error, or one that led to it, tells of; or None."""
    for link in _chain(error):
        number = link.errno if isinstance(link, OSError) else None
        text = "" if isinstance(link, PriceError) else str(link)
        if number in NO_SPACE or _SPACE.search(text):
            return f"The disk is full{_where(link)}: make room, and run the same command again."
        if number in NO_MEMORY or isinstance(link, MemoryError) or _MEMORY.search(text):
            return (
                "There is too little memory for this (or too low a limit on it or on threads, such as ulimit -v): free "
                "or allow more, and run the same command again."
            )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from or while handling."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _where(error: BaseException) -> str:
    """Name the system's word for it, and the file where one is known."""
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    return f" ({os.strerror(error.errno)}{f': {error.filename}' if error.filename else ''})"


def require_memory(loaded: int = 0, mapped: int = 0, *, training: bool = False) -> None:
    """Raise PriceError, before anything heavy is loaded, where this process can have less memory than it will take.

    Beside the libraries, in bytes: what will be `loaded`, and what will be `mapped`, which takes addresses alone.
    `training`: models are fitted, or many rows encoded. Nothing is refused where the system does not say what there is.
    """
    needed = LIBRARIES + PER_CORE * own_cores() + TRAINING * training + loaded + mapped
    for there, needs, what in (
        (resource.getrlimit(resource.RLIMIT_AS)[0], needed, "may take {} of address space (ulimit -v)"),
        (_free_memory(), RESIDENT + loaded, "can have {} of memory"),
    ):
        if there is not None and there != resource.RLIM_INFINITY and there < needs:
            raise PriceError(
                f"This process {what.format(_size(there))} and needs about {_size(needs)}: free or allow more, and run "
                "the same command again."
            )


def _free_memory() -> int | None:
    """Memory and swap that can be had, in bytes, as Linux tells it; None where it does not."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * (kib["MemAvailable"] + kib["SwapFree"]) if {"MemAvailable", "SwapFree"} <= kib.keys() else None


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB"
