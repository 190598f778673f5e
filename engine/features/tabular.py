"""Categories and numbers that a catalogue has in columns of its own, as the models see them.

Nothing here is fitted: a category's value is hashed, and who learns from it keeps the hashes that it knows. A catalogue
without such columns has no `Tabular`, and its models are those that they would be without this file.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from index.catalogue.further import CATEGORY, NUMBER, further_columns
from index.contents import expect, loading
from index.storage.layout import CATEGORIES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from index.arrays import Float32, Float64, Int64

MISSING = -1  # in the place of a hash
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Tabular:
    """Categories and numbers of n items."""

    categories: Int64  # (n, categories) hash of the value; MISSING where there is none
    numbers: Float32  # (n, numbers) as they are; NaN where there is none

    def take(self, rows: NDArray[np.integer] | slice) -> Tabular:
        """The columns of some rows, in that order."""
        return Tabular(self.categories[rows], self.numbers[rows])


def make_tabular(items: pa.Table) -> Tabular | None:
    """The further columns of n `items`, in their order; None where there are none."""
    columns = further_columns(items)
    if not columns:
        return None
    categories = [_hashes(items[name].to_pylist()) for name in columns if name.startswith(CATEGORY)]
    numbers = [_finite(items[name]) for name in columns if name.startswith(NUMBER)]
    return Tabular(
        _side_by_side(categories, items.num_rows, np.int64), _side_by_side(numbers, items.num_rows, np.float32)
    )


def rising(numbers: NDArray[Any]) -> bool:
    """Tell whether an array that was read from a file is one row of whole numbers, each above the one before."""
    return numbers.ndim == 1 and numbers.dtype.kind == "i" and bool((np.diff(numbers) > 0).all())


def words_of_columns(items: pa.Table) -> list[list[str]] | None:
    """Words of each item's further columns, for a bag of words; None where there are none.

    A category is a word of its own kind, `brand=acme`, and so is each word in it, `brand:acme`; a number is one as it
    stands, which tells equal ones from others and no more.
    """
    columns = further_columns(items)
    if not columns:
        return None
    words: list[list[str]] = [[] for _ in range(items.num_rows)]
    for column in columns:
        name = column.partition(":")[2]
        for of_item, cell in zip(words, items[column].to_pylist(), strict=True):
            if isinstance(cell, float):
                of_item.append(f"{name}={cell:.6g}")
            elif value := _normal(cell):
                of_item += [f"{name}={value}", *(f"{name}:{part}" for part in _WORD.findall(value))]
    return words


def _normal(cell: str | None) -> str:
    """A category without what makes no other value of it: case and runs of blanks."""
    return " ".join((cell or "").casefold().split())


def _hashes(cells: list[str | None]) -> Int64:
    values = map(_normal, cells)
    hashes = (zlib.crc32(value.encode("utf-8", "surrogatepass")) if value else MISSING for value in values)
    return np.fromiter(hashes, np.int64, len(cells))


def _finite(column: pa.ChunkedArray) -> Float64:
    numbers = column.to_numpy().astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _side_by_side(columns: list[Any], rows: int, dtype: type) -> Any:
    return np.stack(columns, axis=1).astype(dtype) if columns else np.empty((rows, 0), dtype)


UNKNOWN, ABSENT = 0, 1  # places of a value that nobody has learned, and of none; the known ones follow


@dataclass(frozen=True)
class KnownCategories:
    """Values that a model has learned, by column: which place each one has."""

    values: tuple[Int64, ...]  # hashes, rising

    @classmethod
    def fit(cls, tabular: Tabular, least_rows: int = 1) -> Self:
        """Know the values that so many rows have: of a rarer one nothing can be learned but its rows by heart."""
        values = []
        for column in tabular.categories.T:
            found, rows = np.unique(column[column != MISSING], return_counts=True)
            values.append(found[rows >= least_rows])
        return cls(tuple(values))

    def save(self, folder: Path) -> None:
        """Write into a generation."""
        from safetensors.numpy import save_file

        save_file({str(at): values for at, values in enumerate(self.values)}, folder / CATEGORIES)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote. IndexUnusable for contents that no build writes."""
        from safetensors.numpy import load_file

        with loading(folder / CATEGORIES):
            tensors = load_file(folder / CATEGORIES)
            known = cls(tuple(tensors[str(at)] for at in range(len(tensors))))
            known.expect_columns(len(known.values))
            return known

    def expect_columns(self, columns: int) -> None:
        """Raise WrongContents unless it knows the values of so many columns."""
        expect(len(self.values) == columns, "it knows other categories")
        expect(all(map(rising, self.values)), "a category's values are in no order")

    @property
    def sizes(self) -> list[int]:
        """Number of places of each column."""
        return [len(values) + ABSENT + 1 for values in self.values]

    def places(self, tabular: Tabular) -> Int64:
        """(n, categories) UNKNOWN, ABSENT, or the place of a known value."""
        places = np.full(tabular.categories.shape, UNKNOWN, np.int64)
        for at, (column, values) in enumerate(zip(tabular.categories.T, self.values, strict=True)):
            if len(values):
                found = np.minimum(np.searchsorted(values, column), len(values) - 1)
                places[:, at] = np.where(values[found] == column, found + ABSENT + 1, UNKNOWN)
            places[column == MISSING, at] = ABSENT
        return places


def save_categories(folder: Path, tabular: Tabular | None) -> None:
    """Write the values that a build has seen into a generation, where there are further columns."""
    if tabular is not None:
        KnownCategories.fit(tabular).save(folder)
