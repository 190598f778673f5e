"""The member of a blend: what a fitted one can do, and what a fit is given.

A model of a member is fitted on some rows and predicts others; it does not know what for. A blend needs a model of it
for every fold: `FoldModels`. Most members make them one by one (`Fit`), one makes them all at once (`CrossFit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from index.arrays import Float64
from index.progress import OnProgress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs, InputShape
    from engine.features.training_set import TrainingSet
    from engine.settings.schema import Settings

Out = tuple[int, ...]
"""Folds that a model has not seen: one, or two."""


class Predicts(Protocol):
    """The part of a model that a mean needs."""

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""


class Member(Predicts, Protocol):
    """One fitted model."""

    def save(self, path: Path) -> None:
        """Write it without pickle."""


class Loaded(Protocol):
    """Contents of a model file of an index: one model, or those of all folds."""

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless it was fitted on inputs of this shape."""


class FoldModels(Protocol):
    """The models of one member, one for each fold, which has not seen that fold."""

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,): the mean of all models'."""

    def predict_unseen(self, inputs: Inputs, fold: NDArray[np.integer]) -> Float64:
        """Log price (n,), each by the model of its own `fold` (n,) alone."""

    def save(self, paths: Sequence[Path]) -> None:
        """Write them without pickle: one for each path, or all of them together for the only one."""


Fit = Callable[["Inputs", Float64, int, Mapping[str, Member], "Float64 | None"], Member]
"""(inputs, log price (n,), seed, members that were fitted before it on the same rows, age weights (n,)) -> a model."""


CrossFitted = tuple[FoldModels, dict[Out, Float64]]
"""The models without one fold each, and for all outs what a model without them predicts of their rows."""


@dataclass(frozen=True)
class CrossFit:
    """A fit of all models of a member at once."""

    fit: Callable[[TrainingSet, Sequence[Out], int, OnProgress], CrossFitted]  # training, outs, seed, on progress
    parts: float  # how many times as long it takes as a fit for one pair of folds


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
    whole: Inputs | None = None  # of all rows, those of the folds that are left out too; None: of those fitted on


@dataclass(frozen=True)
class MemberSpec:
    """A member by name: how it is fitted and read back, what it needs, and what of it may be tuned."""

    fit: Callable[[Inputs, Float64, Any, FitContext], Member] | None
    """Inputs, log price (n,), its section of the settings; None where all folds are fitted together."""
    load: Callable[[Path, Mapping[str, Member]], Loaded]  # its file, and the fold's members that come before it
    cross_fit: Callable[[TrainingSet, Sequence[Out], Settings, int, OnProgress], CrossFitted] | None = None
    suffix: str = "safetensors"  # of its file
    together: Callable[[Sequence[Any]], Predicts] | None = None  # models of all folds -> their mean, the quicker way
    package: str = ""  # that must be installed beside the engine, from the extra `trees`
    beside: bool = False  # is fitted in a thread of its own: lets go of the interpreter, shares no random numbers
    words_only: bool = False  # has nothing left to read where words are taken away
    tunable: Mapping[str, Range] | None = None  # settings of its section, by path
