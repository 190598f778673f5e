"""Encoders as training sees them, and their way back to files.

A trainable encoder is a network in stages from the input up, and in two halves: what is frozen at the bottom makes an
item's *activations*, which never change and may be kept; what is above it makes vectors from them.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.encoders import find_spec, hub, open_encoder, weights_path
from index.encoders.device import Runtime
from index.encoders.weights import read_config, read_model, read_model_config, read_tensors
from index.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from index.encoders import Encoder, EncoderSpec

TEXT, PHOTOGRAPH = "text", "photograph"  # kinds of what is read
WEIGHTS = "model.safetensors"
TRAINABLE = ("minilm", "qwen3-0.6b", "qwen3-4b", "mobilenet-v2", "efficientnet-b0")


class TrainableEncoder(ABC):
    """One encoder. `module` holds all that is trained or frozen, in `stages` from the input up."""

    kind: str  # text or photograph
    module: nn.Module
    stages: list[tuple[str, ...]]  # beginnings of the parameters' names; the first stage is the input's embedding
    lora_products: list[str]  # the products that LoRA is put beside, by name in `module`
    files: tuple[str, ...] = ()  # that are part of the encoder and that training does not change

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.encoder = encoder
        self.folder = folder
        self.frozen = 0  # stages at the bottom of which nothing is trained
        self.recompute = False

    @property
    def layers(self) -> int:
        """Number of layers that can be trained; the input's embedding is not one of them."""
        return len(self.stages) - 1

    def stage_of(self, parameter: str) -> int:
        """Number of the stage that a parameter belongs to, by its name in `module`."""
        return next(i for i, beginnings in enumerate(self.stages) if parameter.startswith(beginnings))

    @abstractmethod
    def activations(self, items: Sequence[Any]) -> list[Tensor]:
        """Outputs of the frozen half for each item, on the network's device; without gradients."""

    @abstractmethod
    def vectors(self, activations: Sequence[Tensor]) -> Tensor:
        """Activations of n items to their (n, dim) unit vectors, those that the encoder gives; with gradients."""

    def tensors(self) -> dict[str, Tensor]:
        """The weights by their published names."""
        return dict(self.module.state_dict())

    def train(self) -> None:
        """Switch to training, without dropout and with frozen batch norms, so that vectors are the same as in use."""
        self.module.train()

    def copy_rest(self, folder: Path) -> None:
        """Copy the files that are not weights."""
        for name in self.files:
            shutil.copyfile(self.folder / name, folder / name)


