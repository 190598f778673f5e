"""Inputs of the models, made from items and their vectors.

Four kinds of input: unit vectors by modality (a row without one is all zero, and the models see that mask), numbers
read from the text, the unit, and the words. Nothing here is fitted: scaling belongs to the model that scales, inside
its fold, and words are hashed, not looked up in a vocabulary.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.features.tabular import Tabular, make_tabular, rising, words_of_columns
from index.catalogue.further import CATEGORY, described
from index.catalogue.units import UNITS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from index.arrays import Float32, Float64, Int32, Int64
    from index.storage.manifest import Manifest

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
# Scripts that are written without blanks: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_UNSPACED_PIECE = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")
_UNSPACED_BLANK = re.compile(rf"(?<=[{_UNSPACED}])\s+|\s+(?=[{_UNSPACED}])")
FURTHER = "further"
_BUCKETS = {  # hashed columns of each kind of words
    "name": 2**15,  # words and word pairs of the name
    "text": 2**16,  # words and word pairs of the whole text
    "characters": 2**15,  # runs of 3 to 5 characters of the name
    "phrases": 2**17,  # runs of three words of the whole text
    "opening": 2**13,  # the name's first one, two and three words: where the brand stands
    FURTHER: 2**16,  # of further columns, where there are any: see `engine.features.tabular`
}
_ENDS = dict(zip(_BUCKETS, accumulate(_BUCKETS.values()), strict=True))
WORD_KINDS = {kind: slice(_ENDS[kind] - buckets, _ENDS[kind]) for kind, buckets in _BUCKETS.items()}
"""The columns of `Inputs.words`, by kind."""
COMMON_KINDS = ("name", "text", "characters", FURTHER)
"""What the trees and the words head read: there, the others add nothing."""


@dataclass(frozen=True)
class Fields:
    """Numbers and unit that are read from n items' texts."""

    numbers: Float32  # (n, len(NUMBERS))
    unit: Int64  # (n,) place in UNITS

    @classmethod
    def of(cls, items: pa.Table) -> Self:
        """Read them of `items` (schema `ITEMS` of `item_table`)."""
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
        return cls(numbers.astype(np.float32), unit)

    @property
    def log_amount(self) -> Float64:
        """(n,) of the whole listing, in the unit's canonical member; NaN where unknown."""
        amount, unknown = (self.numbers[:, NUMBERS.index(name)] for name in ("log_amount", "amount_unknown"))
        return np.where(unknown > 0, np.nan, amount.astype(np.float64))

    def take(self, rows: NDArray[np.integer]) -> Fields:
        """Take those of some rows, in that order."""
        return Fields(self.numbers[rows], self.unit[rows])


@dataclass(frozen=True)
class Inputs:
    """Inputs of the models for n items."""

    vectors: dict[str, Float32]  # modality -> (n, dim) unit rows, zero where absent
    numbers: Float32  # (n, len(NUMBERS))
    unit: Int64  # (n,) place in UNITS
    words: csr_matrix  # (n, columns of all WORD_KINDS) float32, 1 where the item has the feature
    texts: NDArray[np.object_] | None = None  # (n,) str, as `described`: what an encoder is fine-tuned on
    tabular: Tabular | None = None  # None where there are no further columns

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def fields(self) -> Fields:
        """The numbers and the unit alone."""
        return Fields(self.numbers, self.unit)

    @property
    def log_amount(self) -> Float64:
        """(n,) of the whole listing, in the unit's canonical member; NaN where unknown."""
        return self.fields.log_amount

    def frequent_words(self, least_rows: int, kinds: Sequence[str] = COMMON_KINDS, *, most: int | None = None) -> Int64:
        """The columns of `words`, of some kinds, that at least so many rows have; the `most` frequent, if given."""
        rows = np.bincount(self.words.indices, minlength=self.words.shape[1])
        columns = [WORD_KINDS[kind] for kind in kinds]
        frequent = np.concatenate([of.start + np.flatnonzero(rows[of] >= least_rows) for of in columns])
        if most is not None and len(frequent) > most:
            frequent = np.sort(frequent[np.argsort(-rows[frequent], kind="stable")[:most]])
        return frequent

    def take(self, rows: NDArray[np.integer] | slice) -> Inputs:
        """The inputs of some rows, in that order."""
        vectors = {name: vectors[rows] for name, vectors in self.vectors.items()}
        texts = None if self.texts is None else self.texts[rows]
        tabular = self.tabular and self.tabular.take(rows)
        return Inputs(vectors, self.numbers[rows], self.unit[rows], self.words[rows], texts, tabular)


