"""Prices of a column: the one way in which it writes them, decided from all its cells, and what is no price.

A cell such as 1.299 is 1299 in one file and 1.299 in the next; the cells beside it tell. The grammar of one cell is in
`price_cells.py`.
"""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from index.catalogue.money import HIGHEST_PRICE, LOWEST_PRICE
from index.catalogue.money.currencies import (
    POINT_FOR_THOUSANDS,
    THREE_DECIMALS,
    choose_code,
    codes_of,
    first_codes,
    possible_codes,
)
from index.catalogue.money.price_cells import PriceParts, number_tokens, split_price
from index.visible import excerpt

# A warning is due where at least so many rejects, and so great a share, lie beyond so great a share of the prices read.
LEAST_REJECTS, LEAST_SHARE, FAR_END = 3, 0.005, 0.9

_PLAIN = re.compile(r"\+?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:e[+-]?\d{1,9})?", re.IGNORECASE | re.ASCII)


def _shape(decimal: str, thousands: str) -> re.Pattern[str]:
    """Make the pattern of a number: digits, or threes behind signs of one kind, or India's twos and three; cents."""
    threes = rf"[1-9]\d{{0,2}}([{thousands}' ])\d{{3}}(?:\2\d{{3}})*"
    twos = rf"[1-9]\d?[{thousands}](?:\d\d[{thousands}])+\d{{3}}"
    return re.compile(rf"(\d*|{threes}|{twos})(?:[{decimal}·](\d+))?", re.ASCII)


_SHAPES = {".": _shape(".", ","), ",": _shape(",", ".")}  # by the decimal sign
_OPPOSITE = {".": ",", ",": "."}


class Money(NamedTuple):
    """An amount, and the ISO 4217 code of the currency that its cell states; None where it leaves that open."""

    amount: float
    currency: str | None


@dataclass(frozen=True)
class PriceConvention:
    """Convention by which one column writes its prices. Without arguments: plain numbers, as programs write them."""

    decimal: str = "."  # or ","
    note: str = ""  # sentences about what was ambiguous and how it was decided
    blank_thousands: bool = True  # "1 299" is 1299; in a column that writes 1,299 it is two numbers
    # Codes that a mark may stand for -> the one that it stands for in this column, None where that stays open.
    currencies: Mapping[tuple[str, ...], str | None] = field(default_factory=dict)
    currency: str | None = None  # of the file, a code or a label: a mark that cannot stand for it is no price of it
    dashes: bool = False  # a dash stands for nothing: "12.-" is 12, and "-.95" is 0.95
    other_tax: str = ""  # "with" or "without": cells that say so are fewer than those that say the contrary

    def read(self, cell: str | None) -> Money:
        """Read a price. Raises ValueError with the reason for a cell that is none, or is written unlike the column."""
        text = (cell or "").strip()
        if self.decimal == "." and _PLAIN.fullmatch(text):
            amount, currency = float(text), None
        else:
            parts = split_price(text)
            amount, currency = self._amount(parts, text), self._currency(parts.currencies, text)
            if parts.tax and parts.tax == self.other_tax:
                raise ValueError(f"price is {parts.tax} tax, unlike the column's others: {excerpt(text)}")
        if amount <= 0:
            raise ValueError(f"price is not positive: {excerpt(text)}")
        if not LOWEST_PRICE <= amount <= HIGHEST_PRICE:
            raise ValueError(f"price is beyond {LOWEST_PRICE:g} to {HIGHEST_PRICE:g}: {excerpt(text)}")
        return Money(amount, currency)

    def _amount(self, parts: PriceParts, text: str) -> float:
        several = " " in parts.number and self.decimal not in parts.number and not self.blank_thousands
        amount = None if several else amount_of(parts, self.decimal)
        if amount is None:
            unlike = amount_of(parts, _OPPOSITE[self.decimal]) is not None
            reason = "price is written unlike the column's others" if unlike else "price is not a plain number"
            several = several or (" " in parts.number and not unlike)
            raise ValueError(f"{'price holds several numbers' if several else reason}: {excerpt(text)}")
        for_nothing = parts.dash and (self.dashes or parts.currencies == ("CHF",))
        return -amount if parts.negative and not for_nothing else amount

    def _currency(self, codes: tuple[str, ...], text: str) -> str | None:
        if not codes:
            return None
        code = self.currencies[codes] if codes in self.currencies else choose_code(codes, ())
        own = codes_of(self.currency) if code is None and self.currency else ()
        if own and not set(own) & set(codes):
            among = possible_codes(codes, set(filter(None, self.currencies.values())))
            raise ValueError(f"price may be in {' or '.join(among)}: {excerpt(text)}")
        return code


def amount_of(parts: PriceParts, decimal: str) -> float | None:
    """Return the amount that a cell states if "." or "," is the decimal sign; None where it does not fit that sign."""
    number, cents = parts.number, parts.cents
    if number.isdigit():
        return None if cents == "," != decimal else float(number)
    found = _SHAPES[decimal].fullmatch(number)
    if not found:
        return float(number.replace(",", ".")) if "e" in number and _OPPOSITE[decimal] not in number else None
    whole, thousands, fraction = found.groups()
    if cents and fraction:  # "1.299,-" is no 1.299
        return None
    if not whole.isdigit():
        whole = whole.replace(thousands or _OPPOSITE[decimal], "")
    return float(f"{whole}.{fraction}" if fraction else whole)


