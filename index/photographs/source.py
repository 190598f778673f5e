"""How does a reference to a photograph become pixels?

A reference is a URL, a path beside the catalogue, or a file that the user named; a stranger may have written the first
two. Every limit on pixels is here: 40 megapixels by the header, before anything is decoded; one frame; and at most
`LONGEST_SIDE` pixels a side handed on, because encoders look at 224 to 448 and a batch of full-size photographs would
fill the memory.
"""

import hashlib
import io
import os
import re
import stat
import struct
import warnings
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from index.errors import UsageError
from index.photographs.cache import PhotographCache
from index.photographs.fetch import SYSTEM, Limits, Network, fetch
from index.photographs.formats import HEAD_BYTES, MAX_BYTES, ImageRefused, Reason, identify

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LONGEST_SIDE", "MAX_PIXELS", "ImageRefused", "Photographs", "Reason", "decode"]

MAX_PIXELS = 40_000_000
LONGEST_SIDE = 1024
MAX_SCANS = 100
"""Scans of a progressive JPEG: cameras write about ten; kilobytes hold thousands, each a pass over all pixels."""

# Flipping and cutting bytes of real files (800,000 times) brought the first three out of Pillow; the others are what
# its parsers raise where a plug-in forgets to translate.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error, zlib.error)
_PILLOW_HUSHED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_EXIF_ORIENTATION = 0x0112


class Photographs:
    """Where photographs are looked for, and what may be read on the way. Holds nothing open: use it from any thread.

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
        """The folder first, then the cache, then the web."""
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
        """A path that the user typed: anywhere, from the current folder."""
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
        """A path that stands in a catalogue: below the catalogue's own folders, or not at all."""
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
    """`https` of `https://...`, empty for a path; one letter is a drive."""
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


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the first frame as upright RGB on white, `(height, width, 3)`, no side over LONGEST_SIDE.

    Large JPEGs are decoded at a half, a quarter or an eighth (libjpeg's own scaling), others are shrunk after decoding.
    Colour profiles are not applied; CMYK is taken as Adobe writes it. Raises ImageRefused.
    """
    from PIL import Image

    kind = _checked(data)
    _hush_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_size(image.width, image.height)
            image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
            image.load()
            return _pixels(image)
    except Image.DecompressionBombError as error:
        raise ImageRefused(Reason.TOO_MANY_PIXELS) from error
    except _PILLOW_ERRORS as error:
        raise ImageRefused(Reason.TRUNCATED if _is_cut_short(data, kind) else Reason.DAMAGED) from error


def _checked(data: bytes) -> str:
    """Refuse by the bytes alone what must not reach a decoder; return the format."""
    if len(data) > MAX_BYTES:
        raise ImageRefused(Reason.TOO_LARGE)
    kind = identify(data[:HEAD_BYTES])
    if kind == "WEBP":
        # Its decoder makes room for two canvases as it opens the file, before anyone could ask it for the size.
        _check_size(*_webp_size(data))
    if kind == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageRefused(Reason.TOO_MANY_SCANS)
    return kind


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageRefused(Reason.TOO_MANY_PIXELS, f"{width} x {height}")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk of a WebP (RFC 9649); zeroes, for the decoder to refuse, if it has none."""
    chunk, head = data[12:16], data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    return 0, 0


def _hush_pillow() -> None:
    """Pillow warns of odd metadata, which is not ours to mend: never an error, never on the terminal.

    Not `warnings.catch_warnings`, which swaps the filters of all threads while others decode.
    """
    if warnings.filters[:1] != [_PILLOW_HUSHED]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _is_cut_short(data: bytes, kind: str) -> bool:
    """Whether a file that would not decode lacks its end."""
    if kind == "JPEG":
        end = data.rfind(b"\xff\xd9")
        return end < 0 or end < data.rfind(b"\xff\xda")
    if kind == "PNG":
        return b"IEND" not in data
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)


def _pixels(image: "Image.Image") -> npt.NDArray[np.uint8]:
    """Shrink first, then composite and turn: both are cheap on a small picture, and give the same one."""
    from PIL import Image

    turn = _turn(image)
    image = _eight_bit(image)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), reducing_gap=2.0)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image)


def _eight_bit(image: "Image.Image") -> "Image.Image":
    """16-bit grey, which Pillow would clip rather than scale; its one see-through value becomes white."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image)
    if isinstance(clear := image.info.get("transparency"), int):
        grey = np.where(grey == clear, 0xFFFF, grey)
    return Image.fromarray((grey >> 8).astype(np.uint8))


def _turn(image: "Image.Image") -> "Image.Transpose | None":
    """What brings the picture upright by its EXIF orientation; None where it is, or where the EXIF cannot be read."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _PILLOW_ERRORS:
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None
