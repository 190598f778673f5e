"""Broken, hostile and merely odd photographs, all made here: what is read, and what is refused and why."""

import gzip
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from index.photographs.decode import LONGEST_SIDE, MAX_PIXELS, decode
from index.photographs.formats import MAX_BYTES, ImageRefused, Reason

# --- making images ---------------------------------------------------------------------------------------------------

RED, BLUE = (200, 30, 40), (20, 60, 220)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """The left half red, the right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand: what no library would write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_bomb() -> bytes:
    """144 megapixels, whole and valid, in some 20 kilobytes."""
    return png(12_000, 12_000, 1, 0, bytes(12_000 * (1 + 1_500)))


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """Overwrite the size in a JPEG's frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def without(data: bytes, marker: bytes) -> bytes:
    """Take one marker's segment out of a JPEG."""
    at = data.index(marker)
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    return data[:at] + data[at + 2 + length :]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated a thousand times."""
    data = encoded(noise(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + b"\xff\xd9"


def two_frame_headers() -> bytes:
    """A second, enormous frame header behind a modest one."""
    data = encoded(noise(), "JPEG")
    at = data.index(b"\xff\xc0")
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    segment = data[at : at + 2 + length]
    huge = segment[:5] + struct.pack(">HH", 12_000, 12_000) + segment[9:]
    return data[: at + 2 + length] + huge + data[at + 2 + length :]


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF by hand whose one frame has no pixels worth the name."""
    palette = b"\x80\0\0" + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0"
    return b"GIF89a" + struct.pack("<HH", *screen) + palette + image + b";"


def webp(name: bytes, body: bytes) -> bytes:
    payload = b"WEBP" + name + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def webp_canvas(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(20))


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(20))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


# --- what is refused -------------------------------------------------------------------------------------------------

N, U, T, D = Reason.NOT_AN_IMAGE, Reason.UNSUPPORTED_FORMAT, Reason.TRUNCATED, Reason.DAMAGED
P, S, L = Reason.TOO_MANY_PIXELS, Reason.TOO_MANY_SCANS, Reason.TOO_LARGE
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"

