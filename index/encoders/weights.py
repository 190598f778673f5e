"""Weights of encoders: read as safetensors only, and checked first.

Reading safetensors runs no code. What the libraries do not check is checked here before they
see a byte: the hash where the catalogue knows it, and the name and shape of every tensor.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.arrays import Float32
from index.encoders.device import Device
from index.encoders.registry import EncoderSpec
from index.errors import DataRefused, UsageError
from index.files import sha256_file

if TYPE_CHECKING:
    import torch

SETTINGS_FORMAT = 1
"""Version to raise when the same weights and settings come to give other vectors: all cached ones are made again."""

Shapes = Mapping[str, tuple[int, ...]]

_kept: list[object] = []
"""Keeps the operators of `guard_torchvision` registered: they go when their library object does."""


def guard_torchvision() -> None:
    """Let a CUDA build of torchvision be imported beside a CPU build of torch.

    Its compiled half then does not load, and `import torchvision` fails for want of two operators, and with it timm,
    open_clip and parts of transformers, none of which call them here. A torchvision that fits is left alone.
    """
    import torch

    if _kept or "torchvision" in sys.modules or torch.version.cuda is not None:
        return
    found = importlib.util.find_spec("torchvision")
    version = Path(found.origin).with_name("version.py") if found and found.origin else None
    if version is None or "+cu" not in version.read_text(encoding="utf-8"):
        return  # a build that fits defines its own operators, and would refuse ours
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept.append(library)


def require_library(module: str, spec: EncoderSpec, package: str) -> None:
    """Raise UsageError, naming what to install, where an encoder's library is not here."""
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"{spec.name} needs {package}, which is not installed: pip install 'price-engine[vision]'.")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file. A file that cannot be read is refused by name."""
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataRefused(f"{path} cannot be read ({error.strerror or error}).") from error


def check_hashes(spec: EncoderSpec, paths: Sequence[Path]) -> dict[str, str]:
    """Return sha256 by file name; refuse a file for whose name the catalogue knows another hash."""
    known = dict(spec.files)
    found = {path.name: sha256_of(path) for path in paths}
    for path in paths:
        expected = known.get(path.name)
        if expected and found[path.name] != expected:
            raise DataRefused(
                f"{path} is not the file that {spec.name} was published with (its sha256 begins "
                f"{found[path.name][:12]}, not {expected[:12]}): install it again, or use {spec.name}@PATH for another."
            )
    return found


def without_known_hashes(spec: EncoderSpec) -> EncoderSpec:
    """The same encoder with weights of the user's own, about which the catalogue knows nothing."""
    return replace(spec, source="", revision=None, files=tuple((name, "") for name, _ in spec.files))


def identity_of(spec: EncoderSpec, hashes: Mapping[str, str], **settings: object) -> str:
    """Short hash of everything that the vectors depend on, but for the device and its rounding.

    A file of the user's own that equals the published one gives the published identity: where it lies changes nothing.
    """
    facts = {
        "format": SETTINGS_FORMAT,
        "family": spec.family,
        "architecture": spec.architecture,
        "dim": spec.dim,
        "pooling": spec.pooling,
        "prompt": spec.prompt,
        "max_length": spec.max_length,
        "image_size": spec.image_size,
        "files": sorted(hashes.values()),
        "settings": settings,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read_config(path: Path) -> dict[str, Any]:
    """Read a file with one JSON object. Anything else is refused by name."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataRefused(f"{path} is not a readable JSON file ({error}).") from error
    if not isinstance(config, dict):
        raise DataRefused(f"{path} holds no JSON object.")
    return config


def refuse_unsafe(path: Path) -> None:
    """Refuse any format but safetensors: every other format of weights can run code when it is opened."""
    if path.suffix != ".safetensors":
        raise DataRefused(f"{path} is not a .safetensors file, and no other format of weights is read: convert it.")


def tensor_shapes(paths: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the files, read from their headers alone."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in paths:
        with _opened(path, "np") as file:  # which imports no torch
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def read_tensors(path: Path, expected: Shapes, unread: Shapes) -> "dict[str, torch.Tensor]":
    """The `expected` tensors of a safetensors file, as float32.

    A tensor that is missing, has another shape, or is neither expected nor `unread` is refused by name (DataRefused).
    """
    check_tensors(path, tensor_shapes([path]), expected, unread)
    with _opened(path, "pt") as file:
        return {name: file.get_tensor(name).float() for name in expected}


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    refuse_unsafe(path)
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise DataRefused(f"{path} cannot be read as safetensors ({error}).") from error


def check_tensors(path: Path, found: Shapes, expected: Shapes, unread: Shapes) -> None:
    """Refuse tensors that are missing, extra or wrongly shaped, by name."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys() - unread.keys())
    known = {**unread, **expected}
    bent = sorted(name for name in known.keys() & found.keys() if found[name] != known[name])
    complaints = [f"it lacks {_listed(missing)}"] if missing else []
    complaints += [f"it has {_listed(extra)}, which the model has not"] if extra else []
    complaints += [f"its {name} is {found[name]} and not {known[name]}" for name in bent[:1]]
    if complaints:
        raise DataRefused(f"{path} does not fit its model: {'; '.join(complaints)}.")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def to_unit_rows(vectors: "torch.Tensor") -> Float32:
    """Turn (n, d) vectors on any device into unit rows (n, d) float32 in numpy."""
    import torch

    unit: Float32 = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
    return unit


def read_model_config(path: Path, kind: Any) -> Any:
    """A transformers configuration of the given class; another model's is refused."""
    config = read_config(path)
    if config.get("model_type") != kind.model_type:
        raise DataRefused(f"{path} says model_type {config.get('model_type')!r}, and {kind.model_type!r} is read here.")
    config.pop("auto_map", None)
    try:
        return kind.from_dict(config)
    except (TypeError, ValueError, KeyError) as error:
        raise DataRefused(f"{path} cannot be used ({error}).") from error


def read_model(kind: Any, config: Any, weights: Sequence[Path], device: Device) -> Any:
    """A transformers model of class `kind` with these weights, checked by name and shape before it is filled.

    A head for writing text (`lm_head`) may be in a file, and is left there. The library is given tensors and no folder:
    in one it would read more than was hashed, such as an adapter that lies beside the weights.
    """
    import torch
    from safetensors.torch import load_file

    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in kind(config).state_dict().items()}
    found = {name.removeprefix("model."): shape for name, shape in tensor_shapes(weights).items()}
    unread = {name: shape for name, shape in found.items() if name == "lm_head.weight"}
    check_tensors(weights[0], found, expected, unread)
    with _quiet_transformers():
        tensors = {name.removeprefix("model."): tensor for path in weights for name, tensor in load_file(path).items()}
        given = {name: tensors[name] for name in expected}
        model = kind.from_pretrained(None, config=config, state_dict=given, dtype=device.dtype)
    return model.to(device.device).eval()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and advice while weights are read: only the command line prints."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
