"""Claims about predictions of rows that no model saw, made with models that remember everything they see."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.ensemble.out_of_fold import OutOfFold, predict_out_of_fold
from engine.features.inputs import Inputs
from engine.features.training_set import TrainingSet
from engine.folds import assign_folds
from engine.members.member import CrossFit
from engine.members.per_fold import PerFold
from index.catalogue.duplicates import duplicate_groups

ROWS, FOLDS = 41, 4
FOLD = np.random.default_rng(0).permutation(np.arange(ROWS) % FOLDS).astype(np.int8)
LOG_PRICE = np.random.default_rng(1).normal(2.7, 1, ROWS)
PLACE = np.random.default_rng(2).normal(size=(ROWS, 2))  # where an item lies: the nearest is the most alike


def inputs_of(place=PLACE, fold=FOLD) -> Inputs:
    """Numbers: the row, its fold, and its place."""
    rows = len(fold)
    numbers = np.column_stack([np.arange(rows), fold, place]).astype(np.float32)
    return Inputs({}, numbers, np.zeros(rows, np.int64), csr_matrix((rows, 1), dtype=np.float32))


class Memory:
    """Predicts the price of the nearest item that it saw, and notes who asked and what it had seen."""

    def __init__(self, inputs, log_price, seed, fitted, age_weight=None):
        self.seen, self.place = inputs.numbers[:, 0].astype(int), inputs.numbers[:, 2:]
        self.log_price, self.seed, self.asked = log_price, seed, []

    def predict(self, inputs):
        self.asked += inputs.numbers[:, 0].astype(int).tolist()
        distance = np.linalg.norm(inputs.numbers[:, None, 2:] - self.place[None], axis=2)
        return self.log_price[distance.argmin(axis=1)]


class Absentee:
    """Predicts a number that tells which folds it saw, and which row asked."""

    def __init__(self, inputs, log_price, seed, fitted, age_weight=None):
        self.seen = set(inputs.numbers[:, 1].astype(int))

    def predict(self, inputs):
        return np.array([told(self.seen, row) for row in inputs.numbers[:, 0]])


def told(seen, row) -> float:
    return sum(10.0**fold for fold in seen) + row / 100


def predict(log_price=LOG_PRICE, *, fits=None, inputs=None, fold=FOLD, **options):
    return predict_out_of_fold(
        training_of(inputs or inputs_of(), log_price, fold), fits or {"mlp": Memory}, seed=3, **options
    )


def training_of(inputs, log_price=LOG_PRICE, fold=FOLD) -> TrainingSet:
    rows = len(fold)
    return TrainingSet(inputs, log_price, np.zeros((rows, 1), np.float32), np.arange(rows), fold)


@pytest.mark.parametrize("folds", [3, 4, 6])
def test_every_prediction_is_by_the_models_that_left_out_what_they_must(folds):
    fold = FOLD if folds == FOLDS else (np.arange(ROWS) % folds).astype(np.int8)
    oof, _ = predict(fits={"mlp": Absentee}, inputs=inputs_of(fold=fold), fold=fold)
    every = set(range(folds))
    own, nested = np.zeros(ROWS), np.zeros((folds, ROWS))
    for row in range(ROWS):
        mine = int(fold[row])
        own[row] = told(every - {mine}, row)
        for other in every - {mine}:
            nested[other, row] = told(every - {other, mine}, row)
        nested[mine, row] = np.mean([told(every - {mine, other}, row) for other in every - {mine}])
    np.testing.assert_allclose(oof.oof["mlp"], own)
    np.testing.assert_allclose(oof.nested_oof["mlp"], nested)


def test_no_model_is_asked_for_a_row_that_it_saw():
    fitted = []

    def remember(inputs, log_price, seed, before, age_weight):
        fitted.append(Memory(inputs, log_price, seed, before))
        return fitted[-1]

    predict(fits={"mlp": remember})
    assert all(not set(model.asked) & set(model.seen) for model in fitted)
    assert all(set(model.asked) | set(model.seen) == set(range(ROWS)) for model in fitted)
    left_out = sorted(sorted(set(range(FOLDS)) - set(FOLD[model.seen].tolist())) for model in fitted)
    assert left_out == sorted([[f] for f in range(FOLDS)] + [list(p) for p in itertools.combinations(range(FOLDS), 2)])


def test_models_learn_each_row_with_its_own_price():
    _, models = predict()
    for model in models["mlp"].models:
        np.testing.assert_array_equal(model.log_price, LOG_PRICE[model.seen])


@pytest.mark.parametrize("row", [0, 7, 40])
def test_a_price_a_thousand_times_higher_moves_no_prediction_of_its_own_fold(row):
    dearer = LOG_PRICE.copy()
    dearer[row] += np.log(1000)
    before, after = predict()[0], predict(dearer)[0]
    here = FOLD[row] == FOLD
    np.testing.assert_array_equal(after.oof["mlp"][here], before.oof["mlp"][here])
    np.testing.assert_array_equal(after.nested()["mlp"][here], before.nested()["mlp"][here])
    np.testing.assert_array_equal(after.nested_oof["mlp"][FOLD[row]], before.nested_oof["mlp"][FOLD[row]])


def test_the_same_price_does_move_predictions_of_other_folds():
    """Else the claim above would hold of a model that learns nothing."""
    moved = 0
    for row in range(ROWS):
        dearer = LOG_PRICE.copy()
        dearer[row] += np.log(1000)
        changed = predict(dearer)[0].oof["mlp"] != predict()[0].oof["mlp"]
        assert not changed[FOLD[row] == FOLD].any()
        moved += changed.any()
    assert moved > ROWS / 2


def near_duplicates():
    """Forty pairs alike to the last digit but for their price: their groups, and the inputs."""
    names = [f"item {row % 40}" for row in range(80)]
    place = np.tile(np.random.default_rng(3).normal(size=(40, 2)), (2, 1))
    return duplicate_groups(names, [None] * 80), place, np.random.default_rng(4).normal(2.7, 1, 80)


def test_a_row_is_never_predicted_from_the_price_of_its_near_duplicate():
    groups, place, log_price = near_duplicates()
    fold = assign_folds(groups, FOLDS, seed=0, log_price=log_price)
    np.testing.assert_array_equal(fold[:40], fold[40:])
    oof, _ = predict(log_price, inputs=inputs_of(place, fold), fold=fold)
    other = np.roll(log_price, 40)
    assert not np.isclose(oof.oof["mlp"], other).any()
    assert not np.isclose(oof.nested_oof["mlp"], other).any()


def test_folds_that_part_near_duplicates_would_predict_a_row_from_its_own():
    """Else the claim above would hold of a model that remembers nothing."""
    _, place, log_price = near_duplicates()
    fold = (np.arange(80) // 20).astype(np.int8)
    oof, _ = predict(log_price, inputs=inputs_of(place, fold), fold=fold)
    np.testing.assert_array_equal(oof.oof["mlp"], np.roll(log_price, 40))


def test_nested_is_the_prediction_without_the_rows_own_fold():
    oof, _ = predict()
    slow = [oof.nested_oof["mlp"][FOLD[row], row] for row in range(ROWS)]
    np.testing.assert_array_equal(oof.nested()["mlp"], slow)
    assert oof.folds == FOLDS


def test_the_models_that_are_kept_left_out_one_fold_each_in_the_order_of_the_folds():
    _, models = predict(fits={"mlp": Memory, "gbdt": Memory}, beside=frozenset({"gbdt"}))
    for member in ("mlp", "gbdt"):
        assert len(models[member].models) == FOLDS
        for fold, model in enumerate(models[member].models):
            assert set(model.seen) == set(np.flatnonzero(fold != FOLD))


def test_a_member_fitted_beside_the_others_is_predicted_as_among_them():
    fits = {"mlp": Memory, "gbdt": Absentee}
    together, apart = predict(fits=fits)[0], predict(fits=fits, beside=frozenset({"gbdt"}))[0]
    for member in fits:
        np.testing.assert_array_equal(apart.oof[member], together.oof[member])
        np.testing.assert_array_equal(apart.nested_oof[member], together.nested_oof[member])


def test_a_member_that_fits_all_folds_at_once_is_kept_as_one_that_fits_them_one_by_one():
    def at_once(training, outs, seed, on_progress):
        models, predicted = [], {}
        for out in outs:
            is_out = np.isin(training.fold, out)
            model = Absentee(training.inputs.take(np.flatnonzero(~is_out)), None, seed, {})
            predicted[out] = model.predict(training.inputs.take(np.flatnonzero(is_out)))
            if len(out) == 1:
                models.append(model)
        return PerFold(models), predicted

    (together, models), (apart, _) = (
        predict(fits={"mlp": Memory, "kernel": fit}) for fit in (CrossFit(at_once, 1.0), Absentee)
    )
    assert list(models) == list(together.oof) == ["mlp", "kernel"]
    np.testing.assert_array_equal(together.oof["kernel"], apart.oof["kernel"])
    np.testing.assert_array_equal(together.nested_oof["kernel"], apart.nested_oof["kernel"])


def test_every_model_has_a_seed_of_its_own_which_the_seed_of_the_build_decides():
    def seeds_of(seed):
        seeds = []

        def note(inputs, log_price, seed, before, age_weight):
            seeds.append(seed)
            return Memory(inputs, log_price, seed, before)

        predict_out_of_fold(training_of(inputs_of()), {"mlp": note}, seed=seed)
        return seeds

    first, second = seeds_of(0), seeds_of(1)
    assert len(set(first + second)) == 2 * (FOLDS + FOLDS * (FOLDS - 1) // 2)
    assert seeds_of(0) == first
    assert min(first) >= 0


@pytest.mark.parametrize("beside", [frozenset(), frozenset({"gbdt"}), frozenset({"mlp", "gbdt"})])
def test_progress_counts_up_to_every_model(beside):
    told = []
    predict(fits={"mlp": Memory, "gbdt": Memory}, beside=beside, on_progress=lambda *news: told.append(news))
    total = 2 * (FOLDS + FOLDS * (FOLDS - 1) // 2)
    assert {news[0] for news in told} == {"fitting models"}
    assert told[-1] == ("fitting models", total, total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize("member", ["mlp", "gbdt"])
def test_a_fit_that_fails_ends_the_work_with_its_own_error(member):
    fitted = []

    def fail(inputs, log_price, seed, before, age_weight):
        raise ArithmeticError("no")

    def note(inputs, log_price, seed, before, age_weight):
        fitted.append(seed)
        return Memory(inputs, log_price, seed, before)

    with pytest.raises(ArithmeticError, match="no"):
        predict(fits={"mlp": note, "gbdt": note, member: fail}, beside=frozenset({"gbdt"}))
    assert len(fitted) <= FOLDS + FOLDS * (FOLDS - 1) // 2


def test_what_is_written_is_read_back_as_it_was(tmp_path):
    oof, _ = predict(fits={"mlp": Memory, "gbdt": Absentee})
    oof.write(tmp_path)
    back = OutOfFold.read(tmp_path)
    np.testing.assert_array_equal(back.fold, oof.fold)
    assert back.fold.dtype == np.int8
    assert list(back.oof) == list(back.nested_oof) == ["mlp", "gbdt"]
    for member in oof.oof:
        np.testing.assert_array_equal(back.oof[member], oof.oof[member])
        np.testing.assert_array_equal(back.nested_oof[member], oof.nested_oof[member])
    np.testing.assert_array_equal(back.nested()["mlp"], oof.nested()["mlp"])


def test_rows_in_another_order_are_predicted_the_same():
    shuffled = np.random.default_rng(5).permutation(ROWS)
    oof, _ = predict()
    again, _ = predict(LOG_PRICE[shuffled], inputs=inputs_of().take(shuffled), fold=FOLD[shuffled])
    np.testing.assert_array_equal(again.oof["mlp"], oof.oof["mlp"][shuffled])
    np.testing.assert_allclose(again.nested_oof["mlp"], oof.nested_oof["mlp"][:, shuffled])


def test_a_fold_whose_rows_have_all_been_removed_still_counts(tmp_path):
    oof, _ = predict()
    left = oof.take(np.flatnonzero(FOLD != FOLDS - 1))
    left.write(tmp_path)
    assert left.folds == OutOfFold.read(tmp_path).folds == FOLDS
