"""The network of a fine-tuning: trainable encoders, the engine's gated head on their vectors, and LoRA's adapters.

The head is that of the blend's `mlp` (`engine.networks.gated`), so that an encoder is fine-tuned for what will read it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.features.inputs import NUMBERS
from engine.finetune.trainable_encoders import (
    PHOTOGRAPH,
    TEXT,
    Encoders,
    TrainableEncoder,
    open_trainable,
    require_trainable,
)
from index.catalogue.units import UNITS
from index.encoders import find_spec, require_encoder
from index.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from engine.networks.gated import GatedHead
    from engine.settings.finetuning import FinetuneSettings
    from index.arrays import Float32, Float64

SCALED_ON = 1024  # rows from which the head learns the scale of the vectors


@dataclass(frozen=True)
class NetworkBatch:
    """Inputs of the network for n items."""

    # text, and photograph where one is read -> (n,) what the encoder's frozen layers made, None where absent
    activations: dict[str, list[Tensor | None]]
    numbers: Tensor  # (n, len(NUMBERS)) float32
    unit: Tensor  # (n,) int64


class PriceNetwork:
    """Trainable encoders and a head. A parameter's name is `text.*`, `photograph.*` or `head.*`."""

    def __init__(self, encoders: Encoders, head: GatedHead) -> None:
        self.encoders = encoders
        self.head = head

    @property
    def device(self) -> Any:
        """Device that it is computed on."""
        return next(self.head.parameters()).device

    def modules(self) -> dict[str, nn.Module]:
        """Modules by the first part of their parameters' names."""
        return {**{kind: trainable.module for kind, trainable in self.encoders.items()}, "head": self.head}

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {
            f"{kind}.{name}": parameter
            for kind, module in self.modules().items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def train(self) -> None:
        for trainable in self.encoders.values():
            trainable.train()
        self.head.train()

    def eval(self) -> None:
        for module in self.modules().values():
            module.eval()

    def vectors(self, batch: NetworkBatch) -> tuple[dict[str, Tensor], Tensor]:
        """kind -> (n, dim) unit vectors, zero where absent; and (n, kinds) bool, which are present."""
        import torch

        vectors, present = {}, []
        for kind, trainable in self.encoders.items():
            here = [row for row, activation in enumerate(batch.activations[kind]) if activation is not None]
            made = torch.zeros(len(batch.unit), trainable.encoder.dim, device=self.device)
            if here:
                rows = torch.tensor(here, device=self.device)
                made = made.index_copy(
                    0, rows, trainable.vectors([a for a in batch.activations[kind] if a is not None])
                )
            vectors[kind] = made
            present.append(made.detach().any(dim=1))
        return vectors, torch.stack(present, dim=1)

    def forward(self, batch: NetworkBatch) -> Tensor:
        """(n,) standardised log price."""
        import torch

        from engine.networks.batch import Batch

        vectors, present = self.vectors(batch)
        none = torch.empty(0, device=self.device)
        numbers, unit = batch.numbers.to(self.device), batch.unit.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            floats = {kind: vector.float() for kind, vector in vectors.items()}
            return self.head(Batch(floats, present, numbers, unit, none, none, none))  # type: ignore[no-any-return]

    def scale(self, batches: Sequence[NetworkBatch], numbers: Float32, log_price: Float64) -> None:
        """Let the head learn the scales: of vectors from some rows, of numbers and prices from all of training."""
        import torch

        with torch.no_grad():
            made = [self.vectors(batch)[0] for batch in batches]
        for kind, scaled in self.head.scaled_vectors.items():
            rows = torch.cat([vectors[kind] for vectors in made]).cpu().numpy()
            scaled.fit(rows[rows.any(axis=1)])  # type: ignore[operator]
        self.head.scaled_numbers.fit(numbers)
        self.head.price.fit(np.asarray(log_price, np.float32)[:, None])

    def parameter_groups(self, settings: FinetuneSettings) -> list[dict[str, Any]]:
        """Parameter groups for AdamW: parameters by learning rate (`rate`), norms and biases without decay."""
        grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.trained().items():
            kind, _, own = name.partition(".")
            rate = settings.head_learning_rate
            if kind in self.encoders:
                below = self.encoders[kind].layers - self.encoders[kind].stage_of(own)
                rate = settings.learning_rate * settings.layer_decay**below
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            grouped.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in grouped.items()
        ]


