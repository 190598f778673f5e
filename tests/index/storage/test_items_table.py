"""The items table: what is written is what is read, in that order, and what cannot be read is refused."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from index.arrays import unit_rows
from index.embedding.columns import vector_column
from index.errors import IndexUnusable
from index.storage import items_table as store
from index.storage.items_table import ItemStore, write_items

ROOT = Path(__file__).parents[3]


def made_items(count: int) -> pa.Table:
    numbers = range(count)
    return pa.table(
        {
            "item_id": [f"id {number}" for number in numbers],
            "text": [f"Tè n° {number}, 12 oz 'x' OR '1'='1'\n" * (number % 3) for number in numbers],
            "image": [None if number % 3 else f"https://pictures.test/{number}.jpg" for number in numbers],
            "log_price": pa.array([None if number % 7 == 0 else number / 9 for number in numbers], pa.float32()),
            "pack": pa.array([number % 100 for number in numbers], pa.int16()),
            "group": [f"group {number // 2}" for number in numbers],
            "has_image": [number % 3 == 0 for number in numbers],
        }
    )


def made_vectors(count: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    vectors[::5] = 0
    return unit_rows(vectors)


def fingerprints(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("count", [1, 9, 8 * 7, 250])
def test_items_and_vectors_come_back_as_they_went_in(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 8)
    items, words, pixels = made_items(count), made_vectors(count, 6), made_vectors(count, 3, seed=1)
    write_items(tmp_path, items, {"minilm": words, "pixels": pixels})
    opened = ItemStore.open(tmp_path)
    assert opened.rows == count
    assert opened.items().equals(items)
    for name, vectors in (("minilm", words), ("pixels", pixels)):
        read = opened.vectors(name)
        assert read.dtype == np.float32 and read.flags.c_contiguous
        np.testing.assert_array_equal(read, vectors)


def test_items_of_several_chunks_are_written_in_order(tmp_path: Path) -> None:
    parts = [made_items(5), made_items(3), made_items(4)]
    items = pa.concat_tables(parts)
    write_items(tmp_path, items, {"minilm": made_vectors(12, 4)})
    assert ItemStore.open(tmp_path).items().equals(items.combine_chunks())


def test_vectors_that_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).permutation(np.eye(20, 12, dtype=np.float32))
    write_items(tmp_path, made_items(10), {"sliced": wide[::2, ::3], "turned": wide.T[:10]})
    opened = ItemStore.open(tmp_path)
    np.testing.assert_array_equal(opened.vectors("sliced"), wide[::2, ::3])
    np.testing.assert_array_equal(opened.vectors("turned"), wide.T[:10])


def test_row_order_holds_over_many_fragments(tmp_path: Path) -> None:
    items, vectors = made_items(600), made_vectors(600, 4)
    write_items(tmp_path, items[:20], {"minilm": vectors[:20]})
    table = store.connect(tmp_path).open_table("items")
    for start in range(20, 600, 20):
        more = items[start : start + 20].append_column(
            table.schema.field("vector_minilm"),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors[start : start + 20].ravel()), 4),
        )
        table.add(more)
    assert len(list((tmp_path / "items.lance" / "data").iterdir())) == 30
    for _ in range(5):
        opened = ItemStore.open(tmp_path)
        assert opened.items().equals(items)
        np.testing.assert_array_equal(opened.vectors("minilm"), vectors)


def test_only_the_columns_asked_for_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    items = made_items(9)
    write_items(tmp_path, items, {"minilm": made_vectors(9, 4)})
    opened = ItemStore.open(tmp_path)
    assert opened.items(["pack", "item_id"]).equals(items.select(["pack", "item_id"]))
    assert opened.items().column_names == items.column_names


def test_a_table_may_hold_no_vectors_at_all(tmp_path: Path) -> None:
    write_items(tmp_path, made_items(3), {})
    assert ItemStore.open(tmp_path).items().equals(made_items(3))


def test_every_encoders_name_makes_a_column_that_lance_allows(tmp_path: Path) -> None:
    names = ["minilm", "qwen3-0.6b", "clip-vit-b-32", "mobilenet-v2"]
    assert [vector_column(name) for name in names[:2]] == ["vector_minilm", "vector_qwen3_0_6b"]
    vectors = {name: made_vectors(4, 3, seed) for seed, name in enumerate(names)}
    write_items(tmp_path, made_items(4), vectors)
    opened = ItemStore.open(tmp_path)
    for name in names:
        np.testing.assert_array_equal(opened.vectors(name), vectors[name])


def test_vectors_that_do_not_fit_the_items_are_our_mistake(tmp_path: Path) -> None:
    good = made_vectors(4, 3)
    for vectors, message in (
        ({"a": good.astype(np.float64)}, "float64"),
        ({"a": good[:3]}, r"\(3, 3\) for 4 items"),
        ({"a": good.ravel()}, r"\(12,\) for 4 items"),
        ({"a-b": good, "a.b": good}, "share a column"),
    ):
        with pytest.raises(AssertionError, match=message):
            write_items(tmp_path, made_items(4), vectors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with space", "p%20c", "ha#sh", "qu?est", "ünï", "a:b", "s3:x", "[b]"])
def test_a_table_is_found_whatever_its_folder_is_called_and_wherever_it_is_moved(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    write_items(tmp_path / name, made_items(4), {"minilm": made_vectors(4, 3)})
    (tmp_path / name).rename(tmp_path / (name + ".moved"))
    assert ItemStore.open(tmp_path / (name + ".moved")).items().equals(made_items(4))


def test_reading_changes_no_file(tmp_path: Path) -> None:
    write_items(tmp_path, made_items(50), {"minilm": made_vectors(50, 3)})
    before = fingerprints(tmp_path)
    opened = ItemStore.open(tmp_path)
    opened.items()
    opened.vectors("minilm")
    assert fingerprints(tmp_path) == before


def test_writing_says_nothing_on_the_terminal(tmp_path: Path) -> None:
    script = (
        "import sys, pyarrow, numpy\nfrom pathlib import Path\n"
        "from index.storage.items_table import ItemStore, write_items\n"
        "folder = Path(sys.argv[1])\n"
        "write_items(folder, pyarrow.table({'item_id': ['a']}), {'x': numpy.ones((1, 2), numpy.float32)})\n"
        "assert ItemStore.open(folder).rows == 1\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# --- what is refused


def test_a_missing_table_is_refused_and_no_folder_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(IndexUnusable, match=r"items\.lance is missing.*price build-index"):
            ItemStore.open(folder)
    assert list(tmp_path.iterdir()) == []


def test_vectors_of_an_encoder_that_the_index_does_not_have_are_refused_by_name(tmp_path: Path) -> None:
    write_items(tmp_path, made_items(3), {"minilm": made_vectors(3, 2)})
    with pytest.raises(IndexUnusable, match=r"has no vectors of 'pixels': build the index again"):
        ItemStore.open(tmp_path).vectors("pixels")


def test_a_column_that_the_table_does_not_have_is_our_mistake(tmp_path: Path) -> None:
    write_items(tmp_path, made_items(3), {})
    with pytest.raises(KeyError, match="colour"):
        ItemStore.open(tmp_path).items(["colour"])


def empty_everything(folder: Path) -> None:
    shutil.rmtree(folder / "items.lance")
    (folder / "items.lance").mkdir()


def cut(part: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in (folder / "items.lance" / part).iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def remove(part: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / "items.lance" / part)


@pytest.mark.parametrize(
    "damage", [empty_everything, cut("_versions"), cut("data"), remove("_versions"), remove("data")]
)
def test_a_damaged_table_is_refused_in_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_items(tmp_path, made_items(300), {"minilm": made_vectors(300, 8)})
    damage(tmp_path)
    with pytest.raises(
        IndexUnusable, match=r"items\.lance is damaged \(it cannot be read\): build the index again"
    ) as caught:
        ItemStore.open(tmp_path).vectors("minilm")
    assert "\n" not in str(caught.value)


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    names = ["category:Dim. (cm)", "category:a`b", "category:50%", "category:%2E", "category:x:y, z", 'category:Grö"ße']
    items = made_items(3)
    for number, name in enumerate(names):
        items = items.append_column(name, pa.array([f"{number}", None, name]))
    write_items(tmp_path, items, {"enc": made_vectors(3, 4)})
    opened = ItemStore.open(tmp_path)
    assert opened.items() == items
    assert opened.items(names[::-1]) == items.select(names[::-1])
