"""Records of JSON: lines, one list, or one object that holds a list; nested objects become columns with dotted names.

`{"brand": {"name": "Acme"}, "image": ["a.jpg", "b.jpg"], "offers": [{"price": 2}]}` has the columns `brand.name`,
`image.0`, `image.1` and `offers.price`; a second offer's price is `offers.1.price`. Numbers stay as they are written.
A file is read twice, so that the header has every name that any record has.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from index.catalogue.formats.encodings import TextFile, is_broken
from index.catalogue.formats.records import LINE_LIMIT, NOT_UTF8, Record, Source, in_batches, picker, unmistakable
from index.errors import DataRefused

MOST_COLUMNS = 2_000
MOST_ENTRIES = 20  # of a list that becomes columns; a longer one is a cell of JSON
MOST_LEVELS = 12  # of nesting that becomes columns; what lies deeper is a cell of JSON
OBJECT_LIMIT = 64_000_000  # characters of one object that holds all records

_LISTS = {"products", "items", "data", "results", "records", "rows", "entries", "@graph"}  # names of a list of records
_NAMES = frozenset(("title", "name"))
_PIECES = frozenset(("C62", "EA", "H87", "PCE"))  # codes of pieces: the price of one is an item's
_BASES = frozenset((1, 10, 100, 1000))  # amounts by which shops compare prices; any other is the item's own
_BEFORE_LIST = re.compile(r"\ufeff?\s*\[\s*")
_BETWEEN = re.compile(r"[\s,]+")
_NOT_PAID = re.compile(r"Strikethrough|ListPrice|MSRP|SRP|InvoicePrice|RegularPrice|MinimumAdvertised", re.IGNORECASE)
_DECODER = json.JSONDecoder(parse_float=unmistakable, parse_int=str, parse_constant=str)
# What is left where a program cut a text in the middle of a character: half of the pair that JSON escapes it as. (The
# others, from DC80 to DCFF, stand for bytes that are not UTF-8.)
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class _Value(NamedTuple):
    line: int
    value: Any
    fault: str = ""


def open_json(text: TextFile) -> Source:
    """Open a file of JSON. Raises `DataRefused` where it is damaged as a whole, or holds no objects."""
    path = text.file.path
    kind, values = _layout(text)
    names: dict[str, None] = {}  # in the order in which they come
    fault = ""
    for entry in values():
        fault = fault or _fault(entry)
        for found in _objects(entry.value):
            names.update(dict.fromkeys(_flat(found)))
        if len(names) > MOST_COLUMNS:
            raise DataRefused(f"{path} has records of over {MOST_COLUMNS} different names: is this a catalogue?")
    if not names:
        reason = f" (line 1: {fault})" if fault else ""
        raise DataRefused(f"{path} holds no JSON object with anything in it{reason}: it needs one for each item.")
    details = ", ".join(filter(None, ["" if text.name == "UTF-8" else text.name, text.file.packing]))
    header = tuple(names)
    return Source(
        path,
        f"{kind} ({details})" if details else kind,
        header,
        lambda columns, _: in_batches(_records(values, header, columns)),
        opening_notes=tuple(filter(None, [text.note])),
    )


def _records(
    values: Callable[[], Iterator[_Value]], header: Sequence[str], columns: Sequence[int] | None
) -> Iterator[Record]:
    pick = picker(columns)
    nothing = pick([None] * len(header))
    for entry in values():
        if fault := _fault(entry):
            yield Record(entry.line, nothing, fault)
        for found in _objects(entry.value):
            cells = _flat(found)
            picked = pick([cells.get(name) for name in header])
            fault = ""
            if any(cell and is_broken(cell) for cell in picked):
                picked = tuple(cell and _HALF.sub("", cell) for cell in picked)
                fault = NOT_UTF8 if any(cell and is_broken(cell) for cell in picked) else ""
            yield Record(entry.line, picked, fault)


def _layout(text: TextFile) -> tuple[str, Callable[[], Iterator[_Value]]]:
    """Return the kind of JSON, and a function that reads its values from the start."""
    head = text.head(1 << 20).lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return "JSON list", lambda: _list_values(text)
    lines = [line for line in head.split("\n", 20)[:20] if line.strip()]
    if any(isinstance(_decoded(1, line).value, dict) for line in lines) and len(lines) > 1:
        return "JSON lines", lambda: _line_values(text)
    return "JSON", lambda: _object_values(text)


def _decoded(line: int, text: str) -> _Value:
    """Decode one value; with a fault where the text is none."""
    try:
        return _Value(line, _DECODER.decode(text))
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        return _Value(
            line, None, "JSON that is cut off" if cut else f"no JSON: {error.msg} at character {error.pos + 1}"
        )
    except RecursionError:
        return _Value(line, None, "JSON nested too deep")


def _line_values(text: TextFile) -> Iterator[_Value]:
    rest, number = "", 0
    for piece in text.texts():
        *lines, rest = (rest + piece).split("\n")
        if len(rest) > LINE_LIMIT:
            raise DataRefused(f"{text.file.path}: line {number + 1} has over {LINE_LIMIT} characters.")
        for line in lines:
            number += 1
            if line.strip():
                yield _decoded(number, line)
    if rest.strip():
        yield _decoded(number + 1, rest)


def _object_values(text: TextFile) -> Iterator[_Value]:
    """Yield the entries of the list that one object holds, or the object itself."""
    path = text.file.path
    whole = ""
    for piece in text.texts():
        whole += piece
        if len(whole) > OBJECT_LIMIT:
            raise DataRefused(f"{path} is one JSON object of over {OBJECT_LIMIT} characters: save it as JSON lines.")
    found = _decoded(1, whole.strip("\ufeff \t\r\n"))
    if found.fault:
        raise DataRefused(f"{path} is damaged JSON ({found.fault}): export it again.")
    for name, value in found.value.items():
        if name.casefold() in _LISTS and isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            for number, entry in enumerate(_of_one_type(value), 1):
                yield _Value(number, entry)
            return
    yield found


def _list_values(text: TextFile) -> Iterator[_Value]:
    """Yield the entries of one list, with no more than one of them and a block of text in memory."""
    path = text.file.path
    pieces = text.texts()
    buffer, at, line, ended = "", 0, 1, False
    gap = _BEFORE_LIST  # what may stand before the next entry
    while True:
        between = gap.match(buffer, at)
        line += buffer.count("\n", at, between.end()) if between else 0
        at, gap = (between.end(), _BETWEEN) if between else (at, gap)
        if buffer.startswith("]", at):
            return
        try:
            if at < len(buffer):
                value, end = _DECODER.raw_decode(buffer, at)
                yield _Value(line, value)
                line += buffer.count("\n", at, end)
                at = end
                continue
        except json.JSONDecodeError as error:
            if ended and error.pos < len(buffer.rstrip()) and not error.msg.startswith("Unterminated"):
                raise DataRefused(f"{path} is damaged JSON in the entry at line {line}: {error.msg}.") from error
        except RecursionError as error:
            raise DataRefused(f"{path} is JSON nested too deep at line {line}: is this a catalogue?") from error
        if ended or len(buffer) - at > LINE_LIMIT:
            yield _Value(line, None, "JSON that is cut off")
            return
        parts = [buffer[at:]]
        size, at = 2 * len(parts[0]) + 1, 0  # twice as much, so that a long entry is not tried again too often
        while sum(map(len, parts)) < size and not ended:
            piece = next(pieces, None)
            parts.append(piece or "")
            ended = piece is None
        buffer = "".join(parts)


def _fault(entry: _Value) -> str:
    return entry.fault or ("" if isinstance(entry.value, dict) else "no JSON object")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the items of a value: its variants where it is a group of them, the products of a page's graph."""
    if not isinstance(value, dict):
        return
    nested = value.get("@graph", value.get("itemListElement"))
    variants = value.get("hasVariant")
    priced = value.get("variants")  # as Shopify has them
    if isinstance(nested, list):
        for found in _of_one_type([_item(element) for element in nested]):
            yield from _objects(found)
    elif isinstance(variants, list) and variants and all(isinstance(variant, dict) for variant in variants):
        parent = {name: member for name, member in value.items() if name != "hasVariant"}
        yield from ({**parent, **variant} for variant in variants)
    elif isinstance(priced, list) and priced and all(map(_has_price, priced)):
        yield from (_variant(value, variant) for variant in priced)
    else:
        yield value


