"""The whole of `price ablate`: is every part of an index worth its place?

One part at a time is left out or swapped, and every row is priced again without its fold, by the same path as a score
of the whole. What comes after the part is fitted anew: the blend's weights, the stack and the knobs. What comes before
it is the index's own, so that most variants fit no member.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.correction import weights
from engine.ensemble.cross_fit import Answer, answer_out_of_fold
from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.train import stacked
from engine.evaluation.refit_ablation import fitting_seconds, members_of, refits_of
from engine.evaluation.report import Score
from engine.evaluation.scorable import ScoredRows, open_scored_rows
from engine.features.search_vectors import Space
from engine.metrics import paired_bootstrap, row_smape
from engine.settings.read import suggestion
from engine.settings.schema import WIDEST_BAND, Blend, Correction
from index.errors import UsageError
from index.progress import Report, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.stacker import Catalogue
    from engine.evaluation.refit_ablation import Refit
    from engine.settings.schema import CorrectionParameters, Settings
    from index.search.neighbours import Neighbours

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

PARTS = ("correction", "weights", "knobs", "band", "space", "members", "stacker")
REFIT_PARTS = ("modalities", "words", "quantities")
PLAIN = Correction(k=32, band=0.35, decay=2.0, alpha=0.3)  # what a reader of the formula might begin with
NEARLY_NONE = 1e-9  # a lambda that weighs all neighbours alike


@dataclass(frozen=True)
class Row:
    """A variant. SMAPE out of fold, 0 to 200."""

    part: str
    variant: str
    smape: float
    worse: Score  # its SMAPE less the index's, with a paired 95% interval, twins drawn together
    seconds: float  # that it took to fit what is fitted anew, and to price every row


@dataclass(frozen=True)
class Ablation:
    """The index's own answer first."""

    n: int
    seed: int
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """n, seed, rows[{part, variant, smape, worse{value, low, high}, seconds}]."""
        return asdict(self)


Price = Callable[["Whole"], "Float64"]


@dataclass(frozen=True)
class Variant:
    """`price` answers (n,) log price, each row without its fold."""

    part: str
    name: str
    price: Price


class Whole:
    """An index as it is, from which variants take what they leave alone."""

    def __init__(self, rows: ScoredRows) -> None:
        self.rows = rows
        self.settings, self.oof, self.space = rows.settings, rows.oof, rows.space

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the models see: read where a variant fits something on it."""
        return self.rows.catalogue()

    @cached_property
    def present(self) -> Answer:
        """The index's own."""
        return answer_out_of_fold(self.oof, self.rows.log_price, self.space, self.settings)

    def answer(self, oof: OutOfFold | None = None, space: Float32 | None = None, **changes: Any) -> Float64:
        """(n,) with other predictions, another space to search in, or other `changes` to the settings."""
        oof, space = self.oof if oof is None else oof, self.space if space is None else space
        return answer_out_of_fold(oof, self.rows.log_price, space, replace(self.settings, **changes)).answer

    def stacked(self, oof: OutOfFold, space: Float32 | None = None, blend: Blend | None = None) -> OutOfFold:
        """With a stack fitted anew on other members, or on evidence from another space."""
        catalogue = self.catalogue if space is None else self.catalogue._replace(space=space)
        return stacked(oof, catalogue, replace(self.settings, blend=blend or self.settings.blend))[0]


def ablate(
    index: Path, *, parts: Sequence[str] | None = None, refit: bool = False, report: Report = silent
) -> Ablation:
    """Score the index and its variants; all `parts` that need no refitting, and with `refit` the others too.

    Raises UsageError for a part that there is not or that takes refitting, IndexUnusable and DataRefused.
    """
    _check_parts(parts, refit)
    rows = open_scored_rows(index)
    whole, price = Whole(rows), np.exp(rows.log_price)
    todo = variants(rows.settings, rows.oof)
    if refit:
        todo += _refitted(refits_of(rows.settings))
    todo = [each for each in todo if parts is None or each.part in parts]
    if refit:
        _say_how_long(whole, [each for each in refits_of(rows.settings) if parts is None or each.part in parts], report)
    started = time.monotonic()
    own = row_smape(price, np.exp(whole.present.answer))
    scored = [Row("", "the index as it is", float(own.mean()), Score(0.0, 0.0, 0.0), time.monotonic() - started)]
    for place, variant in enumerate(todo):
        report("scoring variants", place, len(todo))
        started = time.monotonic()
        loss = row_smape(price, np.exp(variant.price(whole)))
        interval = paired_bootstrap(loss, own, groups=rows.groups, seed=rows.settings.seed)
        worse = Score(float((loss - own).mean()), *interval)
        scored.append(Row(variant.part, variant.name, float(loss.mean()), worse, time.monotonic() - started))
    report("scoring variants", len(todo), len(todo))
    return Ablation(len(price), rows.settings.seed, tuple(scored))


