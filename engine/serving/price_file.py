"""Price a file of items into a file of prices, shard by shard, here or on many machines: the whole of `price predict`.

A shard's prices are a function of its rows, the index and the settings alone, so that whoever prices it, and after
however many attempts, the file is the same to the last byte.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.parts import index_columns
from engine.ensemble.uncertainty.expected_price import MEDIAN, require_answer
from engine.serving.joining import join
from engine.serving.pricer import PricedItems, Pricer, require_overrides, with_overrides
from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    SHARED_LINES,
    ShardJournal,
    ShardResult,
    begin,
    cut,
    items_file,
    priced_file,
    read_table,
    record,
    rejects_of,
    sweep,
    working,
    write_table,
)
from engine.serving.stopwatch import Stopwatch
from index.catalogue.formats.opening import files_of
from index.catalogue.further import further_columns
from index.catalogue.item_table import make_items
from index.catalogue.reading import understand
from index.catalogue.settings import FOUND, ReadSettings
from index.catalogue.units import unit_prices
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused, IndexUnusable, PriceError, UsageError
from index.files import sha256_file
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.storage.generations import current_generation
from index.storage.layout import MANIFEST, photograph_cache
from index.storage.manifest import read_manifest
from index.storage.remote import local_index

if TYPE_CHECKING:
    import pyarrow as pa


PRICE, COMPARABLES = "price", "comparables"
PLAIN = (PRICE,)
PER_UNIT, UNIT, COMPARABLES_PER_UNIT = "per_unit", "unit", "comparables_per_unit"
FULL = (PRICE, "low", "high", "blend", "shift", COMPARABLES, PER_UNIT, UNIT, COMPARABLES_PER_UNIT)
MOST_SHARD_ROWS = 1_000_000
SHARD_ROWS = 1_000  # what a kill may lose: some twenty seconds of one core's work


@dataclass(frozen=True)
class PriceFileSettings:
    """Settings of pricing a file."""

    reading: ReadSettings = FOUND  # how the file is read
    output: tuple[str, ...] = PLAIN  # columns of OUT after the id, of FULL
    correction: tuple[tuple[str, float], ...] = ()  # k, band, decay, alpha in the place of the index's own
    image_dir: Path | None = None
    answer: str = MEDIAN  # what a price is
    runtime: Runtime = AUTO
    shard_rows: int = SHARD_ROWS
    guard_formulas: bool = False  # in a CSV: an id that a spreadsheet would run gets a ' in front, and is another id

    def __post_init__(self) -> None:
        require_answer(self.answer)
        output = self.output
        if not output or len(set(output)) < len(output) or not set(output) <= set(FULL):
            raise UsageError(
                f"The columns {', '.join(output) or 'of OUT'} are not some of {', '.join(FULL)}, each once."
            )
        require_overrides(**dict(self.correction))
        if not 1 <= self.shard_rows <= MOST_SHARD_ROWS:
            raise UsageError(f"A shard of {self.shard_rows} rows cannot be: give 1 to {MOST_SHARD_ROWS:,}.")


@dataclass(frozen=True)
class PriceFileJob:
    """A job to price a file: what every worker is given. Paths are absolute."""

    parts: Path
    index_dir: str  # a folder, or the URI of one
    generation: str  # that the job began with
    base_dir: Path  # of relative references to photographs
    settings: PriceFileSettings

    def described(self) -> dict[str, Any]:
        """All of it that decides what OUT holds."""
        settings = self.settings
        return {
            "columns": list(settings.output),
            **json.loads(json.dumps(asdict(settings.reading))),  # as the journal gives it back
            "base_dir": str(self.base_dir.resolve()),
            "answer": settings.answer,
            **dict(settings.correction),
            "image_dir": str(settings.image_dir.absolute()) if settings.image_dir else None,
            **asdict(settings.runtime),
            "shard_rows": settings.shard_rows,
            "guard_formulas": settings.guard_formulas,
        }


Pool = Callable[[PriceFileJob, Sequence[int]], Iterator[ShardResult]]
"""Prices shards, in whatever order: a result is yielded when its part lies in `job.parts`."""


@dataclass(frozen=True)
class PriceFileResult:
    """Result of pricing a file. Rows are the priced and the rejected ones; seconds by stage are summed over workers."""

    output: Path
    rejects: Path | None
    rows: int
    priced: int
    resumed: int  # rows that an earlier run had priced
    photographs_absent: Counter[str]
    unseen: Counter[str]  # category -> items with a value that the index has never seen
    seconds: float
    stages: dict[str, float]
    reading_notes: tuple[str, ...] = ()  # what the file was taken for, first

    @property
    def rejected(self) -> int:
        """Rows without a price, listed in `rejects`."""
        return self.rows - self.priced

    @property
    def items_per_second(self) -> float:
        """Items per second of this run."""
        return (self.rows - self.resumed) / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {
            "rows": self.rows,
            "priced": self.priced,
            "rejected": self.rejected,
            "resumed": self.resumed,
            "photographs_absent": dict(self.photographs_absent),
            "unseen": dict(self.unseen),
            "seconds": self.seconds,
            "stages": self.stages,
            "items_per_second": self.items_per_second,
            "output": str(self.output),
            "rejects": str(self.rejects) if self.rejects else None,
        }


def price_file(
    items: Path,
    out: Path,
    index_dir: str | Path,
    settings: PriceFileSettings | None = None,
    *,
    overwrite: bool = False,
    pool: Pool | None = None,
    on_progress: OnProgress = silent,
) -> PriceFileResult:
    """Price a file of `items` into `out`, a line a row in the input's order; an empty price where there is none.

    A job that was killed is continued by the same call; one that lacked only the tidying up is told as done. Raises
    UsageError for an `out` that cannot be written, that is there already without `overwrite`, or that an unfinished job
    of other work holds; DataRefused for a file without an item.
    """
    started, settings = time.monotonic(), settings or PriceFileSettings()
    items, out = items.absolute(), out.absolute()
    if settings.guard_formulas and out.suffix.lower() != ".csv":
        raise UsageError(f"{out} is no CSV, and in others no spreadsheet runs an id: leave out --guard-formulas.")
    with working(items, out) as parts:
        clock = Stopwatch("reading")
        folder = str(index_dir) if "://" in str(index_dir) else str(Path(index_dir).absolute())
        job = PriceFileJob(parts, folder, generation_of(index_dir), items.parent, settings)
        journal = begin(out, _header(items, job), overwrite)
        resumed = journal.rows_priced()
        if journal.joined:  # by a run that was killed while it tidied up
            sweep(parts)
        else:
            try:
                _cut(items, job, journal, on_progress)
                clock.turn("")
                _price(job, journal, pool or here, on_progress)
            except PriceError:
                if not journal.results:  # or what was wrong with this command would be held against the next
                    sweep(parts)
                raise
            clock.turn("writing")
            join(out, journal, settings.output, guard_formulas=settings.guard_formulas)
        clock.turn("")
        return _summary(out, journal, resumed, time.monotonic() - started, clock)


def generation_of(index_dir: str | Path) -> str:
    """The hash that tells the current generation from every other: of its manifest, which holds those of its files."""
    return _identity(current_generation(local_index(index_dir)))


def _identity(folder: Path) -> str:
    try:
        return sha256_file(folder / MANIFEST)
    except OSError as error:
        raise IndexUnusable(
            f"{folder / MANIFEST} cannot be read ({error.strerror}): build the index again with `price build-index`."
        ) from error


def _hash(items: Path) -> str:
    """The hash of a file, or of those of a folder or pattern, in their order."""
    files = files_of(items)
    if not all(file.is_file() for file in files):
        raise DataRefused(f"{items} is not a file: check the path.")
    hashes = [sha256_file(file) for file in files]
    return hashes[0] if files == [items] else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _header(items: Path, job: PriceFileJob) -> dict[str, Any]:
    return {
        "items": _hash(items),
        "index": job.generation,
        "engine_version": version("price-engine"),
        "settings": job.described(),
    }


def _cut(items: Path, job: PriceFileJob, journal: ShardJournal, on_progress: OnProgress) -> None:
    """Cut the file into shards, unless an earlier run did and all that is left to price is there."""
    if journal.shards and all(items_file(job.parts, shard).exists() for shard in journal.left()):
        return
    settings = job.settings
    folder = current_generation(local_index(job.index_dir))
    columns = index_columns(folder, read_manifest(folder, files=False))
    reading = understand(items, settings.reading, priced=False, whole=False, index=columns, on_progress=on_progress)
    journal.id_column, journal.id_type = reading.heading("id") or "item_id", reading.id_type
    if journal.id_column in (*FULL, LINE, COLUMN, REASON):
        raise UsageError(
            f"The id column may not be called {journal.id_column!r}, which is a column of the answer: rename it."
        )
    journal.shards, journal.rows, journal.reading_notes = cut(reading, job.parts, settings.shard_rows, on_progress)
    if _hash(items) != journal.header["items"]:
        raise DataRefused(f"{items} changed while it was read: start again when it is complete.")
    cut_as = {name: getattr(journal, name) for name in ("shards", "rows", "id_column", "id_type")}
    record(job.parts, "cut", {**cut_as, "notes": journal.reading_notes})


def _price(job: PriceFileJob, journal: ShardJournal, pool: Pool, on_progress: OnProgress) -> None:
    left = journal.left()
    on_progress("pricing", journal.rows_priced(), journal.rows)
    for result in pool(job, left) if left else ():
        record(job.parts, "done", asdict(result))
        journal.results[result.shard] = result
        on_progress("pricing", journal.rows_priced(), journal.rows)


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
        if _identity(self._pricer.folder) != job.generation:  # of what is open and held, not of what is current
            raise IndexUnusable(f"The index at {folder} was replaced while the file was priced: price it again.")
        self._correction = with_overrides(self._pricer.correction, **dict(settings.correction))
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
        digest = write_table(priced_file(parts, shard), self._part(rows, result, usable))
        given = zip(columns["image"].to_pylist(), result.features.absent, strict=True)
        missed = Counter(why for image, why in given if image and why and self._pricer.looks_at_photographs)
        unseen = self._pricer.unseen(result.features.inputs).items()
        counts = {name.partition(":")[2]: int(rows.sum()) for name, rows in unseen if rows.any()}
        clock.turn("")
        return ShardResult(shard, digest, rows.num_rows, int(result.priced.sum()), dict(missed), counts, clock.taken())

    def _part(self, rows: pa.Table, result: PricedItems, usable: np.ndarray) -> pa.Table:
        """A row for each of the shard: the columns of OUT, and why a price is missing."""
        import pyarrow as pa

        columns, reasons = rows[COLUMN].to_pylist(), rows[REASON].to_pylist()
        for row, priced, why in zip(usable.tolist(), result.priced, result.features.absent, strict=True):
            if not priced:
                columns[row] = rows.schema.metadata[b"image"].decode()
                reasons[row] = f"no text, and the photograph cannot be used: {why}"
        answers = self._answers(result) if result.estimate else {}
        part = {"item_id": rows["item_id"]}
        for name in self._settings.output:
            cells: list[Any] = [None] * rows.num_rows
            for row, cell in zip(usable[result.priced].tolist(), answers.get(name, ()), strict=True):
                cells[row] = cell
            part[name] = pa.array(cells, _type_of(name))
        return pa.table({**part, LINE: rows[LINE], COLUMN: columns, REASON: reasons})

    def _answers(self, result: PricedItems) -> dict[str, list[Any]]:
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
        near, reference = estimate.near.rows, self._pricer.reference
        found = near[near >= 0]
        if COMPARABLES in self._settings.output:
            shown = iter(reference.shown(found))
            answers[COMPARABLES] = [[next(shown)["item_id"] for row in rows if row >= 0] for rows in near]
        if COMPARABLES_PER_UNIT in self._settings.output:
            log_price, unit, log_amount = reference.log_price[found], reference.unit[found], reference.log_amount[found]
            unit_price = iter(unit_prices(np.exp(log_price), unit, log_amount))
            answers[COMPARABLES_PER_UNIT] = [
                [(of_one := next(unit_price)) and of_one.price for row in rows if row >= 0] for rows in near
            ]
        return answers


def _type_of(column: str) -> pa.DataType:
    """Type of a column of OUT."""
    import pyarrow as pa

    listed = {COMPARABLES: pa.list_(pa.string()), COMPARABLES_PER_UNIT: pa.list_(pa.float64())}
    return listed.get(column, pa.string() if column == UNIT else pa.float64())


def _summary(out: Path, journal: ShardJournal, resumed: int, seconds: float, clock: Stopwatch) -> PriceFileResult:
    stages, absent, unseen = Counter(clock.taken()), Counter[str](), Counter[str]()
    for result in journal.results.values():
        absent.update(result.photographs_absent)
        unseen.update(result.unseen)
        stages.update(result.seconds)
    priced = sum(result.priced for result in journal.results.values())
    rejects = rejects_of(out) if priced < journal.rows else None
    return PriceFileResult(
        out, rejects, journal.rows, priced, resumed, absent, unseen, seconds, dict(stages), journal.reading_notes
    )
