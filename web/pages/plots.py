"""Plots as SVG that stands in the page: places are percentages, so that text keeps its size on any width.

Colours are classes of the page's own style sheet. Every plot is told in words beside it; here are figures to places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.serving.pricer import Quote

LEFT, RIGHT = 3.0, 97.0  # percent of the width between which prices lie
STEPS = (1, 2, 5)
MOST_TICKS = 6
SMALLEST, LARGEST = 3.0, 9.0  # pixels: radius of a dot, whose area grows with its weight


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis of prices."""

    low: float
    high: float

    @classmethod
    def of(cls, prices: Sequence[float]) -> Axis:
        """Make an axis that holds some prices above 0, with room at both ends."""
        low, high = min(prices), max(prices)
        room = max((high / low) ** 0.06, 1.05)
        return cls(low / room, high * room)

    def place(self, price: float) -> float:
        """Return where a price lies, in percent of the width."""
        share = math.log(price / self.low) / math.log(self.high / self.low)
        return round(LEFT + (RIGHT - LEFT) * share, 2)

    def ticks(self) -> list[tuple[float, float]]:
        """Return round prices on the axis with their places, no more than can be read."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        prices = [step * 10.0**decade for decade in decades for step in STEPS]
        inside = [price for price in prices if self.low <= price <= self.high]
        if len(inside) < 2:
            inside = [self.low, math.sqrt(self.low * self.high), self.high]
            inside = [float(f"{price:.2g}") for price in inside]
        step = math.ceil(len(inside) / MOST_TICKS)
        return [(price, self.place(price)) for price in inside[::step]]


def interval_plot(quote: Quote, before: float | None) -> dict[str, Any]:
    """Return the places of a quote, its interval and its comparables on an axis; `before`: the price that was there."""
    prices = [quote.price, quote.low, quote.high, *(row.price for row in quote.comparables)]
    axis = Axis.of([price for price in [*prices, *([before] if before else [])] if price > 0])
    heaviest = max((row.weight for row in quote.comparables), default=0) or 1.0
    dots = [
        {
            "x": axis.place(row.price),
            "y": 38 + 9 * (place % 5),
            "r": round(SMALLEST + (LARGEST - SMALLEST) * math.sqrt(row.weight / heaviest), 1),
            "comparable": row,
        }
        for place, row in enumerate(quote.comparables)
    ]
    low, high = axis.place(quote.low), axis.place(quote.high)
    return {
        "ticks": axis.ticks(),
        "low": low,
        "width": round(high - low, 2),
        "price": axis.place(quote.price),
        "before": axis.place(before) if before else None,
        "dots": dots,
    }


def score_plot(stages: Mapping[str, Sequence[float]], values: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a bar for each stage of an evaluation: SMAPE and its interval, as places from 0 to the largest."""
    most = max((high for _, high in stages.values()), default=0.0) or 1.0
    return [
        {
            "name": name,
            "value": values[name],
            "low": low,
            "high": high,
            "x": _share(values[name], most),
            "from": _share(low, most),
            "width": round(_share(high, most) - _share(low, most), 2),
        }
        for name, (low, high) in stages.items()
    ]


def _share(value: float, most: float) -> float:
    return round(100 * value / most, 2)
