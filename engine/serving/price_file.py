"""The whole of `price predict`: a file of items in, a file of prices out, shard by shard, here or on many machines.

A shard's prices are a function of its rows, the index and the settings alone, so that whoever prices it, and after
however many attempts, the file is the same to the last byte.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.features.inputs import make_inputs
from engine.serving.pricer import Pricer, with_overrides
from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    Done,
    Job,
    begin,
    cut,
    hash_file,
    items_file,
    join,
    priced_file,
    read_table,
    record,
    rejects_of,
    sweep,
    working,
    write_table,
)
from index.catalogue.items import Columns, make_items
from index.embedding.columns import PAIR, PHOTOGRAPH
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused, IndexUnusable, PriceError, UsageError
from index.photographs.source import Photographs
from index.progress import Report, silent
from index.search.neighbours import BandIndex, Neighbours
from index.storage.generations import current_generation, photograph_cache
from index.storage.manifest import MANIFEST
from index.storage.remote import local_index

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import ArrayLike

    from engine.ensemble.price_model import Estimate

PRICE, COMPARABLES = "price", "comparables"
PLAIN = (PRICE,)
FULL = (PRICE, "low", "high", "blend", "shift", COMPARABLES)
SHARD_ROWS = 1_000  # what a kill may lose: some twenty seconds of one core's work


@dataclass(frozen=True)
class Order:
    """What whoever prices a shard must know. Paths are absolute."""

    parts: Path
    index: str  # a folder, or the URI of one
    generation: str  # that the job began with
    base_dir: Path  # of relative references to photographs
    id_column: str
    image_column: str
    columns: tuple[str, ...] = PLAIN  # of OUT, after the id
    knobs: tuple[tuple[str, float], ...] = ()  # that were given in the place of the index's own
    image_dir: Path | None = None
    runtime: Runtime = AUTO

    def settings(self) -> dict[str, Any]:
        """All of it that decides what OUT holds."""
        return {
            "columns": list(self.columns),
            "id_column": self.id_column,
            "image_column": self.image_column,
            "base_dir": str(self.base_dir.resolve()),
            **dict(self.knobs),
            "image_dir": str(self.image_dir) if self.image_dir else None,
            **asdict(self.runtime),
        }


Pool = Callable[[Order, Sequence[int]], Iterator[Done]]
"""Who prices some shards, in whatever order: the pieces lie in `order.parts` when they are said to be done."""


@dataclass(frozen=True)
class Predicted:
    """What became of a file. Rows are the priced and the rejected ones; seconds by stage are those of all workers."""

    output: Path
    rejects: Path | None
    rows: int
    priced: int
    resumed: int  # rows that an earlier run had priced
    photographs_absent: Counter[str]
    seconds: float
    stages: dict[str, float]

    @property
    def rejected(self) -> int:
        """Rows without a price, listed in `rejects`."""
        return self.rows - self.priced

    @property
    def items_per_second(self) -> float:
        """Of this run."""
        return (self.rows - self.resumed) / self.seconds

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "rows": self.rows,
            "priced": self.priced,
            "rejected": self.rejected,
            "resumed": self.resumed,
            "photographs_absent": dict(self.photographs_absent),
            "seconds": self.seconds,
            "stages": self.stages,
            "items_per_second": self.items_per_second,
            "output": str(self.output),
            "rejects": str(self.rejects) if self.rejects else None,
        }


def price_file(
    items: Path,
    out: Path,
    index: str | Path,
    *,
    columns: Columns | None = None,
    wanted: Sequence[str] = PLAIN,
    knobs: dict[str, float | None] | None = None,
    image_dir: Path | None = None,
    shard_rows: int = SHARD_ROWS,
    runtime: Runtime = AUTO,
    overwrite: bool = False,
    pool: Pool | None = None,
    report: Report = silent,
) -> Predicted:
    """Price `items` (CSV or Parquet) into `out`, a line a row in the input's order; an empty price where there is none.

    `wanted`: columns of FULL. `knobs`: k, band, decay, alpha in the place of the index's own. A job that was killed is
    continued by the same call. Raises UsageError for an `out` that cannot be written, that is there already without
    `overwrite`, or that an unfinished job of other work holds; DataRefused for a file without an item.
    """
    started, columns = time.monotonic(), columns or Columns()
    _check(columns, wanted, shard_rows)
    items, out = items.absolute(), out.absolute()
    with working(items, out) as parts:
        clock = Stopwatch("reading")
        order = Order(
            parts,
            str(index) if "://" in str(index) else str(Path(index).absolute()),
            generation_of(index),
            items.parent,
            columns.id,
            columns.image,
            tuple(wanted),
            tuple((name, value) for name, value in (knobs or {}).items() if value is not None),
            image_dir.absolute() if image_dir else None,
            runtime,
        )
        job = begin(out, _header(items, columns, order, shard_rows), overwrite)
        resumed = sum(done.rows for done in job.done.values())
        try:
            _cut(items, columns, job, order.parts, report)
            clock.turn("")
            _price(job, order, pool or here, report)
        except PriceError:
            if not job.done:  # or what was wrong with this command would be held against the next
                sweep(parts)
            raise
        clock.turn("writing")
        join(out, job, (columns.id, *wanted))
        clock.turn("")
        return _summary(out, job, resumed, time.monotonic() - started, clock)


def _check(columns: Columns, wanted: Sequence[str], shard_rows: int) -> None:
    unknown = [name for name in wanted if name not in FULL]
    if unknown or len(set(wanted)) < len(wanted) or not wanted:
        raise UsageError(f"The columns {', '.join(wanted) or 'of OUT'} are not some of {', '.join(FULL)}, each once.")
    if columns.id in (*FULL, LINE, COLUMN, REASON):
        raise UsageError(f"The id column may not be called {columns.id!r}, which is a column of the answer: rename it.")
    if shard_rows < 1:
        raise UsageError(f"A shard of {shard_rows} rows holds nothing: give 1 or more.")


def generation_of(index: str | Path) -> str:
    """What tells the generation in force from every other: its manifest holds the hash of each of its files."""
    return _identity(current_generation(local_index(index)))


def _identity(folder: Path) -> str:
    try:
        return hash_file(folder / MANIFEST)
    except OSError as error:
        raise IndexUnusable(
            f"{folder / MANIFEST} cannot be read ({error.strerror}): build the index again with `price build-index`."
        ) from error


def _header(items: Path, columns: Columns, order: Order, shard_rows: int) -> dict[str, Any]:
    if not items.is_file():
        raise DataRefused(f"{items} is not a file: check the path.")
    settings = order.settings() | {"shard_rows": shard_rows, "text_column": columns.text}
    return {
        "items": hash_file(items),
        "index": order.generation,
        "engine_version": version("price-engine"),
        "settings": settings,
    }


def _cut(items: Path, columns: Columns, job: Job, parts: Path, report: Report) -> None:
    """Unless an earlier run did, and all that is left to price is there."""
    left = [shard for shard in range(job.shards) if shard not in job.done]
    if job.shards and all(items_file(parts, shard).exists() for shard in left):
        return
    job.shards, job.rows = cut(items, columns, parts, job.header["settings"]["shard_rows"], report)
    if hash_file(items) != job.header["items"]:
        raise DataRefused(f"{items} changed while it was read: start again when it is complete.")
    record(parts, "cut", {"shards": job.shards, "rows": job.rows})


def _price(job: Job, order: Order, pool: Pool, report: Report) -> None:
    ready = sum(done.rows for done in job.done.values())
    left = [shard for shard in range(job.shards) if shard not in job.done]
    report("pricing", ready, job.rows)
    for done in pool(order, left) if left else ():
        record(order.parts, "done", asdict(done))
        job.done[done.shard] = done
        ready += done.rows
        report("pricing", ready, job.rows)


def here(order: Order, shards: Sequence[int]) -> Iterator[Done]:
    """A pool of this process alone."""
    worker = ShardPricer(order)
    for shard in shards:
        yield worker.price(shard)


class ShardPricer:
    """An open index, and what is asked of it."""

    def __init__(self, order: Order) -> None:
        """IndexUnusable where the index is no longer the one that the job began with."""
        self._clock = Stopwatch("opening")
        folder = local_index(order.index)
        self._order = order
        self._pricer = Pricer.open(folder, order.runtime)
        if _identity(self._pricer.folder) != order.generation:  # of what is open and held, not of what is in force
            raise IndexUnusable(f"The index at {folder} was replaced while the file was priced: price it again.")
        self._knobs = with_overrides(self._pricer.knobs, **dict(order.knobs))
        self._model = self._pricer.model
        self._model.bank = replace(self._model.bank, index=TimedSearch(self._model.bank.index, self._clock))
        self._photographs = Photographs(order.image_dir, photograph_cache(folder), order.base_dir)
        modalities = self._pricer.encoders.modalities
        self._sees = any(each.view in (PHOTOGRAPH, PAIR) for each in modalities)

    def price(self, shard: int) -> Done:
        """Price a shard and leave its part."""
        clock, parts = self._clock, self._order.parts
        clock.turn("reading")
        rows = read_table(items_file(parts, shard))
        usable = np.array([not reason for reason in rows[REASON].to_pylist()], bool)
        asked = rows.filter(usable)
        items = make_items(*(asked[name].to_pylist() for name in ("item_id", "text", "image")))
        vectors, absent = self._pricer.encoders.encode(items, self._photographs, report=clock.report)
        clock.turn("features")
        unseen = self._unseen(asked, absent)
        keep = np.array([not reason for reason in unseen], bool)
        estimate = self._estimate(items.filter(keep), {name: each[keep] for name, each in vectors.items()})
        clock.turn("writing")
        place = np.flatnonzero(usable)
        part = self._part(rows, estimate, place[keep], dict(zip(place.tolist(), unseen, strict=True)))
        digest = write_table(priced_file(parts, shard), part)
        given = zip(asked["image"].to_pylist(), absent, strict=True)
        missed = dict(Counter(why for image, why in given if image and why))
        clock.turn("")
        return Done(shard, digest, rows.num_rows, int(keep.sum()), missed, clock.taken())

    def _unseen(self, asked: pa.Table, absent: list[str | None]) -> list[str]:
        """Why an item of a photograph alone has no price; empty for those that have one."""
        whys = absent if self._sees else ["the index has no photographs"] * len(absent)
        texts = asked["text"].to_pylist()
        return [
            f"no text, and the photograph cannot be used: {why}" if why and not text.strip() else ""
            for text, why in zip(texts, whys, strict=True)
        ]

    def _estimate(self, items: pa.Table, vectors: dict[str, Any]) -> Estimate | None:
        """None for no items. On one thread: with another number of them, a product's last digits are others."""
        from threadpoolctl import threadpool_limits

        if not items.num_rows:
            return None
        with threadpool_limits(1, "blas"):
            inputs = make_inputs(items, vectors)
            self._clock.turn("search")
            space = self._pricer.space.vectors(inputs)
            self._clock.turn("models")
            return self._model.estimate(inputs, space, self._knobs)

    def _part(self, rows: pa.Table, estimate: Estimate | None, place: np.ndarray, unseen: dict[int, str]) -> pa.Table:
        """A row for each of the shard: the columns of OUT, and why a price is missing."""
        import pyarrow as pa

        columns, reasons = rows[COLUMN].to_pylist(), rows[REASON].to_pylist()
        for row, why in unseen.items():
            if why:
                columns[row], reasons[row] = self._order.image_column, why
        answers = self._answers(estimate) if estimate else {}
        part = {self._order.id_column: rows["item_id"]}
        for name in self._order.columns:
            cells: list[Any] = [None] * rows.num_rows
            for row, cell in zip(place.tolist(), answers.get(name, ()), strict=True):
                cells[row] = cell
            part[name] = pa.array(cells, pa.list_(pa.string()) if name == COMPARABLES else pa.float64())
        return pa.table({**part, LINE: rows[LINE], COLUMN: columns, REASON: reasons})

    def _answers(self, estimate: Estimate) -> dict[str, list[Any]]:
        """The columns that are wanted, in money; a shift is what the correction added."""
        base = estimate.base
        price = np.exp(estimate.answer)
        columns = {
            PRICE: price,
            "low": np.exp(estimate.low),
            "high": np.exp(estimate.high),
            "blend": np.exp(base.blended),
            "shift": price - np.exp(base.last),
        }
        answers: dict[str, list[Any]] = {name: column.tolist() for name, column in columns.items()}
        if COMPARABLES in self._order.columns:
            near = estimate.near.rows
            shown = iter(self._pricer.rows.shown(near[near >= 0]))
            answers[COMPARABLES] = [[next(shown)["item_id"] for row in rows if row >= 0] for rows in near]
        return answers


