"""Price shards of a file: an open index, and what it answers for each row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.uncertainty.confidence import CONFIDENCES, confidence
from engine.serving.price_file_job import (
    BOUNDED,
    COMPARABLES,
    COMPARABLES_PER_UNIT,
    CONFIDENCE,
    PER_UNIT,
    PRICE,
    UNIT,
    WHY,
    WITHIN,
    PriceFileJob,
)
from engine.serving.priced_items import PricedItems
from engine.serving.pricer import Pricer
from engine.serving.quote import unpriced
from engine.serving.review.bounding import bound_prices
from engine.serving.review.decisions import decide, suggest
from engine.serving.review.own_cells import OWN, Facts, facts_of
from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    SHARED_LINES,
    ShardResult,
    items_file,
    priced_file,
    read_table,
    write_table,
)
from engine.serving.stopwatch import Stopwatch
from engine.settings.schema import with_overrides
from index.catalogue.further import further_columns
from index.catalogue.item_table import make_items
from index.catalogue.money.stored import stored_prices
from index.catalogue.units import unit_prices
from index.errors import IndexUnusable
from index.files import sha256_file
from index.photographs.source import Photographs
from index.storage.layout import MANIFEST, photograph_cache
from index.storage.remote import local_index

if TYPE_CHECKING:
    import pyarrow as pa

    from index.arrays import Float64, Int64


def identity(folder: Path) -> str:
    """The hash of a generation's manifest, which holds those of its files; IndexUnusable where it cannot be read."""
    try:
        return sha256_file(folder / MANIFEST)
    except OSError as error:
        raise IndexUnusable(
            f"{folder / MANIFEST} cannot be read ({error.strerror}): build the index again with `price build-index`."
        ) from error


def here(job: PriceFileJob, shards: Sequence[int]) -> Iterator[ShardResult]:
    """A pool of this process alone."""
    worker = ShardPricer(job)
    for shard in shards:
        yield worker.price(shard)


