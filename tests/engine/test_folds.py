"""Claims about folds: how many, of even size, and never a group in two of them."""

import numpy as np
import pytest

from engine.folds import assign_folds, folds_for
from index.errors import DataRefused, UsageError


@pytest.mark.parametrize(
    ("rows", "groups", "folds"),
    [(30, 30, 5), (199, 199, 5), (900, 199, 5), (200, 200, 10), (8000, 200, 10), (8001, 8001, 5)],
)
def test_ten_folds_are_for_catalogues_of_some_hundred_to_some_thousand_rows(rows, groups, folds):
    assert folds_for(np.arange(rows) % groups) == folds


def test_no_fold_splits_a_group_and_none_is_empty():
    random = np.random.default_rng(0)
    for folds in (2, 5, 17):
        groups = random.choice(1000, 400) * 3
        fold = assign_folds(groups, folds, seed=1)
        assert fold.dtype == np.int8
        assert sorted(set(fold.tolist())) == list(range(folds))
        assert all(len(set(fold[groups == group])) == 1 for group in set(groups.tolist()))


def test_sizes_are_even_to_a_row_when_single_rows_can_fill_up():
    groups = np.concatenate([np.repeat([0, 1, 2], [40, 25, 7]), np.arange(3, 140)])
    sizes = np.bincount(assign_folds(groups, 5, seed=0))
    assert sizes.max() - sizes.min() <= 1


def test_a_giant_group_has_a_fold_to_itself():
    groups = np.concatenate([np.zeros(500, int), np.arange(1, 101)])
    sizes = sorted(np.bincount(assign_folds(groups, 3, seed=0)).tolist())
    assert sizes == [50, 50, 500]


def test_the_seed_decides_and_the_same_seed_repeats():
    groups = np.arange(200)
    one, again, other = (assign_folds(groups, 5, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).mean() > 0.5


def test_with_prices_every_fold_has_its_share_of_each_price_level():
    random = np.random.default_rng(0)
    log_price = random.normal(2.7, 1, 1000)
    fold = assign_folds(np.arange(1000), 5, seed=0, log_price=log_price)
    decile = np.argsort(np.argsort(log_price)) // 100
    assert all((np.bincount(fold[decile == level], minlength=5) == 20).all() for level in range(10))


def test_too_few_groups_are_refused_with_the_counts_and_the_way_out():
    with pytest.raises(DataRefused, match=r"6 usable rows in 3 groups .* too few for 5 folds: add rows, or .* fewer"):
        assign_folds(np.array([0, 0, 0, 1, 1, 2]), 5, seed=0)
    assert len(set(assign_folds(np.array([0, 0, 0, 1, 1, 2]), 3, seed=0).tolist())) == 3
    with pytest.raises(DataRefused, match="0 usable rows"):
        assign_folds(np.array([], np.int64), 2, seed=0)


@pytest.mark.parametrize("folds", [-1, 0, 1, 128])
def test_a_number_of_folds_that_cannot_be_is_refused_with_the_value(folds):
    with pytest.raises(UsageError, match=f"folds is {folds}"):
        assign_folds(np.arange(500), folds, seed=0)
