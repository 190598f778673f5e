"""A list of rows for people, with a summary: what a workbook, a page or a table is written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.serving.listings.columns import Column


@dataclass(frozen=True)
class Listing:
    """Rows in the order in which they are read, and a summary of them."""

    title: str
    id_column: str  # how the file calls the first column
    columns: Sequence[Column]
    rows: int
    batches: Callable[[], Iterator[pa.Table]]  # of the columns, in their order; read once by each writer
    currency: str
    summary_columns: Sequence[Column]
    summary_rows: Sequence[Sequence[Any]]
