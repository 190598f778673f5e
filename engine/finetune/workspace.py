"""Folders of a fine-tuning: where the work is done, where the encoder comes to lie, and what may lie there already.

Work is done in DIR.partial beside DIR, under a lock, and becomes DIR in one step; what is stopped before that goes on
from there. A DIR that was replaced waits as DIR.replaced for as long as that one step takes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from index.errors import UsageError
from index.files import exclusive_lock, fsync, fsync_tree

FINETUNE = "finetune.json"
PHOTOGRAPHS = "photographs"  # the folder in DIR of the encoder of photographs, where one was trained
_CHECKPOINT, _LOCK, _DONE = "checkpoint.safetensors", "LOCK", "encoder"


@dataclass(frozen=True)
class Workspace:
    """A fine-tuning under way."""

    target: Path
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Path of the training's checkpoint."""
        return self.folder / _CHECKPOINT

    @contextmanager
    def finished(self) -> Iterator[Path]:
        """An empty folder, which becomes the target when the block ends."""
        done = self.folder / _DONE
        shutil.rmtree(done, ignore_errors=True)
        done.mkdir()
        yield done
        fsync_tree(done)
        old = _beside(self.target, ".replaced")
        if self.target.exists():
            self.target.rename(old)
        done.rename(self.target)
        with suppress(PermissionError):  # a folder that may be written and not read
            fsync(self.target.parent)
        _remove(old)


@contextmanager
def open_workspace(target: Path, *, overwrite: bool) -> Iterator[Workspace]:
    """Hold the target. Raises UsageError for one that may not be written, IndexLocked while another process works."""
    folder = _beside(target, ".partial")
    with ExitStack() as lock:
        try:
            _mend(target)
            _refuse(target, overwrite)
            _refuse_foreign(folder, _LOCK)
            _refuse_foreign(_beside(target, ".replaced"), FINETUNE)
            folder.mkdir(parents=True, exist_ok=True)
            busy = f"{target} is being made by another process: wait for it, or name another -o."
            lock.enter_context(exclusive_lock(folder / _LOCK, lambda holder: busy))
        except OSError as error:
            raise UsageError(f"{target} cannot be written ({error.strerror}): name another folder with -o.") from error
        workspace = Workspace(target, folder)
        try:
            yield workspace
        except BaseException:
            if not workspace.checkpoint.exists():  # nothing to go on from
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _mend(target: Path) -> None:
    """Put the old encoder back where a kill between the two renames of `finished` left it aside."""
    old = _beside(target, ".replaced")
    if old.exists() and not target.exists():
        old.rename(target)
    elif (old / FINETUNE).is_file():
        _remove(old)


def _remove(old: Path) -> None:
    """Remove a replaced encoder; what says that it is one goes last, so that the next run knows what a kill left."""
    with suppress(OSError):  # what cannot be removed is in nobody's way before the next encoder of that name
        for entry in old.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != FINETUNE:
                entry.unlink()
        (old / FINETUNE).unlink(missing_ok=True)
        old.rmdir()


def _refuse(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file: name a folder with -o.")
    names = sorted(entry.name for entry in target.iterdir())
    if names and not _is_ours(target):
        raise UsageError(f"{target} holds other files ({names[0]!r}) and no fine-tuned encoder: name another with -o.")
    if names and not overwrite:
        raise UsageError(f"{target} holds a finished encoder: name another folder with -o, or give --overwrite.")


def _is_ours(target: Path) -> bool:
    try:
        document = json.loads((target / FINETUNE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "curve" in document


def _refuse_foreign(folder: Path, ours: str) -> None:
    """Raise UsageError for a folder that is not empty and lacks the file of `ours`: it is left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / ours).is_file():
        raise UsageError(f"{folder} is where the work would be done, and holds other files: name another with -o.")


def _beside(target: Path, suffix: str) -> Path:
    whole = Path(os.path.abspath(target))  # noqa: PTH100 - `.` and `..` have no name to put a suffix to
    return whole.with_name(whole.name + suffix)
