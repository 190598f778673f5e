"""Further columns of items: a catalogue's own categories and numbers, which stand behind those of the schema `ITEMS`.

They are called `category:NAME` (string) and `number:NAME` (float64), null where an item has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from index.catalogue.formats.records import plain_number
from index.errors import UsageError

CATEGORY, NUMBER = "category:", "number:"
HIGHEST_NUMBER = 1e30  # what is no smaller is no number of an item: the models read them in float32


def further_columns(items: pa.Table) -> tuple[str, ...]:
    """Names of the further columns of `items`, in their order."""
    return tuple(name for name in items.column_names if name.startswith((CATEGORY, NUMBER)))


def further_type(column: str) -> pa.DataType:
    """The type of a further column."""
    assert column.startswith((CATEGORY, NUMBER)), column
    return pa.string() if column.startswith(CATEGORY) else pa.float64()


def further_cell(column: str, cell: str | float | None) -> str | float | None:
    """A cell that was given for a further column, as what the column holds. UsageError for a number that is none.

    NaN, infinity, and what a file's cell could not hold either, are no number that was given.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if column.startswith(CATEGORY):
        if isinstance(cell, bool):
            return str(cell).lower()
        return str(cell) if isinstance(cell, (str, int)) else plain_number(float(cell))
    try:
        return float(cell) if abs(float(cell)) < HIGHEST_NUMBER else None
    except (ValueError, OverflowError):
        name = column.removeprefix(NUMBER)
        raise UsageError(f"{name} is {cell!r}, and the index reads numbers there: give a number, or nothing.") from None


def with_further(items: pa.Table, columns: Sequence[str]) -> pa.Table:
    """`items` with these further columns and no others, null where they lack one: what an index can read of them."""
    lacking = {name: pa.nulls(items.num_rows, further_type(name)) for name in columns if name not in items.column_names}
    fixed = items.drop_columns(list(further_columns(items)))
    for name in columns:
        fixed = fixed.append_column(name, lacking[name] if name in lacking else items[name])
    return fixed


def described(items: pa.Table) -> list[str]:
    """The text of each item and, on lines of their own, its categories and numbers: for who reads nothing but text."""
    texts: list[str] = items["text"].to_pylist()
    for column in further_columns(items):
        name = column.partition(":")[2]
        cells = (f"{cell:g}" if isinstance(cell, float) else cell for cell in items[column].to_pylist())
        texts = [f"{text}\n{name}: {cell}" if cell else text for text, cell in zip(texts, cells, strict=True)]
    return texts
