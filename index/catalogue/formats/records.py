"""Records of a file, and the source that reads them; no kind of file is known here, and no column's meaning."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

BATCH = 4_096  # records
BATCH_CHARACTERS = 32_000_000  # a batch ends here too, where cells are huge
LINE_LIMIT = 16_000_000  # characters that a line, or a record over many lines, may have
_THREE_PLACES = re.compile(r"-?\d+\.\d{3}")
NOT_UTF8 = "not UTF-8"  # the fault of a record whose bytes are no text

Cells = tuple[str | None, ...]


class Record(NamedTuple):
    """One record of a file."""

    line: int  # where it starts, the file's first line being 1; in Parquet and workbooks the row's number; no two alike
    cells: Cells  # of the columns asked for, in their order; None for one that the record does not have
    fault: str  # why the record could not be cut into cells, "" if it could


as_record = partial(tuple.__new__, Record)  # of (line, cells, fault): twice as fast as Record(...), for millions


@dataclass
class Tally:
    """Counts and remarks of one reading of a source."""

    records: int = 0  # delivered, those with a fault counted
    blank: int = 0  # lines, or rows, with nothing in them
    remarks: dict[str, tuple[int, str]] = field(default_factory=dict)  # what was found -> how often, the first of them

    def remark(self, kind: str, first: str) -> None:
        """Note what was found; of each kind the first is told in full, and the count of the others."""
        times, earliest = self.remarks.get(kind, (0, first))
        self.remarks[kind] = (times + 1, earliest)

    def clear(self) -> None:
        """Begin anew."""
        self.records, self.blank = 0, 0
        self.remarks.clear()

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each kind of remark: the first that was found, and how many more there are."""
        return tuple(
            first if times == 1 else f"{first.removesuffix('.')}, and {times - 1} more {kind}."
            for kind, (times, first) in self.remarks.items()
        )


Read = Callable[[Sequence[int] | None, Tally], Iterator[list[Record]]]


@dataclass(frozen=True)
class Source:
    """An opened file whose kind is understood. Nothing stays open between two readings.

    `notes` grows while the records are read, `tally` counts them; both begin anew with each call of `batches`.
    """

    path: Path
    kind: str  # completes "taken for": "CSV (semicolon, Windows-1252, gzip)"
    header: tuple[str, ...]  # names as the file has them: some may be empty, or the same
    read: Read = field(repr=False)
    passed_over: int = 0  # lines before the header
    opening_notes: tuple[str, ...] = ()
    # Column -> ISO codes or marks ("$") that its cells are formatted with, and how many of them.
    currencies: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    types: Mapping[int, str] = field(default_factory=dict)  # column -> name of its Arrow type, where it has one
    tally: Tally = field(default_factory=Tally)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences worth telling: how the file had to be read, and what was found in the records read so far."""
        return (*self.opening_notes, *self.tally.sentences())

    @property
    def records(self) -> int:
        """Count of the records of the latest reading, those with a fault counted, blank lines not."""
        return self.tally.records

    def currencies_of(self, column: int) -> Mapping[str, int]:
        """Return the ISO codes and marks of a column's money that the file has beside its cells, with their counts."""
        return self.currencies.get(column, {})

    def batches(self, columns: Sequence[int] | None = None) -> Iterator[list[Record]]:
        """Read the records from the start, one batch in memory at a time, with the cells of these columns or of all.

        Raises `DataRefused` where the file turns out to be damaged on the way.
        """
        self.tally.clear()
        for batch in self.read(columns, self.tally):
            self.tally.records += len(batch)
            yield batch


def plain_number(value: float) -> str:
    """Return how a typed number is written as a cell: a whole one without ".0", and never as if it were thousands."""
    return unmistakable(repr(value).removesuffix(".0"))


def unmistakable(number: str) -> str:
    """Return a number with a point for decimals so that 1.299 is not taken for 1299, as it may be in a file of text."""
    return f"{number}0" if _THREE_PLACES.fullmatch(number) else number


def picker(columns: Sequence[int] | None) -> Callable[[Sequence[str | None]], Cells]:
    """Return the function that takes the cells of these columns (all, if None) out of a row as long as the header."""
    if columns is None:
        return tuple
    if len(columns) > 1:
        return itemgetter(*columns)
    if len(columns) == 1:
        [column] = columns
        return lambda row: (row[column],)
    return lambda row: ()


def in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Gather records in batches of at most BATCH, and of about BATCH_CHARACTERS.

    Records that stand on one line are numbered on from it: by its line a record without an id is named.
    """
    batch: list[Record] = []
    characters = line = 0
    for record in records:
        line = max(line + 1, record.line)
        batch.append(record if record.line == line else record._replace(line=line))
        characters += sum(len(cell) for cell in record.cells if cell)
        if len(batch) >= BATCH or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
