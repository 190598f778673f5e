"""The manifest: what a generation is made of, and whether it is still what was built."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.catalogue.shared_lines import SharedLines
from index.embedding.columns import EncoderRecord
from index.errors import IndexUnusable
from index.storage.manifest import MANIFEST, Manifest, read_manifest, write_manifest

FILES = {
    "models/gated-0.safetensors": b"weights" * 99,
    "items.lance/data/0.lance": bytes(range(256)),
    "report.json": b"{}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def made(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "engine_version": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "rows": 7,
        "rejected": 2,
        "currency": "USD",
        "encoders": (EncoderRecord("vector_minilm", "minilm", "abc123", 384),),
        "settings": {
            "correction": {"k": 32, "band": 0.35, "decay": 2.5},
            "folds": 5,
            "preset": None,
            "heads": ["gated"],
        },
    }
    return Manifest(**{**values, **changes})


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of the manifest as a hand would, without the checksum."""
    document = json.loads((folder / MANIFEST).read_text())
    document.update(changes)
    (folder / MANIFEST).write_text(json.dumps({key: value for key, value in document.items() if value != "drop"}))


def sign(folder: Path) -> None:
    """Put the right checksum on a changed manifest, as another program would that knows the recipe."""
    document = json.loads((folder / MANIFEST).read_text())
    document.pop("checksum", None)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    edit(folder, checksum=hashlib.sha256(text.encode()).hexdigest())


def test_what_is_written_is_what_is_read(folder: Path) -> None:
    written = write_manifest(folder, made(shared_lines=("free delivery", "only today"), shared_lines_kept=True))
    assert read_manifest(folder) == written
    assert read_manifest(folder).shared == SharedLines(frozenset(("free delivery", "only today")), kept=True)
    assert written.settings == made().settings
    assert written.encoders == made().encoders


def test_every_other_file_is_hashed_by_its_relative_path(folder: Path) -> None:
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert write_manifest(folder, made()).files == expected
    assert list(json.loads((folder / MANIFEST).read_text())["files"]) == sorted(expected)


def test_the_manifest_can_be_written_again_over_itself(folder: Path) -> None:
    write_manifest(folder, made())
    assert MANIFEST not in write_manifest(folder, made(rows=8)).files
    assert read_manifest(folder).rows == 8


def test_settings_that_are_not_json_are_our_mistake_and_write_nothing(folder: Path) -> None:
    for value in (float("nan"), float("inf"), folder):
        with pytest.raises((ValueError, TypeError)):
            write_manifest(folder, made(settings={"alpha": value}))
    assert not (folder / MANIFEST).exists()


def test_settings_with_tuples_and_whole_number_keys_pass_their_own_checksum(folder: Path) -> None:
    write_manifest(folder, made(settings={"widths": (512, 256), 10: "ten", 9: "nine", "label": "€"}))
    assert read_manifest(folder).settings == {"widths": [512, 256], "10": "ten", "9": "nine", "label": "€"}


def test_spelling_the_same_json_otherwise_is_no_change(folder: Path) -> None:
    written = write_manifest(folder, made())
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(dict(reversed(document.items())), indent=7))
    assert read_manifest(folder) == written


def test_another_format_is_refused_before_anything_else_is_looked_at(folder: Path) -> None:
    for other in (4, 2, 1, 0, "2", "5", None, True, [1], "\x1b[31m" * 50):
        write_manifest(folder, made())
        edit(folder, format=other, novelty="of another format")
        with pytest.raises(
            IndexUnusable, match=r"is of format .* this version reads format 8: .*price build-index"
        ) as caught:
            read_manifest(folder)
        assert "\x1b" not in str(caught.value)


