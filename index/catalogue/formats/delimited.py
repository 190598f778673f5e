"""Records of a delimited text file (CSV and its kin). A stray quote cannot hide one row inside another.

Lines go through the csv module, strictly, in blocks. Where a record's quotes do not come out, or the lines that it
spans are rows themselves, it is read again as lines: a row that has its cells without quoting is one, the rest is a
record with a fault, and the reading goes on at the next line that is as long as rows are.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat, zip_longest
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
_MOST_BYTES = 4  # of a character in UTF-8
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
        self._chosen = frozenset(range(self._width) if columns is None else columns)
        self._nothing = self._pick([None] * self._width)
        self._tally = tally
        self._waiting = b""  # UTF-8 that is read, and not yet cut into records
        self._number = 1  # of the first line that waits
        self._lines: list[str] = []  # that wait, while they are cut by the csv module
        self._broken = False  # whether these hold bytes that are not of the text's encoding
        self._plain = True  # whether the lines cut last were a row each, of which none was at fault
        self._cut_rows: list[tuple[int, list[str]]] = []  # number of the first line, cells
        self._faults: dict[int, str] = {}  # number of the first line -> fault

    def batches(self, text: TextFile) -> Iterator[list[Record]]:
        """Cut the text into records, a batch for each block of text."""
        blocks: list[bytes] = []
        size = enough = 0  # characters that wait; how many must wait before it is worth to try again
        for block in _whole_lines(text):
            if len(block) > LINE_LIMIT:
                waiting = _cut(self._path, _decoded(b"".join([self._waiting, *blocks]))[0], self._number)
                _cut(self._path, _decoded(block)[0], self._number + len(waiting))
            blocks.append(block)
            # Counted only where they may be too few: there is a character to every four bytes at least.
            size += len(block) if len(block) >= _MOST_BYTES * (enough - size) else _characters(block)
            if size >= enough:
                self._waiting = b"".join([self._waiting, *blocks])
                blocks = []
                quickly = self._cut_plainly if self._plain else self._cut_at_quotes
                if batch := quickly() or self._cut_records(final=False):
                    yield batch
                size = _characters(self._waiting)
                enough = 2 * size
        self._waiting = b"".join([self._waiting, *blocks])
        if batch := self._cut_records(final=True):
            yield batch

    def _cut_plainly(self) -> list[Record]:
        """Cut the lines that wait where each of them is a whole row without any fault; do nothing where it is not."""
        width = self._width
        if self._number <= self._dialect.before:
            return []
        try:
            lines = _cut(self._path, self._waiting.decode(), self._number)
            rows = list(self._csv_reader(lines))
        except (UnicodeDecodeError, csv.Error):
            return []
        if not (len(rows) == len(lines) and set(map(len, rows)) == {width} and all(map(any, rows))):
            return []
        self._waiting = b""
        return self._numbered(rows, count(self._number), self._number + len(lines))

    def _cut_at_quotes(self) -> list[Record]:
        """Cut what waits at its quotes, where each of them encloses a cell or stands doubled in one, into whole rows.

        Does nothing where any does not, or where a row has a fault. The short way for rows over many lines: it looks
        at no character within quotes.
        """
        dialect = self._dialect
        if not dialect.quoting or dialect.delimiter not in NAMES or self._number <= dialect.before:
            return []
        parts = split_at_quotes(self._waiting, dialect.delimiter)
        if parts is None:
            return []
        lines, quoted, waiting = parts
        rows = [line.split(dialect.delimiter) for line in lines]
        if set(map(len, rows)) != {self._width} or waiting.count(b"\n") >= MOST_LINES or len(waiting) > LINE_LIMIT:
            return []
        try:
            numbers = self._fill(lines, rows, quoted)
        except UnicodeDecodeError:
            return []
        if not numbers or not all(map(any, rows)):
            return []
        self._waiting = waiting
        *numbers, following = numbers
        return self._numbered(rows, numbers, following)

    def _fill(self, lines: list[str], rows: list[list[str]], quoted: list[bytes]) -> list[int]:
        """Put cells into the places where their quotes were, and return the number of each row's line and the next.

        Returns nothing where a row may have swallowed others.
        """
        delimiter, chosen, width = self._dialect.delimiter.encode(), self._chosen, self._width
        least = min(self._dialect.widths) - 1
        number, at = self._number, 0
        numbers = [number]
        for line, row in zip(lines, rows, strict=True):
            number += 1
            if "\0" in line:
                first, last = at, -1  # the row's first piece; the delimiters in the last of its lines, if several
                for place, mark in enumerate(row):
                    if mark[:1] != "\0":
                        continue
                    pieces = len(mark)
                    cell = quoted[at] if pieces == 1 else b'"'.join(quoted[at : at + pieces])
                    at += pieces
                    row[place] = cell.decode() if place in chosen else "quoted" if cell else ""
                    if breaks := cell.count(b"\n"):
                        number += breaks
                        last = cell.count(delimiter, cell.rindex(b"\n")) + width - 1 - place
                    elif last >= 0:
                        last += cell.count(delimiter)
                if last >= least and self._dialect.swallowed(_as_written(line, quoted[first:at])):
                    return []
            numbers.append(number)
        return numbers

    def _numbered(self, rows: list[list[str]], numbers: Iterable[int], following: int) -> list[Record]:
        """Make records of rows without any fault; `following` is the number of the line behind them."""
        self._number = following
        return list(map(as_record, zip(numbers, map(self._pick, rows), repeat(""))))

    def _cut_records(self, *, final: bool) -> list[Record]:
        """Cut the lines that wait into records; unless `final`, those of a last one that is still open wait on."""
        text, self._broken = _decoded(self._waiting)
        lines = self._lines = _cut(self._path, text, self._number)
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
        self._waiting = "".join(lines[at:]).encode("utf-8", "surrogateescape")
        self._lines = []
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
        if not any(map(str.strip, cells)):
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


def split_at_quotes(block: bytes, delimiter: str) -> tuple[list[str], list[bytes], bytes] | None:
    """Split a block of whole lines at its quotes: the rows with a NUL where each quoted piece was, these, what waits.

    Of pieces with a doubled quote between them the NULs stand together. What waits is a last row that is still open.
    None where a quote stands elsewhere than at an end of a cell, or what is outside of quotes is not plain UTF-8.
    """
    if b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
        return None
    pieces = block.split(b'"')
    separator = delimiter.encode()
    if not {piece[:1] for piece in pieces[2::2]} <= {b"", separator, b"\n", b"\r"}:
        return None
    if not {piece[-1:] for piece in pieces[:-1:2]} <= {b"", separator, b"\n"}:
        return None
    waiting = b""
    if len(pieces) % 2 == 0:  # the last is open
        start = next((at for at in range(len(pieces) - 2, -1, -2) if b"\n" in pieces[at]), -1)
        if start < 0:
            return None
        end = pieces[start].rindex(b"\n") + 1
        waiting = b'"'.join([pieces[start][end:], *pieces[start + 1 :]])
        pieces[start:] = [pieces[start][:end]]
    try:
        lines = b"\0".join(pieces[::2]).decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        return None
    if not lines[-1]:
        lines.pop()
    return lines, pieces[1::2], waiting


def _as_written(line: str, quoted: list[bytes]) -> list[str]:
    """Return the lines of a row that `split_at_quotes` split."""
    outside = line.split("\0")
    inside = (f'"{piece.decode()}"' for piece in quoted)
    row = "".join(part for pair in zip_longest(outside, inside, fillvalue="") for part in pair)
    return list(io.StringIO(row, newline=""))


def _decoded(block: bytes) -> tuple[str, bool]:
    """Return UTF-8 as text, and whether it holds bytes that are none."""
    try:
        return block.decode(), False
    except UnicodeDecodeError:
        return block.decode("utf-8", "surrogateescape"), True


def _characters(block: bytes) -> int:
    return len(_decoded(block)[0])


def _whole_lines(text: TextFile) -> Iterator[bytes]:
    """Yield the text in UTF-8, in pieces that end where a line ends."""
    rest: list[bytes] = []
    waiting = 0
    for piece in text.blocks():
        cut = piece.rfind(b"\n") + 1 or piece.rfind(b"\r", 0, -1) + 1
        if cut:
            yield b"".join([*rest, piece[:cut]])
            rest, waiting = [], 0
        rest.append(piece[cut:])
        waiting += len(piece) - cut
        if waiting > _MOST_BYTES * LINE_LIMIT:
            break  # what comes of it is refused as too long a line
    yield b"".join(rest)
