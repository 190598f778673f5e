"""Claims about kernel ridge regression: it is the textbook's, word by word, and what makes it more than that works."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack

from engine.features.inputs import NUMBERS, WORD_KINDS, Inputs, hash_words
from engine.features.tfidf import Words, weigh_words
from engine.members.kernel import leave_out
from engine.members.kernel.fits import Rows, word_plan
from engine.members.kernel.kernel_ridge import KernelRidge
from engine.members.kernel.leave_out import InverseKernel, SumsByFold
from engine.members.kernel.similarity import REACH, SHARPNESS
from engine.metrics import weighted_quantile
from engine.settings.schema import Kernel as KernelSettings
from index.arrays import rows_of
from index.errors import UsageError

SETTINGS = KernelSettings(ridge=0.5)
SORTS, SIZES = ("tea", "soap", "rope", "wine"), ("small", "large")


def shop(rows, seed=0) -> tuple[Inputs, np.ndarray]:
    """Items whose sort and size stand in their names; vectors know the sort, and a third has no photograph."""
    random = np.random.default_rng(seed)
    sort, size = random.integers(0, 4, rows), random.integers(0, 2, rows)
    brand = random.integers(0, 9, rows)
    names = [f"brand{b} {SIZES[z]} {SORTS[s]}" for b, z, s in zip(brand, size, sort, strict=True)]
    name = np.eye(4, 6)[sort] + random.normal(0, 0.2, (rows, 6))
    photo = random.normal(size=(rows, 5))
    vectors = {"name": name, "photo": photo}
    unit = {k: (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for k, v in vectors.items()}
    unit["photo"][random.random(rows) < 1 / 3] = 0
    numbers = random.normal(size=(rows, len(NUMBERS))).astype(np.float32)
    texts = [f"{each}\nthe very best {each}" for each in names]
    log_price = 2 + 0.7 * sort + 0.5 * size + 0.3 * numbers[:, 0] + random.normal(0, 0.05, rows)
    return Inputs(unit, numbers, random.integers(0, 3, rows), hash_words(names, texts)), log_price


def slow_kernel(one: Inputs, other: Inputs, trained_on: Inputs, settings, words=None) -> np.ndarray:
    """k(a, b) pair by pair, from the definition."""
    words = words or weigh_words(trained_on.words)
    kinds = {}
    for kind, weighed in words.items():
        rows = [some.words.toarray()[:, weighed.columns] * weighed.weight for some in (one, other)]
        kinds[kind] = [row / np.maximum(np.linalg.norm(row, axis=1, keepdims=True), 1e-12) for row in rows]
    mean, spread = trained_on.numbers.mean(axis=0), trained_on.numbers.std(axis=0)
    reach = np.array([REACH[name] for name in NUMBERS])
    alike = np.zeros((len(one), len(other)))
    for i in range(len(one)):
        for j in range(len(other)):
            said = sum(getattr(settings, kind) * a[i] @ b[j] for kind, (a, b) in kinds.items())
            for name, theirs in other.vectors.items():
                mine = one.vectors[name][i]
                if mine.any() and theirs[j].any():
                    said += settings.vectors / len(other.vectors) * np.exp(SHARPNESS * (mine @ theirs[j] - 1))
            near = [np.clip((some.numbers[at] - mean) / spread, -4, 4) for some, at in ((one, i), (other, j))]
            f = np.exp(-(reach * (near[0] - near[1]) ** 2).sum())
            f *= 1 if one.unit[i] == other.unit[j] else 1 - settings.unit
            alike[i, j] = said * (1 + settings.product * f) + settings.numbers * f
    return alike


def ridge(train, log_price, asked, settings, words=None):
    """The textbook's: level + k (K + ridge)^-1 (y - level)."""
    level = np.median(log_price)
    left = slow_kernel(train, train, train, settings, words) + settings.ridge * np.eye(len(train))
    return level + slow_kernel(asked, train, train, settings, words) @ np.linalg.solve(left, log_price - level)


def learned_words(model, weighing=0) -> dict[str, Words]:
    postings, weight = model._landmarks.postings, model._weighings[weighing].weight
    return {kind: Words(postings.columns[of], weight[of]) for kind, of in postings.kinds.items()}


