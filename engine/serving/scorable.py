"""Rows of an index that can be scored out of fold, and what is known of them.

Those that the build learned from. A row that was added since corrects prices, but the models that could score it are
not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.ensemble.out_of_fold import OutOfFold
from engine.ensemble.parts import expect_reference, expect_rows, index_settings
from engine.ensemble.reference import ReferenceSet
from engine.features.inputs import Fields, make_inputs
from engine.features.training_set import TrainingSet
from engine.folds import LEAST_GROUPS_PER_FOLD
from engine.settings.schema import Settings
from index.arrays import Float32, Float64, Int64, rows_of
from index.embedding.columns import modalities
from index.errors import DataRefused
from index.storage.generations import GenerationLease, lease_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class ScorableRows:
    """n rows of the current generation, which stays on the disk while this object lives."""

    lease: GenerationLease
    manifest: Manifest
    settings: Settings
    number: Int64  # (n,) in the catalogue
    oof: OutOfFold
    log_price: Float64  # (n,)
    groups: Int64  # (n,) of near-duplicates
    search_vectors: Float32  # (n, dim) unit rows
    added: int  # rows that cannot be scored
    age_weight: Float64 | None = None  # (n,) what a row counts for in fits; None: all the same

    @property
    def folder(self) -> Path:
        """Folder of the generation."""
        return self.lease.folder

    def fields(self) -> Fields:
        """Read what the n rows' texts say, beside their words."""
        items = ItemStore.open(self.folder, self.manifest).items(["name", "text", "amount", "unit", "pack"])
        return Fields.of(items.take(self.number))

    def training_set(self) -> TrainingSet:
        """The n rows as the models learn from them, from the stored vectors."""
        store = ItemStore.open(self.folder, self.manifest)
        vectors = {column.name: store.vectors(column.name)[self.number] for column in modalities(self.settings.views)}
        inputs = make_inputs(store.items().take(self.number), vectors)
        return TrainingSet(inputs, self.log_price, self.search_vectors, self.groups, self.oof.fold, self.age_weight)


def open_scorable_rows(index_dir: Path) -> ScorableRows:
    """Open the rows of an index. Raises IndexUnusable, and DataRefused where removals left too few rows to score."""
    return scorable_rows(lease_generation(index_dir))


def scorable_rows(lease: GenerationLease) -> ScorableRows:
    """Read the rows of a generation that is held. Raises what `open_scorable_rows` raises."""
    manifest = read_manifest(lease.folder)
    settings = index_settings(lease.folder, manifest)
    reference, oof = ReferenceSet.open(lease.folder), OutOfFold.read(lease.folder)
    expect_reference(lease.folder, reference, manifest, settings)
    items = ItemStore.open(lease.folder, manifest).items(["item_id", "group"])
    expect_rows(lease.folder, settings, reference, oof, items)
    trained = np.flatnonzero(oof.trained)
    groups = items["group"].to_numpy()[trained]
    fold = oof.fold[trained]
    # Enough must be left to fit on some folds and score another.
    if len(np.unique(groups)) < LEAST_GROUPS_PER_FOLD * oof.folds or len(np.unique(fold)) < oof.folds:
        raise DataRefused(
            f"Only {len(groups):,} of the rows are left that the models learned from, which is too few to score out of "
            f"{oof.folds} folds: build the index again with `price build-index`, or give a labelled file."
        )
    return ScorableRows(
        lease,
        manifest,
        settings,
        trained,
        oof.take(trained),
        reference.log_price[trained],
        groups,
        reference.search_vectors()[trained],
        len(oof.fold) - len(trained),
        rows_of(reference.age_weight, trained),
    )
