"""Claims about rules: each is kept as far as a later one lets it, and nothing goes through a bound."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.serving.review.bounding import LEAST_STEPS, BoundedPrices, RowRules, bound_prices
from engine.settings.rules import Ending, read_ending

NAN = math.nan
ENDINGS = [".99", ".95", "9", "9.99", "nearest 5", "nearest 0.25", ".99 below 20", "nearest 5 below 45", "9 in EUR"]


def row_rules(rows: Sequence[dict[str, Any]]) -> RowRules:
    numbers = {
        name: np.array([row.get(name, NAN) for row in rows], np.float64)
        for name in ("floor", "ceiling", "cost", "margin", "map", "max_change")
    }
    endings = [tuple(map(read_ending, row.get("ending", ()))) for row in rows]
    return RowRules(**numbers, endings=endings, fault=[row.get("fault", "") for row in rows])


def bound(price: float, current: float = NAN, currency: str = "USD", **rules: Any) -> BoundedPrices:
    return bound_prices(np.array([price]), np.array([current]), row_rules([rules]), currency)


def interval(current: float, rules: dict[str, Any]) -> tuple[float, float]:
    """What a price may be, slowly: each rule's interval in order, a later one moving the ends of those before."""
    low, high = 0.0, math.inf

    def narrow(least: float, most: float) -> None:
        nonlocal low, high
        low, high = min(max(low, least), most), min(max(high, least), most)

    if "floor" in rules:
        narrow(rules["floor"], math.inf)
    if "ceiling" in rules:
        narrow(0, rules["ceiling"])
    if "cost" in rules:
        narrow(rules["cost"] / (1 - rules.get("margin", 0) / 100), math.inf)
    if "map" in rules:
        narrow(rules["map"], math.inf)
    if "max_change" in rules and not math.isnan(current):
        share = rules["max_change"] / 100
        narrow(current * max(0, 1 - share), current * (1 + share))
    return round(low, 9), round(high, 9)


def ends(cents: int, ending: Ending) -> bool:
    """Whether a price has an ending."""
    above = cents - round(ending.offset * 100)
    return above >= 0 and above % round(ending.period * 100) == 0


def slowly(price: float, current: float, rules: dict[str, Any]) -> float:
    """The price to set by looking at every price in cents near by."""
    low, high = interval(current, rules)
    moved = min(max(price, low), high)
    within = [cents for cents in range(1, int(moved * 100) + 11_000) if low <= cents / 100 <= high]

    def nearest(cents: list[int]) -> float:
        return min(cents, key=lambda cent: (abs(cent / 100 - moved), cent)) / 100

    level = 0.0
    for ending in map(read_ending, rules.get("ending", ())):
        if ending.currency not in (None, "USD"):
            continue
        if moved >= ending.below:
            level = max(level, ending.below)
            continue
        fitting = [cents for cents in within if level <= cents / 100 < ending.below and ends(cents, ending)]
        if fitting:
            return nearest(fitting)
        break
    return nearest(within) if moved >= 0.01 * LEAST_STEPS and within else moved


money = st.integers(1, 6_000).map(lambda cents: cents / 100)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "floor": money,
        "ceiling": money,
        "cost": money,
        "margin": st.integers(0, 60).map(float),
        "map": money,
        "max_change": st.integers(0, 150).map(float),
        "ending": st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=2, unique=True).map(tuple),
    },
)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.001, 60), st.one_of(st.just(NAN), money), RULES)
def test_a_price_is_the_nearest_that_the_rules_allow(price: float, current: float, rules: dict[str, Any]) -> None:
    if rules.get("floor", 0) > rules.get("ceiling", math.inf):
        assert math.isnan(bound(price, current, **rules).price[0])
        return
    expected = slowly(price, current, rules)
    answer = float(bound(price, current, **rules).price[0])
    # Of two prices that are equally near but for the last bit, either will do.
    low, high = interval(current, rules)
    moved = min(max(price, low), high)
    assert answer == expected or abs(abs(answer - moved) - abs(expected - moved)) < 1e-9


