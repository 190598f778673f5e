"""Claims about rows that count by the age of their prices: a weight is what it says wherever something is fitted."""

import numpy as np
import pytest

from engine.ensemble.blend import fit_weights
from engine.ensemble.correction import shift, weights
from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.uncertainty.expected_price import ExpectedPrice
from engine.ensemble.uncertainty.interval import fit_interval
from engine.features.training_set import TrainingSet
from engine.members.kernel.kernel_ridge import KernelRidge
from engine.members.registry import member_fits
from engine.metrics import weighted_quantile
from engine.settings.schema import Blend, CorrectionParameters, DeepTrees, Fit, Gbdt, NetworkSettings, Settings
from index.search.neighbours import Neighbours

OLD = 1e-3  # what the oldest count
QUICK = Fit(12, 32, 32, 1e-2, 0.0, "constant")
SETTINGS = Settings(
    mlp=NetworkSettings("gated", members=1, width=16, dropout=0.0, fit=QUICK),
    lexical=NetworkSettings("words", members=1, width=16, dropout=0.0, fit=QUICK),
    gbdt=Gbdt(rounds=40, learning_rate=0.2, feature_fraction=0.9, least_rows_in_leaf=5, least_rows_of_word=5),
    xgboost=DeepTrees(rounds=20, learning_rate=0.3, depth=4, least_rows_of_word=5),
    catboost=DeepTrees(rounds=100, learning_rate=0.1, depth=4, least_rows_of_word=5),
    members=("mlp", "lexical", "kernel", "gbdt", "xgboost", "catboost"),
)


@pytest.mark.parametrize("member", ["mlp", "lexical", "kernel", "kernel of landmarks", "gbdt", "xgboost", "catboost"])
def test_a_member_prices_by_the_rows_that_count(member, make_items, one_thread):
    name, _, landmarks = member.partition(" ")
    pytest.importorskip(name) if name in ("xgboost", "catboost") else None
    settings = SETTINGS
    if landmarks:
        settings = Settings(kernel=type(SETTINGS.kernel)(landmarks=60))
    inputs, log_price = make_items(160)
    both = inputs.take(np.tile(np.arange(160), 2))  # every item at an old price, and at twice that
    prices = np.concatenate([log_price, log_price + np.log(2)])
    fit = member_fits(settings)[name]
    if name == "kernel":  # which fits all folds at once

        def fit(inputs, log_price, seed, _, age_weight):
            return KernelRidge.fit(inputs, log_price, settings.kernel, seed=seed, age_weight=age_weight)

    by_age = np.repeat([OLD, 1.0], 160)

    def above(age_weight):
        return np.mean(fit(both, prices, 0, {}, age_weight).predict(inputs) - log_price) / np.log(2)

    assert 0.85 < above(by_age) < 1.15
    assert -0.15 < above(by_age[::-1].copy()) < 0.15


def test_outliers_that_are_left_out_take_their_weights_with_them(make_items):
    inputs, log_price = make_items(60)
    log_price[7] = 20.0
    kept = np.delete(np.arange(60), 7)
    weight = np.random.default_rng(0).uniform(OLD, 1, 60)
    without, alone = (member_fits(Settings(members=("gbdt",), outliers=share))["gbdt"] for share in (0.02, 0.0))
    left = without(inputs, log_price, 0, {}, weight)
    right = alone(inputs.take(kept), log_price[kept], 0, {}, weight[kept])
    np.testing.assert_array_equal(left.predict(inputs), right.predict(inputs))


def test_a_quantile_is_that_of_each_value_as_often_as_it_weighs():
    values, times = np.array([5.0, 1.0, 3.0, 2.0]), np.array([1, 3, 2, 4])
    repeated, shares = np.sort(np.repeat(values, times)), np.array([0.01, 0.25, 0.5, 0.75, 0.9, 1.0, 1.5])
    slow = [repeated[min(int(np.ceil(share * 10)), 10) - 1] for share in shares]
    assert weighted_quantile(values, times.astype(float), shares).tolist() == slow


def test_a_neighbour_has_its_share_times_what_it_counts():
    near = Neighbours(np.array([[2, 0, -1], [-1, -1, -1]]), np.array([[0.9, 0.5, 0.0], [0, 0, 0]], np.float32))
    age_weight = np.array([1.0, 0.3, 0.25])
    first, second = 0.25 * np.exp(-2.0 * 0.1), 1.0 * np.exp(-2.0 * 0.5)
    share = np.array([first, second]) / (first + second)
    np.testing.assert_allclose(weights(near, 2.0, age_weight), [[*share, 0], [0, 0, 0]], rtol=1e-6)
    residual = np.array([0.4, 9.0, -0.2])
    moved = shift(near, residual, CorrectionParameters(3, 1.0, 2.0, 0.5), age_weight)
    np.testing.assert_allclose(moved, [0.5 * (share[0] * -0.2 + share[1] * 0.4), 0], rtol=1e-6)


