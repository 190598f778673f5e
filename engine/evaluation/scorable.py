"""Which rows of an index can be scored out of fold, and what is known of them?

Those that the build learned from. A row that was added since corrects prices, but the models that could score it are
not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import read_out_of_fold
from engine.ensemble.stacker import Catalogue
from engine.features.inputs import make_inputs
from engine.lifecycle.build import LEAST_GROUPS_PER_FOLD
from engine.serving.reference import open_comparables
from engine.settings.read import settings_from
from index.embedding.columns import modalities
from index.errors import DataRefused
from index.storage.generations import Hold, hold_current
from index.storage.items_table import ItemStore
from index.storage.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.out_of_fold import OutOfFold
    from engine.ensemble.stacker import Goods
    from engine.settings.schema import Settings


@dataclass(frozen=True)
class ScoredRows:
    """n rows of the generation in force, which stays on the disk while this object lives."""

    hold: Hold
    manifest: Manifest
    settings: Settings
    number: NDArray[np.int64]  # (n,) in the catalogue
    oof: OutOfFold
    goods: Goods
    groups: NDArray[np.int64]  # (n,) of twins
    space: NDArray[np.float32]  # (n, dim) unit rows: what is searched
    added: int  # rows that cannot be scored

    @property
    def folder(self) -> Path:
        """Of the generation."""
        return self.hold.folder

    @property
    def log_price(self) -> NDArray[np.float64]:
        """(n,)."""
        return self.goods.log_price

    def catalogue(self) -> Catalogue:
        """What the models see of the n rows, from the stored vectors, with prices and places."""
        store = ItemStore.open(self.folder)
        vectors = {each.name: store.vectors(each.name)[self.number] for each in modalities(self.settings.views)}
        return Catalogue(make_inputs(store.items().take(self.number), vectors), self.goods, self.space)


def open_scored_rows(index: Path) -> ScoredRows:
    """Raises IndexUnusable, and DataRefused where so many rows were removed that too few are left to score."""
    hold = hold_current(index)
    manifest = read_manifest(hold.folder)
    settings = settings_from(manifest.settings)
    rows, oof = open_comparables(hold.folder), read_out_of_fold(hold.folder)
    trained = np.flatnonzero(oof.trained)
    groups = ItemStore.open(hold.folder).items(["group"])["group"].to_numpy()[trained]
    _refuse_too_few(groups, oof.fold[trained], oof.folds)
    return ScoredRows(
        hold,
        manifest,
        settings,
        trained,
        oof.take(trained),
        rows.goods.take(trained),
        groups,
        rows.space()[trained],
        len(oof.fold) - len(trained),
    )


def _refuse_too_few(groups: NDArray[np.int64], fold: NDArray[np.int8], folds: int) -> None:
    """Of the rows that the build learned from, enough must be left to fit on some folds and score another."""
    if len(np.unique(groups)) < LEAST_GROUPS_PER_FOLD * folds or len(np.unique(fold)) < folds:
        raise DataRefused(
            f"Only {len(groups):,} of the rows are left that the models learned from, which is too few to score out of "
            f"{folds} folds: build the index again with `price build-index`, or give a labelled file."
        )
