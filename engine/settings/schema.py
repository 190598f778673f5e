"""Every knob of a build, as frozen dataclasses, and how a mapping changes some of them.

An unknown key is refused by name before anything runs. What is `None` here is chosen at build.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.settings.finetuning import FinetuneSettings
from index.errors import UsageError
from index.search.backends import AUTO, BACKENDS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOSSES = ("smooth_l1", "l1", "mse", "smape", "minmax_bce")  # see `engine.networks.losses`
BOUNDED = frozenset({"minmax_bce"})
"""Losses whose target lies between 0 and 1, and whose prediction is its logit (`engine.networks.price_range`)."""
SCHEDULES = ("one_cycle", "constant", "cosine_restarts")
FUSED_HEADS = ("gated", "fusion", "towers", "cross_attention", "mlp")  # of vectors; see `engine.networks`
HEADS = (*FUSED_HEADS, "words")
MOST_NEIGHBOURS = 10_000
MOST_ALPHA = 10.0
WIDEST_BAND = 100.0  # in log price; a settings file cannot say infinity
TEXT_VIEWS = ("name", "bullets", "text", "details")
CLEANING = ("emoji", "numbers")  # see `index.catalogue.cleaning`
TREES_READ = ("words", "vectors", "fused")  # see `engine.members.tree_features`
MEMBERS = ("mlp", "lexical", "kernel", "finetuned", "gbdt", "xgboost", "catboost")  # see `engine.members.registry`
SEARCH_VECTORS = (*TEXT_VIEWS, "words")

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
    schedule: str  # one_cycle, constant or cosine_restarts
    loss: str = "smooth_l1"  # see `engine.networks.losses`
    beta: float = 0.3  # where SmoothL1 turns from square to line, in standardised log price
    second_loss: str | None = None  # of a second phase, if there is one
    second_share: float = 0.3  # of the epochs, that the second phase takes
    cycle: int = 5  # epochs after which cosine_restarts starts anew

    def __post_init__(self) -> None:
        _check_positive(self, "epochs", "batch_size", "largest_batch", "learning_rate", "beta", "cycle")
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("loss", self.loss, LOSSES)
        _check_range(self, "weight_decay", 0, 100)
        _check_range(self, "second_share", 0, 1)
        if self.second_loss is not None:
            _check_choice("second_loss", self.second_loss, LOSSES)
            if (self.loss in BOUNDED) != (self.second_loss in BOUNDED):
                raise UsageError(
                    f"second_loss {self.second_loss} does not fit loss {self.loss}: {', '.join(BOUNDED)} learns a "
                    "place between 0 and 1, the others learn log price; take both of one kind."
                )


@dataclass(frozen=True)
class NetworkSettings:
    """A neural member of the blend."""

    head: (
        str  # of words: hashed words, unit and numbers; fusion and mlp: vectors; the others: vectors, unit and numbers
    )
    members: int  # networks of different seeds, averaged
    width: int
    dropout: float
    fit: Fit

    def __post_init__(self) -> None:
        _check_choice("head", self.head, HEADS)
        _check_positive(self, "members", "width")
        _check_range(self, "dropout", 0, 0.99)
        if self.head == "cross_attention" and self.width % 4:
            raise UsageError(f"width is {self.width}: cross_attention takes a multiple of 4, one part an attention.")


MLP = NetworkSettings("gated", members=1, width=256, dropout=0.2, fit=Fit(12, 256, 256, 2e-3, 0.05, "one_cycle"))
FINETUNED = FinetuneSettings()
LEXICAL = NetworkSettings("words", members=1, width=64, dropout=0.1, fit=Fit(4, 256, 1024, 3e-3, 0.01, "constant"))


@dataclass(frozen=True)
class Trees:
    """What every kind of trees is told. All have an L1 objective on log price, and read the unit and the numbers."""

    reads: tuple[str, ...] = ("words",)  # and words, vectors, fused: with vectors 2 points worse (docs/experiments.md)
    rounds: int = 300
    learning_rate: float = 0.07
    feature_fraction: float = 0.3  # of the columns, drawn for each tree
    row_fraction: float = 0.8  # of the rows, drawn for each tree
    least_rows_of_word: int = 20  # a rarer word is no column

    def __post_init__(self) -> None:
        for part in self.reads or ("",):
            _check_choice("reads", part, TREES_READ)
        _check_positive(self, "rounds", "learning_rate", "least_rows_of_word")
        _check_range(self, "feature_fraction", 0.001, 1)
        _check_range(self, "row_fraction", 0.001, 1)


@dataclass(frozen=True)
class Gbdt(Trees):
    """LightGBM (`engine.members.lightgbm`)."""

    leaves: int = 31
    least_rows_in_leaf: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(self, "leaves", 2, 10_000)
        _check_positive(self, "least_rows_in_leaf")


@dataclass(frozen=True)
class DeepTrees(Trees):
    """XGBoost (`engine.members.xgboost`) and CatBoost (`engine.members.catboost`), whose trees are told their depth."""

    depth: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(self, "depth", 1, 16)


@dataclass(frozen=True)
class Kernel:
    """Kernel ridge regression (`engine.members.kernel_ridge`): what likeness between two items adds up from."""

    name: float = 0.5  # weight of the cosine of the name's words
    text: float = 0.8  # of the whole text's words
    characters: float = 0.4  # of the name's runs of 3 to 5 characters
    phrases: float = 0.6  # of the text's runs of three words
    opening: float = 0.5  # of the name's first words, where the brand stands
    vectors: float = 1.2  # of the vectors, shared by all of them
    product: float = 3.0  # how much more likeness in words counts where the numbers are alike
    numbers: float = 2.5  # weight of likeness in numbers alone
    unit: float = 0.2  # share of the likeness in numbers that is lost where the units differ
    ridge: float = 1.0  # noise of a price, on the scale of the likeness
    landmarks: int = 8192  # rows that items are compared with; where there are more, so many at random

    def __post_init__(self) -> None:
        _check_positive(self, "product", "ridge", "landmarks")
        for weight in ("name", "text", "characters", "phrases", "opening", "vectors", "numbers"):
            _check_range(self, weight, 0, 1000)
        _check_range(self, "unit", 0, 1)


@dataclass(frozen=True)
class StackerSettings:
    """LightGBM on the members' predictions and near prices (`engine.ensemble.stacker`); none of 0 rounds."""

    rounds: int = 400
    leaves: int = 15
    learning_rate: float = 0.02
    feature_fraction: float = 0.4
    row_fraction: float = 0.7
    least_rows_in_leaf: int = 40
    k: int = 16  # neighbours whose prices it reads
    band: float = 2.0  # half-width in log price, around the blend

    def __post_init__(self) -> None:
        _check_positive(self, "learning_rate", "least_rows_in_leaf", "k")
        _check_range(self, "rounds", 0, 100_000)
        _check_range(self, "leaves", 2, 10_000)
        _check_range(self, "feature_fraction", 0.001, 1)
        _check_range(self, "row_fraction", 0.001, 1)
        _check_range(self, "band", 0.01, WIDEST_BAND)


