"""Claims about the interval: its coverage by simulation, its ranks by counting, its levels by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from engine.ensemble.uncertainty.interval import LEAST_ROWS, MOST_LEVELS, Interval, fit_interval


def drawn(rows, seed):
    """Estimates and log prices; the error grows with the estimate and leans upward, as prices do."""
    random = np.random.default_rng(seed)
    estimate = random.normal(2.7, 1, rows)
    return estimate, estimate + np.exp(0.4 * estimate - 1.5) * (random.exponential(1.0, rows) - 0.7)


def inside(interval, estimate, log_price) -> np.ndarray:
    low, high = interval.bounds(estimate)
    return (low <= log_price) & (log_price <= high)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_new_errors_of_the_same_kind_are_covered_as_often_as_promised(coverage):
    interval = fit_interval(*drawn(5000, seed=0), coverage)
    covered = inside(interval, *drawn(20_000, seed=1))
    assert covered.mean() == pytest.approx(coverage, abs=0.02)


def test_cheap_and_dear_items_are_each_covered_though_their_errors_differ():
    interval = fit_interval(*drawn(5000, seed=0), 0.8)
    estimate, log_price = drawn(20_000, seed=1)
    by_level = np.array_split(inside(interval, estimate, log_price)[np.argsort(estimate)], 5)
    assert all(0.74 < level.mean() < 0.86 for level in by_level)
    low, high = interval.bounds(np.quantile(estimate, [0.05, 0.95]))
    cheap, dear = high - low
    assert dear > 1.5 * cheap


def test_few_rows_are_covered_on_average_over_many_draws():
    covered = []
    for seed in range(300):
        interval = fit_interval(*drawn(30, seed=seed), 0.8)
        covered.append(inside(interval, *drawn(100, seed=10_000 + seed)).mean())
    assert 0.78 < np.mean(covered) < 0.9


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.8, 0.9])
def test_a_new_error_is_covered_in_as_many_of_the_gaps_between_the_old_ones_as_promised(coverage):
    """A new error is as likely to fall into each of the n + 1 gaps: count those that the interval takes in."""
    for rows in range(1, LEAST_ROWS):
        interval = fit_interval(np.zeros(rows), np.arange(1.0, rows + 1), coverage)
        share = inside(interval, np.zeros(rows + 1), np.arange(rows + 1) + 0.5).mean()
        attainable = (rows - 1) / (rows + 1)
        assert share >= min(coverage, attainable) - 1e-9
        assert share <= coverage + 2 / (rows + 1) + 1e-9  # no more than the ends must be moved outward


def test_the_two_tails_are_as_likely():
    for rows in (9, 19, 50, 99):
        interval = fit_interval(np.zeros(rows), np.arange(1.0, rows + 1), 0.8)
        (low,), (high,) = interval.bounds(np.zeros(1))
        assert low - 1 == rows - high


def test_too_few_rows_for_the_promise_get_the_widest_ends_there_are():
    interval = fit_interval(np.array([2.0, 3.0]), np.array([2.5, 2.0]), 0.999)
    assert interval == Interval((), (-1.0,), (0.5,))
    assert fit_interval(np.array([2.0]), np.array([2.25]), 0.8) == Interval((), (0.25,), (0.25,))


def test_errors_that_lean_one_way_give_ends_that_lean_and_mirrored_errors_mirrored_ends():
    estimate, log_price = drawn(2000, seed=0)
    interval, mirrored = fit_interval(estimate, log_price, 0.8), fit_interval(estimate, 2 * estimate - log_price, 0.8)
    assert all(-low < high for low, high in zip(interval.low, interval.high, strict=True))
    np.testing.assert_allclose(mirrored.low, -np.array(interval.high))
    np.testing.assert_allclose(mirrored.high, -np.array(interval.low))


def test_a_model_that_is_always_too_low_has_an_interval_above_its_estimate():
    estimate = np.linspace(1, 3, 50)
    low, high = fit_interval(estimate, estimate + 1 + 0.01 * np.sin(np.arange(50)), 0.8).bounds(np.array([2.0]))
    assert 2.9 < low[0] < high[0] < 3.1


@pytest.mark.parametrize("rows", [1, LEAST_ROWS - 1, LEAST_ROWS, 2 * LEAST_ROWS, 5 * LEAST_ROWS + 50, 10**4])
def test_there_are_as_many_levels_as_have_rows_enough(rows):
    estimate, log_price = drawn(rows, seed=0)
    interval = fit_interval(estimate, log_price, 0.8)
    levels = len(interval.low)
    assert len(interval.high) == levels == len(interval.edges) + 1 <= MOST_LEVELS
    held = np.bincount(np.searchsorted(interval.edges, estimate, side="right"), minlength=levels)
    assert levels == 1 or held.min() >= LEAST_ROWS - 1
    assert levels == MOST_LEVELS or rows < (levels + 1) * LEAST_ROWS
    assert list(interval.edges) == sorted(interval.edges)


def test_every_level_has_the_ends_of_its_own_errors():
    estimate, log_price = drawn(3 * LEAST_ROWS, seed=0)
    interval = fit_interval(estimate, log_price, 0.8)
    for level, rows in enumerate(np.array_split(np.argsort(estimate), 3)):
        alone = fit_interval(np.zeros(len(rows)), (log_price - estimate)[rows], 0.8)
        assert (interval.low[level], interval.high[level]) == pytest.approx((alone.low[0], alone.high[0]), abs=1e-12)


def test_the_bounds_of_an_estimate_are_those_of_its_level_and_an_edge_belongs_to_the_level_above():
    interval = Interval((1.0, 2.0), (-0.1, -0.2, -0.3), (0.1, 0.2, 0.3))
    estimate = np.array([-50.0, 0.5, 1.0, 1.5, 2.0, 50.0])
    low, high = interval.bounds(estimate)
    np.testing.assert_allclose(estimate - low, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    np.testing.assert_allclose(high - estimate, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_a_higher_promise_is_a_wider_interval():
    estimate, log_price = drawn(2000, seed=0)
    widths = [np.subtract(*fit_interval(estimate, log_price, c).bounds(estimate)[::-1]) for c in (0.5, 0.8, 0.95)]
    assert (widths[0] < widths[1]).all()
    assert (widths[1] < widths[2]).all()


def test_many_equal_estimates_leave_every_one_of_them_its_interval():
    estimate = np.repeat([1.0, 2.0, 3.0], [100, 800, 100])
    log_price = estimate + np.random.default_rng(0).normal(0, 0.5, 1000)
    low, high = fit_interval(estimate, log_price, 0.8).bounds(np.array([1.0, 2.0, 3.0]))
    assert (high - low > 0.5).all()


def test_dearer_money_moves_the_interval_and_not_its_width():
    estimate, log_price = drawn(500, seed=0)
    here, there = fit_interval(estimate, log_price, 0.8), fit_interval(estimate + 4, log_price + 4, 0.8)
    np.testing.assert_allclose(there.low, here.low, atol=1e-9)
    np.testing.assert_allclose(there.edges, np.array(here.edges) + 4)


def test_an_interval_is_kept_as_plain_numbers():
    interval = fit_interval(*drawn(500, seed=0), 0.8)
    kept = json.loads(json.dumps(asdict(interval)))
    assert Interval(**{name: tuple(values) for name, values in kept.items()}) == interval


def test_an_estimate_below_many_equal_ones_has_an_interval():
    from engine.ensemble.uncertainty.interval import fit_interval

    log_price = 2 + np.random.default_rng(0).normal(size=1000)
    low, high = fit_interval(np.full(1000, 2.0), log_price, 0.8).bounds(np.array([1.9]))
    assert high[0] - low[0] > 1
