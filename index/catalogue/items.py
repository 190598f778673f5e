"""Items of a file: its rows -> items (Arrow, one schema), rows passed over by name, and rejects (line, column, reason).

A bad row never stops a build and never vanishes: rows read = items + rejects + rows passed over, always. A file that
cannot be worked with as a whole is refused in one sentence (`DataRefused`).
"""

import csv
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from index.catalogue.dates import DateReader
from index.catalogue.formats.records import NOT_UTF8, Record
from index.catalogue.further import further_type
from index.catalogue.item_table import NOTHING_GIVEN, make_items
from index.catalogue.money.sale_days import SaleDays
from index.catalogue.money.totals import TOTAL
from index.catalogue.reading import PriceReader, Reading, understand
from index.catalogue.settings import IndexColumns, ReadSettings
from index.catalogue.shared_lines import SharedLines, find_shared_lines, notes_on
from index.catalogue.shops.articles import Article
from index.catalogue.shops.values import read_number
from index.errors import DataRefused
from index.files import atomic_write
from index.progress import OnProgress, silent
from index.visible import excerpt, visible, without_formula

CELL_LIMIT = 1_000_000  # characters
UNDECODED_LIMIT = 0.01  # share of rows with bytes that are not text, above which the file as a whole is none
OLDER_PRICE = "an older price of an item"
AFTER_AS_OF = "a price after as-of"
NO_TEXT = "no text"
NO_DAYS = NO_DISCOUNT = ("", "")


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
    price: float | None  # money; None where the row has none
    parent: str  # "" for none
    date: dt.date | None  # of the price
    categories: tuple[str | None, ...]
    numbers: tuple[float | None, ...]


_new_item = partial(tuple.__new__, Item)  # several times as fast as Item


@dataclass(frozen=True)
class Catalogue:
    """Items and rejects of a file.

    `items` has the schema `ITEMS`, and behind it the further columns (`index.catalogue.further`), in the file's order,
    a chunk for each batch read.
    """

    items: pa.Table
    rejects: list[Reject]
    passed_over: Counter[str]  # rows that are no items and at no fault, by what they are
    several: int  # items that stand for several variants at one price
    made_ids: tuple[str, ...]  # of items without an id of their own, which are named by their line
    prices: pa.ChunkedArray  # (n,) float64 money as the file has it; null where an item has none
    reading: Reading
    shared: SharedLines  # first lines that are no names: the index's, where the items are for one, and the file's

    @property
    def unnamed(self) -> int:
        """Count of items without an id of their own."""
        return len(self.made_ids)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the file was read, and on what the reader may not expect."""
        return (*self.reading.notes, *_unnamed_note(self.unnamed, *self.made_ids[:1]), *self._shared_note)

    @property
    def reading_notes(self) -> tuple[str, ...]:
        """Sentences for whoever reads a file and sees no more of it: what it was taken for, what was passed over."""
        notes = reading_notes(self.reading, self.passed_over, self.unnamed, *self.made_ids[:1])
        return (*notes, *self._shared_note)

    @property
    def _shared_note(self) -> tuple[str, ...]:
        known = self.reading.shared.lines if self.reading.shared else frozenset()
        return notes_on(self.shared.lines - known, kept=self.shared.kept)

    @property
    def rejected(self) -> Counter[str]:
        """Count of rejected rows, by the kind of reason."""
        return Counter(reject.kind for reject in self.rejects)


def read_catalogue(
    path: Path,
    settings: ReadSettings,
    *,
    priced: bool,
    index: IndexColumns | None = None,
    as_of: dt.date | None = None,
    on_progress: OnProgress = silent,
) -> Catalogue:
    """Read items to learn from (`priced`) or to price. Holds the items' own bytes and one batch of rows.

    `index`: the columns that an index reads, where the items are for one; its further columns are theirs, under its
    names. `as_of`: prices of a later date are passed over.

    Without `priced` the file may have no prices and its cells may be anything (null where no price), and a row may
    have a photograph in place of text. Raises `DataRefused` for a file that is no catalogue or has no usable row.
    """
    reading = understand(path, settings, priced=priced, index=index, as_of=as_of, on_progress=on_progress)
    return read_items(reading, priced, on_progress)


def read_items(reading: Reading, priced: bool, on_progress: OnProgress = silent) -> Catalogue:
    """Read the items of a file that is understood, as `read_catalogue` does."""
    reader = ItemReader(reading, priced=priced, unique=True)
    tables: list[pa.Table] = []
    prices: list[pa.Array] = []
    rejects: list[Reject] = []
    for batch in reading.batches():
        items, faults = reader.read(batch)
        rejects += faults
        tables.append(reader.table(items))
        prices.append(pa.array([item.price for item in items], pa.float64()))
        on_progress("reading", reader.rows, None)
    reader.refuse_if_unusable()
    shared = find_shared_lines(pa.concat_tables(tables or [reader.table([])]), reading.shared)
    return Catalogue(
        items=pa.concat_tables([shared.applied(table) for table in tables or [reader.table([])]]),
        rejects=rejects,
        passed_over=reader.passed_over,
        several=reader.several,
        made_ids=tuple(reader.made_ids),
        prices=pa.chunked_array(prices, pa.float64()),
        reading=reading,
        shared=shared,
    )


def reading_notes(reading: Reading, passed_over: Mapping[str, int], unnamed: int, first: str = "") -> tuple[str, ...]:
    """Return what a file was taken for, which of its rows are no items, and what else is worth telling.

    `first` is the name that the first of the `unnamed` items was given.
    """
    kinds = [f"{count:,} of {kind!r}" for kind, count in passed_over.items()]
    counts = (f"Rows that are no items: {', '.join(kinds)}.",) if kinds else ()
    return (reading.taken_for(), *counts, *reading.notes, *_unnamed_note(unnamed, first))


def _unnamed_note(unnamed: int, first: str = "") -> tuple[str, ...]:
    if unnamed == 1:
        return (f"1 item has no id: it is named by its line, as {first}.",)
    return (f"{unnamed:,} items have no id: they are named by their line, as in {first}.",) if unnamed else ()


def _number(cell: str | None, decimal_commas: bool) -> float | None:
    return read_number(cell, decimal_commas=decimal_commas) if cell else None


def _are_whole(batch: Sequence[Record]) -> bool:
    """Tell whether no cell of a batch is at fault: many at once, where looking at each takes as long as reading it."""
    if any(record.fault for record in batch):
        return False
    for column in zip(*[record.cells for record in batch], strict=True):
        cells = [cell for cell in column if cell]
        if "\0" in "".join(cells) or max(map(len, cells), default=0) > CELL_LIMIT:
            return False
    return True


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write rejects as CSV, for eyes: nothing in a cell is hidden, nor taken for a formula by a spreadsheet."""
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Reject))
        for reject in rejects:
            cells = reject.item_id, reject.column, reject.reason
            writer.writerow((reject.line, *(visible(without_formula(cell)) for cell in cells)))