class Stopwatch:
    """Whose the time is: every moment belongs to one stage."""

    def __init__(self, stage: str) -> None:
        self._seconds: dict[str, float] = {}
        self._stage, self._began = stage, time.monotonic()

    def turn(self, stage: str) -> str:
        """From here on the time is `stage`'s, "" for nobody's; whose it was."""
        now, before = time.monotonic(), self._stage
        if before:
            self._seconds[before] = self._seconds.get(before, 0.0) + now - self._began
        self._stage, self._began = stage, now
        return before

    def report(self, stage: str, done: int, total: int | None) -> None:
        """`index.progress.Report`: what reports has the time."""
        if stage != self._stage:
            self.turn(stage)

    def taken(self) -> dict[str, float]:
        """Seconds by stage since this was last asked."""
        seconds, self._seconds = self._seconds, {}
        return seconds


class TimedSearch(BandIndex):
    """The same search, whose time is told from the models'."""

    def __init__(self, index: BandIndex, clock: Stopwatch) -> None:
        self._index, self._clock = index, clock

    def search(
        self, queries: ArrayLike, centre: ArrayLike, *, k: int, band: float, exclude_group: ArrayLike | None = None
    ) -> Neighbours:
        """As `BandIndex.search`."""
        before = self._clock.turn("search")
        near = self._index.search(queries, centre, k=k, band=band, exclude_group=exclude_group)
        self._clock.turn(before)
        return near


def _summary(out: Path, job: Job, resumed: int, seconds: float, clock: Stopwatch) -> Predicted:
    stages, absent = clock.taken(), Counter[str]()
    for done in job.done.values():
        absent.update(done.photographs_absent)
        for stage, spent in done.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + spent
    priced = sum(done.priced for done in job.done.values())
    rejects = rejects_of(out) if priced < job.rows else None
    return Predicted(out, rejects, job.rows, priced, resumed, absent, seconds, stages)
