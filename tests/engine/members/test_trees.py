"""Claims about all three kinds of trees: they learn, repeat, come back from the disk, and read what they are told."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.members.catboost import CatBoost
from engine.members.lightgbm import LightGbm
from engine.members.member import FitContext
from engine.members.neural import NeuralMember
from engine.members.registry import member_fits
from engine.members.tree_features import TreeTable
from engine.members.xgboost import XgBoost
from engine.settings.schema import DeepTrees, Fit, NetworkSettings, Settings
from engine.settings.schema import Gbdt as GbdtSettings
from index.catalogue.units import UNITS
from index.errors import DataRefused, UsageError

ALL = {"rounds": 30, "learning_rate": 0.3, "feature_fraction": 1.0, "row_fraction": 1.0, "least_rows_of_word": 5}
KINDS = {
    "gbdt": (LightGbm, GbdtSettings(**ALL, leaves=7, least_rows_in_leaf=5), "txt"),
    "xgboost": (XgBoost, DeepTrees(**ALL, depth=3), "ubj"),
    "catboost": (CatBoost, DeepTrees(**ALL, depth=3), "cbm"),
}
every = pytest.mark.parametrize("kind", KINDS)
reads = pytest.mark.parametrize("reads", [("words",), ("vectors",), ("fused",), ("words", "vectors", "fused")], ids=str)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def mlp(make_items):
    """Of other rows than most tests', and good enough that trees which read it are."""
    settings = NetworkSettings("gated", 2, 8, 0.1, Fit(8, 16, 32, 0.01, 0.01, "one_cycle"))
    return NeuralMember.fit(*make_items(300, seed=1), settings, 0)


def fit(kind, inputs, log_price, mlp=None, *, seed=0, threads=1, age_weight=None, **changes):
    of, settings, _ = KINDS[kind]
    fitted = {} if mlp is None else {"mlp": mlp}
    context = FitContext(kind, seed, threads, fitted, {}, age_weight)
    return of.fit(inputs, log_price, replace(settings, **changes), context)


@every
@reads
def test_an_easy_law_is_learned_better_than_the_best_constant(make_items, mlp, kind, reads):
    inputs, log_price = make_items(300, seed=1)
    unseen, truth = make_items(100, seed=2)
    missed = np.abs(fit(kind, inputs, log_price, mlp, reads=reads).predict(unseen) - truth).mean()
    assert missed < 0.5 * np.abs(np.median(log_price) - truth).mean()


@every
@reads
def test_a_saved_model_prices_as_it_did_and_the_same_model_is_the_same_bytes(make_items, mlp, kind, reads, tmp_path):
    inputs, log_price = make_items(100)
    unseen, (of, _, suffix) = make_items(20, seed=3)[0], KINDS[kind]
    fitted, again = (fit(kind, inputs, log_price, mlp, reads=reads) for _ in range(2))
    paths = tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}"
    for model, path in zip((fitted, again), paths, strict=True):
        model.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    loaded = of.load(paths[0], {"mlp": mlp})
    np.testing.assert_array_equal(loaded.predict(unseen), fitted.predict(unseen))


