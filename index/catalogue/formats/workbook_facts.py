"""Facts of a workbook that its values do not show: its extent, formulas without a value, currencies of cells.

They are found in the parts of the file by patterns, without building a tree: a sheet may have millions of cells. Of an
.xlsb only the extent is known. An .xls cannot have more cells than are allowed here.
"""

import html
import posixpath
import re
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from index.catalogue.formats.xml_events import XmlEvents
from index.errors import DataRefused

MOST_CELLS = 20_000_000  # rows times columns of a sheet: what lies between far cells takes memory as well
FORMATTED_CELLS = 20_000  # cells that are looked at for formats

# What a torn zip file raises, opened or read.
TORN = (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, EOFError, RuntimeError, LookupError)

_BLOCK = 1 << 20
_PLACE = rb"""[^>]*?\br=["']([A-Z]{1,3})(\d{1,7})["'][^>]*"""  # attributes of a cell: its column, its row
_FILLED = re.compile(rb"<(?:\w+:)?c\b" + _PLACE + rb"(?<!/)>(?!</)")
_STYLED = re.compile(
    rb"""<(?:\w+:)?c\b(?=[^>]*?\br=["']([A-Z]{1,3})\d)(?=[^>]*?\bs=["'](\d+)["'])"""
    rb"""(?:(?=[^>]*?\bt=["'](s|str|inlineStr)["'])|)[^>]*(?<!/)>(?!</)"""
)
_NO_VALUE = rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?"
_GAP = re.compile(
    rb"""<(?:\w+:)?c\b(?![^>]*\bt=["']str["'])"""
    + _PLACE
    + rb">\s*<(?:\w+:)?f\b[^<]*(?:</(?:\w+:)?f>)?\s*"
    + _NO_VALUE
    + rb"\s*</(?:\w+:)?c>"
)
_ERROR = re.compile(rb"""<(?:\w+:)?c\b(?=[^>]*\bt=["']e["'])""" + _PLACE)
# [$€-407] and [$€-de-DE], but not [$-409], which is a language alone.
_IN_FORMAT = re.compile(r'\[\$([^\]-]+)(?:-([\w-]+))?\]|"([^"]+)"|((?<!\[)\$|[€£¥￥₹₽₩₺₴₫฿])|\b([A-Z]{3})\b')
_ROW, _FILLED_CELLS = 0, range(2, 12)  # types of records in an .xlsb; 1 is an empty cell
_ODS_TAG = re.compile(rb"<table:(table|table-row|table-cell|covered-table-cell)(?=[\s>/])([^>]*)>")
_ODS_REPEATED = re.compile(rb'table:number-(?:rows|columns)-repeated="(\d{1,9})"')
_ODS_NAME = re.compile(rb'table:name="([^"]*)"')
_ODS_CURRENCY = re.compile(rb'office:currency="([A-Z]{3})"')
_MARKS = frozenset("$¥£")  # of several currencies; Mexico's Excel writes "$" as well
_CODES = {
    "US$": "USD", "€": "EUR", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY",
    "₴": "UAH", "₫": "VND", "฿": "THB", "R$": "BRL", "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "CA$": "CAD", "A$": "AUD",
}  # fmt: skip
_CODES_BY_LOCALE = {
    "$": {
        "409": "USD", "1009": "CAD", "C0C": "CAD", "C09": "AUD", "1409": "NZD", "80A": "MXN", "4809": "SGD",
        "1004": "SGD", "C04": "HKD", "404": "TWD", "240A": "COP", "340A": "CLP", "2C0A": "ARS", "380A": "UYU",
        "US": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "MX": "MXN", "SG": "SGD", "HK": "HKD", "TW": "TWD",
        "CO": "COP", "CL": "CLP", "AR": "ARS", "UY": "UYU",
    },
    "¥": {"804": "CNY", "CN": "CNY"},
    "£": {"809": "GBP", "GB": "GBP"},
    "kr": {"41D": "SEK", "414": "NOK", "406": "DKK", "SE": "SEK", "NO": "NOK", "DK": "DKK"},
    "kr.": {"406": "DKK", "DK": "DKK"},
}  # fmt: skip


