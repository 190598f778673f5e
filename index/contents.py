"""Refusal of a file of an index that holds what no build writes, though its hash is right.

A hash says that a file is the one that was recorded, not that what it holds makes sense: a fault of ours, files of two
indexes mixed up, or a hand that knows the recipe give wrong contents a right hash. Who loads a file says here what it
must hold; what that is, is for who loads it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from index.errors import DownloadNeeded, IndexUnusable, PriceError
from index.shortage import shortage

AGAIN = "build the index again with `price build-index`"
MOST_JSON = 64 * 2**20  # bytes of a document that is read whole


class WrongContents(ValueError):
    """A file holds what no build writes; the message is a phrase that goes into brackets."""


def expect(right: bool | Any, what: str) -> None:
    """Raise WrongContents with the phrase `what` unless `right`."""
    if not right:
        raise WrongContents(what)


@contextlib.contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turn whatever a loader makes of the wrong contents of `path` into one sentence, IndexUnusable.

    A shortage of memory, a library or weights that are not here, and refusals of the index by others pass.
    """
    try:
        yield
    except (IndexUnusable, DownloadNeeded, ImportError):
        raise
    except Exception as error:
        if shortage(error):
            raise
        why = str(error).partition(":")[0] if isinstance(error, WrongContents | PriceError) else "it cannot be read"
        raise IndexUnusable(f"{path} is damaged ({why}): {AGAIN}.") from error


def parse_json(text: bytes | str) -> dict[str, Any]:
    """Parse one JSON object, strictly: no NaN, no infinity, no number that becomes one.

    Raises WrongContents for anything else.
    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except WrongContents:
        raise
    except (ValueError, RecursionError) as error:
        raise WrongContents("it is not JSON") from error
    expect(isinstance(document, dict), "it is no JSON object")
    return dict(document)


def whole(value: Any, low: int, high: int) -> bool:
    """Tell whether a value from JSON is a whole number from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def finite(value: Any) -> bool:
    """Tell whether a value from JSON is a number; `parse_json` lets no NaN and no infinity through."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse_constant(name: str) -> NoReturn:
    raise WrongContents(f"it holds {name}, which is no number")


def _finite(text: str) -> float:
    number = float(text)
    expect(math.isfinite(number), f"it holds {text[:20]}, which is no number")
    return number