def test_without_learned_words_it_is_kernel_ridge_regression_pair_by_pair(monkeypatch):
    monkeypatch.setattr("engine.members.kernel.kernel_ridge.relevant_weights", lambda rarity, *_: rarity)
    (train, log_price), (asked, _) = shop(60), shop(20, seed=1)
    predicted = KernelRidge.fit(train, log_price, SETTINGS, seed=0).predict(asked)
    np.testing.assert_allclose(predicted, ridge(train, log_price, asked, SETTINGS), atol=2e-3)


def test_words_that_move_the_price_come_to_weigh_more_than_words_that_do_not():
    train, log_price = shop(300)
    model = KernelRidge.fit(train, log_price, SETTINGS, seed=0)
    before = weigh_words(train.words)["name"]
    gained = learned_words(model)["name"].weight / before.weight  # what the price taught: no answer shows it by itself
    said = hash_words(["tea", "brand1"], ["", ""])
    place = [np.flatnonzero(before.columns == said[row].indices[0])[0] for row in (0, 1)]
    assert gained[place[0]] > 1.3 * gained[place[1]]


def test_with_learned_words_it_is_kernel_ridge_regression_on_those():
    (train, log_price), (asked, _) = shop(60), shop(20, seed=1)
    model = KernelRidge.fit(train, log_price, SETTINGS, seed=0)
    slow = ridge(train, log_price, asked, SETTINGS, learned_words(model))
    np.testing.assert_allclose(model.predict(asked), slow, atol=2e-3)


def test_it_learns_the_law_of_the_shop():
    (train, log_price), (asked, truth) = shop(400), shop(100, seed=1)
    predicted = KernelRidge.fit(train, log_price, SETTINGS, seed=0).predict(asked)
    assert np.abs(predicted - truth).mean() < 0.15 < 0.5 * np.abs(np.median(log_price) - truth).mean()


def test_landmarks_that_are_all_rows_are_no_landmarks_at_all():
    """The subset of regressors with every row for a landmark solves K K a + ridge K a = K y, which is the full fit."""
    (train, log_price), (asked, _) = shop(80), shop(20, seed=1)
    whole = KernelRidge.fit(train, log_price, SETTINGS, seed=0).predict(asked)
    nearly = KernelRidge.fit(train, log_price, replace(SETTINGS, landmarks=79), seed=0).predict(asked)
    assert np.abs(whole - nearly).max() < 0.1
    few = KernelRidge.fit(train, log_price, replace(SETTINGS, landmarks=10), seed=0).predict(asked)
    assert np.abs(whole - few).mean() > np.abs(whole - nearly).mean()


def test_duplicates_among_the_landmarks_break_nothing():
    inputs, log_price = shop(40)
    duplicates = inputs.take(np.tile(np.arange(40), 3))
    model = KernelRidge.fit(duplicates, np.tile(log_price, 3), replace(SETTINGS, landmarks=100), seed=0)
    assert np.abs(model.predict(inputs) - log_price).mean() < 0.3


@pytest.mark.parametrize("landmarks", [1000, 30])
def test_a_model_comes_back_from_the_disk_and_the_same_seed_makes_the_same_bytes(tmp_path, landmarks):
    (train, log_price), (asked, _) = shop(60), shop(20, seed=1)
    settings = replace(SETTINGS, landmarks=landmarks)
    model, again = (KernelRidge.fit(train, log_price, settings, seed=3) for _ in range(2))
    model.save([tmp_path / "one.safetensors"])
    again.save([tmp_path / "two.safetensors"])
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    np.testing.assert_array_equal(KernelRidge.load(tmp_path / "one.safetensors").predict(asked), model.predict(asked))


def test_a_batch_of_many_is_predicted_as_one_by_one(monkeypatch):
    monkeypatch.setattr("engine.members.kernel.kernel_ridge.ROWS_AT_ONCE", 7)
    (train, log_price), (asked, _) = shop(60), shop(20, seed=1)
    model = KernelRidge.fit(train, log_price, SETTINGS, seed=0)
    alone = [model.predict(asked.take(np.array([row])))[0] for row in range(20)]
    np.testing.assert_allclose(model.predict(asked), alone, atol=1e-5)


def test_an_item_that_is_like_nothing_is_worth_the_median_but_for_its_numbers():
    train, log_price = shop(60)
    vectors = {name: np.zeros((1, each.shape[1]), np.float32) for name, each in train.vectors.items()}
    words = csr_matrix((1, train.words.shape[1]), dtype=np.float32)
    far = Inputs(vectors, np.full((1, len(NUMBERS)), 1e6, np.float32), np.array([2]), words)
    predicted = KernelRidge.fit(train, log_price, SETTINGS, seed=0).predict(far)[0]
    assert predicted == pytest.approx(np.median(log_price), abs=0.2)


