"""Disks that fill up and memory that runs short, at many sizes: what a command says, and what it leaves.

    python benchmarks/prove/disk_and_memory.py [--scale 1] [--seed 0] [--only remove]

Every trial is a command of its own over a copy of one small index: build-index, add, remove, compact and predict on a
disk with so much room (a file system in memory where this may mount one, else a limit on the size of a file), and
query, add, remove, predict and build-index with so much address space (as `ulimit -v` sets it). It must end with exit
code 0, or with 1 and one sentence, whatever the size; never by a signal, a traceback or not at all. Where it failed,
the index is the same to the byte, nothing half-done lies beside it, and on the disk the same command ends well once
there is room.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from outcome import Tally, arguments, finish, scaled

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds that a command may take
SIZES = 10  # of disks, and of memories, that each command is tried on
SMALLEST, LARGEST = 40 * 2**20, 6 * 2**30  # bytes of address space
SPARE = 1.3  # times the room that a command takes where nothing is short, up to which it is tried
SETTINGS = """
folds = 3
[mlp]
members = 1
width = 16
[mlp.fit]
epochs = 1
[lexical]
members = 1
width = 16
[lexical.fit]
epochs = 1
[gbdt]
rounds = 5
leaves = 4
"""
NEW = "sample_id,catalog_content,price\n" + "".join(
    f'new{i},"Item Name: Nilgiri {word} tea, 12 oz",{5 + i}\n' for i, word in enumerate(("smoky", "sweet", "mild"))
)


@dataclass(frozen=True)
class Shop:
    """A made-up catalogue, its index, and files for the commands."""

    folder: Path

    @property
    def index(self) -> Path:
        """Index that trials copy."""
        return self.folder / "index"

    def command(self, name: str, home: Path) -> list[str]:
        """Arguments of a command over the copy in `home`."""
        index = ["--index", str(home / "index")]
        shop = self.folder
        return {
            "build-index": ["build-index", str(shop / "catalogue.csv"), *index, "--config", str(shop / "price.toml")],
            "add": ["add", str(shop / "new.csv"), *index],
            "remove": ["remove", "--file", str(shop / "some.csv"), *index],
            "compact": ["compact", *index],
            "predict": ["predict", str(shop / "holdout.csv"), "-o", str(home / "prices.csv"), *index],
            "query": ["query", "Herbal tea, 16 count", *index],
        }[name]


def make_shop(folder: Path) -> Shop:
    """150 rows or so, and an index of them."""
    make = [sys.executable, str(ROOT / "examples" / "make_catalogue.py"), str(folder), "--rows", "150"]
    subprocess.run(make, check=True, capture_output=True)
    (folder / "price.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "new.csv").write_text(NEW, encoding="utf-8")
    shop = Shop(folder)
    built = run(shop.command("build-index", folder))
    assert built.returncode == 0, built.stderr
    ids = [line.partition(",")[0] for line in (folder / "catalogue.csv").read_text(encoding="utf-8").splitlines()]
    numbers = [item_id for item_id in ids if item_id.isalnum()]
    (folder / "some.csv").write_text("\n".join(["sample_id", *numbers[1:6]]) + "\n", encoding="utf-8")
    return shop


def run(arguments: list[str], limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """`price ARGUMENTS` in a process of its own, under a limit that it sets itself."""
    command = [sys.executable, "-c", "import cli; cli.main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            preexec_fn=limit,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, -1, "", f"no end within {late.timeout} s")


def seen(home: Path) -> dict[str, str]:
    """Hash of every file but those of the cache, which keeps what was encoded, and of a job that goes on."""
    kept = [path for path in sorted(home.rglob("*")) if path.is_file() and path.name != "lock"]
    names = {path.relative_to(home).as_posix(): path for path in kept}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if "/cache/" not in name and ".parts/" not in name
    }


def fault(ended: subprocess.CompletedProcess[str], before: dict[str, str], home: Path) -> str:
    """Name what a trial did not keep to, in a line; "" where it did."""
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    if ended.returncode == 0:
        return ""
    if ended.returncode != 1:
        return f"exit code {ended.returncode}: {' / '.join(lines[-2:])[:300]}"
    first = next((place for place, line in enumerate(lines) if line.startswith("price: ")), len(lines))
    if len(lines) - first != 1 or not lines[first].endswith("."):
        return f"not one sentence: {' / '.join(lines[max(0, len(lines) - 3) :])[:300]}"
    if noise := [line for line in lines[:first] if "Traceback" in line or "panicked" in line]:
        return f"more than a sentence: {noise[0][:200]}"
    after = seen(home)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"changed: {', '.join(changed[:4])}" if changed else ""


@contextmanager
def disk(room: int) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """A folder with so many bytes of room, and a limit for the child where there is no such disk."""
    with tempfile.TemporaryDirectory() as folder:
        size = -(-room // 4096) * 4
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], capture_output=True, check=False
        )
        if mount.returncode:
            yield Path(folder), partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
            return
        try:
            yield Path(folder), None
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def copied(shop: Shop, home: Path) -> dict[str, str]:
    """Copy the index, and say what is there."""
    shutil.copytree(shop.index, home / "index")
    return seen(home)


def used(folder: Path) -> int:
    """Bytes of the blocks that files take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


