"""Price per unit: what a kilogram, a litre, a piece, a metre or a square metre of an item costs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from index.catalogue.units.table import UNITS

# Unit of the catalogue -> what people ask the price of, and how many of the catalogue's units that is.
_SOLD_BY = {
    "gram": ("kg", 1000.0),
    "millilitre": ("litre", 1000.0),
    "count": ("piece", 1.0),
    "millimetre": ("metre", 1000.0),
    "square metre": ("square metre", 1.0),
}


@dataclass(frozen=True)
class UnitPrice:
    """Price of one unit of an item, in money."""

    price: float
    unit: str  # kg, litre, piece, metre or square metre


def unit_prices(prices: Iterable[float], units: Iterable[int], log_amounts: Iterable[float]) -> list[UnitPrice | None]:
    """Return what a unit of each item costs; None where its text says no amount.

    `units`: places in `UNITS`. `log_amounts`: of the whole listing in that unit, NaN where unknown.
    """
    return [
        None if math.isnan(amount) or UNITS[unit] not in _SOLD_BY else _unit_price(price, UNITS[unit], amount)
        for price, unit, amount in zip(prices, units, log_amounts, strict=True)
    ]


def _unit_price(price: float, unit: str, log_amount: float) -> UnitPrice:
    sold_by, factor = _SOLD_BY[unit]
    return UnitPrice(float(price * factor / math.exp(log_amount)), sold_by)