@dataclass(frozen=True)
class CorrectionParameters:
    """The four parameters of the neighbours' residuals (`engine.ensemble.correction`), as they are used."""

    k: int  # neighbours
    band: float  # half-width in log price; inf for no limit
    decay: float  # lambda: how fast a neighbour's weight falls with its distance
    alpha: float  # share of the neighbours' mean residual that is added

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_NEIGHBOURS:
            raise UsageError(f"k is {self.k}: give a number of neighbours from 1 to {MOST_NEIGHBOURS:,}.")
        if not self.band > 0:
            raise UsageError(f"band is {self.band}: give a half-width in log price above 0, such as 0.35, or inf.")
        if not 0 < self.decay < math.inf:
            raise UsageError(f"lambda is {self.decay}: give a number above 0, such as 5.")
        if not 0 < self.alpha <= MOST_ALPHA:
            raise UsageError(
                f"alpha is {self.alpha}: give a number above 0 and at most {MOST_ALPHA:g}; 1 adds the whole residual."
            )


@dataclass(frozen=True)
class Correction:
    """The neighbours' residuals. A parameter that is None is chosen at build."""

    # Whose cosines are averaged: views of the first text encoder, and the words themselves (`engine.features.lsa`).
    search_vectors: tuple[str, ...] = ("name", "text", "words")
    k: int | None = None  # neighbours
    band: float | None = None  # half-width in log price
    decay: float | None = field(default=None, metadata={"key": "lambda"})  # weight = exp(-lambda * distance)
    alpha: float | None = None  # share of the neighbours' mean residual that is added

    def __post_init__(self) -> None:
        for part in self.search_vectors or ("",):
            _check_choice("search_vectors", part, SEARCH_VECTORS)
        k, band, decay, alpha = (1.0 if knob is None else knob for knob in (self.k, self.band, self.decay, self.alpha))
        CorrectionParameters(int(k), band, decay, alpha)  # which refuses what is out of range
        if band > WIDEST_BAND:
            raise UsageError(f"band is {band}: give at most {WIDEST_BAND:g}, which no two prices are apart.")


