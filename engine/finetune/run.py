"""Fine-tuning from end to end (`price finetune`): a priced catalogue in, an encoder out."""

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
from engine.finetune.examples import ExampleBatches, Examples, FrozenActivations, viewed
from engine.finetune.network import make_network, merge_adapters, open_encoders, require_encoders
from engine.finetune.provenance import RECORD_HASH, row_keys, with_inherited
from engine.finetune.trainable_encoders import PHOTOGRAPH, TEXT, WEIGHTS
from engine.finetune.training import Training, TrainingState
from engine.finetune.workspace import FINETUNE, PHOTOGRAPHS, Workspace, open_workspace
from engine.folds import MOST_FOLDS, assign_folds, refuse_too_few_groups
from engine.networks.tensor_file import tensor_bytes
from index.catalogue.duplicates import duplicate_groups
from index.catalogue.fields import name_key
from index.catalogue.further import described
from index.catalogue.items import read_catalogue
from index.catalogue.settings import FOUND, ReadSettings
from index.encoders.device import Device, Runtime
from index.errors import DataRefused, UsageError
from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    from engine.finetune.network import PriceNetwork
    from engine.finetune.trainable_encoders import Encoders
    from engine.settings.finetuning import FinetuneSettings
    from index.arrays import Int64

LEAST_GROUPS = 40  # of near-duplicates: below it there is nothing to learn from, and nothing to stop by
CHECKPOINT_EVERY = 60.0  # seconds
FORMAT = 1


@dataclass(frozen=True)
class FinetuneOptions:
    """Options of a run: reading the catalogue, computing, writing."""

    seed: int = 0
    reading: ReadSettings = FOUND
    image_dir: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    overwrite: bool = False  # a finished encoder, or the work on one that was begun otherwise


DEFAULT_OPTIONS = FinetuneOptions()


