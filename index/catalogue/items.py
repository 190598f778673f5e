"""Items of a file: its rows -> items (Arrow, one schema) and rejects (line, column, reason).

A bad row never stops a build and never vanishes: rows read = items + rejects, always. A file that cannot be worked with
as a whole is refused in one sentence (`DataRefused`).
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from index.catalogue.columns import Columns, column_specs
from index.catalogue.fields import parse_fields
from index.catalogue.prices import HIGHEST_PRICE, LOWEST_PRICE, read_price
from index.catalogue.reader import NOT_UTF8, Row, read_rows, shown
from index.errors import DataRefused
from index.files import atomic_write
from index.progress import OnProgress, silent

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("image", pa.string()),  # a URL or a path, as the file has it
        pa.field("log_price", pa.float32()),  # ln of money; null where an item has no price
        pa.field("amount", pa.float32()),  # the listing's total in the canonical member of `unit`
        pa.field("unit", pa.string(), nullable=False),  # one of `units.UNITS`
        pa.field("pack", pa.int16(), nullable=False),
    ]
)
CATEGORY, NUMBER = "category:", "number:"  # of what begins so, a catalogue's own columns: text and float64, or null
CELL_LIMIT = 1_000_000  # characters
UNDECODED_LIMIT = 0.01  # share of rows with bytes that are not UTF-8, above which the file as a whole is not UTF-8


@dataclass(frozen=True)
class Reject:
    """A row that is no item. `line` is where it starts, the header's being 1; in Parquet the row's number."""

    line: int
    item_id: str
    column: str  # "" where the row as a whole is at fault
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what differs from row to row, so that equal reasons can be counted."""
        return self.reason.partition(":")[0].partition(" (")[0]


class Item(NamedTuple):
    """The cells of a row that is an item."""

    item_id: str
    text: str
    image: str  # "" for none
    price: float | None  # money; None where the cell holds no price


@dataclass(frozen=True)
class Catalogue:
    """Items and rejects of a file. `items` has the schema `ITEMS`, in the file's order, a chunk for each batch read."""

    items: pa.Table
    rejects: list[Reject]

    @property
    def rejected(self) -> Counter[str]:
        """Count of rejected rows, by the kind of reason."""
        return Counter(reject.kind for reject in self.rejects)


def read_catalogue(path: Path, columns: Columns, *, priced: bool, on_progress: OnProgress = silent) -> Catalogue:
    """Read items to learn from (`priced`) or to price. Holds the items' own bytes and one batch of rows.

    Without `priced` the price column may be missing and its cells may be anything (null where no price), and a row may
    have a photograph in place of text. Raises `DataRefused` for a file that is no catalogue or has no usable row.
    """
    validator = RowValidator(path, columns, priced=priced, unique=True)
    tables: list[pa.Table] = [ITEMS.empty_table()]
    rejects: list[Reject] = []
    for rows in read_rows(path, column_specs(columns, priced=priced)):
        verdicts = [validator.validate(row) for row in rows]
        rejects += [verdict for verdict in verdicts if isinstance(verdict, Reject)]
        if items := [verdict for verdict in verdicts if isinstance(verdict, Item)]:
            ids, texts, images, prices = zip(*items, strict=True)
            tables.append(make_items(ids, texts, images, prices))
        on_progress("reading", validator.read, None)
    validator.refuse_if_unusable()
    return Catalogue(pa.concat_tables(tables), rejects)


