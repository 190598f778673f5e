"""First lines that many items share, such as "Free delivery from 50": found in a catalogue, and kept out of names.

Such a line is no name. Whether it says anything else is told by the prices: a brand above the name, which the prices
follow, is kept below it; a banner is left out of the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from index.arrays import Float64
from index.catalogue.fields import first_line_key, name_first, parse_fields, shared_first_lines

LOOKED_AT = 10_000  # items in which shared lines are looked for: a line of `SHARE_OF_TEXTS` begins some 200 of them
_COLON_AT_END = re.compile(r"[:：]\s*\n")  # of a line with another below it
_BY_CHANCE = 3.0  # standard deviations above 1 that a ratio of variances may have by chance


@dataclass(frozen=True)
class SharedLines:
    """First lines of texts that name nothing, as `first_line_key` writes them."""

    lines: frozenset[str] = frozenset()
    kept: bool = False  # below the name, since the prices follow them; else they are left out of the text

    def joined(self, lines: Collection[str]) -> SharedLines:
        """Join others, which are treated like these."""
        return SharedLines(self.lines.union(lines), self.kept)

    def applied(self, items: pa.Table) -> pa.Table:
        """Items (schema `ITEMS`) as their texts read without these lines, and without those that end in a colon."""
        texts = items["text"].to_pylist()
        if not self.lines and not any(map(_COLON_AT_END.search, texts)):
            return items
        clean = [name_first(text, self.lines, kept=self.kept) for text in texts]
        rows = [row for row, (text, without) in enumerate(zip(texts, clean, strict=True)) if text != without]
        parsed = [parse_fields(texts[row], self.lines) for row in rows]
        changes = {"text": [clean[row] for row in rows]}
        changes |= {name: [getattr(item, name) for item in parsed] for name in ("name", "amount", "unit", "pack")}
        for name, cells in changes.items():
            column, field = items[name].to_pylist(), items.schema.field(name)
            for row, cell in zip(rows, cells, strict=True):
                column[row] = cell
            place = items.schema.get_field_index(name)
            items = items.set_column(place, field, pa.array(column, field.type))
        return items


NONE_SHARED = SharedLines()


def find_shared_lines(items: pa.Table, known: SharedLines | None = None) -> SharedLines:
    """Find the shared lines of a catalogue's items (schema `ITEMS`), and whether its prices follow them.

    With the lines that an index knows, `known`, those of the items join them.
    """
    step = max(1, -(-items.num_rows // LOOKED_AT))
    sample = items.select(["text", "log_price"]).take(np.arange(0, items.num_rows, step))
    texts = sample["text"].to_pylist()
    found = shared_first_lines(texts)
    if known is not None:
        return known.joined(found)
    return SharedLines(found, bool(found) and _prices_follow(texts, sample["log_price"].to_numpy(), found))


def notes_on(lines: Collection[str], *, kept: bool) -> tuple[str, ...]:
    """Return the sentence on the lines that a file's own items share, if there are any."""
    if not lines:
        return ()
    others = f" or {len(lines) - 1:,} more such lines" if len(lines) > 1 else ""
    verdict = "no name, and is left out" if not kept else "no name"
    return (f"Many different texts begin with {min(lines)!r}{others}: that is {verdict}.",)


def _prices_follow(texts: Sequence[str], log_price: Float64, lines: Collection[str]) -> bool:
    """Tell whether prices of texts that begin with other lines differ by more than chance; (n,) NaN for no price.

    Source: the F ratio of a one-way analysis of variance, whose standard deviation is about sqrt(2 / (groups - 1))
    where nothing differs. Without enough prices to tell, they may; what all texts begin with tells nothing.
    """
    keys = [first_line_key(text.lstrip().partition("\n")[0]) for text in texts]
    _, group = np.unique([key if key in lines else "" for key in keys], return_inverse=True)
    priced = ~np.isnan(log_price)
    group, log_price = group[priced], log_price[priced].astype(np.float64)
    rows = np.bincount(group)
    groups = int((rows > 0).sum())
    if len(group) <= groups:
        return True
    if groups == 1:
        return False
    mean = np.bincount(group, log_price) / np.maximum(rows, 1)
    between = (rows * (mean - log_price.mean()) ** 2).sum() / (groups - 1)
    within = ((log_price - mean[group]) ** 2).sum() / (len(group) - groups)
    return bool(between > within * (1 + _BY_CHANCE * np.sqrt(2 / (groups - 1))))
