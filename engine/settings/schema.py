"""Settings of a build, as frozen dataclasses that refuse what is out of range.

What is `None` here is chosen at build. How a file or a command line changes some of them stands in
`engine.settings.read`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from engine.settings.finetuning import FinetuneSettings
from engine.settings.ranges import (
    MOST_ROUNDS,
    SEEDS,
    Beta,
    Between,
    Checked,
    Epochs,
    Rate,
    Rows,
    SampledShare,
    Share,
    Width,
    distinct,
    iso_date,
    one_of,
)
from engine.settings.rules import NO_RULES, Rules
from index.catalogue.cleaning import CLEANING
from index.catalogue.settings import FOUND, ReadSettings
from index.embedding.columns import TEXT_VIEWS, Views
from index.errors import UsageError
from index.search import AUTO, BACKENDS

LOSSES = ("smooth_l1", "l1", "mse", "smape", "minmax_bce")  # see `engine.networks.losses`
BOUNDED = frozenset({"minmax_bce"})
"""Losses whose target lies between 0 and 1, and whose prediction is its logit (`engine.networks.scaling`)."""
SCHEDULES = ("one_cycle", "constant", "cosine_restarts")
FUSED_HEADS = ("gated", "fusion", "towers", "cross_attention", "mlp")  # of vectors; see `engine.networks`
HEADS = (*FUSED_HEADS, "words")
DEFAULT_CURRENCY = "USD"
MOST_NEIGHBOURS = 10_000
MOST_ALPHA = 10.0
WIDEST_BAND = 100.0  # in log price, which no two prices are apart; a settings file cannot say infinity
MOST_DECAY = 1_000_000.0
TREES_READ = ("words", "vectors", "fused")  # see `engine.members.tree_features`
MEMBERS = ("mlp", "lexical", "kernel", "finetuned", "gbdt", "xgboost", "catboost")  # see `engine.members.registry`
SEARCH_VECTORS = (*TEXT_VIEWS, "words")

AUTO_HALF_LIFE = "auto"
LONGEST_HALF_LIFE = 36_500  # days

Leaves = Annotated[int, Between(2, 10_000)]
Weight = Annotated[float, Between(0, 1000)]


@dataclass(frozen=True)
class Fit(Checked):
    """The training loop."""

    epochs: Epochs
    batch_size: Rows  # of the first epoch; doubled after each up to `largest_batch`
    largest_batch: Rows
    learning_rate: Rate
    weight_decay: Annotated[float, Between(0, 100)]
    schedule: Annotated[str, one_of(*SCHEDULES)]  # one_cycle, constant or cosine_restarts
    loss: Annotated[str, one_of(*LOSSES)] = "smooth_l1"  # see `engine.networks.losses`
    beta: Beta = 0.3  # where SmoothL1 turns from square to line, in standardised log price
    second_loss: Annotated[str | None, one_of(*LOSSES)] = None  # of a second phase, if there is one
    second_share: Share = 0.3  # of the epochs, that the second phase takes
    cycle: Epochs = 5  # epochs after which cosine_restarts starts anew
    # Times as many epochs where there are further columns, which say more
    further_factor: Annotated[float, Between(0.01, 100)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.second_loss is not None and (self.loss in BOUNDED) != (self.second_loss in BOUNDED):
            raise UsageError(
                f"second_loss {self.second_loss} does not fit loss {self.loss}: {', '.join(BOUNDED)} learns a "
                "place between 0 and 1, the others learn log price; take both of one kind."
            )


@dataclass(frozen=True)
class NetworkSettings(Checked):
    """A neural member of the blend.

    Its head reads: words, hashed words, unit and numbers; fusion and mlp, vectors; the others, vectors, unit and
    numbers.
    """

    head: Annotated[str, one_of(*HEADS)]
    members: Annotated[int, Between(1, 100)]  # networks of different seeds, averaged
    width: Width
    dropout: Annotated[float, Between(0, 0.99)]
    fit: Fit

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head == "cross_attention" and self.width % 4:
            raise UsageError(f"width is {self.width}: cross_attention takes a multiple of 4, one part an attention.")


MLP = NetworkSettings(
    "gated", members=1, width=128, dropout=0.2, fit=Fit(6, 256, 256, 6e-3, 0.05, "one_cycle", further_factor=2.0)
)
FINETUNED = FinetuneSettings()
LEXICAL = NetworkSettings(
    "words", members=1, width=64, dropout=0.1, fit=Fit(4, 256, 1024, 3e-3, 0.01, "constant", further_factor=3.0)
)


@dataclass(frozen=True)
class Trees(Checked):
    """Settings of every kind of trees. All have an L1 objective on log price, and read the unit and the numbers."""

    # Words, vectors, fused: with vectors 2 points worse (docs/experiments.md)
    reads: Annotated[tuple[str, ...], one_of(*TREES_READ)] = ("words",)
    rounds: Annotated[int, Between(1, MOST_ROUNDS)] = 300
    learning_rate: Rate = 0.07
    feature_fraction: SampledShare = 0.3  # of the columns, drawn for each tree
    row_fraction: SampledShare = 0.8  # of the rows, drawn for each tree
    least_rows_of_word: Rows = 20  # a rarer word is no column
    most_words: Rows = 2048  # that are columns, the most frequent: the time of a fit goes with them


@dataclass(frozen=True)
class Gbdt(Trees):
    """LightGBM (`engine.members.lightgbm`)."""

    rounds: Annotated[int, Between(1, MOST_ROUNDS)] = 150
    learning_rate: Rate = 0.1
    leaves: Leaves = 31
    least_rows_in_leaf: Rows = 20


@dataclass(frozen=True)
class DeepTrees(Trees):
    """XGBoost (`engine.members.xgboost`) and CatBoost (`engine.members.catboost`), whose trees have a set depth."""

    depth: Annotated[int, Between(1, 16)] = 6


@dataclass(frozen=True)
class Kernel(Checked):
    """Kernel ridge regression (`engine.members.kernel`): weights of the kernel's parts."""

    name: Weight = 0.5  # weight of the cosine of the name's words
    text: Weight = 0.8  # of the whole text's words
    characters: Weight = 0.4  # of the name's runs of 3 to 5 characters
    phrases: Weight = 0.6  # of the text's runs of three words
    opening: Weight = 0.5  # of the name's first words, where the brand stands
    further: Weight = 0.8  # of the words of further columns: categories and numbers
    vectors: Weight = 1.2  # of the vectors, shared by all of them
    # How much more the text kernel counts where the numbers are similar
    product: Annotated[float, Between(1e-6, 1000)] = 3.0
    numbers: Weight = 2.5  # weight of the numbers' kernel alone
    unit: Share = 0.2  # share of the numbers' kernel that is lost where the units differ
    ridge: Annotated[float, Between(1e-6, 1_000_000)] = 1.0  # noise of a price, on the scale of the kernel
    # Rows that items are compared with; where there are more, so many at random
    landmarks: Annotated[int, Between(1, 100_000)] = 8192