@dataclass
class SheetFacts:
    """Facts of one sheet; columns are counted from 0, as column A is."""

    gaps: list[str] = field(default_factory=list)  # cells with a formula and no value, or with an error: "D5"
    # Column -> ISO codes, or marks of several currencies, of its cells -> how many are formatted so.
    currencies: dict[int, Counter[str]] = field(default_factory=dict)


def examine_sheets(path: Path) -> dict[str, SheetFacts]:
    """Examine every sheet of an .xlsx, .xlsb or .ods file. Raises `DataRefused` for one that is damaged or vast."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            for part in names:
                if part.lower().endswith(".bin") and "sheet" in part.lower():
                    _refuse_if_vast(path, part, _cells_of_xlsb(archive.read(part)))
            if "xl/workbook.bin" in names:
                return {}
            if "xl/workbook.xml" not in names:
                with archive.open("content.xml") as file:
                    return _examine_ods(path, _blocks(file))
            currency_of = _currency_by_style(path, archive) if "xl/styles.xml" in names else []
            facts = {}
            for sheet, part in _parts(path, archive).items():
                with archive.open(part) as file:  # a LookupError where there is none: nothing is read unexamined
                    facts[sheet] = _examine(path, sheet, _blocks(file), currency_of)
            return facts
    except TORN as error:
        raise DataRefused(f"{path} is a damaged workbook ({error}): open it and save it again.") from error


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_BLOCK), b"")


def _parts(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the part of the archive that holds each sheet, by the sheet's name."""
    sheets: dict[str, str] = {}
    targets: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            sheets[attributes.get("name", "")] = relation
        elif local == "Relationship":
            target = attributes.get("Target", "")
            targets[attributes.get("Id", "")] = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")

    for part in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        XmlEvents(path, start, lambda *_: None, _BLOCK).read([archive.read(part)])
    return {sheet: targets.get(relation, "") for sheet, relation in sheets.items()}


