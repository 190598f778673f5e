"""`price build-index --preset`: which presets there are, and which encoder runs in the place of which."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.settings.presets import PRESETS
from index.storage.manifest import read_manifest

QUICK = "folds = 3\n[mlp]\nwidth = 8\n[mlp.fit]\nepochs = 1\n"
DOWNLOAD = 6


def test_the_help_names_every_preset_with_a_line_each(price: Callable[..., Any]) -> None:
    lines = [line.split() for line in price("build-index", "--help").out.splitlines()]
    for preset in PRESETS:
        assert [len(line) > 1 for line in lines if line[:1] == [preset]] == [True]


def test_an_encoder_that_cannot_be_had_is_refused_with_those_that_can_run_in_its_place(
    price: Callable[..., Any], shop: Any, tmp_path: Path
) -> None:
    answer = price("build-index", shop.catalogue, "--index", tmp_path / "index", "--preset", "clip-fusion")
    assert answer.code == DOWNLOAD
    assert answer.out == ""
    assert "clip-vit-l-14" in answer.err
    assert "--text-encoder minilm --image-encoder pixels" in answer.err
    alone = price("build-index", shop.catalogue, "--index", tmp_path / "i", "--text-encoder", "clip-vit-l-14")
    assert alone.code == DOWNLOAD
    assert "--image-encoder pixels" not in alone.err  # the default has no encoder of its own that could be missing


def test_what_runs_in_the_place_of_what_is_said_on_stderr_and_the_index_knows_its_encoders(
    price: Callable[..., Any], shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "quick.toml").write_text(QUICK, encoding="utf-8")
    index = tmp_path / "index"
    answer = price(
        "build-index", shop.catalogue, "--index", index, "--config", tmp_path / "quick.toml", "--json",
        "--preset", "towers-knn", "--text-encoder", "minilm", "--image-encoder", "pixels", "--image-dir", shop.images,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.json["encoders"] == ["minilm", "pixels"]
    said = [line for line in answer.err.splitlines() if line.startswith("price: ")]
    assert said[:2] == [
        "price: towers-knn runs with minilm in the place of its text encoder qwen3-4b, qwen3-vl-2b.",
        "price: towers-knn runs with pixels in the place of its image encoder marqo-l.",
    ]
    manifest = read_manifest(next(index.glob("gen-*")))
    assert [record.name for record in manifest.encoders] == ["minilm", "pixels"]
    again = price("query", "Espresso cup", "--index", index, "--json")
    assert again.code == 0, again.err
    assert again.json["price"] > 0