def _has_price(variant: Any) -> bool:
    return isinstance(variant, dict) and "price" in variant


def _variant(article: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    """Return a variant with the words of its article, whose id is its parent's; a name of its own is its option."""
    shared = {("parent id" if name == "id" else name): member for name, member in article.items() if name != "variants"}
    own = {name: member for name, member in variant.items() if member is not None}
    if not _NAMES.isdisjoint(shared):
        own = {("option1 value" if name in _NAMES else name): member for name, member in own.items()}
    return {**shared, **own}


def _item(element: Any) -> Any:
    """Take the item out of an element of a schema.org list."""
    return element["item"] if isinstance(element, dict) and isinstance(element.get("item"), dict) else element


def _of_one_type(entries: list[Any]) -> list[Any]:
    """Return the products among the parts of a page, or all where none is said to be one."""
    products = [entry for entry in entries if isinstance(entry, dict) and "Product" in str(entry.get("@type", ""))]
    return products or entries


def _flat(value: dict[str, Any]) -> dict[str, str | None]:
    """Return an object as cells by dotted name."""
    cells: dict[str, str | None] = {}
    _flatten("", value, cells, 0)
    return cells


def _is_not_paid(entry: Any) -> bool:
    """Tell whether an entry is a price that is not asked for: a list price, one struck through, or one for a unit."""
    return isinstance(entry, dict) and (bool(_NOT_PAID.search(str(entry.get("priceType", "")))) or bool(_unit(entry)))


def _unit(price: dict[str, Any]) -> str:
    """The unit that one of schema.org's prices is for; "" for the price of an item.

    Where the amount that the price is for has a `valueReference`, that is the unit, and the amount the item's own.
    """
    amount = price.get("referenceQuantity")
    if not isinstance(amount, dict) or "valueReference" in amount:
        return ""
    unit, size = str(amount.get("unitText") or amount.get("unitCode") or "unit"), _number(amount.get("value", 1))
    return "" if size not in _BASES or (size == 1 and unit in _PIECES) else unit


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _as_cells(value: dict[str, Any]) -> dict[str, Any]:
    """Return one of schema.org's prices so that a bound, or a price for a unit, is written as one: 5-500, 13.33/l."""
    low, high, price = (value.get(name) for name in ("lowPrice", "highPrice", "price"))
    if _is_plain(low) and _is_plain(high) and (_number(low) or low) != (_number(high) or high):
        value = {**value, "lowPrice": f"{low}-{high}"}
    if _is_plain(price) and (unit := _unit(value)):
        value = {**value, "price": f"{price}/{unit}"}
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _flatten(name: str, value: Any, cells: dict[str, str | None], level: int) -> None:
    if isinstance(value, dict) and level < MOST_LEVELS:
        for key, member in _as_cells(value).items():
            _flatten(f"{name}.{key}" if name else key, member, cells, level + 1)
    elif isinstance(value, list) and len(value) <= MOST_ENTRIES and level < MOST_LEVELS:
        for place, entry in enumerate(sorted(value, key=_is_not_paid)):
            first_object = place == 0 and isinstance(entry, dict)
            _flatten(name if first_object else f"{name}.{place}", entry, cells, level + 1)
    elif isinstance(value, (dict, list)):
        cells[name] = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        cells[name] = "true" if value else "false"
    else:
        cells[name] = value
