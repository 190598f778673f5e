"""Files that are written whole or not at all, hashed, and locked: each of these once.

It knows paths and bytes, and nothing of what they hold.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from io import BufferedReader
from pathlib import Path

from index.errors import IndexLocked
from index.threads import own_cores, thread_pool

PARTIAL = ".partial"  # the end of the name of what is not finished
OLD = ".old"  # the end of the name of a folder that another is taking the place of
MOST_HASHERS = 8  # threads


class NotRegular(OSError):
    """A folder, FIFO, device or socket where a file is needed. `strerror` is a phrase: `is a FIFO, not a file`."""


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def require_regular(path: Path | str) -> None:
    """Refuse what is no regular file without opening it: a FIFO would wait, a device may never end.

    Raises NotRegular, and OSError for a path that leads nowhere. Who opens the file itself uses `open_regular`.
    """
    _refuse_special(Path(path).stat(), path)


def open_regular(path: Path | str) -> BufferedReader:
    """Open a regular file for reading, whatever may take its place meanwhile. Raises as `require_regular` does."""
    require_regular(path)  # before it is opened: opening alone makes some devices act
    file: BufferedReader = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    try:
        _refuse_special(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _refuse_special(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of a special kind")
        raise NotRegular(errno.EINVAL, f"is {kind}, not a file", str(path))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes. Raises OSError, also for what is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(folder: Path, paths: Collection[str]) -> dict[str, str]:
    """Hex sha256 of the bytes of each file, by its path below `folder`. Raises OSError, as `sha256_file` does."""
    with thread_pool(min(MOST_HASHERS, own_cores())) as pool:  # hashlib lets go of the interpreter while it hashes
        return dict(zip(paths, pool.map(lambda path: sha256_file(folder / path), paths), strict=True))


def fsync(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Flush everything below a folder to the disk, before a name points at it."""
    for path in (*folder.rglob("*"), folder):
        fsync(path)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, which takes its place, flushed, when the block ends without an error."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        fsync(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, which takes its place, flushed, when the block ends without an error.

    An error leaves the old folder as it was. So does a kill, but for the moment between two renames, when the old one
    lies beside `path`: the next call brings it back.
    """
    partial, old = path.with_name(f".{path.name}{PARTIAL}"), path.with_name(f".{path.name}{OLD}")
    _bring_back(old, path)
    for leftover in (partial, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    partial.mkdir()
    try:
        yield partial
        fsync_tree(partial)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        fsync(path.parent)
    except BaseException:
        _bring_back(old, path)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)  # what cannot be removed now is removed by the next call


def _bring_back(old: Path, path: Path) -> None:
    if old.exists() and not path.exists():
        old.rename(path)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a finished file a second name; a copy where the disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, a file system without links, or too many of them
        shutil.copyfile(source, target)


@contextlib.contextmanager
def exclusive_lock(path: Path, busy: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock file `path`, made where it is not, until the block ends or the process dies.

    Raises IndexLocked at once where another process holds it, with the sentence that `busy` makes of who that is, and
    OSError where the file cannot be made or locked. The file itself stays: removing it is for who holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise IndexLocked(busy(_holder(path))) from None
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        lock.release()


def _holder(lock: Path) -> str:
    """Return who holds a lock, as the holder wrote it into the file: `process 1234`."""
    try:
        text = lock.read_bytes()[:20].decode("ascii", "replace").strip()
    except OSError:
        text = ""
    return f"process {text}" if text.isdigit() else "another process"
