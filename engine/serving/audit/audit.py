"""Audit a catalogue: its rows whose own price lies outside what models say that never saw it, the worst first.

All of it is made of what the index keeps; nothing is encoded, and no row is priced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.blend import blend
from engine.ensemble.correction import weights
from engine.ensemble.held_out import HeldOutPrices
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.reference import OtherFolds
from engine.serving.audit.reasons import Reason, Row, likely_reason, severity
from engine.serving.listings.columns import AUDIT, TOO_HIGH, TOO_LOW
from engine.serving.review.decisions import comparable_columns, loudest_comparables, short
from index.catalogue.money.stored import stored_prices
from index.storage.items_table import ItemStore

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.ensemble.cross_fit import QueryParameters
    from engine.ensemble.reference import ReferenceSet
    from engine.serving.scorable import ScorableRows
    from index.arrays import Int64

UNTOLD = "none told"


@dataclass(frozen=True)
class Audit:
    """Rows that look wrong, and how many were looked at."""

    table: pa.Table  # the columns of AUDIT
    rows: int  # that were looked at
    added: int  # rows added since the build, which no models are kept for that never saw them
    currency: str
    reasons: dict[str, int]  # kind of fault -> rows
    flags: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {
            "rows": self.rows,
            "not_audited": self.added,
            "listed": self.table.num_rows,
            "flags": self.flags,
            "reasons": self.reasons,
            "currency": self.currency,
        }


def audit_rows(rows: ScorableRows, reference: ReferenceSet, parameters: QueryParameters) -> Audit:
    """Audit the rows of a generation; `reference` is its own, `parameters` what it prices queries by."""
    import pyarrow as pa

    held_out = HeldOutPrices.read(rows.folder, rows.number)
    worst = severity(rows.log_price, held_out.low, held_out.high)
    listed = np.flatnonzero(worst > 1)
    listed = listed[np.argsort(-worst[listed], kind="stable")]
    items = ItemStore.open(rows.folder, rows.manifest).items(["item_id", "name", "pack"]).take(rows.number)
    reasons = _reasons(rows, held_out, listed, items, reference)
    own, answer = stored_prices(rows.log_price[listed]), np.exp(held_out.answer[listed])
    flags = np.where(own > answer, TOO_HIGH, TOO_LOW).tolist()
    columns: dict[str, Any] = {
        "item_id": items["item_id"].take(listed),
        "name": list(map(short, items["name"].take(listed).to_pylist())),
        "flag": flags,
        "price": own,
        "should_be": answer,
        "times": own / answer,
        "low": np.exp(held_out.low[listed]),
        "high": np.exp(held_out.high[listed]),
        "severity": worst[listed],
        "reason": [reason.text if reason else "" for reason in reasons],
        "would_be": [float(np.exp(reason.would_be)) if reason else None for reason in reasons],
        **comparable_columns(_comparables(rows, listed, reference, parameters)),
    }
    text, number = pa.string(), pa.float64()
    types = [text if column.is_text else number for column in AUDIT[1:]]
    arrays = [
        pa.array(columns[column.name], kind, from_pandas=True) for column, kind in zip(AUDIT[1:], types, strict=True)
    ]
    table = pa.Table.from_arrays([columns["item_id"], *arrays], [column.name for column in AUDIT])
    kinds = Counter(reason.kind if reason else UNTOLD for reason in reasons)
    return Audit(table, len(rows.log_price), rows.added, rows.manifest.currency, dict(kinds), dict(Counter(flags)))


def _comparables(
    rows: ScorableRows, listed: Int64, reference: ReferenceSet, parameters: QueryParameters
) -> list[list[tuple[str, float]]]:
    """Comparables of the rows listed, from other folds than their own, around their prices before the correction.

    By the index's own parameters, and of all its rows: to fit those of a fold again takes as long as an evaluation.
    """
    oof, correction = rows.oof.take(listed), parameters.correction
    nested, others = oof.nested(), OtherFolds(reference, oof.fold)
    base = nested[STACKER] if oof.stacked else blend(nested, parameters.weights)
    near = others.search(rows.search_vectors[listed], base, k=correction.k, band=correction.band)
    return loudest_comparables(near.rows, weights(near, correction.decay, reference.age_weight), reference)


def _reasons(
    rows: ScorableRows, held_out: HeldOutPrices, listed: Int64, items: pa.Table, reference: ReferenceSet
) -> list[Reason | None]:
    """Likely reasons of the rows listed."""
    ids, packs = items["item_id"].to_pylist(), items["pack"].to_pylist()
    order = np.argsort(rows.groups, kind="stable")
    ordered = rows.groups[order]
    unit, log_amount = reference.unit[rows.number], reference.log_amount[rows.number]

    def duplicates(row: int) -> Sequence[int]:
        first, last = (
            np.searchsorted(ordered, rows.groups[row], "left"),
            np.searchsorted(ordered, rows.groups[row], "right"),
        )
        return [mate for mate in order[first:last].tolist() if mate != row]

    return [
        likely_reason(
            Row(
                float(rows.log_price[row]),
                float(held_out.answer[row]),
                float(held_out.low[row]),
                float(held_out.high[row]),
                packs[row],
                int(unit[row]),
                float(log_amount[row]),
                tuple((ids[mate], float(rows.log_price[mate])) for mate in duplicates(row)),
            ),
            rows.manifest.currency,
        )
        for row in listed.tolist()
    ]
