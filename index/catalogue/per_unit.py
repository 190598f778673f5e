"""Price per unit: what a kilogram, a litre, a piece or a metre of an item costs."""

from typing import NamedTuple

# Canonical unit of an amount -> the unit that prices are compared by, and how many canonical ones it is.
COMPARED_BY = {
    "gram": ("kg", 1000.0),
    "millilitre": ("litre", 1000.0),
    "count": ("piece", 1.0),
    "millimetre": ("metre", 1000.0),
    "square metre": ("square metre", 1.0),
}


class UnitPrice(NamedTuple):
    """A price in money for one `unit`."""

    price: float
    unit: str  # kg, litre, piece, metre or square metre


def unit_price(price: float, amount: float | None, unit: str) -> UnitPrice | None:
    """Return what one unit costs where `amount` of the canonical `unit` costs `price`; None for no known amount."""
    if amount is None or not amount > 0 or unit not in COMPARED_BY:
        return None
    name, size = COMPARED_BY[unit]
    return UnitPrice(price / amount * size, name)
