"""Claims about the group and the fold of a row that comes after the build."""

import numpy as np
import pyarrow as pa
import pytest

from engine.lifecycle.assign_added import read_departed, settle, write_departed
from engine.lifecycle.drift import Drift
from index.catalogue.fields import name_key


def rows(*each: tuple[str, str, str | None, str | None], group: list[int] | None = None) -> pa.Table:
    """(id, name, photograph, fingerprint)"""
    keyed = [(item_id, name_key(name), *photograph) for item_id, name, *photograph in each]
    columns = [pa.array(list(column), pa.string()) for column in zip(*keyed, strict=True)]
    groups = pa.array(group or [0] * len(each), pa.int64())
    return pa.table([*columns, groups], names=["item_id", "name_key", "image", "fingerprint", "group"])


KNOWN = rows(
    ("a", "Green tea, 20 bags", "a.jpg", "f1"),
    ("b", "Black coffee", None, None),
    ("c", "Olive oil", "c.jpg", None),
    ("d", "Rope", None, None),
    group=[0, 1, 2, 3],
)
FOLD = np.array([2, 1, 0, 1], np.int8)


def settled(*new: tuple[str, str, str | None, str | None]) -> tuple[list[int], list[int]]:
    group, fold = settle(KNOWN, FOLD, rows(*new), 3)
    return group.tolist(), fold.tolist()


@pytest.mark.parametrize(
    "twin",
    [
        ("x", "Green tea, 40 bags", None, None),  # the same name but for numbers
        ("x", "Something else", "https://shop/a.jpg", None),
        ("x", "Something else", "other.jpg", "f1"),
        ("a", "Something else", None, None),  # under the same id: the row itself, described anew
    ],
)
def test_a_twin_of_a_known_row_takes_its_group_and_fold(twin: tuple[str, str, str | None, str | None]) -> None:
    assert settled(twin) == ([0], [2])


def test_twins_of_twins_follow_them() -> None:
    assert settled(("x", "Tea", "new.jpg", "f1"), ("y", "Tee", "new.jpg", None)) == ([0, 0], [2, 2])


def test_new_groups_stay_whole_and_go_to_the_fold_that_holds_least() -> None:
    new = [(f"r{i}", f"Rug size {i}", None, None) for i in range(4)] + [("k", "Kettle", None, None)]
    group, fold = settled(*new)
    assert sorted(group) == sorted([group[0]] * 4 + [9 - group[0]])  # groups 4 and 5, in either order
    assert fold == [0, 0, 0, 0, 2]  # folds hold 1, 2, 1; then 5, 2, 1


def test_the_same_rows_are_settled_the_same_way() -> None:
    new = [(f"r{i}", f"Rug {chr(97 + i)}", None, None) for i in range(9)]
    assert settled(*new) == settled(*new)


def test_a_row_between_two_groups_joins_the_first_of_them() -> None:
    assert settled(("x", "Green tea", "c.jpg", None)) == ([0], [2])


def test_a_row_described_anew_goes_where_its_new_twin_is() -> None:
    """The models of its old fold know the twin's price, those of the twin's fold an old price of something else."""
    assert settled(("a", "Black coffee", None, None)) == ([1], [1])
    assert settled(("b", "Green tea, 10 bags", None, None)) == ([0], [2])


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
        group, place = settle(
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


def test_those_that_left_are_kept_from_one_time_to_the_next(tmp_path) -> None:
    known = KNOWN.append_column("fold", [FOLD])
    write_departed(tmp_path, None, known.slice(0, 0))
    assert read_departed(tmp_path) is None
    write_departed(tmp_path, None, known.slice(0, 1))
    (tmp_path / "next").mkdir()
    write_departed(tmp_path / "next", read_departed(tmp_path), known.slice(2, 1))
    departed = read_departed(tmp_path / "next")
    assert departed is not None and departed["item_id"].to_pylist() == ["a", "c"]
    assert departed["fold"].to_pylist() == [2, 0]


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
