"""Claims about the stacker: what it reads, row by row, and that it knows neither a row's own price nor its fold's."""

from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble import stacker
from engine.ensemble.blend import Weights, blend
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.ensemble.stacker import AMOUNT_SLOPE, Stacker, features, stacker_out_of_fold
from engine.features.inputs import NUMBERS
from engine.features.training_set import TrainingSet
from engine.settings.schema import StackerSettings
from index.search.neighbours import BandIndex, Neighbours

SMALL = StackerSettings(rounds=20, leaves=4, least_rows_in_leaf=5, learning_rate=0.2, k=5, band=1.5)
FOLDS = 4


@pytest.fixture
def catalogue(make_items):
    inputs, log_price = make_items(150, seed=2)
    inputs.numbers[:, NUMBERS.index("amount_unknown")] = np.arange(150) % 5 == 0
    return TrainingSet(
        inputs, log_price, inputs.vectors["name"], np.arange(150), (np.arange(150) % FOLDS).astype(np.int8)
    )


@pytest.fixture
def oof(catalogue):
    """Members that miss by chance, each world by its own."""
    random = np.random.default_rng(1)
    log_price, fold = catalogue.log_price, catalogue.fold
    own = {m: log_price + random.normal(0, 0.5, 150) for m in ("mlp", "gbdt")}
    return OutOfFold(fold, own, {m: log_price + random.normal(0, 0.5, (FOLDS, 150)) for m in own})


WEIGHTS = Weights(
    {"mlp": 0.3, "gbdt": 0.7},
    [{"mlp": 0.3, "gbdt": 0.7}, {"mlp": 0.5, "gbdt": 0.5}, {"mlp": 1, "gbdt": 0}, {"mlp": 0, "gbdt": 1}],
)


def slow_evidence(row, blended, near, catalogue):
    """One row's likeness and prices of neighbours, one neighbour at a time."""
    mine = catalogue.inputs.log_amount[row]
    apart, adjusted, same = [], [], 0
    for j in near:
        apart.append(catalogue.log_price[j] - blended)
        more = mine - catalogue.log_amount[j]
        fits = catalogue.unit[j] == catalogue.inputs.unit[row] and not np.isnan(more)
        same += fits
        adjusted.append(apart[-1] + (AMOUNT_SLOPE * more if fits else 0))
    alike = [float(catalogue.search_vectors[j] @ catalogue.search_vectors[row]) for j in near]
    if not near:
        return [np.nan] * 9 + [0.0] + [np.nan] * 5
    weight = [np.exp(-20.0 * (1 - cosine)) for cosine in alike]
    equal = [n for n, j in enumerate(near) if is_same_amount(row, j, catalogue)]
    second, third = ([*adjusted, np.nan, np.nan][place] for place in (1, 2))
    return [
        alike[0], np.mean(alike[:8]), apart[0], np.mean(apart[:4]), np.median(apart), np.std(apart),
        np.mean(adjusted[:4]), np.median(adjusted), np.std(adjusted), same / SMALL.k,
        np.average(apart, weights=weight),
        np.average([apart[n] for n in equal], weights=[weight[n] for n in equal]) if equal else np.nan,
        middle_by_weight(adjusted, weight), second, third,
    ]  # fmt: skip


def is_same_amount(row, j, catalogue):
    """Whether both amounts are known, of one unit, and nearly the same."""
    more = catalogue.inputs.log_amount[row] - catalogue.log_amount[j]
    return catalogue.unit[j] == catalogue.inputs.unit[row] and bool(abs(more) < 0.05)


def middle_by_weight(values, weight):
    """The least value at which half of the weight is reached."""
    reached = 0.0
    for value, own in sorted(zip(values, weight, strict=True)):
        reached += own
        if reached >= sum(weight) / 2 - 1e-12:
            return value
    raise AssertionError


