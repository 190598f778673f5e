"""Which rows of a file are items? CSV or Parquet -> items (Arrow, one schema) + rejects (line, column, reason).

A bad row never stops a build and never vanishes: rows read = items + rejects, always. A file that cannot be worked with
as a whole is refused in one sentence (`DataRefused`).
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa

from index.catalogue.fields import parse_fields
from index.catalogue.reader import NOT_UTF8, Row, Wanted, read_rows
from index.errors import DataRefused
from index.progress import Report, silent

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
CELL_LIMIT = 1_000_000  # characters
LOWEST_PRICE, HIGHEST_PRICE = 1e-6, 1e12  # what is outside is a slip, and float32 would lose it
UNDECODED_LIMIT = 0.01  # share of rows with bytes that are not UTF-8, above which the file as a whole is not UTF-8

_NUMBER = re.compile(r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:e[+-]?\d{1,9})?", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"(\d{1,20}),(\d{1,2})", re.ASCII)  # "12,50"; "1,299" could be either and is refused
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which column of the file is what. The defaults are the challenge's; a default `image` may be missing."""

    id: str = "sample_id"
    text: str = "catalog_content"
    image: str = "image_link"
    price: str = "price"


@dataclass(frozen=True)
class Reject:
    """A row that is no item. `line` is where it starts, the header's being 1; in Parquet the row's number."""

    line: int
    item_id: str
    column: str  # "" where the row as a whole is at fault
    reason: str  # what comes before a colon is the same for all rows of its kind


@dataclass(frozen=True)
class Catalogue:
    """`items` has the schema `ITEMS`, in one chunk per batch read, in the file's order."""

    items: pa.Table
    rejects: list[Reject]

    @property
    def rejected(self) -> Counter[str]:
        """How many rows are no items, by reason."""
        return Counter(reject.reason.partition(":")[0].partition(" (")[0] for reject in self.rejects)


def read_catalogue(path: Path, columns: Columns, *, priced: bool, report: Report = silent) -> Catalogue:
    """Read items to learn from (`priced`) or to price. Holds the items' own bytes and one batch of rows.

    Without `priced` the price column may be missing and its cells may be anything (null where no price), and a row may
    have a photograph in place of text. Raises `DataRefused` for a file that is no catalogue or has no usable row.
    """
    judge = Judge(path, columns, priced=priced, unique=True)
    tables, rejects = [ITEMS.empty_table()], []
    for rows in read_rows(path, wanted_columns(columns, priced)):
        verdicts = [judge.fault(row) for row in rows]
        rejects += [reject for reject in verdicts if reject]
        tables.append(_items([row for row, reject in zip(rows, verdicts, strict=True) if not reject]))
        report("reading", judge.read, None)
    judge.refuse_if_unusable()
    return Catalogue(pa.concat_tables(tables), rejects)


def make_items(
    ids: Sequence[str],
    texts: Sequence[str],
    images: Sequence[str | None],
    prices: Sequence[float | None] | None = None,
) -> pa.Table:
    """Items (schema `ITEMS`) from columns of equal length; `prices` in money. Raises `DataRefused` for an odd price."""
    prices = [None] * len(ids) if prices is None else prices
    parsed = [parse_fields(text) for text in texts]
    for item_id, price in zip(ids, prices, strict=True):
        if price is not None and not LOWEST_PRICE <= price <= HIGHEST_PRICE:
            raise DataRefused(f"item {item_id!r} has the price {price}: give a positive amount of money, or none.")
    columns = (
        ids,
        texts,
        [item.name for item in parsed],
        [image or None for image in images],
        [None if price is None else math.log(price) for price in prices],
        [item.amount for item in parsed],
        [item.unit for item in parsed],
        [item.pack for item in parsed],
    )
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, ITEMS, strict=True)]
    except UnicodeEncodeError as error:
        raise DataRefused("a text has characters that are not Unicode: save it as UTF-8.") from error
    return pa.Table.from_arrays(arrays, schema=ITEMS)


