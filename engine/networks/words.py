"""Hashed words into a small MLP: the cheap and unlike member of the blend.

Source: the winning solution of Mercari's price suggestion challenge (Jankiewicz and Lopuhin, 2018). A bag of binarised
words says which brand and which size, where a sentence vector says what kind of thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.fused_head import Dropout
from engine.networks.scaling import FARTHEST, FurtherColumns, PriceRange, Standardise
from index.arrays import chunks, int8_rows

if TYPE_CHECKING:
    from engine.features.inputs import Inputs

UNIT_DIM = 8  # of the learned embedding of the unit
FIRST_SPREAD = 0.02  # of a word's weights before it has taught anything
LAST_WIDTH = 64
ITEMS_AT_ONCE = 8  # some 400 words each: their rows as floats stay in the cache


class _SumOfRows(torch.autograd.Function):
    """torch's embedding_bag of mode sum, whose gradient is one of the same kind.

    The gradient of a row is the weighted sum of its items' gradients: embedding_bag of the transposed bags, which scipy
    transposes by counting where torch sorts all words of the batch and adds them up one by one: a fifth of the time.
    """

    @staticmethod
    def forward(context: Any, table: Tensor, words: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        context.save_for_backward(words, starts, weights)
        context.rows = len(table)
        return sum_of_rows(table, words, starts, weights)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        from scipy.sparse import csr_matrix

        words, starts, weights = (value.numpy() for value in context.saved_tensors)
        ends = np.append(starts, len(words))
        bags = csr_matrix((weights, words, ends), shape=(len(starts), context.rows)).tocsc()
        items, item_starts = torch.from_numpy(bags.indices), torch.from_numpy(bags.indptr[:-1])
        return sum_of_rows(gradients[0], items, item_starts, torch.from_numpy(bags.data)), None, None, None


def sum_of_rows(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """(bags, width) weighted sums of a table's `rows`; the bags begin at `starts`."""
    if not len(starts):
        return table.new_zeros(0, table.shape[1])
    summed: Tensor = nn.functional.embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)
    return summed


class WordTable(nn.Module):
    """Words of n items -> (n, width) weighted sum of their learned rows."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(words, width))
        nn.init.normal_(self.weight, std=FIRST_SPREAD)

    def forward(self, batch: Batch) -> Tensor:
        bags = batch.words, batch.word_starts, batch.word_weights
        summed: Tensor = _SumOfRows.apply(self.weight, *bags)  # type: ignore[no-untyped-call]
        return summed


class Int8WordTable(nn.Module):
    """A `WordTable` that has learned, each row in int8 of a scale of its own: a quarter of the bytes."""

    weight: Tensor  # (words, width) int8
    scale: Tensor  # (words, 1) float32

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(words, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(words, 1))

    @classmethod
    def of(cls, learned: Tensor) -> Int8WordTable:
        """Round a table (words, width): a network's price moves by 0.03 %, 1 in 100 by 0.1 %, ten networks' by less."""
        table = cls(0, 0)
        weight, scale = int8_rows(learned.numpy())
        table.weight, table.scale = torch.from_numpy(weight), torch.from_numpy(scale)[:, None]
        return table

    def forward(self, batch: Batch) -> Tensor:
        words, starts = batch.words, batch.word_starts
        weights = batch.word_weights * self.scale.squeeze(1).index_select(0, words)
        if len(words) >= len(self.weight) or not len(starts):
            return sum_of_rows(self.weight.float(), words, starts, weights)
        # Of a few items only their own rows are made floats, so many at a time as the cache holds.
        ends = torch.cat([starts, starts.new_tensor([len(words)])])
        summed = []
        for items in chunks(len(starts), ITEMS_AT_ONCE):
            first, last = int(ends[items.start]), int(ends[items.stop])
            rows = self.weight.index_select(0, words[first:last]).float()
            places = torch.arange(last - first, dtype=words.dtype)
            summed.append(sum_of_rows(rows, places, starts[items] - first, weights[first:last]))
        return torch.cat(summed)


class WordsHead(nn.Module):
    """Batch of n items -> (n,) standardised log price, from words, numbers and unit.

    `width`: of a word's weights.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        width, dropout = shape.width, shape.dropout
        self.price: Standardise | PriceRange = Standardise(1)
        self.scaled_numbers = Standardise(shape.numbers, farthest=FARTHEST)
        self.words: WordTable | Int8WordTable = WordTable(shape.words, width)
        self.unit = nn.Embedding(shape.units, UNIT_DIM)
        self.further = FurtherColumns(shape) if shape.has_further else None
        own = 0 if self.further is None else self.further.width
        self.fields = nn.Linear(shape.numbers + UNIT_DIM + own, width)
        self.layers = nn.Sequential(
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(width, LAST_WIDTH),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(LAST_WIDTH, 1),
        )

    def fit_scales(self, inputs: Inputs) -> None:
        """Take the scale of training rows' numbers."""
        self.scaled_numbers.fit(inputs.numbers)
        if self.further is not None:
            self.further.fit(inputs)

    def forward(self, batch: Batch) -> Tensor:
        numbers = self.scaled_numbers(batch.numbers)
        own = [] if self.further is None else [self.further(batch)]
        fields = self.fields(torch.cat([numbers, self.unit(batch.unit), *own], dim=1))
        price: Tensor = self.layers(self.words(batch) + fields).squeeze(1)
        return price
