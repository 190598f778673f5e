"""Checks of settings, written as annotations of a dataclass's fields and made whenever one is built.

epochs: Annotated[int, between(1, 1000)] = 5
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Annotated, Any

from index.errors import UsageError

Check = Callable[[str, Any], None]  # (name, value); raises UsageError for a value that is not allowed, also for NaN


class Checked:
    """Base of dataclasses whose fields are annotated with checks; what is None passes them all."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for check in getattr(hint, "__metadata__", ()):
                if value is not None:
                    check(name, value)


def positive(name: str, value: float) -> None:
    """Allow numbers above 0."""
    if not value > 0:
        raise UsageError(f"{name} is {value}: give a number above 0.")


def between(low: float, high: float) -> Check:
    """Allow numbers from `low` to `high`, both included."""

    def check(name: str, value: float) -> None:
        if not low <= value <= high:
            raise UsageError(f"{name} is {value}: give a number from {low:,} to {high:,}.")

    return check


def one_of(*choices: str, least: int = 1) -> Check:
    """Allow one of the choices; in a tuple, `least` (1 or 0) or more of them."""

    def check(name: str, value: str | tuple[str, ...]) -> None:
        for part in (value,) if isinstance(value, str) else value or ("",) * least:
            if part not in choices:
                raise UsageError(f"{name} is {part!r}: choose from {', '.join(choices)}.")

    return check


PositiveInt = Annotated[int, positive]
PositiveFloat = Annotated[float, positive]
Share = Annotated[float, between(0, 1)]
SampledShare = Annotated[float, between(0.001, 1)]  # of none, nothing is learned