def test_the_table_says_what_members_item_and_neighbours_say_row_by_row(catalogue, oof):
    blended = blend(oof.oof, WEIGHTS.whole)
    blended[7] += 30  # where nobody's price is
    index = BandIndex(catalogue.search_vectors, catalogue.log_price)
    near = index.search(catalogue.search_vectors, blended, k=SMALL.k, band=0.2)
    assert 0 < (~near.found).sum() < near.found.size
    table = features(oof.oof, blended, catalogue.inputs, near, catalogue)
    for row in range(150):
        members = [oof.oof["mlp"][row], oof.oof["gbdt"][row]]
        said = [m - blended[row] for m in members] + [blended[row], np.std(members), *catalogue.inputs.numbers[row]]
        rows = near.rows[row][near.found[row]].tolist()
        slow = [*said, catalogue.inputs.unit[row], *slow_evidence(row, blended[row], rows, catalogue)]
        np.testing.assert_allclose(table[row], slow, atol=1e-5)


def test_an_item_without_neighbours_or_amount_is_predicted_all_the_same(catalogue, oof):
    nobody = Neighbours(np.full((150, 5), -1), np.zeros((150, 5), np.float32))
    blended = blend(oof.oof, WEIGHTS.whole)
    table = features(oof.oof, blended, catalogue.inputs, nobody, catalogue)
    stacker = Stacker.fit(table, blended, catalogue.log_price, SMALL, seed=0)
    assert np.isfinite(stacker.predict(table, blended)).all()


@pytest.mark.parametrize("left", [1.8, 1.0])
@pytest.mark.parametrize("k", [5, 200])
def test_neighbours_without_some_folds_are_those_of_an_index_without_their_rows(left, k, monkeypatch, catalogue, oof):
    monkeypatch.setattr(stacker, "READ_ROWS", 25)
    monkeypatch.setattr(stacker, "LEFT", left)  # of the nearest of all folds, too few are left without one more
    settings, random = replace(SMALL, k=k, band=0.7), np.random.default_rng(3)
    near, searches = stacker.NearRows(oof, WEIGHTS, catalogue, settings), []
    search = near._index.search
    monkeypatch.setattr(near._index, "search", lambda *given, **more: [searches.append(1), search(*given, **more)][1])
    for out in (frozenset({0}), frozenset({1, 2}), frozenset({0, 2, 3})):
        rows = np.sort(random.choice(150, 60, replace=False))
        f = min(out)
        centre = blend({m: each[f] for m, each in oof.nested_oof.items()}, WEIGHTS.by_fold[f])[rows]
        allowed = np.flatnonzero(~np.isin(catalogue.fold, list(out)))
        index = BandIndex(
            catalogue.search_vectors[allowed], catalogue.log_price[allowed], groups=catalogue.fold[allowed]
        )
        slow = index.search(catalogue.search_vectors[rows], centre, k=k, band=0.7, exclude_group=catalogue.fold[rows])
        found = near.search(rows, centre, out)
        np.testing.assert_array_equal(found.rows, np.where(slow.found, allowed[slow.rows], -1))
        np.testing.assert_allclose(found.similarity, slow.similarity, atol=1e-6)
        before = len(searches)
        np.testing.assert_array_equal(near.search(rows, centre, out).rows, found.rows)
        assert len(searches) == before  # what was searched for is kept
    assert bool(searches) == (k == 5)  # of 200 all that could be found are there


def test_a_stacker_learns_whom_to_trust_and_comes_back_from_the_disk(tmp_path, catalogue, oof):
    """One member is right about cheap items, the other about dear ones: no single weight can say that."""
    log_price = catalogue.log_price
    cheap = log_price < np.median(log_price)
    members = {"mlp": log_price - np.where(cheap, 0, 1.0), "gbdt": log_price + np.where(cheap, 1.0, 0)}
    blended = blend(members, {"mlp": 0.5, "gbdt": 0.5})
    nobody = Neighbours(np.full((150, 5), -1), np.zeros((150, 5), np.float32))
    table = features(members, blended, catalogue.inputs, nobody, catalogue)
    stacker = Stacker.fit(
        table, blended, log_price, StackerSettings(least_rows_in_leaf=5, feature_fraction=1.0), seed=0
    )
    predicted = stacker.predict(table, blended)
    assert np.abs(predicted - log_price).mean() < 0.5 * np.abs(blended - log_price).mean()
    stacker.save(tmp_path / "stacker.txt")
    np.testing.assert_array_equal(Stacker.load(tmp_path / "stacker.txt", members=2).predict(table, blended), predicted)


