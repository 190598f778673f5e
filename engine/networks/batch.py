"""Inputs of every head: the shape that it is built from, and the tensors of some items that it is called with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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
    words: Tensor  # (known words of all n,) int64, as torch's EmbeddingBag takes them
    word_starts: Tensor  # (n,) int64: where each item's words begin
    word_weights: Tensor  # (known words of all n,) float32
    categories: Tensor | None = None  # (n, categories) int64: places (`engine.features.tabular`)
    further_numbers: Tensor | None = None  # (n, further numbers) float32, NaN where missing
