"""Claims about what is fitted after the models, and that its score is honest; the slow version prices row by row."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.ensemble import cross_fit as room
from engine.ensemble.blend import fit_weights
from engine.ensemble.cross_fit import answer_out_of_fold, cross_fit, fit_spread
from engine.ensemble.out_of_fold import STACKER, OutOfFold, predict_out_of_fold
from engine.ensemble.uncertainty import error_model, expected_price
from engine.ensemble.uncertainty.error_model import TEXT_LENGTH, Novelty
from engine.ensemble.uncertainty.evidence import NEAREST, ComparedRows, Evidence
from engine.ensemble.uncertainty.expected_price import MEAN, ExpectedPrice
from engine.ensemble.uncertainty.interval import fit_interval
from engine.features.inputs import NUMBERS, Fields, Inputs
from engine.features.training_set import TrainingSet
from engine.metrics import row_smape, smape
from engine.settings.schema import Blend, Correction, CorrectionParameters, Settings
from index.search.neighbours import Neighbours

MEMBERS = ("mlp", "gbdt", "lexical")
ANSWER = "blend + correction"
WEIGHTS = {"mlp": 0.5, "gbdt": 0.3, "lexical": 0.2}
FIXED = Settings(correction=Correction(k=5, band=0.6, decay=3.0, alpha=0.8), blend=Blend(**WEIGHTS))
PARAMETERS = CorrectionParameters(5, 0.6, 3.0, 0.8)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    """Of the error and of expected prices: none of these claims is about how well they fit."""
    monkeypatch.setattr(error_model, "ROUNDS", 10)
    monkeypatch.setattr(expected_price, "ROUNDS", 10)


@dataclass
class World:
    """Rows whose neighbours by search vector are missed alike by every member."""

    oof: OutOfFold
    log_price: np.ndarray
    vectors: np.ndarray
    fold: np.ndarray

    @property
    def fields(self):
        rows = len(self.log_price)
        numbers = np.random.default_rng(5).normal(size=(rows, len(NUMBERS))).astype(np.float32)
        return Fields(numbers, np.arange(rows) % 3)

    def fit(self, settings=FIXED):
        return cross_fit(self.oof, self.log_price, self.vectors, self.fields, settings)


def world_of(rows=90, folds=3, *, spread=0.5, effect=0.5, seed=0) -> World:
    random = np.random.default_rng(seed)
    kind = random.integers(0, 6, rows)
    vectors = np.eye(6)[kind] + random.normal(0, 0.3, (rows, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    missed = effect * random.normal(size=6)[kind]
    log_price = random.normal(2.7, spread, rows) + missed
    fold = random.permutation(np.arange(rows) % folds).astype(np.int8)
    expected = {m: log_price - missed + random.normal(0, 0.1 + 0.1 * i, rows) for i, m in enumerate(MEMBERS)}
    own = {m: each + random.normal(0, 0.05, rows) for m, each in expected.items()}
    nested = {m: each + random.normal(0, 0.05, (folds, rows)) for m, each in expected.items()}
    return World(OutOfFold(fold, own, nested), log_price, vectors, fold)


def blended(world, fold, row, weights) -> float:
    """As a build without `fold` predicts a row."""
    return sum(weights[m] * world.oof.nested_oof[m][fold, row] for m in MEMBERS)


def neighbours(world, row, centre, k, band) -> list[tuple[float, int]]:
    """(cosine, row) of the nearest rows of other folds within the band."""
    cosine = world.vectors.astype(np.float64) @ world.vectors[row].astype(np.float64)
    others = np.flatnonzero(world.fold != world.fold[row])
    within = [j for j in others if abs(np.float32(world.log_price[j]) - centre) <= band]
    return [(cosine[j], j) for j in sorted(within, key=lambda j: (-cosine[j], j))[:k]]


def priced(world, row, weights, parameters) -> float:
    """One row, blended and corrected without its fold."""
    fold = world.fold[row]
    base = blended(world, fold, row, weights)
    near = neighbours(world, row, base, parameters.k, parameters.band)
    weight = [math.exp(-parameters.decay * (1 - cosine)) for cosine, _ in near]
    residual = [world.log_price[j] - blended(world, fold, j, weights) for _, j in near]
    if not near:
        return base
    return base + parameters.alpha * sum(w * r for w, r in zip(weight, residual, strict=True)) / sum(weight)


def stacked(world) -> World:
    """The same rows, with a stacker on top that is a little nearer to the price than any member."""
    random, folds = np.random.default_rng(4), world.oof.folds
    top = world.log_price + random.normal(0, 0.2, (folds, len(world.log_price)))
    oof, nested = world.oof.oof | {STACKER: top[0] + 0.1}, world.oof.nested_oof | {STACKER: top}
    return replace(world, oof=OutOfFold(world.fold, oof, nested))


def known_of(world, settings=FIXED, **options):
    """What the models of the error and of the expected price are fitted on."""
    best = answer_out_of_fold(world.oof, world.log_price, world.vectors, settings, **options)
    return fit_spread(best, world.oof, world.fields, settings)[0]


def slow_evidence(world, row, answer) -> Evidence:
    """Of one row, by models and residuals that did not see its fold, and rows of other folds."""
    fold, rows = world.fold[row], range(len(world.log_price))
    last = [blended(world, fold, j, WEIGHTS) for j in rows]
    residual = world.log_price - (world.oof.nested_oof[STACKER][fold] if world.oof.stacked else last)
    residual[world.fold == fold] = np.nan
    near, found = neighbours(world, row, 0.0, NEAREST, math.inf), (np.full((1, NEAREST), -1), np.zeros((1, NEAREST)))
    for place, (cosine, j) in enumerate(near):
        found[0][0, place], found[1][0, place] = j, cosine
    fields, own = world.fields, np.array([row])
    return Evidence(
        {m: world.oof.nested_oof[m][fold, own] for m in MEMBERS},
        np.array([last[row]]),
        world.oof.nested_oof[STACKER][fold, own] if world.oof.stacked else np.array([last[row]]),
        np.array([answer]),
        fields.take(own),
        Neighbours(found[0], found[1].astype(np.float32)),
        ComparedRows(np.where(world.fold == fold, np.nan, world.log_price), fields.unit, fields.log_amount),
        residual,
    )


def test_the_answer_is_the_blend_and_the_formula_row_by_row():
    world = world_of()
    _, held = world.fit()
    rows = range(len(world.log_price))
    slow_blend = [blended(world, world.fold[row], row, WEIGHTS) for row in rows]
    np.testing.assert_allclose(held.stages["blend"], slow_blend, atol=1e-9)
    np.testing.assert_allclose(
        held.stages[ANSWER], [priced(world, row, WEIGHTS, PARAMETERS) for row in rows], atol=1e-5
    )


def test_the_simple_stages_are_what_they_are_called():
    world = world_of()
    _, held = world.fit()
    for member in MEMBERS:
        np.testing.assert_array_equal(held.stages[member], world.oof.nested()[member])
    for row, fold in enumerate(world.fold):
        others = world.log_price[world.fold != fold]
        assert held.stages["constant median"][row] == np.median(others)
        near = neighbours(world, row, 0.0, 5, math.inf)
        weight = [math.exp(-3.0 * (1 - cosine)) for cosine, _ in near]
        mean = np.average(world.log_price[[j for _, j in near]], weights=weight)
        assert held.stages["neighbours alone"][row] == pytest.approx(mean, abs=1e-5)


def test_the_similarity_is_that_of_the_nearest_row_in_the_band_and_nothing_where_there_is_none():
    world = world_of(spread=2.0)
    world.log_price[0] += 50
    for member in MEMBERS:
        world.oof.nested_oof[member][:, 0] += 50
    _, held = world.fit()
    for row in range(len(world.log_price)):
        near = neighbours(world, row, held.stages["blend"][row], 1, 0.6)
        assert held.similarity[row] == pytest.approx(near[0][0] if near else 0, abs=1e-6)
    assert held.similarity[0] == 0
    assert held.stages[ANSWER][0] == held.stages["blend"][0]


def test_a_row_without_a_vector_is_priced_by_the_blend_and_by_the_median():
    world = world_of()
    world.vectors[4] = 0
    _, held = world.fit()
    assert held.stages[ANSWER][4] == held.stages["blend"][4]
    assert held.stages["neighbours alone"][4] == held.stages["constant median"][4]
    assert held.similarity[4] == 0


def test_what_the_settings_fix_is_kept():
    fitted, _ = world_of().fit()
    assert fitted.correction == PARAMETERS
    assert fitted.weights == pytest.approx(WEIGHTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", 3), ("band", 0.123), ("decay", 7.7), ("alpha", 0.77)],
    ids=["k", "band", "lambda", "alpha"],
)
def test_a_parameter_that_is_fixed_is_kept_while_the_others_are_fitted(name, value, monkeypatch):
    few_parameters(monkeypatch)
    fitted, _ = world_of().fit(replace(FIXED, correction=Correction(**{name: value})))
    assert getattr(fitted.correction, name) == value
    grids = {"k": room.GRID_K, "band": room.GRID_BAND, "decay": room.GRID_DECAY, "alpha": room.GRID_ALPHA}
    assert all(getattr(fitted.correction, other) in grid for other, grid in grids.items() if other != name)


def few_parameters(monkeypatch) -> list[CorrectionParameters]:
    grids = {"GRID_K": (2, 6), "GRID_BAND": (0.3, 1.2), "GRID_DECAY": (1.0, 8.0), "GRID_ALPHA": (0.2, 0.6, 1.0)}
    for name, values in grids.items():
        monkeypatch.setattr(room, name, values)
    k, band, decay, alpha = grids.values()
    return [CorrectionParameters(*each) for each in itertools.product(k, band, decay, alpha)]


@pytest.mark.parametrize("seed", range(3))
def test_parameters_are_the_best_on_every_row_and_for_a_score_the_best_on_the_other_folds(seed, monkeypatch):
    tried, world = few_parameters(monkeypatch), world_of(rows=36, seed=seed)
    fitted, held = world.fit(replace(FIXED, correction=Correction()))
    answers = {
        parameters: np.array([priced(world, row, WEIGHTS, parameters) for row in range(36)]) for parameters in tried
    }
    loss = {parameters: row_smape(np.exp(world.log_price), np.exp(answer)) for parameters, answer in answers.items()}
    assert loss[fitted.correction].mean() == pytest.approx(min(each.mean() for each in loss.values()))
    for fold in range(3):
        here = world.fold == fold
        best = min(tried, key=lambda parameters: loss[parameters][~here].mean())
        np.testing.assert_allclose(held.stages[ANSWER][here], answers[best][here], atol=1e-5)


def test_of_many_rows_some_tell_the_parameters_and_each_has_all_rows_of_other_folds_for_neighbours(monkeypatch):
    tried, world = few_parameters(monkeypatch), world_of(rows=60)
    monkeypatch.setattr(room, "MOST_TRIED_ON", 24)
    fitted, held = world.fit(replace(FIXED, correction=Correction()))
    rows = np.sort(np.random.default_rng(0).choice(60, 24, replace=False))
    answers = {own: np.array([priced(world, row, WEIGHTS, own) for row in range(60)]) for own in tried}
    loss = {own: row_smape(np.exp(world.log_price), np.exp(answer))[rows] for own, answer in answers.items()}
    assert loss[fitted.correction].mean() == pytest.approx(min(lost.mean() for lost in loss.values()))
    for fold in range(3):
        best = min(tried, key=lambda own: loss[own][world.fold[rows] != fold].mean())
        here = world.fold == fold
        np.testing.assert_allclose(held.stages[ANSWER][here], answers[best][here], atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_best_on_every_row_and_for_a_score_the_best_on_rows_and_models_without_the_fold(seed):
    world = world_of(rows=36, seed=seed)
    fitted, held = world.fit(replace(FIXED, blend=Blend()))
    asked, price = world.oof.nested(), np.exp(world.log_price)
    assert fitted.weights == fit_weights(asked, price)
    for fold in range(3):
        here = world.fold == fold
        unaware = {m: each[fold, ~here] for m, each in world.oof.nested_oof.items()}
        weights = fit_weights(unaware, price[~here])
        slow = [blended(world, fold, row, weights) for row in np.flatnonzero(here)]
        np.testing.assert_allclose(held.stages["blend"][here], slow, atol=1e-9)


def test_the_interval_by_level_is_for_a_score_fitted_on_the_other_folds():
    world = world_of(rows=300)
    _, held = world.fit()
    answer = held.stages[ANSWER]
    for fold in range(3):
        here = world.fold == fold
        low, high = fit_interval(answer[~here], world.log_price[~here], FIXED.coverage).bounds(answer[here])
        np.testing.assert_array_equal(held.plain[0][here], low)
        np.testing.assert_array_equal(held.plain[1][here], high)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_held_prices_lie_within_their_interval_as_often_as_promised(coverage):
    world = world_of(rows=900)
    _, held = world.fit(replace(FIXED, coverage=coverage))
    covered = (held.spread.low <= world.log_price) & (world.log_price <= held.spread.high)
    assert covered.mean() == pytest.approx(coverage, abs=0.05)


def test_the_likeness_is_that_of_the_nearest_row_of_another_fold_without_a_band():
    world = world_of()
    _, held = world.fit()
    for row in range(len(world.log_price)):
        ((cosine, _),) = neighbours(world, row, 0.0, 1, math.inf)
        assert held.likeness[row] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize(("change", "rows"), [(lambda world: world, 90), (stacked, 120)], ids=["blend", "stacker"])
def test_the_evidence_of_a_row_is_that_of_models_residuals_and_neighbours_without_its_fold_row_by_row(change, rows):
    world = change(world_of(rows))
    _, held = world.fit()
    known = known_of(world)
    np.testing.assert_array_equal(known.answer, held.answer)
    for row in range(rows):
        slow = slow_evidence(world, row, held.answer[row])
        np.testing.assert_allclose(known.table[row], slow.table()[0], atol=1e-5, err_msg=str(row))
        novelty = Novelty.of(slow)
        assert known.novelty.likeness[row] == pytest.approx(novelty.likeness[0], abs=1e-6)
        assert known.novelty.length[row] == novelty.length[0] == world.fields.numbers[row, TEXT_LENGTH]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_expected_prices_of_a_fold_are_by_what_the_other_folds_taught(weighted):
    world = world_of(rows=300)
    age_weight = np.random.default_rng(6).uniform(0.2, 3, 300) if weighted else None
    given = world.oof, world.log_price, world.vectors, world.fields, replace(FIXED, seed=5)
    (_, median), (fitted, mean) = (cross_fit(*given, answer=a, age_weight=age_weight) for a in ("median", MEAN))
    table = known_of(world, age_weight=age_weight).table
    answer = median.answer

    def taught(rows) -> ExpectedPrice:
        weight = None if age_weight is None else age_weight[rows]
        return ExpectedPrice.fit(table[rows], answer[rows], world.log_price[rows], seed=5, age_weight=weight)

    for fold in range(3):
        here = world.fold == fold
        np.testing.assert_array_equal(mean.answer[here], taught(~here).log_mean(table[here], answer[here]))
    every = taught(np.ones(300, bool)).log_mean(table, answer)
    np.testing.assert_array_equal(fitted.expected.log_mean(table, answer), every)
    assert (np.abs(mean.answer - every) > 1e-4).mean() > 0.9 and np.ptp(mean.answer - answer) > 0.05
    for stage in list(median.stages)[:-1]:
        np.testing.assert_array_equal(mean.stages[stage], median.stages[stage])
    np.testing.assert_array_equal(mean.spread.expected_error, median.spread.expected_error)
    np.testing.assert_array_equal(mean.spread.low, np.minimum(median.spread.low, mean.answer))
    np.testing.assert_array_equal(mean.spread.high, np.maximum(median.spread.high, mean.answer))


@pytest.mark.parametrize("stage", ["constant median", "neighbours alone", ANSWER])
def test_prices_of_a_fold_change_nothing_in_how_that_fold_is_priced(stage):
    """Given what the models predict; that those were never trained on the fold is `test_out_of_fold`'s to show."""
    held, held_after, here = before_and_after_a_fold_got_other_prices(FIXED)
    np.testing.assert_array_equal(held_after.stages[stage][here], held.stages[stage][here])
    assert not np.array_equal(held_after.stages[stage][~here], held.stages[stage][~here])


