"""The trained whole: `estimate` is the only place that chains members, blend, stacker, correction and interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.blend import blend
from engine.ensemble.correction import shift, weights
from engine.ensemble.cross_fit import QueryParameters
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.reference import OtherFolds
from engine.ensemble.stacker import Stacker, features
from engine.ensemble.uncertainty.confidence import Spread
from engine.ensemble.uncertainty.error_model import ErrorModel, Novelty
from engine.ensemble.uncertainty.evidence import NEAREST, Evidence
from engine.ensemble.uncertainty.expected_price import MEDIAN, ExpectedPrice
from engine.ensemble.uncertainty.reasons import reasons
from engine.folds import MOST_FOLDS
from engine.members.registry import MEMBERS, load_fold_models
from engine.settings.schema import MOST_NEIGHBOURS, CorrectionParameters
from index.arrays import Float32, Float64
from index.contents import AGAIN, MOST_JSON, expect, finite, loading, parse_json, whole
from index.errors import IndexUnusable
from index.files import open_regular
from index.search.neighbours import Neighbours
from index.storage.layout import PRICE_MODEL, model_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.reference import ReferenceSet, Searched, SelectedRows
    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import FoldModels
    from engine.settings.schema import Settings, StackerSettings

EXPECTED = "expected"  # the model of expected prices, of which there is one for all folds
LOADERS = 2  # threads


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
    spread: Spread  # of the answer: the interval, which holds what is answered, and how far off such an answer is
    evidence: Evidence  # that the spread goes by
    near: Neighbours  # rows of the catalogue
    weight: Float64  # (n, k) the neighbours' shares of the shift

    @property
    def low(self) -> Float64:
        """(n,) where the interval begins."""
        return self.spread.low

    @property
    def high(self) -> Float64:
        """(n,) where it ends."""
        return self.spread.high


@dataclass(frozen=True)
class Models:
    """The models of every fold: of each member, and of the stacker where there is one."""

    members: Mapping[str, FoldModels]
    folds: int
    stackers: Sequence[Stacker] = ()


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
        selected: SelectedRows | OtherFolds | None = None,
        members: dict[str, Float64] | None = None,
    ) -> Estimate:
        """Price n items; `search_vectors` (n, dim) as the catalogue's. `correction` in the place of the fitted one.

        `answer`: what is answered, MEDIAN or MEAN. `selected`: the rows that may be neighbours, all where None.
        `members`: name -> (n,) what the members are known to predict, whom nobody then asks.
        """
        correction = correction or self.parameters.correction
        rows = selected or self.reference.index
        fold = None if selected is None or selected.fold is None else np.broadcast_to(selected.fold, len(inputs))
        if members is None and fold is not None:
            members = self._unseen(inputs, fold)
        elif members is None:
            members = {name: _priced(name, models.predict(inputs)) for name, models in self.models.members.items()}
        base = self._base(members, inputs, search_vectors, rows, fold)
        near = rows.search(search_vectors, base.last, k=correction.k, band=correction.band)
        age_weight = self.reference.age_weight
        moved = shift(near, self.reference.residual, correction, age_weight)
        median = base.last + moved
        nearest = rows.search(search_vectors, median, k=NEAREST, band=np.inf)
        evidence = Evidence(
            base.members,
            base.blended,
            base.last,
            median,
            inputs.fields,
            nearest,
            self.reference,
            self.reference.residual,
        )
        table = evidence.table()
        spread = self.parameters.error.spread(table, median, Novelty.of(evidence))
        priced = median if answer == MEDIAN else self.parameters.expected.log_mean(table, median)
        share = weights(near, correction.decay, age_weight)
        return Estimate(base, moved, median, priced, spread.holding(priced), evidence, near, share)

    def unseen(self, inputs: Inputs, search_vectors: Float32, fold: NDArray[np.integer]) -> Base:
        """n catalogue rows by the models of their `fold` (n,) alone, which saw no row of that fold.

        What a row's stored residual is taken from: before the correction, and with no evidence from its own fold.
        """
        return self._base(self._unseen(inputs, fold), inputs, search_vectors, OtherFolds(self.reference, fold), fold)

    def _unseen(self, inputs: Inputs, fold: NDArray[np.integer]) -> dict[str, Float64]:
        """Member -> (n,) by the models of each item's `fold` (n,) alone."""
        return {
            name: _priced(name, models.predict_unseen(inputs, fold)) for name, models in self.models.members.items()
        }

    def _base(
        self,
        members: dict[str, Float64],
        inputs: Inputs,
        search_vectors: Float32,
        rows: Searched,
        fold: NDArray[np.integer] | None,
    ) -> Base:
        """Blend and stack what the members predict: by all stackers, or that of each item's `fold` (n,) alone.

        `rows`: what the evidence is of.
        """
        blended = blend(members, self.parameters.weights)
        if not self.models.stackers:
            return Base(members, blended, None)
        near = rows.search(search_vectors, blended, k=self._stacker.k, band=self._stacker.band)
        table = features(members, blended, inputs, near, self.reference)
        if fold is None:
            stacked: Float64 = np.mean([stacker.predict(table, blended) for stacker in self.models.stackers], axis=0)
        else:
            stacked = np.empty(len(blended))
            for f in np.unique(fold):
                here = fold == f
                stacked[here] = self.models.stackers[f].predict(table[here], blended[here])
        return Base(members, blended, _priced(STACKER, stacked))

    def reasons(self, estimate: Estimate) -> list[tuple[str, ...]]:
        """Sentences on why each of n prices is no surer; none for what is sure."""
        raised = self.parameters.error.raised(estimate.evidence.table())
        return reasons(estimate.evidence, estimate.spread, raised)

    def neighbours_alone(self, search_vectors: Float32, correction: CorrectionParameters) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model: a stage to compare with."""
        log_price = self.reference.log_price
        nowhere = np.zeros(len(search_vectors))
        near = self.reference.index.search(search_vectors, nowhere, k=correction.k, band=np.inf)
        weight = weights(near, correction.decay, self.reference.age_weight)
        mean = (weight * log_price[near.rows]).sum(axis=1)
        return np.where(near.found[:, 0], mean, np.median(log_price))


def _priced(name: str, predicted: Float64) -> Float64:
    """The log prices (n,) that models predict.

    Raises IndexUnusable where one is NaN or infinite: what is wrong in a model may show only on the items that it
    concerns.
    """
    if not np.isfinite(predicted).all():
        raise IndexUnusable(f"The index's models of {name} are damaged (they answer with what is no price): {AGAIN}.")
    return predicted


def save_models(folder: Path, models: Models, parameters: QueryParameters) -> None:
    """Write everything but the rows into a generation."""
    (folder / PRICE_MODEL).parent.mkdir()
    for name, fold_models in models.members.items():
        fold_models.save(_member_files(folder, name, models.folds))
    for fold, stacker in enumerate(models.stackers):
        stacker.save(folder / model_file(STACKER, fold, "txt"))
    parameters.expected.save(folder / model_file(EXPECTED, 0, "txt"))
    error = parameters.error.save(folder)
    document = {
        "members": list(models.members),
        "stacked": bool(models.stackers),
        "folds": models.folds,
        "weights": parameters.weights,
        "correction": asdict(parameters.correction),
        "error": error,
    }
    (folder / PRICE_MODEL).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def load_models(folder: Path, settings: Settings, shape: InputShape) -> tuple[Models, QueryParameters]:
    """Load what `save_models` wrote; `shape` of the inputs, as the manifest says.

    Raises IndexUnusable for contents that no build with these settings writes.
    """
    with loading(folder / PRICE_MODEL), open_regular(folder / PRICE_MODEL) as file:
        document = parse_json(file.read(MOST_JSON))
        names, folds = document["members"], document["folds"]
        expect(sorted(names) == sorted(settings.members), f"its members are {str(names)[:60]}")
        expect(whole(folds, 1, MOST_FOLDS) and folds == settings.folds, f"it has {str(folds)[:20]} folds")
        expect(document["stacked"] == bool(settings.stacker.rounds), "it has a stacker, or has none")
        expected = _load_expected(folder / model_file(EXPECTED, 0, "txt"), len(names))
        parameters = _parameters(document, ErrorModel.load(folder, document["error"], len(names)), expected)

    members: dict[str, FoldModels] = {}
    for name in names:
        members[name] = load_fold_models(name, _member_files(folder, name, folds), members, shape, LOADERS)
    stackers = []
    if document["stacked"]:
        stackers = [_load_stacker(folder / model_file(STACKER, fold, "txt"), len(names)) for fold in range(folds)]
    return Models(members, folds, stackers), parameters


def _member_files(folder: Path, name: str, folds: int) -> list[Path]:
    """A file for each fold, or one for a member whose models share what they know."""
    spec = MEMBERS[name]
    return [folder / model_file(name, fold, spec.suffix) for fold in range(folds if spec.fit else 1)]


def _load_stacker(path: Path, members: int) -> Stacker:
    with loading(path):
        return Stacker.load(path, members)


def _load_expected(path: Path, members: int) -> ExpectedPrice:
    with loading(path):
        return ExpectedPrice.load(path, members)


def _parameters(document: Mapping[str, Any], error: ErrorModel, expected: ExpectedPrice) -> QueryParameters:
    """Read the parameters of a query. Raises WrongContents or UsageError for what cannot be."""
    weights = document["weights"]
    expect(weights.keys() <= set(document["members"]), "the blend names other members")
    expect(all(finite(weight) and weight >= 0 for weight in weights.values()), "a weight of the blend is none")
    expect(math.isclose(sum(weights.values()), 1, abs_tol=1e-6), "the weights of the blend do not add up to 1")
    correction = CorrectionParameters(**document["correction"])
    expect(whole(correction.k, 1, MOST_NEIGHBOURS), "k is no whole number")
    expect(all(map(finite, (correction.band, correction.decay, correction.alpha))), "the correction is no number")
    return QueryParameters(weights, correction, error, expected)
