"""Settings and jobs of pricing a file: which columns are written, and what every worker is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ensemble.uncertainty.confidence import CONFIDENCES
from engine.ensemble.uncertainty.expected_price import MEDIAN, require_answer
from engine.serving.listings.columns import REVIEW
from engine.serving.review.own_cells import OwnColumns
from engine.settings.rules import Rules, require_rules
from engine.settings.schema import require_overrides
from index.catalogue.settings import FOUND, ReadSettings
from index.encoders.device import AUTO, Runtime
from index.errors import UsageError

if TYPE_CHECKING:
    from engine.serving.shards import ShardResult

PRICE, COMPARABLES = "price", "comparables"
PLAIN = (PRICE,)
PER_UNIT, UNIT, COMPARABLES_PER_UNIT = "per_unit", "unit", "comparables_per_unit"
CONFIDENCE, WITHIN, WHY = "confidence", "within_20", "why"
FULL = (
    *(PRICE, "low", "high", CONFIDENCE, WITHIN, WHY, "blend", "shift"),
    *(COMPARABLES, PER_UNIT, UNIT, COMPARABLES_PER_UNIT),
)
BOUNDED = ("price_to_set", "bound_by", "rule_note")
"""Columns of what the rules make of a price, which stays beside them."""
REVIEWED = tuple(column.name for column in REVIEW[1:])
MOST_SHARD_ROWS = 1_000_000
SHARD_ROWS = 1_000  # what a kill may lose: some twenty seconds of one core's work


@dataclass(frozen=True)
class ReviewSettings:
    """Columns of a price list that a review reads beside the items; a group is found where it is None."""

    weight: str | None = None  # by which a difference is multiplied: a quantity
    group: str | None = None  # by which the summary is


@dataclass(frozen=True)
class PriceFileSettings:
    """Settings of pricing a file."""

    reading: ReadSettings = FOUND  # how the file is read
    output: tuple[str, ...] = PLAIN  # columns of OUT after the id, of FULL and BOUNDED; a review has its own
    correction: tuple[tuple[str, float], ...] = ()  # k, band, decay, alpha in the place of the index's own
    image_dir: Path | None = None
    answer: str = MEDIAN  # what a price is
    min_confidence: str | None = None  # a price that is less sure is left out
    runtime: Runtime = AUTO
    shard_rows: int = SHARD_ROWS
    guard_formulas: bool = False  # in a CSV: an id that a spreadsheet would run gets a ' in front, and is another id
    rules: tuple[tuple[str, Any], ...] = ()  # in the place of the index's own, by name
    review: ReviewSettings | None = None  # the file is a price list, and OUT a review of it

    def __post_init__(self) -> None:
        require_answer(self.answer)
        output, known = self.output, (*FULL, *BOUNDED)
        if not output or len(set(output)) < len(output) or not set(output) <= set(known):
            raise UsageError(
                f"The columns {', '.join(output) or 'of OUT'} are not some of {', '.join(known)}, each once."
            )
        if self.min_confidence not in (None, *CONFIDENCES):
            raise UsageError(f"min_confidence is {self.min_confidence!r}: choose from {', '.join(CONFIDENCES)}.")
        require_overrides(**dict(self.correction))
        require_rules(dict(self.rules))
        if not 1 <= self.shard_rows <= MOST_SHARD_ROWS:
            raise UsageError(f"A shard of {self.shard_rows} rows cannot be: give 1 to {MOST_SHARD_ROWS:,}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a shard's part, after the id."""
        return self.output if self.review is None else REVIEWED

    def own_columns(self, rules: Rules) -> OwnColumns | None:
        """Columns that are read beside the items, where the index has these rules; None where none are."""
        rules = replace(rules, **dict(self.rules))
        if self.review is not None:
            return OwnColumns(rules, self.review.weight, self.review.group)
        return OwnColumns(rules) if set(self.output) & set(BOUNDED) else None


def reads_prices(own: OwnColumns, *, review: bool) -> bool:
    """Tell whether the file's own prices are read: for a review, and for a rule that is of them."""
    return review or own.rules.max_change is not None


@dataclass(frozen=True)
class PriceFileJob:
    """A job to price a file: what every worker is given. Paths are absolute."""

    parts: Path
    index_dir: str  # a folder, or the URI of one
    generation: str  # that the job began with
    base_dir: Path  # of relative references to photographs
    settings: PriceFileSettings

    def described(self) -> dict[str, Any]:
        """All of it that decides what OUT holds."""
        settings = self.settings
        return {
            "columns": list(settings.columns),
            **json.loads(json.dumps(asdict(settings.reading))),  # as the journal gives it back
            "base_dir": str(self.base_dir.resolve()),
            "answer": settings.answer,
            "min_confidence": settings.min_confidence,
            **dict(settings.correction),
            "image_dir": str(settings.image_dir.absolute()) if settings.image_dir else None,
            **asdict(settings.runtime),
            "shard_rows": settings.shard_rows,
            "guard_formulas": settings.guard_formulas,
            "rules": json.loads(json.dumps(dict(settings.rules))),
            "review": None if settings.review is None else asdict(settings.review),
        }


Pool = Callable[[PriceFileJob, Sequence[int]], Iterator["ShardResult"]]
"""Prices shards, in whatever order: a result is yielded when its part lies in `job.parts`."""