def test_prices_of_a_fold_change_nothing_in_the_weights_that_it_is_blended_with():
    held, held_after, here = before_and_after_a_fold_got_other_prices(replace(FIXED, blend=Blend()))
    np.testing.assert_array_equal(held_after.stages["blend"][here], held.stages["blend"][here])
    assert not np.array_equal(held_after.stages["blend"][~here], held.stages["blend"][~here])


def test_prices_of_a_fold_change_nothing_in_the_evidence_of_that_fold():
    before, after = world_of(), world_of()
    here = before.fold == 1
    after.log_price[here] += np.random.default_rng(9).normal(0, 3, here.sum())
    known, known_after = known_of(before), known_of(after)
    np.testing.assert_array_equal(known_after.table[here], known.table[here])
    assert not np.isclose(known_after.table[~here], known.table[~here], equal_nan=True).all()


def test_prices_of_a_fold_that_is_in_nobody_s_evidence_move_its_intervals_by_one_number_of_the_calibration():
    """Of second order, as `test_error_model` has it: where others' evidence holds these prices, trees learn of them."""
    before, after = out_of_the_way(1), out_of_the_way(1)
    here = before.fold == 1
    after.log_price[here] += np.random.default_rng(9).normal(0, 0.3, here.sum())
    (_, held), (_, held_after) = before.fit(), after.fit()
    for name in ("expected_error", "unlike", "brief"):
        np.testing.assert_array_equal(getattr(held_after.spread, name)[here], getattr(held.spread, name)[here])
    assert len(np.unique(held.spread.expected_error[here])) > 20
    assert not held.spread.unlike[here].any()
    for end in ("low", "high"):
        old, new = (getattr(each.spread, end)[here] for each in (held, held_after))
        free = (old != held.answer[here]) & (new != held.answer[here])
        step = ((new - old) / held.spread.expected_error[here])[free]
        assert free.mean() > 0.5
        np.testing.assert_allclose(step, step[0], atol=1e-9)
    assert not np.array_equal(held_after.spread.expected_error[~here], held.spread.expected_error[~here])


