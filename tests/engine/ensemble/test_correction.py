"""Claims about the correction, against the formula read out row by row."""

import math

import numpy as np
import pytest

from engine.ensemble.correction import shift, weights
from engine.settings.schema import CorrectionParameters
from index.errors import UsageError
from index.search.neighbours import BandIndex, Neighbours


def cosine(one, other) -> float:
    return float(np.dot(one.astype(np.float64), other.astype(np.float64)))


def corrected(prediction, query, *, vectors, log_price, residual, parameters) -> float:
    """prediction + alpha * sum(exp(-lambda d) r) / sum(exp(-lambda d)) over the k nearest rows within the band."""
    rows = [j for j in range(len(vectors)) if abs(log_price[j] - prediction) <= parameters.band]
    nearest = sorted(rows, key=lambda j: (-np.float32(cosine(query, vectors[j])), j))[: parameters.k]
    if not nearest:
        return prediction
    distance = [1 - cosine(query, vectors[j]) for j in nearest]
    weight = [math.exp(-parameters.decay * (d - min(distance))) for d in distance]
    return prediction + parameters.alpha * sum(w * residual[j] for w, j in zip(weight, nearest, strict=True)) / sum(
        weight
    )


class Catalogue:
    """Rows to compare with: unit vectors, log prices and residuals."""

    def __init__(self, rows=60, dim=4, seed=0):
        random = np.random.default_rng(seed)
        vectors = random.normal(size=(rows, dim))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        self.log_price = random.normal(0, 1, rows).astype(np.float32)
        self.residual = random.normal(0, 0.5, rows)

    def answer(self, query, prediction, parameters) -> float:
        """As the engine corrects one item."""
        near = BandIndex(self.vectors, self.log_price).search(
            query[None], np.array([prediction]), k=parameters.k, band=parameters.band
        )
        return prediction + float(shift(near, self.residual, parameters)[0])

    def slow_answer(self, query, prediction, parameters) -> float:
        return corrected(
            prediction,
            query,
            vectors=self.vectors,
            log_price=self.log_price,
            residual=self.residual,
            parameters=parameters,
        )


def toward(similarity) -> np.ndarray:
    """A unit vector in the plane with this cosine to (1, 0)."""
    return np.array([similarity, math.sqrt(1 - similarity**2)], np.float32)


def near_of(*similarity, rows=None) -> Neighbours:
    """One query's neighbours."""
    rows = range(len(similarity)) if rows is None else rows
    return Neighbours(np.array([list(rows)], np.int64), np.array([similarity], np.float32))


@pytest.mark.parametrize("decay", [1e-9, 0.5, 5.0, 80.0])
@pytest.mark.parametrize("band", [0.2, 1.0, math.inf])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_the_correction_is_the_formula_read_out_row_by_row(k, band, decay):
    catalogue = Catalogue()
    queries, parameters = Catalogue(rows=12, seed=1), CorrectionParameters(k, band, decay, 0.7)
    for query, prediction in zip(queries.vectors, queries.log_price, strict=True):
        expected = catalogue.slow_answer(query, float(prediction), parameters)
        assert catalogue.answer(query, float(prediction), parameters) == pytest.approx(expected, abs=1e-5)


