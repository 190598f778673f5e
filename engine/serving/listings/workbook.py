"""Write a review or an audit as an Excel workbook: rows, what each column says, and the summary, in constant memory.

Every cell is a number or a string that stands as it is; there are no formulas, and no cell is taken for one.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.serving.listings.columns import FINE, FLAG, NO_CURRENT, TOO_HIGH, TOO_LOW, UNSURE, Column, Kind
from index.catalogue.money.currencies import decimals

if TYPE_CHECKING:
    from engine.serving.listings.listing import Listing

MOST_SHEET_ROWS = 1_048_575  # below the header: what a sheet of Excel holds
COLOURS = {TOO_LOW: "#CFE8D5", TOO_HIGH: "#F6C9C4", FINE: "#FFFFFF", UNSURE: "#E4E4E4", NO_CURRENT: "#FFF2CC"}
HEADER = {"bold": True, "bg_color": "#1F3B57", "font_color": "#FFFFFF", "text_wrap": True, "valign": "top"}
CREATED = dt.datetime(2000, 1, 1)  # of every workbook, so that the same rows make the same file


def write_workbook(path: Path, listing: Listing, scratch: Path, most_rows: int = MOST_SHEET_ROWS) -> None:
    """Write a workbook: further sheets where there are more than `most_rows`. `scratch`: a folder for what is not done.

    OSError where the disk refuses.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    scratch.mkdir(exist_ok=True)
    workbook = Workbook(str(path), {"constant_memory": True, "tmpdir": str(scratch)})
    workbook.set_properties({"created": CREATED})
    workbook.use_zip64()  # where sheets are beyond 2 GB, and not before
    formats = _Formats(workbook, listing.currency)
    _write_rows(workbook, formats, listing, most_rows)
    columns = workbook.add_worksheet("Columns")
    _begin(columns, formats, [("Column", 24), ("What it says", 110)])
    for row, column in enumerate(listing.columns, start=1):
        columns.write_string(row, 0, column.heading, formats.cell["text"])
        columns.write_string(row, 1, column.explains, formats.wrapped)
    summary = workbook.add_worksheet("Summary")
    _begin(summary, formats, [(column.heading, column.width) for column in listing.summary_columns])
    for row, cells in enumerate(listing.summary_rows, start=1):
        _write_row(summary, row, listing.summary_columns, cells, formats)
    try:
        workbook.close()
    except FileCreateError as error:
        raise OSError(None, f"{error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Formats:
    """Formats of cells, made once."""

    def __init__(self, workbook: Any, currency: str) -> None:
        money = f"#,##0{'.' * bool(decimals(currency))}{'0' * decimals(currency)}"
        label = currency.replace('"', "").replace("]", "")
        patterns = {
            Kind.MONEY: f'{money} "{label}"',
            Kind.PERCENT: '+0.0"%";-0.0"%";0.0"%"',
            Kind.SHARE: "0%",
            Kind.NUMBER: "#,##0.0###",
        }
        self.cell = {kind.value: workbook.add_format({"num_format": pattern}) for kind, pattern in patterns.items()}
        self.whole = workbook.add_format({"num_format": "#,##0"})
        self.cell["text"] = workbook.add_format({"num_format": "@"})
        self.header = workbook.add_format(HEADER)
        self.wrapped = workbook.add_format({"text_wrap": True, "valign": "top"})
        self.flag = {
            flag: workbook.add_format({"bg_color": colour, "num_format": "@"}) for flag, colour in COLOURS.items()
        }


def _begin(sheet: Any, formats: _Formats, headings: Sequence[tuple[str, int]]) -> None:
    """Write the header, which stays where the sheet is scrolled."""
    sheet.freeze_panes(1, 0)
    for at, (heading, width) in enumerate(headings):
        sheet.set_column(at, at, width)
        sheet.write_string(0, at, heading, formats.header)


def _write_rows(workbook: Any, formats: _Formats, listing: Listing, most_rows: int) -> None:
    sheet, row, number = None, 0, 0
    widths = [(column.heading, column.width) for column in listing.columns]
    for batch in listing.batches():
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if sheet is None or row == most_rows:
                number += 1
                sheet = workbook.add_worksheet(listing.title if number == 1 else f"{listing.title} {number}")
                _begin(sheet, formats, widths)
                sheet.freeze_panes(1, 2)
                left = min(most_rows, max(listing.rows - (number - 1) * most_rows, 1))
                sheet.autofilter(0, 0, left, len(widths) - 1)
                row = 0
            row += 1
            _write_row(sheet, row, listing.columns, cells, formats)
    if sheet is None:  # nothing to list
        sheet = workbook.add_worksheet(listing.title)
        _begin(sheet, formats, widths)


def _write_row(sheet: Any, row: int, columns: Sequence[Column], cells: Sequence[Any], formats: _Formats) -> None:
    for at, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        if cell is None or cell == "":
            continue
        if column.is_text:
            shape = formats.flag.get(cell, formats.cell["text"]) if column.name == FLAG else formats.cell["text"]
            sheet.write_string(row, at, cell, shape)
        else:
            whole = column.kind is Kind.NUMBER and cell == int(cell)
            sheet.write_number(row, at, cell, formats.whole if whole else formats.cell[column.kind.value])
