"""The gated residual head: each item decides how much to trust each of its modalities.

Source: the gated-ensemble system (46.81 SMAPE in the Amazon ML Challenge 2025), whose gate learns a weight for each
modality, item by item. Ours also closes the gate of a modality that is absent.
"""

import torch
from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import FIELDS, Dropout, FusedHead, beside_mask, masked

GATE_WIDTH = 64


class GatedHead(FusedHead):
    """Batch of n items -> (n,) standardised log price, from vectors, numbers and unit.

    `width`: of each projection. Numbers and unit together are one more modality, which is always present.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        width, dropout = shape.width, shape.dropout

        def project(size: int) -> nn.Module:
            return nn.Sequential(nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(), Dropout(dropout))

        self.projections = nn.ModuleDict({name: project(dim) for name, dim in shape.dims.items()})
        self.fields = project(self.sizes[FIELDS])
        modalities = len(self.sizes)
        self.gate = nn.Sequential(
            nn.Linear(modalities * (width + 1), GATE_WIDTH), nn.GELU(), nn.Linear(GATE_WIDTH, modalities)
        )
        self.block = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def fused(self, batch: Batch) -> Tensor:
        vectors, present = self.modalities(batch)
        projected = [project(vectors[name]) for name, project in self.projections.items()]
        projected.append(self.fields(vectors[FIELDS]))
        shown = masked(projected, present)
        weight = self.gate(beside_mask(shown, present)).masked_fill(~present, -torch.inf).softmax(dim=1)
        fused: Tensor = (weight.unsqueeze(2) * shown).sum(dim=1)  # (n, width)
        mixed: Tensor = fused + self.block(fused)
        return mixed
