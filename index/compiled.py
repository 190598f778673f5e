"""Compile a loop for the machine at hand, where numpy would be slow.

Importing this file imports numba, so a file of loops is imported where it is needed.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile to machine code, kept on the disk where there is a folder for it."""
    try:
        return cast(Callable[P, R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # what numba raises where no cache folder may be written
        return cast(Callable[P, R], numba.njit(nogil=True)(function))
