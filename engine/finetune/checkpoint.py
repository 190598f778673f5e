"""Can a training that was stopped go on? One file of tensors, with all else as JSON in its header.

One file, because two could be of two different steps after a kill; and a checksum of all of it, because nothing that
reads safetensors would notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.errors import DataRefused

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2


def write_checkpoint(path: Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Replace the checkpoint in one step: a kill leaves the old one or the new one."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    whole = {"format": FORMAT, **document}
    header = json.dumps({**whole, "checksum": _checksum(whole, plain)}, allow_nan=False)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(save(plain, {"checkpoint": header}))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What was written, or None where nothing was. DataRefused for a damaged one."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    refused = DataRefused(f"{path} is damaged: give --overwrite to begin anew.")
    try:
        with safe_open(path, "pt") as file:
            document = json.loads((file.metadata() or {}).get("checkpoint", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, ValueError, OSError) as error:
        raise refused from error
    if not isinstance(document, dict):
        raise refused
    if document.get("format") != FORMAT:  # which may have been summed up otherwise
        raise DataRefused(f"{path} is of another version of price: give --overwrite to begin anew.")
    if document.pop("checksum", None) != _checksum(document, tensors):
        raise refused
    del document["format"]
    return document, tensors


def _checksum(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of the header's values, and of each tensor's name, kind, shape and bytes."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
