"""Folders of jobs: an upload, what became of it and its state, each job in a folder named by chance, for an hour.

The state is a file, so that every worker process of a server can tell of a job, whichever of them runs it.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from index.files import atomic_write

KEPT = 3600.0  # seconds
ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}")
READING, READ, PRICING, DONE, REFUSED = "reading", "read", "pricing", "done", "refused"
AT_WORK = frozenset({READING, PRICING})


@dataclass(frozen=True)
class JobState:
    """State of a job, as its folder keeps it."""

    name: str  # of the file, as it was uploaded: shown, never opened
    index: str
    index_dir: str
    state: str = READING
    then_price: bool = False  # without being told again
    review: bool = False  # the file is a price list that is reviewed
    device: str = "auto"  # of the encoders
    precision: str = "auto"
    stage: str = ""
    rows: int = 0
    rows_done: int = 0
    detail: str = ""  # why it was refused
    reading: dict[str, Any] = field(default_factory=dict)  # how the file was understood
    result: dict[str, Any] = field(default_factory=dict)  # counts of the finished job
    began: float = 0.0  # on the wall clock


@dataclass(frozen=True)
class JobFolder:
    """Folder of one job."""

    folder: Path

    @property
    def id(self) -> str:
        """Name of the job."""
        return self.folder.name

    @property
    def upload(self) -> Path:
        """The file to price."""
        return self.folder / "items"

    @property
    def prices(self) -> Path:
        """The result."""
        return self.folder / "prices.csv"

    @property
    def rejects(self) -> Path:
        """Rows that have no price, with reasons."""
        return self.folder / "prices.csv.rejects.csv"

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    @property
    def stop(self) -> Path:
        """A file that is there when the job is to end."""
        return self.folder / "stop"

    def state(self) -> JobState:
        """Read the state."""
        return JobState(**json.loads(self._state.read_text(encoding="utf-8")))

    def write(self, state: JobState) -> None:
        """Write the state."""
        with atomic_write(self._state) as partial:
            partial.write_text(json.dumps(asdict(state)), encoding="utf-8")

    def change(self, **changes: Any) -> JobState:
        """Write the state with some of it changed."""
        state = replace(self.state(), **changes)
        self.write(state)
        return state


class JobFolders:
    """All jobs of a server."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self) -> JobFolder:
        """Make an empty folder under a name that nobody guesses."""
        folder = self.root / secrets.token_hex(ID_BYTES)
        folder.mkdir(mode=0o700)
        return JobFolder(folder)

    def find(self, job_id: str) -> JobFolder | None:
        """Find a job; None where there is none, or it is to end. Nothing but a name of ours is looked for."""
        job = JobFolder(self.root / job_id)
        return job if _ID.fullmatch(job_id) and job._state.is_file() and not job.stop.exists() else None

    def count(self) -> int:
        """Count the jobs that are kept."""
        return sum(1 for _ in self.root.iterdir())

    def sweep(self, kept: float = KEPT) -> None:
        """Remove jobs that are older than `kept` seconds, and whose work has ended."""
        for folder in self.root.iterdir():
            with contextlib.suppress(OSError, ValueError):  # another may remove it meanwhile
                job = self.find(folder.name)
                old = time.time() - folder.stat().st_mtime > kept
                if old and (job is None or job.state().state not in AT_WORK):
                    shutil.rmtree(folder, ignore_errors=True)
