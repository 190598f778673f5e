"""Forward pass of a BERT, from its published tensors: token ids to token vectors.

Importing transformers' own BERT takes longer than everything else that a query does; this is the same arithmetic
(Devlin et al. 2018, post-norm, exact GELU), and a test holds it to sentence-transformers' output. The residual stream,
the layer norms and the softmax's sums stay in fp32 whatever the precision of the products, which is what keeps bf16
vectors within 1e-4 of fp32 ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from index.encoders.bert.shape import BertShape

KEYS = 16
"""Attention on a CPU is given keys in multiples of this: torch's kernel takes up to twice as long for any other number,
and hiding a neighbour's costs next to nothing (docs/scale.md, "Where the time of a build goes")."""


@dataclass(frozen=True)
class Spans:
    """Place of each text among the packed tokens of a batch: padding is never multiplied."""

    lengths: list[int]  # of each text, in tokens
    present: Tensor  # (n, t) bool, false where padding would be


class Layer(nn.Module):
    """One post-norm block: attention and a two-layer MLP, packed tokens (tokens, width) fp32 in and out."""

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

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        """Apply the block: `hidden` (tokens, width) fp32 to the same shape."""
        dtype = self.widen.weight.dtype
        joint = self.query_key_value(hidden.to(dtype)).unflatten(1, (3, self.heads, -1))
        attend = attend_by_text if hidden.device.type == "cpu" else attend_padded
        hidden = self.attention_norm(hidden + self.attended(attend(joint, spans).flatten(1)))
        return self.output_norm(hidden + self.narrow(F.gelu(self.widen(hidden.to(dtype)))))  # type: ignore[no-any-return]

    def published(self, prefix: str) -> dict[str, Tensor]:
        """The tensors that the layer is made from, by their published names."""
        names = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        parts = {
            f"{prefix}.attention.output.dense": self.attended,
            f"{prefix}.attention.output.LayerNorm": self.attention_norm,
            f"{prefix}.intermediate.dense": self.widen,
            f"{prefix}.output.dense": self.narrow,
            f"{prefix}.output.LayerNorm": self.output_norm,
        }
        tensors: dict[str, Tensor] = {}
        for kind, joint in (("weight", self.query_key_value.weight), ("bias", self.query_key_value.bias)):
            tensors |= {f"{name}.{kind}": part for name, part in zip(names, joint.chunk(3), strict=True)}
            tensors |= {f"{name}.{kind}": getattr(part, kind) for name, part in parts.items()}
        return tensors


class Bert(nn.Module):
    """Token ids (n, t) to token vectors (n, t, width) fp32, zero where padding is."""

    kinds: Tensor
    """Vector of each kind of token less the first kind's; never read here, kept for `published`."""

    def __init__(self, shape: BertShape, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
        super().__init__()
        self.words = nn.Parameter(tensors["embeddings.word_embeddings.weight"])
        # Only one kind of token is ever read, so its vector is added to the positions once.
        kinds = tensors["embeddings.token_type_embeddings.weight"]
        self.positions = nn.Parameter(tensors["embeddings.position_embeddings.weight"] + kinds[0])
        self.register_buffer("kinds", kinds - kinds[0], persistent=False)
        self.norm = _norm(*_pair(tensors, "embeddings.LayerNorm"), shape.norm_epsilon)
        self.layers = nn.ModuleList(
            Layer(shape, tensors, f"encoder.layer.{layer}", dtype=dtype) for layer in range(shape.layers)
        )

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Encode `ids` (n, t) int64; `present` (n, t) bool is false where a position is padding, after the text."""
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)[present]
        hidden = self.embed(ids[present], place)
        spans = Spans(present.sum(1).tolist(), present)
        for layer in self.layers:
            hidden = layer(hidden, spans)
        return _unpack(hidden, present)

    def embed(self, ids: Tensor, place: Tensor) -> Tensor:
        """Packed token ids and each one's place in its text, both (tokens,), to what the first layer reads."""
        return self.norm(F.embedding(ids, self.words) + F.embedding(place, self.positions))  # type: ignore[no-any-return]

    def published(self) -> dict[str, Tensor]:
        """The tensors by their published names, from which the same network is made, to the last bit."""
        tensors = {
            "embeddings.word_embeddings.weight": self.words,
            "embeddings.position_embeddings.weight": self.positions,  # with the first kind's vector in it,
            "embeddings.token_type_embeddings.weight": self.kinds,  # which is therefore zero here
            "embeddings.LayerNorm.weight": self.norm.weight,
            "embeddings.LayerNorm.bias": self.norm.bias,
        }
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            tensors |= layer.published(f"encoder.layer.{number}")
        return tensors


def attend_by_text(joint: Tensor, spans: Spans) -> Tensor:
    """Attention text by text, for a CPU: no product with padding.

    joint (tokens, 3, heads, d) of queries, keys and values to (tokens, heads, d). What stands beside a text changes no
    digit of it: a query has the vector that its text has in an index.
    """
    mixed = []
    for start, length in zip(accumulate(spans.lengths, initial=0), spans.lengths, strict=False):
        block, bias = _whole_block(joint, start, length)
        query = block[:length, 0].transpose(0, 1)  # (heads, t, d)
        key, value = block[:, 1:].permute(1, 2, 0, 3)
        alone = F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias)
        mixed.append(alone[0].transpose(0, 1))
    return torch.cat(mixed)


def _whole_block(joint: Tensor, start: int, length: int) -> tuple[Tensor, Tensor | None]:
    """Rows from `start` that make whole blocks of `KEYS`, and what hides all but the text's own `length` among them.

    Those after the text are the next one's, or zeros behind the last.
    """
    keys = -(-length // KEYS) * KEYS
    block = joint[start : start + keys]
    if len(block) < keys:
        block = torch.cat([block, block.new_zeros(keys - len(block), *block.shape[1:])])
    if keys == length:
        return block, None
    bias = joint.new_full((1, keys), -torch.inf)
    bias[:, :length] = 0
    return block, bias


def attend_padded(joint: Tensor, spans: Spans) -> Tensor:
    """Attention for a GPU: all texts at once, by the library's own attention over padded tokens."""
    query, key, value = _unpack(joint, spans.present).permute(2, 0, 3, 1, 4)  # (n, heads, t, d) each
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=spans.present[:, None, None, :])
    return mixed.transpose(1, 2)[spans.present]


def _unpack(packed: Tensor, present: Tensor) -> Tensor:
    """Unpack (tokens, ...) to (n, t, ...), zero where nothing is present."""
    padded = packed.new_zeros(*present.shape, *packed.shape[1:])
    padded[present] = packed
    return padded


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
