"""Caveats that a score must be read with: sentences, none where there is nothing to say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.evaluation.tuning_record import read_record
from engine.finetune.provenance import finetuned_notes, notes_on_file
from index.storage.items_table import ItemStore

if TYPE_CHECKING:
    import pyarrow as pa

    from index.arrays import Int64
    from index.catalogue.items import Catalogue
    from index.storage.manifest import Manifest


def caveats_out_of_fold(folder: Path, manifest: Manifest, added: int = 0) -> tuple[str, ...]:
    """Caveats of the score of a generation's rows; `added` of them since the build are not scored."""
    notes = [*finetuned_notes(manifest.encoders), *_on_tuning(folder), *_on_age(manifest)]
    if added:  # to score one takes models that saw neither its fold nor a neighbour's, which a build does not keep
        notes.append(f"{added:,} rows were added since the build: they correct prices, and are not scored here.")
    return tuple(notes)


def _on_age(manifest: Manifest) -> tuple[str, ...]:
    if manifest.settings.get("half_life") is None:
        return ()
    besides = ", but for the member finetuned" if "finetuned" in manifest.settings.get("members", ()) else ""
    return (
        f"With a half-life of {manifest.settings['half_life']:g} days, old prices count less in all that is fitted"
        f"{besides}; in this score and its coverage all rows count the same.",
    )


def _on_tuning(folder: Path) -> tuple[str, ...]:
    record = read_record(folder)
    if record is None:
        return ()
    return (
        f"`price tune` chose {', '.join(record['what'])} on these rows, which flatters this figure; with the choice "
        f"made anew for each fold it was {record['cross_fitted']['smape']:.2f}.",
    )


def note_on_left_out(read: Catalogue, used: int, done: str) -> tuple[str, ...]:
    """Return a sentence on the rows of a file beyond those `used`, if any, which are not `done` (scored, compared)."""
    left_out = len(read.rejects) + read.items.num_rows - used
    return (f"{left_out:,} rows of the file cannot be used and are not {done}.",) if left_out else ()


def caveats_on_file(folder: Path, manifest: Manifest, items: pa.Table, groups: Int64) -> tuple[str, ...]:
    """Caveats of a labelled file's score: its scored `items` (schema `ITEMS`), their duplicate groups."""
    notes = []
    known = set(ItemStore.open(folder, manifest).items(["text"])["text"].to_pylist())
    seen = sum(text in known for text in items["text"].to_pylist())
    if seen:
        notes.append(
            f"{seen:,} items stand word for word in the index: the models know their prices, so this flatters."
        )
    return (*notes, *notes_on_file(manifest.encoders, items, groups))
