"""Indexes by S3's own protocol, from a server on this machine: what can go wrong on the way, and what it ends in.

The long form is benchmarks/prove/object_store.py, with a real server.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Fault, FaultyServer, of_folder

from index.embedding.columns import EncoderRecord
from index.errors import DownloadNeeded, IndexUnusable, PriceError
from index.storage.manifest import Manifest, write_manifest
from index.storage.remote import local_index

Uri = Callable[[Fault | None], str]
SECRET = "key-of-nobody"


def named(value: object) -> str | None:
    return f"{value.kind} {value.path}" if isinstance(value, Fault) else None


def make(index: Path, name: str, content: bytes) -> None:
    """An index of two files in the place of what is there."""
    shutil.rmtree(index, ignore_errors=True)
    (index / name / "models").mkdir(parents=True)
    (index / name / "models" / "a.txt").write_bytes(content)
    (index / name / "report.json").write_bytes(content * 3)
    about: dict[str, Any] = {"rows": 1, "rejected": 0, "currency": "USD", "settings": {}, "engine_version": "1"}
    record = EncoderRecord("vector_x", "x", "x", 3)
    write_manifest(index / name, Manifest(encoders=(record,), created="now", **about))
    (index / "CURRENT").write_text(f"{name}\n")


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    make(tmp_path / "bucket" / "index", "gen-000001", b"one of the texts")
    return tmp_path / "bucket"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRICE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "indexes"


@pytest.fixture
def uri(bucket: Path, cache: Path) -> Iterator[Uri]:
    """The index's URI, on a server with a fault."""
    server = FaultyServer(of_folder(bucket))
    place = f"scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{server.server_port}"

    def with_fault(fault: Fault | None) -> str:
        server.fault = fault
        return f"s3://nobody:{SECRET}@bucket/index?{place}"

    yield with_fault
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault("503", "report.json", times=1),
        Fault("cut", "a.txt", times=1),
        Fault("reset", "CURRENT", times=1),
    ],
    ids=named,
)
def test_an_index_is_brought_whole_where_what_went_wrong_passes(fault: Fault | None, uri: Uri, bucket: Path) -> None:
    here = local_index(uri(fault))
    there = bucket / "index"
    files = [path.relative_to(there) for path in there.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file()) == sorted(files)
    assert all((here / path).read_bytes() == (there / path).read_bytes() for path in files)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("403", "CURRENT"), DownloadNeeded),
        (Fault("403", "a.txt"), DownloadNeeded),
        (Fault("404", "CURRENT"), IndexUnusable),
        (Fault("404", "manifest.json"), IndexUnusable),
        (Fault("404", "a.txt"), IndexUnusable),
        (Fault("flip", "CURRENT"), IndexUnusable),
        (Fault("flip", "report.json"), IndexUnusable),
    ],
    ids=named,
)
def test_what_does_not_pass_is_refused_in_one_sentence_and_leaves_nothing(
    fault: Fault, error: type[PriceError], uri: Uri, cache: Path
) -> None:
    with pytest.raises(error) as refused:
        local_index(uri(fault))
    assert "\n" not in str(refused.value) and SECRET not in str(refused.value)
    assert list(cache.glob("*/*")) == []


@pytest.mark.parametrize("name", ["gen-000001", "gen-000002"])
@pytest.mark.parametrize("path", ["manifest.json", "a.txt", "report.json"])
def test_an_index_that_changes_on_the_way_is_brought_as_it_is_then(
    path: str, name: str, uri: Uri, bucket: Path, cache: Path
) -> None:
    """At any of its files; by a later generation, or by another index whose generations have the same names."""
    hook = Fault("hook", path, times=1, hook=lambda: make(bucket / "index", name, b"another text"))
    here = local_index(uri(hook))
    assert (here / name / "models" / "a.txt").read_bytes() == b"another text"
    assert [folder.name for folder in cache.glob("*/*")] == [here.name]
