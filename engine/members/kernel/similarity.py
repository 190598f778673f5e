"""The similarity of items and landmarks:

    k(a, b) = s(a, b) (1 + p f(a, b)) + q f(a, b)

s adds up the cosines of several kinds of words (tf-idf) and of the vectors; f is a Gaussian of the numbers, less where
the unit differs. The product gives every sort of item a curve of its own of price over quantity.

All of it is the same for every fold but what words weigh, so it is computed once for as many `Weighing`s as there are.
Nothing here sees a price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.features.inputs import NUMBERS
from engine.features.tfidf import weigh_words
from engine.members.kernel.cosines import Postings, Weighing
from index.arrays import Float32, Float64, Int64

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.settings.schema import Kernel

FARTHEST = 4.0  # spreads from the mean at which a number is cut off
SHARPNESS = 3.0  # of the vectors' kernel, exp(SHARPNESS * (cosine - 1))
REACH = {  # how fast the kernel falls with each number's difference: exp(-REACH * difference^2), in spreads
    "log_amount": 0.45,
    "amount_unknown": 0.3,
    "log_pack": 0.25,
    "log_amount_each": 0.45,
    "log_name_length": 0.03,
    "log_text_length": 0.03,
    "log_lines": 0.03,
}
FURTHER_REACH = 0.15  # of all numbers of further columns together, and as much of what is missing among them


@dataclass(frozen=True)
class PresentVectors:
    """Vectors of the landmarks that have one, in the precision in which they are kept."""

    rows: Int64  # (present,) landmarks, rising
    vectors: Float32  # (present, dim)


@dataclass(frozen=True)
class Landmarks:
    """The m rows that every item is compared with."""

    settings: Kernel
    postings: Postings
    vectors: dict[str, PresentVectors]  # by modality
    numbers: Float32  # (m, numbers) scaled
    unit: Int64  # (m,)
    mean: Float32  # (numbers,) of what was fitted on, as `scale`
    scale: Float32

    @classmethod
    def of(cls, inputs: Inputs, rows: Int64, settings: Kernel) -> tuple[Self, Float32]:
        """The landmarks `rows` (m,) of `inputs`, and what their words weigh by how rare they are (known words,)."""
        marks = inputs.take(rows)
        mean, spread = _moments(_numbers(inputs))
        scales = mean.astype(np.float32), np.where(spread < 1e-6, 1, spread).astype(np.float32)
        words = weigh_words(inputs.words)
        postings = Postings.of(marks.words, {kind: known.columns for kind, known in words.items()})
        vectors = {}
        for name, value in marks.vectors.items():
            present = np.flatnonzero(value.any(axis=1))
            # In half precision, in which they are kept, a cosine moves by less than 0.001.
            vectors[name] = PresentVectors(present, value[present].astype(np.float16).astype(np.float32))
        landmarks = cls(settings, postings, vectors, _scaled(marks, *scales), marks.unit, *scales)
        return landmarks, np.concatenate([known.weight for known in words.values()])

    def __len__(self) -> int:
        return len(self.unit)

    def weighing(self, weight: Float32) -> Weighing:
        """Weighing of words that weigh so much, (known words,)."""
        return self.postings.weighing(weight, {kind: getattr(self.settings, kind) for kind in self.postings.kinds})

    def kernels(
        self, inputs: Inputs, weighings: Sequence[Weighing], upto: int | None = None, threads: int = 1
    ) -> Float32:
        """(weighings, n, m) the kernel of n items and the landmarks, or the first `upto` of them."""
        factor = self.quantity_factor(inputs, upto)
        kernels = self.postings.cosines(inputs.words, weighings, upto, threads)
        kernels += self._vectors_kernel(inputs, factor.shape[1])
        kernels *= factor
        factor -= 1
        factor *= np.float32(self.settings.numbers / max(self.settings.product, 1e-6))
        kernels += factor
        return kernels

    def _vectors_kernel(self, inputs: Inputs, upto: int) -> Float32:
        """(n, upto) part of s that the vectors are; 0 where one of the two has none."""
        kernel = np.zeros((len(inputs), upto), np.float32)
        share = np.float32(self.settings.vectors / max(len(self.vectors), 1))
        for name, theirs in self.vectors.items():
            mine = inputs.vectors[name]
            present = mine.any(axis=1)
            last = np.searchsorted(theirs.rows, upto)
            if not (present.any() and last):
                continue
            near = mine @ theirs.vectors[:last].T
            near -= 1
            near *= np.float32(SHARPNESS)
            np.exp(near, out=near)
            near *= share
            near[~present] = 0
            if last == upto:
                kernel += near
            else:
                kernel[:, theirs.rows[:last]] += near
        return kernel

    def quantity_factor(self, inputs: Inputs, upto: int | None = None) -> Float32:
        """(n, m) 1 + p f: factor of the text kernel, by similarity in numbers and unit."""
        mine, theirs = _scaled(inputs, self.mean, self.scale), self.numbers[:upto]
        # -|a - b|^2 as one product
        factor: Float32 = (2 * mine) @ theirs.T
        factor -= (mine**2).sum(axis=1)[:, None]
        factor -= (theirs**2).sum(axis=1)[None, :]
        np.minimum(factor, 0, out=factor)
        np.exp(factor, out=factor)
        factor *= np.float32(self.settings.product)
        differs = inputs.unit[:, None] != self.unit[None, :upto]
        np.multiply(factor, np.float32(1 - self.settings.unit), out=factor, where=differs)
        factor += 1
        return factor


def _numbers(inputs: Inputs) -> Float32:
    """(n, numbers): those of the text, and where there are further ones these, NaN where missing, and which are."""
    if inputs.tabular is None:
        return inputs.numbers
    further = inputs.tabular.numbers
    return np.hstack([inputs.numbers, further, np.isnan(further).astype(np.float32)])


def _moments(numbers: Float32) -> tuple[Float64, Float64]:
    """Mean and spread of each column, over what is there of it."""
    # In float64: in float32 a constant seems to vary by its last bits, and the least difference would count as far.
    if not np.isnan(numbers).any():
        return numbers.mean(axis=0, dtype=np.float64), numbers.std(axis=0, dtype=np.float64)
    known = np.ma.masked_invalid(numbers)
    return tuple(moment(axis=0, dtype=np.float64).filled(0) for moment in (known.mean, known.std))


def _scaled(inputs: Inputs, mean: Float32, scale: Float32) -> Float32:
    """(n, numbers) spreads from the mean, by what each number counts for in f; what is missing counts as the mean."""
    numbers = _numbers(inputs)
    near = np.clip((numbers - mean) / scale, -FARTHEST, FARTHEST)
    further = numbers.shape[1] - len(NUMBERS)
    reach = [REACH[name] for name in NUMBERS] + [2 * FURTHER_REACH / max(further, 1)] * further
    scaled: Float32 = np.nan_to_num(near * np.sqrt(reach)).astype(np.float32)
    return scaled
