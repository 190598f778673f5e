"""Encoders, from items to vectors: every one behind one interface, opened by name.

    encoder = open_encoder("minilm")
    vectors = encoder.encode(["Espresso cup, 2 oz", "Tea pot"])  # (2, 384) float32, unit rows

An encoder knows one batch at a time; `index.embedding.embed` sorts, batches, caches and resumes.
"""

from pathlib import Path

from index.encoders.device import Runtime
from index.encoders.encoder import Encoder
from index.encoders.registry import ENCODERS, EncoderSpec, Modality, find_spec
from index.errors import UsageError

__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderSpec",
    "Modality",
    "absolute_name",
    "find_spec",
    "open_encoder",
    "require_encoder",
]


def open_encoder(name: str, *, device: str = "auto", precision: str = "auto") -> Encoder:
    """Open NAME, or NAME@PATH with weights from a file or folder.

    `device` is auto, cpu, cuda or cuda:N; `precision` is auto, fp32, bf16 or fp16. Raises UsageError for a name,
    device or precision that cannot be used, DataRefused for weights that do not fit, DownloadNeeded for weights that
    are not here.
    """
    runtime = Runtime(device, precision)
    return _open(*require_encoder(name), runtime)


def require_encoder(name: str) -> tuple[EncoderSpec, Path | None]:
    """Return what NAME or NAME@PATH means, and PATH if it is given. UsageError for what is not there."""
    spec, path = find_spec(name), weights_path(name)
    given = name.partition("@")[2]
    if path is not None and not (given and (path.is_file() or path.is_dir())):
        raise UsageError(f"{name}: there is no file or folder '{given}'.")
    if spec.family in ("pixels", "none") and path is not None:
        raise UsageError(f"{spec.name} has no weights: leave out '@{given}'.")
    return spec, path


def weights_path(name: str) -> Path | None:
    """Return PATH of NAME@PATH, where it is given. UsageError for the home of a user that there is not."""
    _, at, given = name.partition("@")
    try:
        return Path(given).expanduser() if at else None
    except RuntimeError:
        raise UsageError(f"{name}: there is no home folder that ~ could stand for. Write the whole path.") from None


def absolute_name(name: str) -> str:
    """Return NAME as it is, and NAME@PATH with the whole path, which means the same in every folder.

    The name of a file that is a link stays: what it leads to may have no suffix.
    """
    path = weights_path(name)
    if path is None:
        return name
    whole = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return f"{name.partition('@')[0]}@{whole}"


def _open(spec: EncoderSpec, path: Path | None, runtime: Runtime) -> Encoder:
    """Open with the family's own file, which is imported when it is first needed."""
    if spec.family == "sentence":
        from index.encoders.sentence import open_sentence

        return open_sentence(spec, path, runtime)
    if spec.family == "pixels":
        from index.encoders.pixels import Pixels

        return Pixels(spec)
    if spec.family == "timm":
        from index.encoders.timm import open_timm

        return open_timm(spec, path, runtime)
    if spec.family == "clip":
        from index.encoders.clip import open_two_towers

        return open_two_towers(spec, path, runtime)
    if spec.family == "vision_language":
        from index.encoders.vision_language import open_vision_language

        return open_vision_language(spec, path, runtime)
    raise UsageError(f"'{spec.name}' means that there is nothing to encode: it cannot be opened.")
