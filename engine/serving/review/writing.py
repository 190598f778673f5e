"""Write a review from the priced shards: rows in order of what is at stake, and their summary.

In memory are a few numbers of each row; the rest is read from the shards as it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.serving.joining import put_in_place
from engine.serving.listings.columns import (
    FLAG,
    FLAGS,
    NO_CURRENT,
    REVIEW,
    STAKE,
    TOO_HIGH,
    TOO_LOW,
    UNSURE,
    Column,
    Kind,
)
from engine.serving.listings.files import LISTING_FILES, write_listing
from engine.serving.listings.listing import Listing
from engine.serving.shards import SCRATCH, ShardJournal, parts_of, priced_file, read_table, record

if TYPE_CHECKING:
    import pyarrow as pa

    from index.arrays import Int64

REVIEW_FILES = LISTING_FILES
BATCH = 2_000  # rows that are gathered from the shards at once
MOST_GROUPS = 1_000  # of a summary; what is beyond is one group
OTHERS, NO_GROUP, ALL = "(others)", "(none)", "All"
LAST = (UNSURE, NO_CURRENT)  # flags whose rows come last, in this order
SUMMARY = (
    Column("category", Kind.TEXT, "Category", "The category.", 28),
    Column("rows", Kind.NUMBER, "Rows", "Rows of the file."),
    *(Column(flag, Kind.NUMBER, flag.capitalize(), f"Rows with the flag {flag}.") for flag in FLAGS),
    Column("stake_too_low", Kind.MONEY, "At stake, too low", "What is at stake where prices are too low.", 18),
    Column("stake_too_high", Kind.MONEY, "At stake, too high", "What is at stake where prices are too high.", 18),
    Column("current", Kind.MONEY, "Now", "Current prices times weights, of rows that have a price to set.", 18),
    Column("to_set", Kind.MONEY, "At prices to set", "Prices to set times weights, of the same rows.", 18),
)


@dataclass
class Summary:
    """Counts and sums by group."""

    groups: dict[str, Counter[str]] = field(default_factory=dict)
    bound_by: Counter[str] = field(default_factory=Counter)

    def add(self, part: pa.Table) -> None:
        """Take the rows of a shard."""
        names = ("category", FLAG, STAKE, "current_price", "price_to_set", "weight", "bound_by")
        for cells in zip(*(part[name].to_pylist() for name in names), strict=True):
            group, flag, stake, current, to_set, weight, bound_by = cells
            group = group or NO_GROUP
            if group not in self.groups and len(self.groups) >= MOST_GROUPS:
                group = OTHERS
            counts = self.groups.setdefault(group, Counter())
            counts["rows"] += 1
            counts[flag] += 1
            if flag in (TOO_LOW, TOO_HIGH) and stake is not None:
                counts[f"stake_{flag.replace(' ', '_')}"] += stake
            if None not in (current, to_set, weight):
                counts["current"] += current * weight
                counts["to_set"] += to_set * weight
            self.bound_by.update(filter(None, bound_by.split(", ")))

    def rows(self) -> list[list[Any]]:
        """A row of SUMMARY for each group, those with the most at stake first, and one for all."""
        whole: Counter[str] = Counter()
        for counts in self.groups.values():
            whole.update(counts)
        order = sorted(self.groups.items(), key=lambda item: -(item[1]["stake_too_low"] + item[1]["stake_too_high"]))
        return [[name, *(counts[column.name] for column in SUMMARY[1:])] for name, counts in [*order, (ALL, whole)]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        *groups, whole = [dict(zip((column.name for column in SUMMARY), row, strict=True)) for row in self.rows()]
        stake = {TOO_LOW: whole["stake_too_low"], TOO_HIGH: whole["stake_too_high"]}
        return {
            "flags": {flag: whole[flag] for flag in FLAGS},
            "at_stake": stake,
            "bound_by": dict(self.bound_by),
            "groups": groups,
        }


def join_review(out: Path, journal: ShardJournal, currency: str) -> None:
    """Write OUT from the parts and put it in its place, as `engine.serving.joining.join` does; its summary is kept."""
    parts, summary = parts_of(out), Summary()
    order = _order(parts, journal.shards, summary)
    journal.summary = {**summary.to_json(), "currency": currency}
    record(parts, "summary", journal.summary)
    names = [column.name for column in REVIEW]
    listing = Listing(
        title="Review",
        id_column=journal.id_column if journal.id_column not in names else "item_id",
        columns=REVIEW,
        rows=len(order),
        batches=lambda: _batches(parts, order, names),
        currency=currency,
        summary_columns=SUMMARY,
        summary_rows=summary.rows(),
    )
    put_in_place(out, journal, lambda partial: write_listing(partial, out.suffix, listing, parts / SCRATCH))


def _order(parts: Path, shards: int, summary: Summary) -> Int64:
    """(n, 2) shard and row of each row of the file, what is most at stake first, those that are unsure last."""
    places, last, stake = [], [], []
    for shard in range(shards):
        part = read_table(priced_file(parts, shard))
        summary.add(part)
        rows = part.num_rows
        places.append(np.column_stack([np.full(rows, shard), np.arange(rows)]))
        flags = part[FLAG].to_pylist()
        last.append(np.array([LAST.index(flag) + 1 if flag in LAST else 0 for flag in flags], np.int8))
        stake.append(np.nan_to_num(part[STAKE].to_numpy(zero_copy_only=False)))
    order = np.lexsort((-np.concatenate(stake), np.concatenate(last)))
    ordered: Int64 = np.concatenate(places)[order]
    return ordered


def _batches(parts: Path, order: Int64, names: list[str]) -> Iterator[pa.Table]:
    """The rows in an order, as tables: of each shard only what a table needs is read."""
    import pyarrow as pa

    for begin in range(0, len(order), BATCH):
        places = order[begin : begin + BATCH]
        by_shard = np.argsort(places[:, 0], kind="stable")
        tables = []
        for shard in np.unique(places[:, 0]):
            rows = places[by_shard][places[by_shard][:, 0] == shard][:, 1]
            with pa.memory_map(str(priced_file(parts, int(shard)))) as file:
                tables.append(pa.ipc.open_file(file).read_all().select(names).take(rows))
        back = np.empty(len(places), np.int64)
        back[by_shard] = np.arange(len(places))
        yield pa.concat_tables(tables).take(back)
