"""The mean of all folds' networks for a few items, in one pass over their weights side by side.

A query asks ten folds' networks for one price each. One by one, most of the time goes to calling them, and to looking
each one's words up. Here the folds' weights are stacked when an index is opened; scales of inputs, and of what layers
normalise, are multiplied into the weights that follow. It knows the two heads of the default build; of other heads, of
heads that read further columns, and of many items, it takes the mean of `predict`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from engine.members.neural import WORDS_NORM, NeuralMember
from engine.networks.gated import GatedHead
from engine.networks.scaling import FARTHEST
from engine.networks.words import WordsHead

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from index.arrays import Float64, Int64

    Head = GatedHead | WordsHead

STACKED = ("gated", "words")  # heads
FEW_ROWS = 32  # of more items, each network takes its own batch as quickly


class _Stacked(Protocol):
    def predict(self, inputs: Inputs) -> Tensor:
        """(n,) mean log price of all networks."""


class NeuralFolds:
    """Members of one kind, of all folds; `predict` is the mean of theirs."""

    def __init__(self, members: Sequence[NeuralMember]) -> None:
        self._members = members
        self._stacked = _stacked(members)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,), the mean of the members' `predict` within 1e-5."""
        if self._stacked is None or len(inputs) > FEW_ROWS:
            mean: Float64 = np.mean([member.predict(inputs) for member in self._members], axis=0)
            return mean
        with torch.inference_mode():
            return self._stacked.predict(inputs).numpy().astype(np.float64)


def _stacked(members: Sequence[NeuralMember]) -> _Stacked | None:
    """Stack the members' networks; None where they are not alike, or of a kind that is not stacked here."""
    shape, networks = members[0].shape, len(members[0].heads)
    same = all(member.shape == shape and len(member.heads) == networks for member in members)
    if not same or shape.head not in STACKED or shape.bounded or shape.categories or shape.further_numbers:
        return None
    heads = [head for member in members for head in member.heads]
    if shape.head == "gated":
        return _StackedGated(heads)
    return _StackedWords(heads, [member.columns for member in members for _ in member.heads])


class _Weights:
    """The networks' tensors by name, stacked: (networks, ...)."""

    def __init__(self, heads: Sequence[torch.nn.Module]) -> None:
        self._states = [head.state_dict() for head in heads]

    def __call__(self, name: str) -> Tensor:
        return torch.stack([state[name] for state in self._states])

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """(networks, size, out) and (networks, 1, out) of a linear layer, as `torch.baddbmm` takes them."""
        return self(f"{name}.weight").transpose(1, 2).contiguous(), self(f"{name}.bias").unsqueeze(1)

    def normalised(self, norm: str, name: str) -> tuple[Tensor, Tensor]:
        """The same of a linear layer that follows a LayerNorm, whose own weights are multiplied in."""
        weight, bias = self.layer(name)
        spread, mean = self(f"{norm}.weight"), self(f"{norm}.bias")
        return weight * spread.unsqueeze(2), torch.baddbmm(bias, mean.unsqueeze(1), weight)

    def scale(self, name: str) -> tuple[Tensor, Tensor]:
        """(networks, 1, size) mean and scale of a `Standardise`."""
        return self(f"{name}.mean").unsqueeze(1), self(f"{name}.scale").unsqueeze(1)


class _Fields:
    """Numbers and unit of n items -> (networks, n, numbers + unit's width) what each network reads of them."""

    def __init__(self, weights: _Weights) -> None:
        self._mean, self._scale = weights.scale("scaled_numbers")
        self._unit = weights("unit.weight")

    def __call__(self, inputs: Inputs) -> Tensor:
        numbers = ((torch.from_numpy(inputs.numbers) - self._mean) / self._scale).clamp(-FARTHEST, FARTHEST)
        return torch.cat([numbers, self._unit[:, torch.from_numpy(inputs.unit)]], dim=2)


