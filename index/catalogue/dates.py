"""Dates of a column: the one order in which it writes day and month, decided from all its cells, and what is no date.

Read are ISO 8601 and its relatives (2026-03-01, 2026/3/1, 20260301, 2026年3月1日), days and months in either order
(1/3/2026, 01.03.26), names of months in seven languages, years and months alone (their first day counts), and seconds,
milliseconds, microseconds and nanoseconds since 1970, in UTC. A time behind a date is passed over, with its zone: the
date is the one that is written.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from index.catalogue.money.price_cells import plain_text
from index.visible import excerpt

FIRST_YEAR = 1900  # what is earlier is a slip
CELL_LIMIT = 64  # characters; what is longer is no date
MOST_KNOWN = 100_000  # cells of a column whose dates are kept

_MONTHS = {
    name: month
    for month, names in enumerate(
        (
            "january jan januar jänner janvier janv enero ene gennaio gen januari janeiro",
            "february feb februar février févr fév febrero febbraio februari fevereiro fev",
            "march mar märz mrz mär mars marzo maart mrt março",
            "april apr avril avr abril abr aprile",
            "may mai mayo maggio mag mei maio",
            "june jun juni juin junio giugno giu junho",
            "july jul juli juillet juil julio luglio lug julho",
            "august aug août aou agosto ago augustus",
            "september sep sept septembre septiembre settembre set setembro",
            "october oct oktober okt octobre octubre ottobre ott outubro out",
            "november nov novembre noviembre novembro",
            "december dec dezember dez décembre déc diciembre dic dicembre dezembro",
        ),
        1,
    )
    for name in names.split()
}

_TIME = (
    r"(?:(?:t|,? +)[0-9]{1,2}[:.h][0-9]{2}(?:[:.][0-9]{2}(?:[.,][0-9]{1,9})?)? ?(?:[ap]\.?m\.?)?"
    r" ?(?:[a-z]{1,5}|(?:utc|gmt)?[+-][0-9]{2}:?(?:[0-9]{2})?)?)?"
)
_YEAR_FIRST = re.compile(r"([0-9]{4})(?:([-/.])([0-9]{1,2})(?:\2([0-9]{1,2})" + _TIME + ")?)?")
_DIGITS = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:t?[0-9]{6}z?)?")
_SINCE_1970 = re.compile(r"([0-9]{9,10}|[0-9]{12,13}|[0-9]{15,16}|[0-9]{18,19})(?:\.[0-9]{1,9})?")
_YEAR_LAST = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})" + _TIME)
_WEEKDAY = r"(?:[^\W\d_]{2,10}[.,]{0,2} +)?"
_DAY_NAME = re.compile(
    _WEEKDAY
    + r"([0-9]{1,2})(?:st|nd|rd|th|\.|er)?(?: de | of |[-/ ]+| ?)([^\W\d_]{3,10})\.?(?: de |[-/, ]*)([0-9]{4}|[0-9]{2})"
    + _TIME
)
_NAME_DAY = re.compile(_WEEKDAY + r"([^\W\d_]{3,10})\.?[- ]+([0-9]{1,2})(?:st|nd|rd|th)?[-, ]+([0-9]{4})" + _TIME)
_NAME_YEAR = re.compile(r"([^\W\d_]{3,10})\.?(?: de |[-/, ]+)([0-9]{4})")
_CHINESE = str.maketrans({"年": "-", "月": "-", "日": None})


@dataclass(frozen=True)
class DateConvention:
    """Order in which one column writes its dates."""

    latest: dt.date  # dates after it have not come yet
    day_first: bool = True  # 1/3/2026 is in March
    note: str = ""  # sentences about what was ambiguous and how it was decided

    def read(self, cell: str | None) -> dt.date:
        """Read a date. Raises ValueError with the reason for a cell that is none, or that has not come yet."""
        text = (cell or "").strip()
        if not text:
            raise ValueError("no date")
        try:
            date = _date_of(_folded(text), self.day_first, self.latest)
        except ValueError as error:
            raise ValueError(f"date is not in the calendar: {excerpt(text)}") from error
        if date is None:
            raise ValueError(f"date is not read: {excerpt(text)}")
        if date > self.latest:
            raise ValueError(f"date has not come yet: {excerpt(text)}")
        if date.year < FIRST_YEAR:
            raise ValueError(f"date is before {FIRST_YEAR}: {excerpt(text)}")
        return date


class DateReader:
    """Dates of a file's rows. Equal cells are read once."""

    def __init__(self, convention: DateConvention) -> None:
        self._convention = convention
        self._known: dict[str, dt.date | str] = {}

    def read(self, cell: str) -> dt.date | str:
        """Return the date of a cell, or the reason why it has none."""
        known = self._known.get(cell)
        if known is None:
            try:
                known = self._convention.read(cell)
            except ValueError as error:
                known = str(error)
            if len(self._known) < MOST_KNOWN:
                self._known[cell] = known
        return known


