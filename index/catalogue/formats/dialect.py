"""Dialect of a delimited file, found from its first lines: delimiter, header, quoting; no column is understood."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

SAMPLE = 1 << 17  # characters that are looked at
HEADER_WITHIN = 50  # records of which one is the header
USUAL_SHARE = 0.1  # of rows, and three at least: lengths that so many have are no accident

NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)
_NUMBER = re.compile(r"[^\w\d]{0,4}\d[\d.,' \u00a0\u202f]*(?:\W{0,2}|\W?[A-Za-z]{1,3}\.?)$")
_TEMPLATE = re.compile(r"(?:TemplateType=|settings=)", re.IGNORECASE)  # Amazon's category templates
_TEMPLATE_ROW = {name: re.compile(rf"\b{name}=(\d+)") for name in ("attributeRow", "dataRow")}

_WORD, _DIGIT = re.compile(r"\w+"), re.compile(r"\d")

Numbered = tuple[int, int, list[str]]  # line, lines that it takes, cells


@dataclass(frozen=True)
class Dialect:
    """Rules by which the lines of a file are cut into records, and what its rows usually look like."""

    delimiter: str
    quoting: bool  # false: a quote is a character like any other
    header: tuple[str, ...]
    before: int  # lines before the first record, the header's own included
    passed_over: int  # of these, records that are neither header nor blank
    header_lines: tuple[int, int]  # the first, the last
    widths: frozenset[int]  # counts of cells that rows usually have
    numbers: frozenset[int]  # columns of nothing but numbers
    shapes: frozenset[str]  # of the first column's cells, where nearly all have one of a few, with a digit in it
    indented: bool  # cells begin with blanks, as in "a, b, c"

    @cached_property
    def _cell(self) -> re.Pattern[str]:
        at_end = rf"(?={re.escape(self.delimiter)}|$)"
        return re.compile(rf'"((?:[^"]|"")*)"{at_end}|([^{re.escape(self.delimiter)}]*)')

    def split(self, line: str) -> list[str]:
        """Cut one line into cells, whatever its quotes: one that does not enclose a whole cell is part of the text."""
        line = line.rstrip("\r\n")
        if not self.quoting:
            return line.split(self.delimiter)
        cells: list[str] = []
        at = 0
        while at <= len(line):
            match = self._cell.match(line, at)
            assert match is not None  # its second half matches anything
            cells.append(match[2] if match[1] is None else match[1].replace('""', '"'))
            at = match.end() + 1
        return cells

    def is_as_long_as_a_row(self, line: str) -> bool:
        """Tell whether a line by itself has as many cells as rows of the file usually have."""
        length = len(self.split(line))
        return length > 1 and length in self.widths

    def looks_like_a_row(self, line: str) -> bool:
        """Tell whether a line by itself is a row like the others of the file."""
        cells = self.split(line)
        if len(cells) not in self.widths or len(cells) < 2:
            return False
        if not self.indented and any(cell[:1] == " " for cell in cells):
            return False
        numbers = [cells[column].strip() for column in self.numbers if column < len(cells)]
        if len(cells) == 2 and not (numbers or self.shapes):
            return False  # one delimiter in a line is no evidence
        if self.shapes and shape_of(cells[0]) not in self.shapes:
            return False
        return all(is_number(cell) for cell in numbers if cell) and (not numbers or any(numbers))

    def swallowed(self, lines: Sequence[str]) -> bool:
        """Tell whether the lines of one record are rows themselves, which a stray quote has made into cells of it."""
        least = min(self.widths) - 1
        if lines[0].count(self.delimiter) < least or lines[-1].count(self.delimiter) < least:
            return False
        if not (self.looks_like_a_row(lines[0]) and self.looks_like_a_row(lines[-1])):
            return False
        return 2 * sum(map(self.looks_like_a_row, lines)) > len(lines)


def is_number(cell: str) -> bool:
    """Tell whether a cell holds one number, with a sign of currency or a unit of three letters at most."""
    return _NUMBER.match(cell) is not None


def shape_of(cell: str) -> str:
    """Return what ids of one kind have in common: "9-9" of "AB12-003"."""
    return _WORD.sub(lambda word: "9" if _DIGIT.search(word[0]) else "a", cell.strip())


def find_dialect(lines: Sequence[str]) -> Dialect:
    """Find the dialect of a file from its first lines, at least one of them not blank.

    Of the delimiters under which a header of two names or more is found, that one is taken under which most lines are
    as long as the header; of equals the one with most columns. A file without such a header has one column.
    """
    skipped = 0
    delimiters = list(NAMES)
    first = next(number for number, line in enumerate(lines) if line.strip())
    if match := _SEPARATOR_LINE.match(lines[first].lstrip("\ufeff")):
        skipped, delimiters = first + 1, [match[1]]
    candidates = [found for delimiter in delimiters if (found := _candidate(lines, skipped, delimiter))]
    if not candidates:
        candidates = [_one_column(lines, skipped, delimiters[0])]
    return max(candidates, key=lambda candidate: candidate[0])[1]


def _candidate(lines: Sequence[str], skipped: int, delimiter: str) -> tuple[tuple[float, int], Dialect] | None:
    """Return (how well it fits, columns) and the dialect with this delimiter; None where no header shows it."""
    records = list(_records(lines, skipped, delimiter))
    unquoted = [
        (number, 1, line.rstrip("\r\n").split(delimiter))
        for number, line in enumerate(lines[skipped:], skipped + 1)
        if line.strip()
    ]
    place, data = find_header(records)
    if place is None or len(records[place][2]) < 2:
        return None
    line, _, header = records[place]
    width = len(header)
    quoting = not _quotes_are_text(unquoted, line, width, records)
    if not quoting:
        records = unquoted
        place = next(place for place, record in enumerate(records) if record[0] == line)
        data = place + 1
    rows = records[data:]
    fit = _fit(rows, width) - (0.1 if place else 0.0)
    return (round(fit, 1), width), _dialect(delimiter, quoting, records, place, rows)


def _records(lines: Sequence[str], skipped: int, delimiter: str) -> Iterator[Numbered]:
    """Cut lines into records that are not blank, as a spreadsheet would: a stray quote is no error."""
    reader = csv.reader(lines[skipped:], delimiter=delimiter)
    start = skipped + 1
    try:
        for cells in reader:
            end = skipped + reader.line_num + 1
            if any(cell.strip() for cell in cells):
                yield start, end - start, cells
            start = end
    except csv.Error:  # a cell beyond the limit: what came before is the sample
        return


def find_header(records: Sequence[Numbered]) -> tuple[int | None, int]:
    """Return the places of the header and of the first row among the records; None where there is no header.

    The header is the first record with as many cells as most have, at least half of them filled. One that is not the
    first must moreover hold names alone, no number and no address, and a column must have digits from there on alone:
    it could be a row under a banner. Of two rows of names, the first those of groups of columns, it is the second.
    """
    if not records:
        return None, 0
    if _TEMPLATE.match(records[0][2][0]):
        return _template(records)
    lengths = Counter(len(cells) for _, _, cells in records if len(cells) > 1)
    if not lengths:
        return None, 0
    usual = max(lengths, key=lambda length: (lengths[length], length))
    for place, (_, _, cells) in enumerate(records[:HEADER_WITHIN]):
        filled = [cell for cell in cells if cell.strip()]
        whole = len(cells) >= usual and len(filled) >= max(2, usual / 2)
        if whole and (not place or (_are_names(filled) and _digits_begin(cells, records[place + 1 : place + 21]))):
            header = place + _names_groups(cells, records[place + 1 : place + 22])
            return header, header + 1
    return 0, 1


def _names_groups(cells: Sequence[str], below: Sequence[Numbered]) -> bool:
    """Tell whether a row names groups of columns alone: the next fills its gaps, two or more, with names of columns."""
    names = below[0][2] if below else []
    filled = [name for name in names if name.strip()]
    if len(filled) < 2 + sum(bool(cell.strip()) for cell in cells) or not _are_names(filled):
        return False
    if any(cell.strip() and not name.strip() for cell, name in zip_longest(cells, names, fillvalue="")):
        return False
    return not any(map(_DIGIT.search, names)) and _digits_begin(names, below[1:])


def _are_names(cells: Sequence[str]) -> bool:
    odd = any(is_number(cell.strip()) or "://" in cell or len(cell) > 100 for cell in cells)
    return not odd and len(cells) == len(set(cells))


def _digits_begin(header: Sequence[str], records: Sequence[Numbered]) -> bool:
    """Tell whether there is a column with digits in most cells of these rows, and none in its name."""
    for name, *cells in zip_longest(header, *(cells for _, _, cells in records), fillvalue=""):
        filled = [cell for cell in cells if cell.strip()]
        if filled and not _DIGIT.search(name) and 2 * sum(bool(_DIGIT.search(cell)) for cell in filled) > len(filled):
            return True
    return False


def _template(records: Sequence[Numbered]) -> tuple[int, int]:
    """Return the places of header and first row in a template of Amazon's, which names them in its first cell."""
    found = {name: pattern.search(records[0][2][0]) for name, pattern in _TEMPLATE_ROW.items()}
    header = int(match[1]) if (match := found["attributeRow"]) else 3
    data = int(match[1]) if (match := found["dataRow"]) else header + 1
    lines = [line for line, _, _ in records]
    place = next((i for i, line in enumerate(lines) if line >= header), 0)
    return place, next((i for i, line in enumerate(lines) if line >= data and i > place), len(records))