def test_a_folder_without_a_manifest_is_half_built(folder: Path) -> None:
    with pytest.raises(IndexUnusable, match=r"half-built.*price build-index"):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff\xfe", b"[1]", b"null", b'"x"', b"[" * 100_000, b"1" * 5000])
def test_a_manifest_that_is_no_json_object_is_damaged(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(IndexUnusable, match=r"manifest\.json is damaged.*price build-index"):
        read_manifest(folder)


def test_a_manifest_that_cannot_be_opened_is_refused(folder: Path) -> None:
    (folder / MANIFEST).mkdir()
    with pytest.raises(IndexUnusable, match=r"manifest\.json cannot be read \(is a folder, not a file\)"):
        read_manifest(folder)


def test_an_unknown_key_is_refused_by_name_even_if_the_checksum_is_right(folder: Path) -> None:
    write_manifest(folder, made())
    edit(folder, colour="red")
    sign(folder)
    with pytest.raises(IndexUnusable, match="unknown key 'colour'"):
        read_manifest(folder)


@pytest.mark.parametrize("key", ["rows", "currency", "encoders", "files", "settings", "checksum"])
def test_a_missing_key_is_refused_by_name(folder: Path, key: str) -> None:
    write_manifest(folder, made())
    edit(folder, **{key: "drop"})
    with pytest.raises(IndexUnusable, match=f"lacks the key '{key}'"):
        read_manifest(folder)


def test_a_setting_changed_by_hand_is_refused(folder: Path) -> None:
    write_manifest(folder, made())
    edit(folder, settings={"correction": {"k": 33}})
    with pytest.raises(IndexUnusable, match=r"manifest\.json has changed since the index was built.*price build-index"):
        read_manifest(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_any_file_is_refused_and_the_file_named(folder: Path, name: str) -> None:
    write_manifest(folder, made())
    content = bytearray(FILES[name])
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(IndexUnusable, match=f"{name} has changed since the index was built.*price build-index"):
        read_manifest(folder)


def test_a_flipped_bit_in_the_manifest_never_changes_what_is_read(folder: Path) -> None:
    written = write_manifest(folder, made())
    whole = (folder / MANIFEST).read_bytes()
    chance = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.integers(len(damaged))] ^= 1 << int(chance.integers(8))
        (folder / MANIFEST).write_bytes(damaged)
        try:
            assert read_manifest(folder) == written
        except IndexUnusable:
            refused += 1
    assert refused > 290


def test_a_missing_file_is_named(folder: Path) -> None:
    write_manifest(folder, made())
    (folder / "report.json").unlink()
    with pytest.raises(IndexUnusable, match=r"report\.json is missing from the index.*price build-index"):
        read_manifest(folder)


def test_a_file_too_many_is_named(folder: Path) -> None:
    write_manifest(folder, made())
    (folder / "models" / "extra.txt").write_text("tree")
    with pytest.raises(IndexUnusable, match=r"models/extra\.txt is no part of the index: remove it"):
        read_manifest(folder)


WRONG = {
    "rows": [-1, 2.5, "7", None, True, 1e300, 2**40],
    "rejected": [-1, None],
    "currency": [7, None],
    "created": [None],
    "settings": [[], None],
    "shared_lines": [{}, None, "free delivery", [7], ["free delivery"] * 2, ["Free delivery"], ["free  delivery"]],
    "shared_lines_kept": [None, 1, "true"],
    "files": [[], {"report.json": "0" * 63}, {"report.json": 7}, {"/etc/hostname": "0" * 64}, {"colours": "0" * 64}],
    "encoders": [
        {},
        [7],
        [{"column": "vector_minilm"}],
        [{"column": "c", "name": "n", "identity": "i", "dim": 0, "finetuned_rows": 0}],
        [{"column": "c", "name": "n", "identity": "i", "dim": 2.5, "finetuned_rows": 0}],
        [{"column": "c", "name": "n", "identity": 3, "dim": 8, "finetuned_rows": 0}],
        [{"column": "c", "name": "n", "identity": "i", "dim": 8, "finetuned_rows": -1}],
        [{"column": "c", "name": "n", "identity": "i", "dim": 8, "finetuned_rows": 0}] * 2,
    ],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_that_no_build_writes_is_refused_under_a_right_checksum(folder: Path, key: str, value: Any) -> None:
    write_manifest(folder, made())
    edit(folder, **{key: value})
    sign(folder)
    with pytest.raises(IndexUnusable, match=r"manifest\.json is damaged \(.+\): build the index again") as refused:
        read_manifest(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_no_json(folder: Path, number: str) -> None:
    write_manifest(folder, made())
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("2.5", number))
    with pytest.raises(IndexUnusable, match=rf"manifest\.json is damaged \(it holds {number}, which is no number\)"):
        read_manifest(folder)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_fifo_in_the_place_of_a_file_is_refused_and_nobody_waits(folder: Path, name: str) -> None:
    write_manifest(folder, made())
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(IndexUnusable, match=rf"{name} cannot be read \(is a FIFO, not a file\)"):
        read_manifest(folder)


def test_a_manifest_without_end_is_not_read_to_its_end(folder: Path) -> None:
    write_manifest(folder, made())
    with (folder / MANIFEST).open("ab") as file:
        file.truncate(2**40)  # which takes no room
    with pytest.raises(IndexUnusable, match=r"manifest\.json is damaged \(it has over .* bytes\)"):
        read_manifest(folder)


def test_a_link_to_a_file_of_the_right_bytes_is_that_file(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Stores that keep every content once put links in the places of files."""
    written, kept = write_manifest(folder, made()), tmp_path_factory.mktemp("kept") / "report"
    (folder / "report.json").rename(kept)
    (folder / "report.json").symlink_to(kept)
    assert read_manifest(folder) == written
    kept.write_text("[]")
    with pytest.raises(IndexUnusable, match=r"report\.json has changed"):
        read_manifest(folder)


def test_a_file_replaced_by_a_folder_or_a_dangling_link_is_refused(folder: Path) -> None:
    write_manifest(folder, made())
    (folder / "report.json").unlink()
    (folder / "report.json").mkdir()
    with pytest.raises(IndexUnusable, match=r"report\.json is missing"):
        read_manifest(folder)
    (folder / "report.json").rmdir()
    (folder / "report.json").symlink_to(folder / "nowhere")
    with pytest.raises(IndexUnusable, match=r"report\.json cannot be read"):
        read_manifest(folder)


def test_a_path_that_leads_out_of_the_folder_is_never_opened(folder: Path) -> None:
    write_manifest(folder, made())
    edit(folder, files={"../../etc/hostname": "0" * 64})
    sign(folder)
    with pytest.raises(
        IndexUnusable, match=r"manifest\.json is damaged \('../../etc/hostname' is no file of an index\)"
    ):
        read_manifest(folder)
