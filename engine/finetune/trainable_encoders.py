"""What can be trained of an encoder, and how does it become files again?

A tower is an encoder's network as training sees it: in stages from the input up, and in two halves. What is frozen at
the bottom makes an item's *state*, which never changes and may be kept; what is above it makes vectors from states.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.encoders import find_spec, hub, open_encoder
from index.encoders.device import Runtime
from index.encoders.weights import read_config, read_model, read_model_config, read_tensors
from index.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from index.encoders import Encoder, EncoderSpec

WEIGHTS = "model.safetensors"
TUNABLE = ("minilm", "qwen3-0.6b", "qwen3-4b", "mobilenet-v2", "efficientnet-b0")


class Tower(ABC):
    """One encoder. `module` holds all that is trained or frozen, in `stages` from the input up."""

    module: nn.Module
    stages: list[tuple[str, ...]]  # beginnings of the parameters' names; the first stage is the input's embedding
    beside: list[str]  # the products that LoRA is put beside, by name in `module`
    files: tuple[str, ...] = ()  # that are part of the encoder and that training does not change

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.encoder = encoder
        self.folder = folder
        self.frozen = 0  # stages at the bottom of which nothing is trained
        self.recompute = False

    @property
    def layers(self) -> int:
        """How many there are to choose from; the input's embedding is none."""
        return len(self.stages) - 1

    def stage_of(self, parameter: str) -> int:
        """Which stage a parameter belongs to, by its name in `module`."""
        return next(i for i, beginnings in enumerate(self.stages) if parameter.startswith(beginnings))

    @abstractmethod
    def states(self, items: Sequence[Any]) -> list[Tensor]:
        """What the frozen half makes of each item, on the network's device; without gradients."""

    @abstractmethod
    def vectors(self, states: Sequence[Tensor]) -> Tensor:
        """States of n items to their (n, dim) unit vectors, those that the encoder gives; with gradients."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The weights by their published names."""

    def train(self) -> None:
        """Into training: without dropout, and with the batch norms as they are, so that vectors are those of use."""
        self.module.train()

    def copy_rest(self, folder: Path) -> None:
        """What is not weights."""
        for name in self.files:
            shutil.copyfile(self.folder / name, folder / name)


