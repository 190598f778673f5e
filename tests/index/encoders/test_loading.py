"""Loading of torchvision: one of the wrong kind is kept out, one of the right kind left alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.encoders import ENCODERS
from index.encoders.weights import check_tensors, identity_of
from index.errors import DataRefused

ROOT = Path(__file__).parents[3]
TORCHVISION = """
import torch
# As torchvision does: its compiled half defines the operators, if it loads; its Python half needs them defined.
if {fits}:
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
"""
SCRIPT = """
from index.encoders.weights import guard_torchvision
guard_torchvision()
guard_torchvision()
import torchvision
print("imported")
"""


@pytest.mark.parametrize(("version", "fits"), [("0.28.0+cu130", False), ("0.28.0+cpu", True), ("0.28.0", True)])
def test_a_torchvision_beside_a_cpu_torch_is_imported_whatever_its_build(
    tmp_path: Path, version: str, fits: bool
) -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this torch is a CUDA build, beside which there is nothing to guard against")
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(TORCHVISION.format(fits=fits), encoding="utf-8")
    (package / "version.py").write_text(f"__version__ = '{version}'\n", encoding="utf-8")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{SCRIPT}"
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.stdout == "imported\n", answer.stderr


def test_without_a_torchvision_there_is_nothing_to_guard(tmp_path: Path) -> None:
    script = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'torchvision' else find(name)\n"
        "from index.encoders.weights import _kept, guard_torchvision\n"
        "guard_torchvision()\n"
        "print(_kept)"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 1},
        {"pooling": "last"},
        {"prompt": "x"},
        {"max_length": 1},
        {"image_size": 1},
        {"family": "clip"},
        {"architecture": "x"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_identity_follows_every_setting_of_the_vectors(change: dict[str, Any]) -> None:
    spec = ENCODERS["minilm"]
    assert identity_of(replace(spec, **change), {"weights": "a"}) != identity_of(spec, {"weights": "a"})


def test_identity_follows_the_files_and_not_their_place_or_the_batch() -> None:
    spec = ENCODERS["minilm"]
    first = identity_of(spec, {"weights": "a", "config": "b"})
    assert identity_of(spec, {"weights": "c", "config": "b"}) != first
    assert identity_of(spec, {"weights": "a", "config": "b"}, recipe=1) != first
    elsewhere = replace(spec, source="", revision=None, batch_size=1, summary="mine")
    assert identity_of(elsewhere, {"mine": "a", "config": "b"}) == first


def test_every_complaint_about_tensors_is_made_at_once() -> None:
    expected = {"a": (1,), "b": (2,), "c": (3,), "d": (4,), "e": (5,)}
    with pytest.raises(DataRefused) as raised:
        check_tensors(Path("w"), {"a": (9,), "z": (1,), "seen": (2,)}, expected, {"seen": (2,)})
    assert str(raised.value) == (
        "w does not fit its model: it lacks b, c, d and 1 more; it has z, which the model has not; "
        "its a is (9,) and not (1,)."
    )


def test_tensors_that_fit_are_let_through() -> None:
    check_tensors(Path("w"), {"a": (1,), "b": (2,)}, {"a": (1,)}, {"b": (2,), "c": (3,)})
