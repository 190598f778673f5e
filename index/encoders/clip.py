"""Two-tower encoders of open_clip: comparable vectors of texts and of photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from index.arrays import Float32
from index.encoders import hub
from index.encoders.device import Device, Runtime
from index.encoders.encoder import Encoder
from index.encoders.registry import EncoderSpec
from index.encoders.sentence import valid_texts
from index.encoders.weights import (
    check_hashes,
    guard_torchvision,
    identity_of,
    read_config,
    read_tensors,
    refuse_unsafe,
    require_library,
    to_unit_rows,
)
from index.errors import DataRefused, UsageError

if TYPE_CHECKING:
    import torch

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
TOKENISER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Prepared:
    """One kind of item: token ids (n, t) int64, or pixels (n, 3, side, side) float32."""

    texts: bool
    tensor: "torch.Tensor"


@dataclass(frozen=True)
class Parts:
    """Parts that open_clip makes of a configuration: the two towers and what goes before each."""

    model: Any
    tokenise: Callable[[list[str]], "torch.Tensor"]
    preprocess: Callable[[Image.Image], "torch.Tensor"]


class Clip(Encoder):
    """An encoder of texts or photographs: a batch holds one kind, and vectors of both kinds can be compared."""

    def __init__(self, spec: EncoderSpec, identity: str, parts: Parts, device: Device) -> None:
        super().__init__(spec, identity, device.batch_size(spec))
        self.on_cpu = device.device.type == "cpu"
        self._parts = parts
        self._device = device

    def prepare(self, batch: Sequence[str] | Sequence[np.ndarray]) -> Prepared:
        """Texts to token ids, or photographs (h, w, 3) uint8 to normalised squares."""
        import torch

        texts = [item for item in batch if isinstance(item, str)]
        if texts:
            assert len(texts) == len(batch), "a batch holds texts or photographs, not both"
            return Prepared(True, self._parts.tokenise(valid_texts(texts, self.spec.max_length)))
        squares = [self._parts.preprocess(Image.fromarray(item)) for item in batch if not isinstance(item, str)]
        return Prepared(False, torch.stack(squares))

    def forward(self, prepared: Prepared) -> Float32:
        """A prepared batch to unit rows (n, dim) float32."""
        import torch

        model = self._parts.model
        tower = model.encode_text if prepared.texts else model.encode_image
        with torch.inference_mode(), self._device.products():
            return to_unit_rows(tower(prepared.tensor.to(self._device.device)))


def open_two_towers(spec: EncoderSpec, path: Path | None, runtime: Runtime) -> Clip:
    """Open the encoder with the published weights, or those at `path`: a folder, or a file for open_clip's own."""
    require_library("open_clip", spec, "open_clip_torch")
    device = runtime.resolve(gpu="fp16")
    folder = None if path is not None and path.is_file() else hub.locate(spec, path)
    weights = hub.weight_files(folder, WEIGHTS)[0] if folder is not None else path
    assert weights is not None
    refuse_unsafe(weights)
    # A copy of the published repository may hold more than is read of it, which must not tell.
    own = {name for name, _ in spec.files} if path is None else {CONFIG, *TOKENISER}
    config = _read_config(spec, folder if CONFIG in own else None)
    beside = [folder / name for name in (CONFIG, *TOKENISER) if name in own] if folder is not None else []
    read = [weights, *(file for file in beside if file.is_file())]
    hashes = check_hashes(spec, read)
    parts = _build(config, weights, folder)
    parts.model.to(device.device)
    side, length = config["model_cfg"]["vision_cfg"]["image_size"], config["model_cfg"]["text_cfg"]["context_length"]
    spec = replace(spec, dim=config["model_cfg"]["embed_dim"], image_size=side, max_length=length)
    return Clip(spec, identity_of(spec, hashes), parts, device)


