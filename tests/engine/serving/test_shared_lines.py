"""Claims about first lines that many items share: an index keeps them, and every way of pricing leaves them out."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.evaluate import evaluate_labelled
from engine.lifecycle.build import BuildResult, build_index
from engine.lifecycle.update import add_items
from engine.serving import shards
from engine.serving.price_file import price_file
from engine.serving.price_file_job import PriceFileSettings
from engine.serving.pricer import Item, Pricer
from engine.settings.read import read_settings
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

BANNER, NEW = "Free delivery from 50", "Our listing of the day"
KINDS = ("kettle", "carpet", "hammer", "teapot", "pillow", "basket", "candle", "mirror", "ladder", "bucket")


def named(row: int) -> str:
    return f"Large {KINDS[row % 10]} of {KINDS[row // 10 % 10]}s, {row + 1} cm"


def write(path: Path, texts: Sequence[str], first: int = 0) -> Path:
    prices = np.exp(np.random.default_rng(first).normal(3, 0.5, len(texts)))
    rows = [
        [str(first + row), text, f"{price:.2f}"] for row, (text, price) in enumerate(zip(texts, prices, strict=True))
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["sample_id", "catalog_content", "price"], *rows])
    return path


@pytest.fixture(scope="module")
def built(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    """An index of a catalogue of which two thirds of the texts begin with a banner."""
    folder = tmp_path_factory.mktemp("banner")
    texts = [f"{BANNER}\n{named(row)}" if row % 3 else named(row) for row in range(90)]
    settings = replace(read_settings(shop.quick), image_encoder=(), members=("mlp",))
    return folder / "index", build_index(write(folder / "catalogue.csv", texts), folder / "index", settings)


@pytest.fixture
def index(built: tuple[Path, BuildResult]) -> Path:
    return built[0]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write(tmp_path / "clean.csv", [named(100 + row) for row in range(30)], first=100)


@pytest.fixture(params=[BANNER, f"{NEW}\n{BANNER}"], ids=["known", "new and known"])
def marked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The clean file's items, below a line that the index knows, and one more that the file alone shares."""
    return write(tmp_path / "marked.csv", [f"{request.param}\n{named(100 + row)}" for row in range(30)], first=100)


def test_a_build_keeps_the_shared_lines_and_its_items_are_without_them(built: tuple[Path, BuildResult]) -> None:
    folder = current_generation(built[0])
    manifest = read_manifest(folder)
    assert (manifest.shared_lines, manifest.shared_lines_kept) == (("free delivery from 50",), False)
    items = ItemStore.open(folder, manifest).items(["text", "name"])
    assert items["text"].to_pylist() == items["name"].to_pylist() == [named(row) for row in range(90)]
    assert "'free delivery from 50': that is no name" in built[1].reading_notes[-1]


@pytest.mark.parametrize("line", [BANNER.upper(), f"{NEW}:"])
def test_a_query_below_a_line_that_the_index_knows_or_a_colon_ends_is_priced_as_without_it(
    line: str, index: Path
) -> None:
    pricer = Pricer.open(index)
    one, other = (pricer.price([Item(text)])[0] for text in (named(7), f"{line}\n{named(7)}"))
    assert one == other


def test_a_file_is_scored_as_without_its_shared_lines(index: Path, clean: Path, marked: Path) -> None:
    one, other = (evaluate_labelled(index, file) for file in (clean, marked))
    assert (other.smape, other.coverage) == (one.smape, one.coverage)


def test_a_file_is_priced_as_without_its_shared_lines(index: Path, clean: Path, marked: Path, tmp_path: Path) -> None:
    results = [
        price_file(file, tmp_path / f"{file.stem}-out.csv", index, PriceFileSettings(shard_rows=7))
        for file in (clean, marked)
    ]
    assert results[0].output.read_bytes() == results[1].output.read_bytes()
    assert ("Many different" in results[1].reading_notes[-1]) == (NEW in marked.read_text())


def test_shared_lines_are_looked_for_in_a_files_beginning(
    index: Path, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LOOKED_AT", 12)
    texts = [f"{NEW}\n{named(100 + row)}" for row in range(30)]
    marked = write(tmp_path / "marked.csv", texts, first=100)
    results = [price_file(file, tmp_path / f"{file.stem}-out.csv", index) for file in (clean, marked)]
    assert results[0].output.read_bytes() == results[1].output.read_bytes()


def test_added_items_are_without_their_shared_lines(index: Path, marked: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(index, tmp_path / "own"))
    add_items(marked, own)
    folder = current_generation(own)
    texts = ItemStore.open(folder, read_manifest(folder)).items(["text"])["text"].to_pylist()
    assert texts[90:] == [named(100 + row) for row in range(30)]
    own_lines = ("our listing of the day",) if NEW in marked.read_text() else ()
    assert read_manifest(folder).shared_lines == ("free delivery from 50", *own_lines)


def test_queries_and_later_files_are_read_by_the_lines_of_an_added_file(index: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(index, tmp_path / "own"))
    add_items(write(tmp_path / "a.csv", [f"{NEW}\n{named(100 + row)}" for row in range(30)], first=100), own)
    pricer = Pricer.open(own)
    one, other = (pricer.price([Item(text)])[0] for text in (named(107), f"{NEW}\n{named(107)}"))
    assert one == other and one.comparables[0].item_id == "107"
    add_items(write(tmp_path / "b.csv", [f"{NEW}\n{named(107)}", f"{BANNER}\n{named(7)}"], first=900), own)
    folder = current_generation(own)
    items = ItemStore.open(folder, read_manifest(folder)).items(["name", "text", "group"]).to_pylist()
    assert items[-2] == items[97] and items[-1] == items[7]


def test_rows_that_begin_with_a_line_of_a_later_file_keep_it(index: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(index, tmp_path / "own"))
    before = f"{NEW}\n{named(200)}"
    add_items(write(tmp_path / "a.csv", [before], first=200), own)
    add_items(write(tmp_path / "b.csv", [f"{NEW}\n{named(100 + row)}" for row in range(30)], first=100), own)
    folder = current_generation(own)
    items = ItemStore.open(folder, read_manifest(folder)).items(["name", "text"])
    assert items.slice(90, 2).to_pylist() == [
        {"name": NEW, "text": before},
        {"name": named(100), "text": named(100)},
    ]
    assert read_manifest(folder).shared_lines == ("free delivery from 50", "our listing of the day")