def decide_convention(cells: Mapping[str, int] | Iterable[str], known: Collection[str] = ()) -> PriceConvention:
    """Decide how a column writes its prices, from its cells with how often they occur; see `PriceEvidence`."""
    evidence = PriceEvidence()
    evidence.add(cells if isinstance(cells, Mapping) else Counter(cells))
    return evidence.decide(known)


class PriceEvidence:
    """Counts of what the cells of one column show about how it writes prices. Takes batches, and holds no cells."""

    def __init__(self) -> None:
        self._decimals: Counter[str] = Counter()  # decimal sign -> rows that fit no other
        self._unclear: Counter[str] = Counter()  # sign -> rows such as "1.299"
        # Sums of log amounts: sign -> of unclear rows, read as thousands; "" -> of whole numbers.
        self._logs: defaultdict[str, float] = defaultdict(float)
        self._whole: Counter[bool] = Counter()  # written without a sign: of 1000 or more? -> rows
        self._thousands: Counter[str] = Counter()  # sign -> rows where it can only stand between thousands
        self._places: set[int] = set()  # how many digits follow a sign that can only be decimal
        self._marks: dict[tuple[str, ...], str] = {}  # codes that a mark may stand for -> its first cell
        self._dashes = False  # stands a dash in the place of cents?
        self._tax: Counter[str] = Counter()  # "with" or "without" -> rows that say so
        self._tax_cells: dict[str, str] = {}  # the same -> the first cell
        self._examples: dict[str, list[str]] = {"": [], ".": [], ",": [], "unclear .": [], "unclear ,": []}

    def add(self, cells: Mapping[str, int]) -> None:
        """Take more cells, with how often each occurs. Cells that are no price say nothing."""
        for cell, rows in cells.items():
            try:
                parts = split_price(cell)
            except ValueError:
                continue
            if parts.currencies and parts.currencies not in self._marks:
                self._marks[parts.currencies] = cell.strip()
            self._dashes = self._dashes or bool(parts.cents)
            if parts.tax:
                self._tax[parts.tax] += rows
                self._tax_cells.setdefault(parts.tax, cell.strip())
            self._add_number(parts, cell.strip(), rows)

    def _add_number(self, parts: PriceParts, cell: str, rows: int) -> None:
        number = parts.number
        fitting = {sign: amount for sign in ".," if (amount := amount_of(parts, sign)) is not None}
        key = None  # of the examples
        self._thousands["'"] += rows * ("'" in number)
        if len(fitting) == 1:
            [key] = fitting
            self._decimals[key] += rows
            self._thousands[_OPPOSITE[key]] += rows * (_OPPOSITE[key] in number)
            self._places |= {len(cents) for _, sign, cents in [number.rpartition(key)] if sign and cents.isdigit()}
        elif fitting and fitting["."] != fitting[","]:
            sign = "." if "." in number else ","
            key = f"unclear {sign}"
            self._unclear[sign] += rows
            self._logs[sign] += rows * math.log(max(fitting.values()))
        elif number.isdigit() and (amount := fitting["."]):
            key = ""
            self._whole[amount >= 1000] += rows
            self._logs[key] += rows * math.log(amount)
        if key is not None and len(self._examples[key]) < 3 and cell not in self._examples[key]:
            self._examples[key].append(cell)

    def decide(self, known: Collection[str] = ()) -> PriceConvention:
        """Decide the convention of all cells. `known`: currencies that an option or a column of currencies names."""
        stated = first_codes(known) | {marks[0] for marks in self._marks if len(marks) == 1}
        decimal, because = self._decide_decimal(stated)
        notes = self._number_notes(decimal, because)
        currencies = {marks: choose_code(marks, stated) for marks in self._marks}
        notes += [*currency_notes(currencies, self._marks, stated), *self._tax_notes()]
        thousands = self._thousands[_OPPOSITE[decimal]] + self._thousands["'"] + self._unclear[_OPPOSITE[decimal]]
        return PriceConvention(
            decimal, " ".join(notes), not thousands, currencies, dashes=self._dashes, other_tax=self._other_tax
        )

    @property
    def _other_tax(self) -> str:
        """The rarer of "with" and "without" tax, where cells say both."""
        return min(("without", "with"), key=self._tax.__getitem__) if len(self._tax) > 1 else ""

    def _tax_notes(self) -> list[str]:
        """Say which prices are without tax, and which are not read because of what they say of it."""
        if fewer := self._other_tax:
            more = "with" if fewer == "without" else "without"
            return [
                f"{_such_as(self._tax[fewer], self._tax_cells[fewer])} not read, because {self._tax[more]} are {more} "
                f"tax as {self._tax_cells[more]}."
            ]
        rows = self._tax["without"]
        return [f"{_such_as(rows, self._tax_cells['without'])} without tax."] if rows else []

    def _decide_decimal(self, stated: Collection[str]) -> tuple[str, str]:
        """Return the decimal sign, and why where no cell shows it beyond doubt."""
        if self._decimals:
            return max(".,", key=self._decimals.__getitem__), ""
        signs = [sign for sign in ".," if self._unclear[sign]]
        if len(signs) != 1:
            return ".", "both signs occur" if signs else ""
        if not self._whole and {THREE_DECIMALS.get(code, "") for code in stated} == set(signs):
            return signs[0], f"{_listed(stated)} has three decimals"
        return (".", "no cell has cents") if signs == [","] else self._decide_point(stated)

    def _decide_point(self, stated: Collection[str]) -> tuple[str, str]:
        """Decide a column of cells such as "1.299" and of whole numbers, where no cell has cents."""
        if not self._whole:
            if stated and set(stated) <= POINT_FOR_THOUSANDS:
                return ",", f"prices in {_listed(stated)} are mostly written so"
            return ".", "no other cell shows how it is meant"
        whole = self._examples[""][0]
        if len(self._examples["unclear ."]) > 2 and self._unclear["."] > self._whole[True]:
            return ",", f"every sign has three digits behind it, and {whole} has no sign"  # unlike fractions
        if self._whole[True]:
            return ".", "prices from 1000 on occur without a sign for thousands"
        gap = self._logs["."] / self._unclear["."] - self._logs[""] / self._whole[False]  # read as thousands
        return "," if abs(gap) < abs(gap - math.log(1000)) else ".", f"that is nearer to other prices, such as {whole}"

    def _number_notes(self, decimal: str, because: str) -> list[str]:
        """Say how unclear cells are read, and which cells contradict the others."""
        notes, contrary = [], _OPPOSITE[decimal]
        for sign in ".,":
            if not self._unclear[sign] or not (because or self._is_doubtful(sign, decimal)):
                continue
            cell = self._examples[f"unclear {sign}"][0]
            amount = amount_of(split_price(cell), decimal)
            reason = because or f"cents are written as in {self._examples[decimal][0]}"
            notes.append(f"{_such_as(self._unclear[sign], cell)} read as {amount:.15g}, because {reason}.")
        if rows := self._decimals[contrary]:
            notes.append(
                f"{_such_as(rows, self._examples[contrary][0])} not read, because {self._decimals[decimal]} "
                f"are written as {self._examples[decimal][0]}."
            )
        return notes

    def _is_doubtful(self, sign: str, decimal: str) -> bool:
        """Say whether cells as "1.299" could be meant otherwise, though other cells show the decimal sign."""
        if sign == decimal:  # with fractions as programs write them, 0.5 or 4.158333, a third place is nothing odd
            return self._places <= {2}
        return sign == "."  # "1,299" beside "12.50" is 1299 to everybody


