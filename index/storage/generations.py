"""Open the current generation of an index for reading, and put a new one in its place.

    price-index/
      CURRENT            the name of the generation in force
      gen-000001/        a finished generation: nothing in it ever changes
      gen-000002.partial a build at work, or what a killed one left
      lock               held by the one process that may write; never removed
      cache/             encodings, kept from build to build

A build writes beside, renames, and swaps CURRENT last. So a killed build leaves the old generation in force, whatever
the moment, and a reader keeps the generation that it opened: one that somebody holds is never removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

from index.errors import IndexUnusable, UsageError
from index.files import PARTIAL, atomic_write, exclusive_lock, fsync, fsync_tree
from index.storage.layout import CACHE, CURRENT, LOCK, MANIFEST, photograph_cache

# CACHE, PARTIAL and photograph_cache until those who take them from here ask the layout and `index.files`.
__all__ = ["CACHE", "PARTIAL", "Hold", "current_generation", "hold_current", "photograph_cache", "writing"]

_FINISHED = re.compile(r"gen-([0-9]{6,})")
_ANY = re.compile(r"gen-([0-9]{6,})(\.partial)?")


def current_generation(index: Path) -> Path:
    """The folder of the generation in force. IndexUnusable says why there is none, and what to do."""
    build = f"`price build-index CATALOGUE --index {index}`"
    if not index.exists():
        raise IndexUnusable(f"There is no index at {index}: make one with {build}.")
    if not index.is_dir():
        raise IndexUnusable(f"{index} is a file, not an index: name the index's folder with --index.")
    if not (index / CURRENT).exists():
        if any(_ANY.fullmatch(entry.name) for entry in index.iterdir()):
            raise IndexUnusable(
                f"The index at {index} is half-built, because its first build has not finished: wait for it, or run "
                f"{build} again, which keeps the encoding already done."
            )
        raise IndexUnusable(f"{index} holds no index (there is no file {CURRENT} in it): make one with {build}.")
    name = _read_current(index)
    if not _FINISHED.fullmatch(name):
        raise IndexUnusable(f"{index / CURRENT} names no generation ({name[:40]!r}): run {build} again.")
    if not (index / name).is_dir():
        raise IndexUnusable(f"{index / CURRENT} names {name}, which is not there: run {build} again.")
    return index / name


class Hold:
    """A reader's hold on a generation: while this object lives, and its process, no writer removes the folder."""

    def __init__(self, folder: Path, handle: int | None) -> None:
        self.folder = folder
        if handle is not None:
            weakref.finalize(self, os.close, handle)


def hold_current(index: Path) -> Hold:
    """The generation in force, held for a reader. Raises IndexUnusable as `current_generation` does."""
    while True:
        folder = current_generation(index)
        try:
            handle = os.open(folder / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            if current_generation(index) == folder:
                return Hold(folder, None)  # what is wrong with it is said by who reads the manifest
            continue  # replaced and removed since its name was read
        hold = Hold(folder, handle)
        with contextlib.suppress(OSError):  # a disk without locks, where nobody can write either
            fcntl.flock(handle, fcntl.LOCK_SH)
        if (folder / MANIFEST).exists():  # or a writer had the lock first, to remove it
            return hold


@contextlib.contextmanager
def writing(index: Path) -> Iterator[Path]:
    """Hold the index for writing and yield a fresh folder; leaving the block without an error puts it in force.

    The folder must hold its manifest by then. Any error removes the folder and leaves the old generation in force.
    Raises IndexLocked, at once, if another process is writing, and UsageError if the folder cannot be used.
    """
    _prepare(index)
    with _locked(index):
        for generation in _generations(index):
            if generation.name.endswith(PARTIAL):
                shutil.rmtree(generation, ignore_errors=True)  # no reason to fail: the next build tries again
        final = index / f"gen-{_newest(index) + 1:06d}"
        partial = index / (final.name + PARTIAL)
        partial.mkdir()
        try:
            yield partial
            assert (partial / MANIFEST).is_file(), f"{partial} was finished without its {MANIFEST}"
            fsync_tree(partial)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # what cannot be removed now is removed by the next build
            raise
        fsync(index)
        _put_in_force(index, final.name)
        for generation in _generations(index):
            if generation != final:
                _remove_unless_held(generation)


def _prepare(index: Path) -> None:
    """Make the index's folder; refuse one that holds something else, for building there would scatter files in it."""
    try:
        index.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in index.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise UsageError(
            f"{index} cannot hold an index ({error.strerror}): name another folder with --index."
        ) from error
    foreign = sorted(name for name in names - {CACHE} if not _ANY.fullmatch(name))
    if foreign and not names & {CURRENT, LOCK}:
        raise UsageError(f"{index} holds other files ({foreign[0]!r}) and no index: name another folder with --index.")


@contextlib.contextmanager
def _locked(index: Path) -> Iterator[None]:
    """Hold the lock until the block ends or the process dies."""

    def busy(holder: str) -> str:
        return f"The index at {index} is being written by {holder}: wait until that is done, or name another --index."

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(index / LOCK, busy))
        except OSError as error:
            if error.filename is None:  # the file could be opened
                raise UsageError(
                    f"{index} cannot be locked ({error.strerror}): name a folder on a local disk."
                ) from error
            raise UsageError(
                f"{index} cannot be written ({error.strerror}): name another folder with --index."
            ) from error
        yield


def _put_in_force(index: Path, name: str) -> None:
    """Swap CURRENT in one step: a reader sees the old name or the new one, never half of one."""
    with atomic_write(index / CURRENT) as partial:
        partial.write_text(name + "\n", encoding="ascii")
    fsync(index)


def _read_current(index: Path) -> str:
    try:
        return (index / CURRENT).read_bytes()[:200].decode("utf-8", "replace").removesuffix("\n")
    except OSError as error:
        raise IndexUnusable(
            f"{index / CURRENT} cannot be read ({error.strerror}): mend its permissions, or build into another --index."
        ) from error


def _generations(index: Path) -> list[Path]:
    return [entry for entry in index.iterdir() if _ANY.fullmatch(entry.name)]


def _newest(index: Path) -> int:
    """The highest number in use, finished or not, so that no name is ever given twice while it can be seen."""
    return max((int(match[1]) for entry in index.iterdir() if (match := _ANY.fullmatch(entry.name))), default=0)


def _remove_unless_held(generation: Path) -> None:
    """Under a lock, so that a reader who comes now finds it gone. What is held now, a later write tries again."""
    try:
        manifest = os.open(generation / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        shutil.rmtree(generation, ignore_errors=True)
        return
    try:
        fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(generation, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(manifest)
