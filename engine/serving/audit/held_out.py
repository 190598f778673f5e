"""Prices of a catalogue's own rows by models that saw neither them nor their near-duplicates, each with its interval.

As an evaluation scores them (`engine.ensemble.cross_fit`), but with the correction that the index has, whose four
numbers were fitted on all rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from engine.ensemble.cross_fit import answer_out_of_fold, fit_spread

if TYPE_CHECKING:
    from engine.serving.scorable import ScorableRows
    from engine.settings.schema import CorrectionParameters
    from index.arrays import Float64


@dataclass(frozen=True)
class HeldOutPrices:
    """Prices of n rows, each (n,) log price."""

    answer: Float64
    low: Float64
    high: Float64


def held_out_prices(rows: ScorableRows, correction: CorrectionParameters) -> HeldOutPrices:
    """Price every row as an index without its fold would; the interval is fitted on the other folds' rows."""
    fixed = replace(rows.settings.correction, **asdict(correction))
    settings = replace(rows.settings, correction=fixed)
    best = answer_out_of_fold(rows.oof, rows.log_price, rows.search_vectors, settings, age_weight=rows.age_weight)
    spread = fit_spread(best, rows.oof, rows.fields(), settings)[2]
    return HeldOutPrices(best.answer, spread.low, spread.high)
