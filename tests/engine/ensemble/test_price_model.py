"""Claims about the trained whole: the one chain from inputs to answer, read out row by row, and its way to the disk."""

import math
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine.ensemble.blend import blend
from engine.ensemble.correction import shift, weights
from engine.ensemble.cross_fit import QueryParameters
from engine.ensemble.price_model import Models, PriceModel, load_models, save_models
from engine.ensemble.reference import SelectedRows
from engine.ensemble.stacker import EVIDENCE as COLUMNS
from engine.ensemble.stacker import Stacker, features
from engine.ensemble.uncertainty import error_model
from engine.ensemble.uncertainty.error_model import Known, Novelty, fit_error_model
from engine.ensemble.uncertainty.evidence import NEAREST, Evidence, width
from engine.ensemble.uncertainty.expected_price import MEAN, ExpectedPrice
from engine.features.inputs import NUMBERS, InputShape
from engine.members.kernel.fits import Rows as KernelRows
from engine.members.kernel.kernel_ridge import KernelRidge
from engine.members.lightgbm import LightGbm
from engine.members.member import FitContext
from engine.members.neural import NeuralMember
from engine.members.per_fold import PerFold
from engine.settings.schema import CorrectionParameters, Fit, NetworkSettings, StackerSettings
from engine.settings.schema import Gbdt as GbdtSettings
from engine.settings.schema import Kernel as KernelSettings
from index.search.neighbours import BandIndex, Neighbours

pytestmark = pytest.mark.usefixtures("one_thread")


def error_of(members):
    """A model of the error that says the same of every item."""
    table, nothing = np.zeros((60, width(members))), np.zeros(60)
    known = Known(table, Novelty(nothing, nothing), np.full(60, 2.0), np.linspace(1, 3, 60), np.arange(60) % 2)
    return fit_error_model(known, 0.8, 0)[0]


def expected_of(members):
    """A model of the expected price that raises every one by as much."""
    return ExpectedPrice.fit(np.zeros((30, width(members))), np.full(30, 2.0), np.linspace(1, 3, 30), seed=0)


ERROR, EXPECTED, OF_FOUR = error_of(3), expected_of(3), {"error": error_of(4), "expected": expected_of(4)}
NOTHING_KNOWN = np.zeros((1, width(3)))
LIKE = Novelty(np.ones(1), np.ones(1))
FITTED = QueryParameters(
    {"mlp": 0.5, "gbdt": 0.3, "lexical": 0.2}, CorrectionParameters(4, 0.8, 2.0, 0.5), ERROR, EXPECTED
)


class Rows(NamedTuple):
    """What the price model reads of a reference set."""

    index: Any
    log_price: Any
    unit: Any
    log_amount: Any
    residual: Any
    age_weight: Any = None


class Guess:
    """A model that answers from the numbers alone."""

    def __init__(self, factor):
        self.factor = factor

    def predict(self, inputs):
        return 2.7 + self.factor * inputs.numbers[:, 0].astype(np.float64)


MODELS = {"mlp": [Guess(0.1), Guess(0.3)], "gbdt": [Guess(0.5), Guess(-0.1)], "lexical": [Guess(0.2), Guess(0.0)]}
SHAPE = InputShape({"name": 6, "photo": 5})  # of `make_items`
EVIDENCE = StackerSettings(k=3, band=0.6)


class Leave:
    """A stacker that leaves the blend by a share of what its table says the nearest rows cost more."""

    def __init__(self, share):
        self.share = share

    def predict(self, table, blended):
        nearest = table[
            :, 2 - COLUMNS
        ]  # log price of the nearest in the band less the blend; NaN where nobody is there
        return blended + self.share * np.where(np.isnan(nearest), 1.0, nearest)


@pytest.fixture
def rows(make_items):
    """The catalogue: search vectors, log price, residual."""
    inputs, log_price = make_items(50, seed=8)
    return {
        "vectors": inputs.vectors["name"],
        "log_price": log_price,
        "residual": np.sin(np.arange(50.0)) / 3,
        "unit": inputs.unit,
        "log_amount": inputs.log_amount,
        "fold": np.arange(50) % 2,
    }


