"""Stopwatch of the stages that a file of items passes while it is priced."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Stopwatch of stages: every moment belongs to one stage."""

    def __init__(self, stage: str, clock: Callable[[], float] | None = None) -> None:
        """Begin with a stage. `clock` tells seconds, those that pass where there is none."""
        self._clock = clock or time.monotonic
        self._seconds: dict[str, float] = {}
        self._stage, self._began = stage, self._clock()

    def turn(self, stage: str) -> str:
        """Give the time from here on to `stage`, "" for no stage; return the stage before it."""
        now, before = self._clock(), self._stage
        if before:
            self._seconds[before] = self._seconds.get(before, 0.0) + now - self._began
        self._stage, self._began = stage, now
        return before

    def update(self, stage: str, done: int, total: int | None) -> None:
        """Give the time from here on to the stage that reports (`index.progress`)."""
        if stage != self._stage:
            self.turn(stage)

    def taken(self) -> dict[str, float]:
        """Seconds by stage since this was last asked."""
        seconds, self._seconds = self._seconds, {}
        return seconds
