"""Reading of a file of items: opened, understood as a whole, and then read article by article.

A file is read twice: once to learn what only all of it says (how its prices are written, in which currency, which rows
are parents of others, which price of an item is the newest), and once for its articles.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from index.catalogue.dates import DateConvention, decide_dates
from index.catalogue.formats.opening import open_source
from index.catalogue.formats.records import Read, Record, Source, Tally
from index.catalogue.money.currencies import contradicts
from index.catalogue.money.prices import Money, PriceConvention
from index.catalogue.money.rates import Rates
from index.catalogue.money.stated import CurrencyReader, FileCurrency, Places, decide_currency
from index.catalogue.money.totals import is_total
from index.catalogue.settings import IndexColumns, ReadSettings
from index.catalogue.shared_lines import SharedLines
from index.catalogue.shops.articles import Articles
from index.catalogue.shops.columns import find_column, find_roles, shop_of
from index.catalogue.shops.headings import normalised
from index.catalogue.shops.roles import Roles
from index.catalogue.shops.values import has_decimal_commas
from index.errors import DataRefused
from index.progress import OnProgress, silent
from index.visible import excerpt

SAMPLE = 1_000  # records by which columns are told
HEADER_WITHIN = 5  # of them, the header of a shop may stand
NOT_GIVEN = "price is not given"  # the reason that a placeholder is no price
AMERICAN = "The file names no currency: USD is taken, since it has American units or hours; --currency says another."

# What only a shop in the United States writes: a weight in pounds in a heading or as a unit, an hour of the West Coast.
_IN_POUNDS = re.compile(r"\b(?:lbs?|pounds)\b")
_AMERICAN_CELL = re.compile(r"lb|oz|\d[\d\-/ :]{8,30} P[SD]T")


@dataclass
class Survey:
    """Findings that only a whole file gives."""

    rows: int = 0
    prices: Counter[str] = field(default_factory=Counter)  # cells of prices and sale prices
    currencies: Counter[str] = field(default_factory=Counter)  # cells of the column of currencies
    dates: Counter[str] = field(default_factory=Counter)
    sale_dates: Counter[str] = field(default_factory=Counter)  # the first and last days of sales
    last: tuple[int, str] = (0, "")  # line and price of the last row that has one


@dataclass(frozen=True)
class Reading:
    """A file that is understood: what its columns are, and how its prices are written."""

    path: Path
    settings: ReadSettings  # what the user said
    source: Source
    roles: Roles
    articles: Articles
    convention: PriceConvention | None  # None where the file has no prices
    stated: FileCurrency  # the currency of the prices
    rates: Rates | None
    dates: DateConvention | None
    as_of: dt.date | None  # later prices are passed over
    newest: Mapping[str, int]  # id -> line of its newest price, of ids with several
    total: int  # line of the row that sums up the others, 0 for none
    survey: Survey
    decimal_commas: tuple[bool, ...]  # of each column of numbers
    shared: SharedLines | None  # first lines that are no names, as an index knows them; None where there is none

    @property
    def kind(self) -> str:
        """Name of what the file was taken for: "Shopify export: CSV (comma)"."""
        shop = self.roles.shop
        return f"{shop.name} export, {self.source.kind}" if shop else self.source.kind

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was decided and on what the reader may not expect."""
        notes = [*self.source.notes]
        if self.convention and self.convention.note:
            notes.append(self.convention.note)
        notes += self.stated.notes
        if self.dates:
            notes += filter(None, (self.dates.note, _undated_note(self)))
        notes += self.roles.price_notes
        for at in self.roles.left_out:
            name = self.roles.header[at]
            notes.append(f"{name!r} follows the price as a cost does and is not read: --number-column reads it.")
        days = self.heading("sale_days") or self.heading("sale_end") or self.heading("sale_start")
        if sale := self.heading("sale_price"):
            unless = f", unless {on_sale!r} says no" if (on_sale := self.heading("on_sale")) else ""
            when = f", on the days of {days!r}" if days else ""
            notes.append(f"What is paid is {sale!r} where it is filled{when}{unless}.")
        return tuple(notes)

    @property
    def currency(self) -> str | None:
        """Code or label of the currency of the prices; None where neither the file nor the user says it."""
        return self.stated.code

    @property
    def dates_matter(self) -> bool:
        """True where the user named the column of dates: a date that cannot be is then a reject."""
        return self.settings.date is not None

    @property
    def id_type(self) -> str:
        """Name of the Arrow type that the ids have in the file; "" where they are text."""
        places = self.roles.places("id")
        return self.source.types.get(places[0], "") if len(places) == 1 else ""

    def require_currency(self, currency: str) -> None:
        """Raise DataRefused for prices in another currency than that of the index which the items are for."""
        if self.currency is not None and self.currency != currency:
            raise DataRefused(
                f"The prices of {self.path} are in {self.currency} and the index's in {currency}: --rates converts "
                "them."
            )

    def taken_for(self) -> str:
        """Return the line that says what a file was taken for."""
        named = self.roles.named()
        parts = [f"{role.replace('_', ' ')} from {_listed(named[role])}" for role in _TOLD if role in named]
        return f"{self.path.name}: {self.kind}; {', '.join(parts)}."

    def batches(self) -> Iterator[list[Record]]:
        """Read the records, with the cells that `articles` reads."""
        return self.source.batches(self.articles.columns)

    def heading(self, role: str) -> str:
        """Return the heading of a role's first column, "" where the file has none."""
        places = self.roles.places(role)
        return self.roles.header[places[0]] if places else ""


