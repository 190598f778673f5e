"""Which group of twins and which fold does a row belong to that comes after the build?

Its stored residual must come from models that never saw its price. The models of a fold saw every row of the other
folds, so a newcomer whose twin the build knew takes that twin's group and fold, also where the twin has since been
removed: the models do not forget it. One without a twin that comes under an id that was known takes the place of that
row. Groups that are new go to the folds that hold the fewest rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.catalogue.duplicates import duplicate_groups

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Int8 = NDArray[np.int8]
    Int64 = NDArray[np.int64]

KNOWN_BY = ("item_id", "name_key", "image", "fingerprint", "group")
"""Columns by which a row's twins are found."""
DEPARTED = "departed.parquet"


def settle(known: pa.Table, known_fold: Int8, new: pa.Table, folds: int) -> tuple[Int64, Int8]:
    """(n,) group and (n,) fold of the rows `new`; both tables have the columns KNOWN_BY, `new` but for the group.

    `known` (m,) are the rows of the index and those that the models saw and that have left it, with their `known_fold`.
    A row that bridges two groups, with twins in both, joins the one that came first, and models that saw the other's
    prices answer for it; a row of which nothing but the price is new stays where it was.
    """
    ids, *keys = (known[column].to_pylist() + new[column].to_pylist() for column in KNOWN_BY[:-1])
    component = duplicate_groups(*keys)
    own = component[known.num_rows :]
    rows = list(zip(ids, *keys[:2], strict=True))  # id, name, photograph: a content may be unknown today
    by_row, by_id = _first(rows[: known.num_rows]), _first(ids[: known.num_rows])
    by_twin = _first(component[: known.num_rows].tolist())
    asked = zip(rows[known.num_rows :], own.tolist(), strict=True)
    like = np.array([by_row.get(row, by_twin.get(twins, by_id.get(row[0], -1))) for row, twins in asked], np.int64)
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
    """Where each key comes first."""
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


def read_departed(folder: Path) -> pa.Table | None:
    """Rows that the models saw and that have left the index: KNOWN_BY and `fold`; None where there are none."""
    import pyarrow.parquet as pq

    return pq.read_table(folder / DEPARTED) if (folder / DEPARTED).exists() else None


def write_departed(folder: Path, before: pa.Table | None, leaving: pa.Table) -> None:
    """Add rows to those that have left before; no file where there are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [leaving] if before is None else [before, leaving]
    departed = pa.concat_tables(tables)
    if departed.num_rows:
        pq.write_table(departed, folder / DEPARTED)
