"""Folders of photographs: files below them by name, never beyond them, and whatever the case of their names."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from index.photographs.formats import MAX_BYTES, ImageRefused, Reason

_MOST_PARTS = 8  # of a path that are looked for below a folder
_NOT_THERE = (Reason.MISSING, Reason.OUTSIDE_FOLDER, Reason.UNREADABLE)


class ImageFolder:
    """A folder and what lies below it. Keeps the names that it listed: use it from any thread, for one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._listed: dict[Path, dict[str, str]] = {}  # folder -> name without case -> name

    def read(self, names: Iterable[str]) -> bytes:
        """Return the file of the first of these names, relative to the folder, that is there.

        A name in another case is taken where there is none in this one. Raises ImageRefused: for the last name, or for
        the first file that is there and cannot be taken.
        """
        refusal = ImageRefused(Reason.MISSING)
        for name in names:
            try:
                return self._read(name)
            except ImageRefused as error:
                if error.reason not in _NOT_THERE:
                    raise
                refusal = error
        raise refusal

    def _read(self, name: str) -> bytes:
        try:
            return read_below(self._folder, name)
        except ImageRefused as refusal:
            spelled = self._in_another_case(name) if refusal.reason is Reason.MISSING else None
            if spelled is None:
                raise
        return read_below(self._folder, spelled)

    def _in_another_case(self, name: str) -> str | None:
        """The same name as it is spelled below the folder; each folder on the way is listed once."""
        folder, spelled = self._folder, []
        for part in Path(name).parts:
            found = self._list(folder).get(part.casefold())
            if found is None:
                return None
            folder = folder / found
            spelled.append(found)
        return str(Path(*spelled)) if spelled else None

    def _list(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                inside = folder.resolve().is_relative_to(self._folder)
                names = (
                    sorted((entry.name for entry in folder.iterdir()), reverse=True) if inside else []
                )  # the first of equal ones stays
            except (OSError, ValueError, RuntimeError):
                names = []
            self._listed[folder] = {name.casefold(): name for name in names}
        return self._listed[folder]


def tails(path: str) -> list[str]:
    """Return the ends of a path with slashes, longest first: `a/b/c`, `b/c` and `c` of `/a/b/c`; [""] for none."""
    parts = path.split("/")[-_MOST_PARTS:]
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    return [end for end in ends if end and not end.startswith("/")] or [""]


def read_below(folder: Path, relative: str) -> bytes:
    """Read a file that lies in `folder` (itself without links) once every link is followed. Raises ImageRefused."""
    if not relative:
        raise ImageRefused(Reason.MISSING)
    try:
        path = (folder / relative).resolve()
    except ValueError as error:  # a NUL in the name
        raise ImageRefused(Reason.MISSING) from error
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ImageRefused(Reason.UNREADABLE) from error
    if not path.is_relative_to(folder):
        raise ImageRefused(Reason.OUTSIDE_FOLDER)
    return read_file(path)


def read_file(path: Path) -> bytes:
    """Read a regular file of at most MAX_BYTES; a pipe or a device would keep us waiting. Raises ImageRefused."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageRefused(Reason.UNREADABLE)
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ImageRefused(Reason.MISSING) from error
    except OSError as error:
        raise ImageRefused(Reason.UNREADABLE, type(error).__name__) from error
    if len(data) > MAX_BYTES:
        raise ImageRefused(Reason.TOO_LARGE)
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
