"""Claims about the group and the fold of a row that comes after the build."""

import numpy as np
import pyarrow as pa
import pytest

from engine.lifecycle.assign_added import assign_group_and_fold, read_removed, write_removed
from engine.lifecycle.drift import Drift
from index.catalogue.fields import name_key
from index.errors import IndexUnusable


def rows(*each: tuple[str, str, str | None, str | None], group: list[int] | None = None) -> pa.Table:
    """(id, name, photograph, fingerprint)"""
    keyed = [(item_id, name_key(name), *photograph) for item_id, name, *photograph in each]
    columns = [pa.array(list(column), pa.string()) for column in zip(*keyed, strict=True)]
    columns.append(pa.nulls(len(each), pa.string()))
    groups = pa.array(group or [0] * len(each), pa.int64())
    return pa.table([*columns, groups], names=["item_id", "name_key", "image", "fingerprint", "parent", "group"])


KNOWN = rows(
    ("a", "Green tea, 20 bags", "a.jpg", "f1"),
    ("b", "Black coffee", None, None),
    ("c", "Olive oil", "c.jpg", None),
    ("d", "Rope", None, None),
    group=[0, 1, 2, 3],
)
FOLD = np.array([2, 1, 0, 1], np.int8)


def assigned(*new: tuple[str, str, str | None, str | None]) -> tuple[list[int], list[int]]:
    group, fold = assign_group_and_fold(KNOWN, FOLD, rows(*new), 3)
    return group.tolist(), fold.tolist()


@pytest.mark.parametrize(
    "near_duplicate",
    [
        ("x", "Green tea, 40 bags", None, None),  # the same name but for numbers
        ("x", "Something else", "a.jpg?w=300", None),
        ("x", "Something else", "other.jpg", "f1"),
        ("a", "Something else", None, None),  # under the same id: the row itself, described anew
    ],
)
def test_a_near_duplicate_of_a_known_row_takes_its_group_and_fold(
    near_duplicate: tuple[str, str, str | None, str | None],
) -> None:
    assert assigned(near_duplicate) == ([0], [2])


def test_near_duplicates_of_near_duplicates_follow_them() -> None:
    assert assigned(("x", "Tea", "new.jpg", "f1"), ("y", "Tee", "new.jpg", None)) == ([0, 0], [2, 2])


def test_new_groups_stay_whole_and_go_to_the_fold_that_holds_least() -> None:
    new = [(f"r{i}", f"Rug size {i}", None, None) for i in range(4)] + [("k", "Kettle", None, None)]
    group, fold = assigned(*new)
    assert sorted(group) == sorted([group[0]] * 4 + [9 - group[0]])  # groups 4 and 5, in either order
    assert fold == [0, 0, 0, 0, 2]  # folds hold 1, 2, 1; then 5, 2, 1


def test_the_same_rows_are_assigned_the_same_way() -> None:
    new = [(f"r{i}", f"Rug {chr(97 + i)}", None, None) for i in range(9)]
    assert assigned(*new) == assigned(*new)


def test_a_row_between_two_groups_joins_the_first_of_them() -> None:
    assert assigned(("x", "Green tea", "c.jpg", None)) == ([0], [2])


def test_a_row_described_anew_goes_where_its_new_near_duplicate_is() -> None:
    """The models of its old fold know the near-duplicate's price, those of its fold an old price of something else."""
    assert assigned(("a", "Black coffee", None, None)) == ([1], [1])
    assert assigned(("b", "Green tea, 10 bags", None, None)) == ([0], [2])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_near_duplicates_that_come_together_stay_together_where_one_of_their_ids_was(place: int) -> None:
    new = [(f"n{i}", f"Zebra spade, {i} ct", None, None) for i in (2, 3)]
    new.insert(place, ("b", "Zebra spade, 9 ct", None, None))
    assert assigned(*new) == ([1] * 3, [1] * 3)


def test_of_several_known_ids_under_one_new_name_the_first_one_says_where() -> None:
    new = [("x", "Spade", None, None), ("c", "Spade", None, None), ("d", "Spade", None, None), ("y", "Rug", None, None)]
    assert assigned(*new) == ([2, 2, 2, 4], [0, 0, 0, 2])


def test_a_row_without_name_or_photograph_stays_where_it_was_and_brings_what_is_like_it() -> None:
    known = rows(("a", "Tea", None, None), ("b", "", None, None), group=[0, 1])
    new = rows(("n", "", "n.jpg", "f"), ("b", "", None, "f"))
    group, fold = assign_group_and_fold(known, np.array([2, 1], np.int8), new, 3)
    assert (group.tolist(), fold.tolist()) == ([1, 1], [1, 1])


def test_a_corrected_price_moves_no_row() -> None:
    """Nor does it where a later row has made one family of two groups."""
    bridged = rows(
        ("a", "Green tea, 20 bags", "a.jpg", "f1"),
        ("b", "Black coffee", None, None),
        ("c", "Olive oil", "c.jpg", None),
        ("x", "Olive oil", "a.jpg", None),  # joined a, and links it with c
        group=[0, 1, 2, 0],
    )
    for known, fold in ((KNOWN, FOLD), (bridged, np.array([2, 1, 0, 2], np.int8))):
        group, place = assign_group_and_fold(
            known,
            fold,
            rows(
                ("a", "Green tea, 20 bags", "a.jpg", None),  # its photograph is not at hand this time
                ("b", "Black coffee", None, None),
                ("c", "Olive oil", "c.jpg", None),
            ),
            3,
        )
        assert (group.tolist(), place.tolist()) == ([0, 1, 2], [2, 1, 0])


def test_removed_rows_are_kept_from_one_time_to_the_next(tmp_path) -> None:
    known = KNOWN.append_column("fold", [FOLD])
    write_removed(tmp_path, None, known.slice(0, 0))
    assert read_removed(tmp_path) is None
    write_removed(tmp_path, None, known.slice(0, 1))
    (tmp_path / "next").mkdir()
    write_removed(tmp_path / "next", read_removed(tmp_path), known.slice(2, 1))
    removed = read_removed(tmp_path / "next")
    assert removed is not None and removed["item_id"].to_pylist() == ["a", "c"]
    assert removed["fold"].to_pylist() == [2, 0]


def test_removed_rows_that_no_update_writes_are_refused(tmp_path) -> None:
    known = KNOWN.append_column("fold", [FOLD])
    for wrong in (known.select(["item_id", "fold"]), KNOWN.append_column("fold", [np.full(len(FOLD), -1, np.int8)])):
        write_removed(tmp_path, None, wrong)
        with pytest.raises(IndexUnusable, match=r"removed_rows\.parquet is damaged \(.+\): build the index again"):
            read_removed(tmp_path)


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        (Drift(100, 50, 0.2, 0.2), ""),
        (Drift(100, 51, 0.2, 0.2), "51 rows came to the 100 that the models know"),
        (Drift(100, 20, 0.2, 0.31), "half of the 20 added rows by more than 36%, of those that they know by 22%"),
        (Drift(100, 20, 0.2, 0.29), ""),
        (Drift(100, 19, 0.2, 0.9), ""),  # too few to judge
    ],
)
def test_a_new_build_is_advised_when_the_index_has_outgrown_its_models(drift: Drift, said: str) -> None:
    assert said in drift.advice and bool(drift.advice) == bool(said)
    assert not said or "price build-index" in drift.advice