def out_of_the_way(fold) -> World:
    """Rows that have none of that fold among their neighbours; a few others have none at all."""
    world = world_of(rows=300)
    own, aside = 1 + world.vectors, np.where(world.fold == fold, 0.8, 0.0)[:, None]
    own *= np.sqrt(1 - aside**2) / np.linalg.norm(own, axis=1, keepdims=True)
    vectors = np.hstack([own, aside]).astype(np.float32)
    vectors[np.flatnonzero(world.fold != fold)[:4]] = 0
    return replace(world, vectors=vectors)


def before_and_after_a_fold_got_other_prices(settings):
    before, after = world_of(), world_of()
    here = before.fold == 1
    after.log_price[here] += np.random.default_rng(9).normal(0, 3, here.sum())
    return before.fit(settings)[1], after.fit(settings)[1], here


def test_stored_residuals_whose_models_know_the_fold_have_no_part_in_its_score():
    world = world_of()
    _, held = world.fit()
    for member in MEMBERS:
        world.oof.oof[member][:] = 1e6
    _, after = world.fit()
    for stage in held.stages:
        np.testing.assert_array_equal(after.stages[stage], held.stages[stage])
    for name in ("expected_error", "low", "high", "within"):
        np.testing.assert_array_equal(getattr(after.spread, name), getattr(held.spread, name))


