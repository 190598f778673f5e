"""Bound prices by rules, and round them: floor, ceiling, cost with margin, map, the greatest change, and the ending.

Each rule is an interval that the price is moved into, in this order, so that of two that contradict the later one wins,
which is noted. What all of them leave is the interval of the row; the ending is the nearest price within it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.settings.rules import ENDING, Ending
from index.catalogue.money.currencies import decimals

if TYPE_CHECKING:
    from index.arrays import Float64

DIGITS = 3  # of money, behind the point, which no currency has more of
LEAST_STEPS = 10  # of the smallest coin: a price below so many is left as it is, since rounding would move it far
CLEAN = 9  # digits behind the point, of a bound: 18 * 1.3 is 23.4
FIRST_STEP = 1e-9  # a price is above 0


@dataclass(frozen=True)
class RowRules:
    """Rules of n rows, in money and percent; NaN where a row has none."""

    floor: Float64
    ceiling: Float64
    cost: Float64
    margin: Float64  # percent of the price
    map: Float64
    max_change: Float64  # percent of the current price
    endings: Sequence[tuple[Ending, ...]]  # of each row
    fault: Sequence[str]  # why the rules of a row cannot be applied, "" where they can


@dataclass(frozen=True)
class BoundedPrices:
    """n prices to set."""

    price: Float64  # NaN where there is none
    bound_by: list[str]  # the rules that moved it, "" for none
    note: list[str]  # what did not go as the rules would have it, "" for nothing


def bound_prices(price: Float64, current: Float64, rules: RowRules, currency: str) -> BoundedPrices:
    """Bound and round prices (n,), NaN for none; `current` (n,) what the items cost now, NaN where that is not known.

    A row whose rules cannot be applied, or whose floor lies above its ceiling, gets no price.
    """
    notes = _faults(price, current, rules)
    usable = np.array([not fault for fault, _ in notes], bool) & ~np.isnan(price)
    low, high, moved = np.zeros(len(price)), np.full(len(price), np.inf), np.where(usable, price, np.nan)
    bound_by = [""] * len(price)
    for name, least, most in _intervals(current, rules):
        contradicts = usable & ((least > high) | (most < low))
        low, high = (np.round(np.clip(end, least, most), CLEAN) for end in (low, high))
        bounded = np.clip(moved, low, high)
        for row in np.flatnonzero(usable & (bounded != moved)):
            bound_by[row] = name
        for row in np.flatnonzero(contradicts):
            notes[row][1].append(f"{name} contradicts a rule before it, and wins")
        moved = bounded
    answer = moved.copy()
    for place in np.flatnonzero(usable).tolist():
        bounds = float(low[place]), float(high[place])
        ended = _ended(float(moved[place]), bounds, rules.endings[place], currency)
        if isinstance(ended, str):
            notes[place][1].append(ended)
        elif ended is not None:
            answer[place] = ended
            if ended != _rounded(float(moved[place]), bounds, currency):
                bound_by[place] = f"{bound_by[place]}, {ENDING}".lstrip(", ")
            continue
        answer[place] = _rounded(float(moved[place]), bounds, currency)
    return BoundedPrices(
        answer, bound_by, ["; ".join([fault, *others] if fault else others) for fault, others in notes]
    )


def _faults(price: Float64, current: Float64, rules: RowRules) -> list[tuple[str, list[str]]]:
    """Faults by row: why its rules cannot be applied, "" where they can, and a list of notes."""
    faults: list[tuple[str, list[str]]] = []
    for row, unread in enumerate(rules.fault):
        floor, ceiling = float(rules.floor[row]), float(rules.ceiling[row])
        crossed = f"the floor {floor:g} lies above the ceiling {ceiling:g}" if floor > ceiling else ""
        unknown = not math.isnan(rules.max_change[row]) and math.isnan(current[row]) and not math.isnan(price[row])
        faults.append((unread or crossed, ["no current price, which max_change is of"] if unknown else []))
    return faults


def _intervals(current: Float64, rules: RowRules) -> list[tuple[str, Float64, Float64]]:
    """Rules in their order, each with the least and the most (n,) that it allows."""
    no_least, no_most = np.zeros(len(current)), np.full(len(current), np.inf)
    cost = rules.cost / (1 - np.nan_to_num(rules.margin) / 100)
    change = rules.max_change / 100
    return [
        ("floor", np.nan_to_num(rules.floor), no_most),
        ("ceiling", no_least, np.where(np.isnan(rules.ceiling), np.inf, rules.ceiling)),
        ("cost", np.nan_to_num(cost), no_most),
        ("map", np.nan_to_num(rules.map), no_most),
        (
            "max_change",
            np.nan_to_num(current * np.maximum(1 - change, 0)),
            np.where(np.isnan(current * change), np.inf, current * (1 + change)),
        ),
    ]


def _ended(price: float, bounds: tuple[float, float], endings: Sequence[Ending], currency: str) -> float | str | None:
    """The nearest price within the bounds that ends as it should; None where none is asked for, a note where none is.

    The first ending counts that is for the price's level and currency; what it gives stays on that level.
    """
    level = 0.0
    for ending in endings:
        if ending.currency not in (None, currency):
            continue
        if price >= ending.below:
            level = max(level, ending.below)
            continue
        low, high = max(bounds[0], level), min(bounds[1], np.nextafter(ending.below, 0))
        found = nearest(price, ending, low, high)
        return found if found is not None else f"no price within {_shown(low)} to {_shown(high)} has the ending"
    return None


def _rounded(price: float, bounds: tuple[float, float], currency: str) -> float:
    """The nearest price within the bounds that can be paid in coins; the price itself where there is none."""
    coin = 10.0 ** -decimals(currency)
    if price < LEAST_STEPS * coin:
        return price
    found = nearest(price, Ending(coin), *bounds)
    return price if found is None else found


def nearest(price: float, ending: Ending, low: float, high: float) -> float | None:
    """The price with an ending that is nearest to `price` within `low` to `high`, the lower of two; None for none."""

    def at(step: float) -> float:
        return round(ending.offset + step * ending.period, DIGITS)

    low = max(low, FIRST_STEP)
    step = max(0.0, math.ceil((price - ending.offset) / ending.period - 0.5))
    for direction in (0, 1, -1):  # beside it, where a bound is nearer than half a period
        candidate = at(max(0.0, step + direction))
        if low <= candidate <= high:
            return candidate
    return None


def _shown(bound: float) -> str:
    return f"{bound:,.2f}" if math.isfinite(bound) else "any"