def _currency_by_style(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """Return the currency in each cell style's number format, as `currency_in` does."""
    formats: dict[str, str] = {}
    styles: list[str] = []
    opened: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "numFmt":
            formats[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif local == "xf" and opened[-1:] == ["cellXfs"]:
            styles.append(attributes.get("numFmtId", ""))
        opened.append(local)

    def end(*_: str) -> None:
        opened.pop()

    XmlEvents(path, start, end, _BLOCK).read([archive.read("xl/styles.xml")])
    return [currency_in(formats.get(style, "")) for style in styles]


def currency_in(number_format: str) -> str:
    """Return the currency in a number format: its ISO code, or "$", "¥" or "£"; "" for none, and for a bare "kr"."""
    for symbol, locale, quoted, sign, code in _IN_FORMAT.findall(number_format):
        found = (symbol or quoted or sign or code).strip(" \u00a0").replace("￥", "¥")
        region = locale.upper().lstrip("0").rpartition("-")[2]
        known = _CODES_BY_LOCALE.get(found, {}).get(region) or _CODES.get(found)
        if known or found in _MARKS or re.fullmatch("[A-Z]{3}", found):
            return known or found
    return ""


def _examine(path: Path, sheet: str, blocks: Iterator[bytes], currency_of: list[str]) -> SheetFacts:
    facts = SheetFacts()
    columns: set[bytes] = set()
    first, last, looked_at = 0, 0, 0
    cells: Counter[bytes] = Counter()  # column -> its filled cells
    codes: dict[bytes, Counter[str]] = defaultdict(Counter)  # column -> currencies of its numbers
    of_texts: dict[bytes, Counter[str]] = defaultdict(Counter)  # the header, and numbers that are kept as text
    for text in _whole_cells(blocks):
        if b"\0" in text:
            raise DataRefused(f"{path} is a damaged workbook (a part is no UTF-8): open it and save it again.")
        found = _FILLED.findall(text)
        if found:
            columns.update(column for column, _ in found)
            rows = {int(row) for _, row in found}
            first, last = min(rows | {first or last or max(rows)}), max(rows | {last})
        if columns:
            places = [_column(column) for column in columns]
            _refuse_if_vast(path, sheet, (last - first + 1) * (max(places) - min(places) + 1))
        facts.gaps += [(match[1] + match[2]).decode() for match in [*_GAP.finditer(text), *_ERROR.finditer(text)]]
        if looked_at < FORMATTED_CELLS:
            looked_at += len(found)
            cells.update(column for column, _ in found)
            for column, style, is_text in _STYLED.findall(text):
                if int(style) < len(currency_of) and (code := currency_of[int(style)]):
                    (of_texts if is_text else codes)[column][code] += 1
    for column in {*codes, *of_texts}:
        formatted = codes[column].total() + of_texts[column].total()
        if 2 * formatted >= cells[column] - 1:  # the header's cell is none of money
            facts.currencies[_column(column)] = codes[column] or of_texts[column]
    return facts


def _refuse_if_vast(path: Path, sheet: str, cells: int) -> None:
    if cells > MOST_CELLS:
        raise DataRefused(
            f"{path}: sheet {sheet!r} has cells so far apart that the table between them has over {MOST_CELLS} cells: "
            "delete the far ones, or export the table as CSV."
        )


def _cells_of_xlsb(part: bytes) -> int:
    """Return the rows times columns of a sheet of an .xlsb, which is records of a type, a size and content (BIFF12)."""
    at = row = last_row = last_column = 0
    while at < len(part):
        kind, at = _number(part, at, 2)
        size, at = _number(part, at, 4)
        if kind == _ROW:
            row = int.from_bytes(part[at : at + 4], "little")
        elif kind in _FILLED_CELLS:
            last_row = max(last_row, row)
            last_column = max(last_column, int.from_bytes(part[at : at + 4], "little"))
        at += size
    return (last_row + 1) * (last_column + 1)


def _number(part: bytes, at: int, most: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; return it and the place behind it."""
    number = 0
    for place in range(most):
        byte = part[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    return number, at + most


def _examine_ods(path: Path, blocks: Iterator[bytes]) -> dict[str, SheetFacts]:
    """Examine the sheets of an .ods file, in which a cell or row may stand for many."""
    sheets: dict[str, SheetFacts] = {}
    name = ""
    row = width = height = column = rows = 0
    for text in _whole_tags(blocks):
        for match in _ODS_TAG.finditer(text):
            kind, attributes = match[1], match[2]
            times = int(found[1]) if (found := _ODS_REPEATED.search(attributes)) else 1
            if kind == b"table":
                name = html.unescape(found[1].decode()) if (found := _ODS_NAME.search(attributes)) else ""
                sheets[name] = SheetFacts()
                row = width = height = column = 0
            elif kind == b"table-row":
                row, column, rows = row + times, 0, times
            else:
                column += times
                if b"office:value-type" in attributes:
                    height, width = max(height, row), max(width, column)
                    _refuse_if_vast(path, name, height * width)
                    if currency := _ODS_CURRENCY.search(attributes):
                        sheets[name].currencies.setdefault(column - 1, Counter())[currency[1].decode()] += rows
    return sheets


def _whole_tags(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield XML in pieces that end where a tag ends."""
    rest = b""
    for block in blocks:
        text = rest + block
        end = text.rfind(b">") + 1
        yield text[:end]
        rest = text[end:]
    yield rest


def _whole_cells(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield XML in pieces that end where a cell ends."""
    rest = b""
    for block in blocks:
        text = rest + block
        cut = text.rfind(b"</") if len(text) < 8 * _BLOCK else len(text)
        end = text.rfind(b"c>", 0, cut) + 2
        piece, rest = (text[:end], text[end:]) if end > 1 else (b"", text)
        yield piece
    yield rest


def _column(letters: bytes) -> int:
    """Return the place of a column by its letters: 0 for A, 26 for AA."""
    place = 0
    for letter in letters:
        place = 26 * place + letter - 64
    return place - 1
