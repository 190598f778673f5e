"""Score an index with one part at a time left out: the whole of `price ablate`.

One part at a time is left out or swapped, and every row is priced again without its fold, by the same path as a score
of the whole. What comes after the part is fitted anew: the blend's weights, the stacker and the correction. What comes
before it is the index's own, so that most variants fit no member.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.correction import shift, weights
from engine.ensemble.cross_fit import Answer, Shift, answer_out_of_fold
from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.train import predict_members, with_stacker
from engine.evaluation.refit_ablation import fitting_seconds, refits_of
from engine.evaluation.report import Score
from engine.features.search_vectors import SearchVectorizer
from engine.metrics import paired_bootstrap, row_smape
from engine.serving.scorable import ScorableRows, open_scorable_rows
from engine.settings.ranges import distinct
from engine.settings.read import suggestion
from engine.settings.schema import WIDEST_BAND, Blend, Correction
from index.arrays import Float32, Float64
from index.errors import UsageError
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    from engine.evaluation.refit_ablation import Refit
    from engine.features.training_set import TrainingSet
    from engine.settings.schema import CorrectionParameters, Settings
    from index.search.neighbours import Neighbours

PARTS = ("correction", "weights", "parameters", "band", "search-vectors", "members", "stacker")
REFIT_PARTS = ("modalities", "words", "quantities")
PLAIN = Correction(k=32, band=0.35, decay=2.0, alpha=0.3)  # what a reader of the formula might begin with
NEARLY_NONE = 1e-9  # a lambda that gives all neighbours the same weight


@dataclass(frozen=True)
class Row:
    """A variant. SMAPE out of fold, 0 to 200."""

    part: str
    variant: str
    smape: float
    worse: Score  # its SMAPE less the index's, with a paired 95% interval, near-duplicates drawn together
    seconds: float  # that it took to fit what is fitted anew, and to price every row


@dataclass(frozen=True)
class Ablation:
    """Scores of an index and of its variants; the row of the whole index comes first."""

    n: int
    seed: int
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Keys n, seed, rows[{part, variant, smape, worse{value, low, high}, seconds}]."""
        return asdict(self)


Price = Callable[["Whole"], "Float64"]


@dataclass(frozen=True)
class Variant:
    """A variant to score; `price` returns (n,) log price, each row without its fold."""

    part: str
    name: str
    price: Price


class Whole:
    """An index as it is, from which variants take what they leave alone."""

    def __init__(self, rows: ScorableRows) -> None:
        self.rows = rows
        self.settings, self.oof, self.search_vectors = rows.settings, rows.oof, rows.search_vectors

    @cached_property
    def training_set(self) -> TrainingSet:
        """The rows that models are trained on, read only where a variant fits something."""
        return self.rows.training_set()

    @cached_property
    def present(self) -> Answer:
        """The answer of the index as it is."""
        return self._answer(self.oof, self.search_vectors, self.settings)

    def answer(
        self,
        oof: OutOfFold | None = None,
        search_vectors: Float32 | None = None,
        move: Shift = shift,
        **changes: Any,
    ) -> Float64:
        """(n,) log price with other predictions, search vectors, use of residuals, or `changes` to the settings."""
        oof = self.oof if oof is None else oof
        search_vectors = self.search_vectors if search_vectors is None else search_vectors
        return self._answer(oof, search_vectors, replace(self.settings, **changes), move).answer

    def _answer(self, oof: OutOfFold, search_vectors: Float32, settings: Settings, move: Shift = shift) -> Answer:
        rows = self.rows
        return answer_out_of_fold(oof, rows.log_price, search_vectors, settings, move, age_weight=rows.age_weight)

    def with_stacker(
        self, oof: OutOfFold, search_vectors: Float32 | None = None, blend: Blend | None = None
    ) -> OutOfFold:
        """Predictions with the stacker (if any) fitted anew, on other members or with other search vectors."""
        if not self.oof.stacked:
            return oof
        training = self.training_set
        if search_vectors is not None:
            training = replace(training, search_vectors=search_vectors)
        return with_stacker(oof, training, replace(self.settings, blend=blend or self.settings.blend))[0]


def ablate(
    index_dir: Path, *, parts: Sequence[str] | None = None, refit: bool = False, on_progress: OnProgress = silent
) -> Ablation:
    """Score the index and its variants; all `parts` that need no refitting, and with `refit` the others too.

    Raises UsageError for a part that there is not or that takes refitting, IndexUnusable and DataRefused.
    """
    _check_parts(parts, refit)
    rows = open_scorable_rows(index_dir)
    whole, price = Whole(rows), np.exp(rows.log_price)
    refits = [anew for anew in refits_of(rows.settings) if refit and (parts is None or anew.part in parts)]
    todo = [variant for variant in variants(rows.settings, rows.oof) if parts is None or variant.part in parts]
    todo += [Variant(anew.part, anew.name, _price_refitted(anew)) for anew in refits]
    if refits:
        on_progress("timing a fit of each member", 0, None)
        seconds = fitting_seconds(whole.training_set, whole.settings, refits)
        on_progress(f"refitting, which takes about {max(1, round(seconds / 60)):,} minutes", 0, None)
    started = time.monotonic()
    own = row_smape(price, np.exp(whole.present.answer))
    scored = [Row("", "the index as it is", float(own.mean()), Score(0.0, 0.0, 0.0), time.monotonic() - started)]
    for place, variant in enumerate(todo):
        on_progress("scoring variants", place, len(todo))
        started = time.monotonic()
        loss = row_smape(price, np.exp(variant.price(whole)))
        interval = paired_bootstrap(loss, own, groups=rows.groups, seed=rows.settings.seed)
        worse = Score(float((loss - own).mean()), *interval)
        scored.append(Row(variant.part, variant.name, float(loss.mean()), worse, time.monotonic() - started))
    on_progress("scoring variants", len(todo), len(todo))
    return Ablation(len(price), rows.settings.seed, tuple(scored))