def model_of(rows, members=MODELS, stackers=(), evidence=EVIDENCE, parameters=FITTED) -> PriceModel:
    index = BandIndex(rows["vectors"], rows["log_price"], groups=rows["fold"])
    reference = Rows(index, *(rows[name] for name in ("log_price", "unit", "log_amount", "residual")))
    return PriceModel(
        Models({name: PerFold(own) for name, own in members.items()}, 2, stackers), parameters, reference, evidence
    )


@pytest.fixture
def model(rows):
    return model_of(rows)


def test_an_estimate_is_models_blend_correction_and_interval_row_by_row(model, rows, make_items):
    inputs, _ = make_items(20)
    estimate = model.estimate(inputs, inputs.vectors["name"])
    for row in range(20):
        asked = inputs.take(np.array([row]))
        members = {m: np.mean([each.predict(asked)[0] for each in models]) for m, models in MODELS.items()}
        base = sum(FITTED.weights[m] * members[m] for m in members)
        cosine = rows["vectors"].astype(np.float64) @ asked.vectors["name"][0].astype(np.float64)
        within = np.flatnonzero(np.abs(rows["log_price"] - base) <= 0.8)
        near = sorted(within, key=lambda j: -cosine[j])[:4]
        weight = np.exp([-2.0 * (1 - cosine[j]) for j in near])
        moved = 0.5 * np.average(rows["residual"][near], weights=weight) if near else 0.0
        every = np.argsort(-cosine, kind="stable")[:NEAREST]
        padded = np.full((1, NEAREST), -1), np.zeros((1, NEAREST), np.float32)
        padded[0][0, : len(every)], padded[1][0, : len(every)] = every, cosine[every]
        alone = {m: np.array([value]) for m, value in members.items()}
        values = (np.array([value]) for value in (base, base, base + moved))
        evidence = Evidence(
            alone, *values, asked.fields, Neighbours(*padded), SimpleNamespace(**rows), rows["residual"]
        )
        np.testing.assert_allclose(estimate.evidence.table()[[row]], evidence.table(), atol=1e-5)
        spread = ERROR.spread(NOTHING_KNOWN, np.array([base + moved]), LIKE)
        assert {m: estimate.base.members[m][row] for m in members} == pytest.approx(members)
        assert estimate.base.blended[row] == pytest.approx(base)
        assert estimate.shift[row] == pytest.approx(moved, abs=1e-6)
        assert estimate.answer[row] == pytest.approx(base + moved, abs=1e-6)
        assert (estimate.low[row], estimate.high[row]) == pytest.approx((spread.low[0], spread.high[0]), abs=1e-6)
        assert estimate.near.rows[row][estimate.near.found[row]].tolist() == near
        np.testing.assert_allclose(estimate.weight[row, : len(near)], weight / weight.sum(), atol=1e-6)


def test_the_mean_is_answered_in_the_place_of_the_median_and_leaves_all_else(model, rows, make_items):
    inputs, _ = make_items(20)
    median, mean = (model.estimate(inputs, inputs.vectors["name"], answer=answer) for answer in ("median", MEAN))
    np.testing.assert_array_equal(median.priced, median.answer)
    more = EXPECTED.log_mean(NOTHING_KNOWN, np.zeros(1))
    np.testing.assert_allclose(mean.priced, mean.answer + more)
    assert more > 0.1
    for name in ("answer", "low", "high", "shift"):
        np.testing.assert_array_equal(getattr(mean, name), getattr(median, name))


