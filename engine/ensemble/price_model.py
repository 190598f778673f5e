"""The trained whole: `estimate` is the only place that chains members, blend, stacker, correction and interval."""

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
from engine.ensemble.cross_fit import QueryParameters
from engine.ensemble.expected_price import MEDIAN, Evidence, ExpectedPrice
from engine.ensemble.interval import Interval
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.stacker import Stacker, features
from engine.members.registry import MEMBERS, load_member
from engine.settings.schema import CorrectionParameters
from index.arrays import Float32, Float64
from index.search.neighbours import Neighbours
from index.storage.layout import PRICE_MODEL, model_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.reference import ReferenceSet
    from engine.features.inputs import Inputs
    from engine.members.member import Member
    from engine.settings.schema import StackerSettings

EXPECTED = "expected"  # the model of expected prices, of which there is one for all folds
LOADERS = 2  # threads; most of a load lets go of the interpreter


@dataclass(frozen=True)
class Base:
    """n items before the correction, in log price."""

    members: dict[str, Float64]  # member -> (n,)
    blended: Float64  # (n,)
    stacked: Float64 | None  # (n,); None where there is no stacker

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
    priced: Float64  # (n,) what is answered: the answer, a median, or the expected price that goes with it
    low: Float64  # (n,)
    high: Float64
    near: Neighbours  # rows of the catalogue
    weight: Float64  # (n, k) the neighbours' shares of the shift


@dataclass(frozen=True)
class Models:
    """The models of every fold: of each member, and of the stacker where there is one."""

    members: Mapping[str, Sequence[Member]]
    stackers: Sequence[Stacker] = ()

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(next(iter(self.members.values())))


class PriceModel:
    """Models, and the residuals of the catalogue's rows: what a price is made of."""

    def __init__(
        self, models: Models, parameters: QueryParameters, reference: ReferenceSet, stacker: StackerSettings
    ) -> None:
        """Hold what was trained; `stacker` says where the stacker's evidence is searched for."""
        self.models = models
        self.parameters = parameters
        self.reference = reference
        self._stacker = stacker

    def estimate(
        self,
        inputs: Inputs,
        search_vectors: Float32,
        correction: CorrectionParameters | None = None,
        *,
        answer: str = MEDIAN,
    ) -> Estimate:
        """Price n items; `search_vectors` (n, dim) as the catalogue's. `correction` in the place of the fitted one.

        `answer`: what is answered, MEDIAN or MEAN.
        """
        correction = correction or self.parameters.correction
        base = self._base(inputs, search_vectors, self.models)
        near = self.reference.index.search(search_vectors, base.last, k=correction.k, band=correction.band)
        moved = shift(near, self.reference.residual, correction)
        median = base.last + moved
        priced = median
        if answer != MEDIAN:
            alone, nearest = self.neighbours_alone(search_vectors, correction), near.similarity[:, 0].astype(np.float64)
            evidence = Evidence(base.members, base.blended, base.last, median, alone, nearest)
            priced = self.parameters.expected.log_mean(evidence.table(), median)
        low, high = self.parameters.interval.bounds(median)
        return Estimate(base, moved, median, priced, low, high, near, weights(near, correction.decay))

    def unseen(self, inputs: Inputs, search_vectors: Float32, fold: NDArray[np.integer]) -> Base:
        """n catalogue rows by the models of their `fold` (n,) alone, which saw no row of that fold.

        What a row's stored residual is taken from: before the correction, and with no evidence from its own fold.
        """
        members = {name: np.empty(len(inputs)) for name in self.models.members}
        expected = Base(members, np.empty(len(inputs)), np.empty(len(inputs)) if self.models.stackers else None)
        for f in np.unique(fold):
            here = np.flatnonzero(fold == f)
            of_fold = {name: [models[f]] for name, models in self.models.members.items()}
            models = Models(of_fold, self.models.stackers[f : f + 1])
            base = self._base(inputs.take(here), search_vectors[here], models, np.full(len(here), f))
            for name, values in base.members.items():
                members[name][here] = values
            expected.blended[here] = base.blended
            if expected.stacked is not None:
                expected.stacked[here] = base.stacked
        return expected

    def _base(
        self, inputs: Inputs, search_vectors: Float32, models: Models, exclude_fold: NDArray[np.integer] | None = None
    ) -> Base:
        members = {
            name: np.mean([model.predict(inputs) for model in of_folds], axis=0)
            for name, of_folds in models.members.items()
        }
        blended = blend(members, self.parameters.weights)
        if not models.stackers:
            return Base(members, blended, None)
        near = self.reference.index.search(
            search_vectors, blended, k=self._stacker.k, band=self._stacker.band, exclude_group=exclude_fold
        )
        table = features(members, blended, inputs, near, self.reference)
        stacked = np.mean([stacker.predict(table, blended) for stacker in models.stackers], axis=0)
        return Base(members, blended, stacked)

    def neighbours_alone(self, search_vectors: Float32, correction: CorrectionParameters) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model: a stage to compare with."""
        log_price = self.reference.log_price
        nowhere = np.zeros(len(search_vectors))
        near = self.reference.index.search(search_vectors, nowhere, k=correction.k, band=np.inf)
        mean = (weights(near, correction.decay) * log_price[near.rows]).sum(axis=1)
        return np.where(near.found[:, 0], mean, np.median(log_price))


def save_models(folder: Path, models: Models, parameters: QueryParameters) -> None:
    """Write everything but the rows into a generation."""
    (folder / PRICE_MODEL).parent.mkdir()
    everything: dict[str, Sequence[Member | Stacker]] = {**models.members, STACKER: models.stackers}
    for name, of_folds in everything.items():
        for fold, model in enumerate(of_folds):
            model.save(folder / model_file(name, fold, _suffix(name)))
    parameters.expected.save(folder / model_file(EXPECTED, 0, "txt"))
    document = {
        "members": list(models.members),
        "stacked": bool(models.stackers),
        "folds": models.folds,
        "weights": parameters.weights,
        "correction": asdict(parameters.correction),
        "interval": asdict(parameters.interval),
    }
    (folder / PRICE_MODEL).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load_models(folder: Path) -> tuple[Models, QueryParameters]:
    """Load what `save_models` wrote; the manifest has checked the files before."""
    document = json.loads((folder / PRICE_MODEL).read_text(encoding="utf-8"))
    folds = range(document["folds"])

    def paths(name: str) -> list[Path]:
        return [folder / model_file(name, fold, _suffix(name)) for fold in folds]

    members: dict[str, list[Member]] = {}
    with ThreadPoolExecutor(LOADERS) as pool:
        for member in document["members"]:
            before = [{name: models[fold] for name, models in members.items()} for fold in folds]
            members[member] = list(pool.map(partial(load_member, member), paths(member), before))
    stackers = [Stacker.load(path) for path in paths(STACKER)] if document["stacked"] else []
    interval = Interval(**{name: tuple(value) for name, value in document["interval"].items()})
    correction = CorrectionParameters(**document["correction"])
    expected = ExpectedPrice.load(folder / model_file(EXPECTED, 0, "txt"))
    return Models(members, stackers), QueryParameters(document["weights"], correction, interval, expected)


def _suffix(name: str) -> str:
    return "txt" if name == STACKER else MEMBERS[name].suffix
