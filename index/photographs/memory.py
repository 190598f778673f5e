"""Memory of decoding: how much one photograph takes at most, and a budget that all decoders share.

A few bytes can stand for forty million pixels, so the memory is reckoned from the header and taken from the budget
before there are any. The terms follow what Pillow 11 to 13 allocate; `benchmarks/prove/photographs.py` measures them.
"""

import ctypes
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from index.photographs.headers import Header

DECODING_BYTES = 300_000_000
"""Bytes that all photographs being decoded at a time may take."""

_OVERHEAD = 20_000_000  # whites to lay a photograph on, its turn to upright, and the array of at most 1024 x 1024
_ROW = 8  # Pillow keeps a pointer to each row: of an image one pixel wide they are most of it


_KEPT_BY_MALLOC = 64_000_000
"""A decoder that held more has malloc hand it back to the system: glibc keeps tens of megabytes for each thread, and
four decoders in turn came to twice the budget."""


class MemoryBudget:
    """Bytes shared by threads: who wants some waits until they are free, first come, first served.

    The first in the line always gets its turn, as others give back and nobody who holds some waits for more.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold `size` bytes, at most `total`, for as long as the context is open. Never open one within another."""
        assert size <= self.total, (size, self.total)
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                self._changed.wait_for(lambda: self._line[0] is ticket and size <= self._free)
                self._free -= size
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            if size > _KEPT_BY_MALLOC:
                _trim()()
            with self._changed:
                self._free += size
                self._changed.notify_all()


def decoding_bytes(header: Header, file_size: int, longest_side: int) -> int:
    """Return the bytes that a photograph takes at most from its file to RGB of `longest_side`, both included.

    The decoded image is converted to RGB or RGBA unless it is that; transparent ones are multiplied by their alpha in
    another copy; then they are shrunk.
    """
    width, height = header.width, header.height
    decoded, converted = image_bytes(width, height, header.pixel), image_bytes(width, height, 4)
    becomes_rgba = header.pixel == 4 and header.transparent  # of RGB with one clear colour
    steps = [decoded + header.while_decoding]
    if not header.colour or becomes_rgba:
        steps.append(header.while_open + decoded + converted)
    if header.pixel == 2:  # numpy copies it twice, and shifts it
        steps.append(7 * width * height + _ROW * height)
    copies = converted * (2 if header.transparent else 1)
    steps.append(header.while_open + copies + _shrinking_bytes(header, longest_side))
    return max(steps) + 3 * file_size + _OVERHEAD


def image_bytes(width: int, height: int, pixel: int) -> int:
    """Return the bytes of an image in Pillow."""
    return height * (width * pixel + _ROW)


def shrunk_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Return the size of a picture that fits into a square, never enlarged."""
    scale = min(1.0, longest_side / max(width, height, 1))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _shrinking_bytes(header: Header, longest_side: int) -> int:
    """Bytes beside the image while it is shrunk: by whole factors to at least twice the size, then row by row."""
    width, height = shrunk_size(header.width, header.height, longest_side)
    if (width, height) == (header.width, header.height):
        return 0
    across, down = max(header.width // (2 * width), 1), max(header.height // (2 * height), 1)
    reduced_width, reduced_height = -(-header.width // across), -(-header.height // down)
    reduced = image_bytes(reduced_width, reduced_height, 4) if across > 1 or down > 1 else 0
    rows = header.height if header.transparent else reduced_height  # older Pillows shrink transparent ones in one step
    return max(reduced + image_bytes(width, reduced_height, 4), image_bytes(width, rows, 4))


@functools.cache
def _trim() -> Callable[[], object]:
    """Return what hands free memory back to the system: glibc's `malloc_trim(0)`, or nothing with another C library."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return functools.partial(trim, 0) if trim else lambda: None
