"""The towers head: each modality through a tower of its own, side by side, then an MLP.

Source: the towers-knn system (a finalist of the Amazon ML Challenge 2025): Linear, ReLU, BatchNorm and Dropout into 512
dimensions, four of them concatenated to 2,048. Ours gives numbers and unit a tower too, and tells the MLP which
modalities are absent.
"""

from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import Dropout, FusedHead, PresentNorm, beside_mask, masked


class Layer(nn.Module):
    """(n, size) -> (n, width): Linear, ReLU, BatchNorm over the rows that are present, Dropout."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(size, width)
        self.norm = PresentNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        dropped: Tensor = self.dropout(self.norm(self.linear(values).relu(), present))
        return dropped


class TowersHead(FusedHead):
    """Batch of n items -> (n,) standardised log price, from vectors, numbers and unit.

    `width`: of a tower.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        width, dropout = shape.width, shape.dropout
        self.towers = nn.ModuleDict({name: Layer(size, width, dropout) for name, size in self.sizes.items()})
        self.layers = nn.Sequential(
            Layer(len(self.sizes) * (width + 1), 2 * width, dropout), Layer(2 * width, width, dropout)
        )
        self.out = nn.Linear(width, 1)

    def fused(self, batch: Batch) -> Tensor:
        vectors, present = self.modalities(batch)
        towered = [tower(vectors[name], present[:, place]) for place, (name, tower) in enumerate(self.towers.items())]
        fused: Tensor = self.layers(beside_mask(masked(towered, present), present))
        return fused
