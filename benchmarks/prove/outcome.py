"""Rows of the table that every proof ends in, and the two arguments that every proof takes: `--scale` and `--seed`.

A row is `what | trials | failures | minutes`. A script's last lines on stdout are its rows, and it exits 1 where one of
them counts a failure. What failed is told on stderr as it happens.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

HEADER = "what | trials | failures | minutes"
ROW = re.compile(r"(?P<what>.+) \| (?P<trials>\d+) \| (?P<failures>\d+) \| (?P<minutes>\d+(?:\.\d+)?)")


@dataclass
class Tally:
    """Count of the trials of one claim, and of those in which it did not hold."""

    what: str
    trials: int = 0
    failures: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, fault: str = "", seconds: float | None = None) -> None:
        """Count a trial; `fault` says in a line what did not hold, "" where all did.

        `seconds` that it took; where None, the row's time is that from its first line to this one.
        """
        self.trials += 1
        self.seconds = time.monotonic() - self.started if seconds is None else self.seconds + seconds
        if fault:
            self.failures += 1
            print(f"FAILED: {self.what}: {fault}", file=sys.stderr, flush=True)

    def row(self) -> str:
        """Its row of the table."""
        return f"{self.what} | {self.trials} | {self.failures} | {self.seconds / 60:.1f}"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a script's docstring as it stands, and takes `--scale` and `--seed`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the full number of trials.")
    parser.add_argument("--seed", type=int, default=0, help="Of everything that is drawn.")
    return parser


def scaled(number: float, scale: float) -> int:
    """A share of a number of trials: at least one."""
    return max(1, math.ceil(number * scale))


def finish(tallies: Iterable[Tally]) -> NoReturn:
    """Print the rows and exit: 1 where a trial failed, or where there was none."""
    tallies = list(tallies)
    for tally in tallies:
        print(tally.row(), flush=True)
    sys.exit(any(tally.failures for tally in tallies) or not sum(tally.trials for tally in tallies))
