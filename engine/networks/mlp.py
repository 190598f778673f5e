"""The MLP head: each modality projected, side by side, then layers of 512, 256 and 64.

Source: the end-to-end system (MiniLM and EfficientNet-B0, each projected to 256; GELU, BatchNorm, dropout 0.25). What
it knows of quantities stands in its text: it reads neither the numbers nor the unit.
"""

from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import Dropout, FusedHead, PresentNorm, beside_mask, masked


class MlpHead(FusedHead):
    """Batch of n items -> (n,) standardised log price, from vectors.

    `width`: of each projection. The layers are of twice, once and a quarter of it: 512, 256, 64 for 256.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape, fields=False)
        dims, width, dropout = shape.dims, shape.width, shape.dropout
        self.projections = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})

        def layer(size: int, out: int) -> nn.Module:
            return nn.Sequential(nn.Linear(size, out), PresentNorm(out), nn.GELU(), Dropout(dropout))

        last = width // 4 or 1
        self.layers = nn.Sequential(
            layer(len(dims) * (width + 1), 2 * width), layer(2 * width, width), layer(width, last)
        )
        self.out = nn.Linear(last, 1)

    def fused(self, batch: Batch) -> Tensor:
        vectors, present = self.modalities(batch)
        projected = [project(vectors[name]) for name, project in self.projections.items()]
        fused: Tensor = self.layers(beside_mask(masked(projected, present), present))
        return fused