REFUSED: dict[str, tuple[Callable[[], bytes], Reason]] = {
    "empty": (lambda: b"", Reason.EMPTY),
    "one byte": (lambda: b"\xff", N),
    "zeros": (lambda: bytes(4096), N),
    "text": (lambda: b"a photograph of a cat", N),
    "web page": (lambda: b"<!DOCTYPE html><html><body><svg></svg></body></html>", N),
    "json": (lambda: b'{"error": "no such image"}', N),
    "pdf": (lambda: b"%PDF-1.7\n", N),
    "program": (lambda: b"\x7fELF" + bytes(64), N),
    "archive": (lambda: b"PK\x03\x04" + bytes(64), N),
    "compressed jpeg": (lambda: gzip.compress(encoded(noise(), "JPEG")), N),
    "riff that is sound": (lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(32), N),
    "almost a gif": (lambda: b"GIF88a" + bytes(64), N),
    "svg": (lambda: SVG, U),
    "svg with declaration": (lambda: b'<?xml version="1.0"?>\n<!-- x -->\n' + SVG, U),
    "svg with mark and space": (lambda: b"\xef\xbb\xbf \n\t" + SVG.upper(), U),
    "eps": (lambda: EPS, U),
    "eps for dos": (lambda: b"\xc5\xd0\xd3\xc6" + bytes(26) + EPS, U),
    "tiff": (lambda: encoded(noise(), "TIFF"), U),
    "tiff, big-endian": (lambda: b"MM\0*" + bytes(64), U),
    "tiff, big": (lambda: b"II+\0" + bytes(64), U),
    "bmp": (lambda: encoded(noise(), "BMP"), U),
    "icon": (lambda: encoded(noise(), "ICO"), U),
    "photoshop": (lambda: b"8BPS\0\1" + bytes(64), U),
    "avif": (lambda: b"\0\0\0\x20ftypavif" + bytes(64), U),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), U),
    "jpeg xl": (lambda: b"\0\0\0\x0cJXL \r\n\x87\n", U),
    "jpeg xl, bare": (lambda: b"\xff\x0a" + bytes(64), U),
    "jpeg 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n", U),
    "jpeg: magic alone": (lambda: b"\xff\xd8\xff", T),
    "jpeg: half": (lambda: half(encoded(noise(), "JPEG")), T),
    "jpeg: last tenth gone": (lambda: (data := encoded(noise(), "JPEG"))[: len(data) * 9 // 10], T),
    "jpeg: progressive half": (lambda: half(encoded(noise(), "JPEG", progressive=True)), T),
    "jpeg: half of a large one": (lambda: half(encoded(noise(2100, 1500), "JPEG")), T),
    "jpeg: then a web page": (lambda: b"\xff\xd8\xff\xe0<html>not found</html>", T),
    "jpeg: no tables": (lambda: without(encoded(noise(), "JPEG"), b"\xff\xdb"), D),
    "jpeg: no frame header": (lambda: without(encoded(noise(), "JPEG"), b"\xff\xc0"), D),
    "jpeg: no width": (lambda: with_jpeg_size(encoded(noise(), "JPEG"), 0, 48), D),
    "jpeg: no height": (lambda: with_jpeg_size(encoded(noise(), "JPEG"), 64, 0), D),
    "jpeg: bomb": (lambda: with_jpeg_size(encoded(noise(), "JPEG"), 65_000, 65_000), P),
    "jpeg: just over": (lambda: with_jpeg_size(encoded(noise(), "JPEG"), 8_000, 5_001), P),
    "jpeg: second frame header": (two_frame_headers, P),
    "jpeg: thousand scans": (many_scans, S),
    "jpeg: ten megabytes": (lambda: encoded(noise(), "JPEG").ljust(MAX_BYTES + 1, b"\0"), L),
    "png: magic alone": (lambda: b"\x89PNG\r\n\x1a\n", T),
    "png: half": (lambda: half(encoded(noise(), "PNG")), T),
    "png: cut in the header": (lambda: encoded(noise(), "PNG")[:20], T),
    "png: header checksum": (lambda: (data := encoded(noise(), "PNG"))[:30] + b"\xee" + data[31:], D),
    "png: no pixels": (lambda: png(0, 0, 8, 2, b""), D),
    "png: rows missing": (lambda: png(64, 64, 8, 2, bytes(100)), D),
    "png: depth of three": (lambda: png(8, 8, 3, 2, bytes(200)), D),
    "png: broken deflate": (lambda: encoded(noise(), "PNG").replace(b"IDATx", b"IDAT\xff"), D),
    "png: text bomb": (lambda: png(1, 1, 8, 2, bytes(4), (b"zTXt", b"a\0\0" + zlib.compress(bytes(60_000_000)))), D),
    "png: claims a gigapixel": (lambda: png(32_000, 32_000, 8, 6, bytes(100)), P),
    "png: bomb": (png_bomb, P),
    "gif: magic alone": (lambda: b"GIF89a", T),
    "gif: half": (lambda: half(encoded(noise(), "GIF")), T),
    "gif: script": (lambda: b"GIF89a=1;alert(1)//" + bytes(64) + b";", D),
    "gif: no frame": (lambda: b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0;", D),
    "gif: bomb": (lambda: gif((65_535, 65_535), (65_535, 65_535)), P),
    "gif: frame beyond its screen": (lambda: gif((8, 8), (10_000, 10_000)), P),
    "webp: magic alone": (lambda: b"RIFF\xff\0\0\0WEBP", T),
    "webp: half": (lambda: half(encoded(noise(), "WEBP")), T),
    "webp: garbage": (lambda: webp(b"JUNK", bytes(64)), D),
    "webp: canvas bomb": (lambda: webp_canvas(1 << 24, 1 << 24), P),
    "webp: lossless bomb": (lambda: webp_lossless(16_384, 16_384), P),
    "webp: lossy bomb": (lambda: webp_lossy(16_383, 16_383), P),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_image_is_refused_with_its_reason(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(ImageRefused) as refusal:
        decode(make())
    assert refusal.value.reason is reason


def test_there_are_sixty_bad_images() -> None:
    assert len(REFUSED) >= 60


@pytest.mark.parametrize("name", [name for name, (_, reason) in REFUSED.items() if reason in (P, S, L)])
def test_a_bomb_is_refused_before_anything_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    if name.startswith("webp"):  # its decoder makes room for the canvas when the file is opened
        monkeypatch.setattr(Image, "open", explode)
    with pytest.raises(ImageRefused):
        decode(REFUSED[name][0]())


def test_forty_megapixels_are_read_and_shrunk() -> None:
    assert MAX_PIXELS == 8_000 * 5_000
    assert decode(png(8_000, 5_000, 1, 0, bytes(5_000 * 1_001))).shape == (640, 1024, 3)


def test_a_jpeg_is_cut_short_wherever_it_is_cut() -> None:
    data = encoded(noise(256, 256), "JPEG")
    for length in range(700, len(data) - 2, 997):
        with pytest.raises(ImageRefused) as refusal:
            decode(data[:length])
        assert refusal.value.reason is Reason.TRUNCATED, length


# --- what is odd, and read -------------------------------------------------------------------------------------------


def sixteen_bit_grey() -> bytes:
    ramp = np.repeat(np.array([[0x1234, 0xFEDC]], np.uint16), 32, axis=1)
    return encoded(Image.fromarray(np.repeat(ramp, 48, axis=0)), "PNG")


def sixteen_bit_colour() -> bytes:
    row = b"\0" + struct.pack(">3H", *(value << 8 | 7 for value in RED)) * 32
    row += struct.pack(">3H", *(value << 8 | 7 for value in BLUE)) * 32
    return png(64, 48, 16, 2, row * 48)


def see_through(mode: str) -> Image.Image:
    """Left: the picture's red; right: wholly transparent, and black beneath."""
    image = picture().convert(mode)
    image.paste(Image.new(mode, (32, 48), 0), (32, 0))
    return image


def keyed_palette() -> bytes:
    image = Image.new("P", (64, 48), 0)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(1, (32, 0, 64, 48))
    return encoded(image, "PNG", transparency=b"\xff\x00")


def animated(kind: str, **options: Any) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=[Image.new("RGB", (64, 48), "lime")] * 2, **options)


def corrupt_exif() -> bytes:
    data = encoded(picture(), "JPEG", exif=exif(6), quality=95)
    at = data.index(b"MM\0*") if b"MM\0*" in data else data.index(b"II*\0")
    return data[: at + 4] + b"\xff\xff\xff\xf0" + data[at + 8 :]


WHITE = (255, 255, 255)

READ: dict[str, tuple[Callable[[], bytes], tuple[int, ...], tuple[int, ...]]] = {
    "jpeg": (lambda: encoded(picture(), "JPEG", quality=95), RED, BLUE),
    "jpeg, progressive": (lambda: encoded(picture(), "JPEG", quality=95, progressive=True), RED, BLUE),
    "jpeg, grey": (lambda: encoded(picture().convert("L"), "JPEG", quality=95), (82,) * 3, (66,) * 3),
    "jpeg, cmyk": (lambda: encoded(picture().convert("CMYK"), "JPEG", quality=95), RED, BLUE),
    "jpeg, several pictures": (lambda: animated("MPO", quality=95), RED, BLUE),
    "jpeg, and more behind": (lambda: encoded(picture(), "JPEG", quality=95) + b"<script>" * 100, RED, BLUE),
    "jpeg, unreadable exif": (corrupt_exif, RED, BLUE),
    "png, 16-bit grey": (sixteen_bit_grey, (0x12,) * 3, (0xFE,) * 3),
    "png, 16-bit colour": (sixteen_bit_colour, RED, BLUE),
    "png, one bit": (lambda: encoded(Image.new("1", (64, 48), 1), "PNG"), WHITE, WHITE),
    "png, palette": (lambda: encoded(picture().quantize(4), "PNG"), RED, BLUE),
    "png, palette with alpha": (keyed_palette, RED, WHITE),
    "png, grey with alpha": (lambda: encoded(see_through("LA"), "PNG"), (82,) * 3, WHITE),
    "png, alpha": (lambda: encoded(see_through("RGBA"), "PNG"), RED, WHITE),
    "png, one clear colour": (lambda: encoded(picture(), "PNG", transparency=BLUE), RED, WHITE),
    "png, one clear grey of 16 bits": (
        lambda: png(64, 48, 16, 0, (b"\0" + b"\x12\x34" * 32 + b"\x56\x78" * 32) * 48, (b"tRNS", b"\x56\x78")),
        (0x12,) * 3,
        WHITE,
    ),
    "png, animated": (lambda: animated("PNG"), RED, BLUE),
    "png, broken animation": (
        lambda: png(1, 1, 8, 2, b"\0" + bytes(RED), (b"acTL", bytes(8))),
        RED,
        RED,
    ),
    "gif": (lambda: encoded(picture().quantize(4), "GIF"), RED, BLUE),
    "gif, animated": (lambda: animated("GIF"), RED, BLUE),
    "gif, clear": (lambda: encoded(see_through("RGBA"), "GIF"), RED, WHITE),
    "webp": (lambda: encoded(picture(), "WEBP", quality=95), RED, BLUE),
    "webp, lossless": (lambda: encoded(picture(), "WEBP", lossless=True), RED, BLUE),
    "webp, alpha": (lambda: encoded(see_through("RGBA"), "WEBP", lossless=True), RED, WHITE),
    "webp, animated": (lambda: animated("WEBP", lossless=True), RED, BLUE),
}


@pytest.mark.parametrize("name", READ)
def test_an_odd_image_is_read_as_it_looks(name: str) -> None:
    make, left, right = READ[name]
    pixels = decode(make())
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    middle = pixels.shape[0] // 2
    np.testing.assert_allclose(pixels[middle, 0], left, atol=8)
    np.testing.assert_allclose(pixels[middle, -1], right, atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_brings_the_picture_upright(kind: str, orientation: int) -> None:
    """Every stored form, made by undoing the turn, must come back as the one upright picture."""
    upright = picture()
    upright.paste((250, 250, 0), (0, 0, 32, 24))  # a yellow corner, so that no two of the eight are alike
    back = [None, 0, 3, 1, 5, 2, 6, 4]  # Image.Transpose that undoes orientation 1..8
    undo = back[orientation - 1]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    pixels = decode(encoded(stored, kind, exif=exif(orientation), quality=95))
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(upright)).mean() < 4  # the seven wrong ones are off by 40 and more


def test_a_small_photograph_is_exactly_what_pillow_alone_decodes() -> None:
    data = encoded(noise(384, 300), "JPEG")
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_photograph_is_shrunk_and_keeps_its_look(kind: str) -> None:
    pixels = decode(encoded(picture(3000, 2000), kind))
    assert pixels.shape == (683, LONGEST_SIDE, 3)
    np.testing.assert_allclose(pixels[300, 100], RED, atol=6)
    np.testing.assert_allclose(pixels[300, -100], BLUE, atol=6)


def test_a_large_jpeg_is_scaled_down_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> Any:
        loaded = load(image)
        sizes.append(image.size)
        return loaded

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    assert decode(encoded(picture(4800, 4800), "JPEG")).shape == (LONGEST_SIDE, LONGEST_SIDE, 3)
    assert sizes[0] == (1200, 1200)


def test_pillows_warnings_do_not_come_through_as_errors() -> None:
    data = READ["png, broken animation"][0]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.warns(UserWarning, match="APNG"):  # the file does make Pillow warn
            warnings.simplefilter("always")
            Image.open(io.BytesIO(data)).close()
        warnings.simplefilter("error")
        decode(data)
