"""Memory that photographs of few bytes and many pixels take, in `query`, `build-index` and `predict`.

    python benchmarks/prove/photographs.py [--scale 1] [--seed 0]

Makes photographs of every kind that is read: the largest that the budget of 300 MB admits, and larger ones that it must
refuse. Each command runs in a process of its own, with them and with ordinary photographs of 1024 x 1024; no peak of
resident memory may lie more than the budget and SLACK_MB above that with the ordinary ones, and no command may fail.
`--scale` is the share of the kinds that are priced one by one as queries. The last lines are the table's rows, `what |
trials | failures | minutes`; the exit code is 1 where anything failed.
"""

import csv
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from outcome import Tally, arguments, finish

BUDGET_MB = 300
SLACK_MB = 60  # of the C library's for each thread, and of what decoders of several sizes leave behind for it
ROWS = 120
PRICE = Path(sys.executable).parent / "price"
QUICK = 'members = ["kernel"]\nfolds = 3\n'
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its type of colour

Maker = Callable[[], bytes]


def png(width: int, height: int, depth: int, colour: int) -> bytes:
    """A PNG of zeros."""
    line, rows = 1 + (width * depth * CHANNELS[colour] + 7) // 8, io.BytesIO()
    packer = zlib.compressobj(1)
    for _ in range(0, line * height, 1 << 20):
        rows.write(packer.compress(bytes(1 << 20)))
    rows.write(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(range(256)) * 3), (b"tRNS", b"\0\x80")] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", rows.getvalue()), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def plain(mode: str, width: int, height: int, kind: str, **options: Any) -> bytes:
    """A picture of one colour; `frames` more where it is animated."""
    from PIL import Image

    buffer, picture = io.BytesIO(), Image.new(mode, (width, height))
    if frames := options.pop("frames", 0):
        options |= {"save_all": True, "append_images": [Image.new(mode, (width, height), 1)] * frames}
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def ordinary(seed: int) -> bytes:
    """A photograph as shops have it."""
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((1024, 1024)).save(buffer, "JPEG")
    return buffer.getvalue()


FAST = {"lossless": True, "quality": 0, "method": 0}
KINDS: dict[str, Maker] = {
    "png-colours": lambda: png(6300, 6300, 8, 2),
    "png-16-bit-colours": lambda: png(6300, 6300, 16, 2),
    "png-16-bit-grey": lambda: png(6000, 6000, 16, 0),
    "png-alpha": lambda: png(5400, 5400, 8, 6),
    "png-alpha-over": lambda: png(6300, 6300, 8, 6),
    "png-palette": lambda: png(5400, 5400, 8, 3),
    "png-column": lambda: png(10, 1_200_000, 8, 0),
    "png-column-over": lambda: png(1, 39_000_000, 1, 0),
    "png-row-over": lambda: png(39_000_000, 1, 16, 6),
    "png-animated": lambda: plain("RGB", 5000, 5000, "PNG", frames=1),
    "gif": lambda: plain("P", 5000, 5000, "GIF", transparency=0),
    "gif-animated": lambda: plain("P", 5000, 5000, "GIF", frames=2, disposal=2, transparency=0),
    "webp": lambda: plain("RGB", 4000, 4000, "WEBP", method=0),
    "webp-over": lambda: plain("RGB", 6300, 6300, "WEBP", method=0),
    "webp-lossless-alpha": lambda: plain("RGBA", 4000, 4000, "WEBP", **FAST),
    "webp-animated": lambda: plain("RGBA", 4000, 4000, "WEBP", frames=1, **FAST),
    "jpeg": lambda: plain("RGB", 6300, 6300, "JPEG"),
    "jpeg-progressive": lambda: plain("RGB", 6300, 6300, "JPEG", progressive=True, subsampling=0),
    "jpeg-progressive-cmyk": lambda: plain("CMYK", 5500, 5500, "JPEG", progressive=True, subsampling=0),
    "jpeg-progressive-cmyk-over": lambda: plain("CMYK", 6300, 6300, "JPEG", progressive=True, subsampling=0),
    "jpeg-narrow": lambda: plain("RGB", 600, 65_000, "JPEG"),
}


