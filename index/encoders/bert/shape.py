"""Numbers that a BERT is built from, and the tensors that follow from them; it knows no library that multiplies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
