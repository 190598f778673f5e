"""Fixtures of the encoders: drawn photographs, a tokeniser trained on the spot, the upstream libraries."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

# On a machine that others use, spinning threads wait a time slice for each other at every step.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TEXTS = [
    "Espresso cup, 2 oz",
    "Blue enamel mug with a long description: " + "holds tea and coffee, " * 20,
    "tea pot",
    "Thé à la menthe – 12 × 20 g ☕",
    "",
]


@pytest.fixture
def texts() -> list[str]:
    """Short, long, accented and empty."""
    return TEXTS


def draw(seed: int, side: tuple[int, int] = (160, 200)) -> np.ndarray:
    """A made-up product on white: a few shapes in a few colours."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", side, "white")
    pen = ImageDraw.Draw(image)
    width, height = side
    for _ in range(6):
        left, top = rng.integers(width // 8, width // 2), rng.integers(height // 8, height // 2)
        right, bottom = left + rng.integers(10, width // 3), top + rng.integers(10, height // 3)
        colour = tuple(int(value) for value in rng.integers(0, 220, 3))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((int(left), int(top), int(right), int(bottom)), fill=colour)
    return np.asarray(image)


@pytest.fixture
def photographs() -> list[np.ndarray]:
    """Twelve products; one wide, one narrow, one of a single pixel."""
    shapes = {1: (300, 60), 2: (40, 260), 3: (1, 1)}
    return [
        draw(seed, shapes.get(seed, (160, 200))) if seed != 3 else np.full((1, 1, 3), 90, np.uint8)
        for seed in range(12)
    ]


@pytest.fixture(scope="session")
def quietly() -> Callable[[str], ModuleType]:
    """Import an upstream library, whose own warnings are not ours to answer for."""

    def load(name: str) -> ModuleType:
        import importlib

        from index.encoders.weights import guard_torchvision

        guard_torchvision()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)

    return load


@pytest.fixture(scope="session")
def train_tokeniser() -> Callable[..., Any]:
    """A byte-level BPE with the special tokens asked for, saved as a `tokenizer.json` with its configuration."""

    def train(folder: Path, specials: list[str], *, end: str = "", side: str = "right") -> Any:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
        from transformers import PreTrainedTokenizerFast

        tokeniser = Tokenizer(models.BPE())
        tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokeniser.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        tokeniser.train_from_iterator(TEXTS, trainer)
        if end:
            number = tokeniser.token_to_id(end)
            tokeniser.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, number)])
        whole = PreTrainedTokenizerFast(tokenizer_object=tokeniser, pad_token=specials[0], padding_side=side)
        whole.save_pretrained(folder)
        return whole

    return train


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a hub, even by mistake."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
