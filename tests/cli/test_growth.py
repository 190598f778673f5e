"""`price add`, `price remove` and `price compact`: one line or one object, and the exit codes of the contract."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index.storage.generations import current_generation, writing
from index.storage.items_table import ItemStore
from index.storage.layout import REFERENCE

Price = Callable[..., Any]
KEYS = ["rows", "added", "replaced", "removed", "rejected", "generation", "seconds"]


def ids_of(index: Path) -> list[str]:
    ids: list[str] = ItemStore.open(current_generation(index)).items(["item_id"])["item_id"].to_pylist()
    return ids


def test_an_index_grows_and_shrinks_and_says_so(shop: Any, own_index: Path, price: Price) -> None:
    rows, held = shop.build.json["rows"], len(shop.holdout.read_text().split("Item Name: ")) - 1
    added = price("add", shop.holdout, "--image-dir", shop.images, "--index", own_index, "--json")
    assert added.code == 0, added.err
    assert list(added.json)[: len(KEYS)] == KEYS
    assert added.json["rows"] == rows + held == len(ids_of(own_index))
    assert (added.json["added"], added.json["replaced"], added.json["rejected"]) == (held, 0, 0)
    assert added.json["drift"]["rows_added"] == held
    assert "writing the index" in added.err

    again = price("add", shop.holdout, "--image-dir", shop.images, "--index", own_index)
    assert (again.code, again.out) == (3, "")
    assert again.err.splitlines()[-1].startswith("price: The item '900000'") and "--replace" in again.err

    replaced = price("add", shop.holdout, "--image-dir", shop.images, "--index", own_index, "--replace")
    assert replaced.code == 0
    assert replaced.out.startswith(f"{held} replaced: {rows + held} rows in {own_index} (gen-000003), ")
    assert f"Half of the {held} rows added since the build are within" in replaced.out

    said = price("query", "Herbal tea", "--index", own_index, "--k", 400, "--band", "inf", "--json").json
    assert "900000" in {one["item_id"] for one in said["comparables"]}
    note = price("evaluate", "--index", own_index, "--json").json
    assert note["n"] == rows and "were added since the build" in note["notes"][0]

    removed = price("remove", "900000", "900001", "--index", own_index)
    assert (removed.code, removed.out.count("\n")) == (0, 1)
    assert removed.out.startswith(f"2 removed: {rows + held - 2} rows in {own_index} (gen-000004), ")
    said = price("query", "Herbal tea", "--index", own_index, "--k", 400, "--band", "inf", "--json").json
    assert "900000" not in {one["item_id"] for one in said["comparables"]}

    compacted = price("compact", "--index", own_index, "--json").json
    assert list(compacted)[: len(KEYS)] == KEYS
    assert (compacted["rows"], compacted["generation"]) == (rows + held - 2, "gen-000005")
    assert price("compact", "--index", own_index).out.startswith(f"compacted: {rows + held - 2} rows in {own_index}")


def test_ids_come_from_a_file_too(own_index: Path, price: Price, tmp_path: Path) -> None:
    known = ids_of(own_index)
    file = tmp_path / "gone.csv"
    file.write_text(f"code,why\n{known[0]},sold\n{known[1]},sold\nx,never there\n")
    named = ("remove", known[5], "--file", file, "--id-column", "code", "--index", own_index)
    refused = price(*named)
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.splitlines()[-1] == (
        "price: The index has no item 'x': nothing was removed; with --ignore-missing they are passed over."
    )
    assert ids_of(own_index) == known
    assert price(*named, "--ignore-missing", "--json").json["removed"] == 3
    assert ids_of(own_index) == [*known[2:5], *known[6:]]


def test_other_names_of_columns_are_taken(own_index: Path, price: Price, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("sku,title,cost\nq1,Nilgiri tea 12 oz,4.5\nq2,Assam tea 12 oz,-1\n")
    columns = ("--id-column", "sku", "--text-column", "title", "--price-column", "cost")
    added = price("add", file, *columns, "--index", own_index)
    assert added.code == 0, added.err
    rejects = current_generation(own_index) / "rejects.csv"
    assert f"1 rows rejected, listed in {rejects}:" in added.out and "price is not positive" in added.out
    assert "q2" in rejects.read_text()


def three_ways(shop: Any, index: Path) -> list[tuple[object, ...]]:
    return [
        ("add", shop.holdout, "--index", index),
        ("remove", "900000", "--index", index),
        ("compact", "--index", index),
    ]


def test_without_an_index_nothing_is_made(shop: Any, price: Price, tmp_path: Path) -> None:
    for command in three_ways(shop, tmp_path / "nowhere"):
        answer = price(*command)
        assert (answer.code, answer.out) == (4, "")
        assert answer.err.count("\n") == 1 and "price build-index" in answer.err
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_index_is_refused(shop: Any, own_index: Path, price: Price) -> None:
    (current_generation(own_index) / REFERENCE).write_bytes(b"ARROW1")
    for command in three_ways(shop, own_index):
        assert price(*command).code == 4


def test_a_lock_that_is_held_ends_each_at_once(shop: Any, own_index: Path, price: Price) -> None:
    with pytest.raises(KeyboardInterrupt), writing(own_index):
        for command in three_ways(shop, own_index):
            answer = price(*command)
            assert (answer.code, answer.out) == (75, "")
            assert "is being written by process" in answer.err
        raise KeyboardInterrupt


def test_what_cannot_be_meant_is_refused(shop: Any, own_index: Path, price: Price, tmp_path: Path) -> None:
    before = (own_index / "CURRENT").read_text()
    nothing = price("remove", "--index", own_index)
    assert nothing.code == 2 and "No id is given" in nothing.err
    everything = price("remove", *ids_of(own_index), "--index", own_index)
    assert everything.code == 3 and "it stands on no fewer than 12" in everything.err
    assert price("remove", "--file", tmp_path / "none.csv", "--index", own_index).code == 3
    assert price("add", tmp_path / "none.csv", "--index", own_index).code == 3
    header = Path(shutil.copy(shop.holdout, tmp_path / "empty.csv"))
    header.write_text("sample_id,catalog_content,image_link,price\n")
    empty = price("add", header, "--index", own_index)
    assert empty.code == 3 and "a header and no rows" in empty.err
    assert (own_index / "CURRENT").read_text() == before
