"""Sources of photographs: where a reference leads, and what may be read on the way.

A reference is a URL, a path beside the catalogue, or a file that the user named; a stranger may have written the first
two. What the bytes hold is for `index.photographs.decode`.
"""

import hashlib
import os
import re
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from index.errors import UsageError
from index.photographs.cache import PhotographCache
from index.photographs.decode import decode
from index.photographs.fetch import SYSTEM, Limits, Network, fetch
from index.photographs.formats import MAX_BYTES, ImageRefused, Reason


class Photographs:
    """Places where photographs are looked for, and what may be read there. Holds nothing open: use it from any thread.

    - `image_dir`: a URL's photograph lies here under the last part of the URL's path; relative references lie below it
    - `base_dir`: relative references lie below it too (the catalogue's own folder)
    - `cache_dir`: photographs by URL, as `fetch_all` leaves them; `fetch_missing` fetches those that are not there
    - `allow_paths`: any path and `file:` URL, for what the user typed at the command line, never for a catalogue
    """

    def __init__(
        self,
        image_dir: Path | None = None,
        cache_dir: Path | None = None,
        base_dir: Path | None = None,
        *,
        allow_private_addresses: bool = False,
        allow_paths: bool = False,
        fetch_missing: bool = False,
        network: Network = SYSTEM,
    ) -> None:
        if image_dir is not None and not image_dir.is_dir():
            raise UsageError(f"There is no folder {image_dir}. Name the folder that holds the photographs.")
        self._image_dir = image_dir.resolve() if image_dir else None
        self._folders = [folder.resolve() for folder in (image_dir, base_dir) if folder is not None]
        self._cache = PhotographCache(cache_dir) if cache_dir else None
        self._allow_paths, self._fetch_missing = allow_paths, fetch_missing
        self._limits = Limits(allow_private_addresses=allow_private_addresses)
        self._network = network

    def read(self, reference: str) -> npt.NDArray[np.uint8]:
        """Return the photograph as RGB `(height, width, 3)`, no side over LONGEST_SIDE; raise ImageRefused if none."""
        return decode(self.read_bytes(reference))

    def fingerprint(self, reference: str) -> str:
        """Return the SHA-256 of the photograph's bytes, in hex; raise ImageRefused if there are none."""
        return hashlib.sha256(self.read_bytes(reference)).hexdigest()

    def read_bytes(self, reference: str) -> bytes:
        """Return the photograph as it lies on disk or on the web, undecoded; raise ImageRefused if it cannot be had."""
        reference = reference.strip()
        if not reference:
            raise ImageRefused(Reason.MISSING)
        scheme = _scheme(reference)
        if scheme in ("http", "https"):
            return self._from_url(reference)
        if self._allow_paths and scheme in ("", "file"):
            return self._from_path(reference)
        if scheme:
            raise ImageRefused(Reason.PATH_NOT_ALLOWED if scheme == "file" else Reason.SCHEME)
        return self._below_folders(reference)

    def _from_url(self, url: str) -> bytes:
        """Look in the folder first, then in the cache, then on the web."""
        if self._image_dir is not None:
            try:
                return _read_below(self._image_dir, _last_part(url))
            except ImageRefused as refusal:
                elsewhere = self._cache is not None or self._fetch_missing
                if refusal.reason is not Reason.MISSING or not elsewhere:
                    raise
        cached = self._from_cache(url)
        if cached is not None:
            return cached
        if not self._fetch_missing:
            raise ImageRefused(Reason.NOT_FETCHED)
        return self._from_web(url)

    def _from_cache(self, url: str) -> bytes | None:
        link = self._cache.find(url) if self._cache else None
        if self._cache is None or link is None or not link.stands(self._limits.allow_private_addresses):
            return None
        if link.reason is not None:
            raise ImageRefused(link.reason)
        return self._cache.read(link.digest) if link.digest else None

    def _from_web(self, url: str) -> bytes:
        if self._cache is None:
            return fetch(url, limits=self._limits, network=self._network)
        with closing(self._cache.connect()) as links:
            try:
                data = fetch(url, limits=self._limits, network=self._network)
            except ImageRefused as refusal:
                self._cache.record_refusal(links, url, refusal.reason)
                raise
            self._cache.record(links, url, self._cache.write(data))
            return data

    def _from_path(self, reference: str) -> bytes:
        """Read a path that the user typed: anywhere, from the current folder."""
        if _scheme(reference) == "file":
            host, _, path = re.sub("^file:(//)?", "", reference, flags=re.IGNORECASE).partition("/")
            if host not in ("", "localhost"):
                raise ImageRefused(Reason.PATH_NOT_ALLOWED)
            return _read_file(Path("/" + unquote(path)))
        try:
            return _read_file(Path(reference))
        except ImageRefused as refusal:
            if refusal.reason is not Reason.MISSING or Path(reference).is_absolute():
                raise
            return self._below_folders(reference)

    def _below_folders(self, reference: str) -> bytes:
        """Read a path that stands in a catalogue: below the catalogue's own folders, or not at all."""
        if Path(reference).is_absolute():
            raise ImageRefused(Reason.PATH_NOT_ALLOWED)
        for folder in self._folders:
            try:
                return _read_below(folder, reference)
            except ImageRefused as refusal:
                if refusal.reason is not Reason.MISSING:
                    raise
        raise ImageRefused(Reason.MISSING)


def _scheme(reference: str) -> str:
    """Return `https` of `https://...`, "" for a path; one letter is a drive."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", reference)
    return match[1].lower() if match else ""


def _last_part(url: str) -> str:
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError as error:
        raise ImageRefused(Reason.BAD_URL) from error


def _read_below(folder: Path, relative: str) -> bytes:
    """Read a file that lies in `folder` once every link is followed."""
    if not relative:
        raise ImageRefused(Reason.MISSING)
    try:
        path = (folder / relative).resolve()
    except ValueError as error:  # a NUL in the name
        raise ImageRefused(Reason.MISSING) from error
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ImageRefused(Reason.UNREADABLE) from error
    if not path.is_relative_to(folder):
        raise ImageRefused(Reason.OUTSIDE_FOLDER)
    return _read_file(path)


def _read_file(path: Path) -> bytes:
    """Read a regular file of at most MAX_BYTES; a pipe or a device would keep us waiting."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageRefused(Reason.UNREADABLE)
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ImageRefused(Reason.MISSING) from error
    except OSError as error:
        raise ImageRefused(Reason.UNREADABLE, type(error).__name__) from error
    if len(data) > MAX_BYTES:
        raise ImageRefused(Reason.TOO_LARGE)
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
