"""Scales of inputs and prices, fitted on training rows and saved with the network."""

from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from index.arrays import Float32, Float64

FARTHEST = 10.0
"""Spreads from the mean at which a number of an item is cut off. A column that hardly varies in training has next to no
spread: a query unlike it would come in at hundreds of them, and leave with any price at all."""


class Standardise(nn.Module):
    """(n, size) -> (n, size) of mean 0 and spread 1 on the rows that `fit` saw.

    With `shared`, one scale for all columns: the directions of a vector keep their lengths. What lies beyond `farthest`
    spreads is cut off there, and a spread below `least` counts as that.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int, *, shared: bool = False, farthest: float = inf, least: float = 0.0) -> None:
        super().__init__()
        self._farthest, self._least = farthest, least
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(1 if shared else size))

    def fit(self, rows: Float32 | Float64) -> None:
        """Fit on (n, size) training rows; without rows, nothing is scaled."""
        if not len(rows):
            return
        # In float64: in float32 the mean of a long constant column drifts, and its spread would pass for a scale.
        mean = rows.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(((rows - mean) ** 2).mean(axis=0))
        scale = np.sqrt((spread**2).mean(keepdims=True)) if len(self.scale) < len(self.mean) else spread
        self.mean.copy_(torch.from_numpy(np.asarray(mean)))
        scale = np.where(scale < 1e-6, 1.0, np.maximum(scale, self._least))  # a constant column stays 0
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.scale).clamp(-self._farthest, self._farthest)

    def inverse_transform(self, values: Tensor) -> Tensor:
        """(n,) or (n, size) standardised -> as it was."""
        return values * self.scale + self.mean


class PriceRange(nn.Module):
    """(n, 1) log price -> (n, 1) from 0 to 1, a place between the cheapest and the dearest row that `fit` saw.

    Source: one of the targets that the towers-knn system tried: MinMax-scaled, with binary cross-entropy. A head
    trained so answers the logit of the place, and can price nothing beyond what it has seen.
    """

    low: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))

    def fit(self, rows: Float32 | Float64) -> None:
        """Fit on (n, 1) training rows; where all are equal, nothing is scaled."""
        spread = float(rows.max() - rows.min())
        self.low.fill_(float(rows.min()))
        self.scale.fill_(spread if spread > 1e-6 else 1.0)

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.low) / self.scale

    def inverse_transform(self, logits: Tensor) -> Tensor:
        """(n,) logits of places -> log price."""
        return logits.sigmoid() * self.scale + self.low
