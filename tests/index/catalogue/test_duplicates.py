"""Claims about groups of near-duplicates; the slow obvious grouping is `spread`."""

import itertools

import numpy as np
import pytest

from index.catalogue.duplicates import duplicate_groups, photograph_address, placeholder_limit, with_duplicate_keys
from index.catalogue.item_table import make_items


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
    assert partition(duplicate_groups(names, images, fingerprints)) == partition(spread(names, images, fingerprints))


def test_groups_are_numbered_from_zero_without_a_gap():
    groups = duplicate_groups(["a", "b", "a", "", "b", "c"], [None] * 6)
    assert groups.dtype == np.int64
    assert sorted(set(groups.tolist())) == [0, 1, 2, 3]


def test_a_name_links_to_a_photograph_links_to_a_fingerprint():
    groups = duplicate_groups(
        ["a", "a", "b", "c", "d"], ["1.jpg", "2.jpg", "2.jpg", "3.jpg", None], [None, "x", "y", "y", "z"]
    )
    assert partition(groups) == {frozenset({0, 1, 2, 3}), frozenset({4})}


def test_absent_and_empty_keys_link_nobody():
    assert partition(duplicate_groups(["", "", "", ""], [None, None, "", ""], [None, None, "", ""])) == {
        frozenset({row}) for row in range(4)
    }


def test_a_photograph_in_two_sizes_makes_near_duplicates():
    links = ["https://one.example/I/x+y.jpg", "http://ONE.example/I/x+y.jpg?w=9", "https://two.example/I/x+y.jpg"]
    assert partition(duplicate_groups(["a", "b", "c"], links)) == {frozenset({0, 1}), frozenset({2})}


def test_the_same_photograph_at_two_addresses_makes_near_duplicates_by_its_content():
    links = ["https://one.example/I/x+y.jpg", "https://two.example/x+y.jpg", "x+y.jpg"]
    assert partition(duplicate_groups(["a", "b", "c"], links)) == {frozenset({0}), frozenset({1}), frozenset({2})}
    assert partition(duplicate_groups(["a", "b", "c"], links, ["h"] * 3)) == {frozenset({0, 1, 2})}


def test_photographs_that_are_numbered_anew_in_each_folder_make_no_near_duplicates():
    links = [f"https://shop.invalid/media/{folder:03}/{number}.jpg" for folder in range(20) for number in range(12)]
    names = [f"thing of kind {row}" for row in range(240)]
    assert len(set(duplicate_groups(names, links).tolist())) == 240
    assert len(set(duplicate_groups(names, [link.removeprefix("https://shop.invalid") for link in links]))) == 240


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("https://m.example/images/I/51mo8htwTHL.jpg", "m.example/images/I/51mo8htwTHL.jpg"),
        ("https://M.example/a.JPG?width=300#top", "m.example/a.JPG"),
        ("https://m.example/photo?id=7", "m.example/photo?id=7"),
        ("https://m.example/folder/", ""),
        ("http://[/a.jpg", "http://[/a.jpg"),
        ("photographs/a.jpg", "photographs/a.jpg"),
        ("./photographs\\a.jpg", "photographs/a.jpg"),
        ("/p/a.jpg?v=17", "p/a.jpg"),
        ("a?b.jpg", "a?b.jpg"),
        ("a.jpg", "a.jpg"),
    ],
)
def test_a_photograph_is_known_by_the_whole_of_its_reference(reference, address):
    assert photograph_address(reference) == address


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
        return duplicate_groups(names, keys) if shared_by == "image" else duplicate_groups(names, own, keys)

    limit = placeholder_limit(rows)
    assert len(set(groups(limit).tolist())) == rows - limit + 1
    assert len(set(groups(limit + 1).tolist())) == rows


def test_many_sizes_of_one_item_may_share_a_photograph():
    groups = duplicate_groups(["tee"] * 90 + ["mug"] * 10, ["tee.jpg"] * 95 + [None] * 5)
    assert partition(groups) == {frozenset(range(100))}


def test_unnamed_rows_under_one_photograph_count_as_different_names():
    groups = duplicate_groups([""] * 90, ["none.jpg"] * 90)
    assert len(set(groups.tolist())) == 90


def test_the_keys_of_near_duplicates_stand_beside_the_items_and_change_nothing_else():
    items = make_items(["1", "2"], ["Item Name: Tea 12 oz\n", "Item Name: tea, 20oz\n"], ["a.jpg", None])
    keyed = with_duplicate_keys(items, ["abc", None])
    assert keyed.select(items.column_names).equals(items)
    assert keyed["name_key"].to_pylist() == ["tea", "tea"]
    assert keyed["fingerprint"].to_pylist() == ["abc", None]
