"""Report of how good prices are, whether rows are scored out of fold or as queries from a labelled file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.metrics import bootstrap, coverage, median_ape, paired_bootstrap, r_squared, row_smape
from index.arrays import Float64, Int64

if TYPE_CHECKING:
    import pandas as pd

    from engine.ensemble.cross_fit import HeldOutPredictions
    from engine.settings.schema import Settings

SLICES = 10
LEAST_IN_SLICE = 20  # rows: below it an interval says nothing


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
    by_price: tuple[Slice, ...]
    by_similarity: tuple[Slice, ...]
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
    low, high = np.exp(held_out.low), np.exp(held_out.high)

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
        median_ape=median_ape(price, np.exp(list(held_out.stages.values())[-1])),
        r_squared=r_squared(price, np.exp(list(held_out.stages.values())[-1])),
        coverage=coverage(price, low, high),
        coverage_wanted=settings.coverage,
        width=float(np.median(high / low)),
        gain=score(gain),
        control=score(control),
        beyond_control=Score(float((gain - control).mean()), *beyond),
        by_price=_slices(price, "{:.2f} to {:.2f}", part),
        by_similarity=_slices(held_out.similarity, "{:.3f} to {:.3f}", part),
        notes=notes,
    )


def _slices(values: Float64, form: str, part: Callable[[str, Int64], Slice]) -> tuple[Slice, ...]:
    """Tenths of the rows in order of `values`; fewer where the rows are few. Ties may fall on both sides of a cut."""
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // LEAST_IN_SLICE, 1, SLICES)))
    return tuple(part(form.format(values[rows[0]], values[rows[-1]]), rows) for rows in parts)
