"""Claims about a full disk and too little memory: known by many spellings, and refused beforehand where they can be."""

import errno
import resource
from collections.abc import Callable
from typing import Any

import pytest

from index import shortage as room
from index.errors import PriceError, UsageError
from index.shortage import require_memory, shortage

GIB = 2**30
FULL = [
    OSError(errno.ENOSPC, "No space left on device", "items.lance"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError(errno.EFBIG, "File too large"),
    RuntimeError(
        "lance error: LanceError(IO): Generic LocalFileSystem error: No space left on device (os error 28), x.rs"
    ),
    RuntimeError("External error: File too large (os error 27)"),
    Exception("database or disk is full"),
    Exception("I/O error: No space left on device (os error 28)"),
]
SHORT = [
    MemoryError(),
    MemoryError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("can't start new thread"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: 99 bytes."),
    RuntimeError("unable to mmap 90868376 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    RuntimeError("std::bad_alloc"),
    BaseException("panicked: OS can't spawn worker thread: Resource temporarily unavailable (os error 11)"),
]
NEITHER = [
    OSError(errno.ENOENT, "No such file or directory", "x"),
    OSError(errno.EACCES, "Permission denied"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("28"),
    KeyError("memory"),
    UsageError("No space left on device is what somebody named his shop."),
]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_disk_is_known_by_every_spelling(error: Exception) -> None:
    sentence = shortage(error)
    assert sentence is not None and sentence.startswith("The disk is full") and "\n" not in sentence


@pytest.mark.parametrize("error", SHORT, ids=str)
def test_too_little_memory_is_known_by_every_spelling(error: BaseException) -> None:
    sentence = shortage(error)
    assert sentence is not None and sentence.startswith("There is too little memory") and "\n" not in sentence


@pytest.mark.parametrize("error", NEITHER, ids=str)
def test_what_is_neither_is_not_called_so(error: Exception) -> None:
    assert shortage(error) is None


def raised(*steps: BaseException, by: str) -> BaseException:
    """The last error of a chain, each raised from the one before it, while handling it, or in its place."""
    caught: BaseException | None = None
    for step in steps:
        try:
            if caught is None:
                raise step
            try:
                raise caught
            except BaseException:
                if by == "cause":
                    raise step from caught
                if by == "context":
                    raise step  # noqa: B904
                raise step from None
        except BaseException as error:
            caught = error
    assert caught is not None
    return caught


def test_a_shortage_is_found_behind_the_errors_that_it_led_to() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "lock")
    for by in ("cause", "context"):
        assert "(No space left on device: lock)" in str(shortage(raised(full, ValueError("x"), UsageError("y"), by=by)))
    assert shortage(raised(full, ValueError("x"), by="none")) is None


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine of one core, with so much address space and free memory in GiB; None for no limit, or not told."""

    def limit(addresses: float | None = 1000, free: float | None = 1000) -> None:
        most = resource.RLIM_INFINITY if addresses is None else int(addresses * GIB)
        monkeypatch.setattr(resource, "getrlimit", lambda which: (most, resource.RLIM_INFINITY))
        monkeypatch.setattr(room, "_free_memory", lambda: None if free is None else int(free * GIB))
        monkeypatch.setattr(room.os, "sched_getaffinity", lambda process: {0}, raising=False)

    return limit


def test_memory_that_libraries_and_index_take_is_looked_for_beforehand(limited: Any) -> None:
    limited()
    require_memory(300 * GIB, 300 * GIB, training=True)
    limited(free=None)
    require_memory()
    limited(addresses=3)
    require_memory()
    for arguments in ({"training": True}, {"loaded": GIB}, {"mapped": GIB}):
        with pytest.raises(PriceError, match=r"may take 3\.0 GB of address space \(ulimit -v\) and needs about"):
            require_memory(**arguments)
    limited(free=1)
    require_memory(mapped=10 * GIB)  # which the system drops when it needs room
    with pytest.raises(PriceError, match=r"can have 1\.0 GB of memory and needs about 2\.2 GB"):
        require_memory(loaded=2 * GIB)


def test_no_limit_is_no_reason_to_refuse(limited: Any) -> None:
    limited(addresses=None)
    require_memory(300 * GIB, 300 * GIB, training=True)
