"""Search for the row that sums up a price list: no item, though it has words and a price; headings do not count."""

import math
from collections.abc import Mapping

from index.catalogue.money.prices import PriceConvention

TOTAL = "the total of the other rows"
LEAST_SUMMED = 5  # prices: an article that costs what so many others cost together stands last by no accident
CENT = 0.01  # by which a total may differ from what it sums up, or by a millionth


def is_total(cell: str, prices: Mapping[str, int], convention: PriceConvention) -> bool:
    """Tell whether a price is the sum of all others of its column. `prices`: its cells, with how often each occurs."""
    total = _amount(cell, convention)
    if prices[cell] > 1 or not total:
        return False
    summed, rows, most = 0.0, 0, total + max(CENT, total * 1e-6)
    for summand, times in prices.items():
        if summand != cell and (amount := _amount(summand, convention)):
            summed, rows = summed + times * amount, rows + times
            if summed > most:  # as in nearly every file, after a few cells
                return False
    return rows >= LEAST_SUMMED and math.isclose(summed, total, rel_tol=1e-6, abs_tol=CENT)


def _amount(cell: str, convention: PriceConvention) -> float:
    """The amount of a cell, 0 for one that is no price."""
    try:
        return convention.read(cell).amount
    except ValueError:
        return 0.0
