"""What are the unit vectors of these items? Batched by size, each distinct text or photograph once, resumable.

What has been encoded is kept in a cache by content, so that a second build, or one after a kill, encodes only what is
new. An encoder knows one batch at a time (`index.encoders`); photographs come from `index.images`.
"""

import contextlib
import hashlib
import sqlite3
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from index.encoders import Encoder
from index.errors import IndexUnusable, PriceError
from index.images import ImageRefused, Photographs
from index.progress import Report, silent

NO_PHOTOGRAPH = "no photograph given"
_DECODERS = 4  # threads; Pillow and hashlib let go of the interpreter
_CHUNK = 1024  # photographs asked for at a time
_LAYOUT = 1  # of a cache file
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Result = TypeVar("Result")


@dataclass(frozen=True)
class PhotographVectors:
    """A vector per row. A row without a usable photograph is zero, `has_image` false, and counted by reason."""

    vectors: np.ndarray  # (n, dim) float32
    has_image: np.ndarray  # (n,) bool
    reasons: Counter[str]


class _Batch(NamedTuple):
    keys: list[bytes]
    items: list[Any]


Batches = Generator[_Batch, None, None]


def embed_texts(
    encoder: Encoder, texts: Sequence[str], cache: "VectorCache | None" = None, report: Report = silent
) -> np.ndarray:
    """(n, dim) float32 unit rows; an empty text is a zero row. PriceError if the encoder answers with anything else.

    Batches are filled in order of length, so that little of them is padding, the longest first, so that one too large
    for the memory fails at once and the time left is not underrated.
    """
    keys = [_content(text.encode("utf-8", "surrogatepass")) if text.strip() else None for text in texts]
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key is not None}

    def batches(missing: list[bytes]) -> Batches:
        missing = sorted(missing, key=lambda key: encoder.length(wanted[key]), reverse=True)
        for start in range(0, len(missing), encoder.batch_size):
            part = missing[start : start + encoder.batch_size]
            yield _Batch(part, [wanted[key] for key in part])

    return _embed(encoder, keys, batches, cache, partial(report, f"texts ({encoder.spec.name})"))


def embed_photographs(
    encoder: Encoder,
    references: Sequence[str | None],
    photographs: Photographs,
    cache: "VectorCache | None" = None,
    report: Report = silent,
) -> PhotographVectors:
    """Vectors of the photographs that can be had, and for each of the others its reason. PriceError as `embed_texts`.

    `photographs` is asked from several threads at once. Without a cache a photograph is known by its reference alone,
    so that a query, whose photograph may have to be fetched, asks for it once.
    """
    distinct = list(dict.fromkeys(reference for reference in references if reference is not None))
    refused: dict[str, str] = {}
    if cache:
        contents, refused = _fingerprints(photographs, distinct, report)
    else:
        contents = {reference: _content(reference.encode("utf-8", "surrogatepass")) for reference in distinct}
    keys = [None if reference is None else contents.get(reference) for reference in references]
    wanted = {content: reference for reference, content in reversed(contents.items())}  # the first of those alike
    broken: dict[bytes, str] = {}

    def batches(missing: list[bytes]) -> Batches:
        return _decoded(photographs, [(key, wanted[key]) for key in missing], encoder.batch_size, broken)

    vectors = _embed(encoder, keys, batches, cache, partial(report, f"photographs ({encoder.spec.name})"))
    has_image = np.array([key is not None and key not in broken for key in keys], bool)
    reasons: Counter[str] = Counter()
    for reference, key in zip(references, keys, strict=True):
        if reference is None:
            reasons[NO_PHOTOGRAPH] += 1
        elif key is None:
            reasons[refused[reference]] += 1
        elif key in broken:
            reasons[broken[key]] += 1
    return PhotographVectors(vectors, has_image, reasons)


