"""Open the current generation of an index for reading, and put a new one in its place.

    price-index/
      CURRENT            the name of the current generation
      gen-000001/        a finished generation: nothing in it ever changes
      gen-000002.partial a build at work, or what a killed one left
      kept.json          names of generations that are kept
      lock               held by the one process that may write; never removed
      cache/             encodings, kept from build to build

A build writes beside, renames, and swaps CURRENT last. So a killed build leaves the old generation current,
whatever the moment, and a reader keeps the generation that it opened: one that is leased, or kept by a name, is never
removed.
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
from index.files import PARTIAL, atomic_write, exclusive_lock, fsync, fsync_tree, open_regular
from index.shortage import shortage
from index.storage.kept import CURRENT_NAME, read_kept, require_name, write_kept
from index.storage.layout import CACHE, CURRENT, FINISHED, LOCK, MANIFEST

_ANY = re.compile(r"gen-([0-9]{6,})(\.partial)?")
LONGEST_NAME = 200  # bytes that are read of CURRENT
_WITHOUT_WAITING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # for a writer, where a FIFO stands in a file's place


def current_generation(index_dir: Path) -> Path:
    """Return the folder of the current generation. IndexUnusable says why there is none, and what to do."""
    build = f"`price build-index CATALOGUE --index {index_dir}`"
    if not index_dir.exists():
        raise IndexUnusable(f"There is no index at {index_dir}: make one with {build}.")
    if not index_dir.is_dir():
        raise IndexUnusable(f"{index_dir} is a file, not an index: name the index's folder with --index.")
    if not (index_dir / CURRENT).exists():
        if any(_ANY.fullmatch(entry.name) for entry in index_dir.iterdir()):
            raise IndexUnusable(
                f"The index at {index_dir} is half-built, because its first build has not finished: wait for it, or "
                f"run {build} again, which keeps the encoding already done."
            )
        raise IndexUnusable(f"{index_dir} holds no index (there is no file {CURRENT} in it): make one with {build}.")
    name = _read_current(index_dir)
    if not FINISHED.fullmatch(name):
        raise IndexUnusable(f"{index_dir / CURRENT} names no generation ({name[:40]!r}): run {build} again.")
    if not (index_dir / name).is_dir():
        raise IndexUnusable(f"{index_dir / CURRENT} names {name}, which is not there: run {build} again.")
    return index_dir / name


def find_generation(index_dir: Path, reference: str | None) -> Path:
    """Return the folder of a generation by its number or the name that it is kept by; None is the current one.

    Raises IndexUnusable for one that is not there, and as `current_generation` does.
    """
    current = current_generation(index_dir)
    if reference is None or reference == CURRENT_NAME:
        return current
    number, kept = reference.removeprefix("gen-"), read_kept(index_dir)
    name = f"gen-{int(number):06d}" if re.fullmatch("[0-9]{1,18}", number) else kept.get(reference, "")
    if name and (index_dir / name).is_dir():
        return index_dir / name
    here = ", ".join(_described(folder.name, current, kept) for folder in finished_generations(index_dir))
    raise IndexUnusable(
        f"The index at {index_dir} has no generation {reference[:70]!r}: it has {here}; others are removed by the next "
        "change unless `price keep` names them."
    )


def _described(name: str, current: Path, kept: dict[str, str]) -> str:
    """Describe a generation as `3 (current, 'spring')`."""
    names = [CURRENT_NAME] * (name == current.name) + [repr(word) for word, of in kept.items() if of == name]
    return f"{number_of(name)} ({', '.join(names)})" if names else str(number_of(name))


def number_of(generation: str) -> int:
    """Return the number in a generation's name."""
    return int(generation.removeprefix("gen-"))


def finished_generations(index_dir: Path) -> list[Path]:
    """List the folders of all finished generations, the oldest first."""
    finished = [folder for folder in _generations(index_dir) if FINISHED.fullmatch(folder.name)]
    return sorted(finished, key=lambda folder: number_of(folder.name))


