"""The cross-attention head: an item's modalities attend to each other, and what they make of it is priced.

Source: what the towers-knn system tried in the place of its towers; the attention is Vaswani et al.'s (2017), with
each modality as one token. An absent modality is attended to by none.
"""

import torch
from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import Dropout, FusedHead

ATTENTIONS = 4  # heads of the attention, each of a fourth of the width


class CrossAttentionHead(FusedHead):
    """Batch of n items -> (n,) standardised log price, from vectors, numbers and unit.

    `width`: of a token, a multiple of ATTENTIONS.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        width, dropout = shape.width, shape.dropout
        assert width % ATTENTIONS == 0, width
        self.projections = nn.ModuleDict({name: nn.Linear(size, width) for name, size in self.sizes.items()})
        self.kind = nn.Parameter(0.02 * torch.randn(len(self.sizes), width))  # tells the tokens apart
        self.before = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)  # queries, keys and values
        self.output = nn.Linear(width, width)
        self.block = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.dropout = Dropout(dropout)
        self.last = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)

    def fused(self, batch: Batch) -> Tensor:
        vectors, present = self.modalities(batch)
        projected = [project(vectors[name]) for name, project in self.projections.items()]
        tokens = self.dropout(torch.stack(projected, dim=1) + self.kind)  # (n, modalities, width)
        tokens = tokens + self.dropout(self.output(self._attended(self.before(tokens), present)))
        tokens = tokens + self.block(tokens)
        fused: Tensor = self.last((tokens * present.unsqueeze(2)).sum(dim=1))  # to which their mean would be the same
        return fused

    def _attended(self, tokens: Tensor, present: Tensor) -> Tensor:
        n, modalities, width = tokens.shape
        projected = self.queries_keys_values(tokens).view(n, modalities, 3, ATTENTIONS, width // ATTENTIONS)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (n, attentions, modalities, width / attentions)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None, :])
        return mixed.transpose(1, 2).reshape(n, modalities, width)
