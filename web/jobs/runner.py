"""Runner of jobs: one process at a time for each worker of the server, ended when it is cancelled or too slow.

What parses a stranger's file does so outside the server: if it falls, it falls alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from web.jobs.folder import PRICING, REFUSED, JobFolder, JobFolders
from web.problems import Problem
from web.settings import TOKEN

MOST_JOBS = 50  # that are kept
MOST_SECONDS = 3600.0  # that one may take
LOOKED_EVERY = 0.2  # seconds between two looks at whether it was cancelled
SWEPT_EVERY = 60.0
BLOCK = 2**20
FELL = "The file could not be worked on: it may be damaged, or too large. Try a part of it."
ROOT = Path(__file__).resolve().parents[2]


class JobRunner:
    """Jobs that were begun by this process."""

    def __init__(self, folders: JobFolders) -> None:
        self.folders = folders
        self._place = asyncio.Semaphore(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: JobFolder) -> None:
        """Let the job's file be read, or priced, by its state."""
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> None:
        """Remove jobs whose hour is over, for ever."""
        while True:
            await asyncio.sleep(SWEPT_EVERY)
            await asyncio.to_thread(self.folders.sweep)

    async def stop(self) -> None:
        """End what is at work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def require_room(self) -> None:
        """Refuse another job where there are as many as are kept. Problem."""
        if self.folders.count() >= MOST_JOBS:
            detail = "There are as many files here as the server keeps: try again in some minutes."
            raise Problem(429, detail, headers={"Retry-After": "60"})

    async def _run(self, job: JobFolder) -> None:
        async with self._place:
            if not job.stop.exists():
                await self._work(job)
        if job.stop.exists():
            await asyncio.to_thread(shutil.rmtree, job.folder, ignore_errors=True)
            return
        state = job.state()
        if state.state == PRICING and state.then_price:
            job.change(then_price=False)
            await self._run(job)

    async def _work(self, job: JobFolder) -> None:
        environment = {name: value for name, value in os.environ.items() if name != TOKEN}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "web.jobs.work", str(job.folder)),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is the server's to handle
        )
        ends = time.monotonic() + MOST_SECONDS
        try:
            while process.returncode is None and not job.stop.exists() and time.monotonic() < ends:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), LOOKED_EVERY)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode and not job.stop.exists():
            job.change(state=REFUSED, detail=FELL)