class BertTower(Tower):
    """A BERT by our own forward pass (`index.encoders.bert`). A state is a text's ids, or its hidden vectors (t, w)."""

    files = ("tokenizer.json", "config.json")

    def __init__(self, encoder: Encoder, folder: Path, weights: Path, device: Any) -> None:
        import torch

        from index.encoders.bert import Bert, BertShape

        super().__init__(encoder, folder)
        shape = BertShape.from_config(read_config(folder / "config.json"))
        tensors = read_tensors(weights, shape.tensors(), shape.unread())
        self.module: Bert = Bert(shape, tensors, dtype=torch.float32).to(device)
        self.stages = [("words", "positions", "norm."), *((f"layers.{layer}.",) for layer in range(shape.layers))]
        products = ("query_key_value", "attended", "widen", "narrow")
        self.beside = [f"layers.{layer}.{name}" for layer in range(shape.layers) for name in products]

    def states(self, items: Sequence[str]) -> list[Tensor]:
        import torch

        tokens = self.encoder.prepare(items)
        ids = [row[here] for row, here in zip(tokens.ids, tokens.present, strict=True)]
        with torch.no_grad():
            return self._climb(ids, 0, self.frozen)

    def vectors(self, states: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from index.encoders.sentence import POOLINGS

        hidden = pad_sequence(self._climb(list(states), self.frozen, len(self.stages)), batch_first=True)
        lengths = torch.tensor([len(state) for state in states], device=hidden.device)
        present = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        pooled = POOLINGS[self.encoder.spec.pooling](hidden.float(), present)
        return torch.nn.functional.normalize(pooled, dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return self.module.published()

    def _climb(self, states: list[Tensor], start: int, stop: int) -> list[Tensor]:
        """Each text's state before stage `start` to that after the last stage before `stop`."""
        import torch
        from torch.utils.checkpoint import checkpoint

        from index.encoders.bert import Spans

        if start == stop:
            return states
        device = self.module.words.device
        lengths = [len(state) for state in states]
        packed = torch.cat(states).to(device)
        span = torch.tensor(lengths, device=device)
        spans = Spans(lengths, torch.arange(max(lengths), device=device) < span[:, None])
        if start == 0:
            packed = self.module.embed(packed, torch.cat([torch.arange(n, device=device) for n in lengths]))
        for layer in list(self.module.layers)[max(start - 1, 0) : stop - 1]:
            again = self.recompute and torch.is_grad_enabled()
            packed = checkpoint(layer, packed, spans, use_reentrant=False) if again else layer(packed, spans)
        return list(torch.split(packed, lengths))


class Qwen3Tower(Tower):
    """A Qwen3 decoder by transformers' own class. A state is a text's ids."""

    files = ("tokenizer.json", "config.json")

    def __init__(self, encoder: Encoder, folder: Path, weights: list[Path], device: str) -> None:
        from transformers.models.qwen3 import Qwen3Config, Qwen3Model

        super().__init__(encoder, folder)
        config = read_model_config(folder / "config.json", Qwen3Config)
        self.module = read_model(Qwen3Model, config, folder, weights, Runtime(device, "fp32").resolve())
        model: Any = self.module
        *below, top = range(len(model.layers))
        last = (f"layers.{top}.", "norm.")
        self.stages = [("embed_tokens.",), *((f"layers.{layer}.",) for layer in below), last]
        products = [f"self_attn.{name}_proj" for name in "qkvo"]
        products += [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
        self.beside = [f"layers.{layer}.{name}" for layer in range(len(model.layers)) for name in products]

    def train(self) -> None:
        self.module.train()
        model: Any = self.module
        if self.recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def states(self, items: Sequence[str]) -> list[Tensor]:
        tokens = self.encoder.prepare(items)
        return [row[here] for row, here in zip(tokens.ids, tokens.present, strict=True)]

    def vectors(self, states: Sequence[Tensor]) -> Tensor:
        import torch

        model: Any = self.module
        longest = max(len(state) for state in states)
        ids, present = (torch.zeros(len(states), longest, dtype=torch.int64) for _ in range(2))
        for row, state in enumerate(states):  # padding stands on the left: the last token is the last column
            ids[row, longest - len(state) :], present[row, longest - len(state) :] = state, 1
        hidden = model(
            input_ids=ids.to(model.device), attention_mask=present.to(model.device), use_cache=False
        ).last_hidden_state
        return torch.nn.functional.normalize(hidden[:, -1, : self.encoder.dim].float(), dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())


class TimmTower(Tower):
    """A convolutional network by timm. A state is the photograph's square (side, side, 3) uint8."""

    def __init__(self, encoder: Encoder, folder: Path, weights: Path, device: Any) -> None:
        from torch import nn

        from index.encoders.timm import read_network

        super().__init__(encoder, folder)
        network: Any = read_network(encoder.spec, weights).to(device)
        self.module = network
        blocks = ((f"blocks.{block}.",) for block in range(len(network.blocks)))
        self.stages = [("conv_stem.", "bn1."), *blocks, ("conv_head.", "bn2.")]
        self.beside = [
            name
            for name, part in network.named_modules()
            if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1
        ]

    def train(self) -> None:
        # A batch norm that counts a batch of 32 photographs forgets what ImageNet looked like; see `Tower.train`.
        network: Any = self.module.eval()
        network.set_grad_checkpointing(self.recompute)

    def states(self, items: Sequence[Any]) -> list[Tensor]:
        import torch

        return list(torch.from_numpy(self.encoder.prepare(items)))

    def vectors(self, states: Sequence[Tensor]) -> Tensor:
        import torch

        from index.encoders.timm import normalised

        device = next(self.module.parameters()).device
        pooled = self.module(normalised(torch.stack(list(states)).to(device)))
        return torch.nn.functional.normalize(pooled.float(), dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())


def require_tunable(name: str, kind: str) -> EncoderSpec:
    """The catalogue's entry of an encoder that can be tuned to read `kind` (text or image); UsageError for others."""
    spec = find_spec(name)
    able = [each for each in TUNABLE if kind in find_spec(each).modalities]
    if spec.name not in able:
        why = "has no weights to train" if spec.family in ("pixels", "none") else "cannot be fine-tuned here"
        what = {"text": "words", "image": "photographs"}[kind]
        raise UsageError(f"{spec.name} {why}: for {what}, choose {' or '.join(able)}.")
    return spec


def open_tower(name: str, device: str) -> Tower:
    """The encoder NAME or NAME@PATH, to be trained. Raises what `open_encoder` raises."""
    spec = find_spec(name)
    encoder = open_encoder(name, device=device, precision="fp32")  # which checks every file
    given = Path(name.partition("@")[2]).expanduser() if "@" in name else None
    alone = given if given is not None and given.is_file() else None
    folder = hub.locate(spec, None if alone and spec.source.startswith("package:") else given)
    on = Runtime(device, "fp32").resolve().device
    if spec.architecture == "qwen3":
        return Qwen3Tower(encoder, folder, hub.weight_files(folder, WEIGHTS), device)
    weights = alone or hub.weight_files(folder, WEIGHTS)[0]
    return (BertTower if spec.architecture == "bert" else TimmTower)(encoder, folder, weights, on)
