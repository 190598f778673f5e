"""Duplicate group and fold of rows that are added after the build.

The stored residual of a row must come from models that were not trained on its price. The models of a fold were trained
on every row of the other folds, so an added row with a near-duplicate that the build learned from takes the group and
fold of that row, also where it has since been removed: the models keep what they learned. Rows without such a
near-duplicate take, together with those added rows that are near-duplicates of theirs, the place of the first one whose
id was known. New groups go to the folds that hold the fewest rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.folds import MOST_FOLDS
from index.arrays import Int8, Int64
from index.catalogue.duplicates import LINKS, duplicate_groups
from index.contents import expect, loading
from index.storage.layout import REMOVED_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

KNOWN_BY = ("item_id", *LINKS, "group")
"""Columns by which a row's near-duplicates are found."""


def assign_group_and_fold(known: pa.Table, known_fold: Int8, added: pa.Table, folds: int) -> tuple[Int64, Int8]:
    """(n,) group and (n,) fold of the rows `added`; both tables have the columns KNOWN_BY, `added` but for the group.

    `known` (m,) are the rows of the index, and removed rows that the models were trained on, with their `known_fold`.
    A row that bridges two groups joins the one that came first, and models that were trained on prices of the other
    predict it; a row of which nothing but the price is new stays where it was.
    """
    ids, *keys = (known[column].to_pylist() + added[column].to_pylist() for column in KNOWN_BY[:-1])
    component = duplicate_groups(*keys)
    own = component[known.num_rows :]
    rows = list(zip(ids, *keys[:2], strict=True))  # id, name, photograph: a content may be unknown today
    by_row, by_id = _first(rows[: known.num_rows]), _first(ids[: known.num_rows])
    by_group = _first(component[: known.num_rows].tolist())
    new = list(zip(rows[known.num_rows :], own.tolist(), strict=True))
    for row, group in new:  # near-duplicates of no known row stay together where the first known id was
        if (place := by_row.get(row, by_id.get(row[0]))) is not None:
            by_group.setdefault(group, place)
    like = np.array([by_row.get(row, by_group.get(group, -1)) for row, group in new], np.int64)
    known_group = known["group"].to_numpy()
    group, fold = known_group[like], known_fold[like]
    fresh = np.flatnonzero(like < 0)
    if len(fresh):
        held = np.bincount(np.concatenate([known_fold, fold[like >= 0]]), minlength=folds)
        numbered, size = np.unique(own[fresh], return_inverse=True, return_counts=True)[1:]
        group[fresh] = known_group.max() + 1 + numbered
        fold[fresh] = _least_filled(size, held)[numbered]
    return group, fold


def _first(keys: list[Any]) -> dict[Any, int]:
    """The first row of each key."""
    place: dict[Any, int] = {}
    for row, key in enumerate(keys):
        place.setdefault(key, row)
    return place


def _least_filled(size: Int64, held: Int64) -> Int8:
    """A fold for each group, the largest first; of folds that hold as much, the first."""
    held, fold = held.copy(), np.empty(len(size), np.int8)
    for group in np.argsort(-size, kind="stable"):
        fold[group] = held.argmin()
        held[fold[group]] += size[group]
    return fold


def read_removed(folder: Path) -> pa.Table | None:
    """Rows that the models were trained on and that were removed: KNOWN_BY and `fold`; None where there are none.

    IndexUnusable for contents that no update writes.
    """
    import pyarrow.parquet as pq

    if not (folder / REMOVED_ROWS).exists():
        return None
    with loading(folder / REMOVED_ROWS):
        removed = pq.read_table(folder / REMOVED_ROWS)
        expect(removed.column_names == [*KNOWN_BY, "fold"], "it has other columns")
        fold = removed["fold"].to_numpy()
        expect(removed["fold"].null_count == 0 and ((fold >= 0) & (fold < MOST_FOLDS)).all(), "a fold is out of range")
        return removed


def write_removed(folder: Path, before: pa.Table | None, removed: pa.Table) -> None:
    """Add rows to those that were removed before; no file where there are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    everything = pa.concat_tables([removed] if before is None else [before, removed])
    if everything.num_rows:
        pq.write_table(everything, folder / REMOVED_ROWS)