def test_the_same_seed_grows_the_same_stackers(catalogue, oof):
    one, again = (stacker_out_of_fold(oof, WEIGHTS, catalogue, SMALL, seed=4)[0] for _ in range(2))
    other = stacker_out_of_fold(oof, WEIGHTS, catalogue, SMALL, seed=5)[0]
    np.testing.assert_array_equal(one.oof[STACKER], again.oof[STACKER])
    assert not np.array_equal(one.oof[STACKER], other.oof[STACKER])


def test_every_prediction_is_by_stackers_that_left_out_what_they_must(monkeypatch, catalogue, oof):
    monkeypatch.setattr(stacker, "READ_ROWS", 25)
    stacked, stackers = stacker_out_of_fold(oof, WEIGHTS, catalogue, SMALL, seed=0)
    for f in range(FOLDS):
        world = {m: each[f] for m, each in oof.nested_oof.items()}
        own, here = {m: np.where(oof.fold == f, oof.oof[m], world[m]) for m in world}, oof.fold == f
        slow = fitted(world, {f}, f, catalogue, oof.fold)
        np.testing.assert_array_equal(
            stacked.oof[STACKER][here], slow.predict(*lines(own, {f}, f, catalogue, oof.fold))[here]
        )
        table = lines(own, {f}, f, catalogue, oof.fold)
        np.testing.assert_array_equal(stackers[f].predict(*table), slow.predict(*table))
        as_queries = np.zeros(150)
        for g in set(range(FOLDS)) - {f}:
            one_less, there = fitted(world, {f, g}, f, catalogue, oof.fold), oof.fold == g
            expected = one_less.predict(*lines(world, {f, g}, f, catalogue, oof.fold))
            np.testing.assert_array_equal(stacked.nested_oof[STACKER][f, there], expected[there])
            as_queries += one_less.predict(*lines(world, {f}, f, catalogue, oof.fold)) / (FOLDS - 1)
        np.testing.assert_allclose(stacked.nested_oof[STACKER][f, here], as_queries[here], atol=1e-12)


def lines(members, out, f, catalogue, fold):
    """The table and the blend, row by row: each row may use rows that are neither in `out` nor in its own fold."""
    blended, table = blend(members, WEIGHTS.by_fold[f]), []
    for row in range(len(fold)):
        usable = np.array([j for j in range(len(fold)) if fold[j] not in out and fold[j] != fold[row]])
        index = BandIndex(catalogue.search_vectors[usable], catalogue.log_price[usable])
        near = index.search(catalogue.search_vectors[[row]], blended[[row]], k=SMALL.k, band=SMALL.band)
        numbered = Neighbours(np.where(near.found, usable[near.rows], -1), near.similarity)
        said = {m: each[[row]] for m, each in members.items()}
        one = catalogue.inputs.take(np.array([row]))
        table.append(features(said, blended[[row]], one, numbered, catalogue)[0])
    return np.array(table), blended


def fitted(members, out, f, catalogue, fold):
    table, blended = lines(members, out, f, catalogue, fold)
    seen = ~np.isin(fold, list(out))
    seed = 0 * FOLDS**2 + sum(out)
    return Stacker.fit(table[seen], blended[seen], catalogue.log_price[seen], SMALL, seed=seed)


@pytest.mark.parametrize("row", [0, 40, 149])
def test_a_price_a_thousand_times_higher_moves_no_prediction_of_its_own_fold(row, catalogue, oof):
    before = stacker_out_of_fold(oof, WEIGHTS, catalogue, SMALL, seed=0)[0]
    dearer = catalogue.log_price.copy()
    dearer[row] += np.log(1000)
    after = stacker_out_of_fold(oof, WEIGHTS, replace(catalogue, log_price=dearer), SMALL, seed=0)[0]
    here = oof.fold == oof.fold[row]
    np.testing.assert_array_equal(after.oof[STACKER][here], before.oof[STACKER][here])
    np.testing.assert_array_equal(after.nested_oof[STACKER][oof.fold[row]], before.nested_oof[STACKER][oof.fold[row]])
    assert not np.array_equal(after.oof[STACKER][~here], before.oof[STACKER][~here])