_TOLD = ("id", "text", "option", "image", "price", "sale_price", "currency", "date", "parent", "category", "number")


def _listed(names: str | list[str]) -> str:
    return ", ".join(map(repr, names)) if isinstance(names, list) else repr(names)


def understand(
    path: Path,
    settings: ReadSettings,
    *,
    priced: bool,
    whole: bool = True,
    index: IndexColumns | None = None,
    as_of: dt.date | None = None,
    on_progress: OnProgress = silent,
) -> Reading:
    """Open a file and find out what it holds. Without `whole` its prices and dates are left unread.

    `index`: the columns that an index reads, where the items are for one. `as_of`: later prices are to be passed over.

    Raises DataRefused for a file that holds no items, a column that is not there, prices of several currencies.
    """
    source, records = below_labels(open_source(path, sheet=settings.sheet))
    sample = [record.cells for record in records if not record.fault]
    roles = find_roles(path, source.header, sample, settings, priced=priced, index=index)
    articles = Articles(roles)
    survey = _survey(source, articles, on_progress) if whole or articles.needs_survey else Survey()
    rates = Rates.read(Path(settings.rates), as_of) if settings.rates else None
    convention, stated = None, FileCurrency(settings.currency)
    if whole and roles.places("price"):
        try:
            convention, stated = decide_currency(_places(source, roles, survey), settings.currency, rates)
        except DataRefused as error:
            raise DataRefused(f"{path}: {error}") from None
        unmarked = stated.code is None and not (stated.notes or convention.currencies)
        if unmarked and roles.shop is not None and _is_american(source.header, sample):
            stated = FileCurrency("USD", notes=(AMERICAN,))
    dates = decide_dates(survey.dates) if whole and survey.dates else None
    return Reading(
        path=path,
        settings=settings,
        source=source,
        roles=roles,
        articles=articles,
        convention=convention,
        stated=stated,
        rates=rates,
        dates=dates,
        as_of=as_of,
        newest=_newest(source, articles, dates, as_of or dt.date.max) if dates else {},
        total=survey.last[0] if convention and is_total(survey.last[1], survey.prices, convention) else 0,
        survey=survey,
        decimal_commas=tuple(has_decimal_commas(row[at] or "" for row in sample) for at in roles.numbers),
        shared=index.shared if index else None,
    )


