"""Write and check the manifest: how a generation was made, and the hash of every file of it.

`manifest.json` is written last and checked first. It says how the generation was made and holds the sha256 of every
other file, because none of the libraries that read those files would notice a flipped bit; and it holds a checksum of
itself, because a setting can be flipped as well. JSON alone: nothing is executed by reading it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from index.embedding.columns import EncoderRecord
from index.errors import IndexUnusable
from index.files import sha256_file
from index.storage.layout import MANIFEST, entry_of

FORMAT = 4
_AGAIN = "build the index again with `price build-index`"
_HASHERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Record of how a generation was made. `settings` holds any JSON; `files` maps relative path to sha256."""

    format: int = FORMAT
    engine_version: str
    created: str
    """UTC, ISO 8601."""
    rows: int
    rejected: int
    currency: str
    encoders: tuple[EncoderRecord, ...]
    settings: dict[str, Any]
    further: tuple[str, ...] = ()
    """Further columns of the items, which every item to price is read by: `category:NAME` and `number:NAME`."""
    files: dict[str, str] = field(default_factory=dict)


def write_manifest(folder: Path, manifest: Manifest, hashed: Mapping[str, str] = MappingProxyType({})) -> Manifest:
    """Hash every file below `folder` and write the manifest, last. Returns it with `files` filled in.

    Each must be known to the layout. `hashed` holds the sha256 of files that need not be read again: links to what was
    checked a moment ago.
    """
    paths = [path for path in _files(folder) if path != MANIFEST]
    for path in paths:
        entry_of(path)
    files = {**_hash_files(folder, [path for path in paths if path not in hashed]), **hashed}
    assert files.keys() == set(paths), f"hashed but not in {folder}: {sorted(files.keys() - set(paths))}"
    complete = replace(manifest, files={path: files[path] for path in paths})
    document = json.loads(json.dumps(asdict(complete), allow_nan=False))  # as a reader will see it
    document["checksum"] = _checksum(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
    return complete


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest and check every file against it. IndexUnusable names what is wrong and what to do."""
    document = _read_document(folder)
    made = document.get("format")
    if made != FORMAT or isinstance(made, bool):
        raise IndexUnusable(
            f"The index at {folder} is of format {made!r:.20}, and this version reads format {FORMAT}: {_AGAIN}, "
            "or use the version of price that made it."
        )
    manifest = _parse(folder, document)
    _check_files(folder, manifest.files)
    return manifest


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise IndexUnusable(f"The index at {folder} is half-built (it has no {MANIFEST}): {_AGAIN}.") from None
    except OSError as error:
        raise IndexUnusable(f"{folder / MANIFEST} cannot be read ({error.strerror}): {_AGAIN}.") from error
    except (ValueError, RecursionError) as error:
        raise IndexUnusable(f"{folder / MANIFEST} is damaged (it is not JSON): {_AGAIN}.") from error
    if not isinstance(document, dict):
        raise IndexUnusable(f"{folder / MANIFEST} is damaged (it is no JSON object): {_AGAIN}.")
    return document


def _parse(folder: Path, document: dict[str, Any]) -> Manifest:
    """Refuse unknown and missing keys by name, then anything that is not what was written."""
    where = f"{folder / MANIFEST}"
    known = {item.name for item in fields(Manifest)} | {"checksum"}
    if unknown := sorted(document.keys() - known):
        raise IndexUnusable(f"{where} has the unknown key {unknown[0][:40]!r}: {_AGAIN}.")
    if missing := sorted(known - document.keys()):
        raise IndexUnusable(f"{where} lacks the key {missing[0]!r}: {_AGAIN}.")
    body = {key: value for key, value in document.items() if key != "checksum"}
    if document["checksum"] != _checksum(body):
        raise IndexUnusable(f"{where} has changed since the index was built: {_AGAIN}.")
    encoders = tuple(EncoderRecord(**record) for record in body.pop("encoders"))  # the checksum vouches for the shape
    return Manifest(encoders=encoders, further=tuple(body.pop("further")), **body)


def _check_files(folder: Path, recorded: Mapping[str, str]) -> None:
    """Refuse a folder whose files, or their bytes, are not those recorded."""
    present = {path for path in _files(folder) if path != MANIFEST}
    if missing := sorted(recorded.keys() - present):
        raise IndexUnusable(f"{folder / missing[0]} is missing from the index: {_AGAIN}.")
    if extra := sorted(present - recorded.keys()):
        raise IndexUnusable(f"{folder / extra[0]} is no part of the index: remove it, or {_AGAIN}.")
    try:
        found = _hash_files(folder, sorted(present))
    except OSError as error:
        raise IndexUnusable(f"{error.filename} cannot be read ({error.strerror}): {_AGAIN}.") from error
    for path in sorted(present):
        if found[path] != recorded[path]:
            raise IndexUnusable(f"{folder / path} has changed since the index was built: {_AGAIN}.")


def _files(folder: Path) -> list[str]:
    """Relative paths, with forward slashes, of all that is not a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _hash_files(folder: Path, paths: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor(_HASHERS) as pool:  # hashlib lets go of the interpreter while it hashes
        return dict(zip(paths, pool.map(lambda path: sha256_file(folder / path), paths), strict=True))


def _checksum(document: dict[str, Any]) -> str:
    """Hash (sha256) of the document in one fixed spelling, so that white space and the order of keys do not count."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