def _content(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _embed(
    encoder: Encoder,
    keys: Sequence[bytes | None],
    batches: Callable[[list[bytes]], Batches],
    cache: "VectorCache | None",
    report: Callable[[int, int], None],
) -> np.ndarray:
    """(n, dim) float32. `keys`: each row's content, None for a zero row. `batches`: what to encode for missing keys."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, row)
    vectors = np.zeros((len(keys), encoder.dim), np.float32)
    missing = []
    for key, row in first.items():
        kept = cache.get(key) if cache else None
        if kept is None:
            missing.append(key)
        else:
            vectors[row] = kept
    done = len(first) - len(missing)
    report(done, len(first))
    with contextlib.closing(batches(missing)) as stream, contextlib.closing(_forwarded(encoder, stream)) as encoded:
        for made, part in encoded:
            vectors[[first[key] for key in made]] = part
            if cache:
                cache.put(made, part)
            done += len(made)
            report(done, len(first))
    report(len(first), len(first))  # what could not be encoded is done with as well
    for row, key in enumerate(keys):
        if key is not None and first[key] != row:
            vectors[row] = vectors[first[key]]
    return vectors


def _forwarded(encoder: Encoder, batches: Batches) -> Generator[tuple[list[bytes], np.ndarray], None, None]:
    """Each batch's keys and vectors, in order. While one is in the forward pass, the next is prepared."""
    with ThreadPoolExecutor(1) as preparing:
        waiting: deque[tuple[list[bytes], Any]] = deque()
        for batch in batches:
            waiting.append((batch.keys, preparing.submit(encoder.prepare, batch.items)))
            del batch  # its items can go as soon as they are prepared
            if len(waiting) > 1:
                keys, prepared = waiting.popleft()
                yield keys, _checked(encoder, encoder.forward(prepared.result()), len(keys))
        for keys, prepared in waiting:
            yield keys, _checked(encoder, encoder.forward(prepared.result()), len(keys))


def _checked(encoder: Encoder, vectors: np.ndarray, count: int) -> np.ndarray:
    """Vectors that may be kept: one NaN in the store would silently spoil every search that meets it."""
    name = encoder.spec.name
    if vectors.shape != (count, encoder.dim):
        raise PriceError(f"The encoder {name} returned {vectors.shape} for {count} items of {encoder.dim} numbers.")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.isfinite(norms).all():
        raise PriceError(f"The encoder {name} returned numbers that are not finite: are its weights whole?")
    if not np.all((norms == 0) | (np.abs(norms - 1) < 0.01)):
        raise PriceError(f"The encoder {name} returned vectors that are not of unit length.")
    return np.ascontiguousarray(vectors, np.float32)


def _fingerprints(
    photographs: Photographs, distinct: Sequence[str], report: Report
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Each reference's content, or the reason why it has none."""

    def look(reference: str) -> str | ImageRefused:
        try:
            return photographs.fingerprint(reference)
        except ImageRefused as error:
            return error

    contents: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    with ThreadPoolExecutor(_DECODERS) as pool:
        for start in range(0, len(distinct), _CHUNK):
            part = distinct[start : start + _CHUNK]
            for reference, found in zip(part, pool.map(look, part), strict=True):
                if isinstance(found, ImageRefused):
                    refused[reference] = str(found.reason)
                else:
                    contents[reference] = bytes.fromhex(found)
            report("reading photographs", start + len(part), len(distinct))
    return contents, refused


def _decoded(photographs: Photographs, wanted: list[tuple[bytes, str]], size: int, broken: dict[bytes, str]) -> Batches:
    """Batches of `size` photographs, in order; the reasons go into `broken`.

    While the encoder has one batch, as many photographs again are decoded and wait: never more, for they are large.
    """
    pool = ThreadPoolExecutor(_DECODERS)
    try:
        todo = deque(wanted)
        waiting: deque[tuple[bytes, Future[np.ndarray]]] = deque()
        batch = _Batch([], [])
        while todo or waiting:
            while todo and len(waiting) <= size:
                key, reference = todo.popleft()
                waiting.append((key, pool.submit(photographs.read, reference)))
            key, pixels = waiting.popleft()
            try:
                batch.items.append(pixels.result())
                batch.keys.append(key)
            except ImageRefused as error:
                broken[key] = str(error.reason)
            if len(batch.keys) == size:
                yield batch
                batch = _Batch([], [])
        if batch.keys:
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


class VectorCache:
    """Vectors by the sha256 of what was encoded: one SQLite file for each encoder's identity, in `folder`.

    Every `put` is one transaction, so a kill loses at most one batch; several processes and threads may share a file.
    A row whose checksum does not fit counts as absent. A damaged file is set aside as `*.damaged`, `report` says so,
    and an empty one takes its place: the cache saves time and decides nothing. Only a disk that cannot be used
    raises, as IndexUnusable.
    """

    def __init__(self, folder: Path, identity: str, dim: int, report: Report = silent) -> None:
        self._path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.sqlite"
        self._bytes = dim * 4
        self._report = report
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._attempt(lambda connection: None)

    def get(self, key: bytes) -> np.ndarray | None:
        """The (dim,) float32 vector kept for a content, or None."""
        select = "SELECT vector, checksum FROM vectors WHERE key = ?"
        row = self._attempt(lambda connection: connection.execute(select, (key,)).fetchone())
        if row is None or not isinstance(row[0], bytes):
            return None
        vector, checksum = row
        if len(vector) != self._bytes or checksum != zlib.crc32(key + vector):
            return None
        return np.frombuffer(vector, "<f4")

    def put(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep (n, dim) float32 vectors, all of them or none."""
        values = [np.ascontiguousarray(vector, "<f4").tobytes() for vector in vectors]
        rows = [(key, value, zlib.crc32(key + value)) for key, value in zip(keys, values, strict=True)]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

        self._attempt(insert)

    def close(self) -> None:
        """Let go of the file. Later use opens it again."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do the work; if the file turns out to be damaged, once more on an empty one."""
        with self._lock:
            try:
                return self._try(work)
            except (sqlite3.DatabaseError, OSError) as error:
                self._drop()
                if not _is_damage(error):
                    raise self._unusable(error) from error
            try:
                self._set_aside()
                return self._try(work)
            except (sqlite3.DatabaseError, OSError) as error:
                raise self._unusable(error) from error

    def _try(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
            _lay_out(self._open)
        return work(self._open)

    def _set_aside(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # another process may have met the same damage first
            self._path.replace(self._path.with_suffix(".damaged"))
        Path(f"{self._path}-journal").unlink(missing_ok=True)
        self._report("a damaged cache of encodings was set aside: encoding again", 0, None)

    def _unusable(self, error: Exception) -> IndexUnusable:
        return IndexUnusable(
            f"The cache of encodings in {self._path.parent} cannot be used ({error}): make room, or remove that folder."
        )

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _lay_out(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file. DatabaseError for a file that is anything else than such a cache."""
    connection.text_factory = bytes  # a flipped bit can turn a vector into text, which must not be decoded
    connection.execute("PRAGMA synchronous = OFF")  # a kill loses nothing; after a power cut, checksums tell
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if layout == 0:
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum INTEGER)")
        connection.execute(f"PRAGMA user_version = {_LAYOUT}")
    elif layout != _LAYOUT:
        raise sqlite3.DatabaseError(f"the file is of layout {layout}, not {_LAYOUT}")
    connection.execute("SELECT key, vector, checksum FROM vectors LIMIT 1").fetchone()


def _is_damage(error: Exception) -> bool:
    """Whether a new file would help. A full disk or a folder without permission is not the file's fault."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOTADB)  # ours has none
    return code & 0xFF in _DAMAGED  # the other bits only say more of the same