@dataclass(frozen=True)
class InputShape:
    """Shape of an index's inputs, as its manifest says it: what its models must have been fitted on."""

    dims: Mapping[str, int]  # modality -> numbers of its vectors
    categories: int = 0  # further columns
    numbers: int = 0  # further columns

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read it out of the manifest of a generation."""
        categories = sum(column.startswith(CATEGORY) for column in manifest.further)
        return cls(manifest.dims, categories, len(manifest.further) - categories)

    @classmethod
    def of_inputs(cls, inputs: Inputs) -> Self:
        """Take it of inputs."""
        dims = {name: vectors.shape[1] for name, vectors in inputs.vectors.items()}
        tabular = inputs.tabular
        return cls(dims) if tabular is None else cls(dims, tabular.categories.shape[1], tabular.numbers.shape[1])

    @property
    def word_kinds(self) -> dict[str, slice]:
        """The columns of `Inputs.words`, by kind."""
        further = self.categories + self.numbers > 0
        return {kind: columns for kind, columns in WORD_KINDS.items() if further or kind != FURTHER}

    @property
    def word_columns(self) -> slice:
        """All columns of `Inputs.words`."""
        return slice(0, max(columns.stop for columns in self.word_kinds.values()))


def places_of_known(words: csr_matrix, columns: Int64) -> tuple[Int32, Int64]:
    """Places in `columns` of the words of n items that are among them, and where each item's begin (n + 1,).

    `words` (n, all columns). What words[:, columns] would hold, in a tenth of its time.
    """
    place = np.full(words.shape[1], -1, np.int32)
    place[columns] = np.arange(len(columns))
    at = place[words.indices]
    known = at >= 0
    starts: Int64 = np.concatenate([[0], np.cumsum(known)])[words.indptr]
    return at[known], starts


def known_columns(columns: NDArray[Any], of: slice) -> bool:
    """Tell whether an array that was read from a file names columns of `Inputs.words`, rising, all of them in `of`."""
    if not rising(columns):
        return False
    return not len(columns) or bool(columns[0] >= of.start and columns[-1] < of.stop)


def make_inputs(items: pa.Table, vectors: Mapping[str, Float32]) -> Inputs:
    """Inputs of `items` (schema `ITEMS` of `item_table`, further columns) and vectors, (n, dim) by modality."""
    names, whole, fields = items["name"].to_pylist(), described(items), Fields.of(items)
    words = hash_words(names, whole, words_of_columns(items))
    return Inputs(dict(vectors), fields.numbers, fields.unit, words, np.array(whole, object), make_tabular(items))


def make_numbers(items: pa.Table) -> Inputs:
    """Inputs of `items` as `make_inputs` makes them, for who reads numbers and units alone: no vector and no word."""
    from scipy.sparse import csr_matrix

    fields = Fields.of(items)
    return Inputs({}, fields.numbers, fields.unit, csr_matrix((len(fields.unit), 0), dtype=np.float32))


def hash_words(names: list[str], texts: list[str], further: list[list[str]] | None = None) -> csr_matrix:
    """(n, columns of all WORD_KINDS) 0/1; without `further` words, of further columns, without that last kind.

    Source: the winning solution of Mercari's price suggestion challenge (binarised words into a small MLP); the name's
    words are kept separate from the text's because a brand in the name says more than one in a description.
    """
    from scipy.sparse import csr_matrix

    columns, starts = array("i"), [0]
    for name, text, words in zip(names, texts, further or repeat([], len(names)), strict=True):
        for kind, features in {**_features(name, text), FURTHER: words}.items():
            start = WORD_KINDS[kind].start
            columns.extend(start + bucket for bucket in _buckets(features, _BUCKETS[kind]))
        starts.append(len(columns))
    ones = np.ones(len(columns), np.float32)
    shape = len(names), _ENDS["opening" if further is None else FURTHER]
    return csr_matrix((ones, np.frombuffer(columns, np.int32), starts), shape=shape)


def _features(name: str, text: str) -> dict[str, Iterable[str]]:
    """Strings of an item that are hashed, by kind and in the order of WORD_KINDS."""
    in_name, in_text = _words(name), _words(text)
    return {
        "name": _runs(in_name, 1, 2),
        "text": _runs(in_text, 1, 2),
        "characters": _character_ngrams(name),
        "phrases": _runs(in_text, 3, 3),
        "opening": (" ".join(in_name[:end]) for end in range(1, min(3, len(in_name)) + 1)),
    }


def _words(text: str) -> list[str]:
    """The words of a text. Of a script without blanks every character is one, so that their pairs stand for words.

    Source: character bigrams are the plain way to index Chinese and Japanese (Nie et al., 2000: about as good as words
    that a dictionary cuts, and no dictionary is needed).
    """
    words = _WORD.findall(text.lower())
    if text.isascii() or not _UNSPACED_CHARACTER.search(text):
        return words
    return [piece for word in words for piece in _UNSPACED_PIECE.findall(word)]


def _runs(words: list[str], shortest: int, longest: int) -> Iterator[str]:
    """Neighbouring words, joined."""
    for size in range(shortest, longest + 1):
        yield from map(" ".join, zip(*(words[at:] for at in range(size)), strict=False))


def _character_ngrams(text: str) -> Iterator[str]:
    """Runs of 3 to 5 characters within a word and the blanks around it; no blank parts a script without blanks."""
    if not text.isascii() and _UNSPACED_CHARACTER.search(text):
        text = _UNSPACED_BLANK.sub("", text)
    return chain.from_iterable(map(_ngrams_of_word, text.lower().split()))


@lru_cache(maxsize=2**16)  # few words make most of a catalogue's names
def _ngrams_of_word(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[at : at + size] for size in range(3, 6) for at in range(max(1, len(padded) - size + 1))]


def _buckets(words: Iterable[str], buckets: int) -> list[int]:
    """Buckets of words, rising: the same on every machine and in every process, which Python's own hash is not."""
    return sorted({zlib.crc32(word.encode("utf-8", "surrogatepass")) % buckets for word in words})
