"""Claims about the search within a price band; the slow obvious search is `brute_force`."""

import math

import numpy as np
import pytest

from index.errors import DataRefused, UsageError
from index.search import dense as slice_search
from index.search import neighbours
from index.search import similarity as ranking
from index.search.neighbours import BandIndex, Neighbours
from index.search.price_order import tiles


def brute_force(vectors, log_price, queries, centre, *, k, band, groups=None, exclude_group=None) -> Neighbours:
    """Every pair, one at a time, with exactly rounded sums; sorted by (-similarity, row)."""
    vectors, log_price = np.asarray(vectors, np.float32), np.asarray(log_price, np.float32)
    queries, centre = np.asarray(queries, np.float32), np.asarray(centre, np.float64)
    rows, similarity = np.full((len(queries), k), -1), np.zeros((len(queries), k), np.float32)
    for q, query in enumerate(queries):
        if not query.any():
            continue
        found = []
        for row, vector in enumerate(vectors):
            inside = abs(float(log_price[row]) - centre[q]) <= band
            barred = exclude_group is not None and exclude_group[q] >= 0 and groups[row] == exclude_group[q]
            if vector.any() and inside and not barred:
                dot = math.fsum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
                found.append((-np.float32(dot), row))
        for place, (negative, row) in enumerate(sorted(found)[:k]):
            rows[q, place], similarity[q, place] = row, -negative
    return Neighbours(rows, similarity)


def unit(random, rows, dim):
    vectors = random.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tied(random, rows, dim):
    """Corners of a cube: unit length exactly, few distinct ones, so that most similarities tie."""
    return random.choice([-0.5, 0.5], (rows, 4)).astype(np.float32)


def almost_alike(random, rows, dim):
    """One vector and noise near the last bit, where float32 products disagree about the order."""
    vectors = unit(random, 1, 48) + 3e-7 * random.standard_normal((rows, 48))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def same(one: Neighbours, other: Neighbours) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.similarity, other.similarity)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("made", [unit, tied, almost_alike])
