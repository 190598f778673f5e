"""Every knob of a build, as frozen dataclasses; read from `price.toml`; presets are data.

An unknown key is refused by name before anything runs. What is `None` here is fitted out of fold at build.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.correction import Knobs
from engine.losses import LOSSES
from index.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEDULES = ("one_cycle", "constant")
HEADS = ("gated", "words")
WIDEST_BAND = 100.0  # in log price; a settings file cannot say infinity
TEXT_VIEWS = ("name", "bullets", "text")
GBDT_READS = ("words", "vectors")

Changed = typing.TypeVar("Changed", bound="DataclassInstance")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {value!r}: choose from {', '.join(choices)}.")


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise UsageError(f"{name} is {getattr(settings, name)}: give a number above 0.")


def _check_range(settings: Any, name: str, low: float, high: float) -> None:
    value = getattr(settings, name)
    if not low <= value <= high:
        raise UsageError(f"{name} is {value}: give a number from {low:,} to {high:,}.")


@dataclass(frozen=True)
class Fit:
    """The training loop."""

    epochs: int
    batch_size: int  # of the first epoch; doubled after each up to `largest_batch`
    largest_batch: int
    learning_rate: float
    weight_decay: float
    schedule: str  # one_cycle or constant
    loss: str = "smooth_l1"
    beta: float = 0.3  # where SmoothL1 turns from square to line, in standardised log price

    def __post_init__(self) -> None:
        _check_positive(self, "epochs", "batch_size", "largest_batch", "learning_rate", "beta")
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("loss", self.loss, LOSSES)
        _check_range(self, "weight_decay", 0, 100)


@dataclass(frozen=True)
class Network:
    """A neural member of the blend."""

    head: str  # gated: vectors, unit and numbers; words: hashed words, unit and numbers
    members: int  # networks of different seeds, averaged
    width: int
    dropout: float
    fit: Fit

    def __post_init__(self) -> None:
        _check_choice("head", self.head, HEADS)
        _check_positive(self, "members", "width")
        _check_range(self, "dropout", 0, 0.99)


MLP = Network("gated", members=3, width=256, dropout=0.2, fit=Fit(12, 256, 256, 2e-3, 0.05, "one_cycle"))
LEXICAL = Network("words", members=4, width=64, dropout=0.1, fit=Fit(4, 256, 1024, 3e-3, 0.01, "constant"))


@dataclass(frozen=True)
class Gbdt:
    """LightGBM with an L1 objective on log price, over the unit, the numbers, and what `reads` names."""

    reads: tuple[str, ...] = (
        "words",
    )  # words, vectors or both: with vectors it is 2 points worse (docs/experiments.md)
    rounds: int = 300
    leaves: int = 31
    learning_rate: float = 0.07
    feature_fraction: float = 0.3
    row_fraction: float = 0.8
    least_rows_in_leaf: int = 20
    least_rows_of_word: int = 20  # a rarer word is no column

    def __post_init__(self) -> None:
        for part in self.reads or ("",):
            _check_choice("reads", part, GBDT_READS)
        _check_positive(self, "rounds", "learning_rate", "least_rows_in_leaf", "least_rows_of_word")
        _check_range(self, "leaves", 2, 10_000)
        _check_range(self, "feature_fraction", 0.001, 1)
        _check_range(self, "row_fraction", 0.001, 1)


@dataclass(frozen=True)
class Correction:
    """The neighbours' residuals. A knob that is None is chosen out of fold at build (see `engine.correction.Knobs`)."""

    space: tuple[str, ...] = ("name", "text")  # views of the first text encoder whose cosines are averaged
    k: int | None = None  # neighbours
    band: float | None = None  # half-width in log price
    decay: float | None = field(default=None, metadata={"key": "lambda"})  # weight = exp(-lambda * distance)
    alpha: float | None = None  # share of the neighbours' mean residual that is added

    def __post_init__(self) -> None:
        for view in self.space or ("",):
            _check_choice("space", view, TEXT_VIEWS)
        k, band, decay, alpha = (1.0 if knob is None else knob for knob in (self.k, self.band, self.decay, self.alpha))
        Knobs(int(k), band, decay, alpha)  # which refuses what is out of range
        if band > WIDEST_BAND:
            raise UsageError(f"band is {band}: give at most {WIDEST_BAND:g}, which no two prices are apart.")


