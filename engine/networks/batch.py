"""Inputs of every head: the shape that it is built from, and the tensors of some items that it is called with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from engine.features.inputs import Inputs
    from index.arrays import Int64


@dataclass(frozen=True)
class HeadShape:
    """Sizes of a head's inputs and layers; each head says which of them it uses, and what `width` is of."""

    dims: Mapping[str, int]  # modality -> width of its vectors
    words: int  # known words
    numbers: int
    units: int
    width: int
    dropout: float
    categories: tuple[int, ...] = ()  # of further columns: number of places of each
    further_numbers: int = 0  # further columns

    def __post_init__(self) -> None:
        assert self.width > 0 and 0 <= self.dropout < 1, (self.width, self.dropout)

    @property
    def has_further(self) -> bool:
        """Tell whether there are further columns."""
        return bool(self.categories or self.further_numbers)


class Batch(NamedTuple):
    """The tensors of n items."""

    vectors: dict[str, Tensor]  # modality -> (n, dim) float32, zero where absent
    present: Tensor  # (n, modalities) bool, in the order of `vectors`
    numbers: Tensor  # (n, numbers) float32, unscaled
    unit: Tensor  # (n,) int64
    words: Tensor  # (known words of all n,) int32 or int64, as torch's embedding_bag takes them
    word_starts: Tensor  # (n,) of the same type: where each item's words begin
    word_weights: Tensor  # (known words of all n,) float32
    categories: Tensor | None = None  # (n, categories) int64: places (`engine.features.tabular`)
    further_numbers: Tensor | None = None  # (n, further numbers) float32, NaN where missing


class Rows:
    """The tensors of all rows of some inputs, made once: a batch is picked out of them."""

    def __init__(self, inputs: Inputs, modalities: Iterable[str], words: csr_matrix, places: Int64 | None) -> None:
        """Hold the vectors of `modalities`, the weighted known `words` (n, known), and the categories' `places`."""
        tabular = inputs.tabular
        self._vectors = {name: torch.from_numpy(inputs.vectors[name]) for name in modalities}
        present = [value.any(dim=1) for value in self._vectors.values()]
        self._present = torch.stack(present, dim=1) if present else torch.empty(len(inputs), 0, dtype=torch.bool)
        self._numbers, self._unit = torch.from_numpy(inputs.numbers), torch.from_numpy(inputs.unit)
        self._words = words
        self._categories = None if places is None else torch.from_numpy(places)
        self._further = None if tabular is None else torch.from_numpy(tabular.numbers)

    def batch(self, rows: Int64 | slice) -> Batch:
        """The tensors of some rows."""
        words = self._words[rows]
        at = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        return Batch(
            vectors={name: value[at] for name, value in self._vectors.items()},
            present=self._present[at],
            numbers=self._numbers[at],
            unit=self._unit[at],
            words=torch.from_numpy(words.indices.astype(np.int32, copy=False)),
            word_starts=torch.from_numpy(words.indptr[:-1].astype(np.int32)),
            word_weights=torch.from_numpy(words.data),
            categories=None if self._categories is None else self._categories[at],
            further_numbers=None if self._further is None else self._further[at],
        )
