"""Values of a column: numbers, kinds, dates, photographs, or something that follows the price, told from a sample."""

import math
import re
from collections.abc import Iterable, Sequence

from index.catalogue.dates import decide_dates
from index.catalogue.further import HIGHEST_NUMBER

MOST_DISTINCT = 0.2  # share of a sample's cells, of a column of kinds: more are names
LONGEST_KIND = 60  # characters, on average
LEAST_NUMERIC, LEAST_DATES, LEAST_LINKS = 0.98, 0.9, 0.5  # shares of a sample's filled cells
# A column whose logarithm correlates so with the price's, over so many rows, is a cost or another price.
PRICE_CORRELATION, LEAST_PAIRS = 0.985, 20
LEAST_IDS = 20  # distinct whole numbers, with none twice, that are numbers of items and no property

_THOUSANDS = {
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"),
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"),
}
_CODE = re.compile(r"\W*(?:\d\W*){3,}")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+),\d+")
_PHOTOGRAPH = re.compile(r"(?:https?:)?//\S+|[^\s,;|]+\.(?:jpe?g|png|webp|gif|avif|bmp|tiff?)\b", re.IGNORECASE)
_AMOUNT = re.compile(r"[^\d\n]{0,5}\d[\d.,'\s]*[^\d\n]{0,5}")  # a price as most are written
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,30}|(?:19|20)\d{6}|\d{4}-\d\d-\d\dT.{5,30}")


def read_number(cell: str, *, decimal_commas: bool = False) -> float | None:
    """Return the number in a cell; None for what is no number.

    A comma stands before decimals, but in 1,234 and 1,234.5 between thousands. Where the column `has_decimal_commas`
    it is the other way round: 1.234 and 1.234,5 are over a thousand.
    """
    text, between = cell.strip(), "." if decimal_commas else ","
    if between in text and _THOUSANDS[between].fullmatch(text):
        text = text.replace(between, "")
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < HIGHEST_NUMBER else None


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Tell whether any cell of a column has a comma that stands before decimals beyond doubt: 12,5 or 0,375."""
    return any(_DECIMAL_COMMA.fullmatch(cell) and not _THOUSANDS[","].fullmatch(cell) for cell in map(str.strip, cells))


def are_numbers(cells: Sequence[str]) -> bool:
    """Tell whether cells are numbers that may be a property: not all the same, and not the numbers of the items."""
    numbers = [number for cell in cells if (number := read_number(cell)) is not None]
    if not cells or len(numbers) < LEAST_NUMERIC * len(cells) or len(set(numbers)) < 2:
        return False
    counted = len(set(numbers)) == len(numbers) >= LEAST_IDS and all(number.is_integer() for number in numbers)
    return not counted and not are_dates(cells)


def are_codes(cells: Sequence[str]) -> bool:
    """Tell whether cells are the numbers of items and no names: three digits or more, no letter, none twice."""
    codes = [cell for cell in cells if _CODE.fullmatch(cell)]
    return bool(cells) and len(codes) >= LEAST_NUMERIC * len(cells) and len(set(codes)) == len(codes)


def are_amounts(cells: Sequence[str]) -> bool:
    """Tell whether most cells are prices: numbers with no more beside them than a currency, and no days."""
    written = [cell for cell in cells if _AMOUNT.fullmatch(cell)]
    return 2 * len(written) > len(cells) and not are_dates(cells)


def are_kinds(cells: Sequence[str]) -> bool:
    """Tell whether cells are words that come again and again, such as brands."""
    distinct = len(set(cells))
    short = sum(map(len, cells)) <= LONGEST_KIND * len(cells)
    if not (1 < distinct <= max(2, MOST_DISTINCT * len(cells)) and short):
        return False
    return not are_dates(cells) and not any(_PHOTOGRAPH.fullmatch(cell) for cell in set(cells))


def are_dates(cells: Sequence[str]) -> bool:
    """Tell whether cells are days; years alone are numbers."""
    written = [cell for cell in cells if _DATE.fullmatch(cell.strip())]
    if not cells or len(written) < LEAST_DATES * len(cells):
        return False
    dates = decide_dates(written)
    read = 0
    for cell in written:
        try:
            dates.read(cell)
        except ValueError:
            continue
        read += 1
    return read >= LEAST_DATES * len(cells)


def are_photographs(cells: Sequence[str]) -> bool:
    """Tell whether cells are addresses or names of image files."""
    named = sum(bool(re.search(r"\.(?:jpe?g|png|webp|gif|avif|bmp|tiff?)\b", cell, re.IGNORECASE)) for cell in cells)
    return bool(cells) and named >= LEAST_LINKS * len(cells) and all(_PHOTOGRAPH.match(cell.strip()) for cell in cells)


def follow_the_price(pairs: Sequence[tuple[str, str]]) -> bool:
    """Tell whether numbers rise with the prices beside them as costs do, or prices of another kind."""
    logs = []
    for cell, price in pairs:
        number, amount = read_number(cell), read_number(re.sub(r"[^\d.,]", "", price))
        if number and amount and number > 0 and amount > 0:
            logs.append((math.log(number), math.log(amount)))
    if len(logs) < LEAST_PAIRS:
        return False
    mean = [sum(column) / len(logs) for column in zip(*logs, strict=True)]
    xx = sum((x - mean[0]) ** 2 for x, _ in logs)
    yy = sum((y - mean[1]) ** 2 for _, y in logs)
    xy = sum((x - mean[0]) * (y - mean[1]) for x, y in logs)
    return bool(xx > 0 and yy > 0 and xy / math.sqrt(xx * yy) > PRICE_CORRELATION)
