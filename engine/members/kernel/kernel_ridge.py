"""Kernel ridge regression: the price of an item is a weighted sum of its similarities (the kernel) to priced items.

What a word weighs is learned: after a first fit, each is scaled by how much the prediction moves with it, and the fit
is made again. Source: recursive feature machines (Radhakrishnan et al., Science 383, 2024), with the diagonal of their
average gradient outer product. A row that counts less than others by its age has so much more noise: its ridge is
divided by its weight.

Nothing that a model without a fold, or without two, is made of has seen a price of these. The first fits differ in
their coefficients alone, which come from one inverse (`engine.members.kernel.leave_out`). What words weigh is learned
without half of the folds: the folds are cut into four blocks, every two blocks are left out together, and the words'
weights that result serve each fold and each pair of folds within those two blocks. That makes six kernels, each with an
inverse of its own, for any number of folds. Of more rows than landmarks three blocks are cut, which makes three.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.features.inputs import NUMBERS, WORD_KINDS, known_columns
from engine.members.kernel.cosines import Postings, Weighing, kinds_of
from engine.members.kernel.fits import ROWS_AT_ONCE, KernelFits, Rows, blocks_for, word_plan
from engine.members.kernel.relevance import main_directions, relevance_of, relevant_weights
from engine.members.kernel.similarity import Landmarks, PresentVectors
from engine.settings.schema import Kernel as KernelSettings
from index.arrays import Float32, Float64, Int64, chunks
from index.catalogue.units import UNITS
from index.contents import expect, parse_json
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs, InputShape
    from engine.members.member import Out

PROBES = 1200  # rows over which the movement of the prediction is averaged


class KernelRidge:
    """The models of all folds. predict: Inputs of n items -> (n,) log price."""

    def __init__(
        self, landmarks: Landmarks, weighings: list[Weighing], weighing_of: Int64, coefficients: Float32, level: Float64
    ) -> None:
        """`weighing_of` (models,): each model's, of the `weighings`; `coefficients` (models, m); `level` (models,)."""
        self._landmarks = landmarks
        self._weighings = weighings
        self._weighing_of = weighing_of
        self._coefficients = coefficients
        self._level = level
        share = np.zeros((len(weighings), len(landmarks)))
        np.add.at(share, weighing_of, coefficients / np.float64(len(coefficients)))
        self._mean = share.astype(np.float32)  # models of one weighing are averaged before they predict

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
        """One model, trained on all of `inputs`; `log_price` (n,), `age_weight` (n,) where rows do not count alike."""
        rows = Rows(inputs, log_price, np.zeros(len(inputs), np.int8), age_weight)
        return cls.cross_fit(rows, [()], settings, seed=seed)[0]

    @classmethod
    def cross_fit(
        cls,
        rows: Rows,
        outs: Sequence[Out],
        settings: KernelSettings,
        *,
        seed: int,
        on_progress: OnProgress = silent,
    ) -> tuple[Self, dict[Out, Float64]]:
        """A model without each of `outs`, of which those without at most one fold are kept, in their order.

        And what each predicts of the rows that it has not seen, in their order.
        """
        n, random = len(rows.inputs), np.random.default_rng(seed)
        chosen = np.arange(n)
        if n > settings.landmarks:
            chosen = np.sort(random.choice(chosen, settings.landmarks, replace=False))
        landmarks, rarity = Landmarks.of(rows.inputs, chosen, settings)
        fits = KernelFits(rows, landmarks, chosen)
        probes = rows.inputs.take(random.permutation(n)[:PROBES])
        directions = main_directions(landmarks.quantity_factor(probes))
        plan = word_plan(outs, int(rows.fold.max()) + 1, blocks_for(n, len(chosen)))
        by_rarity = landmarks.weighing(rarity)
        # Words are weighed by the landmarks alone: what moves the price needs no more rows to be seen.
        among = fits if len(chosen) == n else KernelFits(rows.take(chosen), landmarks, np.arange(len(chosen)))
        first = among.solve(by_rarity, [out for out, _ in plan])
        kept: dict[Out, tuple[int, Float64, float]] = {}
        predicted: dict[Out, Float64] = {}
        weighings: list[Weighing] = []
        for done, (left_out, served) in enumerate(plan):
            on_progress("fitting the kernel", done, len(plan))
            relevance = relevance_of(landmarks.postings, by_rarity, first[left_out].coefficients, directions)
            weighing = landmarks.weighing(relevant_weights(rarity, relevance, landmarks.postings))
            for out, fit in fits.solve(weighing, served).items():
                predicted[out] = fit.predicted
                if len(out) <= 1:
                    kept[out] = len(weighings), fit.coefficients, fit.level
            weighings.append(weighing)
        models = [kept[out] for out in outs if len(out) <= 1]
        own, coefficients, level = zip(*models, strict=True)
        arrays = np.array(own), np.array(coefficients, np.float32), np.array(level)
        used = np.unique(arrays[0])
        model = cls(landmarks, [weighings[at] for at in used], np.searchsorted(used, arrays[0]), *arrays[1:])
        return model, predicted

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,), the mean of the models'."""
        predicted = np.empty(len(inputs))
        for part in chunks(len(inputs), max(1, ROWS_AT_ONCE // len(self._weighings))):
            kernels = self._landmarks.kernels(inputs.take(part), self._weighings)
            predicted[part] = np.einsum("wnm,wm->n", kernels, self._mean)
        predicted += self._level.mean()
        return predicted

    def predict_unseen(self, inputs: Inputs, fold: NDArray[np.integer]) -> Float64:
        """Log price (n,), each by the model of its own `fold` (n,)."""
        predicted = np.empty(len(inputs))
        for f in np.unique(fold):
            here = np.flatnonzero(fold == f)
            weighing = [self._weighings[self._weighing_of[f]]]
            for part in chunks(len(here), ROWS_AT_ONCE):
                kernel = self._landmarks.kernels(inputs.take(here[part]), weighing)[0]
                predicted[here[part]] = kernel @ self._coefficients[f] + self._level[f]
        return predicted

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the landmarks have such inputs, and everything is as long as it must be."""
        marks, numbers = self._landmarks, (len(NUMBERS) + 2 * shape.numbers,)
        models, count, postings = len(self._coefficients), len(marks), marks.postings
        dims = {name: value.vectors.shape[1:] for name, value in marks.vectors.items()}
        expect(dims == {name: (dim,) for name, dim in shape.dims.items()}, "its vectors are of other lengths")
        for present in marks.vectors.values():
            whole = len(present.rows) == len(present.vectors) and _rising(present.rows, count)
            expect(whole, "a vector has no landmark")
        expect(marks.numbers.shape == (count, *numbers), "it reads other numbers")
        expect(marks.mean.shape == marks.scale.shape == numbers, "it reads other numbers")
        expect(((marks.unit >= 0) & (marks.unit < len(UNITS))).all(), "a unit is out of range")
        expect(list(postings.kinds) == list(shape.word_kinds), "it reads other kinds of words")
        for kind, words in postings.kinds.items():
            expect(known_columns(postings.columns[words], WORD_KINDS[kind]), "a word's column is out of range")
        shapes = self._coefficients.shape, self._level.shape, self._weighing_of.shape
        expect(shapes == ((models, count), (models,), (models,)), "its arrays are of other lengths")
        # A sum is no number where one of its parts is none, and found at once.
        weights = [weighing.weight for weighing in self._weighings]
        arrays: list[NDArray[Any]] = [*weights, self._coefficients, self._level, marks.numbers, marks.mean, marks.scale]
        for values in arrays:
            expect(np.isfinite(values.sum()), "a weight is no number")

    def save(self, paths: Sequence[Path]) -> None:
        """Save as one file of safetensors: what the models share once, and a few numbers for each."""
        from safetensors.numpy import save_file

        (path,) = paths
        marks, postings = self._landmarks, self._landmarks.postings
        tensors: dict[str, NDArray[Any]] = {
            "coefficients": self._coefficients,
            "level": self._level,
            "weighing_of": self._weighing_of.astype(np.int64),
            "weights": np.stack([weighing.weight for weighing in self._weighings]).astype(np.float16),
            "mean": marks.mean,
            "scale": marks.scale,
            "numbers": marks.numbers,
            "unit": marks.unit.astype(np.int64),
            "postings.starts": postings.starts,
            "postings.landmarks": postings.landmarks,
        }
        for name, present in marks.vectors.items():
            tensors |= {f"vectors.{name}": present.vectors.astype(np.float16), f"rows.{name}": present.rows}
        tensors |= {f"columns.{kind}": postings.columns[of].astype(np.int32) for kind, of in postings.kinds.items()}
        # As one text: several would lie in the file in an order that changes from time to time.
        about = {"kernel": json.dumps({"settings": asdict(marks.settings), "kinds": list(postings.kinds)})}
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata=about)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a model as it was saved."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            about = parse_json(file.metadata()["kernel"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        settings, kinds = KernelSettings(**about["settings"]), about["kinds"]
        expect(set(kinds) <= set(WORD_KINDS), "it reads other kinds of words")
        columns = {kind: tensors[f"columns.{kind}"].astype(np.int64) for kind in kinds}
        starts, marks, unit = (tensors[name] for name in ("postings.starts", "postings.landmarks", "unit"))
        postings = Postings(kinds_of(columns), np.concatenate(list(columns.values())), starts, marks, len(unit))
        words, weights = len(postings.columns), tensors["weights"].astype(np.float32)
        expect(len(starts) == words + 1 and starts[0] == 0 and starts[-1] == len(marks), "its words are others")
        expect((np.diff(starts) >= 0).all() and (marks < len(unit)).all(), "a word has no landmark")
        expect(weights.ndim == 2 and weights.shape[1] == words, "it has a vocabulary of another size")
        of = tensors["weighing_of"]
        expect(len(of) > 0 and ((of >= 0) & (of < len(weights))).all(), "a model has no words")
        names = [name.removeprefix("vectors.") for name in tensors if name.startswith("vectors.")]
        vectors = {
            name: PresentVectors(tensors[f"rows.{name}"], tensors[f"vectors.{name}"].astype(np.float32))
            for name in names
        }
        scales = (tensors[name] for name in ("mean", "scale"))
        landmarks = Landmarks(settings, postings, vectors, tensors["numbers"], unit, *scales)
        weighings = [landmarks.weighing(weight) for weight in weights]
        return cls(landmarks, weighings, of, tensors["coefficients"], tensors["level"])


def _rising(values: Int64, below: int) -> bool:
    if not len(values):
        return True
    return bool(values[0] >= 0 and values[-1] < below and (np.diff(values) > 0).all())
