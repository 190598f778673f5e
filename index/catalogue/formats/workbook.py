"""Records of a workbook (.xlsx, .xls, .xlsb, .ods) by python-calamine, which reads the values that were stored last."""

import datetime
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from index.catalogue.formats.dialect import HEADER_WITHIN, find_header
from index.catalogue.formats.records import Record, Source, Tally, in_batches, picker, plain_number
from index.catalogue.formats.workbook_facts import TORN, SheetFacts, examine_sheets
from index.errors import DataRefused

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

T = TypeVar("T")

LARGEST_FILE = 256 << 20  # bytes, as it is stored
LARGEST_UNPACKED = 1 << 30  # bytes of all parts together
MOST_TIMES = 250  # a part may unpack to so many times its size
FREE_BYTES = 64 << 20  # whatever the size
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # the part of an encrypted .xlsx that holds the real one

_OLE = b"\xd0\xcf\x11\xe0"
_KINDS = {
    "xl/workbook.xml": "Excel workbook",
    "xl/workbook.bin": "Excel workbook (.xlsb)",
    "content.xml": "OpenDocument workbook",
}


def open_workbook(path: Path, sheet: str | None) -> Source:
    """Open a workbook at the sheet of this name, or at the visible one with a header and most rows.

    Raises `DataRefused` for one that is encrypted, damaged or suspiciously large, and where no sheet has a header.
    """
    kind = _kind(path)
    facts = {} if kind.endswith("(.xls)") else examine_sheets(path)
    book = _load(path)
    tables = {name: _Table(path, book, name, facts.get(name)) for name in _candidates(path, book, sheet)}
    tables = {name: table for name, table in tables.items() if table.header}
    if not tables:
        raise DataRefused(f"{path} is empty: it needs a sheet with a header and rows.")
    name, table = max(tables.items(), key=lambda pair: (len(pair[1].header) > 1, pair[1].height))
    notes = table.notes()
    if unread := [repr(title) for title in tables if title != name]:
        notes.append(f"Of several sheets, {name!r} has most rows; {', '.join(unread)} can be named with --sheet.")
    return Source(
        path,
        f"{kind}, sheet {name!r}",
        table.header,
        lambda columns, tally: in_batches(_records(path, name, table, columns, tally)),
        passed_over=table.passed_over,
        opening_notes=tuple(notes),
        currencies=table.currencies(),
    )


def is_workbook(path: Path, head: bytes) -> bool:
    """Tell a workbook from other zip files by the names in it; raises `DataRefused` for a zip file that is torn."""
    if head.startswith(_OLE):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name in _KINDS for name in archive.namelist())
    except TORN as error:
        raise DataRefused(f"{path} is a damaged workbook or zip file: save it again.") from error


def _kind(path: Path) -> str:
    """Return the kind of a workbook. Raises `DataRefused` for one that would unpack to more than it should."""
    if path.stat().st_size > LARGEST_FILE:
        raise DataRefused(f"{path} has over {LARGEST_FILE >> 20} MB: export it as CSV or Parquet.")
    with path.open("rb") as file:
        if file.read(4) == _OLE:
            file.seek(0)
            if ENCRYPTED in file.read():
                raise DataRefused(f"{path} is encrypted: save it without a password.")
            return "Excel workbook (.xls)"
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.file_size > max(FREE_BYTES, MOST_TIMES * part.compress_size):
                raise DataRefused(
                    f"{path} unpacks to over {MOST_TIMES} times its size: export it as CSV, if you know what it is."
                )
        if sum(part.file_size for part in archive.infolist()) > LARGEST_UNPACKED:
            raise DataRefused(f"{path} unpacks to over {LARGEST_UNPACKED >> 20} MB: export it as CSV or Parquet.")
        return next(kind for name, kind in _KINDS.items() if name in archive.namelist())


def _load(path: Path) -> "CalamineWorkbook":
    import python_calamine

    return _guarded(path, lambda: python_calamine.load_workbook(io.BytesIO(path.read_bytes())))  # told by its bytes


def _guarded(path: Path, read: Callable[[], T]) -> T:
    """Read with calamine, and refuse in one sentence what it cannot read; its panics are no `Exception`."""
    import python_calamine

    try:
        return read()
    except python_calamine.PasswordError as error:
        raise DataRefused(f"{path} is encrypted: save it without a password.") from error
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise DataRefused(f"{path} is a damaged workbook ({error}): open it and save it again.") from error
        raise


def _candidates(path: Path, book: "CalamineWorkbook", sheet: str | None) -> list[str]:
    """Return the names of the sheets to look at: the one that is named, or those that can be seen."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    if sheet is not None:
        if sheet not in book.sheet_names:
            names = ", ".join(map(repr, book.sheet_names))
            raise DataRefused(f"{path} has no sheet {sheet!r}: its sheets are {names}.")
        return [sheet]
    return [
        found.name
        for found in book.sheets_metadata
        if found.visible == SheetVisibleEnum.Visible and found.typ == SheetTypeEnum.WorkSheet
    ]


class _Table:
    """The header of a sheet, and where its rows begin."""

    def __init__(self, path: Path, book: "CalamineWorkbook", name: str, facts: SheetFacts | None) -> None:
        sheet: CalamineSheet = _guarded(path, lambda: book.get_sheet_by_name(name))
        self.facts = facts or SheetFacts()
        self.first_column = sheet.start[1] if sheet.start else 0
        self.height = sheet.height
        rows = [
            (number, 1, [text or "" for text in map(_text, row)])
            for number, row in enumerate(islice(sheet.iter_rows(), 4 * HEADER_WITHIN), 1)
        ]
        filled = [row for row in rows if any(row[2])]
        place, data = find_header(filled)
        place = 0 if place is None else place
        self.header: tuple[str, ...] = tuple(filled[place][2]) if filled else ()
        self.header_row = filled[place][0] if filled else 0
        self.before = filled[data][0] - 1 if data < len(filled) else self.header_row  # rows before the first record
        self.passed_over = max(0, min(data, len(filled)) - 1)

    def notes(self) -> list[str]:
        """Return what the sheet's own XML says and its values do not."""
        notes = [f"The header is on row {self.header_row}."] if self.passed_over else []
        if gaps := self.facts.gaps:
            notes.append(
                f"{len(gaps)} cells are empty because their formula has no stored value, or an error "
                f"(the first: {gaps[0]}): open the file in a spreadsheet program and save it."
            )
        return notes

    def currencies(self) -> dict[int, Mapping[str, int]]:
        """Return the currencies of each column whose cells are formatted with them."""
        places = {column - self.first_column: times for column, times in self.facts.currencies.items()}
        return {place: times for place, times in places.items() if 0 <= place < len(self.header)}


def _records(path: Path, name: str, table: _Table, columns: Sequence[int] | None, tally: Tally) -> Iterator[Record]:
    pick = picker(columns)
    sheet = _guarded(path, lambda: _load(path).get_sheet_by_name(name))
    for number, row in enumerate(islice(sheet.iter_rows(), table.before, None), table.before + 1):
        cells = [_text(cell) for cell in row]
        if any(cell and cell.strip() for cell in cells):
            yield Record(number, pick(cells), "")
        else:
            tally.blank += 1


def _text(value: Any) -> str | None:
    """Return a stored value as it would stand in a CSV file: 12.0 as "12", dates in the ISO form."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else plain_number(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)