@pytest.mark.parametrize("more", [-5.0, 5.0])
def test_the_interval_holds_the_mean_too_however_far_from_the_median_that_lies(rows, make_items, more):
    inputs, _ = make_items(20)
    expected = ExpectedPrice(EXPECTED._booster, EXPECTED._raised + more)
    model = model_of(rows, parameters=replace(FITTED, expected=expected))
    median, mean = (model.estimate(inputs, inputs.vectors["name"], answer=answer) for answer in ("median", MEAN))
    assert not ((median.low <= mean.priced) & (mean.priced <= median.high)).any()
    np.testing.assert_array_equal(mean.low, np.minimum(median.low, mean.priced))
    np.testing.assert_array_equal(mean.high, np.maximum(median.high, mean.priced))


@pytest.fixture
def learned(model, make_items, monkeypatch):
    """Models of the error and of the expected price, of as many rows as trees learn from: every item has its own."""
    monkeypatch.setattr(error_model, "ROUNDS", 60)
    rows = error_model.LEAST_ROWS + 50
    inputs, _ = make_items(rows, seed=3)
    known = model.estimate(inputs, inputs.vectors["name"])
    table, off = known.evidence.table(), 0.02 + 0.4 * np.abs(inputs.numbers[:, 0]) + 0.2 * np.abs(inputs.numbers[:, 2])
    log_price = known.answer + off * np.random.default_rng(0).normal(size=rows)
    of_rows = Known(table, Novelty.of(known.evidence), known.answer, log_price, np.arange(rows) % 2)
    error = fit_error_model(of_rows, 0.8, 0)[0]
    return replace(FITTED, error=error, expected=ExpectedPrice.fit(table, known.answer, log_price, seed=0))


def test_the_spread_and_the_expected_price_go_by_the_item_s_own_evidence_row_by_row(rows, make_items, learned):
    inputs, _ = make_items(30)
    vectors = inputs.vectors["name"].copy()
    vectors[[3, 17]] = 0
    inputs.numbers[[5, 17], NUMBERS.index("log_text_length")] = -9
    model = model_of(rows, stackers=[Leave(0.3), Leave(0.5)], parameters=learned)
    median, mean = (model.estimate(inputs, vectors, answer=answer) for answer in ("median", MEAN))
    table = median.evidence.table()
    for row in range(30):
        cosine = rows["vectors"].astype(np.float64) @ vectors[row].astype(np.float64)
        length = inputs.numbers[row, NUMBERS.index("log_text_length")]
        novelty = Novelty(np.array([0.0 if row in (3, 17) else cosine.max()]), np.array([length]))
        alone = table[[row]], median.answer[[row]]
        spread, expected = learned.error.spread(*alone, novelty), learned.expected.log_mean(*alone)
        for field in fields(spread):
            np.testing.assert_array_equal(getattr(median.spread, field.name)[[row]], getattr(spread, field.name))
        assert mean.priced[row] == pytest.approx(expected[0], abs=1e-12)
    assert median.spread.unlike[[3, 17]].all() and median.spread.brief[[5, 17]].all()
    for told in (median.spread.unlike, median.spread.brief):
        assert 0 < told.sum() < 10
    for told in (median.spread.expected_error, median.high - median.answer, mean.priced - median.answer):
        assert len(np.unique(told.round(6))) > 20


def test_one_item_is_priced_as_in_a_batch(model, make_items):
    inputs, _ = make_items(20)
    together = model.estimate(inputs, inputs.vectors["name"])
    for row in (0, 7, 19):
        alone = model.estimate(inputs.take(np.array([row])), inputs.vectors["name"][[row]])
        assert alone.answer[0] == pytest.approx(together.answer[row], abs=1e-9)
        assert alone.near.rows[0].tolist() == together.near.rows[row].tolist()


