"""Headers of photographs: size and kind of pixels, read from the first bytes before a decoder sees any.

Three of the four decoders may make room for pixels as soon as they open a file, so their headers are read here. Pillow
opens a JPEG without any; `decode` asks it for the size.
"""

from dataclasses import dataclass

from index.photographs.formats import ImageRefused, Reason

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_GREY, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 3, 4, 6


@dataclass(frozen=True)
class Header:
    """Size of a photograph and what its decoder holds. A file without a header has no size: the decoder refuses it."""

    width: int = 0
    height: int = 0
    pixel: int = 4  # bytes of a pixel as Pillow keeps it: 1 for grey and palettes, 2 for 16-bit grey, 4 for the rest
    colour: bool = True  # decoded as RGB or RGBA, and not converted to it
    transparent: bool = True  # or may be
    while_decoding: int = 0  # bytes that the decoder takes beside the pixels
    while_open: int = 0  # of these, bytes that it keeps until the file is closed


def png_header(data: bytes) -> Header:
    """Read the header of a PNG (ISO 15948). Raises ImageRefused for a second one, of which decoders take the last."""
    headers, at = [], 8
    while (name := data[at + 4 : at + 8]) and name not in (b"IDAT", b"IEND"):
        if name == b"IHDR":
            headers.append(data[at + 8 : at + 21].ljust(13, b"\0"))
        at += 12 + int.from_bytes(data[at : at + 4])
    if len(headers) != 1:
        if headers:
            raise ImageRefused(Reason.DAMAGED, "two headers")
        return Header()
    width, height = int.from_bytes(headers[0][:4]), int.from_bytes(headers[0][4:8])
    depth, colour = headers[0][8], headers[0][9]
    line = (width * depth * _PNG_CHANNELS.get(colour, 4) + 7) // 8 + 1
    texts = 4 * min(data.count(b"iTXt"), 64) + min(data.count(b"zTXt"), 64)  # MB: Pillow unpacks a megabyte of each
    pixels = width * height
    frame = 4 * pixels if b"acTL" in data[:at] else 0  # older Pillows fill one as they open an animation
    return Header(
        width,
        height,
        pixel=(2 if depth == 16 else 1) if colour == _GREY else 1 if colour == _PALETTE else 4,
        colour=colour not in (_GREY, _PALETTE, _GREY_ALPHA),
        transparent=colour in (_GREY_ALPHA, _COLOUR_ALPHA) or b"tRNS" in data[:at],
        while_decoding=2 * line + frame + texts * 1_000_000,  # this line and the one before
        while_open=frame + texts * 1_000_000,
    )


def gif_header(data: bytes) -> Header:
    """Read the size of a GIF's screen, or of its first frame where that reaches beyond it."""
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while data[at : at + 1] not in (b"", b";", b","):
        extension = data[at : at + 1] == b"!"
        at += 2 if extension else 1  # what is neither is skipped, as the decoder does
        while extension and (length := data[at : at + 1]) not in (b"", b"\0"):
            at += 1 + length[0]
        at += extension
    if data[at : at + 1] != b",":
        return Header()  # no frame
    left, top, frame_width, frame_height = (
        int.from_bytes(data[at + start : at + start + 2], "little") for start in (1, 3, 5, 7)
    )
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    # What the frame leaves behind for the next one is filled in as the file is opened.
    return Header(width, height, pixel=1, colour=False, while_decoding=width * height, while_open=width * height)


def webp_header(data: bytes) -> Header:
    """Read the size of a WebP's canvas, which no frame exceeds, from its first chunk (RFC 9649)."""
    chunk, head = data[12:16], data[20:30].ljust(10, b"\0")
    width = height = 0
    if chunk == b"VP8X":
        width, height = int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    elif chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    canvas = 4 * width * height
    # The decoder keeps two canvases, still pictures too; Pillow copies one out before it copies that into an image.
    return Header(width, height, while_decoding=3 * canvas, while_open=2 * canvas)
