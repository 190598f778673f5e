"""Columns of a catalogue: which one is what, and where it stands in a file's header."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from index.errors import DataRefused

# What other catalogues call these columns: a suggestion where no name looks alike.
_ALIASES = {
    "id": ("id", "sku", "asin", "code", "key"),
    "text": ("text", "content", "title", "name", "description"),
    "image": ("image", "photo", "picture", "img"),
    "price": ("price", "cost", "value"),
}


@dataclass(frozen=True)
class Columns:
    """Names of a file's columns. The defaults are the challenge's; a default `image` may be missing."""

    id: str = "sample_id"
    text: str = "catalog_content"
    image: str = "image_link"
    price: str = "price"


@dataclass(frozen=True)
class ColumnSpec:
    """A column to read: its role ("id", "text", "image", "price"), its name, and whether the file must have it."""

    role: str
    name: str
    required: bool


def column_specs(columns: Columns, *, priced: bool) -> list[ColumnSpec]:
    """List the columns to read in the order id, text, image, price. One that an option names must be there."""
    usual = Columns()
    return [
        ColumnSpec("id", columns.id, True),
        ColumnSpec("text", columns.text, True),
        ColumnSpec("image", columns.image, columns.image != usual.image),
        ColumnSpec("price", columns.price, priced or columns.price != usual.price),
    ]


def find_columns(path: Path, header: Sequence[str], specs: Sequence[ColumnSpec]) -> list[int | None]:
    """Return the place of each column in the header, None for one that the file may lack and does.

    Raises DataRefused for a required column that is not there, and for two columns of one name.
    """
    names = [name.strip() for name in header]
    doubled = [name for name, times in Counter(names).items() if times > 1 and name]
    if doubled:
        raise DataRefused(f"{path} has more than one column {doubled[0]!r}: rename all but one.")
    for spec in specs:
        if spec.required and spec.name not in names:
            raise DataRefused(
                f"{path} has no column {spec.name!r} for the {spec.role}{_suggestion(spec, names) or '.'} "
                f"Its columns are: {', '.join(names[:20])}. Name the right one with --{spec.role}-column."
            )
    return [names.index(spec.name) if spec.name in names else None for spec in specs]


def _suggestion(spec: ColumnSpec, names: Sequence[str]) -> str:
    folded = {name.casefold(): name for name in names if name}
    near = difflib.get_close_matches(spec.name.casefold(), folded, n=1)
    near = near or [name for alias in _ALIASES.get(spec.role, ()) for name in folded if alias in name]
    return f": did you mean {folded[near[0]]!r}?" if near else ""
