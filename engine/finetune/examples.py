"""Which items does an encoder learn from, and which parts of them never change while it does?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.finetune.network import PHOTOGRAPH, TEXT, Seen, chunks
from index.catalogue.fields import parse_fields
from index.photographs.formats import ImageRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from engine.finetune.trainable_encoders import Tower
    from index.encoders.device import Device
    from index.photographs.source import Photographs
    from index.progress import Report

    Rows = NDArray[np.int64]

KEPT_BYTES = 2**31  # of states; what does not fit is made again for each batch
AT_ONCE = 64  # items whose states are made together


@dataclass(frozen=True)
class Examples:
    """n priced items as fine-tuning reads them."""

    texts: list[str]  # in the view that is read
    images: list[str | None]  # references
    numbers: NDArray[np.float32]  # (n, len(NUMBERS))
    unit: NDArray[np.int64]  # (n,)
    log_price: NDArray[np.float64]  # (n,)

    def __len__(self) -> int:
        return len(self.texts)

    def digest(self) -> str:
        """Of all that is learned from, so that a run is not resumed on another catalogue."""
        digest = hashlib.sha256()
        for text, image in zip(self.texts, self.images, strict=True):
            digest.update(f"{len(text)} {text}\0{image}\0".encode("utf-8", "surrogatepass"))
        for numbers in (self.numbers, self.unit, self.log_price):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()


def viewed(texts: Sequence[str], view: str) -> list[str]:
    """What of each item's whole text is read."""
    return [parse_fields(text).name for text in texts] if view == "name" else list(texts)


class States:
    """The towers' states of items by content: each made once and kept while there is room.

    Between fits on the same frozen stages they may be kept as well: they know nothing of prices.
    """

    def __init__(self, photographs: Photographs | None = None, room: int = KEPT_BYTES) -> None:
        self._photographs = photographs
        self._kept: dict[tuple[str, str], Tensor | None] = {}
        self._room = room

    def keep(self, kind: str, tower: Tower, items: Sequence[str | None], machine: Device, report: Report) -> None:
        """Make the states of all items ahead, the longest together, while there is room."""
        missing = sorted({i for i in items if i is not None and (kind, i) not in self._kept}, key=lambda i: (len(i), i))
        for done, part in enumerate(chunks(np.arange(len(missing)), AT_ONCE)):
            if self._room <= 0:
                return
            names = [missing[place] for place in part]
            for name, state in zip(names, self._make(kind, tower, names, machine), strict=True):
                self._kept[kind, name] = state
                self._room -= 0 if state is None else state.nbytes
            report(f"what is frozen of {tower.encoder.spec.name}", done * AT_ONCE + len(part), len(missing))

    def of(self, kind: str, tower: Tower, items: Sequence[str | None], machine: Device) -> list[Tensor | None]:
        """(n,) the items' states; None where there is nothing to read."""
        missing = [item for item in dict.fromkeys(items) if item is not None and (kind, item) not in self._kept]
        made = dict(zip(missing, self._make(kind, tower, missing, machine), strict=True)) if missing else {}
        return [None if item is None else made[item] if item in made else self._kept[kind, item] for item in items]

    def _make(self, kind: str, tower: Tower, items: list[str], machine: Device) -> list[Tensor | None]:
        if kind == TEXT:
            with machine.products():
                return list(tower.states(items))
        pixels = [self._read(item) for item in items]
        readable = [each for each in pixels if each is not None]
        made = iter(tower.states(readable) if readable else [])
        return [None if each is None else next(made) for each in pixels]

    def _read(self, reference: str) -> NDArray[np.uint8] | None:
        """A photograph that cannot be used is an absent one, as in a build."""
        assert self._photographs is not None
        try:
            return self._photographs.read(reference)
        except ImageRefused:
            return None


class Shelf:
    """Examples as the towers read them: rows in, what the network sees out."""

    def __init__(self, examples: Examples, towers: dict[str, Tower], states: States, machine: Device) -> None:
        self.examples = examples
        said = [text if text.strip() else None for text in examples.texts]  # a build gives a blank text no vector
        self._items: dict[str, Sequence[str | None]] = {TEXT: said, PHOTOGRAPH: examples.images}
        self._towers = towers
        self._states = states
        self._machine = machine

    def keep(self, report: Report) -> None:
        """Make what is frozen ahead."""
        for kind, tower in self._towers.items():
            self._states.keep(kind, tower, self._items[kind], self._machine, report)

    def seen(self, rows: Rows) -> Seen:
        """Of some rows, in that order."""
        import torch

        states = {
            kind: self._states.of(kind, tower, [self._items[kind][row] for row in rows], self._machine)
            for kind, tower in self._towers.items()
        }
        examples = self.examples
        return Seen(states, torch.from_numpy(examples.numbers[rows]), torch.from_numpy(examples.unit[rows]))

    def lengths(self) -> NDArray[np.int64]:
        """(n,) what to sort by, so that a batch holds texts of one length."""
        return np.array([len(text) for text in self.examples.texts])
