"""Checks of settings, written as annotations of a dataclass's fields and made whenever one is built.

Every number has a range, and in no list does a name stand twice; a test holds all settings to that.

epochs: Annotated[int, Between(1, 1000)] = 5
"""

from __future__ import annotations

import datetime as dt
import typing
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any

from index.errors import UsageError

Check = Callable[[str, Any], None]  # (name, value); raises UsageError for a value that is not allowed, also for NaN


class Checked:
    """Base of dataclasses whose fields are annotated with checks; what is None passes them all."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in fields(self):  # type: ignore[arg-type]  # of what inherits from this
            value = getattr(self, field.name)
            for check in getattr(hints[field.name], "__metadata__", ()):
                if value is not None:
                    check(field.metadata.get("key", field.name), value)


@dataclass(frozen=True)
class Between:
    """Allow numbers from `low` to `high`, both included, and a `word` in the place of one."""

    low: float
    high: float
    word: str | None = None

    def __call__(self, name: str, value: float | str) -> None:
        if value == self.word or (not isinstance(value, str) and self.low <= value <= self.high):  # not NaN
            return
        instead = f", or {self.word}" if self.word else ""
        raise UsageError(f"{name} is {value!r}: give a number from {self.low:,} to {self.high:,}{instead}.")


def iso_date(name: str, value: str) -> None:
    """Allow a date as year, month and day with dashes; ISO 8601 has other forms, which not every reader knows."""
    try:
        usual = dt.date.fromisoformat(value).isoformat() == value
    except ValueError:
        usual = False
    if not usual:
        raise UsageError(f"{name} is {value!r}: give a date such as 2026-03-31.")


def distinct(name: str, values: tuple[str, ...]) -> None:
    """Allow a tuple in which no name stands twice."""
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise UsageError(f"{name} names {twice[0]!r} twice: name each once.")


def one_of(*choices: str, least: int = 1) -> Check:
    """Allow one of the choices; in a tuple, `least` (1 or 0) or more of them, each once."""

    def check(name: str, value: str | tuple[str, ...]) -> None:
        for part in (value,) if isinstance(value, str) else value or ("",) * least:
            if part not in choices:
                raise UsageError(f"{name} is {part!r}: choose from {', '.join(choices)}.")
        if isinstance(value, tuple):
            distinct(name, value)

    return check


MOST_EPOCHS, MOST_WIDTH, MOST_ROUNDS, MOST_ROWS = 1000, 65_536, 100_000, 1_000_000
SEEDS = Between(0, 2**31 - 1)
Epochs = Annotated[int, Between(1, MOST_EPOCHS)]
Rows = Annotated[int, Between(1, MOST_ROWS)]
Width = Annotated[int, Between(1, MOST_WIDTH)]
Rate = Annotated[float, Between(1e-9, 1000)]  # of learning
Beta = Annotated[float, Between(1e-6, 100)]  # where SmoothL1 turns from square to line
Share = Annotated[float, Between(0, 1)]
SampledShare = Annotated[float, Between(0.001, 1)]  # of none, nothing is learned
