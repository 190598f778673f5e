"""Rows that a query is compared with: each one's search vector, price, amount, residual, and what to show of it.

Drawn from the items and the models at build, in one Arrow file in price order (`index.search.table`); what the search's
backend keeps for itself lies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from index.arrays import Float32, Float64, Int8, Int64
from index.catalogue.units import UNITS
from index.contents import expect, loading
from index.search import AUTO
from index.search.backends import NOWHERE, Paths, at_open, choose, write_backend
from index.search.neighbours import BandIndex, Neighbours
from index.search.table import FOLD, LOG_PRICE, ROW, SearchTable
from index.storage.layout import REFERENCE, search_paths

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.features.training_set import TrainingSet

ITEM_ID = "item_id"
NAME = "name"
SHOWN = (ITEM_ID, NAME, "image")
AGE_WEIGHT = "age_weight"  # the column of an index with a half-life


class ReferenceSet:
    """m rows of the catalogue that prices are compared with, known by their number in it."""

    def __init__(self, table: SearchTable, search: str = AUTO, paths: Paths = NOWHERE) -> None:
        """Hold a table; `search` names the backend, which finds at its one of `paths` what it keeps on the disk."""
        self.table = table
        self.log_price: Float64 = table.column(LOG_PRICE)  # (m,), as all below
        self.unit: Int64 = table.column("unit")
        self.log_amount: Float64 = table.column("log_amount")  # of the whole listing; NaN where unknown
        self.residual: Float64 = table.column("residual")  # log price less what models that never saw the row expected
        self.fold: Int8 = table.column(FOLD)  # of the models that never saw the row
        # What a row counts for by the age of its price; None: all the same
        self.age_weight: Float64 | None = table.column(AGE_WEIGHT) if AGE_WEIGHT in table.table.column_names else None
        self._search, self._paths = search, paths

    @classmethod
    def build(cls, items: pa.Table, rows: TrainingSet, residual: Float64) -> Self:
        """Build from n `items` (schema `ITEMS`) and what the models know of them; `residual` (n,).

        Raises DataRefused for NaN or infinity.
        """
        import pyarrow as pa

        columns = {"unit": rows.unit, "log_amount": rows.log_amount, "residual": residual}
        if rows.age_weight is not None:
            columns[AGE_WEIGHT] = rows.age_weight
        beside = items.select(SHOWN)
        for name, values in columns.items():
            beside = beside.append_column(name, pa.array(values))
        return cls(SearchTable.build(beside, rows.log_price, rows.fold, rows.search_vectors))

    @classmethod
    def open(cls, folder: Path, search: str = AUTO) -> Self:
        """Open the reference set of a generation. IndexUnusable for contents that no build writes."""
        with loading(folder / REFERENCE):
            reference = cls(SearchTable.open(folder / REFERENCE), search, search_paths(folder))
            reference._expect_values()
            return reference

    def _expect_values(self) -> None:
        expect(np.isfinite(self.residual).all(), "a residual is no number")
        expect(self.fold.min() >= 0, "a fold is out of range")
        if self.age_weight is not None:
            expect(((self.age_weight > 0) & (self.age_weight <= 1)).all(), "an age weight is out of range")
        expect(((self.unit >= 0) & (self.unit < len(UNITS))).all(), "a unit is out of range")

    def write(self, folder: Path, search: str = AUTO) -> None:
        """Write into a generation, with what the backend `search` keeps beside it."""
        self.table.write(folder / REFERENCE)
        order = self.table.order
        write_backend(choose(search, *order.vectors.shape), order, search_paths(folder))

    def merged(self, removed: Int64, added: ReferenceSet | None) -> ReferenceSet:
        """The rows without those `removed` (r,), and then the `added` ones."""
        return ReferenceSet(self.table.merged(removed, added.table if added else None))

    def rebuilt(self) -> ReferenceSet:
        """The same rows, as if they had been written at once."""
        return ReferenceSet(self.table.rebuilt())

    def with_residual(self, residual: Float64) -> ReferenceSet:
        """The same rows with other residuals (m,)."""
        return ReferenceSet(self.table.with_column("residual", residual))

    @property
    def dim(self) -> int:
        """Length of the search vectors."""
        return int(self.table.order.vectors.shape[1])

    @cached_property
    def index(self) -> BandIndex:
        """Index of the rows that have a vector, by what was written for it; its groups are the folds."""
        return BandIndex.of(self.table.order, at_open(self._search, self._paths), self._paths)

    def search_vectors(self) -> Float32:
        """(m, dim) in the order of the catalogue: a copy."""
        return self.table.vectors()

    def ids(self) -> list[str]:
        """List the item ids (m,) in the order of the catalogue."""
        return self._listed(ITEM_ID)

    def names(self) -> list[str]:
        """List the items' names (m,) in the order of the catalogue."""
        return self._listed(NAME)

    def _listed(self, column: str) -> list[str]:
        cells: list[str] = self.table.table[column].take(self.table.position).to_pylist()
        return cells

    def names_beginning(self, words: str) -> int:
        """Count the rows whose names begin with these words, in any case, and go on."""
        import pyarrow.compute as pc

        begins = pc.starts_with(self.table.table[NAME], pattern=f"{words} ", ignore_case=True)
        return int(pc.sum(begins).as_py() or 0)

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """The numbers of the rows with these ids; one that there is not is left out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        places = pc.index_in(pa.array(ids, pa.string()), value_set=self.table.table[ITEM_ID]).to_pylist()
        row = self.table.table[ROW]
        return {item_id: row[at].as_py() for item_id, at in zip(ids, places, strict=True) if at is not None}

    def shown(self, rows: Sequence[int] | Int64) -> list[dict[str, Any]]:
        """item_id, name and image of some rows."""
        columns = [(name, self.table.table[name]) for name in SHOWN]
        places = self.table.position[rows].tolist()
        # Not by `take`, for which pyarrow imports all that it can compute.
        return [{name: column[place].as_py() for name, column in columns} for place in places]


class Searched(Protocol):
    """Rows in which neighbours are searched for."""

    def search(self, queries: Float32, centre: Float64, /, *, k: int, band: float) -> Neighbours:
        """Find neighbours as `BandIndex.search` does."""


class OtherFolds:
    """Rows of a reference set that are of another fold than each of n rows of it, which are compared with them."""

    def __init__(self, reference: ReferenceSet, fold: NDArray[np.integer]) -> None:
        self.fold = fold  # (n,)
        self._index = reference.index

    def search(self, queries: Float32, centre: Float64, *, k: int, band: float) -> Neighbours:
        """Find the n rows' neighbours in other folds than their own."""
        return self._index.search(queries, centre, k=k, band=band, exclude_group=self.fold)


class SelectedRows:
    """Rows of a reference set that a price may rest on: all but a few, or a few alone, whatever these cost."""

    def __init__(self, reference: ReferenceSet, without: Int64, only: Int64 | None, fold: int | None) -> None:
        """Hold row numbers: all rows but those `without` (r,), of which `only` (s,) where it is given.

        `fold`: of the models that answer alone, since they were trained on none of the rows left out; None for all.
        """
        self.fold = fold
        self._without = np.unique(without)
        self._index = reference.index
        self._few = None if only is None else reference.index.only(np.setdiff1d(only, self._without))

    def search(self, queries: Float32, centre: Float64, *, k: int, band: float) -> Neighbours:
        """Find what `BandIndex.search` would in an index of these rows alone; of a few, the k nearest of any price."""
        if self._few is not None:
            return self._few.search(queries, centre, k=k, band=np.inf)
        near = self._index.search(queries, centre, k=k + len(self._without), band=band)
        return near.without(self._without, k)
