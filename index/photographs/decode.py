"""Bytes of a photograph to pixels, within limits: it knows file formats, and not where the bytes came from.

Every limit on pixels is here: 40 megapixels by the header, before anything is decoded; one frame; and at most
`LONGEST_SIDE` pixels a side handed on, because encoders look at 224 to 448 and a batch of full-size photographs would
fill the memory.
"""

import io
import re
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from index.photographs.formats import HEAD_BYTES, MAX_BYTES, ImageRefused, Reason, identify

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 40_000_000
LONGEST_SIDE = 1024
MAX_SCANS = 100
"""Scans of a progressive JPEG: cameras write about ten; kilobytes hold thousands, each a pass over all pixels."""

# Flipping and cutting bytes of real files (800,000 times) brought the first three out of Pillow; the others are what
# its parsers raise where a plug-in forgets to translate.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error, zlib.error)
_PILLOW_HUSHED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_EXIF_ORIENTATION = 0x0112


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
        # Its decoder allocates two canvases as it opens the file, before anyone could ask it for the size.
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
    """Silence Pillow's warnings of odd metadata, which nobody here can mend: no error, nothing on the terminal.

    Not `warnings.catch_warnings`, which swaps the filters of all threads while others decode.
    """
    if warnings.filters[:1] != [_PILLOW_HUSHED]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _is_cut_short(data: bytes, kind: str) -> bool:
    """Tell whether a file that would not decode lacks its end."""
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
    """Scale 16-bit grey to 8 bits, where Pillow would clip; its one transparent value becomes white."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image)
    if isinstance(clear := image.info.get("transparency"), int):
        grey = np.where(grey == clear, 0xFFFF, grey)
    return Image.fromarray((grey >> 8).astype(np.uint8))


def _turn(image: "Image.Image") -> "Image.Transpose | None":
    """Return the turn to upright by the EXIF orientation; None where upright already, or the EXIF cannot be read."""
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
