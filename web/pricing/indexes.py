"""Indexes that are served: each open once, and opened again when a new generation has taken its place.

The new generation is opened and tried beside the old one, which answers meanwhile. Whoever prices takes the open pricer
once for a batch, so that no batch is of two generations.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from engine.serving.pricer import Item, Pricer
from engine.serving.shard_pricer import identity
from engine.serving.stored_rows import finds_a_row_of_its_own
from index.encoders.device import AUTO, Runtime
from index.errors import PriceError
from index.storage.generations import current_generation
from web.problems import without_folder

TRIED_AGAIN = 30.0  # seconds after which a generation that could not be opened is tried again
MOST_WORST = 10  # rows of an audit that are shown
WARMING = Item("An item to open the encoders with, 12 oz (pack of 2)")


@dataclass(frozen=True)
class WorstRows:
    """Rows of a generation whose own price lies outside what such items cost."""

    listed: int
    worst: list[dict[Any, Any]]  # the first of them, by the names of an audit's columns


@dataclass
class ServedIndex:
    """An open index by its name. The attributes may be read from any thread."""

    name: str
    folder: Path
    pricer: Pricer
    ready: bool  # whether a row of the index found itself when it was opened
    identity: str = ""  # the generation's: another index has generations of the same names
    runtime: Runtime = AUTO
    trouble: str = ""  # why a newer generation is not served
    swaps: int = 0
    _refused: str = ""  # identity of the generation that could not be opened
    _tried: float = field(default=0.0)
    _audited: WeakKeyDictionary[Pricer, WorstRows] = field(default_factory=WeakKeyDictionary)
    _auditing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, name: str, folder: str, runtime: Runtime = AUTO) -> ServedIndex:
        """Open the current generation. Raises IndexUnusable."""
        return cls(name, Path(folder), *opened(Path(folder), runtime), runtime)

    @property
    def generation(self) -> str:
        """Name of the generation that answers."""
        return self.pricer.folder.name

    def without_paths(self, sentence: str) -> str:
        """Return a sentence for clients, in which the index has its name, where for its operator it has its folder."""
        for folder in (self.folder, self.pricer.folder.parent):  # which a link may have named, and no longer names
            sentence = without_folder(sentence, folder, self.name)
        return sentence

    def worst_rows(self) -> WorstRows:
        """Audit the generation that answers, once. Raises DataRefused where too few rows are left to score.

        For a thread of its own: it may take seconds.
        """
        with self._auditing:
            pricer = self.pricer
            if pricer not in self._audited:
                frame = pricer.audit()
                self._audited[pricer] = WorstRows(len(frame), frame.head(MOST_WORST).to_dict("records"))
            return self._audited[pricer]

    def newer(self) -> tuple[Pricer, bool, str] | None:
        """Open the generation that is current where it is not the one that answers; None where there is none.

        For a thread of its own: it takes seconds. What cannot be opened is told in `trouble` and tried again later.
        """
        try:
            current = identity(current_generation(self.folder))
            if current == self.identity:
                self.trouble = ""
                return None
            if current == self._refused and time.monotonic() - self._tried < TRIED_AGAIN:
                return None
            self._refused, self._tried = current, time.monotonic()
            return opened(self.folder, self.runtime)
        except (PriceError, OSError) as error:
            self.trouble = f"{error}"
            return None

    def swap(self, pricer: Pricer, ready: bool, identity: str) -> None:
        """Let another generation answer from the next batch on."""
        self.pricer, self.ready, self.identity, self.trouble, self._refused = pricer, ready, identity, "", ""
        self.swaps += 1


def opened(folder: Path, runtime: Runtime) -> tuple[Pricer, bool, str]:
    """Return an open pricer that has priced an item, so that the first to ask does not wait for encoders.

    With it whether a row of its own found itself, and the generation's identity.
    """
    folder = folder.resolve()  # of a link, what it names now: files that are read later are of this index, too
    known = identity(current_generation(folder))  # before it is opened: what replaces it meanwhile is then noticed
    pricer = Pricer.open(folder, runtime)
    pricer.price([WARMING])
    return pricer, finds_a_row_of_its_own(pricer), known