@dataclass(frozen=True)
class StackerSettings(Checked):
    """LightGBM on the members' predictions and near prices (`engine.ensemble.stacker`); none of 0 rounds."""

    rounds: Annotated[int, Between(0, MOST_ROUNDS)] = 200
    leaves: Leaves = 15
    learning_rate: Rate = 0.06
    feature_fraction: SampledShare = 0.4
    row_fraction: SampledShare = 0.7
    least_rows_in_leaf: Rows = 40
    k: Annotated[int, Between(1, MOST_NEIGHBOURS)] = 64  # neighbours whose prices it reads
    band: Annotated[float, Between(0.01, WIDEST_BAND)] = 2.0  # half-width in log price, around the blend


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


def with_overrides(correction: CorrectionParameters, **given: float | None) -> CorrectionParameters:
    """The index's parameters with those that are given in their place; UsageError for one out of range."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(correction, **changes)


def require_overrides(**given: float | None) -> None:
    """Raise UsageError for a parameter out of range, before there is an index whose own it would replace."""
    with_overrides(CorrectionParameters(k=1, band=1.0, decay=1.0, alpha=1.0), **given)


@dataclass(frozen=True)
class Correction(Checked):
    """The neighbours' residuals. A parameter that is None is chosen at build."""

    # Whose cosines are averaged: views of the first text encoder, and the words themselves (`engine.features.lsa`).
    search_vectors: Annotated[tuple[str, ...], one_of(*SEARCH_VECTORS)] = ("name", "text", "words")
    k: Annotated[int | None, Between(1, MOST_NEIGHBOURS)] = None  # neighbours
    band: Annotated[float | None, Between(1e-9, WIDEST_BAND)] = None  # half-width in log price
    # weight = exp(-lambda * distance)
    decay: Annotated[float | None, Between(1e-9, MOST_DECAY)] = field(default=None, metadata={"key": "lambda"})
    # Share of the neighbours' mean residual that is added
    alpha: Annotated[float | None, Between(1e-9, MOST_ALPHA)] = None