def test_items_without_words_and_vectors_are_fitted_on_their_numbers():
    train, log_price = shop(60)
    bare = replace(train, vectors={}, words=csr_matrix(train.words.shape, dtype=np.float32))
    predicted = KernelRidge.fit(bare, log_price, SETTINGS, seed=0).predict(bare)
    assert np.corrcoef(predicted, log_price)[0, 1] > 0.5


def test_prices_that_are_all_one_are_predicted_as_that_one():
    train, _ = shop(30)
    predicted = KernelRidge.fit(train, np.full(30, 2.5), SETTINGS, seed=0).predict(shop(5, seed=1)[0])
    np.testing.assert_allclose(predicted, 2.5, atol=1e-6)


def test_every_kind_of_words_is_read():
    train, log_price = shop(60)
    further = hash_words([""] * 60, [""] * 60, [[f"brand={row % 7}"] for row in range(60)])[:, WORD_KINDS["further"]]
    train = replace(train, words=hstack([train.words, further], format="csr"))
    for kind, columns in WORD_KINDS.items():
        deaf = train.words.toarray()
        deaf[:, columns] = 0
        changed = KernelRidge.fit(replace(train, words=csr_matrix(deaf)), log_price, SETTINGS, seed=0).predict(train)
        assert not np.allclose(changed, KernelRidge.fit(train, log_price, SETTINGS, seed=0).predict(train)), kind


def test_a_constant_number_has_no_spread_whatever_its_last_bits():
    inputs, log_price = shop(3000)
    inputs.numbers[:, 6] = np.log(7)  # in float32 the spread of so many is above 1e-6
    assert inputs.numbers.std(axis=0)[6] > 1e-6
    asked = inputs.take(np.arange(20))
    moved = replace(asked, numbers=asked.numbers + np.float32(1e-4) * np.eye(len(NUMBERS), dtype=np.float32)[6])
    kernel = KernelRidge.fit(inputs, log_price, replace(SETTINGS, landmarks=300), seed=0)
    np.testing.assert_allclose(kernel.predict(moved), kernel.predict(asked), atol=1e-3)


FOLDS = 5
OUTS = [(f,) for f in range(FOLDS)] + list(combinations(range(FOLDS), 2))


def in_folds(rows, **more) -> Rows:
    inputs, log_price = shop(rows)
    return Rows(inputs, log_price, (np.arange(rows) % FOLDS).astype(np.int8), **more)


@pytest.mark.parametrize("landmarks", [1000, 40])
@pytest.mark.parametrize("outliers", [0.0, 0.1])
@pytest.mark.parametrize("aged", [False, True])
def test_every_model_predicts_as_a_fit_of_its_own_rows_alone(monkeypatch, landmarks, outliers, aged):
    """Word weights and scales are those of all rows here: with them, leaving out is exact, as the slow fit shows."""
    monkeypatch.setattr("engine.members.kernel.kernel_ridge.relevant_weights", lambda rarity, *_: rarity)
    weight = np.random.default_rng(4).uniform(0.2, 1, 75) if aged else None
    rows = in_folds(75, age_weight=weight, outliers=outliers)
    model, predicted = KernelRidge.cross_fit(rows, OUTS, replace(SETTINGS, landmarks=landmarks), seed=0)
    inputs, y = rows.inputs, rows.log_price
    kernel = slow_kernel(inputs, inputs, inputs, SETTINGS)
    noise = SETTINGS.ridge / (np.ones(75) if weight is None else weight)
    marks = np.arange(75)
    if landmarks < 75:
        marks = np.sort(np.random.default_rng(0).choice(75, landmarks, replace=False))
    asked, _ = shop(10, seed=9)
    near, answers = slow_kernel(asked, inputs, inputs, SETTINGS), []
    for out in OUTS:
        unseen = np.isin(rows.fold, out)
        far = np.abs(y - np.median(y[~unseen]))
        far[unseen] = -1
        dropped = np.argsort(far, kind="stable")[75 - int(outliers * (~unseen).sum()) :]
        learned = np.setdiff1d(np.flatnonzero(~unseen), dropped)
        level = np.median(y[learned]) if weight is None else weighted_quantile(y[learned], weight[learned], 0.5)
        basis = np.intersect1d(marks, learned)
        across = kernel[np.ix_(learned, basis)]
        left = across.T @ (across / noise[learned, None]) + kernel[np.ix_(basis, basis)]
        if len(marks) < 75:
            left += 1e-5 * np.diagonal(left).mean() * np.eye(len(basis))
        coefficients = np.linalg.solve(left, across.T @ ((y[learned] - level) / noise[learned]))
        slow = level + kernel[np.ix_(np.flatnonzero(unseen), basis)] @ coefficients
        np.testing.assert_allclose(predicted[out], slow, atol=5e-3)
        if len(out) == 1:
            answers.append(level + near[:, basis] @ coefficients)
            own = model.predict_unseen(asked, np.full(10, out[0]))
            np.testing.assert_allclose(own, answers[-1], atol=5e-3)
    np.testing.assert_allclose(model.predict(asked), np.mean(answers, axis=0), atol=5e-3)


