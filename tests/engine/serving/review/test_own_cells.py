"""Claims about a row's own cells: weights as people write them, numbers of frames as they are, the column of groups."""

import numpy as np
import pytest

from engine.serving.review.own_cells import CURRENT, Facts, OwnColumns, facts_of_cells
from engine.settings.rules import NO_RULES
from index.catalogue.shops.headings import CATEGORY_WORDS, GROUP_WORDS


def facts(prices: list[object], sold: list[object], currency: str = "USD") -> Facts:
    return facts_of_cells({CURRENT: prices, "sold": sold}, len(prices), OwnColumns(NO_RULES, weight="sold"), currency)


@pytest.mark.parametrize(
    ("cells", "currency", "weights"),
    [
        (["3", "1,200", "0"], "USD", [3, 1200, 0]),
        (["2,5", "1.200", "12"], "EUR", [2.5, 1200, 12]),
        (["0.125", "2.5", "1e3"], "USD", [0.125, 2.5, 1000]),
    ],
)
def test_a_weight_is_read_as_its_column_writes_it(cells: list[object], currency: str, weights: list[float]) -> None:
    assert facts(["1", "2", "3"], cells, currency).weight.tolist() == weights


def test_a_weight_that_is_none_is_told() -> None:
    read = facts(["1", "2", "3"], ["many", "-3", "$4"])
    assert np.isnan(read.weight).all()
    assert list(read.fault) == ["sold: no number: many", "sold: below 0: -3", "sold: no number: $4"]


def test_numbers_of_a_frame_are_what_they_are_in_every_currency() -> None:
    read = facts([1.299, 2.125], [1.125, 3.0], "EUR")
    assert (read.current.tolist(), read.weight.tolist()) == ([1.299, 2.125], [1.125, 3])


def test_a_price_of_nothing_is_no_price_that_a_change_could_be_of() -> None:
    read = facts([0.0, "0", 4.0], [1, 1, 1])
    assert np.isnan(read.current[:2]).all() and read.current[2] == 4
    assert all("price is not positive: 0" in fault for fault in read.fault[:2])


def test_a_price_in_crowns_is_none_of_an_index_in_dollars() -> None:
    read = facts(["99 kr", "$4"], [1, 1])
    assert np.isnan(read.current[0]) and read.current[1] == 4
    assert read.fault[0] == "current: price may be in SEK or NOK or DKK or ISK: 99 kr"
    assert facts(["99 kr"], [1], "SEK").current.tolist() == [99]


@pytest.mark.parametrize("heading", ["Warengruppe", "Catégorie", "Product type", "Category", "Kategorie", "カテゴリ"])
def test_headings_of_groups_are_headings_of_kinds(heading: str) -> None:
    assert heading.casefold() in GROUP_WORDS and set(GROUP_WORDS) < set(CATEGORY_WORDS)
