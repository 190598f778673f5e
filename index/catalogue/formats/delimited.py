"""Records of a delimited text file (CSV and its kin). A stray quote cannot hide one row inside another.

Lines go through the csv module, strictly, in blocks. Where a record's quotes do not come out, or the lines that it
spans are rows themselves, it is read again as lines: a row that has its cells without quoting is one, the rest is a
record with a fault, and the reading goes on at the next line that is as long as rows are.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from index.catalogue.formats.dialect import NAMES, SAMPLE, Dialect, find_dialect
from index.catalogue.formats.encodings import TextFile, is_broken
from index.catalogue.formats.records import LINE_LIMIT, NOT_UTF8, Record, Source, Tally, as_record, picker
from index.errors import DataRefused

if TYPE_CHECKING:
    from _csv import Reader

MOST_LINES = 1_000  # lines that one record may span
LINES_AHEAD = 100  # that are looked at for the next row after one whose quotes are wrong
MOST_REREAD = 20  # lines read again, as a multiple of a block's lines, before the file is given up

_BLANK = "".join(map(chr, (0xFEFF, 0x200B, 0x200C, 0x200D, 0x2060)))  # invisible, and no white space to Python
_UNCLOSED = "unexpected end of data"  # the csv module's words


def open_delimited(text: TextFile) -> Source:
    """Open a text file as CSV or its kin. Raises `DataRefused` for one without a readable header."""
    path = text.file.path
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))  # the module has one limit, for everybody
    lines, whole = _first_lines(path, text)
    if all(not line.strip().strip(_BLANK).strip() for line in lines):
        raise DataRefused(f"{path} is empty: it needs a header and rows.")
    dialect = find_dialect(lines if whole else lines[:-1] or lines)
    if fault := _header_fault(lines, dialect):
        raise DataRefused(f"{path} has no readable header ({fault}): save it as CSV in UTF-8.")
    return Source(
        path,
        _kind(text, dialect),
        dialect.header,
        lambda columns, tally: _Reader(path, dialect, columns, tally).batches(text),
        passed_over=dialect.passed_over,
        opening_notes=_notes(text, dialect),
    )


def _header_fault(lines: Sequence[str], dialect: Dialect) -> str:
    first, last = dialect.header_lines
    header = lines[first - 1 : last]
    if "\0" in "".join(header) or is_broken("".join(header)):
        return NOT_UTF8
    try:
        list(csv.reader(header, delimiter=dialect.delimiter, strict=dialect.quoting))
    except csv.Error as error:
        return _what(str(error))
    return ""


def _what(error: str) -> str:
    return "a quote that is never closed" if error == _UNCLOSED else "a misplaced quote"


def _kind(text: TextFile, dialect: Dialect) -> str:
    delimiter = NAMES.get(dialect.delimiter, dialect.delimiter)
    plain = ["" if delimiter == "comma" else delimiter, "" if text.name == "UTF-8" else text.name, text.file.packing]
    details = ", ".join(filter(None, [*plain, "" if dialect.quoting else "without quoting"]))
    return f"CSV ({details})" if details else "CSV"


def _notes(text: TextFile, dialect: Dialect) -> tuple[str, ...]:
    notes = [text.note]
    if dialect.passed_over:
        notes.append(f"The header is on line {dialect.header_lines[0]}.")
    if not dialect.quoting:
        notes.append("Quotes are read as part of the texts: no cell is enclosed by them.")
    return tuple(filter(None, notes))


def _first_lines(path: Path, text: TextFile) -> tuple[list[str], bool]:
    """Return the lines of a file's beginning, and whether these are all."""
    found = ""
    for piece in text.texts():
        found += piece
        if len(found) > SAMPLE and ("\n" in found or "\r" in found or len(found) > LINE_LIMIT):
            return _cut(path, found, 1), False
    return _cut(path, found, 1), True


def _cut(path: Path, text: str, number: int) -> list[str]:
    """Cut a text into lines, their ends kept. Raises `DataRefused` for an endless one; the first has this number."""
    lines = list(io.StringIO(text, newline=""))
    if len(text) > LINE_LIMIT:
        for line_number, line in enumerate(lines, number):
            if len(line) > LINE_LIMIT:
                raise DataRefused(f"{path}: line {line_number} has over {LINE_LIMIT} characters: is this a catalogue?")
    return lines


