"""Shards of a file that is priced: how it is cut, which are done, and how they become one file again.

    OUT.parts/
      lock                   held by the one process that prices into OUT
      journal.jsonl          what is priced by what; how the file was cut; a line for each shard that is priced
      items-000000.arrow     the rows of a shard, in the input's order, each judged
      priced-000000.arrow    their prices

A shard is written beside and renamed, then its line is flushed to the journal: a job that is killed has every shard
whose line is whole, and does the others again. OUT appears at once and whole; then the parts go, the journal last: as
long as it is there, OUT is known by its hash as the answer to this job.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.serving.review.own_cells import own_table
from index.catalogue.cleaning import without_markup
from index.catalogue.fields import shared_first_lines
from index.catalogue.formats.opening import files_of, is_named_by
from index.catalogue.items import Item, ItemReader, Reject, reading_notes
from index.catalogue.shared_lines import LOOKED_AT, NONE_SHARED, notes_on
from index.errors import IndexLocked, UsageError
from index.files import PARTIAL, atomic_write, exclusive_lock, sha256_file
from index.progress import OnProgress

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.serving.review.own_cells import OwnReader
    from index.catalogue.formats.records import Record
    from index.catalogue.reading import Reading

    _Judged = tuple[Record, Item | Reject, dict[str, Any]]

JOURNAL, LOCK, PARTS = "journal.jsonl", "lock", ".parts"
SCRATCH = "scratch"  # a folder for what a writer of OUT keeps on the disk meanwhile
_SHARD = re.compile(r"(items|priced)-[0-9]{6,}\.arrow(\.partial)?")
SHARD_CHARACTERS = 32_000_000  # a shard ends here too, where cells are huge
LINE, COLUMN, REASON = "line", "column", "reason"  # of a reject, in a part beside the columns of OUT
SHARED_LINES = "shared_lines"  # of the whole file, beside the rows of each shard


@dataclass(frozen=True)
class ShardResult:
    """A shard that is priced. The hash is that of its part; `seconds` by stage."""

    shard: int
    sha256: str
    rows: int
    priced: int
    photographs_absent: dict[str, int]
    unseen: dict[str, int]  # category -> items with a value that the index has never seen
    seconds: dict[str, float]


@dataclass
class ShardJournal:
    """Contents of the journal: `header` of the work, `shards` and `rows` of the cut (0 before it), what is done."""

    header: dict[str, Any]
    shards: int = 0
    rows: int = 0
    id_column: str = "item_id"  # as the file calls it
    id_type: str = ""  # the Arrow type that the file's ids have, "" for text
    reading_notes: tuple[str, ...] = ()  # what the file was taken for, first
    results: dict[int, ShardResult] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)  # of a review
    joined: str = ""  # sha256 of OUT, once there is one to take its place

    def left(self) -> list[int]:
        """Shards that are not priced yet."""
        return [shard for shard in range(self.shards) if shard not in self.results]

    def rows_priced(self) -> int:
        """Rows of the shards that are done, those without a price among them."""
        return sum(result.rows for result in self.results.values())


def parts_of(out: Path) -> Path:
    """The folder beside OUT in which it is made."""
    return out.with_name(out.name + PARTS)


def rejects_of(out: Path) -> Path:
    """The list beside OUT of the rows that have no price."""
    return out.with_name(out.name + ".rejects.csv")


def items_file(parts: Path, shard: int) -> Path:
    """The rows of a shard."""
    return parts / f"items-{shard:06d}.arrow"


def priced_file(parts: Path, shard: int) -> Path:
    """The prices of a shard."""
    return parts / f"priced-{shard:06d}.arrow"


@contextlib.contextmanager
def working(items: Path, out: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Hold OUT.parts while pricing into it. UsageError for an OUT that cannot be; IndexLocked if another is at it."""
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"{out} must end in {' or '.join(suffixes)}: that says what to write.")
    files = files_of(items)
    written = [path for path in (out, rejects_of(out)) if path.exists()]
    if any(path.samefile(file) for path in written for file in files if file.exists()):
        raise UsageError(f"{out} would overwrite the items that are to be priced: name another file with --output.")
    if is_named_by(items, out):
        raise UsageError(f"{out} would be read as one of the items next time: name another file with --output.")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} is {'a folder' if out.is_dir() else 'no regular file'}: name a file with --output.")
    parts = parts_of(out)
    with contextlib.ExitStack() as held:
        _lock(held, out, parts)
        try:
            yield parts
        finally:
            with contextlib.suppress(OSError):  # where nothing was begun, nothing stays
                if [entry.name for entry in parts.iterdir()] == [LOCK]:
                    (parts / LOCK).unlink()
                    parts.rmdir()