class ShardPricer:
    """An open index that prices shard after shard."""

    def __init__(self, job: PriceFileJob) -> None:
        """Open the index. Raises IndexUnusable where it is no longer the one that the job began with."""
        self._clock = Stopwatch("opening")
        folder, settings = local_index(job.index_dir), job.settings
        self._job, self._settings = job, settings
        self._pricer = Pricer.open(folder, settings.runtime, threads=1)
        if identity(self._pricer.folder) != job.generation:  # of what is open and held, not of what is current
            raise IndexUnusable(f"The index at {folder} was replaced while the file was priced: price it again.")
        self._correction = with_overrides(self._pricer.correction, **dict(settings.correction))
        self._own = settings.own_columns(self._pricer.settings.rules)
        self._photographs = Photographs(settings.image_dir, photograph_cache(folder), job.base_dir)

    def price(self, shard: int) -> ShardResult:
        """Price a shard and leave its part."""
        clock, parts = self._clock, self._job.parts
        clock.turn("reading")
        rows = read_table(items_file(parts, shard))
        usable = np.flatnonzero([not reason for reason in rows[REASON].to_pylist()])
        columns = rows.take(usable)
        further = {name: columns[name].to_pylist() for name in further_columns(columns)}
        items = make_items(*(columns[name].to_pylist() for name in ("item_id", "text", "image")), further=further)
        of_file = json.loads(rows.schema.metadata[SHARED_LINES.encode()])
        items = self._pricer.manifest.shared.joined(of_file).applied(items)
        result = self._pricer.price_items(
            items,
            self._photographs,
            correction=self._correction,
            answer=self._settings.answer,
            on_progress=clock.update,
        )
        clock.turn("writing")
        part = self._part(rows, items, result, usable)
        digest, answered = write_table(priced_file(parts, shard), part), part[REASON].to_pylist().count("")
        given = zip(columns["image"].to_pylist(), result.features.absent, strict=True)
        missed = Counter(why for image, why in given if image and why and self._pricer.looks_at_photographs)
        unseen = self._pricer.unseen(result.features.inputs).items()
        counts = {name.partition(":")[2]: int(rows.sum()) for name, rows in unseen if rows.any()}
        clock.turn("")
        return ShardResult(shard, digest, rows.num_rows, answered, dict(missed), counts, clock.taken())

    def _part(self, rows: pa.Table, items: pa.Table, result: PricedItems, usable: Int64) -> pa.Table:
        """A row for each of the shard: the columns of OUT, and why a price is missing."""
        import pyarrow as pa

        columns, reasons = rows[COLUMN].to_pylist(), rows[REASON].to_pylist()
        for row, priced, why in zip(usable.tolist(), result.priced, result.features.absent, strict=True):
            if not priced:
                columns[row] = rows.schema.metadata[b"image"].decode()
                reasons[row] = unpriced(why)
        part = {"item_id": rows["item_id"]}
        if self._settings.review is not None:
            part |= self._reviewed(rows, items, result, usable, reasons)
        else:
            whys = self._whys(result)
            answers = self._answers(result, whys) if result.estimate else {}
            answered = self._sure_enough(result, usable, whys, columns, reasons)
            if self._own is not None and answers:
                answers |= self._bounded(rows, np.array(answers[PRICE]), usable[result.priced])
            for name in self._settings.output:
                cells: list[Any] = [None] * rows.num_rows
                for row, cell in zip(usable[result.priced].tolist(), answers.get(name, ()), strict=True):
                    cells[row] = cell if answered[row] else None
                part[name] = pa.array(cells, _type_of(name))
        return pa.table({**part, LINE: rows[LINE], COLUMN: columns, REASON: reasons})

    def _whys(self, result: PricedItems) -> list[tuple[str, ...]]:
        """Reasons why each priced row is no surer, where they are asked for; else nothing."""
        needed = WHY in self._settings.output or self._settings.min_confidence is not None
        return self._pricer.model.reasons(result.estimate) if result.estimate and needed else []

    def _sure_enough(
        self,
        result: PricedItems,
        usable: Int64,
        whys: list[tuple[str, ...]],
        columns: list[str],
        reasons: list[str],
    ) -> dict[int, bool]:
        """Tell of each priced row whether it is sure enough to be answered; the others get that as their reason."""
        least, estimate = self._settings.min_confidence, result.estimate
        rows = usable[result.priced].tolist()
        if least is None or estimate is None:
            return dict.fromkeys(rows, True)
        answered, words = {}, confidence(estimate.spread)
        for row, word, why in zip(rows, words, whys, strict=True):
            answered[row] = CONFIDENCES.index(word) <= CONFIDENCES.index(least)
            if not answered[row]:
                columns[row], reasons[row] = PRICE, " ".join((f"the confidence is {word}.", *why))
        return answered

    def _reviewed(
        self, rows: pa.Table, items: pa.Table, result: PricedItems, usable: Int64, reasons: Sequence[str]
    ) -> dict[str, Any]:
        """The columns of a review."""
        import pyarrow as pa

        priced = np.flatnonzero(result.priced)
        inputs, names = result.features.inputs.take(priced), [""] * rows.num_rows
        for row, name in zip(usable.tolist(), items["name"].to_pylist(), strict=True):
            names[row] = name
        suggestions = suggest(result.estimate, inputs, self._pricer.model, usable[priced], rows.num_rows)
        columns = decide(suggestions, self._facts(rows), names, reasons, self._pricer.manifest.currency)
        return {name: pa.array(cells, from_pandas=True) for name, cells in columns.items()}

    def _bounded(self, rows: pa.Table, price: Float64, priced: Int64) -> dict[str, list[Any]]:
        """BOUNDED of the rows that were `priced`."""
        facts = self._facts(rows.take(priced))
        bounded = bound_prices(price, facts.current, facts.rules, self._pricer.manifest.currency)
        to_set = [None if np.isnan(amount) else amount for amount in bounded.price.tolist()]
        return dict(zip(BOUNDED, (to_set, bounded.bound_by, bounded.note), strict=True))

    def _facts(self, rows: pa.Table) -> Facts:
        assert self._own is not None, "nothing was read beside the items"
        return facts_of({name: rows[name] for name in rows.column_names if name.startswith(OWN)}, self._own)

    def _answers(self, result: PricedItems, whys: list[tuple[str, ...]]) -> dict[str, list[Any]]:
        """The columns of OUT, in money; a shift is what the correction added."""
        estimate, inputs = result.estimate, result.features.inputs.take(np.flatnonzero(result.priced))
        assert estimate is not None, "no row was priced"
        columns = {
            PRICE: np.exp(estimate.priced),
            "low": np.exp(estimate.low),
            "high": np.exp(estimate.high),
            "blend": np.exp(estimate.base.blended),
            "shift": np.exp(estimate.answer) - np.exp(estimate.base.last),
        }
        answers: dict[str, list[Any]] = {name: column.tolist() for name, column in columns.items()}
        per_unit = unit_prices(columns[PRICE], inputs.unit, inputs.log_amount)
        answers[PER_UNIT] = [of_one and of_one.price for of_one in per_unit]
        answers[UNIT] = [of_one and of_one.unit for of_one in per_unit]
        answers[CONFIDENCE], answers[WITHIN] = confidence(estimate.spread), estimate.spread.within.tolist()
        if WHY in self._settings.output:
            answers[WHY] = list(map(" ".join, whys))
        near, reference = estimate.near.rows, self._pricer.reference
        found = near[near >= 0]
        if COMPARABLES in self._settings.output:
            shown = iter(reference.shown(found))
            answers[COMPARABLES] = [[next(shown)["item_id"] for row in rows if row >= 0] for rows in near]
        if COMPARABLES_PER_UNIT in self._settings.output:
            price, unit = stored_prices(reference.log_price[found]), reference.unit[found]
            unit_price = iter(unit_prices(price, unit, reference.log_amount[found]))
            answers[COMPARABLES_PER_UNIT] = [
                [(of_one := next(unit_price)) and of_one.price for row in rows if row >= 0] for rows in near
            ]
        return answers


def _type_of(column: str) -> pa.DataType:
    """Type of a column of OUT."""
    import pyarrow as pa

    listed = {COMPARABLES: pa.list_(pa.string()), COMPARABLES_PER_UNIT: pa.list_(pa.float64())}
    return listed.get(column, pa.string() if column in (UNIT, CONFIDENCE, WHY, *BOUNDED[1:]) else pa.float64())
