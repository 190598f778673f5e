"""The checkpoint by which a stopped training goes on: one file of tensors, with all else as JSON in its header.

One file, because two could be of two different steps after a kill; and a checksum of all of it, because nothing that
reads safetensors would notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.networks.tensor_file import read_tensor_file, tensor_bytes
from index.errors import DataRefused
from index.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3


def write_checkpoint(path: Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Replace the checkpoint in one step: a kill leaves the old one or the new one."""
    whole = {"format": FORMAT, **document}
    header = json.dumps({**whole, "checksum": _checksum(whole, tensors)}, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_bytes(tensor_bytes(tensors, "checkpoint", header))


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Read the checkpoint, None where there is none. Raises DataRefused for a damaged one."""
    from safetensors import SafetensorError

    if not path.exists():
        return None
    refused = DataRefused(f"{path} is damaged: give --overwrite to begin anew.")
    try:
        document, tensors = read_tensor_file(path, "checkpoint")
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
    """SHA-256 of the header's values, and of each tensor's name, kind, shape and bytes."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
