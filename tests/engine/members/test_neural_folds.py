"""Claims about folds' networks asked in one pass: they answer what the mean of `predict` answers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.features.tabular import Tabular
from engine.members import neural_folds
from engine.members.neural import NeuralMember
from engine.members.neural_folds import NeuralFolds
from engine.settings.schema import Fit, NetworkSettings

GATED = NetworkSettings("gated", members=1, width=8, dropout=0.1, fit=Fit(2, 16, 32, 0.02, 0.01, "one_cycle"))
WORDS = NetworkSettings("words", members=1, width=8, dropout=0.1, fit=Fit(2, 16, 32, 0.02, 0.01, "constant"))
pytestmark = pytest.mark.usefixtures("one_thread")
both = pytest.mark.parametrize("settings", [GATED, WORDS], ids=["gated", "words"])


@pytest.fixture
def fit_folds(make_items):
    """(settings) -> three members, of rows and prices that have little in common but their law."""

    def fit(settings, change=lambda inputs, fold: inputs):
        folds = [make_items(60 + 10 * fold, seed=fold) for fold in range(3)]
        return [
            NeuralMember.fit(change(inputs, fold), log_price + fold, settings, fold)
            for fold, (inputs, log_price) in enumerate(folds)
        ]

    return fit


def agree(members, inputs, stacked=True):
    folds = NeuralFolds(members)
    assert (folds._stacked is not None) == stacked
    predicted = folds.predict(inputs)
    assert predicted.dtype == np.float64
    one_by_one = np.mean([member.predict(inputs) for member in members], axis=0)
    np.testing.assert_allclose(predicted, one_by_one, atol=1e-5)
    return predicted


@both
@pytest.mark.parametrize("networks", [1, 2])
def test_the_folds_in_one_pass_answer_their_mean(make_items, fit_folds, settings, networks):
    members = fit_folds(replace(settings, members=networks))
    inputs = make_items(12, seed=9)[0]
    assert np.ptp([member.predict(inputs) for member in members], axis=0).min() > 0.1  # else a mean shows nothing
    together = agree(members, inputs)
    for row in range(12):
        np.testing.assert_allclose(agree(members, inputs.take(np.array([row]))), together[row], atol=1e-5)


@both
def test_the_folds_come_back_from_the_disk_and_answer_the_same(make_items, fit_folds, settings, tmp_path):
    members, inputs = fit_folds(settings), make_items(5, seed=9)[0]
    for fold, member in enumerate(members):
        member.save(tmp_path / str(fold))
    loaded = [NeuralMember.load(tmp_path / str(fold)) for fold in range(3)]
    np.testing.assert_allclose(agree(loaded, inputs), NeuralFolds(members).predict(inputs), rtol=1e-6)


@both
def test_many_items_are_priced_fold_by_fold(make_items, fit_folds, settings, monkeypatch):
    members, inputs = fit_folds(settings), make_items(40, seed=9)[0]
    folds = NeuralFolds(members)
    monkeypatch.setattr(folds._stacked, "predict", None)
    np.testing.assert_array_equal(folds.predict(inputs), np.mean([each.predict(inputs) for each in members], axis=0))
    monkeypatch.setattr(neural_folds, "FEW_ROWS", 40)
    with pytest.raises(TypeError):
        folds.predict(inputs)


@both
def test_no_vector_no_word_and_a_number_far_away_are_priced_alike(make_items, fit_folds, settings):
    members, inputs = fit_folds(settings), make_items(6, seed=9)[0]
    agree(members, replace(inputs, vectors={name: np.zeros_like(each) for name, each in inputs.vectors.items()}))
    agree(members, replace(inputs, words=csr_matrix(inputs.words.shape, dtype=np.float32)))
    agree(members, replace(inputs, numbers=inputs.numbers * 1000))


def test_a_word_that_one_fold_knows_counts_in_that_fold_alone(make_items, fit_folds):
    def without(inputs, fold):
        words = inputs.words.toarray()
        words[:, 10 * fold : 10 * fold + 10] = 0
        return replace(inputs, words=csr_matrix(words))

    members = fit_folds(WORDS, without)
    assert len({len(member.columns) for member in members} | {40}) > 1
    assert len(np.unique(np.concatenate([member.columns for member in members]))) == 40
    inputs = make_items(12, seed=9)[0]
    agree(members, inputs)
    wide = csr_matrix((inputs.words.data, inputs.words.indices + 5, inputs.words.indptr), shape=(12, 45))
    agree(members, replace(inputs, words=wide))  # columns beyond all that are known


def test_folds_that_know_no_word_at_all_are_priced_by_the_fields(make_items, fit_folds):
    def apart(inputs, fold):
        return replace(inputs, words=csr_matrix(np.eye(len(inputs), 100, dtype=np.float32)))

    agree(fit_folds(WORDS, apart), make_items(4, seed=9)[0])


def test_folds_of_which_one_has_seen_no_photograph_answer_their_mean(make_items, fit_folds):
    def first_without(inputs, fold):
        photo = inputs.vectors["photo"]
        return inputs if fold else replace(inputs, vectors={**inputs.vectors, "photo": np.zeros_like(photo)})

    agree(fit_folds(GATED, first_without), make_items(5, seed=9)[0], stacked=False)


@pytest.mark.parametrize("settings", [GATED, WORDS], ids=["gated", "words"])
def test_folds_with_further_columns_answer_their_mean(make_items, fit_folds, settings):
    def change(inputs, fold=0):
        places = np.arange(len(inputs))[:, None]
        return replace(inputs, tabular=Tabular(places % 3, places.astype(np.float32)))

    agree(fit_folds(settings, change), change(make_items(5, seed=9)[0]), stacked=False)


@pytest.mark.parametrize("head", ["towers", "mlp"])
def test_folds_of_another_head_answer_their_mean(make_items, fit_folds, head):
    agree(fit_folds(replace(GATED, head=head)), make_items(5, seed=9)[0], stacked=False)


def test_folds_that_answer_a_place_between_prices_answer_their_mean(make_items, fit_folds):
    bounded = replace(GATED, fit=replace(GATED.fit, loss="minmax_bce"))
    agree(fit_folds(bounded), make_items(5, seed=9)[0], stacked=False)
