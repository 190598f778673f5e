"""What vector does a BERT give each token? The forward pass alone, from its published tensors.

Importing transformers' own BERT takes longer than everything else that a query does; this is the same arithmetic
(Devlin et al. 2018, post-norm, exact GELU), and a test holds it to sentence-transformers' output. The residual stream,
the layer norms and the softmax's sums stay in fp32 whatever the precision of the products, which is what keeps bf16
vectors within 1e-4 of fp32 ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BertShape:
    """The numbers of a BERT's `config.json` that the forward pass depends on."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    kinds: int
    norm_epsilon: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "BertShape":
        """Read transformers' names. A missing one is a KeyError."""
        return cls(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            inner=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            kinds=config["type_vocab_size"],
            norm_epsilon=config["layer_norm_eps"],
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that the forward pass reads."""
        width, inner = self.width, self.inner
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocabulary, width),
            "embeddings.position_embeddings.weight": (self.positions, width),
            "embeddings.token_type_embeddings.weight": (self.kinds, width),
            "embeddings.LayerNorm.weight": (width,),
            "embeddings.LayerNorm.bias": (width,),
        }
        parts = {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "attention.output.LayerNorm": (width,),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
            "output.LayerNorm": (width,),
        }
        for layer in range(self.layers):
            for part, shape in parts.items():
                shapes[f"encoder.layer.{layer}.{part}.weight"] = shape
                shapes[f"encoder.layer.{layer}.{part}.bias"] = shape[:1]
        return shapes

    def unread(self) -> dict[str, tuple[int, ...]]:
        """Tensors that checkpoints may carry and that the forward pass does not read."""
        return {
            "embeddings.position_ids": (1, self.positions),
            "pooler.dense.weight": (self.width, self.width),
            "pooler.dense.bias": (self.width,),
        }


class Layer(nn.Module):
    """One post-norm block: attention and a two-layer MLP, (n, t, width) fp32 in and out."""

    def __init__(self, shape: BertShape, tensors: Mapping[str, Tensor], prefix: str, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads = shape.heads
        names = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = torch.cat([tensors[f"{name}.weight"] for name in names])
        bias = torch.cat([tensors[f"{name}.bias"] for name in names])
        self.query_key_value = _linear(weight, bias, dtype)
        self.attended = _linear(*_pair(tensors, f"{prefix}.attention.output.dense"), dtype)
        self.attention_norm = _norm(*_pair(tensors, f"{prefix}.attention.output.LayerNorm"), shape.norm_epsilon)
        self.widen = _linear(*_pair(tensors, f"{prefix}.intermediate.dense"), dtype)
        self.narrow = _linear(*_pair(tensors, f"{prefix}.output.dense"), dtype)
        self.output_norm = _norm(*_pair(tensors, f"{prefix}.output.LayerNorm"), shape.norm_epsilon)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """hidden (n, t, width) fp32; mask (n, 1, 1, t), true where a token is, None where none is padding."""
        n, t, width = hidden.shape
        dtype = self.widen.weight.dtype
        joint = self.query_key_value(hidden.to(dtype)).view(n, t, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # (n, heads, t, width / heads) each
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = self.attention_norm(hidden + self.attended(mixed.transpose(1, 2).reshape(n, t, width)))
        return self.output_norm(hidden + self.narrow(F.gelu(self.widen(hidden.to(dtype)))))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """Token ids (n, t) to token vectors (n, t, width) fp32."""

    def __init__(self, shape: BertShape, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
        super().__init__()
        self.words = nn.Parameter(tensors["embeddings.word_embeddings.weight"])
        # Only one kind of token is ever read, so its vector is added to the positions once.
        kind = tensors["embeddings.token_type_embeddings.weight"][0]
        self.positions = nn.Parameter(tensors["embeddings.position_embeddings.weight"] + kind)
        self.norm = _norm(*_pair(tensors, "embeddings.LayerNorm"), shape.norm_epsilon)
        self.layers = nn.ModuleList(
            Layer(shape, tensors, f"encoder.layer.{layer}", dtype=dtype) for layer in range(shape.layers)
        )

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """ids (n, t) int64, present (n, t) bool: false where a position is padding."""
        hidden = self.norm(F.embedding(ids, self.words) + self.positions[: ids.shape[1]])
        mask = None if bool(present.all()) else present[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden  # type: ignore[no-any-return]


def _pair(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _linear(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # no initial values to be thrown away
    layer.weight, layer.bias = nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))
    return layer


def _norm(weight: Tensor, bias: Tensor, epsilon: float) -> nn.LayerNorm:
    layer = nn.LayerNorm(weight.shape[0], eps=epsilon, device="meta")
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer
