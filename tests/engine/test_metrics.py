"""Claims about the measures of error and their intervals."""

import math

import numpy as np
import pytest

from engine import metrics
from engine.metrics import (
    bootstrap,
    coverage,
    interval_score,
    median_ape,
    paired_bootstrap,
    r_squared,
    row_smape,
    smape,
)


def test_smape_is_the_full_definition():
    assert smape([10, 30], [30, 30]) == pytest.approx((100 * 20 / 20 + 0) / 2)
    assert smape([1], [1e-12]) == pytest.approx(200)


def test_r_squared_is_the_share_of_the_variance_that_is_explained():
    assert r_squared([1, 2, 3], [1, 2, 3]) == 1
    assert r_squared([1, 2, 3], [2, 2, 2]) == 0
    assert r_squared([1, 2, 6], [2, 2, 2]) == pytest.approx(1 - 17 / 14)
    assert (r_squared([4, 4], [4, 4]), r_squared([4, 4], [4, 5])) == (1, 0)


def test_smape_is_200_tanh_of_half_the_log_ratio():
    random = np.random.default_rng(0)
    price, predicted = np.exp(random.normal(2.7, 1, (2, 100)))
    by_logs = 200 * np.tanh(np.abs(np.log(price / predicted)) / 2)
    np.testing.assert_allclose(row_smape(price, predicted), by_logs)
    assert smape(price, predicted) == pytest.approx(by_logs.mean())


def test_smape_is_symmetric_and_keeps_to_its_range():
    random = np.random.default_rng(0)
    price, predicted = random.normal(0, 1, (2, 500))
    rows = row_smape(price, predicted)
    np.testing.assert_array_equal(rows, row_smape(predicted, price))
    assert rows.min() >= 0
    assert rows.max() == pytest.approx(200)


def test_zero_and_zero_is_no_error_and_zero_against_something_is_all_of_it():
    assert row_smape([0, 0, 5], [0, 5, 0]).tolist() == [0, 200, 200]


def test_median_ape_is_percent_of_the_true_price_not_of_the_predicted():
    assert median_ape([10, 10, 10], [11, 15, 100]) == pytest.approx(50)
    assert median_ape([10], [20]) == pytest.approx(100)
    assert median_ape([20], [10]) == pytest.approx(50)


def test_median_ape_of_a_zero_price_is_nothing_or_infinite():
    assert median_ape([0], [0]) == 0
    assert median_ape([0], [1]) == math.inf


def test_coverage_counts_both_ends_in():
    assert coverage([1, 2, 3, 4], [1, 1, 1, 1], [3, 3, 3, 3]) == 0.75


def test_float32_prices_are_summed_in_float64():
    price = np.full(3_000_001, 10, np.float32)
    assert smape(price, price * np.float32(1.5)) == pytest.approx(40, abs=1e-9)


@pytest.mark.parametrize("measure", [smape, row_smape, median_ape])
@pytest.mark.parametrize(
    ("price", "predicted"), [([1, 2], [1]), ([[1, 2]], [[1, 2]]), ([], []), ([1, 2], [1, math.nan]), ([math.inf], [1])]
)
def test_shapes_and_values_that_cannot_be_scored_are_our_mistake(measure, price, predicted):
    with pytest.raises(AssertionError):
        measure(price, predicted)


def test_bootstrap_agrees_with_the_textbook_interval_of_a_mean():
    values = np.random.default_rng(0).normal(5, 2, 4000)
    low, high = bootstrap(values, seed=0)
    half = 1.96 * values.std() / math.sqrt(4000)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_a_wider_level_is_a_wider_interval():
    values = np.random.default_rng(0).random(100)
    narrow, wide = bootstrap(values, level=0.5, seed=0), bootstrap(values, level=0.99, seed=0)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_seed_decides_and_the_same_seed_repeats():
    values = np.random.default_rng(0).random(100)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_twins_that_err_alike_widen_the_interval_as_if_each_group_were_one_row():
    once = np.random.default_rng(0).normal(0, 1, 500)
    tenfold, groups = np.repeat(once, 10), np.repeat(np.arange(500), 10)
    by_group, alone = bootstrap(tenfold, groups=groups, seed=0), bootstrap(once, seed=0)
    assert by_group == pytest.approx(alone)
    naive = bootstrap(tenfold, seed=0)
    assert by_group[1] - by_group[0] > 2.5 * (naive[1] - naive[0])


