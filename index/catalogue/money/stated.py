"""Currency of a file's prices, as the file states it: in a column, in the prices' cells, in their formats or headings.

A column of currencies and marks in the prices' cells speak for a row, and may not contradict each other. Only where
they are silent do the formats of a workbook's cells count, and then the headings.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from index.catalogue.money.currencies import (
    CODES,
    CODES_AS_WORDS,
    choose_code,
    codes_of,
    contradicts,
    first_codes,
    read_currency,
)
from index.catalogue.money.price_cells import plain_text
from index.catalogue.money.prices import PriceConvention, currency_notes, decide_convention
from index.catalogue.money.rates import Rates, list_currencies, one_currency
from index.errors import DataRefused

_IN_HEADER = re.compile(r"\bcurrency[ =:]+([a-z]{3})\b", re.IGNORECASE)  # as eBay has it
_CODE = re.compile(r"(?<![A-Z])[A-Z]{3}(?![A-Za-z])")
_NO_LAST_WORDS = frozenset(("ALL", "CUP", "GEL", "MOP", "TOP"))  # "price all", "price per cup"
_MARK = re.compile(r"[A-Za-z]{0,3}\$|[€£¥₹₽₩₺₴₫฿₪₱₦₸]|(?<!\w)(?:zł|[Kk]č|[Kk]r|TL|円|元)(?!\w)")


@dataclass(frozen=True)
class Places:
    """Places where a file may state the currency of its prices."""

    prices: Mapping[str, int]  # cells of prices -> rows
    column: Mapping[str, int]  # cells of the column of currencies -> rows
    formats: Mapping[str, int]  # codes or marks of the formats of the prices' cells -> cells
    header: Sequence[str]
    price_heading: str
    currency_heading: str  # "" where the file has no such column
    rows: int


@dataclass(frozen=True)
class FileCurrency:
    """The currency of a file's prices."""

    code: str | None = None  # or a label; None where neither the file nor the user says it
    beside: str | None = None  # of prices whose rows state none: what formats or headings say
    notes: tuple[str, ...] = ()


def decide_currency(
    places: Places, given: str | None, rates: Rates | None = None
) -> tuple[PriceConvention, FileCurrency]:
    """Decide how a file writes its prices, and which currency it is in. `given`, `rates`: as in `one_currency`.

    Raises DataRefused for prices of several currencies, or of another than the one that is given.
    """
    labels = (given,) if given else ()
    column, notes = _count(places.column, first_codes(labels))
    heading, heading_notes = _in_heading(places, first_codes(labels))
    known = {*labels, *(column or heading)}
    convention = decide_convention(places.prices, known)
    cells = _in_cells(places.prices, convention)
    if column or cells:
        contrary = {code: rows for code, rows in cells.items() if all(contradicts(code, stated) for stated in column)}
        if column and contrary and not rates:
            raise DataRefused(
                f"the prices are in several currencies: by {places.currency_heading!r} {list_currencies(column)}, by "
                f"the cells of {places.price_heading!r} {list_currencies(contrary)}. Keep the rows in one."
            )
        code, beside = one_currency(column + Counter(contrary), given, rates), None
        notes += _overruled(places.price_heading, heading, column or cells)
    else:
        formats, format_notes = _count(places.formats, first_codes(known))
        if len(formats) > 1:
            raise DataRefused(
                f"the prices are in several currencies: the cells of {places.price_heading!r} are formatted as "
                f"{list_currencies(formats)}. Keep the rows in one, or name the currency of each row in a column."
            )
        in_header = _in_header(places)
        stated = formats or in_header or heading
        code, beside = one_currency(stated, given, rates), next(iter(stated), None)
        notes += format_notes if formats else [] if in_header else heading_notes
        notes += _overruled(places.price_heading, heading, stated)
    return replace(convention, currency=code), FileCurrency(code, beside, tuple(notes))