def price_column_warning(prices: Sequence[float], rejected: Mapping[str, int]) -> str:
    """Warn where the rejected cells (with how often each occurs) are the dear or the cheap end of a column; else "".

    `prices`: amounts that were read. A rejected cell counts with the largest number in it.
    """
    sizes = Counter[float]()
    for cell, rows in rejected.items():
        if amounts := _numbers_in(cell):
            sizes[max(amounts)] += rows
    total = sizes.total()
    if not len(prices) or total < LEAST_REJECTS or total < LEAST_SHARE * len(prices):
        return ""
    middle = next(itertools.islice(sorted(sizes.elements()), total // 2, None))
    below = sum(price < middle for price in prices) / len(prices)
    if 1 - FAR_END < below < FAR_END:
        return ""
    return (
        f"The {total} rejected prices with a number are the {'dear' if below > 0.5 else 'cheap'} end of the column: "
        f"half are {'above' if below > 0.5 else 'below'} {middle:.15g}, as are only "
        f"{100 * (1 - below if below > 0.5 else below):.0f}% of the prices that were read."
    )


def _numbers_in(cell: str) -> list[float]:
    parts = [PriceParts(number, (), False, "") for number in number_tokens(cell)]
    return [amount for part in parts for sign in ".," if (amount := amount_of(part, sign))]


def currency_notes(
    chosen: Mapping[tuple[str, ...], str | None], cells: Mapping[tuple[str, ...], str], stated: Collection[str]
) -> list[str]:
    """Say which currency each ambiguous mark was taken for, by its codes and a cell; of "£" nobody doubts it.

    A mark that cannot stand for what the others do is a reject, which says so itself.
    """
    notes = []
    settled = {*stated, *filter(None, chosen.values())}
    for marks, code in chosen.items():
        if code is None and (not settled or settled & set(marks)):
            among = " or ".join(possible_codes(marks, stated))
            notes.append(f"The currency of {cells[marks]} may be {among}: name it with --currency.")
        elif code is not None and code not in stated and code != "GBP" and len(marks) > 1:
            notes.append(f"{cells[marks]} is taken to be in {code}: name another currency with --currency.")
    return notes


def _such_as(rows: int, cell: str) -> str:
    return f"The price {cell} is" if rows == 1 else f"{rows} prices such as {cell} are"


def _listed(codes: Iterable[str]) -> str:
    return " and ".join(sorted(codes))
