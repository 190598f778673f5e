"""Items as one Arrow table: its schema, and how the columns that words tell are made from texts; it knows no file."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa

from index.catalogue.cleaning import without_markup
from index.catalogue.fields import parse_fields
from index.catalogue.further import further_type
from index.catalogue.money import HIGHEST_PRICE, LOWEST_PRICE
from index.errors import DataRefused
from index.photographs.references import first_reference

NOTHING_GIVEN = "no text and no photograph"
"""The reason that nothing can be told of an item."""

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("image", pa.string()),  # a URL or a path: the first that the file has
        pa.field("log_price", pa.float32()),  # ln of money; null where an item has no price
        pa.field("amount", pa.float32()),  # the listing's total in the canonical member of `unit`
        pa.field("unit", pa.string(), nullable=False),  # one of `units.UNITS`
        pa.field("pack", pa.int16(), nullable=False),
        pa.field("parent", pa.string()),  # what the variants of one article share, in the file's words
        pa.field("date", pa.date32()),  # of the price
    ]
)


def make_items(
    ids: Sequence[str],
    texts: Sequence[str],
    images: Sequence[str | None],
    prices: Sequence[float | None] | None = None,
    *,
    parents: Sequence[str | None] | None = None,
    dates: Sequence[dt.date | None] | None = None,
    further: Mapping[str, Sequence[str | float | None]] = MappingProxyType({}),
) -> pa.Table:
    """Make items (schema `ITEMS`) of equally long columns; `prices` in money. Raises `DataRefused` for an odd price.

    `further` columns stand behind them, by name: `category:NAME` of text, `number:NAME` of numbers.
    """
    prices = [None] * len(ids) if prices is None else prices
    parents = [None] * len(ids) if parents is None else parents
    dates = [None] * len(ids) if dates is None else dates
    texts = [without_markup(text) for text in texts]
    parsed = [parse_fields(text) for text in texts]
    for item_id, price in zip(ids, prices, strict=True):
        if price is not None and not LOWEST_PRICE <= price <= HIGHEST_PRICE:
            raise DataRefused(f"item {item_id!r} has the price {price}: give a positive amount of money, or none.")
    schema = pa.schema([*ITEMS, *(pa.field(name, further_type(name)) for name in further)])
    columns = (
        ids,
        texts,
        [item.name for item in parsed],
        [(first_reference(image) or None) if image else None for image in images],
        [None if price is None else math.log(price) for price in prices],
        [item.amount for item in parsed],
        [item.unit for item in parsed],
        [item.pack for item in parsed],
        [parent or None for parent in parents],
        dates,
        *further.values(),
    )
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    except UnicodeEncodeError as error:
        raise DataRefused("a text has characters that are not Unicode: save it as UTF-8.") from error
    return pa.Table.from_arrays(arrays, schema=schema)