def _read_config(spec: EncoderSpec, folder: Path | None) -> dict[str, Any]:
    """Read `model_cfg` and `preprocess_cfg`: the folder's own, or open_clip's for the published architecture."""
    guard_torchvision()
    import open_clip

    if folder is not None and (folder / CONFIG).is_file():
        config = read_config(folder / CONFIG)
        _refuse_reaching_out(folder / CONFIG, config)
        return config
    if len(spec.files) > 1:
        where = folder or "a file alone"
        raise UsageError(f"{spec.name} also needs {CONFIG} and its tokeniser, and {where} lacks them: give the folder.")
    published = open_clip.get_pretrained_cfg(spec.architecture, "openai")
    return {"model_cfg": open_clip.get_model_config(spec.architecture), "preprocess_cfg": published}


def _refuse_reaching_out(path: Path, config: dict[str, Any]) -> None:
    """Refuse a configuration that names other models to download or code to run."""
    try:
        text, vision = config["model_cfg"]["text_cfg"], config["model_cfg"]["vision_cfg"]
        options = {**text.get("tokenizer_kwargs", {}), **text, **vision, **config["model_cfg"]}
        sizes = [config["model_cfg"]["embed_dim"], text["context_length"], vision["image_size"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataRefused(f"{path} is not an open_clip configuration ({error!r}).") from error
    for key in ("trust_remote_code", "hf_model_name", "multimodal_cfg"):
        if options.get(key):
            raise DataRefused(f"{path} asks for {key}, which is never done: bring a model without it.")
    if not all(isinstance(size, int) for size in sizes):
        raise DataRefused(f"{path} gives sizes that are not whole numbers: {sizes}.")


def _build(config: dict[str, Any], weights: Path, folder: Path | None) -> Parts:
    """The model filled and checked, its tokeniser and its preprocessing, all open_clip's own."""
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    model = _read_model(dict(config["model_cfg"]), weights)
    size = {"size": config["model_cfg"]["vision_cfg"]["image_size"]}
    settings = merge_preprocess_dict(PreprocessCfg(**size), config.get("preprocess_cfg", {}))
    transform = image_transform_v2(PreprocessCfg(**{**settings, **size}), is_train=False)
    return Parts(model, _tokeniser(config["model_cfg"]["text_cfg"], folder), transform)


def _read_model(model_cfg: dict[str, Any], weights: Path) -> Any:
    import open_clip
    import torch

    kind = open_clip.CustomTextCLIP if model_cfg.pop("custom_text", False) else open_clip.CLIP
    model_cfg["vision_cfg"] = {**model_cfg["vision_cfg"], "timm_model_pretrained": False}
    try:
        with torch.device("meta"):
            model = kind(**model_cfg)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise DataRefused(f"{weights.parent / CONFIG} cannot be built ({error}).") from error
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(read_tensors(weights, expected, {}), assign=True)
    _fill_causal_mask(model)
    return model.eval()


def _fill_causal_mask(model: Any) -> None:
    """Fill the one buffer that is computed and not stored: minus infinity where a token would see a later one."""
    import torch

    tower = getattr(model, "text", model)
    if tower.attn_mask is not None:
        tower.attn_mask = torch.full(tower.attn_mask.shape, float("-inf")).triu(1)
    assert not any(buffer.is_meta for buffer in model.buffers())


def _tokeniser(text_cfg: dict[str, Any], folder: Path | None) -> Callable[[list[str]], Any]:
    """Make open_clip's own tokeniser: CLIP's is part of the library, any other comes with the weights."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    settings = dict(text_cfg.get("tokenizer_kwargs", {}))
    if not text_cfg.get("hf_tokenizer_name"):
        return SimpleTokenizer(context_length=text_cfg["context_length"], **settings)  # type: ignore[no-any-return]
    settings.pop("trust_remote_code", None)
    try:
        return HFTokenizer(  # type: ignore[no-any-return]
            str(folder),
            context_length=text_cfg["context_length"],
            tokenizer_mode=text_cfg.get("tokenizer_mode"),
            trust_remote_code=False,
            local_files_only=True,
            **settings,
        )
    except (OSError, ValueError, TypeError) as error:
        raise DataRefused(f"{folder} holds no tokeniser that can be used ({error}).") from error
