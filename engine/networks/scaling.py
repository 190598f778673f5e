"""Scales of inputs and prices, fitted on training rows and saved with the network.

Beside them what a network makes of further columns: categories learned as vectors, numbers as ranks.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from index.arrays import Float32, Float64

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.networks.batch import Batch, HeadShape

CATEGORY_DIM = 16  # of the learned embedding of a category
CATEGORY_DROPOUT = 0.1
"""Share of categories that training takes for unknown, so that the unknown has an embedding that has learned, too."""
KNOTS = 256  # quantiles of a number
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
        scaled = (values - self.mean) / self.scale
        return scaled if self._farthest == inf else scaled.clamp(-self._farthest, self._farthest)

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


class FurtherColumns(nn.Module):
    """Batch of n items -> (n, `width`): embeddings of their categories, ranks of their numbers, what is missing.

    A number becomes its rank among the training rows, of mean 0 and spread 1: 0 where it is missing, which a mark says.
    """

    knots: Tensor

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(places, CATEGORY_DIM) for places in shape.categories)
        self.register_buffer("knots", torch.zeros(shape.further_numbers, KNOTS))
        self.width = len(self.embeddings) * CATEGORY_DIM + 2 * shape.further_numbers

    def fit(self, inputs: Inputs) -> None:
        """Take the quantiles of training rows' numbers, where they are not missing; those of an empty column stay 0."""
        assert inputs.tabular is not None, "a head with further columns reads rows that have them"
        shares = (np.arange(KNOTS) + 0.5) / KNOTS
        for at, column in enumerate(inputs.tabular.numbers.T):
            known = column[~np.isnan(column)]
            if len(known):
                self.knots[at] = torch.from_numpy(np.quantile(known, shares).astype(np.float32))

    def forward(self, batch: Batch) -> Tensor:
        assert batch.categories is not None and batch.further_numbers is not None
        places = batch.categories
        if self.training:
            places = torch.where(torch.rand(places.shape) < CATEGORY_DROPOUT, 0, places)
        embedded = [embedding(places[:, at]) for at, embedding in enumerate(self.embeddings)]
        columns = batch.further_numbers.T.contiguous()
        missing = columns.isnan()
        below, upto = (torch.searchsorted(self.knots, columns.nan_to_num(), right=right) for right in (False, True))
        ranks = ((below + upto) / KNOTS - 1).mul(sqrt(3)).masked_fill(missing, 0)  # of a spread of 1 where even
        return torch.cat([*embedded, ranks.T, missing.T.to(ranks.dtype)], dim=1)