def keep_generation(index_dir: Path, name: str, reference: str | None = None) -> Path:
    """Give a generation a name, so that it is not cleaned away, and return its folder; the current one where None.

    Raises UsageError for what is no name, or one that another generation has; IndexLocked while another process writes;
    IndexUnusable as `find_generation` does.
    """
    require_name(name)
    find_generation(index_dir, reference)  # a missing index is said before a lock is made for it
    with _locked(index_dir):
        folder, kept = find_generation(index_dir, reference), read_kept(index_dir)
        if kept.get(name, folder.name) != folder.name:
            has = f"{name} is the name of generation {number_of(kept[name])}"
            raise UsageError(f"{has}: take another, or let it go with `price keep {name} --drop`.")
        write_kept(index_dir, {**kept, name: folder.name})
    return folder


def drop_name(index_dir: Path, name: str) -> bool:
    """Take a name away, and remove its generation unless it is current, leased or kept by another name: True if it is.

    Raises UsageError for a name that no generation has.
    """
    current_generation(index_dir)
    with _locked(index_dir):
        kept = read_kept(index_dir)
        if name not in kept:
            known = f"it keeps {', '.join(kept)}" if kept else "it keeps none"
            raise UsageError(f"The index at {index_dir} keeps no generation by the name {name[:70]!r}: {known}.")
        generation = index_dir / kept.pop(name)
        write_kept(index_dir, kept)
        if not _is_current(generation) and generation.name not in kept.values() and generation.is_dir():
            _remove_unless_leased(generation)
        return not generation.is_dir()


class GenerationLease:
    """A reader's lease of a generation: while this object lives, and its process, no writer removes the folder."""

    def __init__(self, folder: Path, handle: int | None) -> None:
        self.folder = folder
        if handle is not None:
            weakref.finalize(self, os.close, handle)


def lease_generation(index_dir: Path, reference: str | None = None) -> GenerationLease:
    """Lease a generation to a reader: the current one where None. Raises IndexUnusable as `find_generation` does."""
    while True:
        folder = find_generation(index_dir, reference)
        try:
            handle = os.open(folder / MANIFEST, _WITHOUT_WAITING)
        except OSError:
            if find_generation(index_dir, reference) == folder:
                return GenerationLease(folder, None)  # what is wrong with it is said by who reads the manifest
            continue  # replaced and removed since its name was read
        lease = GenerationLease(folder, handle)
        with contextlib.suppress(OSError):  # a disk without locks, where nobody can write either
            fcntl.flock(handle, fcntl.LOCK_SH)
        if (folder / MANIFEST).exists():  # or a writer had the lock first, to remove it
            return lease


@contextlib.contextmanager
def writing(index_dir: Path) -> Iterator[Path]:
    """Hold the index for writing and yield a fresh folder; leaving the block without an error makes it current.

    The folder must hold its manifest by then. Any error removes the folder and leaves the old generation current; where
    there was no index, what is left is what has been encoded, if anything.
    Raises IndexLocked, at once, if another process is writing, and UsageError if the folder cannot be used.
    """
    made = _prepare(index_dir)
    try:
        with _locked(index_dir), _without_new_lock(index_dir):
            yield from _next_generation(index_dir)
    except BaseException:
        _remove_empty(made)
        raise


def _next_generation(index_dir: Path) -> Iterator[Path]:
    """Yield the folder of the next generation, and make it current when control comes back."""
    kept = set(read_kept(index_dir).values())
    for generation in _generations(index_dir):
        if generation.name.endswith(PARTIAL):
            shutil.rmtree(generation, ignore_errors=True)  # no reason to fail: the next build tries again
    final = index_dir / f"gen-{_newest(index_dir) + 1:06d}"
    partial = index_dir / (final.name + PARTIAL)
    try:
        partial.mkdir()
        yield partial
        assert (partial / MANIFEST).is_file(), f"{partial} was finished without its {MANIFEST}"
        fsync_tree(partial)
        partial.rename(final)
        fsync(index_dir)
        _make_current(index_dir, final.name)
    except BaseException:
        if not _is_current(final):
            for folder in (partial, final):
                shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now is removed by the next build
        raise
    for generation in _generations(index_dir):
        if generation != final and generation.name not in kept:
            _remove_unless_leased(generation)


