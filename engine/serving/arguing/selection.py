"""Comparables that a price may rest on, as a user names them: some left out, or a few pinned, by the ids of their rows.

What the models learned stays. Whoever prices a listing of the catalogue itself leaves out its group of near-duplicates:
then the models answer that were trained on none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.reference import SelectedRows
from index.errors import DataRefused, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ensemble.reference import ReferenceSet
    from index.storage.manifest import Manifest

MOST_IDS = 1_000  # so many more neighbours are searched for
NAMED = 3  # ids named in a refusal


@dataclass(frozen=True)
class Selection:
    """Choice of comparables. UsageError for too many ids, or for pinned ones that are all left out."""

    without: tuple[str, ...] = ()  # ids of rows that are left out
    only: tuple[str, ...] = ()  # ids of rows that are pinned: no other counts, and these whatever they cost
    exclude_group: str | None = None  # id of a row that is left out with all its near-duplicates

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", _plain(self.without))
        object.__setattr__(self, "only", _plain(self.only))
        if self.exclude_group is not None:
            object.__setattr__(self, "exclude_group", _plain((self.exclude_group,))[0])
        for option, ids in (("without", self.without), ("only", self.only)):
            if len(ids) > MOST_IDS:
                raise UsageError(f"{option} names {len(ids):,} ids: name at most {MOST_IDS:,}.")
        if self.only and not set(self.only) - {*self.without, self.exclude_group}:
            raise UsageError("Every comparable that is pinned is left out as well: pin others, or leave out fewer.")

    def __bool__(self) -> bool:
        return bool(self.without or self.only or self.exclude_group is not None)

    def notes(self, k: int) -> list[str]:
        """Notes on a price that the k nearest of the chosen rows correct."""
        notes = []
        if self.exclude_group is not None:
            notes.append(f"The models answer that were trained on neither {self.exclude_group!r} nor its like.")
        if (pinned := len(self.only)) > k:
            notes.append(f"Of {pinned:,} pinned comparables the {k} nearest count: with a k of {pinned} all do.")
        return notes

    def rows(self, folder: Path, manifest: Manifest, reference: ReferenceSet) -> SelectedRows:
        """Find the rows in an open generation. Raises DataRefused for an id that it has not."""
        excluded = () if self.exclude_group is None else (self.exclude_group,)
        named = (*self.without, *self.only, *excluded)
        numbers = reference.numbers(named)
        if unknown := [item_id for item_id in dict.fromkeys(named) if item_id not in numbers]:
            more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
            raise DataRefused(
                f"The index has no row {', '.join(map(repr, unknown[:NAMED]))}{more}: name ids as `price query --json` "
                "lists them under comparables."
            )
        fold = None
        without = [numbers[item_id] for item_id in self.without]
        if excluded:
            group = _group_of(folder, manifest, numbers[excluded[0]])
            without += group
            fold = int(reference.fold[group[0]])
        only = [numbers[item_id] for item_id in self.only]
        if only and not set(only) - set(without):
            raise UsageError("Every comparable that is pinned is a near-duplicate that is left out: pin others.")
        return SelectedRows(reference, np.array(without, np.int64), np.array(only, np.int64) if only else None, fold)


def _plain(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Ids without blanks around them, each once."""
    if isinstance(ids, str):
        raise UsageError(f"{ids!r:.40} is one string: give a tuple of ids, such as ({ids!r:.40},).")
    plain = tuple(dict.fromkeys(item_id.strip() for item_id in ids))
    if "" in plain:
        raise UsageError("An id of a comparable is empty: name ids as `price query --json` lists them.")
    return plain


def _group_of(folder: Path, manifest: Manifest, row: int) -> list[int]:
    """The numbers of a row and its near-duplicates."""
    from index.storage.items_table import ItemStore

    group = ItemStore.open(folder, manifest).items(["group"])["group"].to_numpy()
    numbers: list[int] = np.flatnonzero(group == group[row]).tolist()
    return numbers


EVERYTHING = Selection()
