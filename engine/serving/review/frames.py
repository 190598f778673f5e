"""Frames of an analyst, in and out: cells of the items to price, and a review of a price list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.serving.review.decisions import decide
from engine.serving.review.own_cells import CURRENT, facts_of_cells
from index.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from engine.serving.audit.audit import Audit
    from engine.serving.review.decisions import Suggestions
    from engine.serving.review.own_cells import OwnColumns


def item_cells(
    frame: pd.DataFrame, text: str, image: str, further: Sequence[str]
) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Text, photograph, and cells of the further columns that a frame has, of each row; a column may be missing."""
    texts, images = (_plain(frame, name) for name in (text, image))
    present = {name: _plain(frame, name) for name in further if name in frame}
    rows = zip(texts, images, *present.values(), strict=True)
    return [
        (
            "" if words is None else str(words),
            None if photo is None else str(photo),
            dict(zip(present, rest, strict=True)),
        )
        for words, photo, *rest in rows
    ]


def _plain(frame: pd.DataFrame, name: str) -> list[Any]:
    """Cells of a column, None where there is nothing."""
    if name not in frame:
        return [None] * len(frame)
    column = frame[name]
    return list(column.astype(object).where(column.notna(), None))


def audit_frame(audit: Audit) -> pd.DataFrame:
    """The rows of an audit."""
    frame: pd.DataFrame = audit.table.to_pandas()
    return frame


def review_frame(
    frame: pd.DataFrame,
    suggestions: Suggestions,
    own: OwnColumns,
    *,
    names: Sequence[str],
    reasons: Sequence[str],
    currency: str,
) -> pd.DataFrame:
    """Columns of a review for each row of a frame, under its index; its current prices stand in the column `price`.

    `reasons`: why a row could not be priced, "" where it is. UsageError for a column that is named and not there.
    """
    import pandas as pd

    lacking = [column for column in ("price", *own.named.values()) if column not in frame]
    if lacking:
        names = ", ".join(map(str, frame.columns))
        raise UsageError(f"The frame has no column {lacking[0]!r}: its columns are {names}.")
    cells = {column: _plain(frame, column) for column in own.named.values()} | {CURRENT: _plain(frame, "price")}
    facts = facts_of_cells(cells, len(frame), own, currency)
    return pd.DataFrame(decide(suggestions, facts, names, reasons, currency), index=frame.index)