class _Reader:
    """One reading of a file: what has been read of it, and what is still to be cut."""

    def __init__(self, path: Path, dialect: Dialect, columns: Sequence[int] | None, tally: Tally) -> None:
        self._path = path
        self._dialect = dialect
        self._width = len(dialect.header)
        self._pick = picker(columns)
        self._nothing = self._pick([None] * self._width)
        self._tally = tally
        self._lines: list[str] = []  # read, and not yet cut into records
        self._number = 1  # of the first of them
        self._broken = False  # whether any text so far holds bytes that are not of its encoding
        self._plain = True  # whether the lines cut last were a row each, of which none was at fault
        self._cut_rows: list[tuple[int, list[str]]] = []  # number of the first line, cells
        self._faults: dict[int, str] = {}  # number of the first line -> fault

    def batches(self, text: TextFile) -> Iterator[list[Record]]:
        """Cut the text into records, a batch for each block of text."""
        size = enough = 0  # characters that wait; how many must wait before it is worth to try again
        for block in _whole_lines(text):
            self._lines += _cut(self._path, block, self._number + len(self._lines))
            self._broken = self._broken or is_broken(block)
            size += len(block)
            if size >= enough:
                if batch := self._cut_plainly() or self._cut_records(final=False):
                    yield batch
                size = sum(map(len, self._lines))
                enough = 2 * size
        if batch := self._cut_records(final=True):
            yield batch

    def _cut_plainly(self) -> list[Record]:
        """Cut the lines that wait where each of them is a whole row without any fault; do nothing where it is not."""
        lines, width = self._lines, self._width
        if not self._plain or self._broken or self._number <= self._dialect.before:
            return []
        try:
            rows = list(self._csv_reader(lines))
        except csv.Error:
            return []
        if not (len(rows) == len(lines) and set(map(len, rows)) == {width} and all(map(any, rows))):
            return []
        records = list(map(as_record, zip(count(self._number), map(self._pick, rows), repeat(""))))
        self._lines = []
        self._number += len(lines)
        return records

    def _cut_records(self, *, final: bool) -> list[Record]:
        """Cut the lines that wait into records; unless `final`, those of a last one that is still open wait on."""
        lines = self._lines
        at = skipped = min(len(lines), max(0, self._dialect.before + 1 - self._number))
        reread = 0
        while at < len(lines):
            start, end, error = self._cut_strictly(at)
            if not error:
                at = end
                break
            if error == _UNCLOSED and not final and self._may_go_on(start):
                at = start
                break
            reread += end - start
            if reread > MOST_REREAD * len(lines):
                raise DataRefused(
                    f"{self._path}: quotes are opened and not closed in most rows around line {self._number + start}: "
                    "save it with its quotes doubled, or as Parquet."
                )
            at = self._cut_as_lines(start, end, error)
        self._plain = len(self._cut_rows) == at - skipped and not self._faults
        self._lines = lines[at:]
        self._number += at
        return self._records()

    def _csv_reader(self, lines: list[str]) -> "Reader":
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._dialect.quoting else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self._dialect.delimiter, strict=True, quoting=quoting)

    def _cut_strictly(self, at: int) -> tuple[int, int, str]:
        """Cut lines from a place on, to the end or to a row whose quotes are wrong: (its start, end, what is wrong)."""
        lines, dialect = self._lines, self._dialect
        reader = self._csv_reader(lines[at:] if at else lines)
        start, number, take = at, self._number, self._cut_rows.append
        try:
            for cells in reader:
                end = at + reader.line_num
                if end - start > 1 and dialect.swallowed(lines[start:end]):
                    return start, end, "a quote that is closed in another row"
                take((number + start, cells))
                start = end
        except csv.Error as error:
            return start, at + reader.line_num, str(error)
        return start, start, ""

    def _may_go_on(self, start: int) -> bool:
        """Tell whether the open row that starts here may have lines that are not read yet."""
        waiting = self._lines[start:]
        return len(waiting) <= MOST_LINES and sum(map(len, waiting)) <= LINE_LIMIT

    def _cut_as_lines(self, start: int, end: int, error: str) -> int:
        """Cut the first line of a row whose quotes are wrong by itself, if it is a row; return where to go on.

        If it is none, it is a fault together with the lines up to the next one that is as long as rows are.
        """
        lines, dialect, number = self._lines, self._dialect, self._number + start
        swallowed = end - start - 1
        if dialect.looks_like_a_row(lines[start]) if swallowed else dialect.is_as_long_as_a_row(lines[start]):
            self._cut_rows.append((number, dialect.split(lines[start])))
            if swallowed:
                lines_swallowed = f"{swallowed} lines" if swallowed > 1 else "a line"
                remark = f"Line {number}: a quote swallowed {lines_swallowed}; all are read without it."
                self._tally.remark("such lines", remark)
            else:
                remark = f"Line {number}: a quote inside a cell is read as part of its text."
                self._tally.remark("such lines in which it is", remark)
            return start + 1
        ahead = range(start + 1, min(len(lines), end + LINES_AHEAD))
        stop = next((place for place in ahead if dialect.is_as_long_as_a_row(lines[place])), end)
        self._cut_rows.append((number, []))
        self._faults[number] = _what(error) + _span(number, self._number + stop - 1)
        return stop

    def _records(self) -> list[Record]:
        """Make the rows that are cut into records, and forget them."""
        records = [record for number, cells in self._cut_rows if (record := self._record(number, cells))]
        self._cut_rows = []
        self._faults.clear()
        return records

    def _record(self, number: int, cells: list[str]) -> Record | None:
        """Make a record of a row of any length, None of a blank one."""
        length, width = len(cells), self._width
        if fault := self._faults.get(number, ""):
            return Record(number, self._nothing, fault)
        if not any(cells if length == width else map(str.strip, cells)):
            self._tally.blank += 1
            return None
        if length == width and not self._broken:
            return Record(number, self._pick(cells), "")
        if any(cell.strip() for cell in cells[width:]):
            breaks = sum(cell.count("\n") for cell in cells)
            fault = f"{length} cells where the header has {width}{_span(number, number + breaks)}"
        chosen = self._pick([*cells[:width], *repeat(None, width - length)])
        if not fault and self._broken and any(cell and is_broken(cell) for cell in chosen):
            fault = NOT_UTF8
        return Record(number, chosen, fault)


def _span(start: int, end: int) -> str:
    return f" (lines {start} to {end}: is a quote missing?)" if end > start else ""


def _whole_lines(text: TextFile) -> Iterator[str]:
    """Yield the text in pieces that end where a line ends."""
    rest: list[str] = []
    waiting = 0
    for piece in text.texts():
        cut = piece.rfind("\n") + 1 or piece.rfind("\r", 0, -1) + 1
        if cut:
            yield "".join([*rest, piece[:cut]])
            rest, waiting = [], 0
        rest.append(piece[cut:])
        waiting += len(piece) - cut
        if waiting > LINE_LIMIT:
            break  # what comes of it is refused as too long a line
    yield "".join(rest)
