"""Report of how good prices are, whether rows are scored out of fold or as queries from a labelled file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.uncertainty.confidence import CLOSE, CONFIDENCES, confidence
from engine.metrics import bootstrap, coverage, interval_score, median_ape, paired_bootstrap, r_squared, row_smape
from index.arrays import Bool, Float64, Int64
from index.contents import loading, parse_json
from index.storage.layout import REPORT

if TYPE_CHECKING:
    import pandas as pd

    from engine.ensemble.cross_fit import HeldOutPredictions
    from engine.ensemble.uncertainty.confidence import Spread
    from engine.settings.schema import Settings

SLICES = 10
LEAST_IN_SLICE = 20  # rows: below it an interval says nothing
COVERED = (0.1, 0.3, 0.6, 0.9, 1.0)  # shares of the rows, the surest, that are scored alone


@dataclass(frozen=True)
class Score:
    """A mean and its 95% bootstrap interval, near-duplicates drawn together."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Slice:
    """A tenth of the rows, by price or by the similarity of the nearest neighbour in the band."""

    label: str
    n: int
    smape: float
    gain: Score  # of the correction, in points of SMAPE; above 0 it helps
    coverage: float
    width: float


@dataclass(frozen=True)
class Sureness:
    """The surest rows, by their expected error."""

    covered: float  # share of all rows that they are
    within_10: float  # share of them that are priced within 10 % of their price
    within_20: float
    within_30: float
    median_ape: float
    smape: float


@dataclass(frozen=True)
class OfConfidence:
    """The rows of a confidence."""

    confidence: str
    n: int
    within_20: float | None  # None where there are none
    smape: float | None
    coverage: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of predictions. SMAPE is the full definition, 0 to 200. `method` says which path was scored."""

    method: str
    n: int
    seed: int
    notes: tuple[str, ...] = ()
    stages: dict[str, Score]
    median_ape: float
    r_squared: float  # of the answer, in money: 1 at best
    coverage: float
    coverage_wanted: float
    width: float  # median of high / low
    gain: Score  # SMAPE of the stage before the correction less that of the answer
    control: Score  # the same, had the neighbours in the band been drawn at random
    beyond_control: Score  # gain - control
    interval_score: float  # in log price, lower is better: width, and what prices lie outside times 2 / (1 - coverage)
    interval_score_by_level: float | None  # of intervals by the level of the price alone
    by_price: tuple[Slice, ...]
    by_similarity: tuple[Slice, ...]
    by_prediction: tuple[Slice, ...]
    by_expected_error: tuple[Slice, ...]
    by_likeness: tuple[Slice, ...]  # of the nearest neighbour without a band
    sureness: tuple[Sureness, ...]
    by_confidence: tuple[OfConfidence, ...]
    reading_notes: tuple[str, ...] = ()  # of a labelled file: what it was taken for, first

    @property
    def smape(self) -> Score:
        """SMAPE of the answer, which is the last stage."""
        *_, answer = self.stages.values()
        return answer

    def to_json(self) -> dict[str, Any]:
        """The contract's keys first: n, smape, smape_low, smape_high, median_ape, coverage, stages."""
        document = {
            "n": self.n,
            "smape": self.smape.value,
            "smape_low": self.smape.low,
            "smape_high": self.smape.high,
            "median_ape": self.median_ape,
            "coverage": self.coverage,
            "stages": {name: score.value for name, score in self.stages.items()},
            "stage_intervals": {name: [score.low, score.high] for name, score in self.stages.items()},
        }
        return document | {key: value for key, value in asdict(self).items() if key not in document}

    def to_frame(self) -> pd.DataFrame:
        """A row for each stage: SMAPE and its 95% interval, in the columns smape, low and high."""
        import pandas as pd

        return pd.DataFrame(
            {name: astuple(score) for name, score in self.stages.items()}, index=["smape", "low", "high"]
        ).T


def read_report(folder: Path) -> dict[str, Any]:
    """Return what `Evaluation.to_json` said when a generation was made. IndexUnusable where it cannot be read."""
    with loading(folder / REPORT):
        return parse_json((folder / REPORT).read_bytes())


