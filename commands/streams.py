"""Standard streams of the process: an answer that cannot be written is an error; one that nobody reads on is none."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterable

from index.errors import PriceError
from index.visible import visible


def prepare() -> None:
    """Let a library print where stderr is closed, and a name pass that the terminal's encoding lacks."""
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def require_output() -> None:
    """Raise PriceError where stdout is closed, before any work is done whose answer would be lost."""
    if sys.stdout is None:
        raise PriceError("Standard output is closed, so the answer would be lost: give it a file, or /dev/null.")


def reader_left() -> bool:
    """Tell whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(1, 0)  # errors are reported without being asked for
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def show(line: str) -> None:
    """Print a line of an answer on stdout."""
    print(visible(line), flush=True)


def tell_notes(notes: Iterable[str]) -> None:
    """Print sentences on stderr, each on a line of its own."""
    for note in notes:
        tell(f"price: {note}")


def tell(line: str, *, start: str = "", end: str = "\n") -> None:
    """Print on stderr what is no answer; where that cannot be, the work goes on."""
    with contextlib.suppress(OSError):
        print(f"{start}{visible(line)}", end=end, file=sys.stderr, flush=True)
