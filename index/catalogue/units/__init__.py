"""Amounts of an item: how much of it a listing holds, out of its words.

    read_quantity("Acme Soda, 6 x 330 ml")  # Quantity(1980.0, "millilitre", 6)
    find_unit("Fl. Oz")  # ("millilitre", 29.57...)

`table` has the units and their spellings, `vocabulary` the other words of the grammar. `tokens` cuts a text, `scan`
reads its numbers once from the left, with what stands `behind` and before them (`packs`, `context`; `plain` is the
short way), and `quantity` makes one total of what was read; `per_unit` is what one unit of it costs.
"""

from index.catalogue.units.per_unit import UnitPrice, unit_prices
from index.catalogue.units.quantity import Quantity, read_quantity, without_quantities
from index.catalogue.units.table import NONE, OTHER, UNITS, find_unit, is_sane

__all__ = [
    "NONE",
    "OTHER",
    "UNITS",
    "Quantity",
    "UnitPrice",
    "find_unit",
    "is_sane",
    "read_quantity",
    "unit_prices",
    "without_quantities",
]
