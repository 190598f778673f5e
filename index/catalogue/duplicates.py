"""Groups of near-duplicates: rows that share a name but for its numbers, or a photograph.

A model that learned from a near-duplicate of a row knows that row's price, so the rows of a group stay together
wherever a score is computed. This file knows names, references and fingerprints; it reads no photograph.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from index.arrays import Int64
from index.catalogue.fields import name_key
from index.photographs.references import is_image_name

if TYPE_CHECKING:
    import pyarrow as pa

LINKS = ("name_key", "image", "fingerprint", "parent")
"""Columns of items that link near-duplicates, in the order in which `duplicate_groups` takes them."""


def with_duplicate_keys(items: pa.Table, fingerprints: Sequence[str | None], *, whole_names: bool = False) -> pa.Table:
    """Add the columns `name_key` and `fingerprint`, which link near-duplicates beside the photograph and the parent.

    `items` of schema `ITEMS`; `fingerprints` (n,) of their photographs, None where there is none or none can be read.
    With `whole_names` numbers count: bolts of other sizes are other items.
    """
    import pyarrow as pa

    key = _whole_name if whole_names else name_key
    names = [key(name) for name in items["name"].to_pylist()]
    contents = pa.array(fingerprints, pa.string())
    return items.append_column("name_key", [names]).append_column("fingerprint", [contents])


def _whole_name(name: str) -> str:
    return " ".join(name.casefold().split())


def duplicate_groups(
    names_key: Sequence[str],
    images: Sequence[str | None],
    fingerprints: Sequence[str | None] | None = None,
    parents: Sequence[str | None] | None = None,
) -> Int64:
    """Number the groups of near-duplicates: (n,) from 0, without gaps; a row without any is a group of its own.

    Linked are rows with the same `names_key` (a name without its numbers), with the same reference to a photograph,
    with the same `fingerprints` (a photograph's content), or with the same of `parents` (variants of one article); and
    so on from row to row. Empty or absent keys link nobody. Nor does a photograph that more different names share than
    `placeholder_limit` allows: that one says "no image available", and would glue the catalogue into one group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(names_key)
    links = [_first_with_key(keys) for keys in duplicate_keys(names_key, images, fingerprints)]
    links += [_first_with_key(parents)] if parents is not None else []
    start, end = np.tile(np.arange(rows), len(links)), np.concatenate(links)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(rows, rows))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, np.int64)


def duplicate_keys(
    names_key: Sequence[str], images: Sequence[str | None], fingerprints: Sequence[str | None] | None = None
) -> tuple[Sequence[str | None], Sequence[str | None], Sequence[str | None]]:
    """Return what links near-duplicates: names, photographs' addresses, their contents.

    Each is (n,), with an empty string or None where it links nobody.
    """
    rows = len(names_key)
    assert len(images) == rows and (fingerprints is None or len(fingerprints) == rows)
    addresses = [photograph_address(image) if image else "" for image in images]
    contents = fingerprints or [None] * rows
    return names_key, _without_placeholders(addresses, names_key), _without_placeholders(contents, names_key)


def placeholder_limit(rows: int) -> int:
    """Return how many differently named items may share a photograph before it counts as a placeholder.

    50, or 1 % of the rows where that is more; in a catalogue of under 500 rows a tenth of them, and never under 10.
    """
    return max(min(50, rows // 10), rows // 100, 10)


def photograph_address(reference: str) -> str:
    """Return what two references to one photograph share: the host and the path of a URL, or a path; "" for a folder.

    Not its last part alone: shops number photographs anew in each folder. A query is cut off where a file name stands
    before it (`a.jpg?width=300`), and kept where it is the name (`?id=7`).
    """
    address, query = reference, ""
    if "://" in reference:
        try:
            parts = urlsplit(reference)
        except ValueError:  # not a URL after all, such as http://[: an address like any other
            return reference
        address, query = f"{parts.netloc.lower()}{parts.path}", parts.query
    elif is_image_name(reference):
        address = reference.partition("?")[0]
    address = address.replace("\\", "/").strip().removeprefix("./").lstrip("/")
    if query and not is_image_name(address):
        return f"{address}?{query}"
    return "" if address.endswith("/") else address


def _first_with_key(keys: Sequence[str | None]) -> Int64:
    """Return for each row the first row with the same key, (n,); itself where it has no key."""
    first: dict[str, int] = {}
    linked = (first.setdefault(key, row) if key else row for row, key in enumerate(keys))
    return np.fromiter(linked, np.int64, len(keys))


def _without_placeholders(photographs: Sequence[str | None], names_key: Sequence[str]) -> list[str | None]:
    """The photographs, with None in the place of those that too many different names share."""
    names: dict[str, set[Hashable]] = {}
    for row, (photograph, name) in enumerate(zip(photographs, names_key, strict=True)):
        if photograph:
            names.setdefault(photograph, set()).add(name or row)  # rows without a name differ, for all we know
    limit = placeholder_limit(len(photographs))
    return [photograph if photograph and len(names[photograph]) <= limit else None for photograph in photographs]
