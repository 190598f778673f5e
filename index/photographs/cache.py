"""Cache of fetched photographs on this machine, and of the reasons why others cannot be had.

    photographs.sqlite    URL -> hash of the photograph, or the reason why asking again is no use
    ab/abcdef...          a photograph, named by the SHA-256 of its bytes; two URLs with one photograph share it
    partial/              files being written; what a kill leaves there is swept up by a later run

A photograph is written beside and renamed, then its URL is recorded: a kill between the two costs one download.
Bytes are hashed again when they are read, so a flipped bit is a missing photograph and not another one; the next fetch
brings it again.
"""

import hashlib
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from index.errors import DataRefused
from index.photographs.formats import Reason

LASTING = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.REFUSED_BY_SERVER,
        Reason.BLOCKED_ADDRESS,
        Reason.BAD_URL,
        Reason.SCHEME,
        Reason.CREDENTIALS,
        Reason.TOO_LARGE,
        Reason.NOT_AN_IMAGE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TOO_MANY_REDIRECTS,
    }
)
"""Reasons that asking again would not change. A machine that was merely offline must not give its catalogue up."""

SCHEMA = "CREATE TABLE IF NOT EXISTS links (url TEXT PRIMARY KEY, digest TEXT, reason TEXT, learned REAL) WITHOUT ROWID"
ALL = "SELECT url, digest, reason FROM links"
OF_URL = "SELECT url, digest, reason FROM links WHERE url = ?"
STALE_SECONDS = 3600
"""A partial file this old has no writer any more: a fetch takes seconds."""


@dataclass(frozen=True)
class Link:
    """Record of a URL: the `digest` of its photograph, or the `reason` why there is none; never both."""

    url: str
    digest: str | None
    reason: Reason | None

    def stands(self, allow_private_addresses: bool) -> bool:
        """Tell whether this may be acted on: a blocked address is asked again once private ones are allowed."""
        return not (self.reason is Reason.BLOCKED_ADDRESS and allow_private_addresses)


def key(url: str) -> str:
    """Return the spelling under which a URL is known: without its fragment, which is never sent to a server."""
    return url.strip().partition("#")[0].encode("utf-8", "replace").decode("utf-8")


class PhotographCache:
    """A folder of photographs by content. Holds no open file: usable from any thread and process at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._links = folder / "photographs.sqlite"

    def connect(self) -> sqlite3.Connection:
        """Open the links, made where they are missing; the caller closes them."""
        with self._usable():
            self.folder.mkdir(parents=True, exist_ok=True)
            links = sqlite3.connect(self._links, timeout=30, isolation_level=None)
            try:
                # With a write-ahead log a link costs no flush and survives a kill; a power cut may cost some downloads.
                links.execute("PRAGMA journal_mode=WAL")
                links.execute("PRAGMA synchronous=NORMAL")
                links.execute(SCHEMA)
            except sqlite3.Error:
                links.close()
                raise
            return links

    def find(self, url: str) -> Link | None:
        """Return what is known of this URL; None if nothing is recorded."""
        rows = self._select(OF_URL, key(url))
        return _link(*rows[0]) if rows else None

    def find_all(self) -> dict[str, Link]:
        """Return all that is known, by `key`."""
        return {row[0]: _link(*row) for row in self._select(ALL)}

    def _select(self, query: str, *values: str) -> list[tuple[str, str | None, str | None]]:
        """Rows of the links, read by whoever may read them: also on a disk, or by a user, that may not write."""
        if not self._links.exists():
            return []
        with self._usable():
            try:
                return self._rows("mode=ro", query, values)
            except sqlite3.OperationalError:
                if os.access(self.folder, os.W_OK):
                    raise
                return self._rows("immutable=1", query, values)  # a log of writes cannot be opened there

    def _rows(self, how: str, query: str, values: tuple[str, ...]) -> list[tuple[str, str | None, str | None]]:
        with closing(sqlite3.connect(f"{self._links.resolve().as_uri()}?{how}", timeout=30, uri=True)) as links:
            if not links.execute("SELECT 1 FROM sqlite_master WHERE name = 'links'").fetchall():
                return []  # another is making it
            return links.execute(query, values).fetchall()

    def has(self, digest: str) -> bool:
        """Tell whether a photograph of this name lies here, without reading it: a power cut leaves empty files."""
        try:
            found = self._path(digest).stat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size > 0

    def read(self, digest: str) -> bytes | None:
        """Return the photograph of this hash; None if it is missing, may not be read or has another hash now.

        One of another hash is deleted, as far as it may be, so that the next fetch brings it again.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        with suppress(OSError):  # a disk, or a user, that may not write
            path.unlink()
        return None

    def write(self, data: bytes) -> str:
        """Keep a photograph and return its hash."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        with self._usable():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._partial() / f"{secrets.token_hex(16)}.partial"  # to be read by whoever may read the folder
            partial.write_bytes(data)
            partial.replace(path)
        return digest

    def record(self, links: sqlite3.Connection, url: str, digest: str) -> None:
        """Record that the photograph of a URL is here."""
        self._record(links, url, digest, None)

    def record_refusal(self, links: sqlite3.Connection, url: str, reason: Reason) -> None:
        """Record why a URL is refused, if that lasts; after a passing reason it is asked for again."""
        if reason in LASTING:
            self._record(links, url, None, reason)

    def sweep(self) -> None:
        """Delete what killed runs left half-written."""
        with self._usable():
            partials = list(self._partial().glob("*.partial"))
        for partial in partials:
            with suppress(FileNotFoundError):  # its writer has just renamed it
                if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                    partial.unlink()

    def _record(self, links: sqlite3.Connection, url: str, digest: str | None, reason: Reason | None) -> None:
        with self._usable():
            links.execute("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?)", (key(url), digest, reason, time.time()))

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn what the user must mend (a full disk, no permission, a file that is no database) into DataRefused."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataRefused(
                f"The photograph cache {self.folder} cannot be used ({error}): mend that, or remove the folder and run "
                "`price fetch` again."
            ) from error

    def _partial(self) -> Path:
        folder = self.folder / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest


def _link(url: str, digest: str | None, reason: str | None) -> Link:
    return Link(url, digest, Reason(reason) if reason else None)
