"""Items and their vectors -> what the models see.

Four kinds of input: unit vectors by modality (a row without one is all zero, and the models see that mask), numbers
read from the text, the unit, and the words. Nothing here is fitted: scaling belongs to the model that scales, inside
its fold, and words are hashed, not looked up in a vocabulary.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from index.units import UNITS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

NUMBERS = (
    "log_amount",  # of the whole listing, in the unit's canonical member
    "amount_unknown",
    "log_pack",
    "log_amount_each",  # amount / pack
    "log_name_length",
    "log_text_length",
    "log_lines",
)
_WORD = re.compile(r"\w+")
WORD_BUCKETS = 2**15  # hashed columns for each of the three kinds of word features; the text's words get twice as many


@dataclass(frozen=True)
class Inputs:
    """What the models see of n items."""

    vectors: dict[str, NDArray[np.float32]]  # modality -> (n, dim) unit rows, zero where absent
    numbers: NDArray[np.float32]  # (n, len(NUMBERS))
    unit: NDArray[np.int64]  # (n,) place in UNITS
    words: csr_matrix  # (n, 4 * WORD_BUCKETS) float32, 1 where the item has the feature

    def __len__(self) -> int:
        return len(self.unit)

    def frequent_words(self, least_rows: int) -> NDArray[np.int64]:
        """The columns of `words` that at least so many rows have."""
        return np.flatnonzero(np.bincount(self.words.indices, minlength=self.words.shape[1]) >= least_rows)

    def take(self, rows: NDArray[np.integer]) -> Inputs:
        """The inputs of some rows, in that order."""
        vectors = {name: vectors[rows] for name, vectors in self.vectors.items()}
        return Inputs(vectors, self.numbers[rows], self.unit[rows], self.words[rows])


def make_inputs(items: pa.Table, vectors: Mapping[str, NDArray[np.float32]]) -> Inputs:
    """Inputs of `items` (schema `index.catalogue.ITEMS`) and their vectors, (n, dim) by modality."""
    names, texts = items["name"].to_pylist(), items["text"].to_pylist()
    amount = items["amount"].to_numpy().astype(np.float64)  # NaN where unknown
    unknown = np.isnan(amount)
    log_pack = np.log(items["pack"].to_numpy().astype(np.float64))
    log_amount = np.log(np.where(unknown, 1.0, amount))
    numbers = np.column_stack(
        [
            log_amount,
            unknown,
            log_pack,
            np.where(unknown, 0.0, log_amount - log_pack),
            np.log1p([len(name) for name in names]),
            np.log1p([len(text) for text in texts]),
            np.log1p([text.count("\n") for text in texts]),
        ]
    )
    place = {unit: i for i, unit in enumerate(UNITS)}
    unit = np.array([place[unit] for unit in items["unit"].to_pylist()], np.int64)
    return Inputs(dict(vectors), numbers.astype(np.float32), unit, hash_words(names, texts))


def hash_words(names: list[str], texts: list[str]) -> csr_matrix:
    """(n, 4 * WORD_BUCKETS) 0/1: words and word pairs of the name, of the text, and the name's character n-grams.

    Source: the winning solution of Mercari's price suggestion challenge (binarised words into a small MLP); the name's
    words are kept apart from the text's because a brand in the name says more than one in a description.
    """
    from scipy.sparse import csr_matrix

    columns, starts = array("i"), [0]
    for name, text in zip(names, texts, strict=True):
        found = {_bucket(word, WORD_BUCKETS) for word in _words_and_pairs(name)}
        found |= {WORD_BUCKETS + _bucket(word, 2 * WORD_BUCKETS) for word in _words_and_pairs(text)}
        found |= {3 * WORD_BUCKETS + _bucket(part, WORD_BUCKETS) for part in _character_ngrams(name)}
        columns.extend(sorted(found))
        starts.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    return csr_matrix((ones, np.frombuffer(columns, np.int32), starts), shape=(len(names), 4 * WORD_BUCKETS))


def _words_and_pairs(text: str) -> Iterator[str]:
    words = _WORD.findall(text.lower())
    yield from words
    yield from map(" ".join, pairwise(words))


def _character_ngrams(text: str) -> Iterator[str]:
    """Runs of 3 to 5 characters within a word and the blanks around it."""
    for word in text.lower().split():
        padded = f" {word} "
        for size in range(3, 6):
            yield from (padded[at : at + size] for at in range(max(1, len(padded) - size + 1)))


def _bucket(feature: str, buckets: int) -> int:
    """The same on every machine and in every process, which Python's own hash is not."""
    return zlib.crc32(feature.encode("utf-8", "surrogatepass")) % buckets
