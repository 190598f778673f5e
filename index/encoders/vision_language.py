"""Vision-language encoder, of a text with its photograph: Qwen3-VL's embedding model, read at its last token."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.arrays import Float32
from index.encoders import hub
from index.encoders.device import Device, Runtime
from index.encoders.encoder import Encoder
from index.encoders.registry import EncoderSpec
from index.encoders.sentence import read_tokeniser, valid_texts
from index.encoders.weights import (
    check_hashes,
    guard_torchvision,
    identity_of,
    read_config,
    read_model,
    read_model_config,
    refuse_unsafe,
    to_unit_rows,
)
from index.errors import DataRefused, UsageError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

Pair = tuple[str, np.ndarray | None]
"""A text, and its photograph (h, w, 3) uint8 RGB or None."""

BEFORE = "<|im_start|>system\n{prompt}<|im_end|>\n<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
"""The chat that the model was trained on: its vector is that of the last token, where an answer would begin."""
PHOTOGRAPH = "<|vision_start|>{patches}<|vision_end|>"
PATCH = "<|image_pad|>"
MARKERS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", PATCH)
"""Tokens that the frame is made of."""
SMALLEST_AREA = 64 * 64
"""Pixels below which a photograph is enlarged."""
NARROWEST = 100
"""A photograph longer than this many times its width is padded with white: the processor refuses beyond 200."""


@dataclass(frozen=True)
class Pairs:
    """A batch ready for the forward pass; `pixels` and `grid` are None where no item has a photograph."""

    ids: "torch.Tensor"  # (n, t) int64
    present: "torch.Tensor"  # (n, t) bool, padding on the right
    pixels: "torch.Tensor | None"  # (patches of all photographs, channels * pixels of a patch)
    grid: "torch.Tensor | None"  # (photographs, 3): frames, rows and columns of patches


@dataclass(frozen=True)
class Parts:
    """The network and what goes before it."""

    network: Any
    tokeniser: "Tokenizer"
    processor: Any


class VisionLanguage(Encoder):
    """An encoder of pairs. A pair without a photograph is a text alone; without a text, a photograph alone."""

    def __init__(self, spec: EncoderSpec, identity: str, parts: Parts, device: Device) -> None:
        super().__init__(spec, identity, device.batch_size(spec))
        self.on_cpu = device.device.type == "cpu"
        self._network = parts.network
        self._tokeniser = parts.tokeniser
        self._processor = parts.processor
        self._patch = parts.tokeniser.token_to_id(PATCH) or 0
        # Tokens with a meaning of their own, which no text of a user's may bring in.
        self._reserved = [token.content for token in parts.tokeniser.get_added_tokens_decoder().values()]
        self._device = device.device

    def length(self, item: Pair) -> int:
        """Return the number of characters, with four more for each token of the photograph."""
        text, photograph = item
        return len(text) + (0 if photograph is None else 4 * (self.spec.image_size // 32) ** 2)

    def prepare(self, batch: Sequence[Pair]) -> Pairs:
        """Pairs to token ids and patches."""
        import torch

        photographs = [_widened(photograph) for _, photograph in batch if photograph is not None]
        processed = self._processor(photographs, return_tensors="pt") if photographs else {}
        grid = processed.get("image_grid_thw")
        merged = [] if grid is None else (grid.prod(1) // self._processor.merge_size**2).tolist()
        patches = iter(merged)
        texts = valid_texts([text for text, _ in batch], self.spec.max_length)
        rows = [
            self._conversation(text, 0 if photograph is None else next(patches))
            for text, (_, photograph) in zip(texts, batch, strict=True)
        ]
        encodings = self._tokeniser.encode_batch_fast(rows)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        present = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
        return Pairs(ids, present, processed.get("pixel_values"), grid)

    def _conversation(self, text: str, patches: int) -> str:
        """One item as the chat that the model was trained on. The text is cut so that the frame is always whole."""
        for token in self._reserved:
            text = text.replace(token, " ")
        ends = self._tokeniser.encode(text, add_special_tokens=False).offsets
        cut = ends[self.spec.max_length - 1][1] if len(ends) > self.spec.max_length else len(text)
        photograph = PHOTOGRAPH.format(patches=PATCH * patches) if patches else ""
        return BEFORE.format(prompt=self.spec.prompt) + photograph + text[:cut] + AFTER

    def forward(self, prepared: Pairs) -> Float32:
        """A prepared batch to unit rows (n, dim) float32."""
        import torch

        ids, present = prepared.ids.to(self._device), prepared.present.to(self._device)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": present.long()}
        if prepared.pixels is not None and prepared.grid is not None:
            inputs["pixel_values"] = prepared.pixels.to(self._device)
            inputs["image_grid_thw"] = prepared.grid.to(self._device)
            inputs["mm_token_type_ids"] = torch.eq(ids, self._patch).int()
        with torch.inference_mode():
            hidden = self._network(**inputs, use_cache=False).last_hidden_state  # (n, t, width)
            last = hidden[torch.arange(len(ids)), present.sum(1) - 1]
            return to_unit_rows(last[:, : self.dim])


def open_vision_language(spec: EncoderSpec, path: Path | None, runtime: Runtime) -> VisionLanguage:
    """Open the encoder with its published weights, or those of the folder `path`; UsageError for a file alone."""
    guard_torchvision()
    from transformers.models.qwen3_vl import Qwen3VLConfig, Qwen3VLModel

    if path is not None and path.is_file():
        refuse_unsafe(path)
        raise UsageError(f"{spec.name}@{path}: give the folder, which must also hold the tokeniser and configuration.")
    device = runtime.resolve()
    folder = hub.locate(spec, path)
    weights = hub.weight_files(folder, "model.safetensors")
    hashes = check_hashes(spec, [*weights, *(folder / name for name, _ in spec.files[1:])])
    config = read_model_config(folder / "config.json", Qwen3VLConfig)
    network = read_model(Qwen3VLModel, config, weights, device)
    processor = _processor(folder, spec.image_size)
    tokeniser = read_tokeniser(folder / "tokenizer.json", None, side="right")
    lacking = [marker for marker in MARKERS if tokeniser.token_to_id(marker) is None]
    if lacking or tokeniser.token_to_id(PATCH) != config.image_token_id:
        raise DataRefused(
            f"{folder / 'tokenizer.json'} is not this model's tokeniser: {lacking or PATCH} is not its own."
        )
    spec = replace(spec, dim=min(spec.dim, config.text_config.hidden_size))
    return VisionLanguage(spec, identity_of(spec, hashes), Parts(network, tokeniser, processor), device)


def _processor(folder: Path, side: int) -> Any:
    """The published preprocessing, in Pillow, with the largest area that a photograph may take set by the catalogue."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = read_config(folder / "preprocessor_config.json")
    chosen = ("image_mean", "image_std", "merge_size", "patch_size", "temporal_patch_size", "rescale_factor")
    settings = {key: config[key] for key in chosen if key in config}
    return Qwen2VLImageProcessorPil(size={"shortest_edge": SMALLEST_AREA, "longest_edge": side * side}, **settings)


def _widened(photograph: np.ndarray) -> np.ndarray:
    """White beside a photograph that is too long and narrow for the processor."""
    height, width = photograph.shape[:2]
    down, across = max(height, -(-width // NARROWEST)), max(width, -(-height // NARROWEST))
    if (down, across) == (height, width):
        return photograph
    return np.pad(photograph, ((0, down - height), (0, across - width), (0, 0)), constant_values=255)
