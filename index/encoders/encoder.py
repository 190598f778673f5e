"""Base of all encoders: items to unit vectors, a batch at a time.

A family's own file says how a batch is prepared and what the network makes of it; everything else is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from index.arrays import Float32
from index.encoders.registry import EncoderSpec


class Encoder(ABC):
    """Items to unit vectors. `encode` is `forward(prepare(batch))`: the two halves may run in different threads."""

    on_cpu = False
    """Whether torch computes `forward` on the CPU: several batches then share its threads, one to a batch."""
    elsewhere: Callable[[Iterable[Any], int], Iterator[tuple[Any, Float32]]] | None = None
    """What encodes batches on other machines, of so many at most, in any order; None: they are encoded here."""

    def __init__(self, spec: EncoderSpec, identity: str, batch_size: int) -> None:
        self.spec = spec
        self.identity = identity
        """Hash that changes whenever the vectors could (weights, tokeniser, pooling, prompt, sizes; not the device)."""
        self.dim = spec.dim
        self.batch_size = batch_size
        """Number of items that a batch should hold on the device chosen."""

    def length(self, item: Any) -> int:
        """Return what to sort by so that a batch holds items of one size; costs nothing. 0 where all cost the same."""
        return 0

    @abstractmethod
    def prepare(self, batch: Sequence[Any]) -> Any:
        """Tokenise or resize a batch: work that needs no accelerator."""

    @abstractmethod
    def forward(self, prepared: Any) -> Float32:
        """Turn what `prepare` returned into (n, dim) float32 unit rows."""

    def encode(self, batch: Sequence[Any]) -> Float32:
        """Encode texts, photographs (h, w, 3) uint8 RGB, or pairs of both, as (n, dim) float32 unit rows."""
        return self.forward(self.prepare(batch)) if batch else np.zeros((0, self.dim), np.float32)
