"""Claims about a server's memory: what was freed goes back to the system, again and again while it runs."""

import asyncio
import ctypes
import os
import sys
from pathlib import Path

import pytest

from tests.web.conftest import PATIENCE
from web.pricing import memory


def resident() -> int:
    """Bytes in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_was_freed_between_what_is_in_use_goes_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    pieces = [libc.malloc(100_000) for _ in range(1000)]  # 100 MB, none of it large enough to be mapped alone
    for piece in pieces:
        ctypes.memset(piece, 1, 100_000)
    for piece in pieces[:-1]:
        libc.free(piece)
    held = resident()
    assert memory.give_back()
    assert resident() < held - 80_000_000
    libc.free(pieces[-1])


def test_a_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not memory.give_back()
    asyncio.run(asyncio.wait_for(memory.give_back_now_and_then(), PATIENCE))  # ends at once


def test_it_is_done_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    monkeypatch.setattr(memory, "EVERY", 0.0)
    monkeypatch.setattr(memory, "give_back", lambda: times.append(1) is None and len(times) < 4)
    asyncio.run(asyncio.wait_for(memory.give_back_now_and_then(), PATIENCE))
    assert len(times) == 4