@dataclass(frozen=True)
class FinetuneResult:
    """Result of a run."""

    encoders: list[str]  # as they are named in --text-encoder and --image-encoder
    rows: int
    rejected: Counter[str]  # by reason
    validation_rows: int
    state: TrainingState
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; epochs count from 1, and `smape` is that of the one taken, None where none was measured."""
        return {
            "encoders": self.encoders,
            "rows": self.rows,
            "rejected": self.rejected.total(),
            "validation_rows": self.validation_rows,
            "best_epoch": self.state.best + 1,
            "smape": self.state.curve[self.state.best].smape,
            "curve": asdict(self.state)["curve"],
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Read:
    """The catalogue as it is learned from."""

    examples: Examples
    training: Int64
    validation: Int64
    keys: list[str] | None  # of the rows that the encoders will have been trained on; None where that cannot be told
    rejected: Counter[str]


def finetune(
    catalogue: Path,
    target: Path,
    settings: FinetuneSettings,
    options: FinetuneOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress = silent,
) -> FinetuneResult:
    """Fine-tune on a priced catalogue and write the encoder to the folder `target`, or go on where that was stopped.

    Raises DataRefused, UsageError, DownloadNeeded or IndexLocked; whatever happens, no more than `CHECKPOINT_EVERY`
    seconds of training are lost, and a finished `target` stays what it was until the new one is whole.
    """
    started = time.monotonic()
    require_encoders(settings)
    if settings.layers == 0:
        raise UsageError("layers is 0: give a whole number of layers from 1, or the encoder stays what it is.")
    machine = Runtime(options.device, options.precision).resolve_for_training()
    photographs = Photographs(options.image_dir, None, catalogue.parent)
    with open_workspace(target, overwrite=options.overwrite) as workspace:
        encoders = open_encoders(settings, str(machine.device))
        read = _read(catalogue, photographs, settings, options, on_progress)
        conditions = _conditions(settings, encoders, read, options.seed, machine)
        kept = _resumable(workspace, conditions, options.overwrite)
        with machine.repeatable(options.seed):
            network = make_network(encoders, settings)
            batches = ExampleBatches(read.examples, encoders, FrozenActivations(photographs), machine)
            batches.make_ahead(on_progress)
            rows = read.training, read.validation
            training = Training(network, batches, rows, settings, seed=options.seed, machine=machine)
            if kept is not None:
                training.restore(*kept)
            training.run(_keeper(workspace, training, conditions), on_progress)
            merge_adapters(network)
        on_progress("writing the encoder", 0, None)
        with workspace.finished() as folder:
            _write(folder, network, training.state, conditions, read.keys)
    return FinetuneResult(
        encoders=_names(target, encoders),
        rows=len(read.examples),
        rejected=read.rejected,
        validation_rows=len(read.validation),
        state=training.state,
        seconds=time.monotonic() - started,
    )


def _read(
    catalogue: Path,
    photographs: Photographs,
    settings: FinetuneSettings,
    options: FinetuneOptions,
    on_progress: OnProgress,
) -> _Read:
    """The rows, and which of them say when to stop: a part that splits no duplicate group."""
    read = read_catalogue(catalogue, options.reading, priced=True, on_progress=on_progress)
    items = read.items
    images = items["image"].to_pylist()
    contents = read_fingerprints(photographs, images, on_progress).of(images)
    names = [name_key(name) for name in items["name"].to_pylist()]
    groups = duplicate_groups(names, images, contents)
    inputs = make_inputs(items, {})
    examples = Examples(
        texts=viewed(described(items), settings.view),
        images=[image if content else None for image, content in zip(images, contents, strict=True)],
        contents=contents,
        numbers=inputs.numbers,
        unit=inputs.unit,
        log_price=items["log_price"].to_numpy().astype(np.float64),
    )
    _refuse(examples, groups)
    fold = np.ones(len(groups), np.int8)
    if settings.validation:
        # A share too small for that gets one fold's worth: nobody asked for folds, and none may be refused.
        folds = min(max(2, round(1 / settings.validation)), MOST_FOLDS, len(np.unique(groups)))
        fold = assign_folds(groups, folds, options.seed, examples.log_price)
    keys = with_inherited(set().union(*row_keys(items, contents)), (settings.encoder, settings.image_encoder))
    reasons = Counter(reject.reason.partition(":")[0].partition(" (")[0] for reject in read.rejects)
    return _Read(examples, np.flatnonzero(fold != 0), np.flatnonzero(fold == 0), keys, reasons)


def _refuse(examples: Examples, groups: Int64) -> None:
    """Raise DataRefused for a catalogue that nothing can be learned from."""
    refuse_too_few_groups(groups, LEAST_GROUPS, f"is too few to fine-tune, which takes {LEAST_GROUPS}: add rows")
    if np.ptp(examples.log_price) == 0:
        raise DataRefused("Every usable row has the same price: there is nothing to learn from them.")
    if not any(text.strip() for text in examples.texts):
        raise DataRefused("No usable row has words to read: name the column of words with --text-column.")


def _conditions(
    settings: FinetuneSettings, encoders: Encoders, read: _Read, seed: int, machine: Device
) -> dict[str, Any]:
    """All that the result depends on, as plain values: what a run that goes on must agree with."""
    import torch

    return {
        **asdict(settings),
        **{f"{kind}_identity": trainable.encoder.identity for kind, trainable in encoders.items()},
        "seed": seed,
        "device": machine.device.type,
        "precision": machine.precision,
        "torch": torch.__version__,
        "catalogue": read.examples.digest(),
        "rows": len(read.examples),
        "validation_rows": len(read.validation),
    }


def _resumable(
    workspace: Workspace, conditions: dict[str, Any], overwrite: bool
) -> tuple[TrainingState, dict[str, Any]] | None:
    """State of an earlier run. One that was begun otherwise is refused by what differs, or dropped if asked."""
    try:
        kept = read_checkpoint(workspace.checkpoint)
    except DataRefused:
        if not overwrite:
            raise
        return None
    if kept is None:
        return None
    document, tensors = kept
    earlier = document["conditions"]
    differs = next((name for name in conditions if earlier.get(name) != conditions[name]), None)
    if differs is None:
        return TrainingState.from_json(document["state"]), tensors
    if overwrite:
        return None
    before, now = earlier.get(differs), conditions[differs]
    what = "the catalogue has changed" if differs == "catalogue" else f"{differs} was {before!r} and is {now!r}"
    raise DataRefused(
        f"{workspace.target} was begun otherwise and is unfinished: {what}. Give what it was begun with to go on, "
        "--overwrite to begin anew, or another -o."
    )


def _keeper(workspace: Workspace, training: Training, conditions: dict[str, Any]) -> Any:
    """Function to call after each step: it writes the checkpoint when it is time, and after every epoch."""
    last = time.monotonic()

    def keep(epoch_over: bool) -> None:
        nonlocal last
        if epoch_over or time.monotonic() - last >= CHECKPOINT_EVERY:
            write_checkpoint(
                workspace.checkpoint, {"conditions": conditions, "state": asdict(training.state)}, training.tensors()
            )
            last = time.monotonic()

    return keep


def _write(
    folder: Path, network: PriceNetwork, state: TrainingState, conditions: dict[str, Any], keys: list[str] | None
) -> None:
    """Write the weights in the layout of `index.encoders`, and beside them the record of how they came to be."""
    document = {
        "format": FORMAT,
        "engine_version": version("price-engine"),
        **conditions,
        "curve": asdict(state)["curve"],
        "best_epoch": state.best + 1,
        "keys": keys,
    }
    record = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()
    for kind, trainable in network.encoders.items():
        own = folder if kind == TEXT else folder / PHOTOGRAPHS
        own.mkdir(exist_ok=True)
        digest = hashlib.sha256(record).hexdigest()
        (own / WEIGHTS).write_bytes(tensor_bytes(trainable.tensors(), RECORD_HASH, digest))
        (own / FINETUNE).write_bytes(record)
        trainable.copy_rest(own)


def _names(target: Path, encoders: Encoders) -> list[str]:
    where = {TEXT: target, PHOTOGRAPH: target / PHOTOGRAPHS}
    return [f"{trainable.encoder.spec.name}@{where[kind]}" for kind, trainable in encoders.items()]
