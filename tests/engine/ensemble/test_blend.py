"""Claims about the blend: a weighted mean in log price, with the weights that a search of the simplex finds best."""

import itertools

import numpy as np
import pytest

from engine.ensemble.blend import blend, fit_weights
from engine.metrics import smape


def predictions_of(members, rows=80, seed=0):
    """member -> log price with an error of its own size and bias; and the true log price."""
    random = np.random.default_rng(seed)
    truth = random.normal(2.7, 1, rows)
    return {
        name: truth + random.normal(0.3 * place, 0.3 + 0.2 * place, rows) for place, name in enumerate(members)
    }, truth


def loss_of(predictions, weights, price) -> float:
    rows = len(price)
    blended = [sum(weights[m] * predictions[m][i] for m in predictions) for i in range(rows)]
    return smape(price, np.exp(blended))


def test_the_blend_is_the_weighted_mean_of_log_prices_row_by_row():
    predictions, _ = predictions_of("abc")
    weights = {"a": 0.5, "b": 0.2, "c": 0.3}
    slow = [sum(weights[m] * predictions[m][i] for m in "abc") for i in range(80)]
    np.testing.assert_allclose(blend(predictions, weights), slow)
    np.testing.assert_allclose(blend({"a": np.log([2.0]), "b": np.log([8.0])}, {"a": 0.5, "b": 0.5}), np.log([4.0]))


def test_weights_are_matched_by_name_and_not_by_place():
    predictions, _ = predictions_of("ab")
    np.testing.assert_allclose(blend(predictions, {"b": 0.9, "a": 0.1}), blend(predictions, {"a": 0.1, "b": 0.9}))
    np.testing.assert_allclose(blend(predictions, {"b": 1.0, "a": 0.0}), predictions["b"])


def test_predictions_of_every_fold_are_blended_in_one_go():
    predictions, _ = predictions_of("ab", rows=12)
    folded = {name: each.reshape(3, 4) for name, each in predictions.items()}
    weights = {"a": 0.25, "b": 0.75}
    np.testing.assert_allclose(blend(folded, weights), blend(predictions, weights).reshape(3, 4))


@pytest.mark.parametrize(("members", "seed"), [("ab", 0), ("abc", 1), ("abc", 2), ("abcd", 3), ("abcde", 4)])
def test_no_weights_on_the_grid_of_the_simplex_are_better(members, seed):
    predictions, truth = predictions_of(members, rows=15, seed=seed)
    best = fit_weights(predictions, np.exp(truth))
    assert list(best) == list(members)
    assert sum(best.values()) == pytest.approx(1)
    assert min(best.values()) >= 0
    steps = 20 if len(members) < 5 else 10
    shares = (each for each in itertools.product(range(steps + 1), repeat=len(members)) if sum(each) == steps)
    tried = (dict(zip(members, np.array(each) / steps, strict=True)) for each in shares)
    least = min(loss_of(predictions, weights, np.exp(truth)) for weights in tried)
    assert loss_of(predictions, best, np.exp(truth)) == pytest.approx(least, abs=1e-9)


def test_no_point_at_random_on_the_simplex_is_much_better():
    predictions, truth = predictions_of("abc")
    price, best = np.exp(truth), fit_weights(*(predictions_of("abc")[0], np.exp(truth)))
    tried = np.random.default_rng(0).dirichlet(np.ones(3), 300)
    least = min(loss_of(predictions, dict(zip("abc", point, strict=True)), price) for point in tried)
    assert loss_of(predictions, best, price) < least + 0.1


def test_a_perfect_member_takes_all_and_the_blend_is_never_worse_than_a_member():
    predictions, truth = predictions_of("abc")
    assert fit_weights({**predictions, "b": truth}, np.exp(truth)) == {"a": 0, "b": 1, "c": 0}
    best = loss_of(predictions, fit_weights(predictions, np.exp(truth)), np.exp(truth))
    assert all(best <= smape(np.exp(truth), np.exp(each)) + 1e-9 for each in predictions.values())


def test_members_that_err_in_opposite_ways_share_the_blend():
    _, truth = predictions_of("a")
    weights = fit_weights({"low": truth - 0.2, "high": truth + 0.6}, np.exp(truth))
    assert weights == {"low": pytest.approx(0.75), "high": pytest.approx(0.25)}


def test_a_single_member_is_the_blend():
    predictions, truth = predictions_of("a")
    assert fit_weights(predictions, np.exp(truth)) == {"a": 1}


def test_the_measure_is_smape_and_not_squared_error():
    truth = np.zeros(10)
    mostly_right, always_off = np.where(np.arange(10) < 9, 0.0, 12.0), np.full(10, 1.5)
    assert np.square(mostly_right).mean() > np.square(always_off).mean()
    assert fit_weights({"a": mostly_right, "b": always_off}, np.exp(truth)) == {"a": 1, "b": 0}
