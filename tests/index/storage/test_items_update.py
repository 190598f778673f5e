"""Claims about the items table from one generation to the next: what it holds, what it shares, what it wastes."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from index.arrays import unit_rows
from index.catalogue.item_table import make_items
from index.storage import items_update as table_growth
from index.storage.items_table import ItemStore, write_items
from index.storage.items_update import compact_table, grow_table, is_wasteful


def made(rows: int, first: int = 0) -> tuple[pa.Table, dict[str, np.ndarray]]:
    numbers = range(first, first + rows)
    items = make_items(
        [str(i) for i in numbers], [f"Tea {i}" for i in numbers], [None] * rows, [1.0 + i for i in numbers]
    )
    return items, {"minilm": unit_rows(np.random.default_rng(first).normal(size=(rows, 8)).astype(np.float32))}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Generations, each a new folder."""

    def each() -> Iterator[Path]:
        for number in range(1000):
            (tmp_path / str(number)).mkdir()
            yield tmp_path / str(number)

    return each()


def numbers(*rows: int) -> np.ndarray:
    return np.array(rows, np.int64)


def content(folder: Path) -> tuple[list[str], np.ndarray]:
    store = ItemStore.open(folder)
    return store.items(["item_id"])["item_id"].to_pylist(), store.vectors("minilm")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_come_behind_and_go_from_anywhere_and_the_old_table_stays_as_it_was(folders: Iterator[Path]) -> None:
    old, new = next(folders), next(folders)
    items, vectors = made(20)
    write_items(old, items, vectors)
    before = files(old)
    more, of_more = made(3, first=100)
    grow_table(old, new, numbers(0, 7, 19), more, of_more)
    left = np.delete(np.arange(20), [0, 7, 19])
    ids, found = content(new)
    assert ids == [*map(str, left), "100", "101", "102"]
    np.testing.assert_array_equal(found, np.concatenate([vectors["minilm"][left], of_more["minilm"]]))
    assert files(old) == before


@pytest.mark.parametrize("seed", [0, 1])
def test_any_sequence_of_growth_holds_what_a_list_would(folders: Iterator[Path], seed: int) -> None:
    random, folder = np.random.default_rng(seed), next(folders)
    items, vectors = made(30)
    write_items(folder, items, vectors)
    ids, rows = items["item_id"].to_pylist(), vectors["minilm"]
    for turn in range(8):
        gone = np.sort(random.choice(len(ids), int(random.integers(0, len(ids) // 2)), replace=False))
        items, vectors = made(int(random.integers(0, 9)), first=1000 * (turn + 1))
        old, folder = folder, next(folders)
        grow_table(old, folder, gone, items, vectors)
        if is_wasteful(folder):
            compact_table(folder)
        ids = np.delete(ids, gone).tolist() + items["item_id"].to_pylist()
        rows = np.concatenate([np.delete(rows, gone, axis=0), vectors["minilm"]])
        assert content(folder)[0] == ids
        np.testing.assert_array_equal(content(folder)[1], rows)


def test_vectors_that_stay_are_not_written_again(folders: Iterator[Path]) -> None:
    old, new = next(folders), next(folders)
    write_items(old, *made(20))
    grow_table(old, new, numbers(3), *made(3, first=100))
    (data,) = (old / "items.lance" / "data").iterdir()
    assert (new / "items.lance" / "data" / data.name).samefile(data)
    others = [path for path in new.rglob("*") if path.is_file() and path.name != data.name]
    assert {path.stat().st_nlink for path in others} == {1}


def test_a_disk_without_links_gets_copies(folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    old, new = next(folders), next(folders)
    write_items(old, *made(20))
    grow_table(old, new, numbers(3), *made(1, first=100))
    assert content(new)[0] == [*(str(i) for i in range(20) if i != 3), "100"]
    assert all(path.stat().st_nlink == 1 for path in new.rglob("*") if path.is_file())


def test_nothing_is_left_of_versions_and_pieces_that_no_row_lives_in(folders: Iterator[Path]) -> None:
    folder = next(folders)
    write_items(folder, *made(20))
    for turn in range(5):
        old, folder = folder, next(folders)
        grow_table(old, folder, numbers(*range(20, ItemStore.open(old).rows)), *made(4, first=100 * (turn + 1)))
        assert len(list((folder / "items.lance" / "_versions").glob("*.manifest"))) == 1
        assert len(list((folder / "items.lance" / "data").iterdir())) == 2  # the first, and the last that came
        assert content(folder)[0][20:] == [str(100 * (turn + 1) + i) for i in range(4)]
    old, folder = folder, next(folders)
    grow_table(old, folder, numbers(1), None, {})
    grow_table(folder, last := next(folders), numbers(1), None, {})
    assert len(list((last / "items.lance" / "_deletions").iterdir())) == 1
    assert content(last)[0][:3] == ["0", "3", "4"]


def test_a_table_is_wasteful_when_half_as_many_rows_are_dead_as_alive(folders: Iterator[Path]) -> None:
    old = next(folders)
    write_items(old, *made(30))
    for gone, wasteful in ((10, False), (11, True)):
        grow_table(old, folder := next(folders), np.arange(gone), None, {})
        assert is_wasteful(folder) == wasteful


def test_a_table_in_many_pieces_is_wasteful(folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_growth, "MOST_DATA_FILES", 3)
    folder = next(folders)
    write_items(folder, *made(20))
    for turn, wasteful in enumerate([False, False, True]):
        old, folder = folder, next(folders)
        grow_table(old, folder, numbers(), *made(1, first=100 + turn))
        assert is_wasteful(folder) == wasteful


def test_a_compacted_table_holds_the_same_rows_in_the_bytes_of_a_fresh_one(folders: Iterator[Path]) -> None:
    old, grown, fresh = next(folders), next(folders), next(folders)
    write_items(old, *made(5000))
    grow_table(old, grown, np.arange(0, 5000, 2), *made(10, first=9000))
    want = content(grown)
    compact_table(grown)
    assert content(grown)[0] == want[0]
    np.testing.assert_array_equal(content(grown)[1], want[1])
    assert not is_wasteful(grown) and sorted(path.name for path in grown.iterdir()) == ["items.lance"]
    items = ItemStore.open(grown).items()
    write_items(fresh, items, {"minilm": want[1]})
    size = [sum(map(len, files(folder / "items.lance").values())) for folder in (grown, fresh)]
    assert size[0] <= 1.05 * size[1]
    assert ItemStore.open(grown)._schema == ItemStore.open(old)._schema


def test_many_rows_are_struck_out_in_parts(folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_growth, "DELETED_AT_ONCE", 7)
    old, new = next(folders), next(folders)
    write_items(old, *made(60))
    grow_table(old, new, np.arange(5, 45), None, {})
    assert content(new)[0] == [str(i) for i in [*range(5), *range(45, 60)]]
