"""Finished fits of a build that is not over, kept on the disk: a build that is killed goes on where it was.

A fit is used again only if everything that it was learned from is the same, to the byte: items, prices, folds, settings
of the members, and the versions of what computes. All of that is in the name of the folder that it lies in; a build
with anything else finds nothing there, and removes it. A build that ends removes its own: the models are in the index.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from engine.features.inputs import InputShape
from engine.members.registry import MEMBERS, load_member, require_package
from index.encoders import open_encoder
from index.errors import IndexUnusable
from index.files import atomic_write
from index.storage.manifest import FORMAT

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.features.training_set import TrainingSet
    from engine.members.member import FoldModels, Member, Out
    from engine.settings.schema import Settings
    from index.arrays import Float64

COMPUTED_BY = ("price-engine", "numpy", "scipy", "torch", "lightgbm")
EVERY = "every"  # in the place of folds: a fit of all of them at once


class FinishedFits:
    """Fits of one training set with one choice of settings: models without one fold, predictions without one or two."""

    def __init__(self, folder: Path, training: TrainingSet, settings: Settings) -> None:
        """Keep them below `folder`, where whatever was learned from anything else is removed."""
        digest = _digest(training, settings)
        self._folder = folder / digest
        self._shape = InputShape.of_inputs(training.inputs)
        sections = (getattr(settings, name) for name in settings.members)
        self._read_by_trees = {"mlp"} if any("fused" in getattr(own, "reads", ()) for own in sections) else set()
        if folder.is_dir():
            for stale in folder.iterdir():
                if stale.name != digest:
                    shutil.rmtree(stale, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    def read(self, member: str, out: Out, before: Mapping[str, Member]) -> tuple[Member | None, Float64] | None:
        """A model, where it was kept, and what it predicts of its outs; None where there is none to read."""
        found = self._read(member, _name(out), before, model=self.keeps_model(member, out))
        return found and (cast("Member | None", found[0]), found[1])

    def keep(self, member: str, out: Out, model: Member, predicted: Float64) -> None:
        """Keep a fit; of one that leaves out two folds what it predicts alone, unless trees read its model."""
        if self.keeps_model(member, out):
            model.save(self._model(member, _name(out)))
        self._keep(member, _name(out), predicted)

    def keep_saved(self, member: str, out: Out, model: bytes | None, predicted: Float64) -> None:
        """Keep a fit as `keep` does, or with no `out` as `keep_together`; of the model, the bytes that it saved."""
        name = _name(out) if out else EVERY
        if model is not None:
            self._model(member, name).write_bytes(model)
        self._keep(member, name, predicted)

    def keeps_model(self, member: str, out: Out) -> bool:
        """Tell whether the model of a fit is kept, and not only what it predicts."""
        return len(out) == 1 or member in self._read_by_trees

    def read_together(self, member: str, rows: Sequence[int]) -> tuple[FoldModels, list[Float64]] | None:
        """All models of a member that is fitted at once, and what they predict, of so many rows each."""
        found = self._read(member, EVERY, {}, model=True)
        if found is None or len(found[1]) != sum(rows):
            return None
        return cast("FoldModels", found[0]), np.split(found[1], np.cumsum(rows)[:-1])

    def keep_together(self, member: str, models: FoldModels, predicted: Sequence[Float64]) -> None:
        """Keep what `read_together` reads."""
        models.save([self._model(member, EVERY)])
        self._keep(member, EVERY, np.concatenate(predicted))

    def remove(self) -> None:
        """Remove all: they are part of an index now."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # another build's lie there
            self._folder.parent.rmdir()

    def _read(self, member: str, name: str, before: Mapping[str, Member], *, model: bool) -> tuple[Any, Float64] | None:
        try:
            predicted = np.load(self._predicted(member, name), allow_pickle=False)
            loaded = load_member(member, self._model(member, name), before, self._shape) if model else None
        except (OSError, ValueError, EOFError, IndexUnusable):  # it is not there, or not whole: fitted again
            return None
        if predicted.dtype != np.float64 or predicted.ndim != 1 or not np.isfinite(predicted).all():
            return None
        return loaded, predicted

    def _keep(self, member: str, name: str, predicted: Float64) -> None:
        """Write the predictions, last: a fit is kept where they are."""
        with atomic_write(self._predicted(member, name)) as partial, partial.open("wb") as file:
            np.save(file, predicted)

    def _model(self, member: str, name: str) -> Path:
        return self._folder / f"{member}-{name}.{MEMBERS[member].suffix}"

    def _predicted(self, member: str, name: str) -> Path:
        return self._folder / f"{member}-{name}.npy"


def _name(out: Out) -> str:
    return "-".join(map(str, out))


def computed_by(settings: Settings) -> dict[str, str]:
    """Versions of all that members are computed by, and the weights that `finetuned` begins with.

    Raises UsageError where a package is missing.
    """
    versions = {package: version(package) for package in COMPUTED_BY}
    for package in filter(None, (MEMBERS[name].package for name in settings.members)):
        require_package(package)
        versions[package] = import_module(package).__version__
    if "finetuned" in settings.members:
        from engine.finetune.network import encoder_names

        versions |= {name: open_encoder(name).identity for name in encoder_names(settings.finetuned).values()}
    return versions


def _digest(training: TrainingSet, settings: Settings) -> str:
    """Hex sha256 of everything that members are learned from."""
    members = {name: asdict(getattr(settings, name)) for name in settings.members}
    plain = {
        "members": members,
        "seed": settings.seed,
        "outliers": settings.outliers,
        "by": computed_by(settings),
        "format": FORMAT,
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, values in _arrays(training):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _arrays(training: TrainingSet) -> Iterator[tuple[str, Any]]:
    inputs: Inputs = training.inputs
    yield "log_price", training.log_price
    yield "fold", training.fold
    if training.age_weight is not None:
        yield "age_weight", training.age_weight
    yield from inputs.vectors.items()
    yield "numbers", inputs.numbers
    yield "unit", inputs.unit
    yield "words", inputs.words.indices
    yield "starts", inputs.words.indptr
    if inputs.tabular is not None:
        yield "categories", inputs.tabular.categories
        yield "further numbers", inputs.tabular.numbers
    if inputs.texts is not None:
        yield "texts", np.frombuffer("\0".join(inputs.texts).encode("utf-8", "surrogatepass"), np.uint8)