def make_items(
    ids: Sequence[str],
    texts: Sequence[str],
    images: Sequence[str | None],
    prices: Sequence[float | None] | None = None,
    *,
    further: Mapping[str, Sequence[str | float | None]] = MappingProxyType({}),
) -> pa.Table:
    """Make items (schema `ITEMS`) of equally long columns; `prices` in money. Raises `DataRefused` for an odd price.

    `further` columns stand behind them, by name: `category:NAME` of text, `number:NAME` of numbers.
    """
    prices = [None] * len(ids) if prices is None else prices
    parsed = [parse_fields(text) for text in texts]
    for item_id, price in zip(ids, prices, strict=True):
        if price is not None and not LOWEST_PRICE <= price <= HIGHEST_PRICE:
            raise DataRefused(f"item {item_id!r} has the price {price}: give a positive amount of money, or none.")
    schema = pa.schema([*ITEMS, *(pa.field(name, further_type(name)) for name in further)])
    columns = (
        ids,
        texts,
        [item.name for item in parsed],
        [image or None for image in images],
        [None if price is None else math.log(price) for price in prices],
        [item.amount for item in parsed],
        [item.unit for item in parsed],
        [item.pack for item in parsed],
        *further.values(),
    )
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    except UnicodeEncodeError as error:
        raise DataRefused("a text has characters that are not Unicode: save it as UTF-8.") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def further_type(column: str) -> pa.DataType:
    """The type of a column that stands behind those of `ITEMS`."""
    assert column.startswith((CATEGORY, NUMBER)), column
    return pa.string() if column.startswith(CATEGORY) else pa.float64()


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write rejects as CSV. A cell that a spreadsheet would take for a formula gets a ' in front."""
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Reject))
        writer.writerows(
            (reject.line, _inert(reject.item_id), _inert(reject.column), _inert(reject.reason)) for reject in rejects
        )


class RowValidator:
    """A check that tells items from rejects. Of two usable rows with one id only the first is an item, if `unique`."""

    def __init__(self, path: Path, columns: Columns, *, priced: bool, unique: bool) -> None:
        self.read = 0  # rows
        self._path = path
        self._columns = columns
        self._priced = priced
        self._unique = unique
        self._seen: set[str] = set()
        self._kinds: Counter[tuple[str, str]] = Counter()  # of rejects: column, kind of reason
        self._first_reject = 0  # its line

    def validate(self, row: Row) -> Item | Reject:
        """Return the item that a row is, or the first thing wrong with it."""
        self.read += 1
        item_id, text, image, price_cell = (cell or "" for cell in row.cells)
        item_id, price = item_id.strip(), None
        column, reason = self._first_fault(row, item_id)
        if not reason:
            try:
                price = read_price(price_cell)
            except ValueError as error:  # of an item to be priced, its own price is only kept where it is one
                column, reason = (self._columns.price, str(error)) if self._priced else ("", "")
        if reason:
            reject = Reject(row.line, shown(item_id), column, reason)
            self._kinds[column, reject.kind] += 1
            self._first_reject = self._first_reject or row.line
            return reject
        if self._unique:
            self._seen.add(item_id)
        return Item(item_id, text, image.strip(), price)

    def _first_fault(self, row: Row, item_id: str) -> tuple[str, str]:
        """Return (column, reason) of the first fault beside the price, ("", "") if there is none."""
        columns = self._columns
        if row.fault:
            return "", row.fault
        for name, cell in zip((columns.id, columns.text, columns.image, columns.price), row.cells, strict=True):
            if reason := _cell_fault(cell or ""):
                return name, reason
        _, text, image, _ = ((cell or "").strip() for cell in row.cells)
        if not item_id or item_id in self._seen:
            return columns.id, "an id seen before" if item_id else "no id"
        if not text and (self._priced or not image):
            return columns.text, "no text" if self._priced else "no text and no photograph"
        return "", ""

    def refuse_if_unusable(self) -> None:
        """Raise `DataRefused` for a file that as a whole cannot be a catalogue; call it once all rows are read."""
        path, read = self._path, self.read
        if not read:
            raise DataRefused(f"{path} has a header and no rows.")
        undecoded = self._kinds["", NOT_UTF8]
        if undecoded > UNDECODED_LIMIT * read:
            raise DataRefused(f"{path} is not UTF-8: {undecoded} of {read} rows are not. Save it as UTF-8.")
        if self._kinds.total() == read:
            (column, reason), times = self._kinds.most_common(1)[0]
            where = f" in column {column!r}" if column else ""
            raise DataRefused(
                f"{path} has no usable row: all {read} were rejected, {times} of them with: {reason}{where} "
                f"(the first at line {self._first_reject})."
            )


def _cell_fault(cell: str) -> str:
    if "\0" in cell:
        return "a NUL byte"
    return f"a cell over {CELL_LIMIT} characters: {len(cell)}" if len(cell) > CELL_LIMIT else ""


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