class Memory:
    """Predicts from the nearest rows that it saw: it knows by heart what it learned."""

    def __init__(self, inputs, log_price, seed, fitted, age_weight=None):
        self.place, self.log_price = inputs.numbers, log_price

    def predict(self, inputs):
        distance = np.linalg.norm(inputs.numbers[:, None] - self.place[None], axis=2)
        weight = np.exp(-((distance / 0.3) ** 2)) + 1e-12
        return weight @ self.log_price / weight.sum(axis=1)


def remembered(rows, seed, log_price=None) -> World:
    """Prices that nothing explains, out of fold by models that learn by heart what they read: the search vectors."""
    random = np.random.default_rng(seed)
    place = random.normal(size=(rows, 3))
    place = (place / np.linalg.norm(place, axis=1, keepdims=True)).astype(np.float32)
    noise = random.normal(2.7, 0.8, rows)
    fold = random.permutation(np.arange(rows) % 4).astype(np.int8)
    inputs = Inputs({}, place, np.zeros(rows, np.int64), csr_matrix((rows, 1), dtype=np.float32))
    log_price = noise if log_price is None else log_price
    training = TrainingSet(inputs, log_price, place, np.arange(rows), fold)
    oof, _ = predict_out_of_fold(training, dict.fromkeys(MEMBERS, Memory), seed=0)
    return World(oof, log_price, place, fold)


