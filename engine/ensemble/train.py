"""From what the models see of a catalogue and its prices to a trained whole, and what it says of rows it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.ensemble.blend import blend, cross_fit_weights
from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import STACKER, predict_out_of_fold
from engine.ensemble.price_model import Models
from engine.ensemble.stacker import Catalogue, Stacker, stack_out_of_fold
from engine.members.registry import BESIDE, member_fits
from index.progress import Report, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.ensemble.cross_fit import Fitted, Held
    from engine.ensemble.out_of_fold import OutOfFold
    from engine.members.registry import Model
    from engine.settings.schema import Settings

    Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """What a build keeps of n rows, and what it is scored by."""

    models: Models
    oof: OutOfFold  # with the stack, where there is one
    fitted: Fitted
    held: Held

    def residual(self, log_price: Float64) -> Float64:
        """(n,) what the models of each row's own fold missed: what corrects a query."""
        return log_price - (self.oof.own[STACKER] if self.oof.stacked else blend(self.oof.own, self.fitted.weights))


def learn(catalogue: Catalogue, fold: NDArray[np.int8], settings: Settings, *, report: Report = silent) -> Learned:
    """Members, blend, stack and correction; `fold` (n,) of the catalogue's rows."""
    inputs, goods, _ = catalogue
    oof, models = predict_out_of_fold(
        inputs, goods.log_price, fold, member_fits(settings), seed=settings.seed, aside=BESIDE, report=report
    )
    return learn_from_members(oof, models, catalogue, settings, report=report)


def learn_from_members(
    oof: OutOfFold,
    members: Mapping[str, Sequence[Model]],
    catalogue: Catalogue,
    settings: Settings,
    *,
    report: Report = silent,
) -> Learned:
    """What comes after the members, whose predictions and models these are; a stack among them is fitted anew."""
    oof, stacks = stacked(oof, catalogue, settings, report=report)
    report("fitting the correction", 0, None)
    fitted, held = cross_fit(oof, catalogue.goods.log_price, catalogue.space, settings)
    return Learned(Models(members, stacks), oof, fitted, held)


def stacked(
    oof: OutOfFold, catalogue: Catalogue, settings: Settings, *, report: Report = silent
) -> tuple[OutOfFold, list[Stacker]]:
    """The members' predictions with those of a stack on them, fitted anew, and its models; as they are without one."""
    oof = oof.without_stack()
    if not settings.stacker.rounds:
        return oof, []
    weights = cross_fit_weights(oof, catalogue.goods.log_price, settings.blend)
    return stack_out_of_fold(oof, weights, catalogue, settings.stacker, seed=settings.seed, report=report)
