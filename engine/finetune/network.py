"""What is trained: the encoders' towers, the engine's own gated head on their vectors, and what LoRA puts beside them.

The head is that of the blend's `mlp` (`engine.networks.gated`), so that a tuned encoder is tuned for what will read it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.features.inputs import NUMBERS
from engine.finetune.trainable_encoders import Tower, open_tower, require_tunable
from index.catalogue.units import UNITS
from index.encoders import find_spec
from index.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from engine.networks.gated import GatedHead
    from engine.settings.finetuning import FinetuneSettings

TEXT, PHOTOGRAPH = "text", "photograph"
SCALED_ON = 1024  # rows from which the head learns the scale of the vectors


@dataclass(frozen=True)
class Seen:
    """What the network sees of n items."""

    states: dict[str, list[Tensor | None]]  # text, and photograph where one is read -> (n,) states, None where absent
    numbers: Tensor  # (n, len(NUMBERS)) float32
    unit: Tensor  # (n,) int64


class PriceNetwork:
    """Towers and head. A parameter's name is `text.*`, `photograph.*` or `head.*`."""

    def __init__(self, towers: dict[str, Tower], head: GatedHead) -> None:
        self.towers = towers
        self.head = head

    @property
    def device(self) -> Any:
        """Where it is computed."""
        return next(self.head.parameters()).device

    def modules(self) -> dict[str, nn.Module]:
        """By what parameters are named after."""
        return {**{kind: tower.module for kind, tower in self.towers.items()}, "head": self.head}

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {
            f"{kind}.{name}": parameter
            for kind, module in self.modules().items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def train(self) -> None:
        for tower in self.towers.values():
            tower.train()
        self.head.train()

    def eval(self) -> None:
        for module in self.modules().values():
            module.eval()

    def vectors(self, seen: Seen) -> tuple[dict[str, Tensor], Tensor]:
        """kind -> (n, dim) unit vectors, zero where absent; and (n, kinds) bool, which are present."""
        import torch

        vectors, present = {}, []
        for kind, tower in self.towers.items():
            here = [row for row, state in enumerate(seen.states[kind]) if state is not None]
            made = torch.zeros(len(seen.unit), tower.encoder.dim, device=self.device)
            if here:
                rows = torch.tensor(here, device=self.device)
                made = made.index_copy(0, rows, tower.vectors([s for s in seen.states[kind] if s is not None]))
            vectors[kind] = made
            present.append(made.detach().any(dim=1))
        return vectors, torch.stack(present, dim=1)

    def forward(self, seen: Seen) -> Tensor:
        """(n,) standardised log price."""
        import torch

        from engine.networks.batch import Batch

        vectors, present = self.vectors(seen)
        none = torch.empty(0, device=self.device)
        numbers, unit = seen.numbers.to(self.device), seen.unit.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            batch = Batch({k: v.float() for k, v in vectors.items()}, present, numbers, unit, none, none, none)
            return self.head(batch)  # type: ignore[no-any-return]

    def scale(self, some: Sequence[Seen], numbers: NDArray[np.float32], log_price: NDArray[np.float64]) -> None:
        """Let the head learn the scales: of vectors from some rows, of numbers and prices from all of training."""
        import torch

        with torch.no_grad():
            made = [self.vectors(seen)[0] for seen in some]
        for kind, scaled in self.head.scaled_vectors.items():
            rows = torch.cat([vectors[kind] for vectors in made]).cpu().numpy()
            scaled.fit(rows[rows.any(axis=1)])  # type: ignore[operator]
        self.head.scaled_numbers.fit(numbers)
        self.head.price.fit(np.asarray(log_price, np.float32)[:, None])

    def groups(self, settings: FinetuneSettings) -> list[dict[str, Any]]:
        """What AdamW takes: parameters by how fast they learn (`rate`), norms and biases without decay."""
        grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.trained().items():
            kind, _, own = name.partition(".")
            rate = settings.head_learning_rate
            if kind in self.towers:
                below = self.towers[kind].layers - self.towers[kind].stage_of(own)
                rate = settings.learning_rate * settings.layer_decay**below
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            grouped.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in grouped.items()
        ]


def require_encoders(settings: FinetuneSettings) -> None:
    """UsageError for encoders that cannot be tuned, or without peft where LoRA is asked for: before anything runs."""
    require_tunable(settings.encoder, "text")
    if find_spec(settings.image_encoder).family != "none":
        require_tunable(settings.image_encoder, "image")
    if settings.train == "lora" and importlib.util.find_spec("peft") is None:
        raise UsageError("train lora needs peft, which is not installed: pip install 'price-engine[finetune]'.")


def open_towers(settings: FinetuneSettings, device: str) -> dict[str, Tower]:
    """The encoders as they are published, with all but what is to be trained frozen."""
    wanted = {TEXT: settings.encoder}
    if find_spec(settings.image_encoder).family != "none":
        wanted[PHOTOGRAPH] = settings.image_encoder
    towers = {kind: open_tower(name, device) for kind, name in wanted.items()}
    if settings.train == "last":
        for kind, name in wanted.items():
            _require_layers(name, settings.last_layers, towers[kind].layers)
    for tower in towers.values():
        _freeze(tower, settings)
    return towers


def make_network(towers: dict[str, Tower], settings: FinetuneSettings) -> PriceNetwork:
    """A head of random weights on the towers, with LoRA beside their products where it is asked for."""
    from engine.networks.batch import HeadShape
    from engine.networks.gated import GatedHead

    for tower in towers.values():
        if settings.train == "lora":
            _adapt(tower, settings)
    dims = {kind: tower.encoder.dim for kind, tower in towers.items()}
    shape = HeadShape(
        dims, words=0, numbers=len(NUMBERS), units=len(UNITS), width=settings.width, dropout=settings.dropout
    )
    device = next(next(iter(towers.values())).module.parameters()).device
    return PriceNetwork(towers, GatedHead(shape).to(device))


def merge_adapters(network: PriceNetwork) -> None:
    """Multiply LoRA's weights into the products they stand beside, so that the encoder is of its old shape."""
    for tower in network.towers.values():
        for name, part in list(tower.module.named_modules()):
            if hasattr(part, "base_layer") and name in tower.beside:
                part.merge()
                tower.module.set_submodule(name, part.base_layer)


def _require_layers(name: str, asked: int, there: int) -> None:
    if asked > there:
        raise UsageError(f"layers is {asked}, and {name.partition('@')[0]} has {there}: give 1 to {there}.")


def _freeze(tower: Tower, settings: FinetuneSettings) -> None:
    """Set what learns."""
    tower.recompute, tower.frozen = settings.recompute, frozen_stages(tower, settings)
    for name, parameter in tower.module.named_parameters():
        # Of what is there: LoRA adds its own weights beside.
        parameter.requires_grad_(settings.train != "lora" and tower.stage_of(name) >= tower.frozen)


def frozen_stages(tower: Tower, settings: FinetuneSettings) -> int:
    """How many stages, from the input up, stay as they were published."""
    return len(tower.stages) - settings.last_layers if settings.train == "last" else 0


def _adapt(tower: Tower, settings: FinetuneSettings) -> None:
    """LoRA (Hu et al., 2021) by peft, scaled by 2: its second matrix is zero, so that training starts where it was."""
    from index.encoders.weights import guard_torchvision

    guard_torchvision()
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules=list(tower.beside))
    LoraModel(tower.module, {"default": config}, "default")


def chunks(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """`rows` in runs of `size`, in their order."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