@pytest.mark.parametrize("landmarks", [1000, 40])
def test_no_price_of_a_fold_reaches_a_model_without_it(landmarks):
    """Words' weights and all: other prices there, and not a bit of its predictions, or of its model, is another."""
    rows, settings = in_folds(75), replace(SETTINGS, landmarks=landmarks)
    model, predicted = KernelRidge.cross_fit(rows, OUTS, settings, seed=0)
    asked, _ = shop(10, seed=9)
    for out in [(0,), (3,), (0, 1), (2, 4), (0, 4)]:
        here = np.isin(rows.fold, out)
        prices = np.where(here, np.random.default_rng(1).normal(9, 3, 75), rows.log_price)
        changed, other = KernelRidge.cross_fit(replace(rows, log_price=prices), OUTS, settings, seed=0)
        np.testing.assert_allclose(other[out], predicted[out], atol=2e-3)
        if len(out) == 1:
            own = np.full(10, out[0])
            np.testing.assert_allclose(changed.predict_unseen(asked, own), model.predict_unseen(asked, own), atol=2e-3)
        apart = [key for key in OUTS if not set(key) & set(out)]  # while those that saw the fold are moved
        assert min(np.abs(other[key] - predicted[key]).max() for key in apart) > 0.05


@pytest.mark.parametrize("folds", [1, 2, 3, 4, 5, 7, 10])
@pytest.mark.parametrize(("blocks", "most"), [(4, 6), (3, 3)])
def test_words_are_weighed_without_the_folds_of_every_model_that_they_serve(folds, blocks, most):
    outs = [(f,) for f in range(folds)] + list(combinations(range(folds), 2))
    if folds < 3:
        outs = [()]
    plan = word_plan(outs, folds, blocks)
    assert sorted(out for _, served in plan for out in served) == sorted(outs)
    for left_out, served in plan:
        assert all(set(out) <= set(left_out) for out in served)
        assert len(left_out) < folds
    assert len(plan) <= most


def test_few_and_many_items_have_the_same_cosines_as_the_definition():
    train, log_price = shop(60)
    model = KernelRidge.fit(train, log_price, SETTINGS, seed=0)
    landmarks, (asked, _) = model._landmarks, shop(40, seed=1)
    many = landmarks.kernels(asked, model._weighings)
    few = np.concatenate(
        [landmarks.kernels(asked.take(np.array([row])), model._weighings) for row in range(40)], axis=1
    )
    np.testing.assert_allclose(few, many, atol=2e-5)
    np.testing.assert_allclose(many[0], slow_kernel(asked, train, train, SETTINGS, learned_words(model)), atol=2e-3)
    np.testing.assert_allclose(landmarks.kernels(asked, model._weighings, 13), many[:, :, :13], atol=2e-5)
    for threads in (2, 3, 50):  # of which some have no item
        np.testing.assert_array_equal(landmarks.kernels(asked, model._weighings, threads=threads), many)


