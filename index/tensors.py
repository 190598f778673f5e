"""Map the tensors of a safetensors file into memory: nothing is copied, and no page is read before it is needed."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.contents import WrongContents, expect, parse_json
from index.files import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_HEADER = 100 * 2**20  # bytes; the format's own limit
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
"""The format's names of number types -> numpy's."""
WIDENED = "BF16"  # which numpy has not: the upper half of a float32


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name, read-only, as they lie in it; those in bf16 are copied to float32.

    Raises OSError for a file that cannot be opened, and WrongContents for one that is not what safetensors writes, or
    holds a type of number that is not read here. The file must not change while any of them is in use.
    """
    with open_regular(path) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise WrongContents("it is empty") from None
    start = 8 + int.from_bytes(data[:8], "little")
    expect(start <= min(len(data), MOST_HEADER), "its header is cut short")
    header = parse_json(data[8:start])
    header.pop("__metadata__", None)
    return {name: _mapped(data, start, entry) for name, entry in header.items()}


def _mapped(data: mmap.mmap, start: int, entry: Any) -> NDArray[Any]:
    """Return the tensor that an entry of the header describes; tensors begin at `start`."""
    try:
        kind, shape, (first, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, first, end))
    except (TypeError, KeyError, ValueError):
        raise WrongContents("its header is not safetensors'") from None
    expect(whole and first <= end <= len(data) - start, "a tensor lies outside of it")
    name = "<u2" if kind == WIDENED else KINDS.get(str(kind))
    expect(name, f"it holds numbers of the type {str(kind)[:10]}")
    count, numbers = math.prod(shape), np.dtype(name)
    expect(count * numbers.itemsize == end - first, "a tensor is of another size")
    values = np.frombuffer(data, numbers, count, start + first).reshape(shape)
    return (values.astype("<u4") << 16).view("<f4") if kind == WIDENED else values
