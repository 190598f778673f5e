"""The projection fusion head: every modality into one latent space, side by side, then a fully connected regression.

Source: the clip-fusion system, whose mask of rows without a usable photograph the model must see. It reads vectors
alone: neither the numbers nor the unit.
"""

from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import Dropout, FusedHead, beside_mask, masked


class FusionHead(FusedHead):
    """Batch of n items -> (n,) standardised log price, from vectors.

    `width`: of the latent space. An item without any vector is priced by its mask.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape, fields=False)
        dims, width, dropout = shape.dims, shape.width, shape.dropout
        self.projections = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.regression = nn.Sequential(
            nn.Linear(len(dims) * (width + 1), width),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(width, width // 2 or 1),
            nn.ReLU(),
            Dropout(dropout),
        )
        self.out = nn.Linear(width // 2 or 1, 1)

    def fused(self, batch: Batch) -> Tensor:
        vectors, present = self.modalities(batch)
        projected = [project(vectors[name]) for name, project in self.projections.items()]
        fused: Tensor = self.regression(beside_mask(masked(projected, present), present))
        return fused
