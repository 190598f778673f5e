"""Rows that an encoder was fine-tuned on, recognised where they come up again.

An encoder that was fine-tuned on a row knows its price, and its near-duplicates': what is then scored "out of fold" is
not. Such an index may still be wanted for its queries, so nothing is refused; but the number of rows concerned is kept
in the manifest, and every evaluation says it.

A row is known by its *keys*: hashes of what makes near-duplicates of rows (`engine.folds`), and of its text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.finetune.workspace import FINETUNE
from index.catalogue.duplicates import duplicate_keys
from index.catalogue.fields import name_key
from index.encoders import weights_path

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from index.arrays import Int64
    from index.embedding.columns import EncoderRecord

RECORD_HASH = "finetune"  # the key of the weights' metadata that holds the sha256 of FINETUNE
KEY_DIGITS = 16  # of a hash, in hexadecimal


@dataclass(frozen=True)
class Provenance:
    """Record that a fine-tuned encoder carries of the rows it was trained on."""

    keys: frozenset[str] | None  # of the rows that it, or what it started from, was trained on; None if unknown

    def rows(self, keys: Sequence[set[str]], groups: Int64) -> int | None:
        """Number of these rows it was trained on, themselves or a near-duplicate; None where that cannot be known."""
        if self.keys is None:
            return None
        trained_on = {group for own, group in zip(keys, groups.tolist(), strict=True) if own & self.keys}
        return int(np.isin(groups, list(trained_on)).sum())


def row_keys(items: pa.Table, fingerprints: Sequence[str | None] | None = None) -> list[set[str]]:
    """(n,) the keys of items of schema `ITEMS`; `fingerprints` of their photographs' contents, where they are known."""
    names = [name_key(name) for name in items["name"].to_pylist()]
    kinds = dict(
        zip(
            ("name", "photograph", "content"),
            duplicate_keys(names, items["image"].to_pylist(), fingerprints),
            strict=True,
        )
    )
    kinds["text"] = [" ".join(text.split()) for text in items["text"].to_pylist()]
    keys: list[set[str]] = [set() for _ in names]
    for kind, values in kinds.items():
        for own, value in zip(keys, values, strict=True):
            if value:
                own.add(_hashed(kind, value))
    return keys


def read_provenance(encoder: str) -> Provenance | None:
    """Read the provenance of NAME@PATH; None for an encoder that was not fine-tuned by this engine."""
    path = weights_path(encoder)
    if path is None:
        return None
    folder, weights = (path.parent, path) if path.is_file() else (path, path / "model.safetensors")
    digest = _digest_in(weights)
    try:
        written = (folder / FINETUNE).read_bytes()
        keys = json.loads(written)["keys"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Provenance(None) if digest or (folder / FINETUNE).exists() else None
    if digest != hashlib.sha256(written).hexdigest():
        return Provenance(None)
    return Provenance(None if keys is None else frozenset(keys))


def with_inherited(keys: set[str], encoders: Sequence[str]) -> list[str] | None:
    """`keys`, and those that the `encoders` it starts from were trained on before; None where one cannot tell."""
    before = [provenance.keys for provenance in map(read_provenance, encoders) if provenance]
    known = [trained_on for trained_on in before if trained_on is not None]
    return sorted(keys.union(*known)) if len(known) == len(before) else None


def mark_finetuned(
    records: Sequence[EncoderRecord], items: pa.Table, fingerprints: Sequence[str | None] | None, groups: Int64
) -> tuple[EncoderRecord, ...]:
    """The records of a build, each with the number of its rows that its encoder was trained on."""
    provenances = {record.name: read_provenance(record.name) for record in records}
    if not any(provenances.values()):
        return tuple(records)
    keys = row_keys(items, fingerprints)
    rows = {name: provenance.rows(keys, groups) if provenance else 0 for name, provenance in provenances.items()}
    return tuple(replace(record, finetuned_rows=rows[record.name]) for record in records)


def finetuned_notes(records: Sequence[EncoderRecord], where: str = "rows of this index") -> tuple[str, ...]:
    """Warnings for a score over the rows `where`: a sentence for each encoder that was trained on some of them."""
    concerned = {record.name: record.finetuned_rows for record in records if record.finetuned_rows != 0}
    return tuple(_note(name, rows, where) for name, rows in concerned.items())


def notes_on_file(records: Sequence[EncoderRecord], items: pa.Table, groups: Int64) -> tuple[str, ...]:
    """The same for a labelled file that is priced as queries: items of schema `ITEMS`, and their duplicate groups."""
    marked = mark_finetuned([replace(record, finetuned_rows=0) for record in records], items, None, groups)
    return finetuned_notes(marked, "rows of this file")


def _note(encoder: str, rows: int | None, where: str) -> str:
    if rows is None:
        return (
            f"{encoder} was fine-tuned, on what cannot be told ({FINETUNE} beside it, or beside what it was tuned "
            f"from, is missing or was changed): if on {where}, this score is flattered."
        )
    return (
        f"{encoder} was fine-tuned on {rows:,} {where} (on them or their near-duplicates), so this score is flattered: "
        "the member finetuned, which is fine-tuned inside the folds, gives an honest one."
    )


def _hashed(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}\0{value}".encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]


def _digest_in(weights: Path) -> str | None:
    """SHA-256, kept in the weights, of the record that belongs to them; None where they are not ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, "np") as file:
            digest = (file.metadata() or {}).get(RECORD_HASH)
    except (SafetensorError, OSError):
        return None  # refused, with its reason, where it is opened as an encoder
    return digest if isinstance(digest, str) else None
