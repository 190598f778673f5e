"""Cache of vectors by content, in one SQLite file per encoder, resumable at any moment."""

import contextlib
import hashlib
import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from index.errors import IndexUnusable
from index.progress import OnProgress, silent

_LAYOUT = 1  # of a cache file
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Result = TypeVar("Result")


class VectorCache:
    """Vectors by the sha256 of what was encoded: one SQLite file for each encoder's identity, in `folder`.

    Every `put` is one transaction, so a kill loses at most one batch; several processes and threads may share a file.
    A row whose checksum does not fit counts as absent. A damaged file is set aside as `*.damaged`, `on_progress` says
    so, and an empty one takes its place: the cache saves time and decides nothing. Only a disk that cannot be used
    raises, as IndexUnusable.
    """

    def __init__(self, folder: Path, identity: str, dim: int, on_progress: OnProgress = silent) -> None:
        self._path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.sqlite"
        self._bytes = dim * 4
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._attempt(lambda connection: None)

    def get(self, key: bytes) -> np.ndarray | None:
        """Return the (dim,) float32 vector kept for a content, or None."""
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
        """Run the work; if the file turns out to be damaged, do it again on an empty one."""
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
        self._on_progress("a damaged cache of encodings was set aside: encoding again", 0, None)

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
    """Tell whether a new file would help. A full disk or a folder without permission is not the file's fault."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOTADB)  # ours has none
    return code & 0xFF in _DAMAGED  # the other bits only say more of the same
