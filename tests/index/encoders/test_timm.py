"""Photograph vectors: those of timm itself, from a file of the real layout, folded or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.encoders import open_encoder
from index.errors import DataRefused


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], Any]) -> dict[str, Path]:
    """Random weights in the layout of the published files: a classifier at the end, and running statistics."""
    import torch
    from safetensors.torch import save_file

    timm = quietly("timm")
    paths = {}
    for name in ("mobilenetv2_100", "efficientnet_b0"):
        torch.manual_seed(3)
        network = timm.create_model(name, pretrained=False)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():  # one pass in training sets the statistics, so that signals do not die on the way
            network.train()(torch.randn(8, 3, 64, 64))
        paths[name] = tmp_path_factory.mktemp(name) / "model.safetensors"
        save_file(network.state_dict(), paths[name])
    return paths


@pytest.fixture(scope="module")
def folded(published: dict[str, Path]) -> Path:
    """A mobilenet as some converters leave it: no classifier, no counters, batch norms set to do nothing."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(published["mobilenetv2_100"])
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked")
    }
    for name, tensor in kept.items():
        if name.endswith("running_var"):
            kept[name] = torch.full_like(tensor, 1 - 1e-5)
        if name.endswith("running_mean"):
            kept[name] = torch.zeros_like(tensor)
    path = published["mobilenetv2_100"].with_name("mobilenetv2_100.safetensors")
    save_file(kept, path)
    return path


def upstream(quietly: Callable[[str], Any], name: str, weights: Path, photographs: list[np.ndarray]) -> np.ndarray:
    """timm alone: its model, its transform."""
    import torch
    from safetensors.torch import load_file

    timm = quietly("timm")
    network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    network.load_state_dict(load_file(weights), strict=False)
    settings = {**timm.data.resolve_model_data_config(network), "crop_pct": 1.0, "crop_mode": "squash"}
    transform = timm.data.create_transform(**settings)
    with torch.inference_mode():
        features = network(torch.stack([transform(Image.fromarray(photograph)) for photograph in photographs]))
    return np.asarray(torch.nn.functional.normalize(features, dim=1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "architecture"), [("mobilenet-v2", "mobilenetv2_100"), ("efficientnet-b0", "efficientnet_b0")]
)
def test_vectors_equal_timms_own(
    published: dict[str, Path],
    photographs: list[np.ndarray],
    quietly: Callable[[str], Any],
    name: str,
    architecture: str,
) -> None:
    weights = published[architecture]
    ours = open_encoder(f"{name}@{weights}", device="cpu")
    theirs = upstream(quietly, architecture, weights, photographs)
    vectors = ours.encode(photographs)
    assert vectors.shape == (len(photographs), ours.dim) == (12, 1280)
    assert (vectors * theirs).sum(1).min() > 0.99999
    assert (vectors[:-1] * vectors[1:]).sum(1).max() < 0.999, "different photographs must differ"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["mobilenetv2_100", "efficientnet_b0"])
def test_every_batch_norm_is_folded_and_nothing_changes(
    published: dict[str, Path], quietly: Callable[[str], Any], architecture: str
) -> None:
    import torch
    from safetensors.torch import load_file

    from index.encoders.timm import fold_norms

    network = quietly("timm").create_model(architecture, pretrained=False).eval()
    network.load_state_dict(load_file(published[architecture]))
    network.double()
    pixels = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        before = network(pixels)
        folded = fold_norms(network)
        after = folded(pixels)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_folded_weights_without_classifier_or_counters_equal_timms_own(
    folded: Path, photographs: list[np.ndarray], quietly: Callable[[str], Any]
) -> None:
    ours = open_encoder(f"mobilenet-v2@{folded}", device="cpu")
    theirs = upstream(quietly, "mobilenetv2_100", folded, photographs)
    assert (ours.encode(photographs) * theirs).sum(1).min() > 0.99999


def test_a_photograph_has_the_same_vector_alone_and_in_a_batch(folded: Path, photographs: list[np.ndarray]) -> None:
    ours = open_encoder(f"mobilenet-v2@{folded}", device="cpu")
    alone = np.concatenate([ours.encode([photograph]) for photograph in photographs[:3]])
    np.testing.assert_allclose(ours.encode(photographs[:3]), alone, atol=1e-4)
    assert ours.encode([]).shape == (0, 1280)


def test_a_folder_and_its_file_are_one_encoder(published: dict[str, Path]) -> None:
    path = published["efficientnet_b0"]
    by_file, by_folder = open_encoder(f"efficientnet-b0@{path}"), open_encoder(f"efficientnet-b0@{path.parent}")
    assert by_file.identity == by_folder.identity


def test_published_weights_with_another_hash_are_refused_before_they_are_read(
    published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from index.encoders import hub, timm

    folder = published["efficientnet_b0"].parent
    monkeypatch.setattr(hub, "locate", lambda spec, path: folder)
    monkeypatch.setattr(timm, "read_network", lambda spec, weights: pytest.fail("was read"))
    with pytest.raises(DataRefused, match=r"is not the file that efficientnet-b0 was published with .* not d569899762"):
        open_encoder("efficientnet-b0")


def test_another_networks_weights_are_refused_by_name(published: dict[str, Path]) -> None:
    with pytest.raises(DataRefused, match=r"does not fit its model: it lacks .*it has "):
        open_encoder(f"mobilenet-v2@{published['efficientnet_b0']}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("conv_head.weight"), "it lacks conv_head.weight"),
        (lambda tensors: tensors.update({"conv_stem.weight": tensors["conv_stem.weight"][:1]}), "its conv_stem.weight"),
    ],
)
def test_changed_weights_are_refused_by_name(
    folded: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folded)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "changed.safetensors")
    with pytest.raises(DataRefused, match=message):
        open_encoder(f"mobilenet-v2@{tmp_path / 'changed.safetensors'}")
