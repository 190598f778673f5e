"""Claims about the memory of decoding: reckoned before there are pixels, shared by all threads, and enough."""

import gc
import io
import itertools
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from index.photographs import decode as decoding
from index.photographs.decode import decode
from index.photographs.formats import ImageRefused, Reason
from index.photographs.headers import gif_header, png_header, webp_header
from index.photographs.memory import DECODING_BYTES, MemoryBudget

# --- images of few bytes and many pixels -----------------------------------------------------------------------------

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
CLEAR = {0: bytes(2), 2: bytes(6), 3: b"\x00\x80"}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, *extra: tuple[bytes, bytes]) -> bytes:
    rows = zlib.compress(bytes(height * (1 + (width * depth * CHANNELS[colour] + 7) // 8)), 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, *extra, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def clear(width: int, height: int, depth: int, colour: int) -> bytes:
    return png(width, height, depth, colour, (b"tRNS", CLEAR[colour]))


def encoded(mode: str, width: int, height: int, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(mode: str, width: int, height: int, kind: str, **options: Any) -> bytes:
    frame = Image.new(mode, (width, height), 1)
    return encoded(mode, width, height, kind, save_all=True, append_images=[frame], **options)


LOSSLESS = {"lossless": True, "quality": 0, "method": 0}
MANY: dict[str, Callable[[int], bytes]] = {
    **{
        f"png, {name}": lambda side, depth=depth, colour=colour: png(side, side, depth, colour)
        for name, depth, colour in [
            ("1 bit", 1, 0), ("grey", 8, 0), ("16-bit grey", 16, 0), ("colours", 8, 2), ("16-bit colours", 16, 2),
            ("palette", 8, 3), ("grey, alpha", 8, 4), ("16-bit grey, alpha", 16, 4), ("alpha", 8, 6),
            ("16-bit alpha", 16, 6),
        ]
    },
    **{
        f"png, {name}, clear": lambda side, depth=depth, colour=colour: clear(side, side, depth, colour)
        for name, depth, colour in [("1 bit", 1, 0), ("16-bit grey", 16, 0), ("colours", 8, 2), ("palette", 8, 3)]
    },
    "png, a column": lambda side: png(1, side * side, 8, 0),
    "png, a row": lambda side: png(side * side, 1, 16, 6),
    "png, animated": lambda side: animated("RGBA", side, side, "PNG"),
    "png, texts": lambda side: png(
        side, side, 8, 0,
        *((b"iTXt", b"%d\0\1\0\0\0" % n + zlib.compress("\U0001f34b".encode() + bytes(900_000))) for n in range(10)),
    ),
    "gif": lambda side: encoded("P", side, side, "GIF", transparency=0),
    "gif, animated": lambda side: animated("P", side, side, "GIF", transparency=0, disposal=2),
    "webp": lambda side: encoded("RGB", side, side, "WEBP", method=0),
    "webp, lossless": lambda side: encoded("RGB", side, side, "WEBP", **LOSSLESS),
    "webp, alpha": lambda side: encoded("RGBA", side, side, "WEBP", method=0),
    "webp, animated": lambda side: animated("RGBA", side, side, "WEBP", **LOSSLESS),
    "jpeg": lambda side: encoded("RGB", side, side, "JPEG"),
    "jpeg, progressive": lambda side: encoded("RGB", side, side, "JPEG", progressive=True, subsampling=0),
    "jpeg, progressive grey": lambda side: encoded("L", side, side, "JPEG", progressive=True),
    "jpeg, progressive cmyk": lambda side: encoded("CMYK", side, side, "JPEG", progressive=True, subsampling=0),
    "jpeg, narrow": lambda side: encoded("CMYK", side * side // 60_000, 60_000, "JPEG"),
}  # fmt: skip


class Reckoned(MemoryBudget):
    """A budget that notes what is taken from it."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.sizes: list[int] = []

    def hold(self, size: int) -> Any:
        self.sizes.append(size)
        return super().hold(size)


def limit(monkeypatch: pytest.MonkeyPatch, total: int) -> Reckoned:
    budget = Reckoned(total)
    monkeypatch.setattr(decoding, "DECODING", budget)
    return budget


@pytest.fixture(scope="module")
def many() -> dict[str, bytes]:
    """Each kind of photograph, of two and a half million pixels."""
    return {name: make(1600) for name, make in MANY.items()}


# --- what one takes --------------------------------------------------------------------------------------------------

MEASURE = """
import os, sys
import numpy, PIL.GifImagePlugin, PIL.JpegImagePlugin, PIL.PngImagePlugin, PIL.WebPImagePlugin
from index.photographs import decode as decoding, memory

class Reckoned(decoding.MemoryBudget):
    def hold(self, size):
        print(size)
        return super().hold(size)

def peak(data):
    child = os.fork()
    if child == 0:
        if data:
            decoding.decode(data)
        sys.stdout.flush()
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_maxrss * 1024

decoding.DECODING = Reckoned(10**12)
memory._OVERHEAD //= 2  # so that a copy of the pixels that was forgotten shows
least = peak(b"")
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        data = file.read()
    print(peak(data) - least, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured in a fork, in Linux's units")
def test_no_kind_of_photograph_takes_more_memory_than_was_reckoned(tmp_path: Path, many: dict[str, bytes]) -> None:
    reckoned, taken = measured(tmp_path, many)
    assert taken["webp"] > 16 * 1600**2  # it does measure
    for _ in range(2):  # pages that a busy machine takes back and forth count too, now and then: what stays is ours
        above = {name: many[name] for name in many if taken[name] > reckoned[name]}
        taken |= measured(tmp_path, above)[1] if above else {}
    assert {name: (taken[name], reckoned[name]) for name in many if taken[name] > reckoned[name]} == {}


def measured(folder: Path, photographs: dict[str, bytes]) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes that decoding each photograph was reckoned to take, and took."""
    paths = [folder / str(number) for number in range(len(photographs))]
    for path, data in zip(paths, photographs.values(), strict=True):
        path.write_bytes(data)
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, *map(str, paths)]
    root = Path(__file__).parents[3]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, timeout=300).stdout
    figures = list(map(int, output.split()))
    reckoned, taken = (dict(zip(photographs, figures[start::2], strict=True)) for start in (0, 1))
    return reckoned, taken


def test_a_column_of_39_million_pixels_is_refused_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    column = png(1, 39_000_000, 8, 0)
    monkeypatch.setattr(Image, "open", explode)
    with pytest.raises(ImageRefused, match=r"too many pixels: 1 x 39000000, \d+ MB to decode") as refusal:
        decode(column)
    assert refusal.value.reason is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", MANY)
def test_what_takes_more_than_all_may_take_is_refused_before_a_pixel_is_decoded(
    name: str, many: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise OSError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", stop)
    budget = limit(monkeypatch, 10**12)
    with pytest.raises(ImageRefused, match="damaged"):
        decode(many[name])
    for total, reason in ((budget.sizes[0], "damaged"), (budget.sizes[0] - 1, "too many pixels")):
        limit(monkeypatch, total)
        with pytest.raises(ImageRefused, match=reason):
            decode(many[name])


@pytest.mark.parametrize(
    ("kind", "width", "height"), [("PNG", 6000, 4000), ("JPEG", 8000, 5000), ("WEBP", 4000, 4000), ("GIF", 5000, 4000)]
)
def test_what_a_camera_takes_fits_into_the_budget(
    kind: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = limit(monkeypatch, DECODING_BYTES)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: (_ for _ in ()).throw(OSError))
    header = {
        "PNG": lambda: png(8, 8, 8, 6).replace(struct.pack(">II", 8, 8), struct.pack(">II", width, height), 1),
        "JPEG": lambda: with_jpeg_size(encoded("RGB", 64, 64, "JPEG", progressive=True, subsampling=0), width, height),
        "WEBP": lambda: webp_of_size(width, height),
        "GIF": lambda: encoded("P", 8, 8, "GIF").replace(struct.pack("<HH", 8, 8), struct.pack("<HH", width, height)),
    }[kind]()
    with pytest.raises(ImageRefused, match=r"damaged|truncated"):
        decode(header)
    assert len(budget.sizes) == 1


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp_of_size(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    payload = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def test_a_narrow_jpeg_is_decoded_at_an_eighth(many: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    budget = limit(monkeypatch, DECODING_BYTES)
    assert decode(many["jpeg, narrow"]).shape == (1024, 1, 3)
    assert budget.sizes[0] < 30_000_000


def test_a_thumbnail_in_the_metadata_of_a_jpeg_is_not_another_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = limit(monkeypatch, DECODING_BYTES)
    data = encoded("RGB", 3000, 3000, "JPEG")
    thumbnail = b"Exif\0\0" + encoded("RGB", 64, 64, "JPEG")
    decode(data)
    decode(data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:])
    assert budget.sizes[1] - budget.sizes[0] == 3 * (len(thumbnail) + 4)


SCREEN = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0)

# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(7, 5, 8, 2), (7, 5)),
        (animated("RGB", 7, 5, "PNG"), (7, 5)),
        (encoded("P", 7, 5, "GIF", comment=b"a, comment!" * 50), (7, 5)),
        (SCREEN + b"," + struct.pack("<HHHHB", 2, 3, 900, 800, 0), (902, 803)),
        (SCREEN + b"!\xfe\x01,\0,", (8, 8)),
        (encoded("RGB", 7, 5, "WEBP"), (7, 5)),
        (encoded("RGBA", 7, 5, "WEBP"), (7, 5)),
        (encoded("RGB", 7, 5, "WEBP", lossless=True), (7, 5)),
        (animated("RGB", 7, 5, "WEBP"), (7, 5)),
    ],
)  # fmt: skip
def test_the_size_is_read_from_the_header(data: bytes, size: tuple[int, int]) -> None:
    read = {b"\x89P": png_header, b"GI": gif_header, b"RI": webp_header}[data[:2]]
    header = read(data)
    assert (header.width, header.height) == size


@pytest.mark.parametrize("read", [png_header, gif_header, webp_header])
def test_a_header_that_is_cut_anywhere_has_a_size_or_none_and_never_fails(read: Callable[[bytes], Any]) -> None:
    for data in (png(7, 5, 8, 3), animated("P", 7, 5, "GIF"), encoded("RGBA", 7, 5, "WEBP", lossless=True)):
        for length in range(len(data)):
            header = read(data[:length])
            assert header.width >= 0 and header.height >= 0


def test_a_png_of_two_headers_is_refused() -> None:
    small = png(8, 8, 8, 2)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 6000, 6000, 8, 2, 0, 0, 0))
    with pytest.raises(ImageRefused, match="damaged: two headers"):
        decode(small[:33] + header + small[33:])


def test_a_refusal_keeps_no_pixels() -> None:
    broken = encoded("RGBA", 640, 480, "WEBP", lossless=True)
    broken = broken[:-40] + bytes(20) + broken[-20:]
    cut = encoded("RGB", 640, 480, "PNG")[:-40]
    refusals = []
    for data in (broken, cut):
        with pytest.raises(ImageRefused) as refusal:
            decode(data)
        refusals.append(refusal.value)
    held = itertools.chain.from_iterable((error.__cause__, error.__context__) for error in refusals)
    assert list(held) == [None] * 4
    gc.collect()
    assert not [image for image in gc.get_objects() if issubclass(type(image), ImageFile.ImageFile)]


# --- what all take ---------------------------------------------------------------------------------------------------


def test_threads_never_hold_more_than_the_budget_and_all_come_to_an_end() -> None:
    budget = MemoryBudget(10)
    lock, held, most = threading.Lock(), 0, 0

    def work(size: int) -> None:
        nonlocal held, most
        with budget.hold(size):
            with lock:
                held += size
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 10, 3, 7, 2, 9, 10, 4, 4, 4] * 8, timeout=60))
    assert held == 0
    assert 8 <= most <= 10


def test_a_large_one_is_not_passed_by_small_ones_that_came_later() -> None:
    budget = MemoryBudget(10)
    order: list[str] = []

    def take(name: str, size: int) -> None:
        with budget.hold(size):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with budget.hold(5):
            large = pool.submit(take, "large", 10)
            while not budget._line:
                time.sleep(0.001)
            small = pool.submit(take, "small", 1)
            while len(budget._line) < 2:
                time.sleep(0.001)
            assert not large.done() and not small.done()
        for future in (large, small):
            future.result(60)
    assert order == ["large", "small"]


def test_a_photograph_that_fails_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = limit(monkeypatch, 30_000_000)
    cut = encoded("RGB", 640, 480, "PNG")[:-40]
    for _ in range(5):
        with pytest.raises(ImageRefused, match="truncated"):
            decode(cut)
    with budget.hold(budget.total):
        pass
    assert len(budget.sizes) == 6


def test_decoders_wait_for_each_other_and_read_what_each_reads_alone(
    many: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [many[name] for name in ("jpeg", "jpeg, progressive", "png, colours", "gif", "webp")]
    alone = [decode(data).tobytes() for data in images]
    limit(monkeypatch, 70_000_000)  # one at a time, or two small ones
    with ThreadPoolExecutor(4) as pool:
        assert [pixels.tobytes() for pixels in pool.map(decode, images)] == alone
