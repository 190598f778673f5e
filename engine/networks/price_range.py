"""Log price as a place between the cheapest and the dearest training row.

Source: one of the targets that the towers-knn system tried: MinMax-scaled, with binary cross-entropy. A head trained so
answers the logit of the place, and can price nothing beyond what it has seen.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class PriceRange(nn.Module):
    """(n, 1) log price -> (n, 1) from 0 to 1, by the rows that `learn` saw."""

    low: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))

    def learn(self, rows: NDArray[np.floating]) -> None:
        """From (n, 1) training rows; where all are alike, nothing is scaled."""
        spread = float(rows.max() - rows.min())
        self.low.fill_(float(rows.min()))
        self.scale.fill_(spread if spread > 1e-6 else 1.0)

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.low) / self.scale

    def undo(self, logits: Tensor) -> Tensor:
        """(n,) logits of places -> log price."""
        return logits.sigmoid() * self.scale + self.low
