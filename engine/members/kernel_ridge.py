"""Kernel ridge regression: the price of an item is a weighted sum of its similarities (the kernel) to priced items.

    k(a, b) = s(a, b) (1 + p f(a, b)) + q f(a, b)

s adds up the cosines of several kinds of words (tf-idf) and of the vectors; f is a Gaussian of the numbers, less where
the unit differs. The product gives every sort of item a curve of its own of price over quantity.

What a word weighs is learned: after a first fit, each is scaled by how much the prediction moves with it, and the fit
is made again. Source: recursive feature machines (Radhakrishnan et al., Science 383, 2024), with the diagonal of their
average gradient outer product. Where there are more rows than `landmarks`, that many at random stand for all (the
subset of regressors: Rasmussen and Williams, 2006, section 8.3.1), so that a fit takes rows * landmarks^2 steps. A row
that counts less than others by its age has so much more noise: its ridge is divided by its weight.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.features.inputs import NUMBERS, WORD_KINDS, known_columns
from engine.features.tfidf import Words, weigh_words, word_table
from engine.metrics import weighted_quantile
from engine.settings.schema import Kernel as KernelSettings
from index.arrays import Float32, Float64, Int64, chunks
from index.catalogue.units import UNITS
from index.contents import expect, parse_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from engine.features.inputs import Inputs, InputShape

ROWS_AT_ONCE = 1024
FARTHEST = 4.0  # spreads from the mean at which a number is cut off
SHARPNESS = 3.0  # of the vectors' kernel, exp(SHARPNESS * (cosine - 1))
PROBES = 1200  # training rows over which the movement of the prediction is averaged
PROBES_AT_ONCE = 128  # each takes a number for every known word
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
LEAST_RELEVANCE, MOST_RELEVANCE = 0.3, 20.0  # of a word, as a multiple of the mean word's


@dataclass(frozen=True)
class _Landmarks:
    """The rows that every item is compared with."""

    words: csr_matrix  # (known columns, m) their word table, turned: a product with a query wants it by column
    vectors: dict[str, Float32]  # modality -> (m, dim)
    numbers: Float32  # (m, numbers) scaled
    unit: Int64  # (m,)


class KernelRidge:
    """One fitted kernel model. predict: Inputs of n items -> (n,) log price."""

    def __init__(
        self, settings: KernelSettings, words: dict[str, Words], tensors: dict[str, Any], landmarks: _Landmarks
    ) -> None:
        """`tensors`: mean and scale of the numbers, the landmarks' coefficients, the level."""
        self._settings = settings
        self._words = words
        self._tensors = tensors
        self._landmarks = landmarks

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        log_price: Float64,
        settings: KernelSettings,
        *,
        seed: int,
        age_weight: Float64 | None = None,
    ) -> Self:
        """Train on all of `inputs`; `log_price` (n,), `age_weight` (n,) where rows do not all count the same."""
        rows = np.arange(len(inputs))
        if len(rows) > settings.landmarks:
            rows = np.sort(np.random.default_rng(seed).choice(rows, settings.landmarks, replace=False))
        marks = inputs.take(rows)
        mean, spread = _moments(_numbers(inputs))
        tensors: dict[str, Any] = {
            "mean": mean.astype(np.float32),
            "scale": np.where(spread < 1e-6, 1, spread).astype(np.float32),
            "coefficients": np.zeros(len(rows), np.float32),
            "level": np.array([_median(log_price, age_weight)], np.float32),
        }
        words = weigh_words(inputs.words)
        landmarks = _Landmarks(
            words=_word_table(marks.words, words, settings).T.tocsr(),
            # In half precision, in which they are kept, a cosine moves by less than 0.001.
            vectors={name: value.astype(np.float16).astype(np.float32) for name, value in marks.vectors.items()},
            numbers=_scaled(marks, tensors),
            unit=marks.unit,
        )
        model = cls(settings, words, tensors, landmarks)
        model._solve(inputs, log_price, rows, age_weight)
        model._learn_words(inputs.take(np.random.default_rng(seed).permutation(len(inputs))[:PROBES]))
        model._landmarks = replace(landmarks, words=_word_table(marks.words, model._words, settings).T.tocsr())
        model._solve(inputs, log_price, rows, age_weight)
        return model

    def _solve(self, inputs: Inputs, log_price: Float64, rows: Int64, age_weight: Float64 | None) -> None:
        """The coefficients that fit `log_price` (n,); `rows`: which of `inputs` are the landmarks."""
        from scipy.linalg import cho_factor, cho_solve

        target = (log_price - self._tensors["level"][0]).astype(np.float32)
        ridge = np.float32(self._settings.ridge)
        weight = None if age_weight is None else age_weight.astype(np.float32)
        if len(rows) == len(inputs):
            left, right = np.empty((len(rows), len(rows)), np.float32), target
            for rows_here, kernel in self._kernels(inputs):
                left[rows_here] = kernel
            left.flat[:: len(rows) + 1] += ridge if weight is None else ridge / weight
        else:
            left, right = np.zeros((len(rows), len(rows)), np.float32), np.zeros(len(rows), np.float32)
            among = np.empty_like(left)
            place = np.full(len(inputs), -1)
            place[rows] = np.arange(len(rows))
            for rows_here, kernel in self._kernels(inputs):
                heavy = kernel if weight is None else kernel * weight[rows_here, None]
                left += heavy.T @ kernel
                right += heavy.T @ target[rows_here]
                here = place[rows_here]
                among[here[here >= 0]] = kernel[here >= 0]
            left += ridge * among
            left.flat[:: len(rows) + 1] += 1e-5 * left.diagonal().mean()  # landmarks that are duplicates are no basis
        factor = cho_factor(left, lower=True, overwrite_a=True, check_finite=False)
        self._tensors["coefficients"] = cho_solve(factor, right, check_finite=False).astype(np.float32)

    def _learn_words(self, probes: Inputs) -> None:
        """Scale each word by how much the prediction moves with it, on average over `probes`."""
        moved = np.zeros(self._landmarks.words.shape[0])
        for part in chunks(len(probes), PROBES_AT_ONCE):
            factor = self._quantity_factor(probes.take(part)) * self._tensors["coefficients"]  # (part, m)
            moved += ((self._landmarks.words @ factor.T) ** 2).sum(axis=1)
        ends = np.cumsum([len(words.columns) for words in self._words.values()])
        for (kind, words), relevance in zip(self._words.items(), np.split(np.sqrt(moved), ends[:-1]), strict=True):
            if not len(relevance):
                continue
            relative = np.minimum(relevance / max(float(relevance.mean()), 1e-12), MOST_RELEVANCE)
            scale = np.sqrt(LEAST_RELEVANCE + (1 - LEAST_RELEVANCE) * relative).astype(np.float32)
            self._words[kind] = Words(words.columns, words.weight * scale)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        predicted = np.empty(len(inputs))
        for rows, kernel in self._kernels(inputs):
            predicted[rows] = kernel @ self._tensors["coefficients"]
        return predicted + float(self._tensors["level"][0])

    def _kernels(self, inputs: Inputs) -> Iterator[tuple[slice, Float32]]:
        """Runs of rows, each with its kernel (rows, m)."""
        for rows in chunks(len(inputs), ROWS_AT_ONCE):
            part = inputs.take(rows)
            factor = self._quantity_factor(part)
            kernel = self._text_kernel(part) * factor
            kernel += (factor - 1) * np.float32(self._settings.numbers / max(self._settings.product, 1e-6))
            yield rows, kernel

    def _text_kernel(self, inputs: Inputs) -> Float32:
        """(n, m) s: kernel of the words and the vectors."""
        marks, settings = self._landmarks, self._settings
        kernel: Float32 = (_word_table(inputs.words, self._words, settings) @ marks.words).toarray()
        for name, theirs in marks.vectors.items():
            mine = inputs.vectors[name]
            both = np.outer(mine.any(axis=1), theirs.any(axis=1))
            share = np.float32(settings.vectors / len(marks.vectors))
            kernel += share * np.where(both, np.exp(np.float32(SHARPNESS) * (mine @ theirs.T - 1)), 0)
        return kernel

    def _quantity_factor(self, inputs: Inputs) -> Float32:
        """(n, m) 1 + p f: factor of the text kernel, by similarity in numbers and unit."""
        marks, settings = self._landmarks, self._settings
        mine = _scaled(inputs, self._tensors)
        squared_distance = (
            (mine**2).sum(axis=1)[:, None] + (marks.numbers**2).sum(axis=1)[None, :] - 2 * mine @ marks.numbers.T
        )
        same = np.where(inputs.unit[:, None] == marks.unit[None, :], np.float32(1), np.float32(1 - settings.unit))
        factor: Float32 = 1 + np.float32(settings.product) * np.exp(-np.maximum(squared_distance, 0)) * same
        return factor

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the landmarks have such inputs, and everything is as long as it must be."""
        marks, rows, numbers = self._landmarks, len(self._landmarks.unit), (len(NUMBERS) + 2 * shape.numbers,)
        vectors = {name: value.shape for name, value in marks.vectors.items()}
        expect(vectors == {name: (rows, dim) for name, dim in shape.dims.items()}, "its vectors are of other lengths")
        expect(marks.numbers.shape == (rows, *numbers), "it reads other numbers")
        expect(((marks.unit >= 0) & (marks.unit < len(UNITS))).all(), "a unit is out of range")
        shapes = {name: value.shape for name, value in self._tensors.items()}
        fitted = {"mean": numbers, "scale": numbers, "coefficients": (rows,), "level": (1,)}
        expect(shapes == fitted, "its arrays are of other lengths")
        expect(list(self._words) == list(shape.word_kinds), "it reads other kinds of words")
        for kind, words in self._words.items():
            of, columns = WORD_KINDS[kind], words.columns
            expect(known_columns(columns, of), "a word's column is out of range")
            expect(words.weight.shape == columns.shape, "it has a vocabulary of another size")
        expect(
            sum(len(words.columns) for words in self._words.values()) == marks.words.shape[0], "its words are others"
        )
        marks.words.check_format(full_check=True)
        weights = [words.weight for words in self._words.values()]
        for values in (*self._tensors.values(), marks.numbers, marks.words.data, *weights):
            expect(np.isfinite(values.sum()), "a weight is no number")  # the sum is none as well, and found at once

    def save(self, path: Path) -> None:
        """Save as safetensors; the landmarks' words as their weighted table, so that opening computes nothing."""
        from safetensors.numpy import save_file

        marks, table = self._landmarks, self._landmarks.words
        tensors = {
            **self._tensors,
            **{f"vectors.{name}": value.astype(np.float16) for name, value in marks.vectors.items()},
            "numbers": marks.numbers,
            "unit": marks.unit,
            "table.data": table.data,
            "table.landmarks": table.indices.astype(np.uint16 if table.shape[1] <= 2**16 else np.int32),
            "table.starts": table.indptr.astype(np.int64),
        }
        for kind, words in self._words.items():
            tensors |= {f"columns.{kind}": words.columns, f"weight.{kind}": words.weight}
        about = {"settings": json.dumps(asdict(self._settings))}
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata=about)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a model as it was saved."""
        from safetensors import safe_open
        from scipy.sparse import csr_matrix

        with safe_open(path, framework="numpy") as file:
            settings = KernelSettings(**parse_json(file.metadata()["settings"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        words = {
            kind: Words(tensors.pop(f"columns.{kind}"), tensors.pop(f"weight.{kind}"))
            for kind in WORD_KINDS
            if f"columns.{kind}" in tensors
        }
        data, rows, starts = (tensors.pop(f"table.{part}") for part in ("data", "landmarks", "starts"))
        vectors = [name for name in tensors if name.startswith("vectors.")]
        unit = tensors.pop("unit")
        landmarks = _Landmarks(
            words=csr_matrix((data, rows.astype(np.int32), starts), shape=(len(starts) - 1, len(unit))),
            vectors={name.removeprefix("vectors."): tensors.pop(name).astype(np.float32) for name in vectors},
            numbers=tensors.pop("numbers"),
            unit=unit,
        )
        return cls(settings, words, tensors, landmarks)


def _median(log_price: Float64, age_weight: Float64 | None) -> float:
    return float(np.median(log_price) if age_weight is None else weighted_quantile(log_price, age_weight, 0.5))


def _word_table(words: csr_matrix, known: dict[str, Words], settings: KernelSettings) -> csr_matrix:
    """(n, known columns) whose products are the cosines of all kinds of words, each by its weight, added up."""
    return word_table(words, known, {kind: getattr(settings, kind) for kind in known})


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


def _scaled(inputs: Inputs, tensors: dict[str, Any]) -> Float32:
    """(n, numbers) spreads from the mean, by what each number counts for in f; what is missing counts as the mean."""
    numbers = _numbers(inputs)
    near = np.clip((numbers - tensors["mean"]) / tensors["scale"], -FARTHEST, FARTHEST)
    further = numbers.shape[1] - len(NUMBERS)
    reach = [REACH[name] for name in NUMBERS] + [2 * FURTHER_REACH / max(further, 1)] * further
    scaled: Float32 = np.nan_to_num(near * np.sqrt(reach)).astype(np.float32)
    return scaled