@pytest.mark.parametrize("row", [0, 11])
def test_a_price_a_thousand_times_higher_changes_no_stage_and_no_evidence_of_its_own_fold_though_all_is_fitted_anew(
    row,
):
    before = remembered(80, seed=0)
    dearer = before.log_price.copy()
    dearer[row] += np.log(1000)
    after = remembered(80, seed=0, log_price=dearer)
    _, held = before.fit()
    _, held_after = after.fit()
    here = before.fold == before.fold[row]
    for stage in held.stages:
        np.testing.assert_array_equal(held_after.stages[stage][here], held.stages[stage][here])
    assert not np.array_equal(held_after.stages[ANSWER][~here], held.stages[ANSWER][~here])
    np.testing.assert_array_equal(known_of(after).table[here], known_of(before).table[here])


def test_a_shift_knows_nothing_of_a_price_that_nothing_explains():
    told = 0.0
    for seed in range(3):
        world = remembered(400, seed=seed)
        _, held = world.fit()
        told += np.corrcoef(held.stages[ANSWER] - held.stages["blend"], world.log_price)[0, 1] / 3
    assert abs(told) < 0.1


def test_residuals_whose_models_know_the_row_would_point_away_from_it():
    """Why a score needs models without both folds: with the stored residuals, the claim above is false."""
    told = 0.0
    for seed in range(3):
        world = remembered(400, seed=seed)
        for member in MEMBERS:
            for fold in range(4):
                there = world.fold != fold
                world.oof.nested_oof[member][fold, there] = world.oof.oof[member][there]
        _, held = world.fit()
        told += np.corrcoef(held.stages[ANSWER] - held.stages["blend"], world.log_price)[0, 1] / 3
    assert told < -0.2