def _check_parts(parts: Sequence[str] | None, refit: bool) -> None:
    distinct("--parts", tuple(parts or ()))
    for part in parts or ():
        if part not in PARTS + REFIT_PARTS:
            raise UsageError(f"--parts {part!r} is no part{suggestion(part, dict.fromkeys(PARTS + REFIT_PARTS))}.")
        if part in REFIT_PARTS and not refit:
            raise UsageError(f"--parts {part} takes fitting the members anew: give --refit with it.")


def variants(settings: Settings, oof: OutOfFold) -> list[Variant]:
    """All variants that need no member to be fitted, for what this index has."""
    own = settings.correction
    found = [
        Variant("correction", "without correction", lambda whole: whole.present.task.base),
        Variant("correction", "random neighbours in the band", _at_random),
        Variant("weights", "unweighted mean", lambda whole: whole.answer(correction=replace(own, decay=NEARLY_NONE))),
        Variant("weights", "weighted median", _by_median),
        Variant("parameters", "k 32, band 0.35, lambda 2, alpha 0.3", _with_plain_parameters),
        Variant("band", "without band", lambda whole: whole.answer(correction=replace(own, band=WIDEST_BAND))),
    ]
    if len(own.search_vectors) > 1:
        found += [Variant("search-vectors", f"{view} alone", _by_view(view)) for view in own.search_vectors]
    if len(oof.members) > 1:
        found += [Variant("members", f"without {member}", _without(member)) for member in oof.members]
    if len(oof.members) > 1 and "mlp" in oof.members:
        found.append(Variant("members", "mlp + correction", _by_mlp))
    if oof.stacked:
        found += [
            Variant("stacker", "without stacker", lambda whole: whole.answer(whole.oof.of(whole.oof.members))),
            Variant("stacker", "stacker without evidence", _without_evidence),
        ]
    return found


def _at_random(whole: Whole) -> Float64:
    return whole.present.task.shuffled(whole.settings.seed).corrected(whole.present.parameters_by_fold)[0]


def _with_plain_parameters(whole: Whole) -> Float64:
    return whole.answer(correction=replace(PLAIN, search_vectors=whole.settings.correction.search_vectors))


def _by_median(whole: Whole) -> Float64:
    return whole.answer(move=median_shift)


def median_shift(
    near: Neighbours, residual: Float64, correction: CorrectionParameters, age_weight: Float64 | None = None
) -> Float64:
    """(n,) alpha times the weighted median of the residuals, which one neighbour of an odd price does not move.

    The least residual at which half of the weight is reached; 0 where nobody is in the band.
    """
    weight, theirs = weights(near, correction.decay, age_weight), residual[near.rows]
    order = np.argsort(theirs, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    half = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)[:, None]
    median = np.take_along_axis(np.take_along_axis(theirs, order, axis=1), half, axis=1)[:, 0]
    shift: Float64 = correction.alpha * np.where(near.found[:, 0], median, 0.0)
    return shift


def _by_view(view: str) -> Price:
    def price(whole: Whole) -> Float64:
        inputs = whole.training_set.inputs
        settings = replace(whole.settings, correction=replace(whole.settings.correction, search_vectors=(view,)))
        vectors = SearchVectorizer.fit(inputs, settings).vectors(inputs)
        return whole.answer(whole.with_stacker(whole.oof, vectors), vectors)

    return price


def _without(member: str) -> Price:
    def price(whole: Whole) -> Float64:
        oof = whole.oof.of([name for name in whole.oof.members if name != member])
        blend = _less(whole.settings.blend, member)
        return whole.answer(whole.with_stacker(oof, blend=blend), blend=blend)

    return price


def _by_mlp(whole: Whole) -> Float64:
    return whole.answer(whole.oof.of(["mlp"]), blend=Blend())


def _less(fixed: Blend, member: str) -> Blend:
    """Fixed weights of the other members, in proportion; to be fitted where none of them has any."""
    others = {name: weight for name, weight in fixed.weights().items() if name != member}
    total = sum(others.values())
    return Blend(**{name: weight / total for name, weight in others.items()}) if total else Blend()


def _without_evidence(whole: Whole) -> Float64:
    nowhere = np.zeros_like(whole.search_vectors)  # so that nobody is anyone's neighbour
    return whole.answer(whole.with_stacker(whole.oof, nowhere))


def _price_refitted(refit: Refit) -> Price:
    def price(whole: Whole) -> Float64:
        training, settings = refit.reduced(whole.training_set, whole.settings)
        oof = with_stacker(predict_members(training, settings)[0], training, settings)[0]
        return answer_out_of_fold(
            oof, training.log_price, training.search_vectors, settings, age_weight=training.age_weight
        ).answer

    return price