def test_search_agrees_with_brute_force_to_the_last_neighbour(seed, made, monkeypatch):
    random = np.random.default_rng(seed)
    monkeypatch.setattr(slice_search, "TILE_QUERIES", int(random.integers(1, 9)))
    monkeypatch.setattr(slice_search, "TILE_BYTES", int(random.choice([4, 400, 4000])))
    monkeypatch.setattr(ranking, "AT_ONCE", int(random.choice([1, 3, 4096])))
    monkeypatch.setattr(neighbours, "BLOCK_QUERIES", int(random.integers(1, 9)))
    dim, rows, asked = int(random.integers(1, 24)), int(random.integers(1, 70)), int(random.integers(1, 20))
    vectors, queries = made(random, rows, dim), made(random, asked, dim)
    vectors[random.random(rows) < 0.15] = 0
    queries[random.random(asked) < 0.15] = 0
    log_price = random.integers(0, 17, rows) / 8  # eighths: many rows at one price, and many on a band's very edge
    centre = random.integers(-4, 21, asked) / 8  # some bands hold nobody
    band = float(random.choice([0.125, 0.25, 1, math.inf]))
    groups, barred = random.integers(0, 6, rows), random.integers(-1, 7, asked)
    k = int(random.choice([1, 3, 10, 100]))
    index = BandIndex(vectors, log_price, groups)

    same(
        index.search(queries, centre, k=k, band=band, exclude_group=barred),
        brute_force(vectors, log_price, queries, centre, k=k, band=band, groups=groups, exclude_group=barred),
    )
    same(
        index.search(queries, centre, k=k, band=band),
        brute_force(vectors, log_price, queries, centre, k=k, band=band),
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("made", [unit, tied])
def test_rows_left_out_and_rows_taken_alone_are_searched_as_if_there_were_no_others(seed, made):
    random = np.random.default_rng(seed)
    vectors, queries = made(random, 60, 8), made(random, 9, 8)
    log_price, centre = random.integers(0, 17, 60) / 8, random.integers(0, 17, 9) / 8
    out, k, band = (
        random.choice(60, 12, replace=False),
        int(random.choice([1, 5, 100])),
        float(random.choice([0.25, 1])),
    )
    index, there = BandIndex(vectors, log_price), np.isin(np.arange(60), out)
    near = index.search(queries, centre, k=k + len(out), band=band).without(out, k)
    same(near, brute_force(np.where(there[:, None], 0, vectors), log_price, queries, centre, k=k, band=band))
    alone = index.only(out).search(queries, centre, k=k, band=band)
    same(alone, brute_force(np.where(there[:, None], vectors, 0), log_price, queries, centre, k=k, band=band))


def test_an_index_of_no_rows_finds_none():
    found = BandIndex([[1.0]], [1.0]).only([]).search([[1.0]], [1.0], k=2, band=math.inf)
    assert found.rows.tolist() == [[-1, -1]]


@pytest.mark.parametrize("seed", range(40))
def test_the_edge_of_a_band_is_where_the_difference_of_prices_says(seed):
    random = np.random.default_rng(seed)
    centre, band = random.normal(2.5, 1), random.choice([0.05, 0.35, 1.0])
    edges = np.array([centre - band, centre + band], np.float32)
    lower, upper = np.nextafter(edges, np.float32(-9)), np.nextafter(edges, np.float32(9))
    log_price = np.concatenate([edges, lower, upper, np.nextafter(lower, np.float32(-9)), np.nextafter(upper, 9)])
    found = BandIndex(np.ones((10, 1)), log_price).search([[1.0]], [centre], k=10, band=band)
    inside = np.flatnonzero(np.abs(log_price.astype(np.float64) - centre) <= band)
    assert sorted(found.rows[found.found]) == inside.tolist()


def test_a_row_exactly_at_the_edge_of_the_band_is_a_neighbour():
    found = BandIndex([[1.0]] * 4, [1.0, 1.5, 2.0, 2.5]).search([[1.0]], [1.5], k=4, band=0.5)
    assert found.rows.tolist() == [[0, 1, 2, -1]]


def test_a_closer_vector_outside_the_band_is_not_a_neighbour():
    found = BandIndex([[1, 0], [0.6, 0.8]], [5.0, 1.0]).search([[1, 0]], [1.0], k=2, band=0.35)
    assert found.rows.tolist() == [[1, -1]]


def test_similarity_is_cosine_and_the_closest_comes_first():
    found = BandIndex([[-1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.zeros(4)).search([[1, 0]], [0], k=4, band=math.inf)
    assert found.rows.tolist() == [[2, 3, 1, 0]]
    np.testing.assert_array_equal(found.similarity, np.array([[1, 0.6, 0, -1]], np.float32))


def test_a_batch_and_its_queries_one_by_one_give_the_same_bits():
    random = np.random.default_rng(1)
    vectors, log_price = unit(random, 3000, 96), random.normal(2.7, 1, 3000)
    vectors[1000:2000] = vectors[:1000]
    queries, centre = vectors[:400], log_price[:400] + 0.1
    index = BandIndex(vectors, log_price)
    batch = index.search(queries, centre, k=32, band=0.35)
    single = [index.search(queries[i : i + 1], centre[i : i + 1], k=32, band=0.35) for i in range(400)]
    same(
        batch, Neighbours(*(np.concatenate([getattr(one, part) for one in single]) for part in ("rows", "similarity")))
    )
    assert batch.found.all(axis=1).sum() > 300


def test_among_thousands_of_equal_rows_the_lowest_numbers_are_found():
    random = np.random.default_rng(2)
    vectors = np.repeat(unit(random, 1, 33), 9000, axis=0)
    found = BandIndex(vectors, random.random(9000)).search(vectors[:3], [0.5] * 3, k=5, band=math.inf)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_results_keep_the_order_of_the_queries_not_of_their_prices():
    index = BandIndex(np.eye(3), [1, 2, 3])
    assert index.search(np.eye(3)[[2, 0, 1]], [3, 1, 2], k=1, band=0.1).rows.tolist() == [[2], [0], [1]]


def test_a_zero_row_is_nobodys_neighbour_even_where_all_others_are_unlike():
    found = BandIndex([[0, 0], [-1, 0]], [1, 1]).search([[1, 0]], [1], k=2, band=1)
    assert found.rows.tolist() == [[1, -1]]


def test_a_zero_query_has_no_neighbours_and_leaves_those_beside_it_alone():
    found = BandIndex([[1, 0]], [1]).search([[1, 0], [0, 0], [1, 0]], [1, 1, 1], k=1, band=1)
    assert found.rows.tolist() == [[0], [-1], [0]]
    assert found.similarity.tolist() == [[1], [0], [1]]


def test_an_empty_band_an_empty_index_and_an_empty_batch_are_answered():
    index = BandIndex([[1, 0]], [1])
    assert not index.search([[1, 0]], [9], k=3, band=0.35).found.any()
    assert not BandIndex(np.zeros((0, 2)), []).search([[1, 0]], [1], k=3, band=1).found.any()
    assert not BandIndex(np.zeros((4, 2)), [1] * 4).search([[1, 0]], [1], k=3, band=math.inf).found.any()
    assert index.search(np.zeros((0, 2)), [], k=3, band=1).rows.shape == (0, 3)


def test_an_excluded_group_gives_its_places_to_the_next_best():
    vectors = np.array([[1, 0], [1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    index = BandIndex(vectors, np.ones(5), groups=[7, 7, 7, 3, 4])
    found = index.search(vectors[[0, 0, 0]], [1] * 3, k=2, band=1, exclude_group=[7, -1, 99])
    assert found.rows.tolist() == [[3, 4], [0, 1], [0, 1]]


def test_a_query_that_excludes_all_within_its_band_finds_nobody():
    index = BandIndex(np.ones((3, 1)), [1, 1, 9], groups=[0, 0, 1])
    assert not index.search([[1.0]], [1], k=1, band=1, exclude_group=[0]).found.any()


def test_tiles_cover_every_query_once_within_the_memory():
    random = np.random.default_rng(3)
    start = np.sort(random.integers(0, 900, 500))
    end = np.maximum.accumulate(start + random.integers(0, 100, 500))
    parts = list(tiles(start, end, queries=256, waste=4, products=1000))
    assert [query for part in parts for query in range(part.start, part.stop)] == list(range(500))
    held = [(part.stop - part.start) * (end[part.stop - 1] - start[part.start]) for part in parts]
    assert max(held) <= 1000
    assert len(parts) < 400


def test_queries_far_apart_do_not_multiply_all_the_rows_between_them():
    start = np.arange(0, 256_000, 1000)
    for waste in (2, 4):
        assert len(list(tiles(start, start + 10, queries=256, waste=waste))) == 256


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_and_the_row_is_named(bad):
    index = BandIndex([[1, 0], [0, 1]], [1, 1])
    with pytest.raises(DataRefused, match=r"1 of 2 vectors .* the first at row of the index 1"):
        BandIndex([[1, 0], [0, bad]], [1, 1])
    with pytest.raises(DataRefused, match=r"1 of 2 log prices .* row of the index 0"):
        BandIndex([[1, 0], [0, 1]], [bad, 1])
    with pytest.raises(DataRefused, match=r"1 of 1 vectors .* query 0"):
        index.search([[bad, 0]], [1], k=1, band=1)
    with pytest.raises(DataRefused, match=r"1 of 2 log prices .* query 1"):
        index.search([[1, 0], [1, 0]], [1, bad], k=1, band=1)


@pytest.mark.parametrize("k", [0, -3, math.nan])
def test_a_k_below_one_is_refused_with_the_value(k):
    with pytest.raises(UsageError, match=f"k is {k}"):
        BandIndex([[1.0]], [1]).search([[1.0]], [1], k=k, band=1)


@pytest.mark.parametrize("band", [0, -0.35, math.nan])
def test_a_band_that_is_not_positive_is_refused_with_the_value(band):
    with pytest.raises(UsageError, match=f"band is {band}"):
        BandIndex([[1.0]], [1]).search([[1.0]], [1], k=1, band=band)


def test_vectors_that_are_not_unit_are_our_mistake():
    with pytest.raises(AssertionError, match=r"norm 5\.0"):
        BandIndex([[3.0, 4.0]], [1])
    with pytest.raises(AssertionError, match="norm"):
        BandIndex([[1.0, 0]], [1]).search([[0.5, 0]], [1], k=1, band=1)


def test_the_callers_arrays_are_left_as_they_were():
    random = np.random.default_rng(4)
    vectors, log_price = unit(random, 50, 8), random.random(50).astype(np.float32)
    before = vectors.copy(), log_price.copy()
    BandIndex(vectors, log_price, np.arange(50)).search(vectors, log_price, k=3, band=1, exclude_group=np.arange(50))
    np.testing.assert_array_equal(vectors, before[0])
    np.testing.assert_array_equal(log_price, before[1])
