"""Items that an encoder learns from, and what its frozen layers make of them, which never changes while it does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.finetune.network import NetworkBatch
from engine.finetune.trainable_encoders import PHOTOGRAPH, TEXT
from index.arrays import chunks
from index.catalogue.fields import parse_fields
from index.photographs.formats import ImageRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from engine.finetune.trainable_encoders import Encoders, TrainableEncoder
    from index.arrays import Float32, Float64, Int64
    from index.encoders.device import Device
    from index.photographs.source import Photographs
    from index.progress import OnProgress

Items = Sequence[str | None]  # texts, or references of photographs; None where there is nothing to read
CAPACITY = 2**31  # bytes of activations; what does not fit is made again for each batch
MADE_AT_ONCE = 64  # items whose activations are made together


@dataclass(frozen=True)
class Examples:
    """n priced items as fine-tuning reads them."""

    texts: list[str]  # in the view that is read
    images: list[str | None]  # references
    contents: list[str | None]  # hashes of the photographs' bytes, where they are known
    numbers: Float32  # (n, len(NUMBERS))
    unit: Int64  # (n,)
    log_price: Float64  # (n,)

    def __len__(self) -> int:
        return len(self.texts)

    def digest(self) -> str:
        """Hash of all that is trained on, so that a run is not resumed on another catalogue."""
        digest = hashlib.sha256()
        for text, content in zip(self.texts, self.contents, strict=True):
            digest.update(f"{len(text)} {text}\0{content}\0".encode("utf-8", "surrogatepass"))
        for numbers in (self.numbers, self.unit, self.log_price):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()


def viewed(texts: Sequence[str], view: str) -> list[str]:
    """The part of each item's whole text that is read."""
    return [parse_fields(text).name for text in texts] if view == "name" else list(texts)


class FrozenActivations:
    """Outputs of the encoders' frozen layers, by item content: each made once, and kept up to a capacity.

    Between fits on the same frozen stages they may be kept as well: they know nothing of prices.
    """

    def __init__(self, photographs: Photographs | None = None, capacity: int = CAPACITY) -> None:
        self._photographs = photographs
        self._kept: dict[tuple[str, str], Tensor | None] = {}
        self._capacity = capacity

    def make_ahead(self, trainable: TrainableEncoder, items: Items, machine: Device, on_progress: OnProgress) -> None:
        """Make the activations of all items ahead, the longest together, up to the capacity."""
        missing = self._missing(trainable.kind, items)
        missing.sort(key=lambda item: (len(item), item))
        for part in chunks(len(missing), MADE_AT_ONCE):
            if self._capacity <= 0:
                return
            for item, activation in zip(missing[part], self._make(trainable, missing[part], machine), strict=True):
                self._kept[trainable.kind, item] = activation
                self._capacity -= 0 if activation is None else activation.nbytes
            on_progress(f"what is frozen of {trainable.encoder.spec.name}", part.stop, len(missing))

    def of(self, trainable: TrainableEncoder, items: Items, machine: Device) -> list[Tensor | None]:
        """(n,) the items' activations; None where there is nothing to read."""
        missing = self._missing(trainable.kind, items)
        made = dict(zip(missing, self._make(trainable, missing, machine), strict=True)) if missing else {}
        return [
            None if item is None else made[item] if item in made else self._kept[trainable.kind, item] for item in items
        ]

    def _missing(self, kind: str, items: Items) -> list[str]:
        """The items that are not kept, each once, in their order."""
        return [item for item in dict.fromkeys(items) if item is not None and (kind, item) not in self._kept]

    def _make(self, trainable: TrainableEncoder, items: list[str], machine: Device) -> list[Tensor | None]:
        if trainable.kind == TEXT:
            with machine.products():
                return list(trainable.activations(items))
        pixels = [self._read(item) for item in items]
        readable = [photograph for photograph in pixels if photograph is not None]
        made = iter(trainable.activations(readable) if readable else [])
        return [None if photograph is None else next(made) for photograph in pixels]

    def _read(self, reference: str) -> NDArray[np.uint8] | None:
        """Read a photograph; None for one that cannot be used, which counts as absent, as in a build."""
        assert self._photographs is not None
        try:
            return self._photographs.read(reference)
        except ImageRefused:
            return None


class ExampleBatches:
    """Examples as the encoders read them: rows in, a batch of the network out."""

    def __init__(self, examples: Examples, encoders: Encoders, activations: FrozenActivations, machine: Device) -> None:
        self.examples = examples
        texts = [text if text.strip() else None for text in examples.texts]  # a build gives a blank text no vector
        self._items: dict[str, Items] = {TEXT: texts, PHOTOGRAPH: examples.images}
        self._encoders, self._activations, self._machine = encoders, activations, machine

    def make_ahead(self, on_progress: OnProgress) -> None:
        """Make the activations of the frozen layers ahead."""
        for kind, trainable in self._encoders.items():
            self._activations.make_ahead(trainable, self._items[kind], self._machine, on_progress)

    def batch(self, rows: Int64) -> NetworkBatch:
        """A batch of some rows, in that order."""
        import torch

        activations = {
            kind: self._activations.of(trainable, [self._items[kind][row] for row in rows], self._machine)
            for kind, trainable in self._encoders.items()
        }
        numbers, unit = self.examples.numbers[rows], self.examples.unit[rows]
        return NetworkBatch(activations, torch.from_numpy(numbers), torch.from_numpy(unit))

    def lengths(self) -> Int64:
        """(n,) what to sort by, so that a batch holds texts of one length."""
        return np.array([len(text) for text in self.examples.texts])