def test_the_blend_is_that_of_rows_as_often_as_they_count():
    random = np.random.default_rng(2)
    truth, times = random.normal(2, 1, 12), random.integers(1, 30, 12)
    predictions = {name: truth + random.normal(0, 0.4, 12) for name in "abc"}
    repeated = {name: np.repeat(values, times) for name, values in predictions.items()}
    expected = fit_weights(repeated, np.exp(np.repeat(truth, times)))
    assert fit_weights(predictions, np.exp(truth), times / 29) == expected
    assert expected != fit_weights(predictions, np.exp(truth))


@pytest.mark.parametrize("rows", [30, 450])
def test_an_interval_of_rows_that_count_one_each_is_the_plain_one(rows):
    random = np.random.default_rng(2)
    estimate = random.normal(2, 1, rows)
    log_price = estimate + random.normal(0, 0.3, rows)
    plain, weighted = (fit_interval(estimate, log_price, 0.8, weight) for weight in (None, np.ones(rows)))
    assert len(plain.low) == len(weighted.low) == max(1, rows // 100)
    if rows < 100:  # the edges of levels are interpolated, or are those of rows
        assert weighted == plain


def test_an_interval_covers_the_errors_that_count():
    random = np.random.default_rng(3)
    estimate, old = random.normal(2, 1, 4000), np.arange(4000) % 2 == 0
    error = random.normal(np.where(old, -0.7, 0.0), 0.1)
    interval = fit_interval(estimate, estimate + error, 0.8, np.where(old, OLD, 1.0))
    low, high = interval.bounds(estimate[~old])
    covered = (low <= estimate[~old] + error[~old]) & (estimate[~old] + error[~old] <= high)
    assert 0.76 < covered.mean() < 0.84 and np.median(high - low) < 0.35


def test_the_expected_price_is_the_mean_of_the_prices_that_count():
    log_price, old = np.linspace(1, 3, 80), np.arange(80) % 2 == 0
    table, median = np.zeros((80, 4)), np.full(80, 2.0)
    mean = ExpectedPrice.fit(table, median, log_price + 2 * old, seed=0, age_weight=np.where(old, OLD, 1.0))
    expected = np.average(np.exp(log_price + 2 * old), weights=np.where(old, OLD, 1.0))
    assert np.exp(mean.log_mean(table, median)) == pytest.approx(expected, rel=0.01)


def test_what_is_fitted_after_the_members_follows_the_rows_that_count(make_items):
    inputs, log_price = make_items(240)
    random, old = np.random.default_rng(4), np.arange(240) % 2 == 0
    fold = random.permutation(np.arange(240) % 3).astype(np.int8)
    vectors = inputs.vectors["name"]
    expected = {"mlp": log_price - old, "gbdt": log_price + ~old}  # one is right of the new rows, one of the old
    oof = OutOfFold(fold, expected, {name: np.tile(values, (3, 1)) for name, values in expected.items()})
    settings = Settings(members=("mlp", "gbdt"), blend=Blend())

    def fitted(age_weight):
        return cross_fit(oof, log_price, vectors, inputs.fields, settings, age_weight=age_weight)

    (new, _), (before, _) = (fitted(np.where(rows, OLD, 1.0)) for rows in (old, ~old))
    assert new.weights == {"mlp": 1, "gbdt": 0} and before.weights == {"mlp": 0, "gbdt": 1}


def test_the_stacker_learns_the_rows_that_count(make_items):
    from engine.ensemble.stacker import Stacker
    from engine.settings.schema import StackerSettings

    _, log_price = make_items(160)
    table, old = np.random.default_rng(5).normal(size=(160, 4)), np.arange(160) % 2 == 0
    settings = StackerSettings(rounds=60, learning_rate=0.2, least_rows_in_leaf=5)
    weight = np.where(old, OLD, 1.0)
    stacker = Stacker.fit(table, log_price, log_price + old, settings, seed=0, age_weight=weight)
    assert np.abs(stacker.predict(table, log_price) - log_price).mean() < 0.1


def test_a_training_set_has_no_weights_unless_it_is_given_some(make_items):
    inputs, log_price = make_items(3)
    assert TrainingSet(inputs, log_price, inputs.vectors["name"], np.arange(3), np.zeros(3, np.int8)).age_weight is None