def evaluate(
    held_out: HeldOutPredictions,
    log_price: Float64,
    groups: Int64,
    settings: Settings,
    *,
    method: str,
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Score predictions of rows that they were not fitted on. `log_price`, `groups` of near-duplicates: (n,)."""
    price, seed = np.exp(log_price), settings.seed
    loss = {name: row_smape(price, np.exp(stage)) for name, stage in held_out.stages.items()}
    *_, uncorrected, answer = loss.values()
    gain = uncorrected - answer
    control = uncorrected - row_smape(price, np.exp(held_out.control))
    spread = held_out.spread
    low, high = np.exp(spread.low), np.exp(spread.high)
    predicted = np.exp(held_out.answer)
    ape = np.abs(predicted - price) / price

    def score(values: Float64, rows: Int64 | None = None) -> Score:
        part = slice(None) if rows is None else rows
        return Score(float(values[part].mean()), *bootstrap(values[part], groups=groups[part], seed=seed))

    def part(label: str, rows: Int64) -> Slice:
        return Slice(
            label,
            len(rows),
            float(answer[rows].mean()),
            score(gain, rows),
            coverage(price[rows], low[rows], high[rows]),
            float(np.median(high[rows] / low[rows])),
        )

    beyond = paired_bootstrap(gain, control, groups=groups, seed=seed)
    return Evaluation(
        method=method,
        n=len(price),
        seed=seed,
        stages={name: score(values) for name, values in loss.items()},
        median_ape=median_ape(price, predicted),
        r_squared=r_squared(price, predicted),
        coverage=coverage(price, low, high),
        coverage_wanted=settings.coverage,
        width=float(np.median(high / low)),
        gain=score(gain),
        control=score(control),
        beyond_control=Score(float((gain - control).mean()), *beyond),
        interval_score=interval_score(log_price, spread.low, spread.high, settings.coverage),
        interval_score_by_level=held_out.plain and interval_score(log_price, *held_out.plain, settings.coverage),
        by_price=_slices(price, "{:.2f} to {:.2f}", part),
        by_similarity=_slices(held_out.similarity, "{:.3f} to {:.3f}", part),
        by_prediction=_slices(predicted, "{:.2f} to {:.2f}", part),
        by_expected_error=_slices(100 * np.expm1(spread.expected_error), "{:.0f}% to {:.0f}%", part),
        by_likeness=_slices(held_out.likeness, "{:.3f} to {:.3f}", part),
        sureness=_sureness(spread, ape, answer),
        by_confidence=_by_confidence(spread, ape, answer, (low <= price) & (price <= high)),
        notes=notes,
    )


def _sureness(spread: Spread, ape: Float64, smape: Float64) -> tuple[Sureness, ...]:
    order, found = np.argsort(spread.expected_error, kind="stable"), []
    for covered in COVERED:
        rows = order[: max(1, round(covered * len(order)))]
        within_10, within_20, within_30 = (float(np.mean(ape[rows] <= share)) for share in (0.1, CLOSE, 0.3))
        median = 100 * float(np.median(ape[rows]))
        found.append(Sureness(covered, within_10, within_20, within_30, median, float(smape[rows].mean())))
    return tuple(found)


def _by_confidence(spread: Spread, ape: Float64, smape: Float64, inside: Bool) -> tuple[OfConfidence, ...]:
    words = np.array(confidence(spread))
    found = []
    for word in CONFIDENCES:
        rows = np.flatnonzero(words == word)
        means = [float(values[rows].mean()) if len(rows) else None for values in (ape <= CLOSE, smape, inside)]
        found.append(OfConfidence(word, len(rows), *means))
    return tuple(found)


def _slices(values: Float64, form: str, part: Callable[[str, Int64], Slice]) -> tuple[Slice, ...]:
    """Tenths of the rows in order of `values`; fewer where the rows are few. Ties may fall on both sides of a cut."""
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // LEAST_IN_SLICE, 1, SLICES)))
    return tuple(part(form.format(values[rows[0]], values[rows[-1]]), rows) for rows in parts)