@dataclass(frozen=True)
class Blend:
    """Fixed weights of the members, which must add up to 1; fitted out of fold where all are None."""

    mlp: float | None = None
    gbdt: float | None = None
    lexical: float | None = None

    def __post_init__(self) -> None:
        given = self.weights()
        if given and (min(given.values()) < 0 or not math.isclose(sum(given.values()), 1, abs_tol=1e-6)):
            raise UsageError(f"the weights {given} must be 0 or more and add up to 1 (one left out counts as 0).")

    def weights(self) -> dict[str, float]:
        """By member; empty where they are to be fitted."""
        each = {member.name: getattr(self, member.name) for member in fields(self)}
        return {} if all(v is None for v in each.values()) else {name: float(v or 0) for name, v in each.items()}


@dataclass(frozen=True)
class Settings:
    """A whole build."""

    text_encoder: tuple[str, ...] = ("minilm",)
    image_encoder: tuple[str, ...] = ("pixels",)
    text_views: tuple[str, ...] = ("name", "text")  # what of an item each text encoder encodes apart
    folds: int = 5
    seed: int = 0
    currency: str = "USD"
    coverage: float = 0.8  # of the interval
    mlp: Network = MLP
    lexical: Network = LEXICAL
    gbdt: Gbdt = Gbdt()
    correction: Correction = Correction()
    blend: Blend = Blend()

    def __post_init__(self) -> None:
        _check_range(self, "folds", 3, 20)
        _check_range(self, "seed", 0, 2**31 - 1)
        _check_range(self, "coverage", 0.01, 0.999)
        if not self.text_encoder or "none" in self.text_encoder:
            raise UsageError("text_encoder must name an encoder such as minilm: prices are compared by what items say.")
        for view in self.text_views or ("",):
            _check_choice("text_views", view, TEXT_VIEWS)
        if not set(self.correction.space) <= set(self.text_views):
            raise UsageError(f"space {list(self.correction.space)} must be among text_views {list(self.text_views)}.")
        if not self.currency.strip() or len(self.currency) > 8 or not self.currency.isprintable():
            raise UsageError(f"currency is {self.currency!r}: give a short label such as USD.")


PRESETS: dict[str, Settings] = {"default": Settings()}


def read_settings(config: Path | None = None, preset: str = "default", **overrides: Any) -> Settings:
    """The preset, changed by the file `config` (TOML), changed by `overrides` that are not None.

    Raises UsageError for an unknown preset or key, a value of another type or out of range, or a file that is no TOML.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset!r}{_suggestion(preset, PRESETS)}.")
    settings = PRESETS[preset]
    if config is not None:
        settings = _changed(settings, _read_toml(config), str(config))
    given = {name: value for name, value in overrides.items() if value is not None}
    return _changed(settings, given, "the command line")


def settings_from(document: Mapping[str, Any]) -> Settings:
    """What a manifest keeps (`dataclasses.asdict`) -> Settings."""
    return _changed(Settings(), document, "the manifest", by_key=False)


def change_settings(settings: Settings, changes: Mapping[str, Any], source: str) -> Settings:
    """A copy with some keys changed, sections as nested mappings; UsageError names `source` and the key."""
    return _changed(settings, changes, source)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no settings file {path}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not a settings file in TOML: {error}.") from error


def _changed(
    settings: Changed, given: Mapping[str, Any], source: str, section: str = "", *, by_key: bool = True
) -> Changed:
    """A copy of a settings dataclass with the given keys; tables go down into the dataclasses below it."""
    kinds = typing.get_type_hints(type(settings))
    known = {(each.metadata.get("key", each.name) if by_key else each.name): each.name for each in fields(settings)}
    changes = {}
    for key, value in given.items():
        if key not in known:
            where = f" in [{section}]" if section else ""
            raise UsageError(f"{source}: there is no setting {key!r}{where}{_suggestion(key, known)}.")
        old, path = getattr(settings, known[key]), f"{section}.{key}".lstrip(".")
        if is_dataclass(old) and not isinstance(old, type):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: {path} is a section; write [{path}] and its settings below it.")
            changes[known[key]] = _changed(old, value, source, path, by_key=by_key)
        else:
            changes[known[key]] = _typed(value, kinds[known[key]], f"{source}: {path}")
    try:
        return replace(settings, **changes)
    except UsageError as error:
        raise UsageError(f"{source}{f' [{section}]' if section else ''}: {error}") from None


def _typed(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind` (int, float, str, a tuple of str, or one of these or None)."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if typing.get_origin(kind) is tuple and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    wanted = {int: "a whole number", float: "a number", str: "text"}.get(kind, "a list of names")
    raise UsageError(f"{where} is {value!r}: give {wanted}.")


def _suggestion(given: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]!r}" if near else f"; choose from {', '.join(known)}"