@pytest.mark.parametrize(
    "changed", [{"k": 1}, {"band": 0.1}, {"band": math.inf}, {"decay": 50.0}, {"alpha": 1.0}], ids=str
)
def test_a_query_may_bring_its_own_parameters_and_the_fitted_ones_stay(model, rows, make_items, changed):
    inputs, _ = make_items(20)
    vectors, correction = inputs.vectors["name"], replace(FITTED.correction, **changed)
    before, asked = model.estimate(inputs, vectors), model.estimate(inputs, vectors, correction)
    near = BandIndex(rows["vectors"], rows["log_price"]).search(
        vectors, asked.base.blended, k=correction.k, band=correction.band
    )
    np.testing.assert_allclose(asked.answer, asked.base.blended + shift(near, rows["residual"], correction))
    np.testing.assert_allclose(asked.weight, weights(near, correction.decay))
    assert not np.allclose(asked.shift, before.shift)
    np.testing.assert_array_equal(model.estimate(inputs, vectors).answer, before.answer)
    assert model.parameters == FITTED


def test_nobody_in_the_band_leaves_the_blend_and_says_so(rows, make_items):
    far_away = {**rows, "log_price": rows["log_price"] + 100}
    far = model_of(far_away)
    inputs, _ = make_items(5)
    estimate = far.estimate(inputs, inputs.vectors["name"])
    np.testing.assert_array_equal(estimate.answer, estimate.base.blended)
    assert not estimate.near.found.any()
    assert not estimate.weight.any()
    assert not estimate.shift.any()


def test_the_blend_takes_the_members_by_name(rows, make_items):
    inputs, _ = make_items(5)
    turned = dict(reversed(MODELS.items()))
    estimate = model_of(rows, turned).estimate(inputs, inputs.vectors["name"])
    np.testing.assert_allclose(estimate.base.blended, blend(estimate.base.members, FITTED.weights))
    np.testing.assert_allclose(estimate.base.members["gbdt"], 2.7 + 0.2 * inputs.numbers[:, 0], rtol=1e-6)


def test_neighbours_alone_are_the_weighted_mean_of_the_nearest_prices_without_a_band(model, rows, make_items):
    inputs, _ = make_items(10)
    vectors = inputs.vectors["name"].copy()
    vectors[3] = 0
    alone = model.neighbours_alone(vectors, FITTED.correction)
    for row in range(10):
        cosine = rows["vectors"].astype(np.float64) @ vectors[row].astype(np.float64)
        near = np.argsort(-cosine, kind="stable")[:4]
        mean = np.average(rows["log_price"][near], weights=np.exp(-2.0 * (1 - cosine[near])))
        assert alone[row] == pytest.approx(np.median(rows["log_price"]) if row == 3 else mean, abs=1e-6)


@pytest.mark.parametrize("shares", [(0.5,), (0.2, 0.4)])
def test_the_stacker_leaves_the_blend_by_what_the_nearest_in_its_band_cost_and_is_then_corrected(
    rows, make_items, shares
):
    inputs, _ = make_items(20)
    vectors = inputs.vectors["name"]
    estimate = model_of(rows, stackers=[Leave(share) for share in shares]).estimate(inputs, vectors)
    for row in range(20):
        cosine, blended = rows["vectors"] @ vectors[row], estimate.base.blended[row]
        within = np.flatnonzero(np.abs(rows["log_price"] - blended) <= EVIDENCE.band)
        missed = rows["log_price"][within[cosine[within].argmax()]] - blended if len(within) else 1.0
        assert estimate.base.stacked[row] == pytest.approx(blended + np.mean(shares) * missed, abs=1e-5)
    near = BandIndex(rows["vectors"], rows["log_price"]).search(vectors, estimate.base.stacked, k=4, band=0.8)
    np.testing.assert_array_equal(estimate.near.rows, near.rows)
    np.testing.assert_allclose(
        estimate.answer, estimate.base.stacked + shift(near, rows["residual"], FITTED.correction)
    )


