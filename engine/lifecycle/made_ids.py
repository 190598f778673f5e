"""Items that are added without an id of their own: named so that they take no row's place, noticed if they come again.

A file without ids names its items by their lines, and so does another, of which line 2 is something else.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.errors import DataRefused

if TYPE_CHECKING:
    from engine.ensemble.reference import ReferenceSet
    from index.catalogue.items import Catalogue


def with_free_ids(read: Catalogue, taken: AbstractSet[str]) -> Catalogue:
    """The items with other made ids where rows have some of these: line-2 and line-3 become line-2.2 and line-3.2.

    All of a file get the same ending, the first of 2, 3 and so on by which none is taken.
    """
    made, ids = set(read.made_ids), read.items["item_id"].to_pylist()
    if made.isdisjoint(taken):
        return read
    used = taken | (set(ids) - made)
    ending = next(number for number in count(2) if used.isdisjoint(f"{item_id}.{number}" for item_id in made))
    named = {item_id: f"{item_id}.{ending}" for item_id in made}
    place = read.items.schema.get_field_index("item_id")
    column = [[named.get(item_id, item_id) for item_id in ids]]
    return replace(
        read,
        items=read.items.set_column(place, read.items.schema.field(place), column),
        made_ids=tuple(named[item_id] for item_id in read.made_ids),
    )


def refuse_to_replace(new: Path, read: Catalogue) -> None:
    """Raise DataRefused where no item has an id by which it could take a row's place."""
    if read.unnamed == read.items.num_rows:
        raise DataRefused(
            f"The items of {new} have no ids, and only an id tells which row an item takes the place of: nothing was "
            "added; give the file a column of ids, those of the index."
        )


def note_on_repeated(new: Path, read: Catalogue, reference: ReferenceSet, *, any_price: bool) -> tuple[str, ...]:
    """Return a sentence on items without an id that seem to be rows of the index, if there are any.

    Raises DataRefused where half of them are, unless `any_price`: the file may have been added before.
    """
    if not read.made_ids:
        return ()
    items, made = read.items.select(["item_id", "name", "image", "log_price"]).to_pylist(), set(read.made_ids)
    items = [item for item in items if item["item_id"] in made]
    prices = np.array([item["log_price"] for item in items], np.float32)
    rows = np.flatnonzero(np.isin(reference.log_price.astype(np.float32), prices))
    there = {
        (row["name"], row["image"], price)
        for row, price in zip(reference.shown(rows), reference.log_price[rows].astype(np.float32), strict=True)
    }
    repeated = sum((item["name"], item["image"], price) in there for item, price in zip(items, prices, strict=True))
    if not repeated:
        return ()
    what = (
        f"{repeated:,} of {len(items):,} items without an id have the name, photograph and price of rows of the index"
    )
    if 2 * repeated >= len(items) and not any_price:
        raise DataRefused(f"{what}: was {new} added before? Nothing was added; --yes adds them once more.")
    return (f"{what}, which holds them twice now.",)
