"""Rows of an open index by their ids: what it holds of one, and whether one finds itself. It prices nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.catalogue.money.stored import stored_prices
from index.catalogue.units import UnitPrice, unit_prices

if TYPE_CHECKING:
    from engine.serving.pricer import Pricer

SAME = 0.999  # similarity of rows that could be each other


@dataclass(frozen=True)
class StoredRow:
    """A row of the catalogue, as an index knows it."""

    item_id: str
    name: str
    price: float
    residual: float  # log price less what models that never saw it expected: 0.1 is about 10 % dearer
    image: str | None
    per_unit: UnitPrice | None


def stored_row(pricer: Pricer, item_id: str) -> StoredRow | None:
    """Return a row by its id; None where the index has no such row."""
    reference = pricer.reference
    row = reference.numbers([item_id]).get(item_id)
    if row is None:
        return None
    price = stored_prices(reference.log_price[[row]])
    (per_unit,) = unit_prices(price, reference.unit[[row]], reference.log_amount[[row]])
    (shown,) = reference.shown([row])
    return StoredRow(**shown, price=float(price[0]), residual=float(reference.residual[row]), per_unit=per_unit)


def finds_a_row_of_its_own(pricer: Pricer) -> bool:
    """Tell whether a row of the index, searched for by its own vector, is found, or one that is the same.

    True where no row has a vector, and there is nothing to search.
    """
    order = pricer.reference.table.order
    if not len(order.rows):
        return True
    place = len(order.rows) // 2
    near = pricer.reference.index.search(
        np.array(order.vectors[place : place + 1]), order.log_price[place : place + 1], k=1, band=np.inf
    )
    return bool(near.rows[0, 0] == order.rows[place] or near.similarity[0, 0] > SAME)
