"""Write a review or an audit as one HTML page that needs nothing else: a summary, then the rows, coloured by flag.

No script runs in it, nothing is fetched, and what the rows say is text.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.serving.listings.columns import FLAG, Column, Kind
from engine.serving.listings.workbook import COLOURS
from index.catalogue.money.currencies import decimals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engine.serving.listings.listing import Listing

LEAST_PLAIN = 0.1  # a smaller number is shown by its digits that count
STYLE = """
body { font: 13px/1.35 system-ui, sans-serif; margin: 1.2em; color: #1d2733 }
h1 { font-size: 20px } h2 { font-size: 15px; margin-top: 1.4em }
.rows { overflow: auto; max-height: 85vh; border: 1px solid #c8d0d8 }
table { border-collapse: separate; border-spacing: 0 }
th, td { padding: 3px 8px; border-bottom: 1px solid #e3e8ed; vertical-align: top; max-width: 30em }
th { background: #1f3b57; color: #fff; text-align: left; position: sticky; top: 0 }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
"""


def write_page(path: Path, listing: Listing) -> None:
    """Write the page, a batch of rows at a time."""
    colours = "".join(
        f'tr[data-flag="{flag}"] td:nth-child(3) {{ background: {colour} }}\n' for flag, colour in COLOURS.items()
    )
    with path.open("w", encoding="utf-8") as file:
        title = f"{listing.title}: {listing.rows:,} rows, prices in {listing.currency}"
        file.write(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            f"<title>{escape(title)}</title>\n<style>{STYLE}{colours}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        )
        if listing.summary_rows:
            file.write("<h2>Summary</h2>\n")
            file.writelines(_table(listing.summary_columns, listing.summary_rows, listing.currency))
        file.write('<h2>Rows</h2>\n<div class="rows">\n')
        file.writelines(_table(listing.columns, _rows(listing), listing.currency))
        file.write("</div>\n<h2>Columns</h2>\n<table>\n")
        for column in listing.columns:
            file.write(f"<tr><td><b>{escape(column.heading)}</b></td><td>{escape(column.explains)}</td></tr>\n")
        file.write("</table>\n</body></html>\n")


def _rows(listing: Listing) -> Iterator[tuple[Any, ...]]:
    for batch in listing.batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _table(columns: Iterable[Column], rows: Iterable[Any], currency: str) -> Iterator[str]:
    columns = list(columns)
    flag = next((at for at, column in enumerate(columns) if column.name == FLAG), None)
    headings = "".join(
        f'<th title="{escape(column.explains)}" style="min-width: {column.width if column.is_text else 0}ch">'
        f"{escape(column.heading)}</th>"
        for column in columns
    )
    yield f"<table>\n<thead><tr>{headings}</tr></thead>\n"
    for cells in rows:
        flagged = "" if flag is None else f' data-flag="{escape(cells[flag])}"'
        shown = "".join(
            f"<td>{escape(cell or '')}</td>"
            if column.is_text
            else f'<td class="n">{_number(column, cell, currency)}</td>'
            for column, cell in zip(columns, cells, strict=True)
        )
        yield f"<tr{flagged}>{shown}</tr>\n"
    yield "</table>\n"


def _number(column: Column, value: float | None, currency: str) -> str:
    if value is None:
        return ""
    if column.kind is Kind.PERCENT:
        return f"{value:+,.1f}%"
    if column.kind is Kind.SHARE:
        return f"{value:.0%}"
    if 0 < abs(value) < LEAST_PLAIN:
        return f"{value:.2g}"
    digits = decimals(currency) if column.kind is Kind.MONEY else 0 if value == int(value) else 2
    return f"{value:,.{digits}f}"
