"""Claims about a build: no row is predicted from its own price, nothing is lost, only the callback is told."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.lifecycle.build import build_index
from engine.serving.pricer import Item, Pricer
from engine.settings.read import read_settings
from engine.settings.schema import Settings
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused
from index.storage import generations
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

KINDS = "amber beryl coral delft ebony flint glass hazel ivory jade khaki lapis mauve navy ochre pearl".split()
WARES = ("Teapot", "Milk jug", "Soup bowl", "Saucer")


@pytest.fixture
def quick(shop: Any) -> Settings:
    return replace(read_settings(shop.quick), image_encoder=())


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Sequence[Sequence[object]]], Path]:
    def write(rows: Sequence[Sequence[object]]) -> Path:
        path = tmp_path / "goods.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["sample_id", "catalog_content", "image_link", "price"], *rows])
        return path

    return write


def wares() -> list[list[object]]:
    """64 names; the last four of each ware are near-duplicates of the first: the same name but for its size."""
    rows: list[list[object]] = []
    for price, ware in enumerate(WARES, 2):
        names = [f"{ware}, {kind}" for kind in KINDS[:12]]
        names += [f"{name}, 12 oz" for name in names[:4]]
        rows += [[len(rows) + i, name, "", f"{price + i / 10:.2f}"] for i, name in enumerate(names)]
    return rows


def out_of_fold(index: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(current_generation(index) / "out_of_fold.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def test_no_row_is_predicted_from_its_own_price_or_a_near_duplicates(
    quick: Settings, written: Callable[..., Path], tmp_path: Path
) -> None:
    rows = wares()
    build_index(written(rows), tmp_path / "index", quick)
    before = out_of_fold(tmp_path / "index")
    near_duplicates = (51, 63)  # the dearest: made dearer, they are dealt to the same fold
    assert rows[63][1] == f"{rows[51][1]}, 12 oz"
    for row in near_duplicates:
        rows[row][3] = "90000"
    build_index(written(rows), tmp_path / "index", quick)
    after = out_of_fold(tmp_path / "index")
    assert (before["fold"] == after["fold"]).all()
    assert before["fold"][51] == before["fold"][63]
    oof = [name for name in before if name.startswith("oof_")]
    fold = before["fold"][51]
    # A leave-out in closed form rounds by the size of the price that is left out.
    changed = {name: np.flatnonzero(~np.isclose(before[name], after[name], rtol=0, atol=1e-4)) for name in oof}
    for name in oof:
        assert not set(np.flatnonzero(before["fold"] == fold)) & set(changed[name]), name
    assert len(changed["oof_mlp"]) and len(changed["oof_lexical"])  # the others did; trees go by the median
    for name in (each for each in before if each.startswith(f"nested_oof_{fold}_")):
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=1e-4, err_msg=name)


def test_what_a_build_reports_is_what_lies_in_the_index(shop: Any, tmp_path: Path) -> None:
    settings = replace(read_settings(shop.quick), currency="EUR")
    built = build_index(shop.catalogue, tmp_path / "index", settings, image_dir=shop.images)
    folder = current_generation(tmp_path / "index")
    manifest = read_manifest(folder)
    assert (manifest.rows, manifest.rejected, manifest.currency) == (built.rows, built.rejected.total(), "EUR")
    assert built.rejects_file == folder / "rejects.csv"
    with built.rejects_file.open(encoding="utf-8", newline="") as file:
        assert Counter(row["reason"].partition(":")[0] for row in csv.DictReader(file)) == built.rejected
    items = ItemStore.open(folder).items()
    assert items.num_rows == built.rows
    assert len(set(items["item_id"].to_pylist())) == built.rows
    pixels = [record for record in manifest.encoders if record.name == "pixels"]
    assert len(pixels) == 1
    seen = ItemStore.open(folder).vectors(pixels[0].column.removeprefix("vector_")).any(axis=1)
    assert (~seen).sum() == built.photographs_absent.total() > 0
    assert built.evaluation.n == built.rows


def test_a_build_says_nothing_but_to_its_callback(
    quick: Settings, written: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[tuple[str, int, int | None]] = []
    build_index(written(wares()), tmp_path / "index", quick, on_progress=lambda *each: said.append(each))
    assert capfd.readouterr() == ("", "")
    stages = list(dict.fromkeys(stage for stage, _, _ in said))
    assert stages.index("reading") < stages.index("texts (minilm)") < stages.index("building, fitting models")
    ends = {stage: (done, total) for stage, done, total in said}
    assert all(total is None or done == total or stage.startswith("building") for stage, (done, total) in ends.items())
    assert said[-1][1:] == (1000, 1000)
    assert all(total is None or 0 <= done <= total for _, done, total in said)


class StopHereError(BaseException):
    """As an interrupt: no handler of ours may swallow it."""


@pytest.mark.parametrize(
    "stage", ["reading", "texts (minilm)", "building, fitting models", "building, writing the index"]
)
def test_a_build_that_is_stopped_leaves_the_old_index_current(
    stage: str, quick: Settings, written: Callable[..., Path], shop: Any, own_index: Path
) -> None:
    before = current_generation(own_index)
    shutil.rmtree(own_index / "cache")

    def stop(said: str, done: int, total: int | None) -> None:
        if said == stage:
            raise StopHereError

    with pytest.raises(StopHereError):
        build_index(written(wares()), own_index, quick, on_progress=stop)
    assert current_generation(own_index) == before
    assert [path.name for path in own_index.glob("gen-*")] == [before.name]
    read_manifest(before)


def test_fits_are_kept_until_the_index_that_they_are_part_of_is_current(
    quick: Settings, written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder))

    with monkeypatch.context() as patched:
        patched.setattr(generations, "fsync_tree", full)
        with pytest.raises(OSError, match="No space"):
            build_index(written(wares()), tmp_path / "index", quick)
    assert len(list((tmp_path / "index" / "cache" / "fits").glob("*/*"))) > 0
    build_index(written(wares()), tmp_path / "index", quick)
    assert not (tmp_path / "index" / "cache" / "fits").exists()


def test_an_index_with_weights_from_a_folder_that_was_named_from_here_is_opened_from_anywhere(
    quick: Settings, written: Callable[..., Path], tmp_path: Path, tiny_minilm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(tiny_minilm.partition("@")[2])
    settings = replace(
        quick,
        text_encoder=(f"minilm@{weights.name}",),
        members=("mlp", "finetuned"),
        finetuned=replace(quick.finetuned, encoder=f"minilm@{weights.name}", epochs=1),
    )
    monkeypatch.chdir(weights.parent)
    built = build_index(written(wares()), tmp_path / "index", settings)
    monkeypatch.chdir(tmp_path)
    assert Pricer.open(tmp_path / "index").price([Item("Saucer, jade")])[0].price > 0
    manifest = read_manifest(current_generation(tmp_path / "index"))
    assert {record.name for record in manifest.encoders} == set(built.encoders) == {f"minilm@{weights}"}
    assert manifest.settings["text_encoder"] == [f"minilm@{weights}"]


def test_a_modality_that_no_row_has_stops_nothing(
    quick: Settings, written: Callable[..., Path], tmp_path: Path
) -> None:
    rows = wares()
    built = build_index(written(rows), tmp_path / "index", replace(quick, image_encoder=("pixels",)))
    assert built.photographs_absent == {"no photograph given": len(rows)}
    quote = Pricer.open(tmp_path / "index").price([Item("Saucer, jade")])[0]
    assert 0 < quote.low <= quote.price <= quote.high < 1e6


def test_items_of_one_price_are_worth_that_price(quick: Settings, written: Callable[..., Path], tmp_path: Path) -> None:
    rows = [[i, name, "", "7.50"] for i, name, _, _ in wares()]
    built = build_index(written(rows), tmp_path / "index", quick)
    assert built.evaluation.stages["constant median"].value == pytest.approx(0, abs=1e-4)
    quote = Pricer.open(tmp_path / "index").price([Item("Saucer, jade")])[0]
    assert quote.price == pytest.approx(7.5, rel=0.2)


def test_a_query_unlike_every_row_gets_a_price_in_their_range(
    quick: Settings, written: Callable[..., Path], tmp_path: Path
) -> None:
    names = [f"{ware} {kind:>6.6}" for ware in ("Tea pot", "Egg cup") for kind in KINDS]  # all of one length
    build_index(written([[i, name, "", i + 1] for i, name in enumerate(names)]), tmp_path / "index", quick)
    odd = ["A name that is ten times as long as any other " * 10, "Cup", "Cup 5 kg (pack of 144)", "\n" * 300 + "Cup"]
    for quote in Pricer.open(tmp_path / "index").price(map(Item, odd)):
        assert all(0.1 < quote.parts[name] < 300 for name in ("mlp", "gbdt", "lexical", "blend"))  # rows: 1 to 32


def test_the_folds_that_nobody_asked_for_stand_in_the_manifest(
    quick: Settings, written: Callable[..., Path], tmp_path: Path
) -> None:
    build_index(written(wares()), tmp_path / "index", replace(quick, folds=None))
    folder = current_generation(tmp_path / "index")
    assert read_manifest(folder).settings["folds"] == 5
    assert len(list((folder / "models").glob("mlp-*"))) == 5


@pytest.mark.parametrize("rows", [3, 6, 9, 11, 12, 13])
def test_a_handful_of_rows_is_built_or_refused_in_a_sentence(
    rows: int, quick: Settings, written: Callable[..., Path], tmp_path: Path
) -> None:
    path = written([[i, f"Teapot {KINDS[i]}", "", i + 1] for i in range(rows)])
    try:
        built = build_index(path, tmp_path / "index", quick)
    except DataRefused as refusal:
        assert "ask for fewer folds" in str(refusal)
    else:
        assert built.rows == rows
        assert Pricer.open(tmp_path / "index").price([Item("Teapot")])[0].price > 0


def test_columns_may_have_any_names(quick: Settings, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["key", "words", "eur"], *([i, name, cost] for i, name, _, cost in wares())])
    named = replace(quick, catalogue=ReadSettings(id="key", text=("words",), price="eur"))
    built = build_index(path, tmp_path / "index", named)
    assert built.rows == len(wares())