class ItemReader:
    """A reader that tells items from rejects. Of two usable rows with one id only the first is an item, if `unique`."""

    def __init__(self, reading: Reading, *, priced: bool, unique: bool) -> None:
        self.rows = 0
        self.passed_over: Counter[str] = Counter()
        self.several = 0
        self.unnamed = 0  # items whose id was made
        self.first_made = ""  # that of the first of them
        self.made_ids: list[str] = []  # those ids, if `unique`
        self.price: float | None = None  # of the row that was read last, be it an item or none
        self.price_fault = ""  # why that cannot be read
        self._reading = reading
        self._articles = reading.articles
        self._newest = reading.newest
        self._total = reading.total
        self._dates = DateReader(reading.dates) if reading.dates else None
        self._dates_matter = reading.dates_matter
        self._as_of = reading.as_of or dt.date.max
        self._roles = reading.roles
        self._priced = priced
        self._unique = unique
        self._prices = PriceReader(reading) if reading.convention else None
        self._sale_days = SaleDays(reading.survey.sale_dates, reading.as_of or dt.date.today())
        self._seen: set[str] = set()
        self._kinds: Counter[tuple[str, str]] = Counter()  # of rejects: column, kind of reason
        self._first_reject = 0  # its line

    def read(self, batch: Sequence[Record]) -> tuple[list[Item], list[Reject]]:
        """Return the items and the rejects of a batch of records."""
        items: list[Item] = []
        rejects: list[Reject] = []
        for verdict in map(self._validate_whole if _are_whole(batch) else self.validate, batch):
            if isinstance(verdict, Item):
                items.append(verdict)
            elif verdict is not None:
                rejects.append(verdict)
        return items, rejects

    def no_item(self, record: Record) -> Item:
        """Return what stands in an item's place where a record is none: its id, as far as it can be read."""
        item_id, roles = self._articles.own_id(record.cells), self._roles
        nothing = (None,) * len(roles.categories), (None,) * len(roles.numbers)
        return Item(item_id.encode("utf-8", "replace").decode("utf-8"), "", "", None, "", None, *nothing)

    def cells(self, items: Sequence[Item]) -> pa.Table:
        """Return the cells of items: item_id, text, image, whose heading its metadata holds, and further columns."""
        columns = {
            "item_id": [item.item_id for item in items],
            "text": [item.text for item in items],
            "image": [item.image for item in items],
            **self._further(items),
        }
        kinds = {name: further_type(name) if ":" in name else pa.string() for name in columns}
        table = pa.table({name: pa.array(cells, kinds[name]) for name, cells in columns.items()})
        return table.replace_schema_metadata({"image": self._reading.heading("image")})

    def _further(self, items: Sequence[Item]) -> dict[str, list[str | float | None]]:
        """The further columns of items, by name."""
        cells = [(*item.categories, *item.numbers) for item in items]
        return {name: [of_item[at] for of_item in cells] for at, name in enumerate(self._roles.further)}

    def table(self, items: Sequence[Item]) -> pa.Table:
        """Return items as a table of the schema `ITEMS`."""
        return make_items(
            [item.item_id for item in items],
            [item.text for item in items],
            [item.image for item in items],
            [item.price for item in items],
            parents=[item.parent for item in items],
            dates=[item.date for item in items],
            further=self._further(items),
        )

    def validate(self, record: Record) -> Item | Reject | None:
        """Return the item that a record is, or the first thing wrong with it; None where it is passed over."""
        if reason := record.fault or self._cell_fault(record):
            self.rows += 1
            self.price, self.price_fault = None, ""
            column, _, why = reason.rpartition("\0")
            return self._reject(record, self._articles.own_id(record.cells), column, why)
        return self._validate_whole(record)

    def _validate_whole(self, record: Record) -> Item | Reject | None:
        """Validate a record whose cells can be cells of an item."""
        self.rows += 1
        self.price, self.price_fault = None, ""
        article = TOTAL if record.line == self._total else self._articles.read(record.cells, record.line)
        if article.__class__ is str:
            self.passed_over[article] += 1
            return None
        assert isinstance(article, Article)
        item_id, text, image, cell, sale, currency, date, parent, categories, numbers, discount, days, several = article
        day = self._dates.read(date) if date and self._dates else None
        if isinstance(day, str):
            if self._dates_matter:
                return self._reject(record, item_id, self._reading.heading("date"), day)
            day = None
        if self._dates and (why := self._outdated(item_id, day, record.line)):
            self.passed_over[why] += 1
            return None
        role = reason = ""
        if cell and days != NO_DAYS and not self._sale_days.hold(*days):
            sale, discount = "", NO_DISCOUNT
        price = self._price(cell, sale, currency, discount)
        if self._unique and item_id in self._seen:
            role, reason = "id", "an id seen before"
        elif (not text or text.isspace()) and (self._priced or not image):
            role, reason = "text", NO_TEXT if self._priced else NOTHING_GIVEN
        elif self.price_fault and self._priced:  # to be priced, an item needs no price
            role, reason = "currency" if self.price_fault.startswith("currency ") else "price", self.price_fault
        if reason:
            return self._reject(record, item_id, self._reading.heading(role), reason)
        if self._unique:
            self._seen.add(item_id)
        if item_id.startswith("line-") and not self._articles.own_id(record.cells):
            self._count_made(item_id)
        if several:
            self.several += 1
        read = tuple(map(_number, numbers, self._reading.decimal_commas)) if numbers else ()
        return _new_item((item_id, text, image, price, parent, day, categories, read))

    def _count_made(self, item_id: str) -> None:
        self.unnamed += 1
        self.first_made = self.first_made or item_id
        if self._unique:
            self.made_ids.append(item_id)

    def _price(self, cell: str, sale: str, currency: str, discount: tuple[str, str]) -> float | None:
        """The price of an article; None where it has none that can be read, which is then told."""
        if self._prices is None:
            return None
        try:
            self.price = self._prices.price(cell, sale, currency, discount)
        except ValueError as error:
            self.price_fault = str(error)
        return self.price

    def _outdated(self, item_id: str, day: dt.date | None, line: int) -> str:
        """Name what the price of a day is where it is not its item's; "" where it is."""
        if day and day > self._as_of:
            return AFTER_AS_OF
        return OLDER_PRICE if self._newest.get(item_id, line) != line else ""

    def _reject(self, record: Record, item_id: str, column: str, reason: str) -> Reject:
        reject = Reject(record.line, excerpt(item_id), column, reason)
        self._kinds[column, reject.kind] += 1
        self._first_reject = self._first_reject or record.line
        return reject

    def _cell_fault(self, record: Record) -> str:
        """The fault of a cell behind the name of its column; "" where all can be cells of an item."""
        for place, cell in enumerate(record.cells):
            if cell and ("\0" in cell or len(cell) > CELL_LIMIT):
                at = self._articles.columns[place]
                why = "a NUL byte" if "\0" in cell else f"a cell over {CELL_LIMIT} characters: {len(cell)}"
                return f"{self._roles.header[at]}\0{why}"
        return ""

    def refuse_if_unusable(self) -> None:
        """Raise `DataRefused` for a file that as a whole cannot be a catalogue; call it once all rows are read."""
        path, read = self._reading.path, self.rows
        if not read:
            raise DataRefused(f"{path} has a header and no rows.")
        undecoded = self._kinds["", NOT_UTF8]
        if undecoded > UNDECODED_LIMIT * read:
            raise DataRefused(f"{path} is not UTF-8: {undecoded} of {read} rows are not. Save it as UTF-8.")
        if self._kinds.total() + self.passed_over.total() == read:
            if not self._kinds:
                raise DataRefused(f"{path} has no item: all {read} rows are {' or '.join(self.passed_over)}.")
            (column, reason), times = self._kinds.most_common(1)[0]
            where = f" in column {column!r}" if column else ""
            raise DataRefused(
                f"{path} has no usable row: all {read} were rejected, {times} of them with: {reason}{where} "
                f"(the first at line {self._first_reject})."
            )
