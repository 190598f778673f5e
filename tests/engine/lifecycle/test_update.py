"""Claims about an index that is added to and removed from: exact, honest, and never half done."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.ensemble.blend import blend
from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.reference import ReferenceSet
from engine.evaluation.evaluate import evaluate_index
from engine.features.inputs import make_inputs
from engine.lifecycle import update
from engine.lifecycle.build import build_index
from engine.lifecycle.update import add_items, compact_index, read_ids, remove_items
from engine.serving.pricer import Item, Pricer
from engine.settings.read import read_settings
from index.catalogue.items import read_catalogue
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused, IndexLocked, IndexUnusable, UsageError
from index.search.neighbours import BandIndex
from index.storage.generations import current_generation, writing
from index.storage.items_table import ItemStore
from index.storage.layout import Step, unchanged_by
from index.storage.manifest import read_manifest

ROOT = Path(__file__).parents[3]
HEADER = ("sample_id", "catalog_content", "image_link", "price")
Row = tuple[str, str, str, str]
WARES = ("teapot", "saucer", "vase", "tray")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Iterable[Row]], Path]:
    """A catalogue file of some rows."""

    def write(rows: Iterable[Row]) -> Path:
        with (tmp_path / "new.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *rows])
        return tmp_path / "new.csv"

    return write


def item(item_id: str, name: str, price: float = 9.5, image: str = "") -> Row:
    return item_id, f"Item Name: {name}\nValue: 12\nUnit: Ounce", image, str(price)


TEAS = [item(f"n{i}", f"Nilgiri {word} tea", 5.0 + i) for i, word in enumerate(("smoky", "sweet", "mild", "bold"))]


def ids_of(index: Path) -> list[str]:
    ids: list[str] = ItemStore.open(current_generation(index)).items(["item_id"])["item_id"].to_pylist()
    return ids


def snapshot(index: Path) -> dict[str, bytes]:
    """What a refusal must leave as it is."""
    folder = current_generation(index)
    return {"CURRENT": (index / "CURRENT").read_bytes()} | {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def group_of(index: Path, item_id: str) -> tuple[int, int]:
    """(group, fold)"""
    folder = current_generation(index)
    items = ItemStore.open(folder).items(["item_id", "group"])
    row = items["item_id"].to_pylist().index(item_id)
    return items["group"][row].as_py(), int(ReferenceSet.open(folder).fold[row])


# --- what is added


def test_added_rows_stand_behind_the_others_and_are_comparables(own_index: Path, write: Any) -> None:
    before = ids_of(own_index)
    query = Item("Item Name: Nilgiri smoky tea\nValue: 12\nUnit: Ounce")
    assert "n0" not in {one.item_id for one in Pricer.open(own_index).price([query])[0].comparables}
    grown = add_items(write(TEAS), own_index)
    assert (grown.rows, grown.added, grown.replaced, grown.removed) == (len(before) + 4, 4, 0, 0)
    assert grown.generation == current_generation(own_index).name == "gen-000002"
    assert ids_of(own_index) == [*before, "n0", "n1", "n2", "n3"]
    manifest = read_manifest(current_generation(own_index))
    assert (manifest.rows, manifest.rejected) == (len(before) + 4, 0)
    pricer = Pricer.open(own_index)
    quote = pricer.price([query], correction=replace(pricer.correction, k=5, band=9.0))[0]
    assert quote.comparables[0].item_id == "n0"
    assert quote.comparables[0].price == pytest.approx(5.0)
    assert quote.comparables[0].similarity == pytest.approx(1, abs=1e-3)


def test_a_residual_comes_from_models_that_saw_neither_the_row_nor_its_near_duplicate(
    shop: Any, own_index: Path, write: Any
) -> None:
    known = ItemStore.open(current_generation(own_index)).items().slice(5, 1).to_pylist()[0]
    near_duplicate = item("like", f"{known['name']} 99", 3.0)
    path = write([near_duplicate, *TEAS])
    old = Pricer.open(own_index)
    add_items(path, own_index)
    assert group_of(own_index, "like") == group_of(own_index, known["item_id"])
    assert len({group_of(own_index, row[0])[0] for row in TEAS}) == 4  # strangers to each other
    items = read_catalogue(path, ReadSettings(), priced=True).items
    inputs = make_inputs(items, old.encoders.encode(items, None, own_index / "cache")[0])  # type: ignore[arg-type]
    rows, oof = ReferenceSet.open(current_generation(own_index)), OutOfFold.read(current_generation(own_index))
    fold, log_price = rows.fold[-5:], items["log_price"].to_numpy().astype(np.float64)
    for place in range(5):  # the slow and obvious way: one row, one fold's models, the rows of the other folds
        one, f = inputs.take(np.array([place])), int(fold[place])
        own = {name: each.predict_unseen(one, fold[[place]]) for name, each in old.model.models.members.items()}
        for name, predicted in own.items():
            assert oof.oof[name][place - 5] == pytest.approx(predicted[0], abs=1e-5)
        blended = blend(own, old.model.parameters.weights)
        expected = old.model.unseen(one, old.search_vectorizer.vectors(one), np.array([f])).last
        if not old.model.models.stackers:
            np.testing.assert_allclose(expected, blended)
        assert rows.residual[place - 5] == pytest.approx(log_price[place] - expected[0], abs=1e-5)
    assert oof.trained.tolist() == [True] * (len(rows.fold) - 5) + [False] * 5


def test_a_row_that_was_removed_and_comes_back_is_priced_by_the_fold_that_never_saw_it(
    shop: Any, own_index: Path, tmp_path: Path
) -> None:
    with shop.catalogue.open(newline="", encoding="utf-8") as file:
        rows = {row["sample_id"]: row for row in reversed(list(csv.DictReader(file)))}  # of an id, the first counts
    ids = ids_of(own_index)[:40:4]
    before = [group_of(own_index, item_id) for item_id in ids]
    residual = ReferenceSet.open(current_generation(own_index)).residual[:40:4]
    remove_items(ids, own_index)
    with (tmp_path / "again.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows({name: rows[item_id][name] for name in HEADER} for item_id in ids)
    add_items(tmp_path / "again.csv", own_index, image_dir=shop.images)
    assert [group_of(own_index, item_id) for item_id in ids] == before
    again = ReferenceSet.open(current_generation(own_index)).residual[-len(ids) :]
    np.testing.assert_allclose(again, residual, atol=0.02)  # the same models; a little other evidence for the stacker


def test_known_ids_are_refused_and_nothing_changes(own_index: Path, write: Any) -> None:
    known, before = ids_of(own_index)[:2], snapshot(own_index)
    path = write([*TEAS, item(known[1], "Other tea"), item(known[0], "Another tea")])
    with pytest.raises(DataRefused, match=rf"The item '{known[1]}' \(and 1 more\) .* already.*--replace"):
        add_items(path, own_index)
    assert snapshot(own_index) == before
    assert list(own_index.glob("*.partial")) == []


def test_a_replaced_row_goes_as_the_new_one_comes(own_index: Path, write: Any) -> None:
    known = ids_of(own_index)
    was = group_of(own_index, known[3])
    grown = add_items(write([item(known[3], "Quite another thing", 77.0), TEAS[0]]), own_index, replace_known=True)
    assert (grown.rows, grown.added, grown.replaced) == (len(known) + 1, 1, 1)
    assert ids_of(own_index) == [*known[:3], *known[4:], known[3], "n0"]
    assert group_of(own_index, known[3]) == was  # the models of the other folds still know the old one's price
    shown = ReferenceSet.open(current_generation(own_index)).shown([len(known) - 1])[0]
    assert shown["name"] == "Quite another thing"


def test_bad_rows_are_listed_and_those_of_an_earlier_file_are_not(own_index: Path, write: Any) -> None:
    assert (current_generation(own_index) / "rejects.csv").exists()
    grown = add_items(write([TEAS[0], item("bad", "No price", -1), item("n0", "Twice", 3)]), own_index)
    assert (grown.added, grown.rejected.total()) == (1, 2)
    assert grown.rejects_file == current_generation(own_index) / "rejects.csv"
    listed = grown.rejects_file.read_text().splitlines()
    assert len(listed) == 3 and "price is not positive" in listed[1] and "an id seen before" in listed[2]
    remove_items(["n0"], own_index)
    assert (current_generation(own_index) / "rejects.csv").read_text().splitlines() == listed
    add_items(write([TEAS[1]]), own_index)
    assert not (current_generation(own_index) / "rejects.csv").exists()


@pytest.mark.parametrize(
    ("rows", "why"),
    [([], "a header and no rows"), ([item("a", "Tea", -1), item("b", "Tea", 0)], "no usable row: all 2 were rejected")],
)
def test_a_file_without_a_usable_row_changes_nothing(own_index: Path, write: Any, rows: list[Row], why: str) -> None:
    before = snapshot(own_index)
    with pytest.raises(DataRefused, match=why):
        add_items(write(rows), own_index)
    assert snapshot(own_index) == before


def test_rows_of_another_price_change_no_answer_and_one_very_like_does(own_index: Path, write: Any) -> None:
    query = Item("Item Name: Herbal tea, 16 count\nValue: 16\nUnit: Count")
    before = Pricer.open(own_index).price([query])[0]
    far = [item(f"far{i}", f"Herbal tea, gilded, {word}", 9e7) for i, word in enumerate(("large", "small"))]
    add_items(write(far), own_index)
    beside = Pricer.open(own_index).price([query])[0]
    assert (beside.price, beside.parts, beside.comparables) == (before.price, before.parts, before.comparables)
    add_items(write([("near", query.text, "", str(before.price - before.parts["shift"]))]), own_index)
    after = Pricer.open(own_index).price([query])[0]
    assert after.comparables[0].item_id == "near"
    assert after.comparables != before.comparables


def test_other_weights_are_refused(own_index: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from index.embedding import encode
    from index.encoders import open_encoder

    def open_other(*arguments: Any, **options: Any) -> Any:
        encoder = open_encoder(*arguments, **options)
        encoder.identity = "another"
        return encoder

    monkeypatch.setattr(encode, "open_encoder", open_other)
    before = snapshot(own_index)
    with pytest.raises(IndexUnusable, match=r"other weights.*price build-index"):
        add_items(write(TEAS), own_index)
    assert snapshot(own_index) == before


# --- items without an id


def nameless(path: Path, *rows: tuple[str, float]) -> Path:
    """A file without ids: name, price."""
    path.write_text("\n".join(["text,price", *(f'"Item Name: {name}",{price}' for name, price in rows)]) + "\n")
    return path


SOFA, JUG = ("Quite another velvet sofa", 25.0), ("Blue wobble jug", 15.0)
FORK, LAMP = ("Bent wooden fork", 9.0), ("Lamp with seven arms", 31.0)


def test_files_without_ids_can_both_be_added_and_take_nobodys_place(own_index: Path, tmp_path: Path) -> None:
    known = ids_of(own_index)
    first = add_items(nameless(tmp_path / "a.csv", SOFA, JUG), own_index)
    assert "2 items have no id: they are named by their line, as in line-2." in first.reading_notes
    second = add_items(nameless(tmp_path / "b.csv", FORK, LAMP, SOFA), own_index)
    assert "3 items have no id: they are named by their line, as in line-2.2." in second.reading_notes
    third = add_items(nameless(tmp_path / "c.csv", ("Rug", 7.0)), own_index)
    assert [(grown.added, grown.replaced) for grown in (first, second, third)] == [(2, 0), (3, 0), (1, 0)]
    assert ids_of(own_index) == [*known, "line-2", "line-3", "line-2.2", "line-3.2", "line-4.2", "line-2.3"]
    names = ItemStore.open(current_generation(own_index)).items(["name"])["name"].to_pylist()
    assert names[-6:] == [SOFA[0], JUG[0], FORK[0], LAMP[0], SOFA[0], "Rug"]


def test_an_item_without_an_id_is_called_like_no_row_that_the_models_know(shop: Any, tmp_path: Path) -> None:
    words = "amber beryl coral delft ebony flint glass hazel".split()
    rows = [(f"{word} {ware}", 3.0 + i + j) for i, word in enumerate(words) for j, ware in enumerate(WARES)]
    settings = replace(read_settings(shop.quick), image_encoder=(), members=("mlp",))
    build_index(nameless(tmp_path / "catalogue.csv", *rows), tmp_path / "index", settings)
    remove_items(["line-2"], tmp_path / "index")
    with (tmp_path / "new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, item("", "Sofa"), item("line-2.2", "Jug"), item("", "Rug")])
    add_items(tmp_path / "new.csv", tmp_path / "index")
    assert ids_of(tmp_path / "index")[-3:] == ["line-2.3", "line-2.2", "line-8.3"]  # an item takes three lines


def test_only_ids_replace_rows(own_index: Path, tmp_path: Path, write: Any) -> None:
    add_items(nameless(tmp_path / "a.csv", SOFA), own_index)
    before, known = snapshot(own_index), ids_of(own_index)
    with pytest.raises(DataRefused, match=r"have no ids.*nothing was added; give the file a column of ids"):
        add_items(nameless(tmp_path / "b.csv", FORK), own_index, replace_known=True)
    assert snapshot(own_index) == before
    grown = add_items(write([item("", "Bent fork"), item(known[0], "Lamp")]), own_index, replace_known=True)
    assert (grown.added, grown.replaced) == (1, 1)
    assert ids_of(own_index) == [*known[1:], "line-2.2", known[0]]


def test_a_file_without_ids_that_is_added_again_is_noticed(own_index: Path, tmp_path: Path) -> None:
    add_items(nameless(tmp_path / "a.csv", SOFA, JUG), own_index)
    before = snapshot(own_index)
    for half in ((SOFA, JUG), (SOFA, LAMP)):
        path = nameless(tmp_path / "again.csv", *half)
        with pytest.raises(DataRefused, match=rf"of 2 items without an id have .*: was {path} added before.*--yes"):
            add_items(path, own_index)
        assert snapshot(own_index) == before
    other_prices = add_items(nameless(tmp_path / "b.csv", (SOFA[0], 26.0), (JUG[0], 16.0)), own_index)
    assert (other_prices.added, "twice" in other_prices.reading_notes[-1]) == (2, False)
    few = add_items(nameless(tmp_path / "c.csv", FORK, LAMP, SOFA), own_index)
    assert few.reading_notes[-1].startswith("1 of 3 items without an id have the name, photograph and price of rows")
    assert add_items(tmp_path / "a.csv", own_index, reading=ReadSettings(any_price=True)).added == 2
    assert ids_of(own_index)[-2:] == ["line-2.4", "line-3.4"]


# --- what is removed


def test_a_removed_row_is_no_neighbour_and_not_shown(own_index: Path) -> None:
    pricer, query = Pricer.open(own_index), Item("Herbal tea")
    found = [
        one.item_id
        for one in pricer.price([query], correction=replace(pricer.correction, k=400, band=9.0))[0].comparables
    ]
    known = ids_of(own_index)
    assert set(found) == set(known)
    shrunk = remove_items(iter(found[:7]), own_index)
    assert (shrunk.rows, shrunk.removed) == (len(known) - 7, 7)
    pricer = Pricer.open(own_index)
    after = [
        one.item_id
        for one in pricer.price([query], correction=replace(pricer.correction, k=400, band=9.0))[0].comparables
    ]
    assert sorted(after) == sorted(found[7:])
    assert ids_of(own_index) == [item_id for item_id in known if item_id not in found[:7]]


def test_unknown_ids_are_named_and_nothing_changes_unless_they_may_be_missing(own_index: Path) -> None:
    known, before = ids_of(own_index), snapshot(own_index)
    with pytest.raises(
        DataRefused, match=r"no item 'x1', 'x2', 'x3' and 1 more: nothing was removed.*--ignore-missing"
    ):
        remove_items(["x3", known[0], "x1", "x2", "x4"], own_index)
    assert snapshot(own_index) == before
    shrunk = remove_items(["x1", known[0], known[0], f" {known[1]} "], own_index, ignore_missing=True)
    assert (shrunk.removed, ids_of(own_index)) == (2, known[2:])


def test_an_index_keeps_enough_rows_to_stand_on(own_index: Path) -> None:
    known, before = ids_of(own_index), snapshot(own_index)
    with pytest.raises(DataRefused, match=r"Without these .* rows the index would hold 5 rows .* no fewer than 12"):
        remove_items(known[5:], own_index)
    assert snapshot(own_index) == before


def test_to_remove_nothing_is_a_slip(own_index: Path) -> None:
    with pytest.raises(UsageError, match="No id is given"):
        remove_items([" "], own_index)


def test_ids_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("code,what\n 12 ,sold\n007,gone\n")
    assert read_ids(path, "code") == ["12", "007"]
    path.write_text("code,what\n12,sold\n,gone\n")
    with pytest.raises(DataRefused, match="no id in line 3"):
        read_ids(path, "code")
    path.write_text("code,what\n")
    with pytest.raises(DataRefused, match="a header and no rows"):
        read_ids(path, "code")
    with pytest.raises(DataRefused, match="no column 'sample_id'"):
        read_ids(path, "sample_id")


# --- what evaluation makes of it


def test_evaluation_scores_what_the_build_learned_from_and_says_what_came_later(own_index: Path, write: Any) -> None:
    before = evaluate_index(own_index)
    add_items(write(TEAS), own_index)
    after = evaluate_index(own_index)
    assert after.notes == ("4 rows were added since the build: they correct prices, and are not scored here.",)
    assert replace(after, notes=()) == before
    remove_items([*ids_of(own_index)[:9], "n1"], own_index)
    assert evaluate_index(own_index).n == before.n - 9


def test_too_few_rows_that_the_models_know_are_not_scored(own_index: Path, write: Any) -> None:
    known = ids_of(own_index)
    add_items(write(item(f"w{i}", f"Thing {chr(97 + i)}{chr(97 + i)}") for i in range(20)), own_index)
    remove_items(known[8:], own_index)
    with pytest.raises(DataRefused, match="Only 8 of the rows are left that the models learned from"):
        evaluate_index(own_index)
    assert Pricer.open(own_index).price([Item("Tea")])[0].price > 0


# --- the disk


def test_neighbours_after_growth_are_those_of_the_rows_laid_out_afresh(own_index: Path, write: Any) -> None:
    random = np.random.default_rng(0)
    for turn in range(3):
        words = ("red", "blue", "green", "gold", "grey")
        add_items(write(item(f"{turn}-{w}", f"Paint {w} {'x' * turn}", 4.0 + turn) for w in words), own_index)
        remove_items(random.choice(ids_of(own_index), 9, replace=False), own_index)
        rows = ReferenceSet.open(current_generation(own_index))
        assert [shown["item_id"] for shown in rows.shown(np.arange(len(rows.fold)))] == ids_of(own_index)
        log_price = ItemStore.open(current_generation(own_index)).items(["log_price"])["log_price"].to_numpy()
        np.testing.assert_array_equal(rows.log_price, log_price.astype(np.float64))
        vectors = rows.search_vectors()
        want = BandIndex(vectors, rows.log_price).search(vectors, rows.log_price, k=8, band=0.5)
        near = rows.index.search(vectors, rows.log_price, k=8, band=0.5)
        np.testing.assert_array_equal(near.rows, want.rows)
        np.testing.assert_array_equal(near.similarity, want.similarity)


def test_what_does_not_change_is_one_file_with_two_names(own_index: Path, write: Any) -> None:
    reader = Pricer.open(own_index)  # which keeps the old generation on the disk
    add_items(write(TEAS), own_index)
    new = current_generation(own_index)
    for name in ("models", "lsa.safetensors", "report.json"):
        for path in [reader.folder / name, *(reader.folder / name).glob("*")]:
            assert path.is_dir() or (new / path.relative_to(reader.folder)).samefile(path)
    (data,) = (reader.folder / "items.lance" / "data").iterdir()
    assert (new / data.relative_to(reader.folder)).samefile(data)


def test_a_disk_without_links_gets_copies_that_are_hashed_anew(
    own_index: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    reader = Pricer.open(own_index)
    assert add_items(write(TEAS), own_index).added == 4
    model = "models/price_model.json"
    assert not (current_generation(own_index) / model).samefile(reader.folder / model)
    read_manifest(current_generation(own_index))
    assert Pricer.open(own_index).price([Item("Tea")])[0].price > 0


def test_growth_compacts_by_itself_and_compact_when_asked(own_index: Path, write: Any) -> None:
    known, query = ids_of(own_index), Item("Herbal tea, 16 count")
    assert not remove_items(known[:40], own_index).compacted
    wasted = sum(path.stat().st_size for path in current_generation(own_index).glob("items.lance/**/*"))
    before = Pricer.open(own_index).price([query])[0]
    compacted = compact_index(own_index)
    assert (compacted.rows, compacted.compacted, compacted.added + compacted.removed) == (len(known) - 40, True, 0)
    assert Pricer.open(own_index).price([query])[0] == before
    assert ids_of(own_index) == known[40:]
    assert sum(path.stat().st_size for path in current_generation(own_index).glob("items.lance/**/*")) < 0.85 * wasted
    assert not remove_items(known[40:70], own_index).compacted
    assert remove_items(known[70:80], own_index).compacted
    assert ids_of(own_index) == known[80:]


# --- other processes


def test_a_reader_keeps_its_answers_while_the_index_grows_and_shrinks(own_index: Path, write: Any) -> None:
    pricer, answers, errors = Pricer.open(own_index), [], []
    query, done, answered = Item("Herbal tea, 16 count"), threading.Event(), threading.Semaphore(0)
    first = pricer.price([query])[0]

    def read() -> None:
        try:
            while not done.is_set():
                answers.append(pricer.price([query])[0])
                answered.release()
        except BaseException as error:  # whatever a reader meets is what this test is about
            errors.append(error)
            raise

    def wait_for_answers() -> None:
        """Until one has begun and ended from here on: the next may have begun before."""
        while answered.acquire(blocking=False):
            pass
        assert all(answered.acquire(timeout=120) for _ in range(2)), errors

    reader = threading.Thread(target=read)
    reader.start()
    try:
        add_items(write([("near", query.text, "", str(first.price - first.parts["shift"]))]), own_index)
        wait_for_answers()
        remove_items(ids_of(own_index)[:60], own_index)
        wait_for_answers()
        compact_index(own_index)
        wait_for_answers()
    finally:
        done.set()
        reader.join()
    assert errors == [] and len(answers) > 3
    assert all(answer == first for answer in answers)
    assert pricer.folder.name == "gen-000001" and pricer.folder.is_dir()
    assert Pricer.open(own_index).price([query])[0] != first


KILLED = """
import os, signal, sys
from pathlib import Path
from engine.lifecycle import update
from index.storage import generations

