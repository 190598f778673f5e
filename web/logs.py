"""The server's log on stderr: what happened, and never the words of a request.

An error of ours is told by its kind and the lines of code that it went through: what it says may hold a customer's
text.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType

SysExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class WordlessFormatter(logging.Formatter):
    """Formats errors without their words."""

    def formatException(self, ei: SysExcInfo) -> str:  # noqa: N802  # logging's name
        """Return the kind of an error and where it came up."""
        kind, _, trace = ei
        name = kind.__name__ if kind else "error"
        return "".join([*traceback.format_tb(trace), f"{name} (its words are shown with --log-items)"])


def start_log(*, items: bool) -> None:
    """Write the log to stderr; with words of `items` where that is allowed."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(logging.Formatter(form) if items else WordlessFormatter(form))
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells of what its callers refuse
    for name in ("price", "uvicorn"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO if name == "price" else logging.WARNING)
