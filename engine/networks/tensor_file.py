"""Tensors beside one JSON document in a safetensors file: what members, encoders and checkpoints are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def tensor_bytes(tensors: Mapping[str, Tensor], key: str, text: str) -> bytes:
    """Return the file's bytes, `text` in its metadata.

    There is one key of metadata: safetensors writes several in any order, and the same tensors must be the same bytes.
    """
    from safetensors.torch import save

    return bytes(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, {key: text}))


def read_tensor_file(path: Path, key: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the JSON document that stands under `key`, None where there is none, and the tensors.

    Raises SafetensorError, ValueError or OSError for a damaged file.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        document = json.loads((file.metadata() or {}).get(key, "null"))
        return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