def _lock(held: contextlib.ExitStack, out: Path, parts: Path) -> None:
    """Enter the lock of OUT.parts, which is made where it is not."""
    busy = f"Another process is pricing into {out}: wait until it is done, or name another --output."
    while True:
        with system_refusals(parts):
            parts.mkdir(exist_ok=True)
            try:
                _refuse_foreign(parts)  # before anything is put there
                held.enter_context(exclusive_lock(parts / LOCK, lambda holder: busy))
            except FileNotFoundError:
                continue  # whoever held it was done, and removed the folder
            except IndexLocked:
                if (parts / LOCK).exists():
                    raise
                continue  # likewise, while it was locked
        return


def _refuse_foreign(parts: Path) -> None:
    """Raise UsageError where the folder holds files that are not ours, except hidden ones, which systems leave."""
    foreign = sorted(entry.name for entry in parts.iterdir() if not (_is_ours(entry) or entry.name.startswith(".")))
    if foreign:
        raise UsageError(
            f"{parts} holds other files ({foreign[0]!r}), and the parts of the output would lie there: move that "
            "folder, or name another --output."
        )


def _is_ours(entry: Path) -> bool:
    """Tell whether a job of this folder gives files such a name."""
    out = entry.parent.with_name(entry.parent.name.removesuffix(PARTS))
    once = (JOURNAL, LOCK, SCRATCH, out.name + PARTIAL, rejects_of(out).name, rejects_of(out).name + PARTIAL)
    return entry.name in once or _SHARD.fullmatch(entry.name) is not None


@contextlib.contextmanager
def system_refusals(path: Path) -> Iterator[None]:
    """Raise UsageError, in one sentence, for what the user must mend: a full disk, a folder missing or not writable."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}): mend that, or name another --output; "
            "what is priced is kept, and the same command goes on."
        ) from error


def begin(out: Path, header: dict[str, Any], overwrite: bool) -> ShardJournal:
    """The journal of OUT as far as it has come, or a new one. UsageError for one of other work, or an OUT in the way.

    With `overwrite` other work is dropped; the same work is continued all the same. Where the journal is `joined`, OUT
    is whole, and only what is left of the parts must go.
    """
    parts = parts_of(out)
    journal = _read_journal(parts)
    if not journal:
        sweep(parts)
    if journal and (changed := _first_change(journal.header, header)):
        if not overwrite:
            raise UsageError(
                f"{parts} holds an unfinished job with {changed}: finish that by its own command, or drop it with "
                "--overwrite."
            )
        journal = None
    if journal and journal.joined and _is_whole(out, journal.joined):
        return journal
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already: name another --output, or replace it with --overwrite.")
    if journal:
        journal.joined = ""
        results = journal.results.items()
        journal.results = {n: result for n, result in results if _is_whole(priced_file(parts, n), result.sha256)}
        return journal
    sweep(parts)
    record(parts, "header", header)
    return ShardJournal(header)


def sweep(parts: Path) -> None:
    """Delete the job's files, the journal last: while it is there, so much as is left can be gone on from."""
    with system_refusals(parts):
        for entry in parts.iterdir():
            if entry.name == SCRATCH:
                shutil.rmtree(entry)
            elif entry.name not in (LOCK, JOURNAL) and _is_ours(entry):
                entry.unlink()
        (parts / JOURNAL).unlink(missing_ok=True)


def _read_journal(parts: Path) -> ShardJournal | None:
    """Read the journal, None where there is none. A torn last line is a shard that is not done.

    It is cut off, or the next line would be written behind it and be lost with it.
    """
    try:
        lines = (parts / JOURNAL).read_bytes()
    except FileNotFoundError:
        return None
    journal, whole = None, 0  # bytes of lines that can be read
    for line in lines.split(b"\n")[:-1]:
        try:
            ((kind, value),) = json.loads(line).items()
        except ValueError:
            break
        whole += len(line) + 1
        if journal is None:
            journal = ShardJournal(value)
        elif kind == "cut":
            journal.shards, journal.rows, journal.reading_notes = value["shards"], value["rows"], tuple(value["notes"])
            journal.id_column, journal.id_type = value["id_column"], value["id_type"]
        elif kind == "done":
            journal.results[value["shard"]] = ShardResult(**value)
        elif kind == "summary":
            journal.summary = value
        elif kind == "joined":
            journal.joined = value
    if whole < len(lines):
        with system_refusals(parts):
            os.truncate(parts / JOURNAL, whole)
    return journal