def require_encoders(settings: FinetuneSettings) -> None:
    """Raise UsageError, before anything runs, for encoders that cannot be fine-tuned, and for LoRA without peft."""
    require_trainable(settings.encoder, "text")
    if find_spec(settings.image_encoder).family != "none":
        require_trainable(settings.image_encoder, "image")
    for name in (settings.encoder, settings.image_encoder):
        require_encoder(name)
    if settings.train == "lora" and importlib.util.find_spec("peft") is None:
        raise UsageError("train lora needs peft, which is not installed: pip install 'price-engine[finetune]'.")


def encoder_names(settings: FinetuneSettings) -> dict[str, str]:
    """Names of the encoders that are trained, by what they read."""
    names = {TEXT: settings.encoder}
    if find_spec(settings.image_encoder).family != "none":
        names[PHOTOGRAPH] = settings.image_encoder
    return names


def open_encoders(settings: FinetuneSettings, device: str) -> Encoders:
    """The encoders as they are published, with all but what is to be trained frozen."""
    names = encoder_names(settings)
    encoders = {kind: open_trainable(name, device) for kind, name in names.items()}
    if settings.train == "last":
        for kind, name in names.items():
            _require_layers(name, settings.last_layers, encoders[kind].layers)
    for trainable in encoders.values():
        _freeze(trainable, settings)
    return encoders


def make_network(encoders: Encoders, settings: FinetuneSettings) -> PriceNetwork:
    """A head of random weights on the encoders, with LoRA beside their products where it is asked for."""
    from engine.networks.batch import HeadShape
    from engine.networks.gated import GatedHead

    for trainable in encoders.values():
        if settings.train == "lora":
            _adapt(trainable, settings)
    dims = {kind: trainable.encoder.dim for kind, trainable in encoders.items()}
    shape = HeadShape(
        dims, words=0, numbers=len(NUMBERS), units=len(UNITS), width=settings.width, dropout=settings.dropout
    )
    device = next(next(iter(encoders.values())).module.parameters()).device
    return PriceNetwork(encoders, GatedHead(shape).to(device))


def merge_adapters(network: PriceNetwork) -> None:
    """Multiply LoRA's weights into the products they stand beside, so that the encoder is of its old shape."""
    for trainable in network.encoders.values():
        for name, part in list(trainable.module.named_modules()):
            if hasattr(part, "base_layer") and name in trainable.lora_products:
                part.merge()
                trainable.module.set_submodule(name, part.base_layer)


def _require_layers(name: str, layers: int, most: int) -> None:
    if layers > most:
        raise UsageError(f"layers is {layers}, and {name.partition('@')[0]} has {most}: give 1 to {most}.")


def _freeze(trainable: TrainableEncoder, settings: FinetuneSettings) -> None:
    """Choose the parameters that are trained; freeze the others."""
    trainable.recompute, trainable.frozen = settings.recompute, frozen_stages(trainable, settings)
    for name, parameter in trainable.module.named_parameters():
        # Of what is there: LoRA adds its own weights beside.
        parameter.requires_grad_(settings.train != "lora" and trainable.stage_of(name) >= trainable.frozen)


def frozen_stages(trainable: TrainableEncoder, settings: FinetuneSettings) -> int:
    """Number of stages, from the input up, that stay as they were published."""
    return len(trainable.stages) - settings.last_layers if settings.train == "last" else 0


def _adapt(trainable: TrainableEncoder, settings: FinetuneSettings) -> None:
    """LoRA (Hu et al., 2021) by peft, scaled by 2: its second matrix is zero, so that training starts where it was."""
    from index.encoders.weights import guard_torchvision

    guard_torchvision()
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules=list(trainable.lora_products))
    LoraModel(trainable.module, {"default": config}, "default")
