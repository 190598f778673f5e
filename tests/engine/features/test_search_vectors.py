"""Claims about search vectors, by which neighbours are found, and about the words that are a part of them."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.features.inputs import WORD_KINDS, Inputs, InputShape, hash_words
from engine.features.lsa import KINDS, Lsa, right_singular_vectors
from engine.features.search_vectors import SearchVectorizer, joined
from engine.features.tfidf import weigh_words, word_table
from engine.settings.schema import Correction, Settings

NAMES = ["red tea", "green tea", "black tea", "red apple juice", "green apple juice", "", "red green tea"] * 3
TEXTS = [f"{name} of the best sort {i % 4}" for i, name in enumerate(NAMES)]


def cosine(one, other) -> float:
    return float(np.dot(one.astype(np.float64), other.astype(np.float64)))


def units(rows, dim, seed=0):
    each = np.random.default_rng(seed).normal(size=(rows, dim))
    return (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32)


def inputs_of(names=NAMES, texts=TEXTS) -> Inputs:
    rows = len(names)
    vectors = {
        "minilm_name": units(rows, 5),
        "minilm_text": units(rows, 4, seed=1),
        "pixels_photograph": units(rows, 3),
    }
    return Inputs(vectors, np.zeros((rows, 7), np.float32), np.zeros(rows, np.int64), hash_words(names, texts))


def test_joined_vectors_average_the_cosines_of_their_views():
    views = [units(10, 3), units(10, 8, seed=1)]
    vectors = joined(views)
    assert vectors.dtype == np.float32
    for i in range(10):
        for j in range(10):
            mean = np.mean([cosine(view[i], view[j]) for view in views])
            assert cosine(vectors[i], vectors[j]) == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(joined(views[1:]), views[1], atol=1e-7)


def test_an_item_that_lacks_a_view_is_found_by_the_other_and_one_that_lacks_both_nowhere():
    name, text = np.eye(3, 2, dtype=np.float32), np.eye(3, 4, dtype=np.float32)
    name[1:], text[2] = 0, 0
    vectors = joined([name, text])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], rtol=1e-6)
    assert vectors[1].tolist() == [0, 0, *text[1]]


@pytest.mark.parametrize("parts", [("name", "text", "words"), ("words",), ("text",)], ids=" ".join)
def test_search_vectors_hold_the_views_that_the_settings_name_and_come_back_from_the_disk(parts, tmp_path):
    settings = Settings(correction=Correction(search_vectors=parts))
    inputs = inputs_of()
    vectorizer = SearchVectorizer.fit(inputs, settings)
    views = {"name": inputs.vectors["minilm_name"], "text": inputs.vectors["minilm_text"]}
    if vectorizer.words is not None:
        views["words"] = vectorizer.words.vectors(inputs.words)
    np.testing.assert_array_equal(vectorizer.vectors(inputs), joined([views[part] for part in parts]))
    vectorizer.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == ("words" in parts)
    back = SearchVectorizer.load(tmp_path, settings, InputShape({}))
    np.testing.assert_array_equal(back.vectors(inputs), vectorizer.vectors(inputs))


def test_a_word_weighs_the_logarithm_of_how_rare_it_is_and_one_that_a_single_row_has_nothing():
    words = hash_words([*NAMES, "unique"], [*TEXTS, ""])
    weighed = weigh_words(words, ("name",))["name"]
    dense = words.toarray()
    for column in range(WORD_KINDS["name"].start, WORD_KINDS["name"].stop):
        rows = int(dense[:, column].sum())
        here = np.flatnonzero(weighed.columns == column)
        assert len(here) == (rows >= 2)
        if rows >= 2:
            assert weighed.weight[here[0]] == pytest.approx(math.log(len(dense) / rows))


@pytest.mark.parametrize("shares", [None, {"name": 0.5, "text": 2.0, "characters": 0.0}])
def test_products_of_weighed_rows_are_the_cosines_by_kind_each_times_its_share(shares):
    words = hash_words([*NAMES, "qqq"], [*TEXTS, "qqq"])  # of the last, no word is known
    kinds = weigh_words(words, ("name", "text", "characters"))
    expected = np.zeros((words.shape[0], words.shape[0]))
    for kind, known in kinds.items():
        weighed = words.toarray()[:, known.columns] * known.weight
        norm = np.linalg.norm(weighed, axis=1, keepdims=True)
        unit = weighed / np.where(norm > 0, norm, 1)
        expected += unit @ unit.T * (1.0 if shares is None else shares[kind])
    table = word_table(words, kinds, shares)
    np.testing.assert_allclose((table @ table.T).toarray(), expected, rtol=1e-5, atol=1e-6)
    assert not table[-1].count_nonzero() and expected.any()


def test_with_as_many_directions_as_rows_lsa_keeps_every_cosine():
    words = hash_words(NAMES, TEXTS)
    weighed = weigh_words(words, KINDS)
    table = word_table(words, weighed).toarray()
    there = np.linalg.norm(table, axis=1) > 0
    unit = table[there] / np.linalg.norm(table[there], axis=1, keepdims=True)
    seen = Lsa.fit(words, seed=0).vectors(words)[there]
    np.testing.assert_allclose(seen @ seen.T, unit @ unit.T, atol=1e-2)  # in int8, of few words


def test_the_right_singular_vectors_hold_as_much_of_a_table_as_those_of_a_whole_decomposition():
    random = np.random.default_rng(0)
    table = csr_matrix(np.where(random.random((120, 300)) < 0.1, random.random((120, 300)), 0).astype(np.float32))
    exact = np.linalg.svd(table.toarray())[1]
    for most in (1, 30, 500):
        directions = right_singular_vectors(table, most, seed=0)
        count = min(most, 120)
        np.testing.assert_allclose(directions.T @ directions, np.eye(count), atol=1e-4)
        held = np.linalg.norm(table @ directions) ** 2
        assert held == pytest.approx((exact[:count] ** 2).sum(), rel=0.03)
    np.testing.assert_array_equal(right_singular_vectors(table, 30, seed=0), right_singular_vectors(table, 30, seed=0))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 1)])
def test_directions_of_nothing_are_zero_and_so_are_those_beyond_the_rank(shape: tuple[int, int]):
    assert not right_singular_vectors(csr_matrix(shape, dtype=np.float32), 256, seed=0).any()
    one = csr_matrix(np.eye(1, shape[0]).T @ np.eye(1, shape[1]), dtype=np.float32)
    directions = right_singular_vectors(one, 256, seed=0)
    assert np.linalg.norm(directions[:, 0]) == pytest.approx(1, abs=1e-5) and not directions[:, 1:].any()


def test_an_item_without_known_words_has_no_vector_of_words():
    lsa = Lsa.fit(hash_words(NAMES, TEXTS), seed=0)
    assert not lsa.vectors(hash_words(["", "zzz"], ["", "qqq"])).any()


@pytest.mark.parametrize("names", [["", ""], ["tea", "soda"], ["tea", "tea"]], ids=["silent", "unalike", "one word"])
def test_a_catalogue_with_next_to_no_words_is_fitted_all_the_same(names, tmp_path):
    words = hash_words(names, names)
    lsa = Lsa.fit(words, seed=0)
    assert lsa.vectors(words).shape[0] == 2
    lsa.save(tmp_path)
    np.testing.assert_array_equal(Lsa.load(tmp_path, InputShape({})).vectors(words), lsa.vectors(words))


def test_a_large_catalogue_is_fitted_on_some_of_its_rows_and_the_seed_says_which(monkeypatch):
    monkeypatch.setattr("engine.features.lsa.MOST_ROWS", 8)
    words = hash_words(NAMES, TEXTS)
    one, again, other = (Lsa.fit(words, seed).vectors(words) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or not np.allclose(one, other)
