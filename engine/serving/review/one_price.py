"""Bound one price by rules: what a query and a request of the server get, where no row has columns of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.serving.review.bounding import bound_prices
from engine.serving.review.own_cells import CURRENT, OwnColumns, facts_of_cells
from index.errors import UsageError

if TYPE_CHECKING:
    from engine.settings.rules import Rules


def bound_price(price: float, current: str | None, rules: Rules, currency: str) -> dict[str, Any]:
    """Price to set by the rules, and what they say of it; nothing where there are none.

    `current`: what the item costs now, as it is written. Rules of columns do not count, and are told so. Raises
    UsageError for a current price that is none.
    """
    facts = facts_of_cells({CURRENT: [current]}, 1, OwnColumns(rules), currency)
    if current is not None and np.isnan(facts.current[0]):
        why = facts.fault[0].removeprefix(f"{CURRENT}: ")
        raise UsageError(f"The current price is {current!r:.60} ({why}): give an amount of {currency}, such as 4.99.")
    if not rules.given:
        return {}
    bounded = bound_prices(np.array([price]), facts.current, facts.rules, currency)
    to_set = None if np.isnan(bounded.price[0]) else float(bounded.price[0])
    by_column = [f"{name} is of a column, and a query has none" for name in rules.columns]
    return {
        "price_to_set": to_set,
        "bound_by": bounded.bound_by[0],
        "rule_note": "; ".join([*filter(None, bounded.note), *by_column]),
    }
