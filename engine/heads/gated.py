"""The gated residual head: each item decides how much to trust each of its modalities.

Source: the gated-ensemble system (46.81 SMAPE in the Amazon ML Challenge 2025), whose gate learns a weight for each
modality, item by item. Ours also closes the gate of a modality that is absent.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.heads.batch import Batch
from engine.heads.standardise import FARTHEST, Standardise

UNIT_DIM = 32  # of the learned embedding of the unit
GATE_WIDTH = 64


class GatedHead(nn.Module):
    """Batch of n items -> (n,) standardised log price, from vectors, numbers and unit.

    `dims`: modality -> width of its vectors; `numbers`, `units`: how many of each. Numbers and unit together are one
    more modality, which is always present.
    """

    def __init__(
        self, *, dims: Mapping[str, int], words: int, numbers: int, units: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        assert width > 0 and 0 <= dropout < 1, (width, dropout)

        def project(size: int) -> nn.Module:
            return nn.Sequential(nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout))

        self.price = Standardise(1)
        self.scaled_numbers = Standardise(numbers, farthest=FARTHEST)
        self.scaled_vectors = nn.ModuleDict({name: Standardise(dim, shared=True) for name, dim in dims.items()})
        self.projections = nn.ModuleDict({name: project(dim) for name, dim in dims.items()})
        self.unit = nn.Embedding(units, UNIT_DIM)
        self.fields = project(numbers + UNIT_DIM)
        modalities = len(dims) + 1
        self.gate = nn.Sequential(
            nn.Linear(modalities * (width + 1), GATE_WIDTH), nn.GELU(), nn.Linear(GATE_WIDTH, modalities)
        )
        self.block = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, batch: Batch) -> Tensor:
        each = [project(self.scaled_vectors[name](batch.vectors[name])) for name, project in self.projections.items()]
        numbers = self.scaled_numbers(batch.numbers)
        each.append(self.fields(torch.cat([numbers, self.unit(batch.unit)], dim=1)))
        mask = torch.cat([batch.present, batch.present.new_ones(len(batch.unit), 1)], dim=1)  # (n, modalities)
        shown = torch.stack(each, dim=1) * mask.unsqueeze(2)  # (n, modalities, width)
        logits = self.gate(torch.cat([shown.flatten(1), mask.to(shown.dtype)], dim=1))
        weight = logits.masked_fill(~mask, -torch.inf).softmax(dim=1)
        fused = (weight.unsqueeze(2) * shown).sum(dim=1)  # (n, width)
        price: Tensor = self.out(fused + self.block(fused)).squeeze(1)
        return price
