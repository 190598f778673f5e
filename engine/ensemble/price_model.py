"""The trained whole. `estimate` is the only place that chains members, blend, stack, correction and interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.blend import blend
from engine.ensemble.correction import shift, weights
from engine.ensemble.interval import Interval
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.stacker import Goods, Stacker, features
from engine.members.registry import Model, file_of, load_member
from engine.settings.schema import CorrectionParameters
from index.search.neighbours import BandIndex, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.cross_fit import Fitted
    from engine.features.inputs import Inputs
    from engine.settings.schema import StackerSettings

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

FOLDER, SETTINGS = "models", "price_model.json"
LOADERS = 2  # threads; most of a load lets go of the interpreter


@dataclass(frozen=True)
class Base:
    """n items before the correction, in log price."""

    members: dict[str, Float64]  # member -> (n,)
    blended: Float64  # (n,)
    stacked: Float64 | None  # (n,); None where there is no stack

    @property
    def last(self) -> Float64:
        """(n,) what is to be corrected."""
        return self.blended if self.stacked is None else self.stacked


@dataclass(frozen=True)
class Estimate:
    """n items, in log price."""

    base: Base  # its members each the mean of their folds' models
    shift: Float64  # (n,) the correction; 0 where nobody is in the band
    answer: Float64  # (n,) the base's last + shift
    low: Float64  # (n,)
    high: Float64
    near: Neighbours  # rows of the catalogue
    weight: Float64  # (n, k) the neighbours' shares of the shift


@dataclass(frozen=True)
class Models:
    """One of each per fold."""

    members: Mapping[str, Sequence[Model]]
    stacks: Sequence[Stacker] = ()

    @property
    def folds(self) -> int:
        """How many."""
        return len(next(iter(self.members.values())))


@dataclass(frozen=True)
class Bank:
    """m rows that may be neighbours, by their numbers in the catalogue."""

    index: BandIndex  # its groups are the folds of `engine.ensemble.out_of_fold`
    goods: Goods
    residual: Float64  # (m,) log price less what models that never saw the row expected


class PriceModel:
    """Models, and the residuals of the catalogue's rows: what a price is made of."""

    def __init__(self, models: Models, fitted: Fitted, bank: Bank, stack: StackerSettings) -> None:
        """`stack` says where the stack's evidence is looked for."""
        self.models = models
        self.fitted = fitted
        self.bank = bank
        self._stack = stack

    def estimate(self, inputs: Inputs, space: Float32, knobs: CorrectionParameters | None = None) -> Estimate:
        """Price n items; `space` (n, dim) as the catalogue's. `knobs` in the place of the fitted ones."""
        knobs = knobs or self.fitted.knobs
        base = self._base(inputs, space, self.models)
        near = self.bank.index.search(space, base.last, k=knobs.k, band=knobs.band)
        moved = shift(near, self.bank.residual, knobs)
        answer = base.last + moved
        low, high = self.fitted.interval.bounds(answer)
        return Estimate(base, moved, answer, low, high, near, weights(near, knobs.decay))

    def unseen(self, inputs: Inputs, space: Float32, fold: NDArray[np.integer]) -> Base:
        """n catalogue rows by the models of their `fold` (n,) alone, which saw no row of that fold.

        What a row's stored residual is taken from: before the correction, and with no evidence from its own fold.
        """
        members = {name: np.empty(len(inputs)) for name in self.models.members}
        expected = Base(members, np.empty(len(inputs)), np.empty(len(inputs)) if self.models.stacks else None)
        for f in np.unique(fold):
            here = np.flatnonzero(fold == f)
            one = Models({name: [each[f]] for name, each in self.models.members.items()}, self.models.stacks[f : f + 1])
            base = self._base(inputs.take(here), space[here], one, np.full(len(here), f))
            for name, values in base.members.items():
                members[name][here] = values
            expected.blended[here] = base.blended
            if expected.stacked is not None:
                expected.stacked[here] = base.stacked
        return expected

    def _base(
        self, inputs: Inputs, space: Float32, models: Models, exclude_fold: NDArray[np.integer] | None = None
    ) -> Base:
        members = {
            name: np.mean([model.predict(inputs) for model in each], axis=0) for name, each in models.members.items()
        }
        blended = blend(members, self.fitted.weights)
        if not models.stacks:
            return Base(members, blended, None)
        near = self.bank.index.search(
            space, blended, k=self._stack.k, band=self._stack.band, exclude_group=exclude_fold
        )
        table = features(members, blended, inputs, near, self.bank.goods)
        stacked = np.mean([stack.predict(table, blended) for stack in models.stacks], axis=0)
        return Base(members, blended, stacked)

    def neighbours_alone(self, space: Float32, knobs: CorrectionParameters) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model: a stage to compare with."""
        log_price = self.bank.goods.log_price
        near = self.bank.index.search(space, np.zeros(len(space)), k=knobs.k, band=np.inf)
        mean = (weights(near, knobs.decay) * log_price[near.rows]).sum(axis=1)
        return np.where(near.found[:, 0], mean, np.median(log_price))


def save_models(folder: Path, models: Models, fitted: Fitted) -> None:
    """Everything but the rows, below `folder`/models."""
    models_folder = folder / FOLDER
    models_folder.mkdir()
    everything: dict[str, Sequence[Model | Stacker]] = {**models.members, STACKER: models.stacks}
    for name, each in everything.items():
        for fold, model in enumerate(each):
            model.save(models_folder / file_of(name, fold))
    document = {
        "members": list(models.members),
        "stacked": bool(models.stacks),
        "folds": models.folds,
        "weights": fitted.weights,
        "knobs": asdict(fitted.knobs),
        "mlp_knobs": asdict(fitted.mlp_knobs),
        "interval": asdict(fitted.interval),
    }
    (models_folder / SETTINGS).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load_models(folder: Path) -> tuple[Models, Fitted]:
    """What `save_models` wrote; the manifest has checked the files before."""
    from engine.ensemble.cross_fit import Fitted

    models_folder = folder / FOLDER
    document = json.loads((models_folder / SETTINGS).read_text(encoding="utf-8"))
    folds = range(document["folds"])
    members: dict[str, list[Model]] = {}
    with ThreadPoolExecutor(LOADERS) as pool:
        for member in document["members"]:
            before = [{name: each[fold] for name, each in members.items()} for fold in folds]
            paths = [models_folder / file_of(member, fold) for fold in folds]
            members[member] = list(pool.map(partial(load_member, member), paths, before))
    stacks = [Stacker.load(models_folder / file_of(STACKER, fold)) for fold in folds] if document["stacked"] else []
    interval = Interval(**{name: tuple(value) for name, value in document["interval"].items()})
    knobs, mlp_knobs = CorrectionParameters(**document["knobs"]), CorrectionParameters(**document["mlp_knobs"])
    return Models(members, stacks), Fitted(document["weights"], knobs, mlp_knobs, interval)
