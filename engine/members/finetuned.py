"""The member `finetuned` of the blend: an encoder and its head, fine-tuned on the rows that it is given and no others.

Fitted inside every fold, it is the honest way to a fine-tuned price: a row's fold never tunes what predicts it. It
reads the words alone, and starts from an encoder that was never tuned on prices.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.finetune.examples import Examples, Shelf, States, viewed
from engine.finetune.network import (
    TEXT,
    PriceNetwork,
    frozen_stages,
    make_network,
    merge_adapters,
    open_towers,
    require_encoders,
)
from engine.finetune.provenance import read_lineage
from engine.finetune.training import Training, predict
from engine.settings.finetuning import FinetuneSettings
from index.encoders import find_spec
from index.encoders.device import AUTO, Device
from index.errors import IndexUnusable, UsageError
from index.progress import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from engine.features.inputs import Inputs
    from engine.finetune.trainable_encoders import Tower


class FinetunedMember:
    """A fitted member. `States` may be shared between members: what is frozen in them knows nothing of prices."""

    def __init__(self, network: PriceNetwork, settings: FinetuneSettings, states: States, machine: Device) -> None:
        self._network, self._settings, self._states, self._machine = network, settings, states, machine

    @classmethod
    def fit(
        cls, inputs: Inputs, log_price: NDArray[np.float64], settings: FinetuneSettings, *, seed: int, states: States
    ) -> Self:
        """Trained on all of `inputs` for all epochs; `log_price` (n,)."""
        machine = AUTO.resolve_for_training()
        with machine.repeatable(seed):
            towers = open_towers(settings, str(machine.device))
            network = make_network(towers, settings)
            shelf = Shelf(_examples(inputs, settings, log_price), towers, states, machine)
            shelf.keep(silent)
            rows = np.arange(len(inputs)), np.empty(0, np.int64)  # without their twins' groups, none can be kept aside
            Training(network, shelf, rows, settings, seed=seed, machine=machine).run()
            merge_adapters(network)
        return cls(network, settings, states, machine)

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Log price (n,)."""
        examples = _examples(inputs, self._settings, np.zeros(len(inputs)))
        shelf = Shelf(examples, self._network.towers, self._states, self._machine)
        return predict(self._network, shelf, np.arange(len(inputs)), self._machine)

    def save(self, path: Path) -> None:
        """As safetensors: the head, and of the encoder what was trained; the rest is read from the encoder itself."""
        from safetensors.torch import save

        tower = self._network.towers[TEXT]
        tensors = {f"head.{name}": value for name, value in self._network.head.state_dict().items()}
        tensors |= {f"{TEXT}.{name}": value for name, value in _trained(tower).items()}
        document = {"settings": asdict(self._settings), "identity": tower.encoder.identity}
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        path.write_bytes(save(plain, {"finetuned": json.dumps(document)}))

    @classmethod
    def load(cls, path: Path, states: States) -> Self:
        """A member as it was saved. IndexUnusable where its encoder is not here as it was."""
        import torch
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            document = json.loads(file.metadata()["finetuned"])
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        settings, machine = FinetuneSettings(**document["settings"]), AUTO.resolve_for_training()
        towers = open_towers(replace(settings, train="last", layers=0), str(machine.device))
        tower = towers[TEXT]
        if tower.encoder.identity != document["identity"]:
            raise IndexUnusable(
                f"The member finetuned was fitted on other weights of {settings.encoder} ({document['identity']}, here "
                f"{tower.encoder.identity}): bring those back, or build the index again with `price build-index`."
            )
        with torch.random.fork_rng(devices=[]):
            network = make_network(towers, replace(settings, train="last", layers=0))
        own = {name.removeprefix("head."): value for name, value in kept.items() if name.startswith("head.")}
        network.head.load_state_dict(own)
        tower.frozen = frozen_stages(tower, settings)
        with torch.no_grad():
            for name, parameter in _trained(tower).items():
                parameter.copy_(kept[f"{TEXT}.{name}"])
        network.eval()
        return cls(network, settings, states, machine)


def _trained(tower: Tower) -> dict[str, nn.Parameter]:
    """What differs from the published encoder."""
    parameters = tower.module.named_parameters()
    return {name: value for name, value in parameters if tower.stage_of(name) >= tower.frozen}


def require_finetuned(settings: FinetuneSettings) -> None:
    """UsageError for what the member cannot be fitted with: before anything is encoded."""
    require_encoders(settings)
    if find_spec(settings.image_encoder).family != "none":
        raise UsageError(
            f"[finetuned] image_encoder is {settings.image_encoder!r}: the member finetuned reads words alone."
        )
    if read_lineage(settings.encoder) is not None:
        raise UsageError(
            f"[finetuned] encoder is {settings.encoder!r}, which was fine-tuned on prices before: inside the folds "
            f"start from {settings.encoder.partition('@')[0]}."
        )


def _examples(inputs: Inputs, settings: FinetuneSettings, log_price: NDArray[np.float64]) -> Examples:
    assert inputs.texts is not None, "the member finetuned reads texts"
    texts = viewed(inputs.texts.tolist(), settings.view)
    return Examples(texts, [None] * len(texts), inputs.numbers, inputs.unit, log_price)
