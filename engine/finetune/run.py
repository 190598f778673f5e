"""The whole of `price finetune`: a priced catalogue in, an encoder out."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.features.inputs import make_inputs
from engine.finetune.checkpoint import read_checkpoint, write_checkpoint
from engine.finetune.examples import Examples, Shelf, States, viewed
from engine.finetune.network import PHOTOGRAPH, TEXT, make_network, merge_adapters, open_towers, require_encoders
from engine.finetune.provenance import HEARD, row_keys, with_inherited
from engine.finetune.trainable_encoders import WEIGHTS
from engine.finetune.training import Course, Training
from engine.finetune.workspace import FINETUNE, PHOTOGRAPHS, Work, working
from engine.folds import MOST_FOLDS, assign_folds, refuse_too_few_groups
from index.catalogue.columns import Columns
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.items import read_catalogue
from index.encoders.device import Device, Runtime
from index.errors import DataRefused, UsageError
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import Report, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.finetune.network import PriceNetwork
    from engine.finetune.trainable_encoders import Tower
    from engine.settings.finetuning import FinetuneSettings

    Rows = NDArray[np.int64]

LEAST_GROUPS = 40  # of twins: below it there is nothing to learn from, and nothing to stop by
CHECKPOINT_EVERY = 60.0  # seconds
FORMAT = 1


@dataclass(frozen=True)
class Finetuned:
    """What came of it."""

    encoders: list[str]  # as they are named in --text-encoder and --image-encoder
    rows: int
    rejected: Counter[str]  # by reason
    validation_rows: int
    course: Course
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; epochs count from 1, and `smape` is that of the one taken, None where none was measured."""
        return {
            "encoders": self.encoders,
            "rows": self.rows,
            "rejected": self.rejected.total(),
            "validation_rows": self.validation_rows,
            "best_epoch": self.course.best + 1,
            "smape": self.course.curve[self.course.best].smape,
            "curve": self.course.to_json()["curve"],
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Read:
    """The catalogue as it is learned from."""

    examples: Examples
    training: Rows
    validation: Rows
    keys: list[str] | None  # of what the encoders will have heard; None where that cannot be told
    rejected: Counter[str]


def finetune(
    catalogue: Path,
    target: Path,
    settings: FinetuneSettings,
    *,
    seed: int = 0,
    columns: Columns | None = None,
    image_dir: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    checkpoint_every: float = CHECKPOINT_EVERY,
    report: Report = silent,
) -> Finetuned:
    """Fine-tune on a priced catalogue and write the encoder to the folder `target`, or go on where that was stopped.

    Raises DataRefused, UsageError, DownloadNeeded or IndexLocked; whatever happens, no more than `checkpoint_every`
    seconds of training are lost, and a finished `target` stays what it was until the new one is whole.
    """
    started = time.monotonic()
    require_encoders(settings)
    if settings.layers == 0:
        raise UsageError("layers is 0: give a whole number of layers from 1, or the encoder stays what it is.")
    machine = Runtime(device, precision).resolve_for_training()
    photographs = Photographs(image_dir, None, catalogue.parent)
    with working(target, overwrite=overwrite) as work:
        towers = open_towers(settings, str(machine.device))
        read = _read(catalogue, columns or Columns(), photographs, settings, seed=seed, report=report)
        begun = _begun(settings, towers, read, seed, machine)
        kept = _resumable(work, begun, overwrite)
        with machine.repeatable(seed):
            network = make_network(towers, settings)
            shelf = Shelf(read.examples, towers, States(photographs), machine)
            shelf.keep(report)
            rows = read.training, read.validation
            training = Training(network, shelf, rows, settings, seed=seed, machine=machine)
            if kept is not None:
                training.restore(*kept)
            training.run(_keeper(work, training, begun, checkpoint_every), report)
            merge_adapters(network)
        report("writing the encoder", 0, None)
        with work.finished() as folder:
            _write(folder, network, training.course, begun, read.keys)
    return Finetuned(
        encoders=_names(target, towers),
        rows=len(read.examples),
        rejected=read.rejected,
        validation_rows=len(read.validation),
        course=training.course,
        seconds=time.monotonic() - started,
    )


def _read(
    catalogue: Path,
    columns: Columns,
    photographs: Photographs,
    settings: FinetuneSettings,
    *,
    seed: int,
    report: Report,
) -> _Read:
    """The rows, and which of them say when to stop: a part that splits no group of twins."""
    read = read_catalogue(catalogue, columns, priced=True, report=report)
    items = read.items
    images = items["image"].to_pylist()
    seen = read_fingerprints(photographs, images).of(images)
    names = [name_key(name) for name in items["name"].to_pylist()]
    groups = duplicate_groups(names, images, seen)
    inputs = make_inputs(items, {})
    examples = Examples(
        texts=viewed(items["text"].to_pylist(), settings.view),
        images=[image if content else None for image, content in zip(images, seen, strict=True)],
        numbers=inputs.numbers,
        unit=inputs.unit,
        log_price=items["log_price"].to_numpy().astype(np.float64),
    )
    _refuse(examples, groups)
    fold = np.ones(len(groups), np.int8)
    if settings.validation:
        # A share too small for that gets one fold's worth: nobody asked for folds, and none may be refused.
        folds = min(max(2, round(1 / settings.validation)), MOST_FOLDS, len(np.unique(groups)))
        fold = assign_folds(groups, folds, seed, examples.log_price)
    keys = with_inherited(set().union(*row_keys(items, seen)), (settings.encoder, settings.image_encoder))
    reasons = Counter(reject.reason.partition(":")[0].partition(" (")[0] for reject in read.rejects)
    return _Read(examples, np.flatnonzero(fold != 0), np.flatnonzero(fold == 0), keys, reasons)


def _refuse(examples: Examples, groups: Rows) -> None:
    """What nothing can be learned from."""
    refuse_too_few_groups(groups, LEAST_GROUPS, f"is too few to fine-tune, which takes {LEAST_GROUPS}: add rows")
    if np.ptp(examples.log_price) == 0:
        raise DataRefused("Every usable row has the same price: there is nothing to learn from them.")
    if not any(text.strip() for text in examples.texts):
        raise DataRefused("No usable row has words to read: name the column of words with --text-column.")


def _begun(
    settings: FinetuneSettings, towers: dict[str, Tower], read: _Read, seed: int, machine: Device
) -> dict[str, Any]:
    """All that the result depends on, as plain values: what a run that goes on must agree with."""
    import torch

    return {
        **asdict(settings),
        **{f"{kind}_identity": tower.encoder.identity for kind, tower in towers.items()},
        "seed": seed,
        "device": machine.device.type,
        "precision": machine.precision,
        "torch": torch.__version__,
        "catalogue": read.examples.digest(),
        "rows": len(read.examples),
        "validation_rows": len(read.validation),
    }


def _resumable(work: Work, begun: dict[str, Any], overwrite: bool) -> tuple[Course, dict[str, Any]] | None:
    """How far an earlier run came. One that was begun otherwise is refused by what differs, or dropped if asked."""
    try:
        kept = read_checkpoint(work.checkpoint)
    except DataRefused:
        if not overwrite:
            raise
        kept = None
    if kept is None:
        return None
    document, tensors = kept
    earlier = document["begun"]
    differs = next((name for name in begun if earlier.get(name) != begun[name]), None)
    if differs is None:
        return Course.from_json(document["course"]), tensors
    if overwrite:
        return None
    before, now = earlier.get(differs), begun[differs]
    what = "the catalogue has changed" if differs == "catalogue" else f"{differs} was {before!r} and is {now!r}"
    raise DataRefused(
        f"{work.target} was begun otherwise and is unfinished: {what}. Give what it was begun with to go on, "
        "--overwrite to begin anew, or another -o."
    )


def _keeper(work: Work, training: Training, begun: dict[str, Any], every: float) -> Any:
    """Called after each step: writes the checkpoint when it is time, and after every epoch."""
    last = time.monotonic()

    def keep(epoch_over: bool) -> None:
        nonlocal last
        if epoch_over or time.monotonic() - last >= every:
            write_checkpoint(work.checkpoint, {"begun": begun, "course": training.course.to_json()}, training.tensors())
            last = time.monotonic()

    return keep


def _write(folder: Path, network: PriceNetwork, course: Course, begun: dict[str, Any], keys: list[str] | None) -> None:
    """Weights in the layout that `index.encoders` loads, and the record of how they came to be beside them."""
    from safetensors.torch import save

    document = {
        "format": FORMAT,
        "engine_version": version("price-engine"),
        **begun,
        "curve": course.to_json()["curve"],
        "best_epoch": course.best + 1,
        "keys": keys,
    }
    record = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()
    for kind, tower in network.towers.items():
        own = folder if kind == TEXT else folder / PHOTOGRAPHS
        own.mkdir(exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in tower.tensors().items()}
        # One key: safetensors writes several in any order, and the same weights must be the same bytes.
        (own / WEIGHTS).write_bytes(save(weights, {HEARD: hashlib.sha256(record).hexdigest()}))
        (own / FINETUNE).write_bytes(record)
        tower.copy_rest(own)


def _names(target: Path, towers: dict[str, Tower]) -> list[str]:
    where = {TEXT: target, PHOTOGRAPH: target / PHOTOGRAPHS}
    return [f"{tower.encoder.spec.name}@{where[kind]}" for kind, tower in towers.items()]