def test_unseen_asks_each_fold_s_models_alone_and_uses_no_row_of_that_fold(rows, make_items):
    inputs, _ = make_items(50, seed=8)  # the catalogue's own rows
    vectors, stackers = rows["vectors"], [Leave(0.2), Leave(0.6)]
    expected = model_of(rows, stackers=stackers).unseen(inputs, vectors, rows["fold"]).last
    for row in range(50):
        fold, asked = rows["fold"][row], inputs.take(np.array([row]))
        blended = sum(FITTED.weights[m] * MODELS[m][fold].predict(asked)[0] for m in MODELS)
        there = (np.abs(rows["log_price"] - blended) <= EVIDENCE.band) & (rows["fold"] != fold)
        within, cosine = np.flatnonzero(there), vectors @ vectors[row]
        missed = rows["log_price"][within[cosine[within].argmax()]] - blended if len(within) else 1.0
        assert expected[row] == pytest.approx(blended + stackers[fold].share * missed, abs=1e-5)


class Counted(Guess):
    """A model that counts how often it is asked."""

    asked = 0

    def predict(self, inputs):
        Counted.asked += 1
        return super().predict(inputs)


@pytest.mark.parametrize("only", [None, [3, 8, 20, 33]])
@pytest.mark.parametrize("answer", ["median", MEAN])
def test_without_some_rows_everything_after_the_models_is_as_if_they_had_never_been_there(
    rows, make_items, only, answer
):
    inputs, _ = make_items(20)
    vectors, without = inputs.vectors["name"], np.array([0, 3, 5, 17])
    counted = {name: [Counted(model.factor) for model in models] for name, models in MODELS.items()}
    model = model_of(rows, counted, [Leave(0.3), Leave(0.5)])
    before = model.estimate(inputs, vectors)
    Counted.asked = 0
    selected = SelectedRows(model.reference, without, None if only is None else np.array(only), None)
    estimate = model.estimate(inputs, vectors, answer=answer, selected=selected, members=before.base.members)
    assert Counted.asked == 0

    left = np.setdiff1d(np.arange(50) if only is None else only, without)
    alone = np.zeros_like(vectors, shape=rows["vectors"].shape)
    alone[left] = rows["vectors"][left]  # a row without a vector is nobody's neighbour
    wide = {} if only is None else {"band": 100.0}
    oracle = model_of({**rows, "vectors": alone}, stackers=[Leave(0.3), Leave(0.5)], evidence=replace(EVIDENCE, **wide))
    expected = oracle.estimate(inputs, vectors, replace(FITTED.correction, **wide), answer=answer)
    for name in ("shift", "answer", "priced", "low", "high", "weight"):
        np.testing.assert_array_equal(getattr(estimate, name), getattr(expected, name))
    np.testing.assert_array_equal(estimate.base.stacked, expected.base.stacked)
    np.testing.assert_array_equal(estimate.near.rows, expected.near.rows)
    assert not np.array_equal(estimate.answer, before.answer)


def test_a_listing_of_the_catalogue_is_priced_by_the_models_that_never_saw_it(rows, make_items):
    inputs, _ = make_items(50, seed=8)
    vectors, stackers = rows["vectors"], [Leave(0.2), Leave(0.6)]
    model = model_of(rows, stackers=stackers)
    for row in range(0, 50, 7):
        here, group, fold = inputs.take(np.array([row])), np.array([row, (row + 2) % 50]), int(rows["fold"][row])
        estimate = model.estimate(here, vectors[[row]], selected=SelectedRows(model.reference, group, None, fold))
        blended = sum(FITTED.weights[m] * MODELS[m][fold].predict(here)[0] for m in MODELS)
        within = (np.abs(rows["log_price"] - blended) <= EVIDENCE.band) & ~np.isin(np.arange(50), group)
        there, cosine = np.flatnonzero(within), vectors @ vectors[row]
        missed = rows["log_price"][there[cosine[there].argmax()]] - blended if len(there) else 1.0
        assert estimate.base.last[0] == pytest.approx(blended + stackers[fold].share * missed, abs=1e-5)
        assert not np.isin(estimate.near.rows, group).any()


def settings_of(models, rounds=2):
    """What of the settings says which models an index holds."""
    return SimpleNamespace(members=tuple(models.members), folds=models.folds, stacker=SimpleNamespace(rounds=rounds))