def make(maker: Maker, path: Path) -> Path:
    """Write a photograph from a process of its own: what this one ever held counts as its children's."""
    child = os.fork()
    if not child:
        path.write_bytes(maker())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, path
    return path


def peak(*arguments: object) -> tuple[float, str]:
    """The peak of `price ARGUMENTS` in MB of resident memory; and how it failed, "" where it did not."""
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen([PRICE, *map(str, arguments), "--json"], stdout=subprocess.DEVNULL, stderr=stderr)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        stderr.seek(0)
        said = stderr.read().decode(errors="replace").strip().splitlines()
    unit = 1 if sys.platform == "darwin" else 1024
    fault = f"exit {child.returncode}: {said[-1] if said else ''}" if child.returncode else ""
    return used.ru_maxrss * unit / 1e6, fault


class Row:
    """One row of the table: trials of a command, against its peak with ordinary photographs."""

    def __init__(self, what: str, *arguments: object) -> None:
        self._what, self._most, self.tally = what, 0.0, Tally(what)
        self._ordinary, fault = peak(*arguments)
        assert not fault, fault

    def add(self, name: str, *arguments: object) -> None:
        """Run the command with other photographs."""
        used, fault = peak(*arguments)
        above = used - self._ordinary
        self._most = max(self._most, above)
        found = f"{name}: {above:+.0f} MB {fault}"
        self.tally.what = self._what
        self.tally.add(found if fault or above > BUDGET_MB + SLACK_MB else "")
        self.tally.what = f"{self._what}, at most {self._most:+.0f} MB"
        print(f"{self._what} {found}", flush=True)


def write_catalogue(path: Path) -> Path:
    """ROWS made-up items with a photograph each, named by its number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("sample_id", "catalog_content", "image_link", "price"))
        for number in range(ROWS):
            kind = ("tea", "rope", "soap", "lamp", "honey", "paper")[number % 6]
            name = f"Made-up {kind} {chr(97 + number // 26)}{chr(97 + number % 26)}, {number % 9 + 1} oz"
            writer.writerow((number, name, f"{number}.jpg", 2 + number % 7 + number % 6))
    return path


def prove(scale: float, seed: int, folder: Path) -> Iterator[Row]:
    """Make the photographs below `folder` and run the three commands with them."""
    many = {name: make(maker, folder / name) for name, maker in KINDS.items()}
    catalogue, settings = write_catalogue(folder / "catalogue.csv"), folder / "price.toml"
    settings.write_text(QUICK, encoding="utf-8")
    paths = list(many.values())
    images = {"ordinary": folder / "ordinary", "many": folder / "many"}
    for image_dir in images.values():
        image_dir.mkdir()
    for number in range(ROWS):
        make(partial(ordinary, number), images["ordinary"] / f"{number}.jpg")
        data = paths[number % len(paths)].read_bytes() + b"%d" % number  # what follows a picture is not looked at
        (images["many"] / f"{number}.jpg").write_bytes(data)

    def build(name: str) -> tuple[object, ...]:
        return ("build-index", catalogue, "--image-dir", images[name], "--index", folder / name / "index", "--config",
                settings)  # fmt: skip

    row = Row("memory of build-index above ordinary photographs", *build("ordinary"))
    row.add("of all kinds", *build("many"))
    yield row
    index = folder / "ordinary" / "index"

    def query(image: Path) -> tuple[object, ...]:
        return "query", "Made-up tea, 4 oz", "--image", image, "--index", index

    row = Row("memory of query above an ordinary photograph", *query(images["ordinary"] / "0.jpg"))
    drawn = random.Random(seed).sample(sorted(many), max(1, round(scale * len(many))))  # noqa: S311 - hides nothing
    for name in drawn:
        row.add(name, *query(many[name]))
    yield row

    def predict(name: str) -> tuple[object, ...]:
        return ("predict", catalogue, "-o", folder / f"{name}.csv", "--image-dir", images[name], "--index", index)

    row = Row("memory of predict above ordinary photographs", *predict("ordinary"))
    row.add("of all kinds", *predict("many"))
    yield row


def main() -> None:
    """Print the table; exit with 1 where anything failed."""
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(prove(min(given.scale, 1.0), given.seed, Path(folder)))
    finish(row.tally for row in rows)


if __name__ == "__main__":
    main()
