"""Indexes on an object store: brought here once, whole and checked; refusals are told without keys."""

import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from index import files
from index.embedding.columns import EncoderRecord
from index.errors import DownloadNeeded, IndexUnusable, UsageError
from index.storage import remote
from index.storage.generations import current_generation
from index.storage.manifest import Manifest, read_manifest, write_manifest
from index.storage.remote import local_index, without_secrets


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """An index of two files."""
    return make(tmp_path / "there", b"one")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRICE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(index: Path, content: bytes) -> Path:
    generation = index / "gen-000001"
    (generation / "models").mkdir(parents=True)
    (generation / "models" / "a.txt").write_bytes(content)
    (generation / "report.json").write_bytes(content * 3)
    record = EncoderRecord("vector_x", "x", "x", 3)
    about: dict[str, Any] = {"rows": 1, "rejected": 0, "currency": "USD", "encoders": (record,), "settings": {}}
    write_manifest(generation, Manifest(engine_version="1", created="now", **about))
    (index / "CURRENT").write_text("gen-000001\n")
    (index / "cache").mkdir()
    return index


def test_a_path_is_taken_as_it_is(there: Path, cache: Path) -> None:
    assert local_index(there) == there
    assert local_index(str(there)) == there
    assert not cache.exists()


def test_without_a_home_folder_the_variable_says_where_an_index_is_kept(
    there: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert local_index(there.as_uri()).is_relative_to(cache)
    monkeypatch.delenv("PRICE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert local_index(there.as_uri()).is_relative_to(tmp_path / "own" / "price-engine")
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(UsageError, match="no home folder to keep an index in: set PRICE_CACHE"):
        local_index(there.as_uri())


def test_an_index_is_brought_whole_and_once(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[str] = []
    bring = remote._bring
    monkeypatch.setattr(remote, "_bring", lambda *given: [brought.append(given[1]), bring(*given)][1])
    here = local_index(there.as_uri())
    assert read_manifest(current_generation(here)) == read_manifest(current_generation(there))
    assert not (here / "cache").exists()
    assert local_index(there.as_uri() + "/") == here
    assert len(brought) == 2


@pytest.mark.parametrize("name", ["CURRENT", "gen-000001/manifest.json", "gen-000001/models/a.txt"])
@pytest.mark.parametrize("damage", ["emptied", "missing", "a FIFO"])
def test_a_copy_that_was_damaged_is_brought_again(there: Path, name: str, damage: str) -> None:
    here = local_index(there.as_uri())
    (here / name).unlink()
    if damage == "emptied":
        (here / name).touch()
    elif damage == "a FIFO":
        os.mkfifo(here / name)
    assert local_index(there.as_uri()) == here
    assert read_manifest(current_generation(here)) == read_manifest(current_generation(there))
    assert [path.name for path in here.parent.iterdir()] == [here.name]


def test_a_process_checks_a_copy_once(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    sha256_file, here = files.sha256_file, local_index(there.as_uri())
    monkeypatch.setattr(files, "sha256_file", lambda path: [hashed.append(path), sha256_file(path)][1])
    for _ in range(3):
        local_index(there.as_uri())
    assert sorted(hashed) == sorted(path for path in here.rglob("*") if path.is_file())


def test_an_index_of_another_format_is_brought_once(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whole, and refused with its own sentence by who opens it."""
    manifest = there / "gen-000001" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 1}))
    here = local_index(there.as_uri())
    monkeypatch.setattr(remote, "_bring", lambda *_: pytest.fail("brought again"))
    assert local_index(there.as_uri()) == here
    with pytest.raises(IndexUnusable, match="format 1"):
        read_manifest(current_generation(here))


def test_a_new_generation_is_brought_beside_the_old(there: Path) -> None:
    before = local_index(there.as_uri())
    shutil.rmtree(there)
    make(there, b"two")
    after = local_index(there.as_uri())
    assert (current_generation(after) / "models" / "a.txt").read_bytes() == b"two"
    assert (current_generation(before) / "models" / "a.txt").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["gen-000001", "gen-000002"])
def test_an_index_that_is_replaced_while_it_is_brought_is_brought_as_it_is_then(
    name: str, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a later generation, or by another index whose generations have the same names."""
    bring, brought = remote._bring, []

    def replaced(*given: Any) -> None:
        brought.append(given[1])
        if len(brought) == 2:
            shutil.rmtree(there)
            make(there, b"two").joinpath("gen-000001").rename(there / name)
            (there / "CURRENT").write_text(f"{name}\n")
        bring(*given)

    monkeypatch.setattr(remote, "_bring", replaced)
    here = local_index(there.as_uri())
    assert current_generation(here).name == name
    assert (current_generation(here) / "models" / "a.txt").read_bytes() == b"two"
    assert [path.name for path in here.parent.iterdir()] == [here.name]


def test_an_index_that_is_replaced_again_and_again_is_given_up(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring, brought = remote._bring, []

    def replaced(*given: Any) -> None:
        brought.append(given[1])
        shutil.rmtree(there)
        make(there, f"{len(brought)}".encode())
        bring(*given)

    monkeypatch.setattr(remote, "_bring", replaced)
    with pytest.raises(IndexUnusable, match="other bytes"):
        local_index(there.as_uri())
    assert len(brought) == remote.ATTEMPTS


def test_bytes_that_changed_on_the_way_are_refused_and_leave_nothing(there: Path, cache: Path) -> None:
    (there / "gen-000001" / "report.json").write_bytes(b"onEoneone")
    with pytest.raises(IndexUnusable, match=r"report\.json came with other bytes"):
        local_index(there.as_uri())
    assert not list(cache.rglob("*.bin"))


@pytest.mark.parametrize("path", ["../outside", "a/../../b", "/etc/passwd", ""])
def test_a_manifest_that_names_a_path_outside_is_refused(path: str, there: Path) -> None:
    manifest = there / "gen-000001" / "manifest.json"
    document = json.loads(manifest.read_text()) | {"files": {path: "0" * 64}}
    manifest.write_text(json.dumps(document))
    with pytest.raises(IndexUnusable, match="damaged"):
        local_index(there.as_uri())


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"files": 3}'])
def test_a_damaged_manifest_is_refused(content: bytes, there: Path) -> None:
    (there / "gen-000001" / "manifest.json").write_bytes(content)
    with pytest.raises(IndexUnusable, match="damaged"):
        local_index(there.as_uri())


@pytest.mark.parametrize("name", ["CURRENT", "gen-000001/manifest.json", "gen-000001/models/a.txt"])
def test_a_fifo_in_the_place_of_a_file_is_refused_and_nobody_waits(there: Path, name: str) -> None:
    (there / name).unlink()
    os.mkfifo(there / name)
    with pytest.raises(IndexUnusable, match=r"A file of the index at .* is a FIFO, not a file: copy the index"):
        local_index(there.as_uri())


@pytest.mark.parametrize("name", ["CURRENT", "gen-000001/manifest.json"])
def test_what_should_be_small_is_not_read_without_end(there: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MOST_JSON", 2**20)
    with (there / name).open("ab") as file:
        file.truncate(2**40)  # which takes no room
    with pytest.raises(IndexUnusable, match=rf"{name.rpartition('/')[2]} at .* is too large: copy the index"):
        local_index(there.as_uri())


def test_a_current_that_names_something_else_is_refused(there: Path) -> None:
    (there / "CURRENT").write_text("../../etc\n")
    with pytest.raises(IndexUnusable, match="names no generation"):
        local_index(there.as_uri())


def test_no_index_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match=r"no index at file:///.*--index"):
        local_index((tmp_path / "nowhere").as_uri())


@pytest.mark.parametrize(
    "uri", ["s3://key:secret@bucket/index?endpoint_override=secret", "nothing://secret@x/y", "s3://secret@/?secret=1"]
)
def test_a_store_that_refuses_is_told_without_its_keys(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(given: str) -> None:
        raise OSError(f"AWS Error ACCESS_DENIED for {given}: signature secret")

    if uri.startswith("s3"):
        monkeypatch.setattr(remote, "_open", refuse)
    with pytest.raises(DownloadNeeded) as refused:
        local_index(uri)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_uri_is_shown_without_user_and_options() -> None:
    assert without_secrets("s3://key:se/cret@bucket/a/b?x=1#y") == "s3://bucket/a/b"
    assert without_secrets("s3://bucket/a") == "s3://bucket/a"
    assert without_secrets("file:///a@b/c") == "file:///a@b/c"


def test_processes_of_one_number_on_two_machines_do_not_meet(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache may lie on a shared disk: there a process number says nothing."""
    calls: list[str] = []
    bring = remote._bring

    def meanwhile(*given: Any) -> None:
        calls.append(given[1])
        if len(calls) == 2:  # another begins as the first file is here
            with pytest.raises(DownloadNeeded):
                local_index(there.as_uri())
        elif len(calls) == 3:  # and the store refuses it
            raise DownloadNeeded("Not now.")
        bring(*given)

    monkeypatch.setattr(remote, "_bring", meanwhile)
    here = local_index(there.as_uri())
    assert read_manifest(current_generation(here)).rows == 1
    assert [path.name for path in here.parent.iterdir()] == [here.name]


def test_what_is_brought_may_be_read_by_whom_the_umask_allows(there: Path) -> None:
    before = os.umask(0o022)
    try:
        assert stat.S_IMODE(local_index(there.as_uri()).stat().st_mode) == 0o755
    finally:
        os.umask(before)


def test_what_killed_processes_left_is_swept_after_a_day(there: Path) -> None:
    folder = local_index(there.as_uri()).parent
    for name, hours in (("old", 25), ("new", 23), ("busy", 25)):
        partial = folder / f"{name}.partial"
        (partial / "x").mkdir(parents=True)
        then = time.time() - hours * 3600
        for path in (partial / "x", partial):
            os.utime(path, (then, then))
    (folder / "busy.partial" / "x" / "just.bin").write_bytes(b"")
    shutil.rmtree(there)
    make(there, b"two")
    local_index(there.as_uri())
    assert sorted(path.name for path in folder.glob("*.partial")) == ["busy.partial", "new.partial"]


def test_a_full_disk_here_is_not_held_against_the_network(
    there: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(UsageError, match=r"cannot be kept in .*No space left on device.*PRICE_CACHE"):
            local_index(there.as_uri())
    cache.mkdir(exist_ok=True)
    shutil.rmtree(cache)
    cache.write_text("a file")
    with pytest.raises(UsageError, match="cannot be kept in"):
        local_index(there.as_uri())