class TrainableBert(TrainableEncoder):
    """A BERT by our own forward pass (`index.encoders.bert`). An activation is a text's ids, or its hidden vectors."""

    kind = TEXT
    files = ("tokenizer.json", "config.json")

    def __init__(self, encoder: Encoder, folder: Path, weights: Path, device: Any) -> None:
        import torch

        from index.encoders.bert.network import Bert
        from index.encoders.bert.shape import BertShape

        super().__init__(encoder, folder)
        shape = BertShape.from_config(read_config(folder / "config.json"))
        tensors = read_tensors(weights, shape.tensors(), shape.unread())
        self.module: Bert = Bert(shape, tensors, dtype=torch.float32).to(device)
        self.stages = [("words", "positions", "norm."), *((f"layers.{layer}.",) for layer in range(shape.layers))]
        products = ("query_key_value", "attended", "widen", "narrow")
        self.lora_products = [f"layers.{layer}.{name}" for layer in range(shape.layers) for name in products]

    def activations(self, items: Sequence[str]) -> list[Tensor]:
        import torch

        tokens = self.encoder.prepare(items)
        ids = [torch.from_numpy(row[here]) for row, here in zip(tokens.ids, tokens.present, strict=True)]
        with torch.no_grad():
            return self._through_layers(ids, 0, self.frozen)

    def vectors(self, activations: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from index.encoders.sentence import POOLINGS

        hidden = pad_sequence(self._through_layers(list(activations), self.frozen, len(self.stages)), batch_first=True)
        lengths = torch.tensor([len(activation) for activation in activations], device=hidden.device)
        present = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        pooled = POOLINGS[self.encoder.spec.pooling](hidden.float(), present)
        return torch.nn.functional.normalize(pooled, dim=1)

    def tensors(self) -> dict[str, Tensor]:
        return self.module.published()

    def _through_layers(self, activations: list[Tensor], start: int, stop: int) -> list[Tensor]:
        """Each text's activation before stage `start` to that after the last stage before `stop`."""
        import torch
        from torch.utils.checkpoint import checkpoint

        from index.encoders.bert.network import Spans

        if start == stop:
            return activations
        device = self.module.words.device
        lengths = [len(activation) for activation in activations]
        packed = torch.cat(activations).to(device)
        span = torch.tensor(lengths, device=device)
        spans = Spans(lengths, torch.arange(max(lengths), device=device) < span[:, None])
        if start == 0:
            packed = self.module.embed(packed, torch.cat([torch.arange(n, device=device) for n in lengths]))
        for layer in list(self.module.layers)[max(start - 1, 0) : stop - 1]:
            again = self.recompute and torch.is_grad_enabled()
            packed = checkpoint(layer, packed, spans, use_reentrant=False) if again else layer(packed, spans)
        return list(torch.split(packed, lengths))


class TrainableQwen3(TrainableEncoder):
    """A Qwen3 decoder by transformers' own class. An activation is a text's ids."""

    kind = TEXT
    files = ("tokenizer.json", "config.json")

    def __init__(self, encoder: Encoder, folder: Path, weights: list[Path], device: str) -> None:
        from transformers.models.qwen3 import Qwen3Config, Qwen3Model

        super().__init__(encoder, folder)
        config = read_model_config(folder / "config.json", Qwen3Config)
        self.module = read_model(Qwen3Model, config, weights, Runtime(device, "fp32").resolve())
        model: Any = self.module
        *below, top = range(len(model.layers))
        last = (f"layers.{top}.", "norm.")
        self.stages = [("embed_tokens.",), *((f"layers.{layer}.",) for layer in below), last]
        products = [f"self_attn.{name}_proj" for name in "qkvo"]
        products += [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
        self.lora_products = [f"layers.{layer}.{name}" for layer in range(len(model.layers)) for name in products]

    def train(self) -> None:
        self.module.train()
        model: Any = self.module
        if self.recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def activations(self, items: Sequence[str]) -> list[Tensor]:
        import torch

        tokens = self.encoder.prepare(items)
        return [torch.from_numpy(row[here]) for row, here in zip(tokens.ids, tokens.present, strict=True)]

    def vectors(self, activations: Sequence[Tensor]) -> Tensor:
        import torch

        model: Any = self.module
        longest = max(len(activation) for activation in activations)
        ids, present = (torch.zeros(len(activations), longest, dtype=torch.int64) for _ in range(2))
        for row, activation in enumerate(activations):  # padding stands on the left: the last token is the last column
            ids[row, longest - len(activation) :], present[row, longest - len(activation) :] = activation, 1
        hidden = model(
            input_ids=ids.to(model.device), attention_mask=present.to(model.device), use_cache=False
        ).last_hidden_state
        return torch.nn.functional.normalize(hidden[:, -1, : self.encoder.dim].float(), dim=1)


class TrainableTimm(TrainableEncoder):
    """A convolutional network by timm. An activation is the photograph's (side, side, 3) uint8."""

    kind = PHOTOGRAPH

    def __init__(self, encoder: Encoder, folder: Path, weights: Path, device: Any) -> None:
        from torch import nn

        from index.encoders.timm import read_network

        super().__init__(encoder, folder)
        network: Any = read_network(encoder.spec, weights).to(device)
        self.module = network
        blocks = ((f"blocks.{block}.",) for block in range(len(network.blocks)))
        self.stages = [("conv_stem.", "bn1."), *blocks, ("conv_head.", "bn2.")]
        self.lora_products = [
            name
            for name, part in network.named_modules()
            if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1
        ]

    def train(self) -> None:
        # A batch norm that counts a batch of 32 photographs forgets what ImageNet looked like.
        network: Any = self.module.eval()
        network.set_grad_checkpointing(self.recompute)

    def activations(self, items: Sequence[Any]) -> list[Tensor]:
        import torch

        return list(torch.from_numpy(self.encoder.prepare(items)))

    def vectors(self, activations: Sequence[Tensor]) -> Tensor:
        import torch

        from index.encoders.timm import normalised

        device = next(self.module.parameters()).device
        pooled = self.module(normalised(torch.stack(list(activations)).to(device)))
        return torch.nn.functional.normalize(pooled.float(), dim=1)


Encoders = dict[str, TrainableEncoder]  # by kind


def require_trainable(name: str, kind: str) -> EncoderSpec:
    """The catalogue's entry of an encoder that can be trained to read `kind` (text or image); UsageError for others."""
    spec = find_spec(name)
    able = [encoder for encoder in TRAINABLE if kind in find_spec(encoder).modalities]
    if spec.name not in able:
        why = "has no weights to train" if spec.family in ("pixels", "none") else "cannot be fine-tuned here"
        what = {"text": "words", "image": "photographs"}[kind]
        raise UsageError(f"{spec.name} {why}: for {what}, choose {' or '.join(able)}.")
    return spec


def open_trainable(name: str, device: str) -> TrainableEncoder:
    """The encoder NAME or NAME@PATH, to be trained. Raises what `open_encoder` raises."""
    spec = find_spec(name)
    encoder = open_encoder(name, device=device, precision="fp32")  # which checks every file
    given = weights_path(name)
    alone = given if given is not None and given.is_file() else None
    folder = hub.locate(spec, None if alone and spec.source.startswith("package:") else given)
    on = Runtime(device, "fp32").resolve().device
    if spec.architecture == "qwen3":
        return TrainableQwen3(encoder, folder, hub.weight_files(folder, WEIGHTS), device)
    weights = alone or hub.weight_files(folder, WEIGHTS)[0]
    return (TrainableBert if spec.architecture == "bert" else TrainableTimm)(encoder, folder, weights, on)
