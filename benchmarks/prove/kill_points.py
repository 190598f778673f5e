"""Named points at which a process can be made to die: renames, links, flushes and removals of files, journal writes.

`KillPoints` replaces the functions by which the engine changes the disk, in the process that is to die, and counts
their calls. The engine itself knows nothing of it. `forked` runs a function in a child of this process, which is warm,
so that a trial costs no imports.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

KILLED = 137  # what a shell makes of SIGKILL
BEFORE, AFTER, MIDWAY = "before", "after", "midway"
SECONDS = 600  # after which a child that neither ends nor dies is taken to hang

CALLS = ((os, "rename"), (os, "replace"), (os, "link"), (os, "unlink"), (os, "fsync"), (shutil, "rmtree"))
JOURNALS = (  # module, path of the function in it
    ("index.embedding.vector_cache", "VectorCache.put"),
    ("index.photographs.cache", "PhotographCache.record"),
    ("engine.serving.price_file", "record"),
    ("engine.serving.shards", "record"),
    ("engine.serving.joining", "record"),
    ("engine.tuning.trials", "Journal.keep"),
    ("engine.finetune.run", "write_checkpoint"),
)


class KillPoints:
    """Calls that change the disk, numbered in their order; the process dies at one of them, if a number is given."""

    def __init__(
        self,
        told: Callable[[list[str], list[str]], None],
        number: int | None = None,
        moment: str = BEFORE,
        journals: Iterable[tuple[str, str]] = JOURNALS,
    ) -> None:
        """`told` is given the names of the points met and of those passed, at death or when `tell` is called."""
        self._told, self._number, self._moment, self._journals = told, number, moment, journals
        self._met: list[str] = []  # in the order of their beginning: a journal's write holds flushes of its own
        self._passed: list[str] = []
        self._within = threading.local()  # a removal of a tree is one point, not one for each file
        self._counts = True

    def __enter__(self) -> KillPoints:
        """Replace the functions, for the rest of this process."""
        for module, name in CALLS:
            self._replace(module, name, f"{name} ")
        for module_name, path in self._journals:
            owner: Any = importlib.import_module(module_name)
            *classes, name = path.split(".")
            for part in classes:
                owner = getattr(owner, part)
            self._replace(owner, name, f"journal {name} ")
        return self

    def __exit__(self, *_: object) -> None:
        self._counts = False

    def _replace(self, owner: Any, name: str, kind: str) -> None:
        original = getattr(owner, name)
        inner = kind.startswith("rmtree")

        def counted(*given: Any, **named: Any) -> Any:
            if not self._counts or getattr(self._within, "removal", False):
                return original(*given, **named)
            own, point = len(self._met), kind + _subject(given)
            self._met.append(point)
            if own == self._number and self._moment != AFTER:
                if self._moment == MIDWAY:
                    _half(name, given)
                self.die()
            self._within.removal = inner
            try:
                result = original(*given, **named)
            except OSError:  # such as the removal of a file that need not be there: it is over all the same
                if own == self._number:
                    self.die()
                raise
            finally:
                self._within.removal = False
            self._passed.append(point)
            if own == self._number:
                self.die()
            return result

        setattr(owner, name, counted)

    def tell(self) -> None:
        """Tell what was met and passed."""
        self._told(self._met, self._passed)

    def die(self) -> NoReturn:
        """End this process as SIGKILL would: no handler, no buffer, no `finally`."""
        self.tell()
        os._exit(KILLED)


def _subject(given: tuple[Any, ...]) -> str:
    """Name of the file that a call is about; of a rename the new name; numbers for an open file."""
    paths = [value for value in given if isinstance(value, (str, Path))]
    if paths:
        return Path(paths[-1]).name
    if given and isinstance(given[0], int):
        return Path(f"/proc/self/fd/{given[0]}").readlink().name if Path("/proc/self/fd").exists() else "a file"
    return ""


def _half(name: str, given: tuple[Any, ...]) -> None:
    """Carry out the first half of a call: half the files of a tree, half a line of a journal."""
    if name == "rmtree":
        files = [path for path in sorted(Path(given[0]).rglob("*")) if path.is_file()]
        for path in files[: len(files) // 2 + 1]:
            path.unlink()
    elif name == "record" and isinstance(given[0], Path):
        from engine.serving.shards import JOURNAL

        line = json.dumps({given[1]: given[2]}).encode()
        with (given[0] / JOURNAL).open("ab") as file:
            file.write(line[: len(line) // 2])


def fork() -> int:
    """Fork as `os.fork`. Lance and Python warn of it, where threads are at work; here none is."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def forked(function: Callable[[Callable[[Any], None]], None]) -> tuple[int, Any]:
    """Run `function` in a child: (exit code, what it told last). It is given a function that tells JSON to the parent.

    The code is KILLED where it killed itself, 1 where it raised, -14 where it hung.
    """
    ears, mouth = os.pipe()
    child = fork()
    if child == 0:
        os.close(ears)
        signal.alarm(SECONDS)
        _in_child(function, mouth)
    os.close(mouth)
    with os.fdopen(ears, encoding="utf-8") as told:
        lines = told.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(lines[-1]) if lines else None


def _in_child(function: Callable[[Callable[[Any], None]], None], mouth: int) -> NoReturn:
    code = 1
    try:
        function(lambda news: _write_all(mouth, json.dumps(news).encode() + b"\n"))
        code = 0
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        sentence = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        _write_all(mouth, json.dumps(sentence).encode() + b"\n")
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def _write_all(mouth: int, data: bytes) -> None:
    while data:
        data = data[os.write(mouth, data) :]
