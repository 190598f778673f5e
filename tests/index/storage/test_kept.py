"""Generations that are kept by a name: no later change cleans them away, and who lets a name go frees the disk."""

import os
from pathlib import Path

import pytest

from index.errors import IndexLocked, IndexUnusable, UsageError
from index.storage.generations import drop_name, find_generation, keep_generation, lease_generation, writing
from index.storage.listing import Generation, list_generations
from index.storage.manifest import FORMAT, Manifest, write_manifest

EMPTY = Manifest(
    engine_version="0", created="2026-01-02T03:04", rows=3, rejected=0, currency="", encoders=(), settings={}
)


def build(index: Path) -> None:
    with writing(index) as folder:
        write_manifest(folder, EMPTY)


def generations(index: Path) -> list[str]:
    return sorted(entry.name for entry in index.glob("gen-*"))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Generation 2 is kept as `spring`, 4 is current; 1 and 3 were cleaned away."""
    index = tmp_path / "index"
    build(index)
    build(index)
    assert keep_generation(index, "spring").name == "gen-000002"
    build(index)
    build(index)
    return index


def test_a_kept_generation_is_not_cleaned_away_and_others_are(index: Path) -> None:
    assert generations(index) == ["gen-000002", "gen-000004"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (None, "gen-000004"),
        ("current", "gen-000004"),
        ("spring", "gen-000002"),
        ("2", "gen-000002"),
        ("gen-000002", "gen-000002"),
    ],
)
def test_a_generation_is_found_by_number_and_by_name(index: Path, reference: str | None, name: str) -> None:
    assert find_generation(index, reference) == index / name
    assert lease_generation(index, reference).folder == index / name


@pytest.mark.parametrize("reference", ["3", "autumn", "", "../index", "9" * 5000, "-1", "٢"])
def test_a_generation_that_is_not_there_is_refused_with_those_that_are(index: Path, reference: str) -> None:
    with pytest.raises(IndexUnusable, match=r"it has 2 \('spring'\), 4 \(current\)") as refusal:
        lease_generation(index, reference)
    assert len(str(refusal.value)) < 500


def test_a_name_that_is_let_go_frees_the_disk_once_nothing_else_needs_the_generation(index: Path) -> None:
    keep_generation(index, "also", "spring")
    keep_generation(index, "now")
    assert drop_name(index, "spring") is False
    lease = lease_generation(index, "also")
    assert drop_name(index, "also") is False  # a reader holds it
    assert generations(index) == ["gen-000002", "gen-000004"]
    assert drop_name(index, "now") is False  # it is current
    del lease
    build(index)
    assert generations(index) == ["gen-000005"]
    keep_generation(index, "five")
    build(index)
    assert drop_name(index, "five") is True
    assert generations(index) == ["gen-000006"]


def test_a_name_that_is_taken_is_refused_and_given_again_to_the_same_is_fine(index: Path) -> None:
    with pytest.raises(UsageError, match="spring is the name of generation 2: take another"):
        keep_generation(index, "spring")
    keep_generation(index, "spring", "2")
    with pytest.raises(UsageError, match="keeps no generation by the name 'autumn': it keeps spring"):
        drop_name(index, "autumn")


@pytest.mark.parametrize(
    "name", ["", "2", "current", "gen-000001", "gen-5", "a b", "../x", "a/b", "a" * 65, "\x1b[2J", "-x", "é"]
)
def test_what_cannot_name_a_generation_is_refused(index: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a generation: take a letter"):
        keep_generation(index, name)


def test_names_that_cannot_be_written_leave_the_old_ones_and_their_generations(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "rename", full)
    for act in (lambda: keep_generation(index, "new"), lambda: drop_name(index, "spring")):
        with pytest.raises(OSError, match="No space left"):
            act()
    monkeypatch.undo()
    assert find_generation(index, "spring").name == "gen-000002"
    assert sorted(entry.name for entry in index.iterdir()) == [
        "CURRENT",
        "gen-000002",
        "gen-000004",
        "kept.json",
        "lock",
    ]


def test_nothing_is_kept_while_another_process_writes(index: Path) -> None:
    with pytest.raises(IndexLocked), writing(index):
        keep_generation(index, "late")
    assert find_generation(index, "spring").name == "gen-000002"


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"spring": 2}', b'{"spring": "../gen-000002"}', b'{"a b": "gen-000002"}']
)
def test_a_damaged_list_of_names_stops_a_change_and_no_reader(index: Path, content: bytes) -> None:
    (index / "kept.json").write_bytes(content)
    with pytest.raises(IndexUnusable, match=r"kept\.json cannot be used.*bring it back, or remove it"):
        build(index)
    assert generations(index) == ["gen-000002", "gen-000004"]  # nothing was cleaned away
    assert lease_generation(index).folder.name == "gen-000004"


def test_a_fifo_in_the_place_of_the_names_is_refused_and_nobody_waits(index: Path) -> None:
    (index / "kept.json").unlink()
    os.mkfifo(index / "kept.json")
    with pytest.raises(IndexUnusable, match=r"kept\.json cannot be used"):
        find_generation(index, "spring")


def test_generations_are_listed_with_their_names_the_unreadable_too(index: Path) -> None:
    manifest = index / "gen-000002" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    assert list_generations(index) == [
        Generation(2, False, ("spring",), None, None),
        Generation(4, True, (), 3, "2026-01-02T03:04"),
    ]


def test_a_missing_index_is_said_before_anything_is_made(tmp_path: Path) -> None:
    for act in (lambda: keep_generation(tmp_path / "no", "x"), lambda: drop_name(tmp_path / "no", "x")):
        with pytest.raises(IndexUnusable, match="There is no index"):
            act()
    assert list(tmp_path.iterdir()) == []
