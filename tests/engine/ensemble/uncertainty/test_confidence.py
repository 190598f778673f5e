"""Claims about the word for a price: where it turns, and the share of such items that were close."""

import numpy as np
import pytest

from engine.ensemble.uncertainty.confidence import LEAST_ROWS, MOST_STEPS, Spread, WithinShare, confidence
from index.arrays import Float64


def spread_of(expected_error: Float64, unlike: Float64 | None = None, brief: Float64 | None = None) -> Spread:
    n = len(expected_error)
    none, zero = np.zeros(n, bool), np.zeros(n)
    flags = (none if flag is None else flag.astype(bool) for flag in (unlike, brief))
    return Spread(expected_error, zero, zero, *flags, zero)


def test_the_word_turns_at_a_fifth_and_at_two_fifths() -> None:
    error = np.log([1.0, 1.19, 1.2, 1.21, 1.39, 1.4, 1.41, 9.0])
    assert confidence(spread_of(error)) == ["high"] * 3 + ["medium"] * 3 + ["low"] * 2


def test_what_is_unlike_or_brief_is_low_however_small_its_expected_error() -> None:
    error, first, second = np.full(3, 0.02), np.array([1, 0, 0]), np.array([0, 1, 0])
    assert confidence(spread_of(error, first, second)) == ["low", "low", "high"]


def test_no_price_has_no_word() -> None:
    assert confidence(spread_of(np.zeros(0))) == []


def test_the_share_of_close_prices_is_counted_step_by_step() -> None:
    """Three steps of a hundred rows: 80, 50 and 10 of them within a fifth; steps that rise are joined."""
    expected = np.repeat([0.1, 0.2, 0.3], LEAST_ROWS)
    error = np.concatenate([np.where(np.arange(LEAST_ROWS) < close, 0.0, 1.0) for close in (80, 50, 10)])
    fitted = WithinShare.fit(expected, error)
    assert fitted == WithinShare((0.1, 0.2, 0.3), (0.8, 0.5, 0.1))
    assert fitted.of_error(np.array([0.0, 0.1, 0.15, 0.3, 9.0])).tolist() == pytest.approx([0.8, 0.8, 0.65, 0.1, 0.1])
    turned = WithinShare.fit(expected, error[::-1])
    assert turned.share == pytest.approx((140 / 300,) * 3)


def test_close_is_within_a_fifth_of_the_price_above_and_below() -> None:
    """An error is log price less answer: the answer is exp(-error) times the price."""
    for times, close in ((0.79, 0.0), (0.81, 1.0), (1.19, 1.0), (1.21, 0.0)):
        assert WithinShare.fit(np.full(20, 0.3), np.full(20, -np.log(times))).share == (close,)


@pytest.mark.parametrize("rows", [1, 60, 250, 5000])
def test_a_larger_expected_error_never_means_a_larger_share(rows: int) -> None:
    random = np.random.default_rng(rows)
    expected = random.uniform(0.02, 1, rows)
    fitted = WithinShare.fit(expected, expected * random.normal(size=rows))
    assert len(fitted.share) == min(max(rows // LEAST_ROWS, 1), MOST_STEPS) == len(fitted.error)
    shares = fitted.of_error(np.linspace(0, 2, 500))
    assert (np.diff(shares) <= 1e-12).all() and (shares >= 0).all() and (shares <= 1).all()


def test_items_of_one_expected_error_have_one_share_whatever_their_order() -> None:
    error = np.repeat([0.0, 1.0], 3 * LEAST_ROWS)  # the first half close, the other not
    fitted = WithinShare.fit(np.full(len(error), 0.02), error)
    assert fitted == WithinShare((0.02,), (0.5,))


def test_a_share_is_of_the_rows_that_count() -> None:
    error, weight = np.tile([0.0, 1.0], 50), np.tile([0.25, 1.0], 50)
    assert WithinShare.fit(np.full(100, 0.3), error, weight).share == pytest.approx((0.2,))


def test_a_share_comes_back_from_what_was_written() -> None:
    fitted = WithinShare((0.1, 0.4), (0.9, 0.2))
    assert WithinShare.of({"error": [0.1, 0.4], "share": [0.9, 0.2]}) == fitted