@dataclass(frozen=True)
class Blend:
    """Fixed weights of the members, which must add up to 1; fitted out of fold where all are None."""

    mlp: float | None = None
    lexical: float | None = None
    kernel: float | None = None
    finetuned: float | None = None
    gbdt: float | None = None
    xgboost: float | None = None
    catboost: float | None = None

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
    cleaning: tuple[str, ...] = ()  # of what encoders read: emoji are removed, numbers spelled out
    outliers: float = 0.0  # share of a fold's training rows, farthest from its median log price, that no member learns
    folds: int | None = None  # None: see `engine.folds.folds_for`
    seed: int = 0
    currency: str = "USD"
    coverage: float = 0.8  # of the interval
    search: str = AUTO  # what looks for neighbours: see `index.search.backends`
    members: tuple[str, ...] = ("mlp", "lexical", "kernel", "gbdt")  # that are blended; each has a section of its own
    mlp: NetworkSettings = MLP
    lexical: NetworkSettings = LEXICAL
    kernel: Kernel = Kernel()
    finetuned: FinetuneSettings = FINETUNED  # of the member finetuned, and of `price finetune`
    gbdt: Gbdt = Gbdt()
    xgboost: DeepTrees = DeepTrees()
    catboost: DeepTrees = DeepTrees()
    blend: Blend = Blend()
    stacker: StackerSettings = StackerSettings()
    correction: Correction = Correction()

    def __post_init__(self) -> None:
        if self.folds is not None:
            _check_range(self, "folds", 3, 20)
        _check_range(self, "seed", 0, 2**31 - 1)
        _check_range(self, "coverage", 0.01, 0.999)
        _check_choice("search", self.search, BACKENDS)
        if not self.text_encoder or "none" in self.text_encoder:
            raise UsageError("text_encoder must name an encoder such as minilm: prices are compared by what items say.")
        for view in self.text_views or ("",):
            _check_choice("text_views", view, TEXT_VIEWS)
        for part in self.cleaning:
            _check_choice("cleaning", part, CLEANING)
        _check_range(self, "outliers", 0, 0.5)
        self._check_members()
        views = [part for part in self.correction.search_vectors if part != "words"]
        if not set(views) <= set(self.text_views):
            raise UsageError(f"search_vectors {views} must be among text_views {list(self.text_views)}.")
        if not self.currency.strip() or len(self.currency) > 8 or not self.currency.isprintable():
            raise UsageError(f"currency is {self.currency!r}: give a short label such as USD.")

    def _check_members(self) -> None:
        for member in self.members or ("",):
            _check_choice("members", member, MEMBERS)
        if "mlp" not in self.members:
            raise UsageError(f"members {list(self.members)} must hold mlp: the others are measured against it.")
        idle = sorted(
            member for member, weight in self.blend.weights().items() if weight and member not in self.members
        )
        if idle:
            raise UsageError(f"[blend] gives a weight to {', '.join(idle)}, which members {list(self.members)} lacks.")
        trees = {"gbdt": self.gbdt, "xgboost": self.xgboost, "catboost": self.catboost}
        for member, reader in trees.items():
            if member in self.members and "fused" in reader.reads and self.mlp.head not in FUSED_HEADS:
                raise UsageError(
                    f"{member} reads fused, which the head {self.mlp.head} of mlp lacks: take another head."
                )


def settings_from(document: Mapping[str, Any]) -> Settings:
    """What a manifest keeps (`dataclasses.asdict`) -> Settings."""
    return _changed(Settings(), document, "the manifest", by_key=False)


def change_settings(settings: Settings, changes: Mapping[str, Any], source: str) -> Settings:
    """A copy with some keys changed, sections as nested mappings; UsageError names `source` and the key."""
    return _changed(settings, changes, source)


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
            raise UsageError(f"{source}: there is no setting {key!r}{where}{suggestion(key, known)}.")
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
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if typing.get_origin(kind) is tuple and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    wanted = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(kind, "a list of names")
    raise UsageError(f"{where} is {value!r}: give {wanted}.")


def suggestion(given: str, known: Mapping[str, Any]) -> str:
    """The end of a sentence that refuses `given`."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]!r}" if near else f"; choose from {', '.join(known)}"