@dataclass(frozen=True)
class Blend(Checked):
    """Fixed weights of the members, which must add up to 1; fitted out of fold where all are None."""

    mlp: Annotated[float | None, Between(0, 1)] = None
    lexical: Annotated[float | None, Between(0, 1)] = None
    kernel: Annotated[float | None, Between(0, 1)] = None
    finetuned: Annotated[float | None, Between(0, 1)] = None
    gbdt: Annotated[float | None, Between(0, 1)] = None
    xgboost: Annotated[float | None, Between(0, 1)] = None
    catboost: Annotated[float | None, Between(0, 1)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.weights()
        if given and not math.isclose(sum(given.values()), 1, abs_tol=1e-6):
            raise UsageError(f"the weights {given} must add up to 1 (one left out counts as 0).")

    def weights(self) -> dict[str, float]:
        """Weights by member; empty where they are to be fitted."""
        given = {member.name: getattr(self, member.name) for member in fields(self)}
        fixed = any(weight is not None for weight in given.values())
        return {name: float(weight or 0) for name, weight in given.items()} if fixed else {}


@dataclass(frozen=True)
class Settings(Checked):
    """A whole build."""

    catalogue: ReadSettings = FOUND  # how the catalogue's file is read
    text_encoder: Annotated[tuple[str, ...], distinct] = ("minilm",)
    image_encoder: Annotated[tuple[str, ...], distinct] = ("pixels",)
    # Parts of an item that each text encoder encodes separately.
    text_views: Annotated[tuple[str, ...], one_of(*TEXT_VIEWS)] = ("name", "text")
    # Of what encoders read: emoji are removed, numbers spelled out.
    cleaning: Annotated[tuple[str, ...], one_of(*CLEANING, least=0)] = ()
    # Whether numbers tell names apart, as in bolts of other sizes: such items are then no near-duplicates. None: where
    # without them too few groups would be left.
    whole_names: bool | None = None
    most_rejects: Share = 0.5  # share of the catalogue's rows that may be rejected before the build is refused
    # Share of a fold's training rows, farthest from its median log price, that no member learns.
    outliers: Annotated[float, Between(0, 0.5)] = 0.0
    folds: Annotated[int | None, Between(3, 20)] = None  # None: see `engine.folds.folds_for`
    seed: Annotated[int, SEEDS] = 0
    currency: str | None = None  # None: the one that the catalogue states, else USD
    # Days after which a price counts half; auto: chosen out of fold; None: all count the same.
    half_life: Annotated[float | str | None, Between(1, LONGEST_HALF_LIFE, AUTO_HALF_LIFE)] = None
    as_of: Annotated[str | None, iso_date] = None  # later prices are passed over; None: the newest, where age counts
    coverage: Annotated[float, Between(0.01, 0.999)] = 0.8  # of the interval
    search: Annotated[str, one_of(*BACKENDS)] = AUTO  # what looks for neighbours: see `index.search.backends`
    # That are blended; each has a section of its own.
    members: Annotated[tuple[str, ...], one_of(*MEMBERS)] = ("mlp", "lexical", "kernel", "gbdt")
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
    rules: Rules = NO_RULES  # that bound the prices to set; no part of the models

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text_encoder or "none" in self.text_encoder:
            raise UsageError("text_encoder must name an encoder such as minilm: prices are compared by what items say.")
        self._check_members()
        views = [part for part in self.correction.search_vectors if part != "words"]
        if not set(views) <= set(self.text_views):
            raise UsageError(f"search_vectors {views} must be among text_views {list(self.text_views)}.")
        currency = DEFAULT_CURRENCY if self.currency is None else self.currency
        if not currency.strip() or len(currency) > 8 or not currency.isprintable():
            raise UsageError(f"currency is {currency!r}: give a short label such as USD.")

    @property
    def views(self) -> Views:
        """Views: the texts and photographs, and the encoders that they go through."""
        return Views(
            text_encoders=self.text_encoder,
            image_encoders=self.image_encoder,
            text_views=self.text_views,
            cleaning=self.cleaning,
        )

    def _check_members(self) -> None:
        idle = sorted(
            member for member, weight in self.blend.weights().items() if weight and member not in self.members
        )
        if idle:
            raise UsageError(f"[blend] gives a weight to {', '.join(idle)}, which members {list(self.members)} lacks.")
        trees = {"gbdt": self.gbdt, "xgboost": self.xgboost, "catboost": self.catboost}
        for member in [name for name, reader in trees.items() if name in self.members and "fused" in reader.reads]:
            if "mlp" not in self.members:
                raise UsageError(f"{member} reads fused, the last hidden layer of mlp: add mlp to members.")
            if self.mlp.head not in FUSED_HEADS:
                raise UsageError(
                    f"{member} reads fused, which the head {self.mlp.head} of mlp lacks: take another head."
                )
