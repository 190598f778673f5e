"""Write and check the manifest: how a generation was made, and the hash of every file of it.

`manifest.json` is written last and checked first. It says how the generation was made and holds the sha256 of every
other file, because none of the libraries that read those files would notice a flipped bit; and it holds a checksum of
itself, because a setting can be flipped as well. JSON alone: nothing is executed by reading it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from index.catalogue.fields import first_line_key
from index.catalogue.further import CATEGORY, NUMBER
from index.catalogue.shared_lines import SharedLines
from index.contents import AGAIN, MOST_JSON, expect, loading, parse_json, whole
from index.embedding.columns import VECTOR_PREFIX, EncoderRecord
from index.errors import IndexUnusable
from index.files import open_regular, sha256_files
from index.shortage import shortage
from index.storage.layout import MANIFEST, entry_of, is_file_of_generation

FORMAT = 8
MOST_ROWS = 2**31 - 1
MOST_NUMBERS = 2**20  # of a vector
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    shared_lines: tuple[str, ...] = ()
    """First lines of texts that are no names, as `SharedLines` has them, sorted."""
    shared_lines_kept: bool = False
    """Whether they stand in the texts, below the names."""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        """Modality -> how many numbers its vectors have."""
        return {record.column.removeprefix(VECTOR_PREFIX): record.dim for record in self.encoders}

    @property
    def shared(self) -> SharedLines:
        """First lines of texts that are no names."""
        return SharedLines(frozenset(self.shared_lines), self.shared_lines_kept)


def write_manifest(folder: Path, manifest: Manifest, hashed: Mapping[str, str] = MappingProxyType({})) -> Manifest:
    """Hash every file below `folder` and write the manifest, last. Returns it with `files` filled in.

    Each must be known to the layout. `hashed` holds the sha256 of files that need not be read again: links to what was
    checked a moment ago.
    """
    paths = [path for path in _files(folder) if path != MANIFEST]
    for path in paths:
        entry_of(path)
    files = {**sha256_files(folder, [path for path in paths if path not in hashed]), **hashed}
    assert files.keys() == set(paths), f"hashed but not in {folder}: {sorted(files.keys() - set(paths))}"
    complete = replace(manifest, files={path: files[path] for path in paths})
    document = json.loads(json.dumps(asdict(complete), allow_nan=False))  # as a reader will see it
    document["checksum"] = _checksum(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
    return complete


def read_manifest(folder: Path, *, files: bool = True) -> Manifest:
    """Read the manifest and check every file against it. IndexUnusable names what is wrong and what to do.

    Without `files` these are not looked at: for who reads nothing else of the index yet.
    """
    document = _read_document(folder)
    made = document.get("format")
    if not whole(made, FORMAT, FORMAT):
        raise IndexUnusable(
            f"The index at {folder} is of format {made!r:.20}, and this version reads format {FORMAT}: {AGAIN}, "
            "or use the version of price that made it."
        )
    manifest = _parse(folder, document)
    if files:
        _check_files(folder, manifest.files)
    return manifest


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        with open_regular(folder / MANIFEST) as file:
            text = file.read(MOST_JSON + 1)
    except FileNotFoundError:
        raise IndexUnusable(f"The index at {folder} is half-built (it has no {MANIFEST}): {AGAIN}.") from None
    except OSError as error:
        if shortage(error):
            raise
        raise IndexUnusable(f"{folder / MANIFEST} cannot be read ({error.strerror}): {AGAIN}.") from error
    with loading(folder / MANIFEST):
        expect(len(text) <= MOST_JSON, f"it has over {MOST_JSON:,} bytes")
        return parse_json(text)


def _parse(folder: Path, document: dict[str, Any]) -> Manifest:
    """Refuse unknown and missing keys by name, then anything that is not what was written."""
    where = f"{folder / MANIFEST}"
    known = {item.name for item in fields(Manifest)} | {"checksum"}
    if unknown := sorted(document.keys() - known):
        raise IndexUnusable(f"{where} has the unknown key {unknown[0][:40]!r}: {AGAIN}.")
    if missing := sorted(known - document.keys()):
        raise IndexUnusable(f"{where} lacks the key {missing[0]!r}: {AGAIN}.")
    body = {key: value for key, value in document.items() if key != "checksum"}
    with loading(folder / MANIFEST):
        if document["checksum"] != _checksum(body):
            raise IndexUnusable(f"{where} has changed since the index was built: {AGAIN}.")
        _check_values(body)
        encoders = tuple(EncoderRecord(**record) for record in body.pop("encoders"))
        further, shared = tuple(body.pop("further")), tuple(body.pop("shared_lines"))
        return Manifest(encoders=encoders, further=further, shared_lines=shared, **body)


def _check_values(body: Mapping[str, Any]) -> None:
    """Raise WrongContents for a value that no build writes; what is in `settings` is for who reads settings."""
    for name in ("engine_version", "created", "currency"):
        expect(isinstance(body[name], str), f"{name} is no text")
    for name in ("rows", "rejected"):
        expect(whole(body[name], 0, MOST_ROWS), f"{name} is no number of rows")
    expect(isinstance(body["settings"], dict), "settings are no object")
    expect(isinstance(body["encoders"], list), "encoders are no list")
    for record in body["encoders"]:
        expect(isinstance(record, dict), "an encoder is no object")
        expect(record.keys() == {item.name for item in fields(EncoderRecord)}, "an encoder has other keys")
        expect(all(isinstance(record[name], str) for name in ("column", "name", "identity")), "an encoder has no name")
        expect(whole(record["dim"], 1, MOST_NUMBERS), "an encoder's vectors have no length")
        finetuned = record["finetuned_rows"]
        expect(finetuned is None or whole(finetuned, 0, MOST_ROWS), "finetuned_rows is no number of rows")
    columns = [record["column"] for record in body["encoders"]]
    expect(len(set(columns)) == len(columns), "two encoders have one column")
    expect(isinstance(body["further"], list), "further is no list")
    expect(all(isinstance(name, str) for name in body["further"]), "a further column has no name")
    expect(all(name.startswith((CATEGORY, NUMBER)) for name in body["further"]), "a further column is of no kind")
    expect(len(set(body["further"])) == len(body["further"]), "two further columns have one name")
    shared = body["shared_lines"]
    expect(isinstance(shared, list), "shared_lines is no list")
    expect(all(isinstance(line, str) for line in shared), "a shared line is no text")
    expect(all(line == first_line_key(line) for line in shared), "a shared line is not as it is looked up")
    expect(len(set(shared)) == len(shared), "a shared line comes twice")
    expect(isinstance(body["shared_lines_kept"], bool), "shared_lines_kept is neither true nor false")
    expect(isinstance(body["files"], dict), "files are no object")
    for path, digest in body["files"].items():
        expect(is_file_of_generation(path), f"{path[:60]!r} is no file of an index")
        expect(isinstance(digest, str) and _SHA256.fullmatch(digest), f"{path[:60]!r} has no sha256")


def _check_files(folder: Path, recorded: Mapping[str, str]) -> None:
    """Refuse a folder whose files, or their bytes, are not those recorded."""
    present = {path for path in _files(folder) if path != MANIFEST}
    if missing := sorted(recorded.keys() - present):
        raise IndexUnusable(f"{folder / missing[0]} is missing from the index: {AGAIN}.")
    if extra := sorted(present - recorded.keys()):
        raise IndexUnusable(f"{folder / extra[0]} is no part of the index: remove it, or {AGAIN}.")
    try:
        found = sha256_files(folder, sorted(present))
    except OSError as error:
        if shortage(error):
            raise
        raise IndexUnusable(f"{error.filename} cannot be read ({error.strerror}): {AGAIN}.") from error
    for path in sorted(present):
        if found[path] != recorded[path]:
            raise IndexUnusable(f"{folder / path} has changed since the index was built: {AGAIN}.")


def _files(folder: Path) -> list[str]:
    """Relative paths, with forward slashes, of all that is not a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _checksum(document: dict[str, Any]) -> str:
    """Hash (sha256) of the document in one fixed spelling, so that white space and the order of keys do not count."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
