"""The one currency of an index, and rates of exchange: what a unit of another currency costs in it.

Rates are read from a small CSV file:

    code,rate,date
    EUR,1.08,2026-03-01
    JPY,0.0067,2026-03-01

Here one euro costs 1.08, one yen 0.0067, in the index's currency, US dollars. The index's own currency needs no line;
where it has one whose rate is not 1, all rates are taken to be in a third currency, and are divided by it. `date`
may be left out; of several lines for a currency, the newest on or before a day counts.
"""

import csv
import datetime as dt
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index.catalogue.money.currencies import CODES, codes_of
from index.errors import DataRefused
from index.visible import excerpt

if TYPE_CHECKING:
    from _csv import Reader

SIZE_LIMIT = 16_000_000  # bytes
# A unit of these has for decades cost less than a twentieth of a dollar, euro, pound or franc: rates that say otherwise
# are how many of it one gets, the other way round.
_SMALL = frozenset("CLP COP HUF IDR ISK JPY KRW VND".split())
_LARGE = frozenset("AUD CAD CHF EUR GBP USD".split())

_RATE = re.compile(r"(?:\d{1,20}(?:[.,]\d{0,20})?|[.,]\d{1,20})(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Rates:
    """Cost of one unit of each currency, all in one currency. `path` is shown in refusals."""

    path: Path
    rates: Mapping[str, float]

    @classmethod
    def read(cls, path: Path, as_of: dt.date | None = None) -> "Rates":
        """Read `path`; of the lines for a currency the newest on or before `as_of` (default: today) counts.

        Raises DataRefused in a sentence for a file that holds no rates, and for the first line at fault: an unknown
        code, a rate that is not positive, two lines for one currency and day, a date that is none or
        has not come yet.
        """
        today = dt.date.today()
        newest: dict[str, tuple[dt.date, float]] = {}
        seen: dict[tuple[str, dt.date], int] = {}  # -> line
        for number, code, rate, date in _lines(path):
            if date > today:
                raise DataRefused(f"{path}, line {number}: the date {date} of {code} has not come yet.")
            if (code, date) in seen:
                raise DataRefused(f"{path}, lines {seen[code, date]} and {number} are both rates of {code}: keep one.")
            seen[code, date] = number
            if date <= (as_of or today) and (code not in newest or newest[code][0] < date):
                newest[code] = date, rate
        if missing := sorted({code for code, _ in seen} - set(newest)):
            raise DataRefused(f"{path} has no rate of {missing[0]} on or before {as_of}: add one.")
        if not newest:
            raise DataRefused(f"{path} has a header and no rates.")
        return cls(path, {code: rate for code, (_, rate) in newest.items()})

    def factor(self, code: str, into: str) -> float:
        """Return what one unit of the currency `code` costs in `into` (a code or a label), to multiply amounts by.

        Raises DataRefused where no rate is given, and for a rate that is the wrong way round beyond doubt.
        """
        into = next(iter(codes_of(into)), into)
        if code == into:
            return 1.0
        if code not in self.rates:
            raise DataRefused(f"{self.path} has no rate for {code}: add a line with what 1 {code} costs in {into}.")
        factor = self.rates[code] / self.rates.get(into, 1.0)
        small, large = (code, into) if code in _SMALL else (into, code)
        if small in _SMALL and large in _LARGE and (factor if small == code else 1 / factor) > 0.05:
            raise DataRefused(
                f"{self.path} says that 1 {code} costs {factor:g} {into}, which is the wrong way round: "
                "a rate is what one unit of the code costs in the index's currency."
            )
        return factor


def _lines(path: Path) -> Iterator[tuple[int, str, float, dt.date]]:
    """Read (line, code, rate, date); an undated line counts as older than all others."""
    reader = _open_table(path)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not {"code", "rate"} <= set(header):
            raise DataRefused(
                f"{path} has no columns code and rate: its first line must be code,rate or code,rate,date."
            )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
                yield reader.line_num, *_read_rate(row, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise DataRefused(f"{path}, line {reader.line_num} is no row of a table: {error}.") from error


def _read_rate(row: dict[str, str], place: str) -> tuple[str, float, dt.date]:
    code, rate, date = (row.get(name, "") for name in ("code", "rate", "date"))
    if code.upper() not in CODES:
        raise DataRefused(f"{place}: '{excerpt(code)}' is no currency code such as USD.")
    value = float(rate.replace(",", ".")) if _RATE.fullmatch(rate) else math.nan
    if not 0 < value < math.inf:
        raise DataRefused(f"{place}: the rate '{excerpt(rate)}' of {code} is no positive number.")
    try:
        return code.upper(), value, dt.date.fromisoformat(date) if date else dt.date.min
    except ValueError as error:
        raise DataRefused(f"{place}: '{excerpt(date)}' is no date: write it as 2026-03-31.") from error


def _open_table(path: Path) -> "Reader":
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
        if len(content) > SIZE_LIMIT:
            raise DataRefused(f"{path} is over {SIZE_LIMIT // 1_000_000} MB: rates are a small file of code and rate.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataRefused(f"{path} is not UTF-8: save the rates as CSV in UTF-8.") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)


def list_currencies(counts: Mapping[str, int]) -> str:
    """Say how many rows are in each currency, most first: "3 in USD, 1 in EUR"."""
    return ", ".join(f"{rows} in {code}" for code, rows in Counter(counts).most_common())


def one_currency(counts: Mapping[str, int], given: str | None, rates: Rates | None = None) -> str | None:
    """Return the currency that an index is in: `given` (a code or a label), else the one that the rows state.

    `counts`: rows by code; rows that state none are taken to be in it too. With `rates`, rows in other currencies can
    be converted into it (`Rates.factor`). Raises DataRefused for several currencies, for one that contradicts `given`,
    and for a rate that is missing.
    """
    stated = Counter({code: rows for code, rows in counts.items() if rows})
    listed = list_currencies(stated)
    if rates:
        into = given or _base(stated, rates, listed)
        for code in stated:
            rates.factor(code, into or code)
        return into
    if given and set(stated) - {given, *codes_of(given)}:
        raise DataRefused(
            f"the prices are not in the {given} of --currency: {listed}. Name their currency, keep the rows in "
            f"{given}, or convert them with --rates."
        )
    if len(stated) > 1:
        raise DataRefused(
            f"the prices are in several currencies: {listed}. Keep the rows in one, or convert them with --rates."
        )
    return given or next(iter(stated), None)


def _base(stated: Mapping[str, int], rates: Rates, listed: str) -> str | None:
    """Find the stated currency that the rates are in: the only one that needs none, or whose rate is 1."""
    if len(stated) < 2:
        return next(iter(stated), None)
    bases = [code for code in stated if rates.rates.get(code, 1.0) == 1]
    if len(bases) != 1:
        raise DataRefused(f"the prices are {listed}: name with --currency the one that the rates are in.")
    return bases[0]
