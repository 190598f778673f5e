"""Forward pass of a BERT in numpy, for a process that encodes one item: to import torch takes longer than the rest.

It is the arithmetic of `index.encoders.bert.network` in fp32, and a test holds the two to each other. Weights are used
where they lie in the mapped file: of the words' vectors, which are half of it, only the item's own are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from index.arrays import unit_rows

if TYPE_CHECKING:
    from index.arrays import Bool, Float32, Int64
    from index.encoders.bert.shape import BertShape

# Abramowitz and Stegun, 7.1.26: the error function, off by at most 1.5e-7.
ERF_SCALE = 0.3275911
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class ArrayBert:
    """Token ids (n, t) and which of them are present (n, t) to unit rows (n, width): the mean of the token vectors."""

    def __init__(self, shape: BertShape, tensors: Mapping[str, Float32]) -> None:
        """Hold tensors by their published names: those of `BertShape.tensors`."""
        self._shape = shape
        self._tensors = tensors

    def __call__(self, ids: Int64, present: Bool) -> Float32:
        """Encode n texts, one after another."""
        return np.stack([self._encode(row[there]) for row, there in zip(ids, present, strict=True)])

    def _encode(self, ids: Int64) -> Float32:
        """Encode token ids (t,) to a unit vector (width,)."""
        hidden = self._tensors["embeddings.word_embeddings.weight"][ids]  # (t, width)
        hidden = hidden + self._tensors["embeddings.position_embeddings.weight"][: len(ids)]
        hidden = self._norm(hidden + self._tensors["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for number in range(self._shape.layers):
            layer = f"encoder.layer.{number}"
            attended = self._linear(self._attend(hidden, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
            hidden = self._norm(hidden + attended, f"{layer}.attention.output")
            inner = gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
            hidden = self._norm(hidden + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output")
        unit: Float32 = unit_rows(hidden.mean(axis=0, keepdims=True))[0]
        return unit

    def _attend(self, hidden: Float32, name: str) -> Float32:
        """Mix the values of all tokens, (t, width), in each head by how well its queries fit the keys."""
        tokens, heads = len(hidden), self._shape.heads
        query, key, value = (
            self._linear(hidden, f"{name}.{part}").reshape(tokens, heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )  # (heads, t, d) each
        score = query @ key.transpose(0, 2, 1) / np.float32(query.shape[2] ** 0.5)  # (heads, t, t)
        share = np.exp(score - score.max(axis=2, keepdims=True))
        share /= share.sum(axis=2, keepdims=True)
        mixed: Float32 = (share @ value).transpose(1, 0, 2).reshape(tokens, -1)
        return mixed

    def _linear(self, hidden: Float32, name: str) -> Float32:
        product: Float32 = hidden @ self._tensors[f"{name}.weight"].T
        product += self._tensors[f"{name}.bias"]
        return product

    def _norm(self, hidden: Float32, name: str) -> Float32:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        variance = np.einsum("td,td->t", centred, centred)[:, None] / centred.shape[1]
        scale = self._tensors[f"{name}.LayerNorm.weight"] / np.sqrt(variance + np.float32(self._shape.norm_epsilon))
        normed: Float32 = centred * scale + self._tensors[f"{name}.LayerNorm.bias"]
        return normed


def gelu(values: Float32) -> Float32:
    """The exact GELU, x * (1 + erf(x / sqrt(2))) / 2, off by at most 1.5e-7 * |x|."""
    positive = np.abs(values) * np.float32(0.5**0.5)
    part = 1 / (1 + np.float32(ERF_SCALE) * positive)
    total = np.zeros_like(values)
    for coefficient in ERF:
        total += np.float32(coefficient)
        total *= part
    tail = total * np.exp(-positive * positive)  # 1 - erf(|x| / sqrt(2))
    gated: Float32 = values * np.where(values < 0, tail, 2 - tail) * np.float32(0.5)
    return gated