def _check_parts(parts: Sequence[str] | None, refit: bool) -> None:
    for part in parts or ():
        if part not in PARTS + REFIT_PARTS:
            raise UsageError(f"--parts {part!r} is no part{suggestion(part, dict.fromkeys(PARTS + REFIT_PARTS))}.")
        if part in REFIT_PARTS and not refit:
            raise UsageError(f"--parts {part} takes fitting the members anew: give --refit with it.")


def variants(settings: Settings, oof: OutOfFold) -> list[Variant]:
    """All that need no member to be fitted, for what this index has."""
    of = settings.correction
    found = [
        Variant("correction", "without correction", lambda whole: whole.present.task.base),
        Variant("correction", "random neighbours in the band", _at_random),
        Variant("weights", "unweighted mean", lambda whole: whole.answer(correction=replace(of, decay=NEARLY_NONE))),
        Variant("weights", "weighted median", _by_median),
        Variant("knobs", "k 32, band 0.35, lambda 2, alpha 0.3", _with_plain_knobs),
        Variant("band", "without band", lambda whole: whole.answer(correction=replace(of, band=WIDEST_BAND))),
    ]
    if len(of.search_vectors) > 1:
        found += [Variant("space", f"{view} alone", _in_space(view)) for view in of.search_vectors]
    if len(oof.members) > 1:
        found += [Variant("members", f"without {member}", _without(member)) for member in oof.members]
    if oof.stacked:
        found += [
            Variant("stacker", "without stacker", lambda whole: whole.answer(whole.oof.without_stack())),
            Variant("stacker", "stacker without evidence", _without_evidence),
        ]
    return found


def _at_random(whole: Whole) -> Float64:
    return whole.present.task.shuffled(whole.settings.seed).corrected(whole.present.knobs_by_fold)[0]


def _with_plain_knobs(whole: Whole) -> Float64:
    return whole.answer(correction=replace(PLAIN, search_vectors=whole.settings.correction.search_vectors))


def _by_median(whole: Whole) -> Float64:
    rows = whole.rows
    return answer_out_of_fold(whole.oof, rows.log_price, whole.space, whole.settings, median_shift).answer


def median_shift(near: Neighbours, residual: Float64, knobs: CorrectionParameters) -> Float64:
    """(n,) alpha times the weighted median of the residuals, which one neighbour of an odd price does not move.

    The least residual at which half of the weight is reached; 0 where nobody is in the band.
    """
    weight, theirs = weights(near, knobs.decay), residual[near.rows]
    order = np.argsort(theirs, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    half = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)[:, None]
    median = np.take_along_axis(np.take_along_axis(theirs, order, axis=1), half, axis=1)[:, 0]
    shift: Float64 = knobs.alpha * np.where(near.found[:, 0], median, 0.0)
    return shift


def _in_space(view: str) -> Price:
    def price(whole: Whole) -> Float64:
        inputs = whole.catalogue.inputs
        settings = replace(whole.settings, correction=replace(whole.settings.correction, search_vectors=(view,)))
        space = Space.fit(inputs, settings).vectors(inputs)
        return whole.answer(whole.stacked(whole.oof, space) if whole.oof.stacked else None, space)

    return price


def _without(member: str) -> Price:
    def price(whole: Whole) -> Float64:
        rest = [each for each in whole.oof.members if each != member]
        oof, blend = members_of(whole.oof, rest), _less(whole.settings.blend, member)
        return whole.answer(whole.stacked(oof, blend=blend) if whole.oof.stacked else oof, blend=blend)

    return price


def _less(fixed: Blend, member: str) -> Blend:
    """Fixed weights of the other members, in proportion; to be fitted where none of them has any."""
    rest = {name: weight for name, weight in fixed.weights().items() if name != member}
    total = sum(rest.values())
    return Blend(**{name: weight / total for name, weight in rest.items()}) if total else Blend()


def _without_evidence(whole: Whole) -> Float64:
    nowhere = np.zeros_like(whole.space)  # where nobody is anyone's neighbour
    return whole.answer(whole.stacked(whole.oof, nowhere))


def _refitted(refits: Sequence[Refit]) -> list[Variant]:
    return [Variant(each.part, each.name, _price_refitted(each)) for each in refits]


def _price_refitted(refit: Refit) -> Price:
    def price(whole: Whole) -> Float64:
        seen, settings = refit.world(whole.catalogue, whole.settings)
        oof = refit.fit(seen, whole.oof.fold, settings)
        if settings.stacker.rounds:
            oof = stacked(oof, seen, settings)[0]
        return answer_out_of_fold(oof, whole.rows.log_price, seen.space, settings).answer

    return price


def _say_how_long(whole: Whole, refits: Sequence[Refit], report: Report) -> None:
    """Before the work begins: each member is fitted once to see."""
    if not refits:
        return
    report("timing a fit of each member", 0, None)
    seconds = fitting_seconds(whole.catalogue, whole.oof.fold, whole.settings, refits)
    report(f"refitting, which takes about {max(1, round(seconds / 60)):,} minutes", 0, None)