_CHANGES = {
    "items": "other items",
    "index": "another index",
    "engine_version": "another version of price",
    "rates": "other rates",
}


def _first_change(before: dict[str, Any], now: dict[str, Any]) -> str:
    """A phrase that says what is not as it was; empty where all is."""
    for key, phrase in _CHANGES.items():
        if before.get(key) != now[key]:
            return phrase
    settings = before["settings"].keys() | now["settings"].keys()
    for key in sorted(settings):
        was, given = before["settings"].get(key), now["settings"].get(key)
        if was != given:
            return f"another setting ({key} {was}, now {given})"
    return ""


def record(parts: Path, kind: str, value: Any) -> None:
    """Add a line to the journal, and have it on the disk."""
    with system_refusals(parts), (parts / JOURNAL).open("ab") as file:
        file.write(json.dumps({kind: value}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return sha256_file(path) == sha256
    except FileNotFoundError:
        return False


def cut(
    reading: Reading, parts: Path, shard_rows: int, on_progress: OnProgress, own: OwnReader | None = None
) -> tuple[int, int, tuple[str, ...]]:
    """Write the shards of a file: (shards, rows, notes on the reading). Holds one of them, and the file's beginning.

    There it looks for first lines that many items share, and each shard keeps them. `own` reads what a row says beside
    its item. Raises DataRefused for a file without items.
    """
    reader = ItemReader(reading, priced=False, unique=False)
    rows = _judged(reader, reading, own)
    beginning = list(_beginning(rows))
    texts = [verdict.text for _, verdict, _ in beginning if isinstance(verdict, Item)]
    known = reading.shared or NONE_SHARED
    found = shared_first_lines(map(without_markup, texts)) - known.lines
    rows = chain(beginning, rows)
    shards = count = 0
    while table := _shard(reader, rows, shard_rows):
        metadata = {**table.schema.metadata, SHARED_LINES: json.dumps(sorted(found))}
        write_table(items_file(parts, shards), table.replace_schema_metadata(metadata))
        shards, count = shards + 1, count + table.num_rows
        on_progress("reading", reader.rows, None)
    reader.refuse_if_unusable()
    notes = reading_notes(reading, reader.passed_over, reader.unnamed, reader.first_made)
    return shards, count, (*notes, *notes_on(found, kept=known.kept))


def _beginning(rows: Iterator[_Judged]) -> Iterator[_Judged]:
    """The first rows, so many that shared lines are found among them, and fewer where cells are huge."""
    characters = 0
    for record, verdict, beside in islice(rows, LOOKED_AT):
        yield record, verdict, beside
        characters += sum(len(cell) for cell in record.cells if cell)
        if characters > SHARD_CHARACTERS:
            return


def _judged(reader: ItemReader, reading: Reading, own: OwnReader | None) -> Iterator[_Judged]:
    """Each record that is an item or a reject; those that are passed over are counted by the reader."""
    batches = own.batches() if own else ([(record, ()) for record in batch] for batch in reading.batches())
    for batch in batches:
        for record, cells in batch:
            verdict = reader.validate(record)
            if verdict is not None:
                yield record, verdict, own.read(cells, reader.price, reader.price_fault) if own else {}


def _shard(reader: ItemReader, rows: Iterator[_Judged], most: int) -> pa.Table | None:
    """The next rows: item_id, text and image, and for one that is no item, column and reason."""
    import pyarrow as pa

    items: list[Item] = []
    faults: list[tuple[int, str, str]] = []
    own: list[dict[str, Any]] = []
    characters = 0
    for row, verdict, beside in islice(rows, most):
        own.append(beside)
        if isinstance(verdict, Reject):
            items.append(reader.no_item(row))
            faults.append((row.line, verdict.column, verdict.reason))
        else:
            items.append(verdict)
            faults.append((row.line, "", ""))
        characters += len(items[-1].text)
        if characters > SHARD_CHARACTERS:
            break
    if not items:
        return None
    table = reader.cells(items)
    for name, cells in zip((LINE, COLUMN, REASON), zip(*faults, strict=True), strict=True):
        table = table.append_column(name, pa.array(cells))
    for name, column in own_table(own).items() if own[0] else ():
        table = table.append_column(name, column)
    return table


def write_table(path: Path, table: pa.Table) -> str:
    """Write an Arrow file, whole or not at all; its sha256."""
    import pyarrow as pa

    with system_refusals(path.parent), atomic_write(path) as partial:
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return sha256_file(partial)


def read_table(path: Path) -> pa.Table:
    """Read what `write_table` wrote."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as file:
        return pa.ipc.open_file(file).read_all()