def try_disks(shop: Shop, name: str, sizes: int, draw: np.random.Generator) -> Tally:
    """One command on disks of several sizes, the smallest with no room at all."""
    with tempfile.TemporaryDirectory() as folder:
        copied(shop, Path(folder))
        before = used(Path(folder))
        assert run(shop.command(name, Path(folder))).returncode == 0
        takes = max(4096 * 25, used(Path(folder)) - before)
    tally = Tally(f"{name} on a disk that fills up")
    rooms = [0, 40 * 1024, *(int(draw.uniform(0, SPARE) * takes) for _ in range(sizes))][: max(2, sizes)]
    for room in rooms:
        with disk(before + room) as (home, limit):
            try:
                was = copied(shop, home)
            except OSError:
                tally.add(f"{room:,} bytes: the copy itself did not fit")
                continue
            ended = run(shop.command(name, home), limit)
            wrong = fault(ended, was, home)
            if not wrong and ended.returncode:
                wrong = again(shop, name, home)
            tally.add(f"{room:,} bytes of room: {wrong}" if wrong else "")
    return tally


def again(shop: Shop, name: str, home: Path) -> str:
    """Give the disk room and run the same command once more: what it does not keep to."""
    subprocess.run(["mount", "-o", "remount,size=1g", str(home)], capture_output=True, check=False)
    ended = run(shop.command(name, home))
    return "" if ended.returncode == 0 else f"with room again: exit code {ended.returncode}, {ended.stderr[-200:]}"


def try_memories(shop: Shop, name: str, sizes: int, draw: np.random.Generator) -> Tally:
    """One command with address spaces of several sizes."""
    tally = Tally(f"{name} with little memory")
    step = (LARGEST / SMALLEST) ** (1 / sizes)
    for number in range(sizes):
        space = int(SMALLEST * step ** (number + draw.random()))
        with tempfile.TemporaryDirectory() as folder:
            was = copied(shop, Path(folder))
            ended = run(
                shop.command(name, Path(folder)), partial(resource.setrlimit, resource.RLIMIT_AS, (space, space))
            )
            wrong = fault(ended, was, Path(folder))
            tally.add(f"{space // 2**20:,} MiB: {wrong}" if wrong else "")
    return tally


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", help="One command alone.")
    given = parser.parse_args()
    draw, sizes = np.random.default_rng(given.seed), scaled(SIZES, given.scale)
    with tempfile.TemporaryDirectory() as folder:
        shop = make_shop(Path(folder))
        work = [(try_disks, name) for name in ("build-index", "add", "remove", "compact", "predict")]
        work += [(try_memories, name) for name in ("query", "add", "remove", "predict", "build-index")]
        finish([trial(shop, name, sizes, draw) for trial, name in work if given.only in (None, name)])


if __name__ == "__main__":
    main()