def _quotes_are_text(unquoted: Sequence[Numbered], line: int, width: int, records: Sequence[Numbered]) -> bool:
    """Tell whether quotes enclose no cell: every line has its cells without them, and with them some have not."""
    rows = [cells for number, _, cells in unquoted if number >= line]
    if any(len(cells) != width for cells in rows):
        return False
    cells = [cell for row in rows for cell in row if cell[:1] == '"']
    if not cells or any(len(cell) > 1 and cell[-1] == '"' for cell in cells):
        return False
    return width > 2 or any(taken > 1 for _, taken, _ in records)


def _fit(rows: Sequence[Numbered], width: int) -> float:
    """Return the share of lines in records as long as the header; one shorter counts half: its end may be left off."""
    if not rows:
        return 1.0
    total = sum(taken for _, taken, _ in rows)
    fitting = 0.0
    for _, taken, cells in rows:
        if len(cells) == width or not any(cell.strip() for cell in cells[width:]):
            fitting += taken if len(cells) >= width else taken / 2 * (len(cells) > 1)
    return fitting / total


def _dialect(
    delimiter: str, quoting: bool, records: Sequence[Numbered], place: int, rows: Sequence[Numbered]
) -> Dialect:
    line, taken, header = records[place]
    width = len(header)
    before = rows[0][0] - 1 if rows else line + taken - 1
    single = [cells for _, lines, cells in rows if lines == 1] or [cells for _, _, cells in rows]
    lengths = Counter(map(len, single))
    usual = {length for length, times in lengths.items() if times >= max(3, USUAL_SHARE * len(single))}
    numbers = set()
    for column in range(width):
        filled = [cell for cells in single for cell in cells[column : column + 1] if cell.strip()]
        if 2 * len(filled) > len(single) and sum(map(is_number, map(str.strip, filled))) > 0.95 * len(filled):
            numbers.add(column)
    return Dialect(
        delimiter=delimiter,
        quoting=quoting,
        header=tuple(header),
        before=before,
        passed_over=place + (len(records) - len(rows) - place - 1),
        header_lines=(line, line + taken - 1),
        widths=frozenset({width} | {length for length in usual if length < width}),
        numbers=frozenset(numbers),
        shapes=_usual_shapes([cells[0] for cells in single if cells]),
        indented=any(cell[:1] == " " for cells in single for cell in cells),
    )


def _usual_shapes(cells: Sequence[str]) -> frozenset[str]:
    times = Counter(map(shape_of, cells)).most_common(3)
    usual = {shape: count for shape, count in times if "9" in shape}
    return frozenset(usual) if sum(usual.values()) >= 0.95 * len(cells) else frozenset()


def _one_column(lines: Sequence[str], skipped: int, delimiter: str) -> tuple[tuple[float, int], Dialect]:
    records = list(_records(lines, skipped, delimiter))
    return (0.0, 1), _dialect(delimiter, True, records, 0, records[1:])
