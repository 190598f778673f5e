"""The member `finetuned` of the blend: an encoder and its head, fine-tuned on the rows that it is given and no others.

Fitted inside every fold, it is the honest way to a fine-tuned price: a row's fold never trains what predicts it. It
reads the words alone, and starts from an encoder that was never trained on prices.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.finetune.examples import ExampleBatches, Examples, FrozenActivations, viewed
from engine.finetune.network import (
    PriceNetwork,
    frozen_stages,
    make_network,
    merge_adapters,
    open_encoders,
    require_encoders,
)
from engine.finetune.provenance import read_provenance
from engine.finetune.trainable_encoders import TEXT
from engine.finetune.training import Training, predict
from engine.networks.tensor_file import read_tensor_file, tensor_bytes
from engine.settings.finetuning import FinetuneSettings
from index.contents import expect
from index.encoders import find_spec
from index.encoders.device import AUTO, Device
from index.errors import IndexUnusable, UsageError
from index.progress import silent

if TYPE_CHECKING:
    from torch import nn

    from engine.features.inputs import Inputs, InputShape
    from engine.finetune.trainable_encoders import TrainableEncoder
    from index.arrays import Float64


class FinetunedMember:
    """A fitted member. Frozen activations may be shared between members: they know nothing of prices."""

    def __init__(
        self, network: PriceNetwork, settings: FinetuneSettings, activations: FrozenActivations, machine: Device
    ) -> None:
        self._network, self._settings, self._activations, self._machine = network, settings, activations, machine

    @classmethod
    def fit(
        cls, inputs: Inputs, log_price: Float64, settings: FinetuneSettings, activations: FrozenActivations, seed: int
    ) -> Self:
        """Train on all of `inputs` for all epochs; `log_price` (n,). All rows count the same, whatever their age."""
        machine = AUTO.resolve_for_training()
        with machine.repeatable(seed):
            encoders = open_encoders(settings, str(machine.device))
            network = make_network(encoders, settings)
            batches = ExampleBatches(_examples(inputs, settings, log_price), encoders, activations, machine)
            batches.make_ahead(silent)
            # Without their duplicate groups, no rows can be kept aside.
            rows = np.arange(len(inputs)), np.empty(0, np.int64)
            Training(network, batches, rows, settings, seed=seed, machine=machine).run()
            merge_adapters(network)
        return cls(network, settings, activations, machine)

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        examples = _examples(inputs, self._settings, np.zeros(len(inputs)))
        batches = ExampleBatches(examples, self._network.encoders, self._activations, self._machine)
        return predict(self._network, batches, np.arange(len(inputs)), self._machine)

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the weights are numbers; the encoder brings the vectors itself."""
        import torch

        weights = [*self._network.head.state_dict().values(), *_trained(self._network.encoders[TEXT]).values()]
        expect(all(torch.isfinite(value).all() for value in weights), "a weight is no number")

    def save(self, path: Path) -> None:
        """Save as safetensors: the head and the trained weights; the others are read from the encoder itself."""
        trainable = self._network.encoders[TEXT]
        tensors = {f"head.{name}": value for name, value in self._network.head.state_dict().items()}
        tensors |= {f"{TEXT}.{name}": value for name, value in _trained(trainable).items()}
        document = {"settings": asdict(self._settings), "identity": trainable.encoder.identity}
        path.write_bytes(tensor_bytes(tensors, "finetuned", json.dumps(document)))

    @classmethod
    def load(cls, path: Path, activations: FrozenActivations) -> Self:
        """Load a member as it was saved. Raises IndexUnusable where its encoder is not here as it was."""
        import torch

        document, kept = read_tensor_file(path, "finetuned")
        settings, machine = FinetuneSettings(**document["settings"]), AUTO.resolve_for_training()
        encoders = open_encoders(replace(settings, train="last", layers=0), str(machine.device))
        trainable = encoders[TEXT]
        if trainable.encoder.identity != document["identity"]:
            raise IndexUnusable(
                f"The member finetuned was fitted on other weights of {settings.encoder} ({document['identity']}, here "
                f"{trainable.encoder.identity}): bring those back, or build the index again with `price build-index`."
            )
        with torch.random.fork_rng(devices=[]):
            network = make_network(encoders, replace(settings, train="last", layers=0))
        own = {name.removeprefix("head."): value for name, value in kept.items() if name.startswith("head.")}
        network.head.load_state_dict(own)
        trainable.frozen = frozen_stages(trainable, settings)
        with torch.no_grad():
            for name, parameter in _trained(trainable).items():
                expect(kept[f"{TEXT}.{name}"].shape == parameter.shape, f"{name} has another shape")
                parameter.copy_(kept[f"{TEXT}.{name}"])
        network.eval()
        return cls(network, settings, activations, machine)


def _trained(trainable: TrainableEncoder) -> dict[str, nn.Parameter]:
    """Parameters that differ from the published encoder."""
    parameters = trainable.module.named_parameters()
    return {name: value for name, value in parameters if trainable.stage_of(name) >= trainable.frozen}


def require_finetuned(settings: FinetuneSettings) -> None:
    """Raise UsageError, before anything is encoded, for what the member cannot be fitted with."""
    require_encoders(settings)
    if find_spec(settings.image_encoder).family != "none":
        raise UsageError(
            f"[finetuned] image_encoder is {settings.image_encoder!r}: the member finetuned reads words alone."
        )
    if read_provenance(settings.encoder) is not None:
        raise UsageError(
            f"[finetuned] encoder is {settings.encoder!r}, which was fine-tuned on prices before: inside the folds "
            f"start from {settings.encoder.partition('@')[0]}."
        )


def _examples(inputs: Inputs, settings: FinetuneSettings, log_price: Float64) -> Examples:
    assert inputs.texts is not None, "the member finetuned reads texts"
    texts = viewed(inputs.texts.tolist(), settings.view)
    return Examples(texts, [None] * len(texts), [None] * len(texts), inputs.numbers, inputs.unit, log_price)