def test_groups_of_one_row_are_the_plain_bootstrap():
    values = np.random.default_rng(0).random(300)
    assert bootstrap(values, groups=np.arange(300) * 7, seed=3) == pytest.approx(bootstrap(values, seed=3))


def test_a_group_counts_by_its_rows():
    values, groups = np.array([0.0] + [1.0] * 99), np.array([0] + [1] * 99)
    means = metrics._resampled_means(np.array([0.0, 99.0]), np.array([1, 99]), 2000, np.random.default_rng(0))
    assert set(np.round(means, 6)) == {0.0, 0.99, 1.0}
    low, high = bootstrap(values, groups=groups, seed=0)
    assert (low, high) == (0.0, 1.0)


def test_a_small_step_of_memory_draws_the_same(monkeypatch):
    values = np.random.default_rng(0).random(101)
    at_once = bootstrap(values, seed=0)
    monkeypatch.setattr(metrics, "RESAMPLED_AT_ONCE", 7)
    assert bootstrap(values, seed=0) == at_once


def test_pairing_sees_a_difference_that_the_rows_own_spread_would_hide():
    random = np.random.default_rng(0)
    b = random.normal(50, 30, 400)
    a = b + random.normal(0.5, 1, 400)
    low, high = paired_bootstrap(a, b, seed=0)
    assert 0 < low < 0.5 < high < 1
    assert paired_bootstrap(b, a, seed=0)[1] < 0
    assert bootstrap(a, seed=0)[0] < bootstrap(b, seed=0)[1]


def test_a_paired_bootstrap_is_a_bootstrap_of_the_difference_by_group():
    random = np.random.default_rng(0)
    a, b, groups = random.random(60), random.random(60), random.integers(0, 9, 60)
    expected = bootstrap(a - b, groups=groups, draws=200, level=0.8, seed=5)
    assert paired_bootstrap(a, b, groups=groups, draws=200, level=0.8, seed=5) == expected


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, math.nan]])
def test_a_bootstrap_of_what_is_no_row_of_numbers_is_our_mistake(values):
    with pytest.raises(AssertionError):
        bootstrap(values, seed=0)


def test_groups_and_pairs_of_another_length_are_our_mistake():
    with pytest.raises(AssertionError):
        bootstrap([1.0, 2.0], groups=[1], seed=0)
    with pytest.raises(AssertionError):
        paired_bootstrap([1.0, 2.0], [1.0], seed=0)


def test_the_interval_score_is_the_width_and_for_what_lies_outside_ten_times_how_far():
    low, high = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 2.0, 3.0, 1.0])
    values = np.array([1.5, 2.3, 0.9, 1.0])  # inside; above by 0.3; below by 0.1; on a point
    assert interval_score(values, low, high, 0.8) == pytest.approx((1 + (1 + 3) + (2 + 1) + 0) / 4)
    assert interval_score(values[:2], low[:2], high[:2], 0.5) == pytest.approx((1 + (1 + 4 * 0.3)) / 2)


def test_no_interval_scores_better_on_average_than_the_quantiles():
    values = np.random.default_rng(0).normal(size=4000)
    least, most = np.quantile(values, [0.1, 0.9])
    best = interval_score(values, np.full(4000, least), np.full(4000, most), 0.8)
    for wider in (-0.3, 0.3):
        other = interval_score(values, np.full(4000, least - wider), np.full(4000, most + wider), 0.8)
        assert best < other
