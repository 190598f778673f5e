"""Claims about likely reasons: the fault that is told is one that would explain the price."""

import math
from typing import Any

import numpy as np
import pytest

from engine.serving.audit.reasons import Reason, Row, likely_reason, severity
from index.catalogue.units import UNITS

GRAM, NONE = UNITS.index("gram"), UNITS.index("none")


def reason(
    price: float, should_be: float = 20.0, width: float = 1.3, currency: str = "USD", **more: Any
) -> Reason | None:
    """The reason for a price of money, where such items cost 20, four fifths of them within a factor `width`."""
    facts: dict[str, Any] = {"pack": 1, "unit": NONE, "amount": math.nan, "duplicates": ()} | more
    answer = math.log(20)
    row = Row(
        math.log(price),
        answer,
        answer - math.log(width),
        answer + math.log(width),
        facts["pack"],
        facts["unit"],
        math.log(facts["amount"]),
        tuple((name, math.log(cost)) for name, cost in facts["duplicates"]),
    )
    return likely_reason(row, currency)


@pytest.mark.parametrize(
    ("price", "more", "kind", "text", "would_be"),
    [
        (205.0, {}, "factor", "10 times too high: a decimal point", 20.5),
        (0.21, {}, "factor", "100 times too low: a decimal point", 21.0),
        (118.0, {"pack": 6}, "pack", "the price of 6 packs: the text says a pack of 6", 19.67),
        (3.4, {"pack": 6}, "pack", "the price of one of the pack of 6", 20.4),
        (80.0, {"unit": GRAM, "amount": 250.0}, "unit", "the price of a kg", 20.0),
        (8.0, {"unit": GRAM, "amount": 250.0}, "unit", "the price of 100 g", 20.0),
        (382.0, {}, "currency", "in another currency, such as MXN", 20.1),
        (3020.0, {"currency": "EUR"}, "currency", "in another currency, such as JPY", 17.75),
        (45.0, {"duplicates": [("x7", 20.5)]}, "near-duplicate", "its near-duplicate x7 has another price", 20.5),
    ],
)
def test_a_fault_is_told_with_the_price_that_would_be(
    price: float, more: dict[str, Any], kind: str, text: str, would_be: float
) -> None:
    found = reason(price, **more)
    assert found is not None and (found.kind, found.text) == (kind, text)
    assert math.exp(found.would_be) == pytest.approx(would_be, rel=0.01)


@pytest.mark.parametrize("price", [31.0, 27.0, 20.0 * 3.1])
def test_where_no_fault_explains_a_price_none_is_told(price: float) -> None:
    assert reason(price) is None


def test_an_unknown_currency_has_no_rates_and_the_price_is_never_outside_what_is_likely() -> None:
    assert reason(382.0, currency="points") is None
    for price in (0.1, 0.9, 3.0, 70.0, 333.0, 5_000.0, 90_000.0):
        found = reason(price, pack=6, unit=GRAM, amount=250.0)
        assert found is None or 20 / 1.3 <= math.exp(found.would_be) <= 20 * 1.3


def test_of_two_factors_that_of_a_near_duplicate_counts() -> None:
    alone = reason(200.0, width=2.5, pack=8)
    beside = reason(200.0, width=2.5, pack=8, duplicates=[("x7", 25.0)])
    assert alone is not None and alone.kind == "factor"
    assert beside is not None and (beside.kind, math.exp(beside.would_be)) == ("pack", pytest.approx(25.0))


def test_severity_is_one_at_the_ends_of_the_interval_and_two_twice_as_far_from_its_middle() -> None:
    low, high = np.log([[5.0] * 4, [20.0] * 4])
    assert severity(np.log([5.0, 20.0, 40.0, 10.0]), low, high) == pytest.approx([1, 1, 2, 0])


def test_a_price_just_outside_is_hardly_severe_wherever_the_answer_lies_in_the_interval() -> None:
    """An interval ends at the answer where the trees would have it end before."""
    just_outside, far = severity(np.log([20.1, 200.0]), np.log([10.0, 10.0]), np.log([20.0, 20.0]))
    assert 1 < just_outside < 1.1 < far
    assert np.isfinite(severity(np.zeros(1), np.ones(1), np.ones(1))).all()
