"""Sentence encoders, of texts: a tokeniser, a transformer, a pooling, unit length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.arrays import Bool, Float32, Int64
from index.encoders import hub
from index.encoders.bert.shape import BertShape
from index.encoders.device import Device, Runtime
from index.encoders.encoder import Encoder
from index.encoders.registry import EncoderSpec
from index.encoders.weights import (
    check_hashes,
    guard_torchvision,
    identity_of,
    read_config,
    read_model,
    read_model_config,
    read_tensors,
    refuse_unsafe,
    to_unit_rows,
    without_known_hashes,
)
from index.errors import DataRefused, UsageError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = 64
"""A text is cut at this many characters a token before it is tokenised, so that a 10 MB cell costs no more than a
page. No tokeniser here makes tokens as long as this of anything but runs of spaces."""

Network = Callable[[Int64, Bool], Float32]
"""ids (n, t) and present (n, t), false where padding is, to unit rows (n, dim)."""


@dataclass(frozen=True)
class Tokens:
    """A batch ready for the forward pass."""

    ids: Int64  # (n, t)
    present: Bool  # (n, t) false where padding is


class Sentence(Encoder):
    """A text encoder. `open_sentence` makes one from files."""

    def __init__(
        self,
        spec: EncoderSpec,
        identity: str,
        tokeniser: "Tokenizer",
        network: Network,
        batch_size: int,
        *,
        on_cpu: bool,
    ) -> None:
        super().__init__(spec, identity, batch_size)
        self.on_cpu = on_cpu
        self._tokeniser = tokeniser
        self._network = network

    def length(self, item: str) -> int:
        """Return the number of characters, by which a batch is given texts of one length: it costs nothing to count."""
        return len(item)

    def prepare(self, batch: Sequence[str]) -> Tokens:
        """Texts to padded token ids."""
        texts = [self.spec.prompt + text for text in valid_texts(batch, self.spec.max_length)]
        encodings = self._tokeniser.encode_batch_fast(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        return Tokens(ids, np.array([encoding.attention_mask for encoding in encodings], np.bool_))

    def forward(self, prepared: Tokens) -> Float32:
        """Tokens to unit rows (n, dim) float32."""
        return self._network(prepared.ids, prepared.present)


def pool_mean(hidden: "torch.Tensor", present: "torch.Tensor") -> "torch.Tensor":
    """The mean of the token vectors (n, t, width) that are present: (n, width)."""
    weight = present.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)


def pool_last(hidden: "torch.Tensor", present: "torch.Tensor") -> "torch.Tensor":
    """The last token's vector: padding is on the left, so it is the last column."""
    return hidden[:, -1]


POOLINGS = {"mean": pool_mean, "last": pool_last}


def pooled(
    network: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"], spec: EncoderSpec, device: "torch.device"
) -> Network:
    """Pool what a network of torch makes of ids and present, both on `device`: token vectors (n, t, width) float32."""
    pool = POOLINGS[spec.pooling]

    def unit_vectors(ids: Int64, present: Bool) -> Float32:
        import torch

        with torch.inference_mode():
            there = torch.from_numpy(present).to(device)
            hidden = network(torch.from_numpy(ids).to(device), there)
            return to_unit_rows(pool(hidden, there)[:, : spec.dim])

    return unit_vectors


def open_sentence(spec: EncoderSpec, path: Path | None, runtime: Runtime) -> Sentence:
    """Open the encoder with its published weights, or those at `path`.

    That is a folder of the same layout or, where the rest is installed with the engine (minilm), a safetensors file.
    Raises DataRefused, UsageError or DownloadNeeded.
    """
    build = {"bert": _open_bert, "qwen3": _open_qwen3}[spec.architecture]
    if path is not None and path.is_file():
        refuse_unsafe(path)
        if not spec.source.startswith("package:"):
            raise UsageError(f"{spec.name}@{path}: give the folder, which must also hold the tokeniser.")
        return build(without_known_hashes(spec), hub.locate(spec, None), [path], runtime)
    folder = hub.locate(spec, path)
    own = spec if path is None else without_known_hashes(spec)
    _refuse_other_pooling(spec, folder)
    return build(own, folder, hub.weight_files(folder, "model.safetensors"), runtime)


