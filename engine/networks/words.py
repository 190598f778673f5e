"""Hashed words into a small MLP: the cheap and unlike member of the blend.

Source: the winning solution of Mercari's price suggestion challenge (Jankiewicz and Lopuhin, 2018). A bag of binarised
words says which brand and which size, where a sentence vector says what kind of thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.networks.batch import Batch, HeadShape
from engine.networks.scaling import FARTHEST, FurtherColumns, PriceRange, Standardise

if TYPE_CHECKING:
    from engine.features.inputs import Inputs

UNIT_DIM = 8  # of the learned embedding of the unit
FIRST_SPREAD = 0.02  # of a word's weights before it has taught anything
LAST_WIDTH = 64


class WordsHead(nn.Module):
    """Batch of n items -> (n,) standardised log price, from words, numbers and unit.

    `width`: of a word's weights.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        width, dropout = shape.width, shape.dropout
        self.price: Standardise | PriceRange = Standardise(1)
        self.scaled_numbers = Standardise(shape.numbers, farthest=FARTHEST)
        self.words = nn.EmbeddingBag(shape.words, width, mode="sum")
        nn.init.normal_(self.words.weight, std=FIRST_SPREAD)
        self.unit = nn.Embedding(shape.units, UNIT_DIM)
        self.further = FurtherColumns(shape) if shape.has_further else None
        own = 0 if self.further is None else self.further.width
        self.fields = nn.Linear(shape.numbers + UNIT_DIM + own, width)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, LAST_WIDTH),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(LAST_WIDTH, 1),
        )

    def fit_scales(self, inputs: Inputs) -> None:
        """Take the scale of training rows' numbers."""
        self.scaled_numbers.fit(inputs.numbers)
        if self.further is not None:
            self.further.fit(inputs)

    def forward(self, batch: Batch) -> Tensor:
        weights = batch.word_weights.to(self.words.weight.dtype)  # the table is kept in half precision once trained
        words = self.words(batch.words, batch.word_starts, per_sample_weights=weights).float()
        numbers = self.scaled_numbers(batch.numbers)
        own = [] if self.further is None else [self.further(batch)]
        fields = self.fields(torch.cat([numbers, self.unit(batch.unit), *own], dim=1))
        price: Tensor = self.layers(words + fields).squeeze(1)
        return price
