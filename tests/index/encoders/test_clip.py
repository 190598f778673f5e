"""Vectors of texts and photographs: those of open_clip itself, for CLIP's own layout and for SigLIP's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.encoders import hub, open_encoder
from index.errors import DataRefused, UsageError

OPENAI = {
    "model_cfg": {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}
SIGLIP = {
    "model_cfg": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": True,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 24,
            "vocab_size": 320,
            "hf_tokenizer_name": "somewhere/else",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 64,
            "heads": 2,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], Any], train_tokeniser: Callable[..., Any]
) -> dict[str, Path]:
    """A random model of each layout, written as the published ones are."""
    import torch
    from safetensors.torch import save_file

    open_clip = quietly("open_clip")
    made = {}
    for name, config in (("clip-vit-b-32", OPENAI), ("marqo-b", SIGLIP)):
        made[name] = tmp_path_factory.mktemp(name)
        (made[name] / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
        torch.manual_seed(4)
        whole = json.loads(json.dumps(config["model_cfg"]))
        whole["vision_cfg"]["timm_model_pretrained"] = False
        kind = open_clip.CustomTextCLIP if whole.pop("custom_text", False) else open_clip.CLIP
        save_file(kind(**whole).state_dict(), made[name] / "open_clip_model.safetensors")
    train_tokeniser(made["marqo-b"], ["<pad>", "</s>"], end="</s>")
    return made


def upstream(quietly: Callable[[str], Any], folder: Path, items: list[Any]) -> np.ndarray:
    """open_clip alone, told where the folder is."""
    import torch

    open_clip = quietly("open_clip")
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    with torch.inference_mode():
        if isinstance(items[0], str):
            features = model.eval().encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(items))
        else:
            features = model.eval().encode_image(torch.stack([preprocess(Image.fromarray(item)) for item in items]))
    return np.asarray(torch.nn.functional.normalize(features, dim=1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["clip-vit-b-32", "marqo-b"])
@pytest.mark.parametrize("kind", ["texts", "photographs"])
def test_vectors_equal_open_clips_own(
    request: pytest.FixtureRequest, folders: dict[str, Path], quietly: Callable[[str], Any], name: str, kind: str
) -> None:
    items = request.getfixturevalue(kind)
    if kind == "photographs" and name == "clip-vit-b-32":
        items = [item for item in items if min(item.shape[:2]) > 1]
    ours = open_encoder(f"{name}@{folders[name]}", device="cpu")
    vectors = ours.encode(items)
    assert vectors.shape == (len(items), ours.dim)
    assert (vectors * upstream(quietly, folders[name], items)).sum(1).min() > 0.99999
    assert (vectors[:-1] * vectors[1:]).sum(1).max() < 0.9999, "different items must differ"


def test_a_text_has_the_same_vector_alone_and_in_a_batch(folders: dict[str, Path], texts: list[str]) -> None:
    for name, folder in folders.items():
        ours = open_encoder(f"{name}@{folder}", device="cpu")
        alone = np.concatenate([ours.encode([text]) for text in texts])
        np.testing.assert_allclose(ours.encode(texts), alone, atol=1e-5)
        assert ours.encode([]).shape == (0, ours.dim)


def test_sizes_are_the_models_own(folders: dict[str, Path]) -> None:
    spec = open_encoder(f"marqo-b@{folders['marqo-b']}", device="cpu").spec
    assert (spec.dim, spec.image_size, spec.max_length) == (64, 160, 24)


def test_identity_follows_the_configuration(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip-vit-b-32"], tmp_path / "other")
    config = json.loads(json.dumps(OPENAI))
    config["preprocess_cfg"]["resize_mode"] = "squash"
    (tmp_path / "other" / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    first = open_encoder(f"clip-vit-b-32@{folders['clip-vit-b-32']}").identity
    assert open_encoder(f"clip-vit-b-32@{tmp_path / 'other'}").identity != first


def test_what_lies_beside_the_published_weights_and_is_not_read_changes_nothing(
    folders: dict[str, Path], quietly: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a snapshot of the hub that another program has completed."""
    open_clip = quietly("open_clip")
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: json.loads(json.dumps(OPENAI["model_cfg"])))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: OPENAI["preprocess_cfg"])
    monkeypatch.setattr(hub, "locate", lambda spec, path: tmp_path)
    shutil.copy(folders["clip-vit-b-32"] / "open_clip_model.safetensors", tmp_path)
    first = open_encoder("clip-vit-b-32", device="cpu")
    stray = json.loads(json.dumps(OPENAI))
    stray["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(stray), encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    again, photograph = open_encoder("clip-vit-b-32", device="cpu"), np.full((9, 9, 3), 90, np.uint8)
    assert again.identity == first.identity
    np.testing.assert_array_equal(again.encode([photograph]), first.encode([photograph]))


def test_a_file_alone_is_read_as_the_published_architecture(folders: dict[str, Path]) -> None:
    weights = folders["clip-vit-b-32"] / "open_clip_model.safetensors"
    with pytest.raises(DataRefused, match=r"does not fit its model"):
        open_encoder(f"clip-vit-b-32@{weights}")
    with pytest.raises(UsageError, match="give the folder"):
        open_encoder(f"marqo-b@{folders['marqo-b'] / 'open_clip_model.safetensors'}")


def rewritten(folder: Path, into: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model whose configuration `change` has changed."""
    shutil.copytree(folder, into)
    config = json.loads((into / "open_clip_config.json").read_text(encoding="utf-8"))
    change(config["model_cfg"])
    (into / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return into


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cfg: cfg["text_cfg"]["tokenizer_kwargs"].update(trust_remote_code=True), "asks for trust_remote_code"),
        (lambda cfg: cfg["text_cfg"].update(hf_model_name="somebody/model"), "asks for hf_model_name"),
        (lambda cfg: cfg.update(multimodal_cfg={"width": 8}), "asks for multimodal_cfg"),
        (lambda cfg: cfg.pop("vision_cfg"), "not an open_clip configuration"),
        (lambda cfg: cfg.update(embed_dim="wide"), "not whole numbers"),
        (lambda cfg: cfg.update(colour="red"), "cannot be built"),
        (lambda cfg: cfg["vision_cfg"].update(timm_model_name="no_such_model"), "cannot be built"),
        (lambda cfg: cfg.update(embed_dim=32), r"its \S+ is \(64"),
    ],
)
def test_a_configuration_that_reaches_out_or_does_not_fit_is_refused(
    folders: dict[str, Path], tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = rewritten(folders["marqo-b"], tmp_path / "bad", change)
    with pytest.raises(DataRefused, match=message):
        open_encoder(f"marqo-b@{folder}")


def test_a_folder_without_its_tokeniser_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["marqo-b"], tmp_path / "mute")
    for path in (tmp_path / "mute").glob("*token*"):
        path.unlink()
    with pytest.raises(DataRefused, match="no tokeniser that can be used"):
        open_encoder(f"marqo-b@{tmp_path / 'mute'}")


def test_a_batch_of_both_kinds_is_our_mistake(folders: dict[str, Path], photographs: list[np.ndarray]) -> None:
    ours = open_encoder(f"clip-vit-b-32@{folders['clip-vit-b-32']}", device="cpu")
    with pytest.raises(AssertionError, match="not both"):
        ours.encode(["cup", photographs[0]])
