"""Write a listing as what the ending of a file says: a workbook, a page, CSV or Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from engine.serving.listings.page import write_page
from engine.serving.listings.workbook import write_workbook
from index.errors import UsageError
from index.visible import without_formula

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.serving.listings.listing import Listing

DIGITS = 6  # behind the point, of a number in CSV
LISTING_FILES = (".xlsx", ".csv", ".parquet", ".html")


def refuse_other_files(out: Path) -> None:
    """Raise UsageError for a file that a listing cannot become."""
    if out.suffix.lower() not in LISTING_FILES:
        raise UsageError(f"{out} must end in {' or '.join(LISTING_FILES)}: that says what to write.")


def write_listing(path: Path, suffix: str, listing: Listing, scratch: Path) -> None:
    """Write a listing as what `suffix` says."""
    suffix = suffix.lower()
    if suffix == ".xlsx":
        write_workbook(path, listing, scratch)
    elif suffix == ".html":
        write_page(path, listing)
    elif suffix == ".csv":
        _write_csv(path, listing)
    else:
        _write_parquet(path, listing)


def _named(listing: Listing) -> list[str]:
    return [listing.id_column, *(column.name for column in listing.columns[1:])]


def _write_csv(path: Path, listing: Listing) -> None:
    """Write CSV for eyes: no cell is taken for a formula by a spreadsheet."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(without_formula, _named(listing)))
        for batch in listing.batches():
            cells = [
                [without_formula(cell or "") for cell in values.to_pylist()] if column.is_text else _rounded(values)
                for column, values in zip(listing.columns, batch.columns, strict=True)
            ]
            writer.writerows(zip(*cells, strict=True))


def _rounded(values: pa.ChunkedArray) -> list[float | None]:
    return [None if value is None else round(value, DIGITS) for value in values.to_pylist()]


def _write_parquet(path: Path, listing: Listing) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.string() if column.is_text else pa.float64() for column in listing.columns]
    schema = pa.schema(list(zip(_named(listing), kinds, strict=True)))
    with pq.ParquetWriter(path, schema) as writer:
        for batch in listing.batches():
            writer.write_table(batch.rename_columns(schema.names).cast(schema))
