"""The base of heads that fuse an item's modalities: scaled inputs, the mask, dropout, the last hidden layer by name.

A modality is one kind of vectors; the numbers and the unit together are one more, which every item has, where a head
reads them at all.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.networks.scaling import FARTHEST, FurtherColumns, PriceRange, Standardise

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.networks.batch import Batch, HeadShape

UNIT_DIM = 32  # of the learned embedding of the unit
LEAST_PRESENT = 2  # rows; of fewer, a batch has no spread
FIELDS = "fields"  # the modality of numbers and unit
LEAST_SPREAD = 0.2
"""Least scale of unit vectors, in 1 / sqrt(dim), the spread of those that point anywhere; encoders have 0.6 to 0.9 on a
catalogue's rows. Where training has two photographs that are nearly the same, they have next to no spread: another one
would come in at thousands of them, and leave with any price at all."""


class FusedHead(nn.Module):
    """Batch of n items -> (n,) standardised log price: `out` of what `fused` makes of them.

    Numbers and unit are read where `fields` says so.
    """

    out: nn.Module  # (n, last width) -> (n, 1)

    def __init__(self, shape: HeadShape, *, fields: bool = True) -> None:
        super().__init__()
        self.price: Standardise | PriceRange = Standardise(1)
        self.scaled_vectors = nn.ModuleDict(
            {name: Standardise(dim, shared=True, least=LEAST_SPREAD / sqrt(dim)) for name, dim in shape.dims.items()}
        )
        self.sizes = dict(shape.dims)  # modality -> width, in the order of `modalities`
        if fields:
            self.scaled_numbers = Standardise(shape.numbers, farthest=FARTHEST)
            self.unit = nn.Embedding(shape.units, UNIT_DIM)
            self.sizes[FIELDS] = shape.numbers + UNIT_DIM
            self.further = FurtherColumns(shape) if shape.has_further else None
            if self.further is not None:
                self.sizes[FIELDS] += self.further.width

    def fit_scales(self, inputs: Inputs) -> None:
        """Take the scales of training rows: of vectors, by the rows that have them."""
        for name, scaled in self.scaled_vectors.items():
            assert isinstance(scaled, Standardise)
            scaled.fit(inputs.vectors[name][inputs.vectors[name].any(axis=1)])
        if FIELDS in self.sizes:
            self.scaled_numbers.fit(inputs.numbers)
            if self.further is not None:
                self.further.fit(inputs)

    def modalities(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Modality -> (n, width) scaled, and (n, modalities) bool: which of them each item has."""
        scaled = {name: scale(batch.vectors[name]) for name, scale in self.scaled_vectors.items()}
        if FIELDS not in self.sizes:
            return scaled, batch.present
        own = [] if self.further is None else [self.further(batch)]
        scaled[FIELDS] = torch.cat([self.scaled_numbers(batch.numbers), self.unit(batch.unit), *own], dim=1)
        return scaled, torch.cat([batch.present, batch.present.new_ones(len(batch.unit), 1)], dim=1)

    def fused(self, batch: Batch) -> Tensor:
        """(n, last width): the last hidden layer, which other members may read."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        price: Tensor = self.out(self.fused(batch)).squeeze(1)
        return price


def masked(modalities: list[Tensor], present: Tensor) -> Tensor:
    """(n, modalities, width), zero where absent."""
    return torch.stack(modalities, dim=1) * present.unsqueeze(2)


def beside_mask(shown: Tensor, present: Tensor) -> Tensor:
    """(n, modalities * width + modalities): what is `masked`, side by side, and the mask itself.

    Without it, an absent photograph could not be told from a present one that is projected to zeros.
    """
    return torch.cat([shown.flatten(1), present.to(shown.dtype)], dim=1)


class Dropout(nn.Module):
    """Values of any shape -> the same, in training a share of them zero and the others scaled up.

    Source: Srivastava et al., 2014. As torch's, from the same generator, but with 16 random bits a value, where torch
    draws 64 and compares floats: a third of the time, which was a fifth of a gated head's training. The share is exact
    to 1 / 65,536.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._dropped = round(share * 2**16)

    def forward(self, values: Tensor) -> Tensor:
        if not (self.training and self._dropped):
            return values
        drawn = torch.empty((values.numel() + 3) // 4, dtype=torch.int64, device=values.device).random_(-(2**63), None)
        bits = drawn.view(torch.int16)[: values.numel()].view(values.shape)
        kept = (bits >= self._dropped - 2**15).to(values.dtype)
        return values * kept.mul_(2**16 / (2**16 - self._dropped))


class PresentNorm(nn.BatchNorm1d):
    """(n, size) -> (n, size); rows that are not `present` come out as zeros, and are not counted.

    Source: Ioffe and Szegedy, 2015. An absent photograph is a row of zeros; counted in, the share of photographs in a
    batch would move the scale of those that are present. A batch in which fewer than two rows are present is scaled by
    what was learned so far, and teaches nothing.
    """

    def forward(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        shown = values if present is None else values[present]
        if self.training and len(shown) < LEAST_PRESENT:
            shown = nn.functional.batch_norm(
                shown, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        else:
            shown = super().forward(shown)
        if present is None:
            return shown
        everywhere = values.new_zeros(values.shape)
        everywhere[present] = shown
        return everywhere