def trained(make_items):
    """A stacker and four members of two folds each, of the least size."""
    inputs, log_price = make_items(40)
    fit = Fit(1, 16, 16, 0.01, 0.01, "constant")
    gated, words = (NetworkSettings(head, members=1, width=4, dropout=0.0, fit=fit) for head in ("gated", "words"))
    trees = GbdtSettings(rounds=2, least_rows_in_leaf=5, least_rows_of_word=5)
    members = {
        "mlp": PerFold([NeuralMember.fit(inputs, log_price, gated, seed) for seed in (0, 1)]),
        "kernel": KernelRidge.cross_fit(
            KernelRows(inputs, log_price, (np.arange(40) % 3).astype(np.int8)), [(0,), (1,)], KernelSettings(), seed=0
        )[0],
        "gbdt": PerFold(
            [LightGbm.fit(inputs, log_price, trees, FitContext("gbdt", seed, 1, {}, {})) for seed in (0, 1)]
        ),
        "lexical": PerFold([NeuralMember.fit(inputs, log_price, words, seed) for seed in (0, 1)]),
    }
    stacker = StackerSettings(rounds=2, least_rows_in_leaf=5, feature_fraction=1.0)
    table, blended = table_of(members, inputs)
    stackers = [Stacker.fit(table, blended, log_price + seed, stacker, seed=seed) for seed in (0, 1)]
    return Models(members, 2, stackers)


def table_of(members, inputs):
    """What a stacker reads of items that have no neighbours."""
    each = {member: models.predict(inputs) for member, models in members.items()}
    nobody, rows = np.full((len(inputs), 3), -1), np.zeros(1)
    one = Rows(None, rows, rows.astype(np.int64), rows, rows)
    blended = np.mean(list(each.values()), axis=0)
    return features(each, blended, inputs, Neighbours(nobody, np.zeros(nobody.shape, np.float32)), one), blended


def test_saved_models_come_back_by_member_and_fold_with_what_was_fitted(make_items, tmp_path):
    models, (unseen, _) = trained(make_items), make_items(10, seed=5)
    fitted = replace(FITTED, correction=replace(FITTED.correction, band=2.5), **OF_FOUR)
    save_models(tmp_path, models, fitted)
    loaded, fitted_back = load_models(tmp_path, settings_of(models), SHAPE)
    assert replace(fitted_back, expected=fitted.expected, error=fitted.error) == fitted
    nothing = np.zeros((2, width(4))), np.arange(2.0)
    spreads = [each.error.spread(*nothing, Novelty(np.arange(2.0), np.ones(2))) for each in (fitted_back, fitted)]
    for name in ("expected_error", "low", "high", "unlike", "within"):
        np.testing.assert_array_equal(*(getattr(spread, name) for spread in spreads))
    np.testing.assert_array_equal(fitted_back.expected.log_mean(*nothing), fitted.expected.log_mean(*nothing))
    assert list(loaded.members) == list(models.members)
    table = table_of(models.members, unseen)
    predicted, back = (
        [models.predict_unseen(unseen, np.full(10, f)) for models in some.members.values() for f in (0, 1)]
        + [s.predict(*table) for s in some.stackers]
        for some in (models, loaded)
    )
    np.testing.assert_allclose(back, predicted, rtol=1e-6)
    assert len({each.tobytes() for each in predicted}) == 10  # else a mix-up of the files would go unseen


def test_models_without_a_stacker_come_back_without_one(make_items, tmp_path):
    models = replace(trained(make_items), stackers=())
    save_models(tmp_path, models, replace(FITTED, **OF_FOUR))
    assert not load_models(tmp_path, settings_of(models, 0), SHAPE)[0].stackers


def test_models_lie_on_the_disk_as_safetensors_text_and_json_alone(make_items, tmp_path):
    save_models(tmp_path, trained(make_items), FITTED)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 14
    assert {path.suffix for path in files} == {".safetensors", ".txt", ".json"}
