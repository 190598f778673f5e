"""What every head is called with."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """The tensors of n items."""

    vectors: dict[str, Tensor]  # modality -> (n, dim) float32, zero where absent
    present: Tensor  # (n, modalities) bool, in the order of `vectors`
    numbers: Tensor  # (n, numbers) float32, unscaled
    unit: Tensor  # (n,) int64
    words: Tensor  # (known words of all n,) int64, as torch's EmbeddingBag takes them
    word_starts: Tensor  # (n,) int64: where each item's words begin
    word_weights: Tensor  # (known words of all n,) float32