def _count(marks: Mapping[str, int], known: Collection[str]) -> tuple[Counter[str], list[str]]:
    """Count rows by the currency that codes and marks state, with notes on marks of many currencies.

    What is no mark states none, and so does a mark that may stand for several.
    """
    rows_of: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], str] = {}
    for mark, rows in marks.items():
        if codes := codes_of(mark):
            rows_of[codes] += rows
            first.setdefault(codes, mark.strip())
    certain = {*known, *(codes[0] for codes in rows_of if len(codes) == 1)}
    chosen = {codes: choose_code(codes, certain) for codes in rows_of}
    counts = Counter[str]()
    for codes, code in chosen.items():
        if code is not None:
            counts[code] += rows_of[codes]
    return counts, currency_notes(chosen, first, certain)


def _in_cells(prices: Mapping[str, int], convention: PriceConvention) -> Counter[str]:
    """Count the rows by the currency that the prices' own cells state."""
    counts = Counter[str]()
    for cell, rows in prices.items():
        try:
            code = convention.read(cell).currency
        except ValueError:
            continue
        if code is not None:
            counts[code] += rows
    return counts


def _in_header(places: Places) -> Counter[str]:
    code = next(iter(_IN_HEADER.findall(" ".join(places.header))), "").upper()
    return Counter({code: places.rows} if code in CODES else {})


def _in_heading(places: Places, known: Collection[str]) -> tuple[Counter[str], list[str]]:
    """Find the currency in the heading of the prices: "Price (EUR)", "price_gbp", "Preis in €"."""
    found = list(_marks_in(plain_text(places.price_heading)))
    codes = tuple(code for code in found[0] if all(code in others for others in found)) if found else ()
    if not codes:
        return Counter(), []
    code = choose_code(codes, known)
    notes = currency_notes({codes: code}, {codes: places.price_heading}, known)
    return Counter({code: places.rows} if code else {}), notes


def _marks_in(heading: str) -> Iterator[tuple[str, ...]]:
    """Yield the codes that each mark in a heading may stand for.

    A code in small letters counts at either end, one that is a word too at the end or in brackets.
    """
    for match in _CODE.finditer(heading):
        in_brackets = heading[: match.start()].endswith(("(", "[")) and heading[match.end() :].startswith((")", "]"))
        if match[0] in CODES and (in_brackets or match[0] not in CODES_AS_WORDS):
            yield (match[0],)
    for match in _MARK.finditer(heading):
        yield codes_of(match[0]) or codes_of(match[0][-1])
    words = re.findall(r"[^\W_]+", heading)
    for word, words_too in ((words[0], CODES_AS_WORDS), (words[-1], _NO_LAST_WORDS)) if words else ():
        if word.upper() in CODES - words_too:
            yield (word.upper(),)


def _overruled(price_heading: str, heading: Collection[str], stated: Collection[str]) -> list[str]:
    """Say where the heading of the prices names another currency than the rows state, which counts."""
    if not heading or any(not contradicts(code, own) for code in heading for own in stated):
        return []
    return [f"{price_heading!r} names {' and '.join(heading)}, and the prices are in {' and '.join(sorted(stated))}."]


class CurrencyReader:
    """A reader of the currencies that the rows of a file state, which may not contradict its prices' own cells."""

    def __init__(self, own: str | None) -> None:
        self._own = own  # of the file, a code or a label
        self._codes: dict[str, str | ValueError | None] = {}

    def read(self, cell: str) -> str | None:
        """Read a cell of the column of currencies; None where it states none.

        Raises ValueError with the reason for what is no currency, and for a mark that cannot be the file's.
        """
        if cell not in self._codes:
            if len(self._codes) > 10_000:
                self._codes.clear()
            try:
                self._codes[cell] = read_currency(cell, first_codes([self._own]))
            except ValueError as error:
                codes = codes_of(cell)
                open_still = codes and (self._own is None or set(codes) & set(codes_of(self._own)))
                self._codes[cell] = None if open_still else error
        code = self._codes[cell]
        if isinstance(code, ValueError):
            raise ValueError(str(code))
        return code