class _StackedGated:
    """`GatedHead`s side by side; each line as in its `fused`."""

    def __init__(self, heads: Sequence[torch.nn.Module]) -> None:
        weights, head = _Weights(heads), heads[0]
        assert isinstance(head, GatedHead)
        self._names, self._networks = list(head.projections), len(heads)
        self._projections = [self._scaled(weights, name) for name in self._names]
        self._read_fields, self._fields = _Fields(weights), weights.layer("fields.0")
        norms = [*(f"projections.{name}.1" for name in self._names), "fields.1"]
        self._spread = torch.stack([weights(f"{norm}.weight") for norm in norms], dim=1).unsqueeze(2)
        self._mean = torch.stack([weights(f"{norm}.bias") for norm in norms], dim=1).unsqueeze(2)
        self._gate, self._gate_out = weights.layer("gate.0"), weights.layer("gate.2")
        self._block, self._block_out = weights.normalised("block.0", "block.1"), weights.layer("block.4")
        self._out = weights.normalised("out.0", "out.1")
        self._price = weights.scale("price")

    @staticmethod
    def _scaled(weights: _Weights, name: str) -> tuple[Tensor, Tensor]:
        """(networks * width, dim) and (networks * width,) of a projection of vectors that are not scaled."""
        weight, bias = weights(f"projections.{name}.0.weight"), weights(f"projections.{name}.0.bias")
        mean, scale = weights.scale(f"scaled_vectors.{name}")
        weight = weight / scale
        return weight.flatten(0, 1), (bias - (weight * mean).sum(dim=2)).flatten()

    def predict(self, inputs: Inputs) -> Tensor:
        vectors = [torch.from_numpy(inputs.vectors[name]) for name in self._names]
        n, networks = len(inputs), self._networks
        present = torch.stack([*(values.any(dim=1) for values in vectors), torch.ones(n, dtype=torch.bool)], dim=1)
        projected = [
            linear(values, *projection).view(n, networks, -1).transpose(0, 1)
            for values, projection in zip(vectors, self._projections, strict=True)
        ]
        projected.append(_through(self._fields, self._read_fields(inputs)))
        width = projected[0].shape[2]
        normal = layer_norm(torch.stack(projected, dim=1), (width,))  # (networks, modalities, n, width)
        shown = gelu(normal * self._spread + self._mean).transpose(1, 2) * present.unsqueeze(2)
        beside = torch.cat([shown.flatten(2), present.float().expand(networks, -1, -1)], dim=2)
        weight = _through(self._gate_out, gelu(_through(self._gate, beside)))
        weight = weight.masked_fill(~present, -torch.inf).softmax(dim=2)
        fused = (weight.unsqueeze(3) * shown).sum(dim=2)  # (networks, n, width)
        mixed = fused + _through(self._block_out, gelu(_through(self._block, layer_norm(fused, (width,)))))
        return _mean_price(self._price, _through(self._out, layer_norm(mixed, (width,))))


class _StackedWords:
    """`WordsHead`s side by side; the rows of a word that any of them knows stand beside each other."""

    def __init__(self, heads: Sequence[torch.nn.Module], columns: Sequence[Int64]) -> None:
        weights = _Weights(heads)
        self._read_fields, self._fields = _Fields(weights), weights.layer("fields")
        self._hidden, self._out = weights.layer("layers.2"), weights.layer("layers.5")
        self._price = weights.scale("price")
        union: Int64 = reduce(np.union1d, columns)
        width = self._fields[0].shape[2]
        self._rows = torch.zeros(len(union), len(heads), width, dtype=torch.int8)
        self._scale = torch.zeros(len(union), len(heads), 1)  # 0 where a network does not know the word
        for network, (head, own) in enumerate(zip(heads, columns, strict=True)):
            at, state = torch.from_numpy(np.searchsorted(union, own)), head.state_dict()
            self._rows[at, network] = state["words.weight"]
            self._scale[at, network] = state["words.scale"]
        self._place = np.full(union[-1] + 2 if len(union) else 1, -1)  # the last: of all columns beyond
        self._place[union] = np.arange(len(union))

    def predict(self, inputs: Inputs) -> Tensor:
        words = torch.stack([self._sum(inputs, row) for row in range(len(inputs))], dim=1)  # (networks, n, width)
        hidden = (words + _through(self._fields, self._read_fields(inputs))).relu()
        return _mean_price(self._price, _through(self._out, _through(self._hidden, hidden).relu()))

    def _sum(self, inputs: Inputs, row: int) -> Tensor:
        """(networks, width) weighted sum of an item's words."""
        start, end = inputs.words.indptr[row : row + 2]
        places = self._place[np.minimum(inputs.words.indices[start:end], len(self._place) - 1)]
        known = torch.from_numpy(places[places >= 0])
        scale = self._scale[known]
        norm = WORDS_NORM / (scale > 0).sum(dim=0).clamp(min=1).sqrt()
        return (self._rows[known] * scale).sum(dim=0) * norm


def _through(layer: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    """(networks, n, size) through each network's own linear layer."""
    weight, bias = layer
    return torch.baddbmm(bias, values, weight)


def _mean_price(scale: tuple[Tensor, Tensor], predicted: Tensor) -> Tensor:
    """(n,) mean of (networks, n, 1) standardised log prices, each in its network's own scale."""
    mean, spread = scale
    return (predicted * spread + mean).squeeze(2).mean(dim=0)
