"""Bytes of a photograph to pixels, within limits: it knows file formats, and not where the bytes came from.

Every limit on pixels is here: 40 megapixels by the header, before anything is decoded; the memory that decoding takes,
from a budget that all threads share; one frame; and at most `LONGEST_SIDE` pixels a side handed on, because encoders
look at 224 to 448 and a batch of full-size photographs would fill the memory.
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
from index.photographs.headers import Header, gif_header, png_header, webp_header
from index.photographs.memory import DECODING_BYTES, MemoryBudget, decoding_bytes, shrunk_size

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
_SCAN = b"\xff\xda"  # marks the start of a JPEG's scan
_HEADERS = {"PNG": png_header, "GIF": gif_header, "WEBP": webp_header}

DECODING = MemoryBudget(DECODING_BYTES)
"""The one budget of this process; a photograph that would take more than the whole of it is refused."""


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the first frame as upright RGB on white, `(height, width, 3)`, no side over LONGEST_SIDE.

    Large JPEGs are decoded at a half, a quarter or an eighth (libjpeg's own scaling), others are shrunk after decoding.
    Colour profiles are not applied; CMYK is taken as Adobe writes it. Waits while others decode and there is no memory
    left of the budget. Raises ImageRefused.
    """
    from PIL import Image

    kind = _checked(data)
    _hush_pillow()
    try:
        if kind == "JPEG":
            return _decode_jpeg(data)
        header = _HEADERS[kind](data)
        with DECODING.hold(_needed(header, len(data))):
            return _decode_other(data, kind, header)
    except Image.DecompressionBombError:
        reason = Reason.TOO_MANY_PIXELS
    except _PILLOW_ERRORS:
        reason = Reason.TRUNCATED if _is_cut_short(data, kind) else Reason.DAMAGED
    # Not raised from the error: through its traceback that one would keep the pixels for as long as someone keeps it.
    raise ImageRefused(reason)


def _decode_jpeg(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode at the smallest scale that has every pixel which shrinking looks at: Pillow opens it without pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        width, height = image.size
        _check_size(width, height)
        shrunk = shrunk_size(width, height, LONGEST_SIDE)
        image.draft(None, (min(2 * shrunk[0], LONGEST_SIDE), min(2 * shrunk[1], LONGEST_SIDE)))
        bands = len(image.getbands())
        # Several scans are put together from coefficients of two bytes, kept for the whole of the picture.
        padded = (width + 31) * (height + 31)
        coefficients = 2 * bands * padded if _scans(image, data) > 1 else 0
        header = Header(
            *image.size,
            pixel=1 if bands == 1 else 4,
            colour=bands == 3,
            transparent=False,
            while_decoding=coefficients,
        )
        with DECODING.hold(_needed(header, len(data))):
            image.load()
            return _pixels(image)


def _decode_other(data: bytes, kind: str, header: Header) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        if image.size != (header.width, header.height):
            raise ValueError("not the size that memory was reckoned for")
        image.load()
        return _pixels(image)


def _needed(header: Header, file_size: int) -> int:
    """Return the memory that decoding takes; refuse what has too many pixels, or takes more than there is for all."""
    _check_size(header.width, header.height)
    needed = decoding_bytes(header, file_size, LONGEST_SIDE)
    if needed > DECODING.total:
        size = f"{header.width} x {header.height}"
        raise ImageRefused(Reason.TOO_MANY_PIXELS, f"{size}, {needed // 1_000_000} MB to decode")
    return needed


def _scans(image: "Image.Image", data: bytes) -> int:
    """Count the scans of a JPEG, but for those of the thumbnails in its metadata."""
    metadata: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return data.count(_SCAN) - sum(body.count(_SCAN) for _, body in metadata)


def _checked(data: bytes) -> str:
    """Refuse by the bytes alone what must not reach a decoder; return the format."""
    if len(data) > MAX_BYTES:
        raise ImageRefused(Reason.TOO_LARGE)
    kind = identify(data[:HEAD_BYTES])
    if kind == "JPEG" and data.count(_SCAN) > MAX_SCANS:
        raise ImageRefused(Reason.TOO_MANY_SCANS)
    return kind


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageRefused(Reason.TOO_MANY_PIXELS, f"{width} x {height}")


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
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        converted = _eight_bit(image).convert(mode)
        image.close()  # and let go of its pixels
        image = converted
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
    eight_bit = (grey >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        eight_bit[grey == clear] = 0xFF
    return Image.fromarray(eight_bit)


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