def test_neighbours_gain_where_they_are_missed_alike_and_neighbours_at_random_do_not():
    world = world_of(rows=300, effect=0.6)
    price = np.exp(world.log_price)
    _, held = world.fit()
    before, after = (smape(price, np.exp(held.stages[stage])) for stage in ("blend", ANSWER))
    by_chance = smape(price, np.exp(held.control))
    assert after < 0.6 * before
    assert by_chance > 0.95 * before


def test_neighbours_at_random_are_drawn_by_the_seed_and_move_nothing_else():
    world = world_of()
    (_, held), (_, same), (_, other) = world.fit(), world.fit(), world.fit(replace(FIXED, seed=1))
    np.testing.assert_array_equal(held.control, same.control)
    assert not np.array_equal(held.control, other.control)
    for stage in held.stages:
        np.testing.assert_array_equal(held.stages[stage], other.stages[stage])


def test_neighbours_at_random_are_a_permutation_of_the_vectors_within_the_same_band_and_folds():
    world = world_of()
    _, held = world.fit()
    shuffled = replace(world, vectors=world.vectors[np.random.default_rng(FIXED.seed).permutation(len(world.vectors))])
    slow = [priced(shuffled, row, WEIGHTS, PARAMETERS) for row in range(len(world.log_price))]
    np.testing.assert_allclose(held.control, slow, atol=1e-5)
