"""Claims about the trees: they learn, repeat, come back from the disk the same, and see what is absent as absent."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.members.lightgbm import LightGbm
from engine.members.member import FitContext
from engine.settings.schema import Gbdt as Settings

WORDS = Settings(
    reads=("words",), rounds=20, leaves=7, learning_rate=0.2, feature_fraction=0.8, least_rows_in_leaf=5,
    least_rows_of_word=5,
)  # fmt: skip
VECTORS = replace(WORDS, reads=("vectors",))
STUMP = replace(WORDS, leaves=2, rounds=1, learning_rate=1.0, feature_fraction=1.0, row_fraction=1.0)
every = pytest.mark.parametrize(
    "settings", [WORDS, VECTORS, replace(WORDS, reads=("words", "vectors"))], ids=["words", "vectors", "both"]
)


def fit(inputs, log_price, settings, seed=0, threads=1) -> LightGbm:
    return LightGbm.fit(inputs, log_price, settings, FitContext("gbdt", seed, threads, {}, {}))


def without_photographs(inputs):
    return replace(inputs, vectors={**inputs.vectors, "photo": np.zeros_like(inputs.vectors["photo"])})


@every
def test_an_easy_law_is_learned_better_than_the_best_constant(make_items, settings):
    inputs, log_price = make_items(300, seed=1)
    unseen, truth = make_items(100, seed=2)
    missed = np.abs(fit(inputs, log_price, settings).predict(unseen) - truth).mean()
    assert missed < 0.5 * np.abs(np.median(log_price) - truth).mean()


@every
def test_a_saved_model_prices_as_it_did(make_items, settings, tmp_path):
    inputs, log_price = make_items(100)
    fitted, unseen = fit(inputs, log_price, settings), make_items(20, seed=3)[0]
    fitted.save(tmp_path / "member.txt")
    loaded = LightGbm.load(tmp_path / "member.txt", {})
    np.testing.assert_allclose(loaded.predict(unseen), fitted.predict(unseen), rtol=1e-12)
    loaded.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "member.txt").read_bytes()


@every
def test_the_same_seed_prices_the_same_and_another_seed_otherwise(make_items, settings):
    inputs, log_price = make_items(100)
    one, same, other = (fit(inputs, log_price, settings, seed).predict(inputs) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@every
def test_the_trees_are_the_same_whatever_the_number_of_threads(make_items, settings):
    inputs, log_price = make_items(200)
    few = replace(settings, rounds=3)
    one, two = (fit(inputs, log_price, few, threads=n).predict(inputs) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@every
def test_a_query_of_one_is_priced_as_in_a_batch(make_items, settings):
    inputs, log_price = make_items(100)
    fitted = fit(inputs, log_price, settings)
    alone = np.concatenate([fitted.predict(inputs.take(np.array([row]))) for row in range(20)])
    together = fitted.predict(inputs)
    np.testing.assert_array_equal(alone, together[:20])
    assert together.dtype == np.float64
    assert len(set(together)) > 10


def test_trees_that_read_words_are_deaf_to_vectors_and_the_other_way_round(make_items):
    inputs, log_price = make_items(100)
    mute, blank = replace(inputs, words=csr_matrix(inputs.words.shape, dtype=np.float32)), without_photographs(inputs)
    blank = replace(blank, vectors={**blank.vectors, "name": np.zeros_like(blank.vectors["name"])})
    by_words, by_vectors = fit(inputs, log_price, WORDS), fit(inputs, log_price, VECTORS)
    np.testing.assert_array_equal(by_words.predict(blank), by_words.predict(inputs))
    np.testing.assert_array_equal(by_vectors.predict(mute), by_vectors.predict(inputs))
    assert np.abs(by_words.predict(mute) - by_words.predict(inputs)).max() > 0.1
    assert np.abs(by_vectors.predict(blank) - by_vectors.predict(inputs)).max() > 0.1


def test_a_word_that_is_too_rare_is_no_column_and_one_that_is_frequent_enough_is(make_items):
    inputs, _ = make_items(100)
    said = np.arange(100) < 30
    words = np.zeros((100, 40), np.float32)
    words[:, 17] = said
    alone = replace(inputs, words=csr_matrix(words), numbers=np.zeros_like(inputs.numbers), unit=inputs.unit * 0)
    predicted = fit(alone, said * 2.0, replace(STUMP, least_rows_of_word=30)).predict(alone)
    np.testing.assert_allclose(predicted, said * 2.0, atol=1e-6)
    assert len(set(fit(alone, said * 2.0, replace(STUMP, least_rows_of_word=31)).predict(alone))) == 1


def test_an_absent_vector_is_missing_and_not_a_vector_of_zeros(make_items):
    inputs, _ = make_items(99)
    photographs = np.array([-1.0, 1.0, 0.0], np.float32)[np.arange(99) % 3, None]
    absent = (photographs[:, 0] == 0) * 2.0
    bare = replace(inputs, vectors={"photo": photographs}, numbers=np.zeros_like(inputs.numbers), unit=inputs.unit * 0)
    one_split = replace(STUMP, reads=("vectors",))  # which cannot part what lies between -1 and 1 from both
    np.testing.assert_allclose(fit(bare, absent, one_split).predict(bare), absent, atol=1e-6)


@pytest.mark.parametrize("reads", [("words",), ("vectors",)])
def test_the_unit_is_a_kind_and_no_quantity(make_items, reads):
    inputs, _ = make_items(300)
    odd_one_out = (inputs.unit == 1).astype(float)
    deaf = replace(inputs, numbers=np.zeros_like(inputs.numbers))
    one_split = fit(deaf, odd_one_out, replace(STUMP, reads=reads))  # which cannot part 1 from both 0 and 2
    np.testing.assert_allclose(one_split.predict(deaf), odd_one_out, atol=1e-6)


@every
def test_numbers_are_read(make_items, settings):
    inputs, _ = make_items(200)
    truth = (inputs.numbers[:, 2] > 0).astype(float)
    np.testing.assert_allclose(
        fit(inputs, truth, replace(STUMP, reads=settings.reads)).predict(inputs), truth, atol=0.05
    )


def test_the_median_is_predicted_and_not_the_mean(make_items):
    inputs, _ = make_items(100)
    skewed = np.where(np.arange(100) < 10, 50.0, 1.0)
    alike = inputs.take(np.zeros(100, np.int64))
    np.testing.assert_allclose(fit(alike, skewed, WORDS).predict(alike), 1.0)


def test_a_photograph_that_no_row_had_is_no_hindrance(make_items):
    inputs, log_price = make_items(100)
    bare = without_photographs(inputs)
    fitted = fit(bare, log_price, VECTORS)
    np.testing.assert_array_equal(fitted.predict(inputs), fitted.predict(bare))


@every
def test_fewer_rows_than_a_leaf_must_hold_are_priced_alike(make_items, settings):
    inputs, log_price = make_items(6)
    predicted = fit(inputs, log_price, replace(settings, least_rows_in_leaf=50)).predict(inputs)
    assert len(set(predicted)) == 1
    assert log_price.min() <= predicted[0] <= log_price.max()
