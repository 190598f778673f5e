"""Which rows are twins, and which fold does each row belong to?

A row whose twin trains the model that predicts it hears its own price. So twins (the same photograph, or the same name
but for numbers) form a group, and a group is never split between folds.
"""

import heapq
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from index.errors import DataRefused, UsageError

Int64 = NDArray[np.int64]

MOST_FOLDS = 127  # folds are kept as int8
FEW_FOLDS, MANY_FOLDS = 5, 10
ROWS_FOR_MANY, GROUPS_FOR_MANY = 8_000, 200  # at most, at least
PHOTOGRAPH_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


def twin_groups(
    names_key: Sequence[str], images: Sequence[str | None], fingerprints: Sequence[str | None] | None = None
) -> Int64:
    """Number the groups of twins: (n,) from 0, without gaps; a row without a twin is a group of its own.

    Linked are rows with the same `names_key` (a name without its numbers), with the same last part of the photograph's
    reference, or with the same `fingerprints` (a photograph's content); and so on from twin to twin. Empty or absent
    keys link nobody. Nor does a photograph that more different names share than `placeholder_limit` allows: that one
    says "no image available", and would glue the catalogue into one group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(names_key)
    links = [_first_alike(keys) for keys in twin_keys(names_key, images, fingerprints)]
    one, other = np.tile(np.arange(rows), len(links)), np.concatenate(links)
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(rows, rows))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, np.int64)


def twin_keys(
    names_key: Sequence[str], images: Sequence[str | None], fingerprints: Sequence[str | None] | None = None
) -> tuple[Sequence[str | None], Sequence[str | None], Sequence[str | None]]:
    """What links twins: names, photographs' names, their contents; each (n,), empty or None where it links nobody."""
    rows = len(names_key)
    assert len(images) == rows and (fingerprints is None or len(fingerprints) == rows)
    named = _without_placeholders([photograph_name(image) if image else "" for image in images], names_key)
    return names_key, named, _without_placeholders(fingerprints or [None] * rows, names_key)


def placeholder_limit(rows: int) -> int:
    """How many differently named items may share a photograph before it counts as a placeholder.

    50, or 1 % of the rows where that is more; in a catalogue of under 500 rows a tenth of them, and never under 10.
    """
    return max(min(50, rows // 10), rows // 100, 10)


def photograph_name(reference: str) -> str:
    """The last part of a URL or path, which is what photographs are known by.

    A query is cut off where a file name stands before it (`a.jpg?width=300`), and kept where it is the name (`?id=7`).
    """
    path = reference
    if "://" in reference:
        try:
            address = urlsplit(reference)
        except ValueError:  # not a URL after all, such as http://[: its last part is a name like any other
            return reference.rsplit("/", 1)[-1]
        is_file = PurePosixPath(address.path).suffix.lower() in PHOTOGRAPH_SUFFIXES
        path = address.path if is_file or not address.query else f"{address.path}?{address.query}"
    return path.replace("\\", "/").rsplit("/", 1)[-1].strip()


def folds_for(groups: Int64) -> int:
    """How many folds a catalogue gets whose owner asked for no number; `groups` (n,) of twins.

    With 10, every model learns from nine tenths of the rows, where 5 leave it four fifths: half a point of SMAPE on a
    catalogue of some thousand rows (docs/experiments.md). But there is a model for every pair of folds, 3.7 times as
    many: beyond some thousand rows a build would take more than half an hour, and more rows bring more than more folds.
    """
    rows, found = len(groups), len(np.unique(groups))
    return MANY_FOLDS if rows <= ROWS_FOR_MANY and found >= GROUPS_FOR_MANY else FEW_FOLDS


def assign_folds(
    groups: Int64, folds: int, seed: int, log_price: NDArray[np.floating] | None = None
) -> NDArray[np.int8]:
    """Deal whole groups into folds of even size: (n,) from 0.

    The largest groups go first, each to the smallest fold so far; ties are broken at random by `seed`. With `log_price`
    (n,), groups of one size are dealt in order of their mean price, so that every fold has its share of each level.
    Raises UsageError for the number of folds, DataRefused where there are fewer groups than folds.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"folds is {folds}: give a whole number from 2 to {MOST_FOLDS}, such as 5.")
    label, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(label) < folds:
        raise DataRefused(
            f"The catalogue has {len(groups):,} usable rows in {len(label):,} groups of twins (the same photograph, or "
            f"the same name but for numbers), which is too few for {folds} folds: add rows, or ask for fewer folds."
        )
    random = np.random.default_rng(seed)
    level = random.random(len(label))
    if log_price is not None:
        assert log_price.shape == groups.shape and np.isfinite(log_price).all(), (log_price.shape, groups.shape)
        level = np.bincount(member, weights=log_price) / size
    fold_of_group = np.empty(len(label), np.int8)
    smallest = [(0, random.random(), fold) for fold in range(folds)]
    heapq.heapify(smallest)
    for group in np.lexsort((level, -size)):
        held, _, fold = smallest[0]
        fold_of_group[group] = fold
        heapq.heapreplace(smallest, (held + int(size[group]), random.random(), fold))
    return fold_of_group[member]


def _first_alike(keys: Sequence[str | None]) -> Int64:
    """(n,) for each row the first row with the same key; itself where it has none."""
    first: dict[str, int] = {}
    alike = (first.setdefault(key, row) if key else row for row, key in enumerate(keys))
    return np.fromiter(alike, np.int64, len(keys))


def _without_placeholders(photographs: Sequence[str | None], names_key: Sequence[str]) -> list[str | None]:
    """The photographs, with none in the place of each that too many different names share."""
    names: dict[str, set[Hashable]] = {}
    for row, (photograph, name) in enumerate(zip(photographs, names_key, strict=True)):
        if photograph:
            names.setdefault(photograph, set()).add(name or row)  # rows without a name differ, for all we know
    limit = placeholder_limit(len(photographs))
    return [photograph if photograph and len(names[photograph]) <= limit else None for photograph in photographs]