step, change, index = sys.argv[1], sys.argv[2], Path(sys.argv[3])
room = generations if hasattr(generations, step) else update
work = getattr(room, step)

def die(*arguments, **options):
    if not before:
        work(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

before = sys.argv[4] == "before"
setattr(room, step, die)
if change == "add":
    update.add_items(Path(sys.argv[5]), index)
else:
    update.remove_items(sys.argv[5].split(","), index)
"""


@pytest.mark.parametrize(
    ("step", "when", "change"),
    [
        ("grow_table", "after", "add"),
        ("write_removed", "after", "remove"),
        ("_make_current", "before", "remove"),
        ("_make_current", "after", "remove"),
    ],
)
def test_a_kill_leaves_the_old_index_current_or_the_whole_new_one(
    own_index: Path, write: Any, step: str, when: str, change: str
) -> None:
    known = ids_of(own_index)
    what = str(write(TEAS)) if change == "add" else ",".join(known[:5])
    command = [sys.executable, "-c", KILLED, step, change, str(own_index), when, what]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = [*known, "n0", "n1", "n2", "n3"] if change == "add" else known[5:]
    assert ids_of(own_index) == (finished if (step, when) == ("_make_current", "after") else known)
    read_manifest(current_generation(own_index))
    shrunk = remove_items([known[9]], own_index)
    assert shrunk.rows == len(ids_of(own_index)) and known[9] not in ids_of(own_index)
    left = {path.name for path in own_index.iterdir()}
    assert left == {"CURRENT", "lock", "cache", current_generation(own_index).name}


class FaultError(Exception):
    """One of ours, that nobody foresaw."""


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ("add", ["assign_group_and_fold", "finish"]),
        ("remove", ["grow_table", "link_unchanged", "write_removed", "finish", "_finished"]),
        ("compact", ["compact_table", "drift_of"]),
    ],
)
def test_a_fault_of_ours_at_any_point_leaves_the_index_as_it_was(
    own_index: Path, write: Any, monkeypatch: pytest.MonkeyPatch, change: str, steps: list[str]
) -> None:
    work: dict[str, Callable[[], Any]] = {
        "add": lambda: add_items(write(TEAS), own_index),
        "remove": lambda: remove_items(known[:5], own_index),
        "compact": lambda: compact_index(own_index),
    }
    known, before = ids_of(own_index), snapshot(own_index)
    there = sorted(path.name for path in own_index.iterdir())
    for step in steps:
        own = getattr(update, step)

        def fail(*arguments: Any, own: Any = own, **options: Any) -> None:
            own(*arguments, **options)
            raise FaultError

        with monkeypatch.context() as patched:
            patched.setattr(update, step, fail)
            with pytest.raises(FaultError):
                work[change]()
        assert snapshot(own_index) == before
        assert sorted(path.name for path in own_index.iterdir()) == there
    assert work[change]().generation == "gen-000002"


def test_growth_waits_for_nobody_who_writes(own_index: Path, write: Any) -> None:
    path, known = write(TEAS), ids_of(own_index)
    with pytest.raises(KeyboardInterrupt), writing(own_index):
        for change in (
            lambda: add_items(path, own_index),
            lambda: remove_items(known[:1], own_index),
            lambda: compact_index(own_index),
        ):
            with pytest.raises(IndexLocked):
                change()
        raise KeyboardInterrupt


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_an_index_that_cannot_be_read_is_refused(own_index: Path, write: Any, damage: str) -> None:
    if damage == "missing":
        shutil.rmtree(own_index)
    else:
        (current_generation(own_index) / "report.json").write_text("{}")
    path = write(TEAS)
    for change in (
        lambda: add_items(path, own_index),
        lambda: remove_items(["1"], own_index),
        lambda: compact_index(own_index),
    ):
        with pytest.raises(IndexUnusable):
            change()
    assert own_index.exists() == (damage == "damaged")


def test_what_stands_in_the_manifest_is_what_growth_carries_over(own_index: Path, write: Any) -> None:
    old = read_manifest(current_generation(own_index))
    add_items(write(TEAS), own_index)
    new = read_manifest(current_generation(own_index))
    assert (new.settings, new.encoders, new.currency) == (old.settings, old.encoders, old.currency)
    kept = {path for path in old.files if path.startswith(("models/", "lsa", "report"))}
    assert kept == set(unchanged_by(Step.ADD, old.files))
    assert kept and {path: new.files[path] for path in kept} == {path: old.files[path] for path in kept}
