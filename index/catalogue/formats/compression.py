"""Bytes of a file, unpacked where it is a .gz or .zst, in blocks and bounded; what they mean is not known here."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index.errors import DataRefused

BLOCK = 1 << 18  # bytes
MOST_TIMES = 250  # a compressed file may unpack to so many times its size; tables of text reach about 100
FREE_BYTES = 64 << 20  # whatever the file's size
WINDOW = 1 << 27  # bytes that a .zst may ask for to look back; the default of the zstd program

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class PackedFile:
    """A regular file and how it is packed: "" for not at all, "gzip" or "zstd"."""

    path: Path
    packing: str

    def blocks(self) -> Iterator[bytes]:
        """Yield the unpacked bytes, a block at a time. Raises `DataRefused` for a damaged file, or a bomb."""
        most = max(FREE_BYTES, MOST_TIMES * self.path.stat().st_size)
        unpacked = 0
        try:
            for block in {"": _plain, "gzip": _gzip, "zstd": _zstd}[self.packing](self.path):
                unpacked += len(block)
                if self.packing and unpacked > most:
                    raise DataRefused(
                        f"{self.path} unpacks to more than {most >> 20} MB, over {MOST_TIMES} times its size: "
                        "unpack it first, if you know what it is."
                    )
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataRefused(f"{self.path} is a damaged {self.packing} file: copy or make it again.") from error
        except OSError as error:
            raise DataRefused(f"{self.path} cannot be read: {error.strerror}.") from error

    def head(self, size: int) -> bytes:
        """Return the first bytes, unpacked."""
        found = b""
        for block in self.blocks():
            found += block
            if len(found) >= size:
                break
        return found[:size]


def open_packed(path: Path) -> PackedFile:
    """Find out how a regular file is packed."""
    with path.open("rb") as file:
        head = file.read(4)
    return PackedFile(path, next((packing for magic, packing in _MAGIC.items() if head.startswith(magic)), ""))


def _plain(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")


def _gzip(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")


def _zstd(path: Path) -> Iterator[bytes]:
    """Unpack frame after frame; the stream reader of the library would take a file cut short for a whole one."""
    import zstandard

    out = io.BytesIO()
    try:
        with path.open("rb") as file:
            frame = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
            while packed := file.read(1 << 14):  # a small piece: it may unpack to thousands of times its size
                while packed:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
                    out.write(frame.decompress(packed))
                    packed = frame.unused_data
                if out.tell() >= BLOCK:
                    yield out.getvalue()
                    out = io.BytesIO()
            if not frame.eof:
                raise EOFError
    except zstandard.ZstdError as error:
        raise EOFError from error
    yield out.getvalue()
