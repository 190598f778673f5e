"""Folds of a catalogue: how many, and which row belongs to which.

A model that was trained on a near-duplicate of a row knows that row's price. So near-duplicates (the same
photograph, or the same name but for numbers: `index.catalogue.duplicates`) form a group, and a group is never split
between folds.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from index.arrays import Int8, Int64
from index.errors import DataRefused, UsageError

MOST_FOLDS = 127  # folds are kept as int8
FEW_FOLDS, MANY_FOLDS = 5, 10
ROWS_FOR_MANY, GROUPS_FOR_MANY = 8_000, 200  # at most, at least
LEAST_GROUPS_PER_FOLD = 4  # models are fitted without two of the folds, and must be left something to learn from


def folds_for(groups: Int64) -> int:
    """Number of folds of a catalogue whose owner asked for no number; `groups` (n,) of near-duplicates.

    With 10, every model learns from nine tenths of the rows, where 5 leave it four fifths: half a point of SMAPE on a
    catalogue of some thousand rows (docs/experiments.md). But there is a model for every pair of folds, 3.7 times as
    many: beyond some thousand rows a build would take more than half an hour, and more rows bring more than more folds.
    """
    rows, found = len(groups), len(np.unique(groups))
    return MANY_FOLDS if rows <= ROWS_FOR_MANY and found >= GROUPS_FOR_MANY else FEW_FOLDS


def refuse_too_few_groups(groups: Int64, needed: int, why: str) -> None:
    """Raise DataRefused where a catalogue's `groups` (n,) of near-duplicates are too few; `why` ends the sentence."""
    found = len(np.unique(groups))
    if found < needed:
        raise DataRefused(
            f"The catalogue has {len(groups):,} usable rows in {found:,} groups of near-duplicates (the same "
            f"photograph or parent, or the same name but for numbers), which {why}."
        )


def assign_folds(groups: Int64, folds: int, seed: int, log_price: NDArray[np.floating] | None = None) -> Int8:
    """Deal whole groups into folds of even size: (n,) from 0.

    The largest groups go first, each to the smallest fold so far; ties are broken at random by `seed`. With `log_price`
    (n,), groups of one size are dealt in order of their mean price, so that every fold has its share of each level.
    Raises UsageError for the number of folds, DataRefused where there are fewer groups than folds.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"folds is {folds}: give a whole number from 2 to {MOST_FOLDS}, such as 5.")
    label, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    refuse_too_few_groups(groups, folds, f"is too few for {folds} folds: add rows, or ask for fewer folds")
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
