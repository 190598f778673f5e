"""Ranges of numbers as annotations of a dataclass's fields, and the check of them when one is made."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated

from index.errors import UsageError


@dataclass(frozen=True)
class Above:
    """Numbers above a limit."""

    limit: float

    def check(self, name: str, value: float) -> None:
        """Raise UsageError for a `value` that is not; also for NaN."""
        if not value > self.limit:
            raise UsageError(f"{name} is {value}: give a number above {self.limit:g}.")


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    def check(self, name: str, value: float) -> None:
        """Raise UsageError for a `value` outside; also for NaN."""
        if not self.low <= value <= self.high:
            raise UsageError(f"{name} is {value}: give a number from {self.low:,} to {self.high:,}.")


PositiveInt = Annotated[int, Above(0)]
PositiveFloat = Annotated[float, Above(0)]
Share = Annotated[float, Between(0, 1)]
SampledShare = Annotated[float, Between(0.001, 1)]  # of none, nothing is learned


class Checked:
    """Base of dataclasses whose fields are annotated with ranges; what is None is in every range."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for allowed in getattr(hint, "__metadata__", ()):
                if value is not None:
                    allowed.check(name, value)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError for a `value` that is none of the choices."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}: choose from {', '.join(choices)}.")
