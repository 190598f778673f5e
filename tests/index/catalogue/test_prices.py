"""Claims about which cells are prices; what is refused, and why, is claimed row by row in test_items."""

import pytest

from index.catalogue.prices import HIGHEST_PRICE, LOWEST_PRICE, read_price


@pytest.mark.parametrize(
    ("cell", "price"), [("4.5", 4.5), (" 4 ", 4), (".5", 0.5), ("1e3", 1000), ("+2", 2), ("12,50", 12.5), ("5.", 5)]
)
def test_a_price_is_read_as_a_plain_number(cell: str, price: float) -> None:
    assert read_price(cell) == price


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "no price"),
        ("-inf", "price is not finite: -inf"),
        ("1,299", "price is not a plain number: 1,299"),
        ("-1", "price is not positive: -1"),
        (str(2 * HIGHEST_PRICE), "price is beyond 1e-06 to 1e+12: 2000000000000.0"),
        (str(LOWEST_PRICE / 2), "price is beyond 1e-06 to 1e+12: 5e-07"),
    ],
)
def test_what_is_no_price_is_refused_with_its_reason(cell: str | None, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        read_price(cell)
    assert str(refusal.value) == reason
