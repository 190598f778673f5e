"""Rows of a catalogue's file: the cells of the columns asked for, in batches, whatever kind of file it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from index.catalogue.columns import ColumnSpec, find_columns
from index.catalogue.formats.opening import open_source
from index.catalogue.formats.records import Record


def read_rows(path: Path, specs: Sequence[ColumnSpec]) -> Iterator[list[Record]]:
    """Read a file in batches of rows, with one batch in memory at a time. Raises `DataRefused`.

    A wrong column is the data refused (exit 3), not a usage error, also where an option named it: which of the two is
    wrong only the user knows.
    """
    source = open_source(path)
    places = find_columns(path, source.header, specs)
    present = [place for place in places if place is not None]
    for batch in source.batches(present):
        if len(present) == len(places):
            yield batch
            continue
        order = [None if place is None else present.index(place) for place in places]
        yield [
            record._replace(cells=tuple(None if place is None else record.cells[place] for place in order))
            for record in batch
        ]


def shown(cell: str) -> str:
    """Return what a message shows of a cell: no more than a line, and nothing that UTF-8 cannot write."""
    short = cell if len(cell) <= 80 else cell[:79] + "…"
    return short.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