@every
def test_the_same_seed_prices_the_same_and_another_seed_otherwise(make_items, kind):
    inputs, log_price = make_items(100)
    drawn = {"row_fraction": 0.6, "feature_fraction": 0.6}
    one, same, other = (fit(kind, inputs, log_price, seed=seed, **drawn).predict(inputs) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@every
@pytest.mark.parametrize("seed", [2**31 - 1, 2**31 * 36])
def test_any_seed_of_a_build_is_a_seed(make_items, kind, seed):
    inputs, log_price = make_items(30)
    assert np.isfinite(fit(kind, inputs, log_price, seed=seed, rounds=2).predict(inputs)).all()


@every
def test_the_trees_are_the_same_whatever_the_number_of_threads(make_items, kind):
    inputs, log_price = make_items(200)
    one, two = (fit(kind, inputs, log_price, threads=n, rounds=3).predict(inputs) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@every
@reads
def test_a_query_of_one_is_priced_as_in_a_batch(make_items, mlp, kind, reads):
    inputs, log_price = make_items(100)
    fitted = fit(kind, inputs, log_price, mlp, reads=reads)
    unseen = make_items(20, seed=9)[0]  # what is fused of a training row may stand on a split, to the last bit
    alone = np.concatenate([fitted.predict(unseen.take(np.array([row]))) for row in range(20)])
    together = fitted.predict(unseen)
    np.testing.assert_allclose(alone, together, atol=0 if "fused" not in reads else 1e-3)
    assert together.dtype == np.float64
    assert len(set(together)) > 10


@every
def test_trees_are_deaf_to_what_they_are_not_told_to_read(make_items, mlp, kind):
    inputs, log_price = make_items(100)
    mute = replace(inputs, words=csr_matrix(inputs.words.shape, dtype=np.float32))
    blank = replace(inputs, vectors={name: np.zeros_like(vectors) for name, vectors in inputs.vectors.items()})
    by_words, by_vectors, by_mlp = (
        fit(kind, inputs, log_price, mlp, reads=(each,)) for each in ("words", "vectors", "fused")
    )
    np.testing.assert_array_equal(by_words.predict(blank), by_words.predict(inputs))
    np.testing.assert_array_equal(by_vectors.predict(mute), by_vectors.predict(inputs))
    np.testing.assert_array_equal(by_mlp.predict(mute), by_mlp.predict(inputs))
    assert np.abs(by_words.predict(mute) - by_words.predict(inputs)).max() > 0.1
    for one in (by_vectors, by_mlp):
        assert np.abs(one.predict(blank) - one.predict(inputs)).max() > 0.1


@every
def test_an_absent_vector_is_missing_and_not_a_vector_of_zeros(make_items, kind):
    inputs, _ = make_items(99)
    photographs = np.array([-1.0, 1.0, 0.0], np.float32)[np.arange(99) % 3, None]
    absent = (photographs[:, 0] == 0) * 2.0
    bare = replace(inputs, vectors={"photo": photographs}, numbers=np.zeros_like(inputs.numbers), unit=inputs.unit * 0)
    predicted = fit(kind, bare, absent, reads=("vectors",), rounds=60).predict(bare)
    assert np.abs(predicted - absent).max() < 0.2


@every
def test_the_unit_is_a_kind_and_no_quantity(make_items, kind):
    inputs, _ = make_items(300)
    odd_one_out = (inputs.unit == 1).astype(float)
    deaf = replace(inputs, numbers=np.zeros_like(inputs.numbers))
    one_split = {"leaves": 2} if kind == "gbdt" else {"depth": 1}  # which cannot part 1 from both 0 and 2
    predicted = fit(kind, deaf, odd_one_out, reads=("vectors",), rounds=60, **one_split).predict(deaf)
    assert np.abs(predicted - odd_one_out).mean() < 0.05


@every
def test_the_median_is_predicted_and_not_the_mean(make_items, kind):
    inputs, _ = make_items(100)
    skewed = np.where(np.arange(100) < 10, 50.0, 1.0)
    indifferent = replace(inputs, numbers=np.random.default_rng(0).normal(size=inputs.numbers.shape).astype(np.float32))
    predicted = fit(kind, indifferent, skewed, rounds=5, learning_rate=0.1).predict(make_items(50, seed=9)[0])
    assert np.median(predicted) == pytest.approx(1, abs=0.6)


@every
def test_prices_that_are_all_alike_are_predicted(make_items, kind):
    inputs, _ = make_items(60)
    np.testing.assert_allclose(fit(kind, inputs, np.full(60, 2.5)).predict(inputs), 2.5, atol=1e-4)


@every
def test_prices_that_are_all_old_alike_teach_as_much_as_new_ones(make_items, kind):
    inputs, log_price = make_items(200, seed=1)
    unseen = make_items(50, seed=2)[0]
    new, old = (fit(kind, inputs, log_price, age_weight=np.full(200, weight)) for weight in (1.0, 2.0**-10))
    assert np.ptp(new.predict(unseen)) > 0.5
    np.testing.assert_allclose(old.predict(unseen), new.predict(unseen), rtol=1e-5)


@every
def test_one_price_of_a_million_moves_no_other_far(make_items, kind):
    inputs, log_price = make_items(100)
    odd = np.append(np.log(1e6), log_price[1:])
    assert np.abs(fit(kind, inputs, odd, rounds=5).predict(inputs)[1:] - np.median(log_price)).max() < 4


@every
def test_rows_that_nothing_tells_apart_get_one_price_or_a_sentence(make_items, kind):
    inputs, _ = make_items(20)
    alike = inputs.take(np.zeros(20, np.int64))
    try:
        predicted = fit(kind, alike, np.arange(20.0)).predict(alike)
    except DataRefused as refusal:
        assert kind == "catboost"
        assert "leave it out of members" in str(refusal)
        assert ".cpp" not in str(refusal)
    else:
        assert len(set(predicted)) == 1
        assert 5 < predicted[0] < 15


def test_the_table_says_the_same_dense_and_sparse(make_items, mlp):
    inputs, _ = make_items(30)
    inputs.numbers[:10] = 0
    settings = replace(KINDS["xgboost"][1], reads=("words", "vectors", "fused"))
    both = TreeTable.fit(inputs, settings, FitContext("gbdt", 0, 1, {"mlp": mlp}, {}))
    vectors = replace(both, reads=("vectors", "fused"))
    sparse, dense = both.of(inputs, one_hot=True), vectors.of(inputs, one_hot=True)
    np.testing.assert_array_equal(sparse.toarray()[:, : dense.shape[1]], dense)
    assert sparse[:, : dense.shape[1]].nnz == dense.size  # zeros and all: XGBoost would take them for missing
    np.testing.assert_array_equal(dense[:, : len(UNITS)].argmax(axis=1), inputs.unit)
    width = dense.shape[1] - mlp.fused(inputs).shape[1]
    np.testing.assert_array_equal(dense[:, width:], mlp.fused(inputs))
    absent = ~inputs.vectors["photo"].any(axis=1)
    np.testing.assert_array_equal(np.isnan(dense).any(axis=1), absent)


@pytest.mark.parametrize("package", ["xgboost", "catboost"])
def test_a_package_that_is_not_installed_is_named_with_its_extra(make_items, monkeypatch, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(UsageError, match=rf"member {package} .*pip install 'price-engine\[trees\]'"):
        member_fits(Settings(members=(package,)))[package](*make_items(30), 0, {})
