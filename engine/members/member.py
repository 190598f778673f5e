"""The member of a blend: what a fitted one can do, and what a fit is given.

A member is fitted on some rows and predicts others; it does not know what for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from index.arrays import Float64

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape


class Member(Protocol):
    """A fitted member."""

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""

    def save(self, path: Path) -> None:
        """Write it without pickle."""


class LoadedMember(Member, Protocol):
    """A member that was read from an index."""

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless it was fitted on inputs of this shape."""


Fit = Callable[["Inputs", Float64, int, Mapping[str, Member], "Float64 | None"], Member]
"""(inputs, log price (n,), seed, members that were fitted before it on the same rows, age weights (n,)) -> a member."""


@dataclass(frozen=True)
class Range:
    """Range of values that `price tune` searches for a setting."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def around(self, *values: float) -> Range:
        """The same range, widened to hold some values."""
        return Range(min(self.low, *values), max(self.high, *values), self.log, self.whole)


@dataclass(frozen=True)
class FitContext:
    """Context of a fit: what it is given beside rows and settings."""

    name: str  # of the member, for what is said of it
    seed: int
    threads: int  # that trees may grow on
    fitted: Mapping[str, Member]  # on the same rows, before it
    shared: dict[str, Any]  # what fits of one member may keep for each other, and knows nothing of prices
    age_weight: Float64 | None = None  # (n,) what each row counts for; None: all the same


@dataclass(frozen=True)
class MemberSpec:
    """A member by name: how it is fitted and read back, what it needs, and what of it may be tuned."""

    fit: Callable[[Inputs, Float64, Any, FitContext], Member]  # inputs, log price (n,), its section of the settings
    load: Callable[
        [Path, Mapping[str, Member]], LoadedMember
    ]  # its file, and the members of the fold that come before it
    suffix: str = "safetensors"  # of its file
    package: str = ""  # that must be installed beside the engine, from the extra `trees`
    beside: bool = False  # is fitted in a thread of its own: lets go of the interpreter, shares no random numbers
    words_only: bool = False  # has nothing left to read where words are taken away
    tunable: Mapping[str, Range] | None = None  # settings of its section, by path
