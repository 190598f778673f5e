"""Ctrl-C: one line and exit code 130 within two seconds, at any moment, whatever a library makes of it.

The first interrupt raises KeyboardInterrupt, so that work under way is left in order. The process ends at once, as if
killed, which leaves nothing that the next command cannot go on from:

- while a module is imported, since a library would tell of half of one as missing
- where KeyboardInterrupt came up in code that can raise nothing, as a destructor
- at a second interrupt
- GRACE seconds after the first, also while the main thread computes outside Python or waits for other threads
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # importing typing takes milliseconds in which nobody watches
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

GRACE = 1.0  # seconds, of the two

_came = threading.Event()


def came() -> bool:
    """Tell whether an interrupt came, also one that was swallowed."""
    return _came.is_set()


def watch(end: Callable[[], object]) -> None:
    """Take interrupts from here on; `end` ends the process.

    Where they are ignored, as a shell lets the jobs of a script do, they stay so.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if came() or _imports(frame):
            end()
        _came.set()
        raise KeyboardInterrupt

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            end()
        sys.__unraisablehook__(unraisable)

    def end_in_time() -> None:
        while signal.SIGINT not in os.read(reading, 1):
            pass
        time.sleep(GRACE)
        end()

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGINT, interrupt)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # written to at once, wherever the main thread is
    sys.unraisablehook = ignored
    threading.Thread(target=end_in_time, daemon=True, name="interrupts").start()


def _imports(frame: FrameType | None) -> bool:
    """Tell whether the code of a frame runs because something is imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