def decide_dates(cells: Mapping[str, int] | Iterable[str], as_of: dt.date | None = None) -> DateConvention:
    """Decide how a column writes its dates, from its cells with how often they occur; see `DateEvidence`."""
    evidence = DateEvidence(as_of)
    evidence.add(cells if isinstance(cells, Mapping) else Counter(cells))
    return evidence.decide()


class DateEvidence:
    """Counts of what the cells of one column show about how it writes dates. Takes batches, and holds no cells.

    `as_of`: the last day that has come; by default today, and a day more, as somewhere it is tomorrow.
    """

    def __init__(self, as_of: dt.date | None = None) -> None:
        self._latest = as_of or dt.date.today() + dt.timedelta(1)
        self._orders: Counter[bool] = Counter()  # day first? -> rows that are dates in that order alone
        self._unclear = 0  # rows that are different dates in both orders
        self._afternoons = 0  # rows with am or pm, as America writes them
        self._slashes = 0
        self._examples: dict[bool | None, str] = {}

    def add(self, cells: Mapping[str, int]) -> None:
        """Take more cells, with how often each occurs. Cells that are no date say nothing."""
        for cell, rows in cells.items():
            text = _folded(cell)
            written = _YEAR_LAST.fullmatch(text)
            if not written:
                continue
            fitting = {order: date for order in (True, False) if (date := self._try(text, order))}
            if len(fitting) == 1:
                [order] = fitting
                self._orders[order] += rows
                self._examples.setdefault(order, cell.strip())
            elif fitting and fitting[True] != fitting[False]:
                self._unclear += rows
                self._slashes += rows * (written[2] == "/")
                self._examples.setdefault(None, cell.strip())
            self._afternoons += rows * text.rstrip(".").endswith(("am", "pm", "a.m", "p.m"))

    def _try(self, text: str, day_first: bool) -> dt.date | None:
        try:
            date = _date_of(text, day_first, self._latest)
        except ValueError:
            return None
        return date if date and date <= self._latest else None

    def decide(self) -> DateConvention:
        """Decide the order of day and month: the one that most cells fit alone, else the usual one for their signs."""
        rows = self._orders
        usual = not self._afternoons and 2 * self._slashes <= self._unclear
        day_first = rows[True] >= rows[False] if rows else usual
        notes = []
        if self._unclear and not rows:
            example = self._examples[None]
            date = self._try(_folded(example), day_first)
            because = "most of the world puts the day first" if day_first else "America puts the month first"
            notes.append(
                f"{_such_as(self._unclear, example)} read as {date}, because {because}: write {date} to be sure."
            )
        if contrary := rows[not day_first]:
            notes.append(
                f"{_such_as(contrary, self._examples[not day_first])} not read, because {rows[day_first]} are written "
                f"as {self._examples[day_first]}."
            )
        return DateConvention(self._latest, day_first, " ".join(notes))


def _folded(cell: str) -> str:
    text = plain_text(cell).casefold()
    return text.translate(_CHINESE).strip("-") if "年" in text else text


def _date_of(text: str, day_first: bool, latest: dt.date) -> dt.date | None:
    """Return the date that a cell in lower case states, None for no date. Raises ValueError for 30 February."""
    if len(text) > CELL_LIMIT:
        return None
    if found := _YEAR_FIRST.fullmatch(text):
        return dt.date(int(found[1]), int(found[3] or 1), int(found[4] or 1))
    if found := _YEAR_LAST.fullmatch(text):
        first, second = int(found[1]), int(found[3])
        day, month = (first, second) if day_first else (second, first)
        return dt.date(_year(found[4], latest), month, day)
    if found := _DIGITS.fullmatch(text):
        return dt.date(int(found[1]), int(found[2]), int(found[3]))
    if found := _SINCE_1970.fullmatch(text):
        seconds = int(found[1]) // 1000 ** ((len(found[1]) - 8) // 3)
        return (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)).date()
    return _named(text, latest)


def _named(text: str, latest: dt.date) -> dt.date | None:
    """Read a date with the name of its month."""
    if found := _DAY_NAME.fullmatch(text):
        day, name, year = found[1], found[2], found[3]
    elif found := _NAME_DAY.fullmatch(text):
        name, day, year = found[1], found[2], found[3]
    elif found := _NAME_YEAR.fullmatch(text):
        name, day, year = found[1], "1", found[2]
    else:
        return None
    month = _MONTHS.get(name)
    return dt.date(_year(year, latest), month, int(day)) if month else None


def _year(digits: str, latest: dt.date) -> int:
    """Return a year of two digits as the last one that has come."""
    if len(digits) == 4:
        return int(digits)
    year = latest.year // 100 * 100 + int(digits)
    return year if year <= latest.year else year - 100


def _such_as(rows: int, cell: str) -> str:
    return f"The date {cell} is" if rows == 1 else f"{rows} dates such as {cell} are"
