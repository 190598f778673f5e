"""Claims about groups of twins and the folds that keep them whole; the slow obvious grouping is `spread`."""

import itertools

import numpy as np
import pytest

from engine.folds import assign_folds, folds_for, photograph_name, placeholder_limit, twin_groups
from index.errors import DataRefused, UsageError


def spread(names, images, fingerprints) -> list[int]:
    """Every row takes the lowest label among those it is linked to, until nothing changes."""
    label = list(range(len(names)))
    changed = True
    while changed:
        changed = False
        for a, b in itertools.combinations(range(len(names)), 2):
            linked = any(keys[a] and keys[a] == keys[b] for keys in (names, images, fingerprints))
            if linked and label[a] != label[b]:
                label[a] = label[b] = min(label[a], label[b])
                changed = True
    return label


def partition(groups) -> set[frozenset[int]]:
    return {
        frozenset(np.flatnonzero(np.asarray(groups) == group).tolist()) for group in set(np.asarray(groups).tolist())
    }


@pytest.mark.parametrize("seed", range(20))
def test_groups_agree_with_spreading_labels_pair_by_pair(seed):
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, 40))
    names = [str(random.choice(["", *"abcdefghijkl"])) for _ in range(rows)]
    images = [random.choice([None, "", *(f"p{i}.jpg" for i in range(40))]) for _ in range(rows)]
    fingerprints = [random.choice([None, *(f"h{i}" for i in range(40))]) for _ in range(rows)]
    assert partition(twin_groups(names, images, fingerprints)) == partition(spread(names, images, fingerprints))


def test_groups_are_numbered_from_zero_without_a_gap():
    groups = twin_groups(["a", "b", "a", "", "b", "c"], [None] * 6)
    assert groups.dtype == np.int64
    assert sorted(set(groups.tolist())) == [0, 1, 2, 3]


def test_a_name_links_to_a_photograph_links_to_a_fingerprint():
    groups = twin_groups(
        ["a", "a", "b", "c", "d"], ["1.jpg", "2.jpg", "2.jpg", "3.jpg", None], [None, "x", "y", "y", "z"]
    )
    assert partition(groups) == {frozenset({0, 1, 2, 3}), frozenset({4})}


def test_absent_and_empty_keys_link_nobody():
    assert partition(twin_groups(["", "", "", ""], [None, None, "", ""], [None, None, "", ""])) == {
        frozenset({row}) for row in range(4)
    }


def test_the_same_photograph_at_two_addresses_makes_twins():
    groups = twin_groups(
        ["a", "b", "c"], ["https://one.example/I/x+y.jpg", "https://two.example/x+y.jpg?w=9", "x+y.png"]
    )
    assert partition(groups) == {frozenset({0, 1}), frozenset({2})}


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("https://m.example/images/I/51mo8htwTHL.jpg", "51mo8htwTHL.jpg"),
        ("https://m.example/a.JPG?width=300#top", "a.JPG"),
        ("https://m.example/photo?id=7", "photo?id=7"),
        ("https://m.example/folder/", ""),
        ("http://[/a.jpg", "a.jpg"),
        ("photographs/a.jpg", "a.jpg"),
        ("photographs\\a.jpg", "a.jpg"),
        ("a?b.jpg", "a?b.jpg"),
        ("a.jpg", "a.jpg"),
    ],
)
def test_a_photograph_is_known_by_the_last_part_of_its_reference(reference, name):
    assert photograph_name(reference) == name


@pytest.mark.parametrize(("rows", "limit"), [(5, 10), (100, 10), (300, 30), (500, 50), (5000, 50), (75_000, 750)])
def test_the_placeholder_limit_follows_the_size_of_the_catalogue(rows, limit):
    assert placeholder_limit(rows) == limit


@pytest.mark.parametrize("shared_by", ["image", "fingerprint"])
def test_a_placeholder_photograph_does_not_glue_the_catalogue_together(shared_by):
    rows = 600
    names = [f"name {row}" for row in range(rows)]

    def groups(sharing: int):
        own, shared = [f"{row}.jpg" for row in range(rows)], ["none.jpg"] * sharing
        keys = shared + own[sharing:]
        return twin_groups(names, keys) if shared_by == "image" else twin_groups(names, own, keys)

    limit = placeholder_limit(rows)
    assert len(set(groups(limit).tolist())) == rows - limit + 1
    assert len(set(groups(limit + 1).tolist())) == rows


def test_many_sizes_of_one_item_may_share_a_photograph():
    groups = twin_groups(["tee"] * 90 + ["mug"] * 10, ["tee.jpg"] * 95 + [None] * 5)
    assert partition(groups) == {frozenset(range(100))}


def test_unnamed_rows_under_one_photograph_count_as_different_names():
    groups = twin_groups([""] * 90, ["none.jpg"] * 90)
    assert len(set(groups.tolist())) == 90


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
