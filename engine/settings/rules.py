"""Rules that bound a price and round it, as settings: what each may be, and how the ending of a price is written.

Each is a number or `column:NAME`, the column of a file that has it row by row. How they are applied stands in
`engine.serving.review.bounding`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from engine.settings.ranges import Between, Checked, distinct
from index.catalogue.money import HIGHEST_PRICE
from index.errors import UsageError

COLUMN = "column:"
ENDING_FORMS = "'.99', '9', '95', 'nearest 5', each with 'below 20' or 'in EUR' behind it where it is not for all"

_ENDING = re.compile(
    r"(?:nearest\s+(?P<step>\d{1,9}(?:\.\d{1,3})?)|(?P<whole>\d{0,9})(?P<cents>\.\d{1,2})?)"
    r"(?:\s+below\s+(?P<below>\d{1,12}(?:\.\d{1,3})?))?(?:\s+in\s+(?P<currency>[A-Za-z]{3}))?"
)


@dataclass(frozen=True)
class Ending:
    """Prices offset, offset + period, offset + 2 * period and so on, for prices below a level, in a currency."""

    period: float
    offset: float = 0.0
    below: float = math.inf
    currency: str | None = None  # None: any


def read_ending(text: str) -> Ending:
    """Read what a price is to end in: `.99`, `9`, `nearest 5 below 100 in EUR`. UsageError for what is none."""
    match = _ENDING.fullmatch(text.strip())
    step, whole, cents = match.group("step", "whole", "cents") if match else (None, None, None)
    if match is None or not (step or whole or cents) or (step and not float(step)):
        raise UsageError(f"ending is {text.strip()!r:.60}: give {ENDING_FORMS}.")
    below = float(match["below"]) if match["below"] else math.inf
    currency = match["currency"].upper() if match["currency"] else None
    if step:
        return Ending(float(step), 0.0, below, currency)
    digits = "" if cents and not int(whole or 0) else whole or ""  # 0.99 is .99
    return Ending(float(10 ** len(digits)), float(f"{digits or 0}{cents or ''}"), below, currency)


def require_rules(given: Mapping[str, Any]) -> None:
    """Raise UsageError for rules that no index's own could make sense of."""
    Rules(**{"cost": 0.0, **given})


def column_of(value: Any) -> str | None:
    """The column that has a rule row by row; None for a rule that is the same for all rows."""
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else None
    return value[len(COLUMN) :].strip() if isinstance(value, str) and value.startswith(COLUMN) else None


@dataclass(frozen=True)
class BetweenOrColumn(Between):
    """Allow numbers from `low` to `high`, and `column:NAME`."""

    def __call__(self, name: str, value: float | str) -> None:
        if isinstance(value, str):
            if not column_of(value):
                raise UsageError(f"{name} is {value!r}: give a number, or {COLUMN}NAME for a column of the file.")
        else:
            super().__call__(name, value)


def endings(_name: str, value: tuple[str, ...]) -> None:
    """Allow endings, or the one name of a column that has them."""
    if column_of(value) is None:
        for text in value:
            read_ending(text)


Money = Annotated[float | str | None, BetweenOrColumn(0, HIGHEST_PRICE)]


@dataclass(frozen=True)
class Rules(Checked):
    """Bounds of a price in the index's currency, applied in this order: where two contradict, the later one wins."""

    floor: Money = None  # no price below it
    ceiling: Money = None  # no price above it
    cost: Money = None  # of the item
    margin: Annotated[float | str | None, BetweenOrColumn(0, 99.9)] = None  # percent of the price, above the cost
    map: Money = None  # the lowest price that may be advertised: none below it
    # Percent of the current price by which a price may be another
    max_change: Annotated[float | str | None, BetweenOrColumn(0, 100_000)] = None
    # Endings of a price, the first that is for its level and currency; never through a bound
    ending: Annotated[tuple[str, ...], distinct, endings] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.floor, self.ceiling
        if isinstance(low, float | int) and isinstance(high, float | int) and low > high:
            raise UsageError(f"the floor {low:g} lies above the ceiling {high:g}: no price is between them.")
        if self.margin is not None and self.cost is None:
            raise UsageError(f"margin is {self.margin}, and there is no cost that it is added to: give the cost, too.")

    @property
    def given(self) -> dict[str, Any]:
        """Rules that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, ())}

    @property
    def columns(self) -> dict[str, str]:
        """Rule -> the column that has it row by row."""
        return {name: column for name, value in self.given.items() if (column := column_of(value))}


NO_RULES = Rules()
PERCENT_RULES = ("margin", "max_change")
ENDING = "ending"


def rules_of_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Values of rules written as NAME=VALUE options: numbers, columns, endings with commas; None for `none`.

    Raises UsageError for a rule that there is not, or a value that is no number.
    """
    names = [field.name for field in fields(Rules)]
    values: dict[str, Any] = {}
    for key, value in given.items():
        name, text = key.strip().replace("-", "_"), value.strip()
        if name not in names:
            raise UsageError(f"There is no rule {key.strip()!r}: choose from {', '.join(names)}.")
        if text == "none":
            values[name] = () if name == ENDING else None
        elif name == ENDING:
            values[name] = tuple(part.strip() for part in text.split(","))
        else:
            values[name] = text if text.startswith(COLUMN) else _number(name, text)
    return values


def _number(name: str, text: str) -> float:
    try:
        return float(text.removesuffix("%") if name in PERCENT_RULES else text)
    except ValueError:
        raise UsageError(f"rule {name} is {text!r:.60}: give a number, or {COLUMN}NAME for a column.") from None
