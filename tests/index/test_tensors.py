"""Tensors mapped from a file equal the library's own reading; a file that holds none is refused."""

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from index.contents import WrongContents
from index.tensors import map_tensors

TENSORS = {
    "weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "half": torch.tensor([1.5, -2.25, 65504.0]).half(),
    "columns": torch.tensor([3, 5, 2**40]),
    "none": torch.zeros((0, 4)),
}


def test_mapped_tensors_equal_those_that_the_library_reads(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"network": "{}"})
    expected, mapped = load_file(tmp_path / "a.safetensors"), map_tensors(tmp_path / "a.safetensors")
    assert mapped.keys() == expected.keys()
    for name, values in expected.items():
        assert mapped[name].dtype == values.dtype
        np.testing.assert_array_equal(mapped[name], values)


def test_tensors_lie_in_the_mapped_file_and_cannot_be_changed(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors")
    weight: Any = map_tensors(tmp_path / "a.safetensors")["weight"]
    assert not weight.flags.writeable
    while isinstance(weight, np.ndarray):
        weight = weight.base
    assert isinstance(weight, mmap.mmap | memoryview)


def test_bf16_is_widened_to_the_same_numbers(tmp_path: Path) -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_file({"weight": values}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(map_tensors(tmp_path / "a.safetensors")["weight"], values.float().numpy())


def written(path: Path, header: Any, data: bytes = bytes(16)) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (entry(data_offsets=[4, 20]), "outside"),
        (entry(data_offsets=[-4, 12]), "outside"),
        (entry(data_offsets=[12, 4]), "outside"),
        (entry(shape=[-4]), "outside"),
        (entry(shape=[5]), "another size"),
        (entry(shape=[2**40, 2**40]), "another size"),
        (entry(dtype="F8_E4M3"), "numbers of the type F8_E4M3"),
        (entry(dtype=["F32"]), "numbers of the type"),
        (entry(data_offsets=[0]), "safetensors"),
        (entry(shape=None), "safetensors"),
        ({"weight": 3}, "safetensors"),
        ([1], "no JSON object"),
    ],
)
def test_a_header_that_describes_what_is_not_there_is_refused(tmp_path: Path, header: Any, message: str) -> None:
    with pytest.raises(WrongContents, match=message):
        map_tensors(written(tmp_path / "a.safetensors", header))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty"), (b"\x05", "cut short"), (b"\xff" * 40, "cut short"), (bytes(40), "not JSON")],
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(WrongContents, match=message):
        map_tensors(tmp_path / "a.safetensors")