def below_labels(source: Source) -> tuple[Source, list[Record]]:
    """Return a source and its first records, below a shop's own header where explanations stand above that one."""
    records = list(islice((record for batch in source.batches() for record in batch), SAMPLE))
    if shop_of(source.header) is not None:
        return source, records
    for place, record in enumerate(records[:HEADER_WITHIN]):
        names = tuple(cell or "" for cell in record.cells)
        if shop_of(names) is not None:
            note = f"The header is on line {record.line}."
            lower = replace(
                source,
                header=names,
                read=_from_line(source.read, record.line + 1),
                passed_over=source.passed_over + place + 1,
                opening_notes=(*source.opening_notes, note),
            )
            return lower, records[place + 1 :]
    return source, records


def _from_line(read: Read, first: int) -> Read:
    def read_below(columns: Sequence[int] | None, tally: Tally) -> Iterator[list[Record]]:
        for batch in read(columns, tally):
            yield [record for record in batch if record.line >= first] if batch[0].line < first else batch

    return read_below


def read_column(path: Path, role: str, name: str | None = None) -> Iterator[Record]:
    """Read the cells of one column, by its name or its role. Raises DataRefused for a file that has none."""
    source, _ = below_labels(open_source(path))
    place = find_column(path, source.header, role, name)
    return (record for batch in source.batches([place]) for record in batch)


def _survey(source: Source, articles: Articles, on_progress: OnProgress) -> Survey:
    survey = Survey()
    counted = [
        (survey.prices, (*articles.at("price"), *articles.at("sale_price"))),
        (survey.currencies, articles.at("currency")),
        (survey.dates, articles.at("date")),
        (survey.sale_dates, (*articles.at("sale_start"), *articles.at("sale_end"))),
    ]
    needed = range(len(articles.columns)) if articles.needs_survey else sorted({at for _, ats in counted for at in ats})
    place = {at: number for number, at in enumerate(needed)}
    priced = counted[0][1]  # of two columns of prices, neither sums up both
    for batch in source.batches([articles.columns[at] for at in needed]) if needed else ():
        rows = [record.cells for record in batch if not record.fault]
        if len(priced) == 1:
            survey.last = _last_priced(batch, place[priced[0]]) or survey.last
        for cells_seen, ats in counted:
            for at in ats:
                column = place[at]
                cells_seen.update([(cells[column] or "").strip() for cells in rows])
        if articles.needs_survey:
            for cells in rows:
                articles.survey(cells)
        survey.rows += len(batch)
        on_progress("surveying the file", survey.rows, None)
    del survey.prices[""], survey.dates[""]  # but rows without a currency count
    return survey


def _last_priced(batch: Sequence[Record], column: int) -> tuple[int, str] | None:
    """The line and the price of the last record of a batch that has one; None where none has."""
    for record in reversed(batch):
        if not record.fault and (cell := (record.cells[column] or "").strip()):
            return record.line, cell
    return None


def _newest(source: Source, articles: Articles, dates: DateConvention, as_of: dt.date) -> dict[str, int]:
    """The line of the newest price of each id that has several; the later line where two are of one day.

    What has no date that can be read is older than all that have one; what is later than `as_of` does not count.
    """
    newest: dict[str, tuple[dt.date, int]] = {}
    several: set[str] = set()
    (date_at,) = articles.at("date")[:1]
    for batch in source.batches(articles.columns):
        for record in batch:
            if record.fault:
                continue
            item_id = articles.own_id(record.cells)
            try:
                date = dates.read(record.cells[date_at])
            except ValueError:
                date = dt.date.min
            if date > as_of:
                continue
            if item_id in newest:
                several.add(item_id)
            if item_id and (item_id not in newest or newest[item_id][0] <= date):
                newest[item_id] = date, record.line
    return {item_id: newest[item_id][1] for item_id in several}