def test_a_batch_is_corrected_as_its_items_one_by_one():
    catalogue, queries, parameters = Catalogue(), Catalogue(rows=30, seed=1), CorrectionParameters(7, 0.4, 3.0, 0.5)
    near = BandIndex(catalogue.vectors, catalogue.log_price).search(queries.vectors, queries.log_price, k=7, band=0.4)
    together = queries.log_price + shift(near, catalogue.residual, parameters)
    alone = [catalogue.answer(q, float(p), parameters) for q, p in zip(queries.vectors, queries.log_price, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_distance_is_one_less_cosine_and_neither_an_inner_product_nor_squared():
    residual, parameters = np.array([1.0, 0.0]), CorrectionParameters(2, 1.0, 2.0, 1.0)
    (moved,) = shift(near_of(0.9, 0.3), residual, parameters)
    near, far = math.exp(-2 * (1 - 0.9)), math.exp(-2 * (1 - 0.3))
    assert moved == pytest.approx(near / (near + far), abs=1e-6)
    assert moved != pytest.approx(math.exp(-2 * 0.9) / (math.exp(-2 * 0.9) + math.exp(-2 * 0.3)), abs=0.05)
    assert moved != pytest.approx(1 / (1 + math.exp(-2 * (0.7**2 - 0.1**2))), abs=0.01)


def test_the_nearer_of_two_neighbours_weighs_more():
    assert np.diff(weights(near_of(0.9, 0.5, -0.9), 3.0)[0]).max() < 0


def test_weights_add_up_to_one_and_a_neighbour_who_is_not_there_has_none():
    share = weights(near_of(0.9, 0.5, 0.0, 0.0, rows=[4, 2, -1, -1]), 3.0)
    assert share.sum() == pytest.approx(1)
    assert share[0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize("decay", [1e3, 1e6, 1e300])
def test_an_extreme_lambda_leaves_the_nearest_alone_and_underflows_to_nothing_never(decay):
    residual, parameters = np.array([0.25, 9.0, 9.0]), CorrectionParameters(3, 1.0, decay, 1.0)
    assert shift(near_of(-0.2, -0.7, -0.9), residual, parameters)[0] == pytest.approx(0.25)
    assert shift(near_of(0.0, -0.5, -1.0), residual, parameters)[0] == pytest.approx(0.25)


def test_an_extreme_lambda_shares_among_those_equally_near():
    assert shift(near_of(0.4, 0.4, -0.2), np.array([1.0, 2.0, 50.0]), CorrectionParameters(3, 1.0, 1e9, 1.0))[
        0
    ] == pytest.approx(1.5)


def test_a_lambda_of_almost_nothing_is_the_plain_mean():
    assert shift(near_of(0.9, 0.1, -1.0), np.array([1.0, 2.0, 6.0]), CorrectionParameters(3, 1.0, 1e-12, 1.0))[
        0
    ] == pytest.approx(3)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 3.0])
def test_alpha_is_the_share_of_the_residual_that_is_added(alpha):
    assert shift(near_of(0.5), np.array([0.4]), CorrectionParameters(1, 1.0, 1.0, alpha))[0] == pytest.approx(
        0.4 * alpha
    )


def test_rows_outside_the_band_change_nothing():
    catalogue, parameters, query = (
        Catalogue(),
        CorrectionParameters(8, 0.5, 2.0, 0.5),
        Catalogue(rows=1, seed=1).vectors[0],
    )
    before = catalogue.answer(query, 0.0, parameters)
    outside = np.abs(catalogue.log_price) > 0.5
    assert 10 < outside.sum() < 50
    catalogue.residual[outside] = 1e6
    catalogue.vectors[outside] = query
    assert catalogue.answer(query, 0.0, parameters) == before


def test_a_row_within_the_band_changes_the_answer_and_one_just_outside_does_not():
    query = toward(1.0)
    vectors, residual = np.stack([toward(0.5), query]), np.array([0.1, 0.9])
    for price, expected in ((0.499, 0.9), (-0.499, 0.9), (0.501, 0.1), (-0.501, 0.1)):
        near = BandIndex(vectors, np.array([0.0, price])).search(query[None], np.zeros(1), k=1, band=0.5)
        assert shift(near, residual, CorrectionParameters(1, 0.5, 1.0, 1.0))[0] == pytest.approx(expected)


def test_the_band_lies_about_the_prediction():
    query, residual = toward(1.0), np.array([0.25, 0.75])
    index = BandIndex(np.stack([query, query]), np.array([0.0, 5.0]))
    for prediction, expected in ((0.1, 0.25), (4.9, 0.75)):
        near = index.search(query[None], np.array([prediction]), k=2, band=0.35)
        assert shift(near, residual, CorrectionParameters(2, 0.35, 1.0, 1.0))[0] == pytest.approx(expected)


def test_nobody_in_the_band_means_no_shift_and_no_weight():
    catalogue, parameters = Catalogue(), CorrectionParameters(8, 0.5, 2.0, 0.5)
    near = BandIndex(catalogue.vectors, catalogue.log_price).search(
        catalogue.vectors[:1], np.array([50.0]), k=8, band=0.5
    )
    assert not near.found.any()
    assert shift(near, catalogue.residual, parameters).tolist() == [0]
    assert weights(near, 2.0).tolist() == [[0] * 8]


def test_fewer_than_k_in_the_band_are_the_neighbours_there_are():
    catalogue, query = Catalogue(), Catalogue(rows=1, seed=1).vectors[0]
    here = int((np.abs(catalogue.log_price) <= 0.2).sum())
    assert 1 < here < 30
    few, many = CorrectionParameters(here, 0.2, 2.0, 0.5), CorrectionParameters(1000, 0.2, 2.0, 0.5)
    assert catalogue.answer(query, 0.0, many) == pytest.approx(catalogue.answer(query, 0.0, few))
    assert catalogue.answer(query, 0.0, many) == pytest.approx(catalogue.slow_answer(query, 0.0, many), abs=1e-6)


def test_a_row_without_a_vector_is_nobodys_neighbour_and_a_query_without_one_has_none():
    catalogue, parameters, query = (
        Catalogue(),
        CorrectionParameters(60, math.inf, 2.0, 0.5),
        Catalogue(rows=1, seed=1).vectors[0],
    )
    catalogue.vectors[3], catalogue.residual[3] = 0, 1e6
    others = np.arange(60) != 3
    expected = corrected(
        0.0,
        query,
        vectors=catalogue.vectors[others],
        log_price=catalogue.log_price[others],
        residual=catalogue.residual[others],
        parameters=parameters,
    )
    assert catalogue.answer(query, 0.0, parameters) == pytest.approx(expected, abs=1e-5)
    assert catalogue.answer(np.zeros(4, np.float32), 0.0, parameters) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"k": 0}, "k is 0: give a number of neighbours from 1"),
        ({"k": -3}, "k is -3"),
        ({"k": 10**9}, "k is 1000000000"),
        ({"band": 0.0}, "band is 0.0: give a half-width in log price above 0"),
        ({"band": -0.35}, "band is -0.35"),
        ({"band": math.nan}, "band is nan"),
        ({"decay": 0.0}, "lambda is 0.0: give a number above 0"),
        ({"decay": -1.0}, "lambda is -1.0"),
        ({"decay": math.nan}, "lambda is nan"),
        ({"decay": math.inf}, "lambda is inf"),
        ({"alpha": 0.0}, "alpha is 0.0: give a number above 0"),
        ({"alpha": -0.1}, "alpha is -0.1"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"alpha": math.inf}, "alpha is inf"),
    ],
)
def test_a_control_that_cannot_be_is_refused_with_its_value_and_what_to_give(wrong, said):
    with pytest.raises(UsageError, match=said):
        CorrectionParameters(**{"k": 8, "band": 0.35, "decay": 2.0, "alpha": 0.3, **wrong})


def test_a_band_without_an_end_and_an_alpha_above_one_are_allowed():
    assert CorrectionParameters(1, math.inf, 1e-6, 2.0).band == math.inf


def test_a_neighbour_who_is_not_there_overflows_nothing_when_the_nearest_is_unlike():
    from engine.ensemble.correction import weights
    from index.search.neighbours import Neighbours

    near = Neighbours(np.array([[3, -1]]), np.array([[-0.5, 0]], np.float32))
    assert weights(near, 2000.0).tolist() == [[1, 0]]
