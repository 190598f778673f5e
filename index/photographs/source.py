"""Sources of photographs: where a reference leads, and what may be read on the way.

A reference is a URL, a path beside the catalogue, or a file that the user named; a stranger may have written the first
two. What the bytes hold is for `index.photographs.decode`.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from index.errors import UsageError
from index.photographs.cache import PhotographCache
from index.photographs.decode import decode
from index.photographs.folders import ImageFolder, read_file, tails
from index.photographs.formats import ImageRefused, Reason
from index.photographs.references import first_reference, is_image_name

if TYPE_CHECKING:
    from index.photographs.fetch import Network


class _Photograph(NamedTuple):
    data: bytes
    digest: str | None = None  # SHA-256 of the bytes in hex, where the cache has hashed them already

    def fingerprint(self) -> str:
        return self.digest or hashlib.sha256(self.data).hexdigest()


class Photographs:
    """Places where photographs are looked for, and what may be read there. Holds nothing open: use it from any thread.

    - `image_dir`: a URL's photograph lies here under the last part of the URL's path, or more of its parts; relative
      references lie below it, and those with a leading slash, as a shop writes them, like a URL's path
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
        network: Network | None = None,
    ) -> None:
        if image_dir is not None and not image_dir.is_dir():
            raise UsageError(f"There is no folder {image_dir}. Name the folder that holds the photographs.")
        self._folders = [ImageFolder(folder) for folder in (image_dir, base_dir) if folder is not None]
        self._image_dir = self._folders[0] if image_dir else None
        self._cache = PhotographCache(cache_dir) if cache_dir else None
        self._allow_paths, self._fetch_missing = allow_paths, fetch_missing
        self._allow_private_addresses, self._network = allow_private_addresses, network

    def read(self, reference: str, content: str | None = None) -> npt.NDArray[np.uint8]:
        """Return the photograph as RGB `(height, width, 3)`, no side over LONGEST_SIDE; raise ImageRefused if none.

        `content`: the fingerprint that it had; one that has another now is refused.
        """
        photograph = self._find(reference)
        if content is not None and photograph.fingerprint() != content:
            raise ImageRefused(Reason.CHANGED)
        return decode(photograph.data)

    def fingerprint(self, reference: str) -> str:
        """Return the SHA-256 of the photograph's bytes, in hex; raise ImageRefused if there are none."""
        return self._find(reference).fingerprint()

    def read_bytes(self, reference: str) -> bytes:
        """Return the photograph as it lies on disk or on the web, undecoded; raise ImageRefused if it cannot be had."""
        return self._find(reference).data

    def _find(self, reference: str) -> _Photograph:
        reference = first_reference(reference)
        if not reference:
            raise ImageRefused(Reason.MISSING)
        scheme = _scheme(reference)
        if scheme in ("http", "https"):
            return self._from_url(reference)
        if self._allow_paths and scheme in ("", "file"):
            return _Photograph(self._from_path(reference))
        if scheme:
            raise ImageRefused(Reason.PATH_NOT_ALLOWED if scheme == "file" else Reason.SCHEME)
        return _Photograph(self._below_folders(reference))

    def _from_url(self, url: str) -> _Photograph:
        """Look in the folder first, then in the cache, then on the web."""
        if self._image_dir is not None:
            try:
                return _Photograph(self._image_dir.read(_names(url)))
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

    def _from_cache(self, url: str) -> _Photograph | None:
        link = self._cache.find(url) if self._cache else None
        if self._cache is None or link is None or not link.stands(self._allow_private_addresses):
            return None
        if link.reason is not None:
            raise ImageRefused(link.reason)
        data = self._cache.read(link.digest) if link.digest else None
        return None if data is None else _Photograph(data, link.digest)

    def _from_web(self, url: str) -> _Photograph:
        if self._cache is None:
            return _Photograph(self._fetch(url))
        with closing(self._cache.connect()) as links:
            try:
                data = self._fetch(url)
            except ImageRefused as refusal:
                self._cache.record_refusal(links, url, refusal.reason)
                raise
            digest = self._cache.write(data)
            self._cache.record(links, url, digest)
            return _Photograph(data, digest)

    def _fetch(self, url: str) -> bytes:
        from index.photographs.fetch import SYSTEM, Limits, fetch

        limits = Limits(allow_private_addresses=self._allow_private_addresses)
        return fetch(url, limits=limits, network=self._network or SYSTEM)

    def _from_path(self, reference: str) -> bytes:
        """Read a path that the user typed: anywhere, from the current folder."""
        if _scheme(reference) == "file":
            host, _, path = re.sub("^file:(//)?", "", reference, flags=re.IGNORECASE).partition("/")
            if host not in ("", "localhost"):
                raise ImageRefused(Reason.PATH_NOT_ALLOWED)
            return read_file(Path("/" + unquote(path)))
        try:
            return read_file(Path(reference))
        except ImageRefused as refusal:
            if refusal.reason is not Reason.MISSING or Path(reference).is_absolute():
                raise
            return self._below_folders(reference)

    def _below_folders(self, reference: str) -> bytes:
        """Read a path that stands in a catalogue: below the catalogue's own folders, or not at all."""
        names = [reference]
        if "?" in reference and is_image_name(reference):
            names.append(reference.partition("?")[0])
        if reference.startswith("/"):
            names = [tail for name in names for tail in tails(name)]
        for folder in self._folders:
            try:
                return folder.read(names)
            except ImageRefused as refusal:
                if refusal.reason is not Reason.MISSING:
                    raise
        raise ImageRefused(Reason.MISSING)


def _scheme(reference: str) -> str:
    """Return `https` of `https://...`, "" for a path; one letter is a drive."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", reference)
    return match[1].lower() if match else ""


def _names(url: str) -> list[str]:
    """Return the names below an image folder that a URL's photograph may have: the most parts of its path first.

    Some programs that fetch photographs write `%20` of a URL into a file's name as it is, others as what it stands for.
    """
    try:
        return list(dict.fromkeys(name for tail in tails(urlsplit(url).path) for name in (tail, unquote(tail))))
    except ValueError as error:
        raise ImageRefused(Reason.BAD_URL) from error
