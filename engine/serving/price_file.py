"""Price a file of items into a file of prices, shard by shard, here or on many machines: the whole of `price predict`.

A shard's prices are a function of its rows, the index and the settings alone, so that whoever prices it, and after
however many attempts, the file is the same to the last byte.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ensemble.parts import index_columns, index_settings
from engine.serving.joining import FILES, join
from engine.serving.price_file_job import PriceFileJob, PriceFileSettings, reads_prices
from engine.serving.review.own_cells import OwnReader
from engine.serving.review.writing import REVIEW_FILES, join_review
from engine.serving.shard_pricer import here, identity
from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    ShardJournal,
    begin,
    cut,
    items_file,
    record,
    rejects_of,
    sweep,
    working,
)
from engine.serving.stopwatch import Stopwatch
from index.catalogue.formats.opening import files_of
from index.catalogue.reading import understand
from index.errors import DataRefused, PriceError, UsageError
from index.files import sha256_file
from index.progress import OnProgress, silent
from index.storage.generations import current_generation
from index.storage.manifest import read_manifest
from index.storage.remote import local_index

if TYPE_CHECKING:
    from engine.serving.price_file_job import Pool
    from index.catalogue.reading import Reading


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
    summary: dict[str, Any] = field(default_factory=dict)  # of a review

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
            **self.summary,
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
    with working(items, out, FILES if settings.review is None else REVIEW_FILES) as parts:
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
            if settings.review is None:
                join(out, journal, settings.output, guard_formulas=settings.guard_formulas)
            else:
                join_review(out, journal, _currency(job))
        clock.turn("")
        return _summary(out, journal, resumed, time.monotonic() - started, clock)


def generation_of(index_dir: str | Path) -> str:
    """The hash that tells the current generation from every other: of its manifest, which holds those of its files."""
    return identity(current_generation(local_index(index_dir)))


def _hash(items: Path) -> str:
    """The hash of a file, or of those of a folder or pattern, in their order."""
    files = files_of(items)
    if not all(file.is_file() for file in files):
        raise DataRefused(f"{items} is not a file: check the path.")
    hashes = [sha256_file(file) for file in files]
    return hashes[0] if files == [items] else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _header(items: Path, job: PriceFileJob) -> dict[str, Any]:
    rates = job.settings.reading.rates
    return {
        "items": _hash(items),
        "index": job.generation,
        "engine_version": version("price-engine"),
        "rates": rates and _hash(Path(rates)),
        "settings": job.described(),
    }


def _cut(items: Path, job: PriceFileJob, journal: ShardJournal, on_progress: OnProgress) -> None:
    """Cut the file into shards, unless an earlier run did and all that is left to price is there."""
    if journal.shards and all(items_file(job.parts, shard).exists() for shard in journal.left()):
        return
    settings = job.settings
    reading, own = _understood(items, job, on_progress)
    journal.id_column, journal.id_type = reading.heading("id") or "item_id", reading.id_type
    if settings.review is None and journal.id_column in (*settings.columns, LINE, COLUMN, REASON):
        raise UsageError(
            f"The id column may not be called {journal.id_column!r}, which is a column of the answer: rename it."
        )
    journal.shards, journal.rows, journal.reading_notes = cut(reading, job.parts, settings.shard_rows, on_progress, own)
    if _hash(items) != journal.header["items"]:
        raise DataRefused(f"{items} changed while it was read: start again when it is complete.")
    cut_as = {name: getattr(journal, name) for name in ("shards", "rows", "id_column", "id_type")}
    record(job.parts, "cut", {**cut_as, "notes": journal.reading_notes})


def _understood(items: Path, job: PriceFileJob, on_progress: OnProgress) -> tuple[Reading, OwnReader | None]:
    """The file as items to price, and what is read of its rows beside them."""
    settings = job.settings
    folder = current_generation(local_index(job.index_dir))
    manifest = read_manifest(folder, files=False)
    columns = index_columns(folder, manifest)
    own = settings.own_columns(index_settings(folder, manifest).rules)
    priced = own is not None and reads_prices(own, review=settings.review is not None)
    read_as = settings.reading.for_index(manifest.currency) if priced else settings.reading
    reading = understand(items, read_as, priced=priced, whole=priced, index=columns, on_progress=on_progress)
    if own is None:
        return reading, None
    reading.require_currency(manifest.currency)
    reading = replace(reading, dates=None, newest={})  # a price list has a row for each of its lines
    return reading, OwnReader(reading, own, manifest.currency)


def _currency(job: PriceFileJob) -> str:
    return read_manifest(current_generation(local_index(job.index_dir)), files=False).currency


def _price(job: PriceFileJob, journal: ShardJournal, pool: Pool, on_progress: OnProgress) -> None:
    left = journal.left()
    on_progress("pricing", journal.rows_priced(), journal.rows)
    for result in pool(job, left) if left else ():
        record(job.parts, "done", asdict(result))
        journal.results[result.shard] = result
        on_progress("pricing", journal.rows_priced(), journal.rows)


def _summary(out: Path, journal: ShardJournal, resumed: int, seconds: float, clock: Stopwatch) -> PriceFileResult:
    stages, absent, unseen = Counter(clock.taken()), Counter[str](), Counter[str]()
    for result in journal.results.values():
        absent.update(result.photographs_absent)
        unseen.update(result.unseen)
        stages.update(result.seconds)
    priced = sum(result.priced for result in journal.results.values())
    rejects = rejects_of(out) if priced < journal.rows else None
    return PriceFileResult(
        out,
        rejects,
        journal.rows,
        priced,
        resumed,
        absent,
        unseen,
        seconds,
        dict(stages),
        journal.reading_notes,
        journal.summary,
    )