def _undated_note(reading: Reading) -> str:
    """Return the sentence on dates that count as none; "" where all can be read, or the user named their column."""
    assert reading.dates is not None
    if reading.dates_matter:
        return ""
    undated: Counter[str] = Counter()
    first = ""
    for cell, rows in reading.survey.dates.items():
        try:
            reading.dates.read(cell)
        except ValueError as error:
            undated[str(error).partition(":")[0]] += rows
            first = first or excerpt(cell)
    counts = ", ".join(f"in {times:,} rows the {reason}" for reason, times in undated.items())
    return f"{counts[:1].upper()}{counts[1:]}, such as {first}: these count as no date." if counts else ""


def _places(source: Source, roles: Roles, survey: Survey) -> Places:
    """Return where the currency of the prices may be stated."""
    price_at, currency_at = roles.places("price")[0], roles.places("currency")[:1]
    return Places(
        prices=survey.prices,
        column=survey.currencies,
        formats=source.currencies_of(price_at),
        header=roles.header,
        price_heading=roles.header[price_at],
        currency_heading=roles.header[currency_at[0]] if currency_at else "",
        rows=survey.rows,
    )


def _is_american(header: Sequence[str], sample: Sequence[Sequence[str | None]]) -> bool:
    cells = {cell for row in sample for cell in row if cell and len(cell) < 30}
    return any(_IN_POUNDS.search(normalised(name)) for name in header) or any(map(_AMERICAN_CELL.fullmatch, cells))


class PriceReader:
    """Prices of a file's articles in its currency. Equal cells are read once."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._known: dict[str, Money | str] = {}
        self._currencies = CurrencyReader(reading.currency)

    def price(self, cell: str, sale_cell: str, currency_cell: str, discount: tuple[str, str]) -> float:
        """Return what is paid, in money. Raises ValueError with the reason where that cannot be said."""
        known = self._known.get(cell)
        money = known if known.__class__ is Money else self._money(cell or sale_cell)
        amount = money.amount
        code = self._currencies.read(currency_cell) if currency_cell else None
        if code and money.currency and contradicts(money.currency, code):
            raise ValueError(f"price has two currencies: {excerpt(cell or sale_cell)} beside {excerpt(currency_cell)}")
        if not (sale_cell or discount[0] or discount[1] or self._reading.rates):
            return amount
        if sale_cell and cell:
            sale = self._sale(sale_cell)
            own = code or money.currency
            if sale.currency and own and contradicts(sale.currency, own):
                raise ValueError(f"price has two currencies: {excerpt(sale_cell)} beside {excerpt(cell)}")
            if sale.amount > amount:
                raise ValueError(f"a sale price above the price: {sale_cell} and {cell}")
            amount, code = sale.amount or amount, own or sale.currency
        if any(discount):
            amount = self._discounted(amount, *discount)
        if self._reading.rates and self._reading.currency:
            code = code or money.currency or self._reading.stated.beside or self._reading.currency
            amount *= self._reading.rates.factor(code, self._reading.currency)
        return amount

    def _money(self, cell: str) -> Money:
        known = self._known.get(cell)
        if known is None:
            assert self._reading.convention is not None, "a file without prices"
            try:
                known = self._reading.convention.read(cell)
            except ValueError as error:
                known = str(error)
            if len(self._known) < 100_000:
                self._known[cell] = known
        if isinstance(known, str):
            raise ValueError(known)
        return known

    def _sale(self, cell: str) -> Money:
        """The sale price, 0 where the cell says that there is none."""
        if "0" in cell and not any(digit in cell for digit in "123456789"):
            return Money(0.0, None)
        try:
            return self._money(cell)
        except ValueError as error:
            if str(error).startswith(NOT_GIVEN):  # "-", "n/a"
                return Money(0.0, None)
            raise ValueError(f"sale {error}") from None

    def _discounted(self, amount: float, percent: str, off: str) -> float:
        try:
            share = float(percent.rstrip("% ").replace(",", ".") or 0) / 100
            absolute = float(off.replace(",", ".") or 0)
        except ValueError:
            raise ValueError(f"a discount that is no number: {percent or off}") from None
        discounted = amount * (1 - share) - absolute
        if not (0 <= share < 1 and absolute >= 0 and discounted > 0):
            raise ValueError(f"a discount of the whole price: {percent or off}")
        return discounted