def test_where_no_landmark_is_left_without_some_folds_their_rows_are_worth_the_median_of_the_others():
    rows, settings = in_folds(75), replace(SETTINGS, landmarks=1)
    mark = int(np.random.default_rng(0).choice(75, 1, replace=False)[0])
    model, predicted = KernelRidge.cross_fit(rows, OUTS, settings, seed=0)
    for out, values in predicted.items():
        median = np.median(rows.log_price[~np.isin(rows.fold, out)])
        assert np.isfinite(values).all()
        assert (np.ptp(values) > 0) == (rows.fold[mark] not in out)
        np.testing.assert_allclose(np.median(values), median, atol=1)
    assert np.isfinite(model.predict(shop(10, seed=9)[0])).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_by_fold_are_those_of_all_rows_at_once_and_what_is_taken_away_comes_back(weighted):
    random = np.random.default_rng(0)
    kernel, target = random.normal(size=(30, 6)).astype(np.float32), random.normal(size=30)
    kernel[:6] = kernel[:6] @ kernel[:6].T + 9 * np.eye(6, dtype=np.float32)  # of the landmarks among themselves
    fold, at = np.arange(30) % 3, np.where(np.arange(30) < 6, np.arange(30), -1)
    weight = random.uniform(0.5, 2, 30) if weighted else None
    sums = SumsByFold(6, 3)
    for part in (slice(0, 17), slice(17, 30)):
        for f in range(3):
            here = np.flatnonzero(fold[part] == f) + part.start
            sums.add(f, kernel[here], target[here], rows_of(weight, here), at[here])
    heavy, usable = np.ones(30) if weight is None else weight, np.ones(6, bool)
    gone = np.array([3, 9])  # of the first fold
    for out, left in (((0,), fold != 0), ((1, 2), (fold == 0) & ~np.isin(np.arange(30), gone))):
        sums.take_away(0, kernel[gone], target[gone], rows_of(weight, gone))
        across = kernel[left].astype(float)
        normal = across.T @ (heavy[left, None] * across) + 0.5 * kernel[:6]
        normal += 1e-5 * np.diagonal(normal).mean() * np.eye(6)
        slow = np.linalg.solve(normal, across.T @ (heavy[left] * (target[left] - 0.3)))
        np.testing.assert_allclose(sums.solve(out, 0.3, 0.5, usable), slow, rtol=1e-3, atol=1e-4)
        sums.put_back(0, kernel[gone], target[gone], rows_of(weight, gone))


def test_landmarks_that_are_nearly_the_same_are_solved_with_as_much_jitter_as_they_need(monkeypatch):
    random, usable = np.random.default_rng(0), np.ones(200, bool)
    like = random.normal(size=(400, 3)) * [1, 0.3, 0.1] + [3, 0, 0]
    kernel, target = (like @ like[:200].T).astype(np.float32), like @ [0.5, 1.0, -2.0]  # of rank three
    sums = SumsByFold(200, 1)
    sums.add(0, kernel, target, None, np.where(np.arange(400) < 200, np.arange(400), -1))
    across = kernel.astype(float)
    normal = across.T @ across + 1e-3 * across[:200]
    normal += 1e-4 * np.diagonal(normal).mean() * np.eye(200)
    slow = across @ np.linalg.solve(normal, across.T @ target)
    for jitters in ((1e-4,), (1e-12, 1e-4)):
        monkeypatch.setattr(leave_out, "JITTERS", jitters)
        np.testing.assert_allclose(kernel @ sums.solve((), 0.0, 1e-3, usable), slow, rtol=1e-2, atol=1e-2)
    monkeypatch.setattr(leave_out, "JITTERS", (1e-12,))
    with pytest.raises(np.linalg.LinAlgError):
        sums.solve((), 0.0, 1e-3, usable)


@pytest.mark.parametrize("landmarks", [40, 8192])
def test_a_ridge_too_small_for_items_that_are_nearly_the_same_is_refused_by_name(landmarks, monkeypatch):
    monkeypatch.setattr(leave_out, "JITTERS", (-1.0,))  # as if none served
    rows = in_folds(75).take(np.repeat(np.arange(15), 5))
    with pytest.raises(UsageError, match=r"^\[kernel\] ridge is 1e-06, too small .*\. Give more, such as 0\.1\.$"):
        KernelRidge.cross_fit(rows, OUTS, replace(SETTINGS, ridge=1e-6, landmarks=landmarks), seed=0)


def test_of_a_kernel_the_lower_triangle_alone_is_read():
    rows = np.random.default_rng(0).normal(size=(20, 5))
    kernel, noise = (rows @ rows.T).astype(np.float32), np.ones(20, np.float32)
    half = np.where(np.tri(20, dtype=bool), kernel, np.float32(np.nan))  # memory that nothing was written to
    target, out = rows[:, 0], np.array([2, 5, 11])
    whole = InverseKernel(kernel, noise).predict(target, out)
    np.testing.assert_array_equal(InverseKernel(half, noise).predict(target, out), whole)