def read_price(cell: str | None) -> float:
    """A price in money. Raises `ValueError` with the reason for one that cannot be a price."""
    written = (cell or "").strip()
    if not written:
        raise ValueError("no price")
    if _NOT_FINITE.fullmatch(written):
        raise ValueError(f"price is not finite: {written}")
    if comma := _DECIMAL_COMMA.fullmatch(written):
        written = f"{comma[1]}.{comma[2]}"
    if not _NUMBER.fullmatch(written):
        raise ValueError(f"price is not a plain number: {_short(written)}")
    price = float(written)
    if price <= 0:
        raise ValueError(f"price is not positive: {_short(written)}")
    if not LOWEST_PRICE <= price <= HIGHEST_PRICE:
        raise ValueError(f"price is beyond {LOWEST_PRICE:g} to {HIGHEST_PRICE:g}: {_short(written)}")
    return price


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write rejects as CSV. A cell that a spreadsheet would take for a formula gets a ' in front."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Reject))
        writer.writerows(
            (reject.line, _inert(reject.item_id), _inert(reject.column), _inert(reject.reason)) for reject in rejects
        )
    partial.replace(path)


class Judge:
    """Says of each row whether it is an item. Of two usable rows with one id only the first is, if `unique`."""

    def __init__(self, path: Path, columns: Columns, *, priced: bool, unique: bool) -> None:
        self.read = 0  # rows
        self._path = path
        self._columns = columns
        self._priced = priced
        self._unique = unique
        self._seen: set[str] = set()
        self._kinds: Counter[tuple[str, str]] = Counter()  # of rejects: column, reason
        self._first_reject = 0  # its line

    def fault(self, row: Row) -> Reject | None:
        """The first thing wrong with a row; None for an item."""
        self.read += 1
        item_id = (row.cells[0] or "").strip()
        column, reason = self._first_fault(row, item_id)
        if reason:
            self._kinds[column, reason.partition(":")[0].partition(" (")[0]] += 1
            self._first_reject = self._first_reject or row.line
            return Reject(row.line, _short(item_id), column, reason)
        if self._unique:
            self._seen.add(item_id)
        return None

    def _first_fault(self, row: Row, item_id: str) -> tuple[str, str]:
        """(column, reason), ("", "") for none."""
        columns = self._columns
        if row.fault:
            return "", row.fault
        for name, cell in zip((columns.id, columns.text, columns.image, columns.price), row.cells, strict=True):
            if reason := _cell_fault(cell or ""):
                return name, reason
        _, text, image, price = ((cell or "").strip() for cell in row.cells)
        if not item_id or item_id in self._seen:
            return columns.id, "an id seen before" if item_id else "no id"
        if not text and (self._priced or not image):
            return columns.text, "no text" if self._priced else "no text and no photograph"
        try:
            if self._priced:
                read_price(price)
        except ValueError as error:
            return columns.price, str(error)
        return "", ""

    def refuse_if_unusable(self) -> None:
        """Once all rows are read. Raises `DataRefused` for a file that is none of ours as a whole."""
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


def wanted_columns(columns: Columns, priced: bool) -> list[Wanted]:
    """The columns in the order id, text, image, price. One that an option names must be there."""
    usual = Columns()
    return [
        Wanted("id", columns.id, True),
        Wanted("text", columns.text, True),
        Wanted("image", columns.image, columns.image != usual.image),
        Wanted("price", columns.price, priced or columns.price != usual.price),
    ]


def _items(rows: Sequence[Row]) -> pa.Table:
    cells = [[cell or "" for cell in row.cells] for row in rows]
    return make_items(
        [item_id.strip() for item_id, *_ in cells],
        [text for _, text, *_ in cells],
        [image.strip() for _, _, image, _ in cells],
        [_price_or_none(price) for *_, price in cells],
    )


def _price_or_none(cell: str) -> float | None:
    """For items to be priced, whose own price is only kept where it is one."""
    try:
        return read_price(cell)
    except ValueError:
        return None


def _short(words: str) -> str:
    """What a reject shows of a cell: no more than a line, and nothing that UTF-8 cannot write."""
    shown = words if len(words) <= 80 else words[:79] + "…"
    return shown.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
