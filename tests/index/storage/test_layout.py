"""Claims about the layout: it names every file of an index once, and says which step leaves which as it was."""

from pathlib import Path
from typing import Any

import pytest

from index.search import FAISS, LANCE
from index.storage.generations import current_generation
from index.storage.layout import (
    GENERATION,
    ITEMS,
    LSA,
    MODELS,
    REFERENCE,
    Step,
    entry_of,
    memory_of,
    photograph_cache,
    search_paths,
    tuning_cache,
    unchanged_by,
)
from index.storage.manifest import Manifest, write_manifest

PATHS = [
    *(entry.name for entry in GENERATION if not entry.name.endswith("/")),
    "items.lance/data/0.lance",
    "search.lance/_indices/0/index.idx",
    "models/mlp-0.safetensors",
    "models/gbdt-2.txt",
]


def test_every_entry_is_distinct_and_says_what_it_holds() -> None:
    assert len({entry.name for entry in GENERATION}) == len({entry.holds for entry in GENERATION}) == len(GENERATION)
    assert [entry.name for entry in GENERATION if entry_of(entry.name) is not entry] == []


def test_every_file_of_a_real_generation_is_known_and_an_index_holds_nothing_else(shop: Any) -> None:
    generation = current_generation(shop.index)
    files = [path.relative_to(generation).as_posix() for path in generation.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {"items.lance/", "reference.arrow", "models/", "models/price_model.json", "manifest.json"} < {
        entry_of(path).name for path in files
    }
    assert {path.name for path in shop.index.iterdir()} == {"CURRENT", "lock", "cache", generation.name}


@pytest.mark.parametrize(
    "path", ["b.bin", "report.json.partial", "items.lance", "models", "model/a.txt", "", "/models/a"]
)
def test_a_file_that_is_not_named_is_our_mistake(path: str) -> None:
    with pytest.raises(AssertionError, match="no file of a generation"):
        entry_of(path)


def test_a_manifest_never_lists_a_file_that_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    manifest = Manifest(engine_version="0", created="", rows=1, rejected=0, currency="", encoders=(), settings={})
    with pytest.raises(AssertionError, match=r"notes\.txt is no file of a generation"):
        write_manifest(tmp_path, manifest)
    assert not (tmp_path / "manifest.json").exists()


FITTED = {"lsa.safetensors", "categories.safetensors"}


@pytest.mark.parametrize(
    ("step", "unchanged"),
    [
        (Step.ADD, {*FITTED, "report.json", "tuning.json", "models/price_model.json", *PATHS[-2:]}),
        (Step.TUNE, {*FITTED, "removed_rows.parquet", "rejects.csv", "items.lance/data/0.lance"}),
    ],
)
def test_a_step_leaves_as_it_was_what_it_does_not_touch(step: Step, unchanged: set[str]) -> None:
    assert set(unchanged_by(step, PATHS)) == unchanged


def test_only_adding_writes_a_list_of_rejects_and_only_other_models_change_what_a_query_may_use() -> None:
    added, removed = (set(unchanged_by(step, PATHS)) for step in (Step.ADD, Step.REMOVE))
    assert removed - added == {"rejects.csv"}
    assert set(unchanged_by(Step.COMPACT, PATHS)) == removed
    of_correction, of_all = (set(unchanged_by(step, PATHS)) for step in (Step.TUNE_CORRECTION, Step.TUNE))
    assert of_correction - of_all == {
        "reference.arrow",
        "out_of_fold.parquet",
        "search.faiss",
        "search.lance/_indices/0/index.idx",
    }
    assert of_all < of_correction


def test_the_folders_of_an_index_are_named() -> None:
    index_dir = Path("index")
    assert photograph_cache(index_dir) == index_dir / "cache" / "photographs"
    assert tuning_cache(index_dir) == index_dir / "cache" / "tuning"
    assert search_paths(index_dir) == {FAISS: index_dir / "search.faiss", LANCE: index_dir / "search.lance"}


def test_a_reader_loads_the_models_and_maps_the_rest(tmp_path: Path) -> None:
    for name, size in ((LSA, 40), (REFERENCE, 500), (f"{MODELS}a-0.txt", 3), (f"{MODELS}b-0.txt", 4), (ITEMS, 9000)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
    assert memory_of(tmp_path) == (2 * (3 + 4), 40 + 500)
