"""Refusal of parts of an index that do not fit each other: each may be whole, and of another index.

A reader of everything (an update, an evaluation) sees more of them than a query does, and is told more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import STACKER
from engine.settings.read import settings_from
from index.catalogue.settings import IndexColumns
from index.contents import expect, loading
from index.embedding.columns import modalities, vector_column
from index.storage.layout import ITEMS, MANIFEST, OUT_OF_FOLD, REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from engine.ensemble.out_of_fold import OutOfFold
    from engine.ensemble.reference import ReferenceSet
    from engine.settings.schema import Settings
    from index.storage.manifest import Manifest


def index_settings(folder: Path, manifest: Manifest) -> Settings:
    """Read the settings of a generation. IndexUnusable for those that no build takes, or of other encoders."""
    with loading(folder / MANIFEST):
        settings = settings_from(manifest.settings)
        expect(settings.folds is not None, "it has no number of folds")
        columns = sorted(vector_column(modality.name) for modality in modalities(settings.views))
        recorded = sorted(record.column for record in manifest.encoders)
        expect(columns == recorded, "its encoders are not those of its settings")
        return settings


def index_columns(folder: Path, manifest: Manifest) -> IndexColumns:
    """Columns that an index reads of every item. Raises IndexUnusable as `index_settings` does."""
    return IndexColumns(index_settings(folder, manifest).catalogue, manifest.further, manifest.shared)


def expect_reference(folder: Path, reference: ReferenceSet, manifest: Manifest, settings: Settings) -> None:
    """Raise IndexUnusable where the reference set has other rows or folds than the manifest says."""
    with loading(folder / REFERENCE):
        rows, folds = len(reference.fold), settings.folds or 0
        expect(rows == manifest.rows, f"it holds {rows:,} rows, the manifest says {manifest.rows:,}")
        expect(reference.fold.max() < folds, "a fold is out of range")
        aged = settings.half_life is not None
        expect((reference.age_weight is not None) == aged, "its rows count by their age, or are to")


def expect_rows(folder: Path, settings: Settings, reference: ReferenceSet, oof: OutOfFold, items: pa.Table) -> None:
    """Raise IndexUnusable where reference set, predictions and `items` (item_id, group) are not of the same rows."""
    with loading(folder / OUT_OF_FOLD):
        expect(len(oof.fold) == len(reference.fold), f"it holds {len(oof.fold):,} rows of {len(reference.fold):,}")
        expect((oof.fold == reference.fold).all(), "its folds are others")
        expect(
            sorted(oof.members) == sorted(settings.members) and oof.folds == settings.folds, "its members are others"
        )
        if oof.stacked:
            residual = reference.log_price - oof.oof[STACKER]
            expect(
                np.allclose(residual, reference.residual, atol=1e-6), "its predictions are not those of the residuals"
            )
    with loading(folder / ITEMS):
        ids, group = items["item_id"].to_pylist(), items["group"].to_numpy()
        expect(len(set(ids)) == len(ids), "two rows have one id")
        expect(ids == reference.ids(), "its rows are not those of the reference set")
        fold_of_group = dict(zip(group.tolist(), oof.fold.tolist(), strict=True))
        expect([fold_of_group[key] for key in group.tolist()] == oof.fold.tolist(), "a group lies in two folds")
