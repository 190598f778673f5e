"""How good are the prices? One report, whether rows are scored out of fold or as queries from a labelled file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.metrics import bootstrap, coverage, median_ape, paired_bootstrap, row_smape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.cross_fit import Held

    Float64 = NDArray[np.float64]
    Int64 = NDArray[np.int64]

SLICES = 10
LEAST_IN_SLICE = 20  # rows: below it an interval says nothing


@dataclass(frozen=True)
class Score:
    """A mean and its 95% bootstrap interval, twins drawn together."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Slice:
    """Some of the rows: a tenth by price, or by the similarity of the nearest neighbour in the band."""

    label: str
    n: int
    smape: float
    gain: Score  # of the correction, in points of SMAPE; above 0 it helps
    coverage: float
    width: float


@dataclass(frozen=True)
class Evaluation:
    """SMAPE is the full definition, 0 to 200. `method` says which path was scored."""

    method: str
    n: int
    seed: int
    stages: dict[str, Score]
    median_ape: float
    coverage: float
    coverage_wanted: float
    width: float  # median of high / low
    gain: Score  # SMAPE of the stage before the correction less that of the answer
    control: Score  # the same, had the neighbours in the band been drawn at random
    beyond_control: Score  # gain - control
    by_price: tuple[Slice, ...]
    by_similarity: tuple[Slice, ...]
    notes: tuple[str, ...] = ()

    @property
    def smape(self) -> Score:
        """Of the answer."""
        *_, answer = self.stages.values()
        return answer

    def to_json(self) -> dict[str, Any]:
        """The contract's keys first: n, smape, smape_low, smape_high, median_ape, coverage, stages."""
        return {
            "n": self.n,
            "smape": self.smape.value,
            "smape_low": self.smape.low,
            "smape_high": self.smape.high,
            "median_ape": self.median_ape,
            "coverage": self.coverage,
            "stages": {name: score.value for name, score in self.stages.items()},
            "stage_intervals": {name: [score.low, score.high] for name, score in self.stages.items()},
            "method": self.method,
            "seed": self.seed,
            "notes": list(self.notes),
            "coverage_wanted": self.coverage_wanted,
            "width": self.width,
            **{name: asdict(getattr(self, name)) for name in ("gain", "control", "beyond_control")},
            "by_price": [asdict(part) for part in self.by_price],
            "by_similarity": [asdict(part) for part in self.by_similarity],
        }


def evaluate(
    held: Held,
    log_price: Float64,
    groups: Int64,
    *,
    method: str,
    coverage_wanted: float,
    seed: int,
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Score predictions of rows that they were not fitted on. `log_price`, `groups` of twins: (n,)."""
    price = np.exp(log_price)
    loss = {name: row_smape(price, np.exp(stage)) for name, stage in held.stages.items()}
    *_, uncorrected, answer = loss.values()
    gain = uncorrected - answer
    control = uncorrected - row_smape(price, np.exp(held.control))
    low, high = np.exp(held.low), np.exp(held.high)

    def score(values: Float64, rows: Int64 | None = None) -> Score:
        some = slice(None) if rows is None else rows
        return Score(float(values[some].mean()), *bootstrap(values[some], groups=groups[some], seed=seed))

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
        median_ape=median_ape(price, np.exp(list(held.stages.values())[-1])),
        coverage=coverage(price, low, high),
        coverage_wanted=coverage_wanted,
        width=float(np.median(high / low)),
        gain=score(gain),
        control=score(control),
        beyond_control=Score(float((gain - control).mean()), *beyond),
        by_price=_slices(price, "{:.2f} to {:.2f}", part),
        by_similarity=_slices(held.similarity, "{:.3f} to {:.3f}", part),
        notes=notes,
    )


def _slices(values: Float64, form: str, part: Callable[[str, Int64], Slice]) -> tuple[Slice, ...]:
    """Tenths of the rows in order of `values`; fewer where the rows are few. Ties may fall on both sides of a cut."""
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // LEAST_IN_SLICE, 1, SLICES)))
    return tuple(part(form.format(values[rows[0]], values[rows[-1]]), rows) for rows in parts)