def _refuse_other_pooling(spec: EncoderSpec, folder: Path) -> None:
    """Refuse a model of sentence-transformers that says that it pools otherwise: its vectors would not be its own."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return
    config, own = read_config(path), {"mean": "mean", "last": "lasttoken"}[spec.pooling]
    # Older versions write a key for each: pooling_mode_cls_token, pooling_mode_mean_tokens, pooling_mode_lasttoken.
    flags = [name.removeprefix("pooling_mode_") for name, value in config.items() if value is True and "_mode_" in name]
    given = config.get("pooling_mode", [name.rpartition("_token")[0] or name for name in flags])
    modes = set(map(str, given)) if isinstance(given, list) else {str(given)}
    if modes and modes != {own}:
        raise DataRefused(
            f"{path} says that the model's token vectors are pooled by {', '.join(sorted(modes))}, and {spec.name} "
            f"pools by {own}: bring a model that is pooled so, or take another encoder."
        )


def _open_bert(spec: EncoderSpec, folder: Path, weights: list[Path], runtime: Runtime) -> Sentence:
    """A BERT by our own forward pass: `index.encoders.bert.network`."""
    from index.encoders.bert.network import Bert

    hashes = check_hashes(spec, [*weights, folder / "tokenizer.json", folder / "config.json"])
    shape = _bert_shape(folder / "config.json")
    spec = replace(spec, dim=shape.width)
    tokeniser = read_tokeniser(folder / "tokenizer.json", min(spec.max_length, shape.positions), side="right")
    device = runtime.resolve(cpu="bf16")
    tensors = read_tensors(weights[0], shape.tensors(), shape.unread())
    network = pooled(Bert(shape, tensors, dtype=device.dtype).to(device.device).eval(), spec, device.device)
    return _by_torch(spec, identity_of(spec, hashes), tokeniser, network, device)


def _by_torch(spec: EncoderSpec, identity: str, tokeniser: "Tokenizer", network: Network, device: Device) -> Sentence:
    on_cpu = device.device.type == "cpu"
    return Sentence(spec, identity, tokeniser, network, device.batch_size(spec), on_cpu=on_cpu)


def _open_qwen3(spec: EncoderSpec, folder: Path, weights: list[Path], runtime: Runtime) -> Sentence:
    """A Qwen3 decoder by transformers' own class, so that no code of a hub can be run."""
    guard_torchvision()
    from transformers.models.qwen3 import Qwen3Config, Qwen3Model

    device = runtime.resolve()
    hashes = check_hashes(spec, [*weights, folder / "tokenizer.json", folder / "config.json"])
    config = read_model_config(folder / "config.json", Qwen3Config)
    model = read_model(Qwen3Model, config, weights, device)
    tokeniser = read_tokeniser(folder / "tokenizer.json", spec.max_length, side="left")
    spec = replace(spec, dim=min(spec.dim, config.hidden_size))

    def network(ids: "torch.Tensor", present: "torch.Tensor") -> "torch.Tensor":
        hidden: torch.Tensor = model(input_ids=ids, attention_mask=present.long(), use_cache=False).last_hidden_state
        return hidden.float()

    return _by_torch(spec, identity_of(spec, hashes), tokeniser, pooled(network, spec, device.device), device)


def valid_texts(texts: Sequence[str], max_length: int) -> list[str]:
    """Texts that a tokeniser takes: bounded, and without the half characters that a command line may hand over."""
    limit = max_length * CHARACTERS_PER_TOKEN
    return [text[:limit].encode("utf-8", "replace").decode("utf-8") for text in texts]


def read_tokeniser(path: Path, max_length: int | None, *, side: str) -> "Tokenizer":
    """A `tokenizer.json`, set to cut at `max_length` tokens, if any, and to pad on `side` to a batch's longest text."""
    from tokenizers import Tokenizer

    read_config(path)
    try:
        tokeniser = Tokenizer.from_file(str(path))
    except Exception as error:  # bare Exception is what this library raises
        raise DataRefused(f"{path} cannot be read as a tokeniser ({error}).") from error
    padding: dict[str, Any] = tokeniser.padding or {"pad_id": 0, "pad_token": "[PAD]"}  # masked: any id will do
    if max_length is None:
        tokeniser.no_truncation()
    else:
        tokeniser.enable_truncation(max_length)
    tokeniser.enable_padding(direction=side, pad_id=padding["pad_id"], pad_token=padding["pad_token"])
    return tokeniser


def _bert_shape(path: Path) -> BertShape:
    """The shape in a `config.json`; any model but a plain BERT is refused."""
    config = read_config(path)
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise DataRefused(f"{path} says {key} {config[key]!r}: only a BERT with {key} {value!r} is read here.")
    try:
        return BertShape.from_config(config)
    except (KeyError, TypeError) as error:
        raise DataRefused(f"{path} lacks {error}.") from error
