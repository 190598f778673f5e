"""Stored prices: claims about what the table's logs are taken for."""

import numpy as np
import pytest

from index.catalogue.item_table import make_items
from index.catalogue.money.stored import stored_prices


@pytest.mark.parametrize(("highest", "cents"), [(10_000, 100), (1_000_000, 1)], ids=["with cents", "whole"])
def test_a_stored_price_is_the_one_that_the_catalogue_has(highest: int, cents: int) -> None:
    prices = np.unique(np.random.default_rng(0).integers(1, highest * cents, 2_000)) / cents
    items = make_items(
        [str(row) for row in range(len(prices))], ["Tea"] * len(prices), [None] * len(prices), prices.tolist()
    )
    assert stored_prices(items["log_price"].to_numpy().astype(np.float64)).tolist() == prices.tolist()


def test_a_price_of_many_digits_stays_within_what_the_table_can_tell() -> None:
    prices = np.array([1 / 3, 0.00123456789, 98_765.43, 12_345_678.9])
    logs = np.log(prices).astype(np.float32).astype(np.float64)
    assert np.abs(stored_prices(logs) / prices - 1).max() < 1e-6
    assert (np.float32(np.log(stored_prices(logs))) == np.float32(logs)).all()
    assert stored_prices(np.zeros(0)).shape == (0,)