def _is_current(generation: Path) -> bool:
    try:
        return current_generation(generation.parent) == generation
    except IndexUnusable:
        return False


@contextlib.contextmanager
def _without_new_lock(index_dir: Path) -> Iterator[None]:
    """Remove the lock, which this process holds, after an error in the block where there is no index that it is for."""
    try:
        yield
    except BaseException:
        if not (index_dir / CURRENT).exists():
            with contextlib.suppress(OSError):
                (index_dir / LOCK).unlink()  # who has opened it by now gets no lock on a file without a name
        raise


def _prepare(index_dir: Path) -> list[Path]:
    """Make the index's folder; refuse one that holds something else, for building there would scatter files in it.

    Returns the folders that were made, the innermost first.
    """
    made = [folder for folder in (index_dir, *index_dir.parents) if not folder.exists()]
    try:
        index_dir.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in index_dir.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        _remove_empty(made)
        raise UsageError(
            f"{index_dir} cannot hold an index ({error.strerror}): name another folder with --index."
        ) from error
    foreign = sorted(name for name in names - {CACHE} if not _ANY.fullmatch(name))
    if foreign and not names & {CURRENT, LOCK}:
        raise UsageError(
            f"{index_dir} holds other files ({foreign[0]!r}) and no index: name another folder with --index."
        )
    return made


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # one that holds something, and those around it
        for folder in folders:
            folder.rmdir()


@contextlib.contextmanager
def _locked(index_dir: Path) -> Iterator[None]:
    """Hold the lock until the block ends or the process dies."""

    def busy(holder: str) -> str:
        return (
            f"The index at {index_dir} is being written by {holder}: wait until that is done, or name another --index."
        )

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(index_dir / LOCK, busy))
        except OSError as error:
            if shortage(error):
                raise
            if error.filename is None:  # the file could be opened
                raise UsageError(
                    f"{index_dir} cannot be locked ({error.strerror}): name a folder on a local disk."
                ) from error
            raise UsageError(
                f"{index_dir} cannot be written ({error.strerror}): name another folder with --index."
            ) from error
        yield


def _make_current(index_dir: Path, name: str) -> None:
    """Swap CURRENT in one step: a reader sees the old name or the new one, never half of one."""
    with atomic_write(index_dir / CURRENT) as partial:
        partial.write_text(name + "\n", encoding="ascii")
    fsync(index_dir)


def _read_current(index_dir: Path) -> str:
    try:
        with open_regular(index_dir / CURRENT) as file:
            return file.read(LONGEST_NAME).decode("utf-8", "replace").removesuffix("\n")
    except OSError as error:
        raise IndexUnusable(
            f"{index_dir / CURRENT} cannot be read ({error.strerror}): mend that, or build into another --index."
        ) from error


def _generations(index_dir: Path) -> list[Path]:
    return [entry for entry in index_dir.iterdir() if _ANY.fullmatch(entry.name)]


def _newest(index_dir: Path) -> int:
    """The highest number in use, finished or not, so that no name is ever given twice while it can be seen."""
    return max((int(match[1]) for entry in index_dir.iterdir() if (match := _ANY.fullmatch(entry.name))), default=0)


def _remove_unless_leased(generation: Path) -> None:
    """Remove a generation under a lock, so that a reader who comes now sees that; a later write tries a leased one."""
    try:
        manifest = os.open(generation / MANIFEST, _WITHOUT_WAITING)
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