@settings(max_examples=120, deadline=None)
@given(st.floats(0.0001, 1e6), st.one_of(st.just(NAN), money), RULES)
def test_no_price_goes_through_a_bound_and_a_bounded_one_stays(
    price: float, current: float, rules: dict[str, Any]
) -> None:
    first = float(bound(price, current, **rules).price[0])
    if math.isnan(first):
        assert rules["floor"] > rules["ceiling"]
        return
    low, high = interval(current, rules)
    assert low <= first <= high
    assert float(bound(first, current, **rules).price[0]) == first


@pytest.mark.parametrize(
    ("price", "rules", "expected", "by"),
    [
        (7.0, {"floor": 8.0}, 8.0, "floor"),
        (7.0, {"ceiling": 6.5}, 6.5, "ceiling"),
        (7.0, {"cost": 6.0, "margin": 25.0}, 8.0, "cost"),
        (7.0, {"map": 9.0}, 9.0, "map"),
        (7.0, {"floor": 8.0, "ceiling": 9.0, "map": 8.5}, 8.5, "map"),
        (7.123, {}, 7.12, ""),
        (7.2, {"ending": (".99",)}, 6.99, "ending"),
        (7.2, {"floor": 7.0, "ending": (".99",)}, 7.99, "ending"),
        (7.2, {"floor": 8.0, "ending": (".99",)}, 8.99, "floor, ending"),
        (23.0, {"ending": (".99 below 20", "nearest 5")}, 25.0, "ending"),
        (18.9, {"ending": (".99 below 20", "nearest 5")}, 18.99, "ending"),
        (23.0, {"ending": ("9 in EUR", "nearest 2 in USD")}, 22.0, "ending"),
        (149.0, {"ending": ("95",)}, 195.0, "ending"),
    ],
)
def test_the_rule_that_moved_a_price_is_named(price: float, rules: dict[str, Any], expected: float, by: str) -> None:
    bounded = bound(price, **rules)
    assert (bounded.price[0], bounded.bound_by, bounded.note) == (expected, [by], [""])


def test_the_greatest_change_is_of_the_current_price_and_wins_over_a_floor() -> None:
    bounded = bound(11.0, 18.0, floor=25.0, max_change=30.0)
    assert (bounded.price[0], bounded.bound_by) == (23.4, ["max_change"])
    assert bounded.note == ["max_change contradicts a rule before it, and wins"]
    unknown = bound(11.0, max_change=30.0)
    assert (unknown.price[0], unknown.note) == (11.0, ["no current price, which max_change is of"])


def test_an_ending_that_no_price_within_the_bounds_has_gives_way() -> None:
    bounded = bound(7.2, floor=7.0, ceiling=7.5, ending=(".99",))
    assert (bounded.price[0], bounded.note) == (7.2, ["no price within 7.00 to 7.50 has the ending"])


def test_a_floor_above_the_ceiling_or_a_rule_that_cannot_be_read_leaves_no_price() -> None:
    crossed, unread = bound(7.0, floor=12.0, ceiling=10.0), bound(7.0, fault="cost: no number: n/a", floor=3.0)
    assert math.isnan(crossed.price[0]) and crossed.note == ["the floor 12 lies above the ceiling 10"]
    assert math.isnan(unread.price[0]) and unread.note == ["cost: no number: n/a"]


def test_prices_are_rounded_to_the_coins_of_their_currency() -> None:
    for currency, price in (("USD", 12.35), ("JPY", 12.0), ("KWD", 12.346)):
        assert bound(12.3456, currency=currency).price[0] == price
    assert bound(0.0042).price[0] == 0.0042  # rounded it would be nothing
    assert bound(12.3456, floor=12.3456, ceiling=12.3457).price[0] == 12.3456  # no coin is there


def test_an_item_without_a_price_gets_none() -> None:
    assert math.isnan(bound(NAN, floor=3.0, ending=(".99",)).price[0])
