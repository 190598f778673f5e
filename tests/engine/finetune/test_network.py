"""Claims: what is trained is the encoder itself, only what should learn does, the ways to save memory change no sum."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.features.inputs import NUMBERS
from engine.finetune.examples import ExampleBatches, Examples, FrozenActivations
from engine.finetune.network import make_network, merge_adapters, open_encoders
from engine.finetune.trainable_encoders import WEIGHTS, open_trainable
from engine.finetune.training import Training, batches_of, predict, rate_at
from engine.metrics import smape
from engine.settings.finetuning import FinetuneSettings
from index.encoders import open_encoder
from index.encoders.device import Device, Runtime

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = 40


@pytest.fixture(scope="module")
def machine() -> Device:
    return Runtime("cpu", "fp32").resolve_for_training()


@pytest.fixture
def settings(tiny_minilm: str) -> FinetuneSettings:
    return FinetuneSettings(
        encoder=tiny_minilm, epochs=2, batch_size=16, width=8, layers=1, dropout=0.0, learning_rate=1e-2
    )


def made_up(rows: int = ROWS) -> Examples:
    random = np.random.default_rng(0)
    words = "jade navy ochre pearl cup jug vase tray tall small".split()
    texts = [" ".join(random.choice(words, random.integers(1, 12))) for _ in range(rows)]
    numbers = random.normal(size=(rows, len(NUMBERS))).astype(np.float32)
    log_price = np.array([1.0 + 0.3 * text.count("jade") + 0.2 * text.count("tall") for text in texts])
    return Examples(texts, [None] * rows, [None] * rows, numbers, random.integers(0, 3, rows), log_price)


@pytest.fixture
def train(machine: Device) -> Callable[..., Training]:
    """A training over made-up items, its first 30 rows learned from."""

    def run(
        settings: FinetuneSettings, capacity: int = 2**20, examples: Examples | None = None, on: Device = machine
    ) -> Training:
        encoders = open_encoders(settings, "cpu")
        with on.repeatable(0):
            network = make_network(encoders, settings)
            batches = ExampleBatches(examples or made_up(), encoders, FrozenActivations(capacity=capacity), on)
            batches.make_ahead(lambda *said: None)
            rows = np.arange(30), np.arange(30, ROWS)
            training = Training(network, batches, rows, settings, seed=0, machine=on)
            training.run()
        return training

    return run


def weights_of(training: Training) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in training.network.encoders["text"].tensors().items()}


def assert_close(one: Training, other: Training, atol: float) -> None:
    mine, theirs = weights_of(one), weights_of(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        if name.endswith("key.bias"):
            continue  # attention does not depend on it: its gradient is rounding alone, which Adam blows up
        np.testing.assert_allclose(value, theirs[name], atol=atol, err_msg=name)


# --- trainable encoders


@pytest.fixture(scope="module")
def tiny_qwen3(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen3 of two layers whose tokeniser ends every text with a token of its own."""
    import torch

    from index.encoders.weights import guard_torchvision

    guard_torchvision()
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers.models.qwen3 import Qwen3Config, Qwen3Model

    folder = tmp_path_factory.mktemp("qwen3")
    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokeniser.train_from_iterator(["jade cup"], trainer)
    tokeniser.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    tokeniser.save(str(folder / "tokenizer.json"))
    config = Qwen3Config(
        vocab_size=280, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=2048,
    )  # fmt: skip
    torch.manual_seed(2)
    Qwen3Model(config).save_pretrained(folder)
    return f"qwen3-0.6b@{folder}"


@pytest.fixture(scope="module")
def tiny_mobilenet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights of the real architecture: timm has no smaller one of that name."""
    import torch
    from safetensors.torch import save_file

    from index.encoders.weights import guard_torchvision

    guard_torchvision()
    import timm

    torch.manual_seed(3)
    network = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # one pass in training sets the statistics, so that signals do not die on the way
        network.train()(torch.randn(8, 3, 64, 64))
    path = tmp_path_factory.mktemp("mobilenet") / "model.safetensors"
    save_file(network.state_dict(), path)
    return f"mobilenet-v2@{path.parent}"


@pytest.mark.parametrize("which", ["tiny_minilm", "tiny_qwen3", "minilm"])
def test_a_trainable_encoder_of_text_gives_the_encoders_own_vectors_before_training(
    which: str, request: pytest.FixtureRequest
) -> None:
    import torch

    name = which if which == "minilm" else request.getfixturevalue(which)
    trainable, encoder = open_trainable(name, "cpu"), open_encoder(name, device="cpu", precision="fp32")
    texts = ["jade cup", "a tall vase with a very long description " * 8, "", "é☕"]
    for frozen in (0, 1, trainable.layers, len(trainable.stages)):
        trainable.frozen = frozen
        with torch.no_grad():
            np.testing.assert_allclose(
                trainable.vectors(trainable.activations(texts)), encoder.encode(texts), atol=2e-6
            )


def test_a_trainable_encoder_of_photographs_gives_the_encoders_own_vectors_before_training(tiny_mobilenet: str) -> None:
    import torch

    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (50 + i, 40, 3), dtype=np.uint8) for i in range(3)]
    trainable, encoder = (
        open_trainable(tiny_mobilenet, "cpu"),
        open_encoder(tiny_mobilenet, device="cpu", precision="fp32"),
    )
    trainable.train()
    with torch.no_grad():
        np.testing.assert_allclose(trainable.vectors(trainable.activations(pixels)), encoder.encode(pixels), atol=1e-4)


@pytest.mark.parametrize("which", ["tiny_minilm", "tiny_qwen3", "tiny_mobilenet"])
def test_what_is_trained_and_written_opens_with_the_very_vectors_of_training(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    name = request.getfixturevalue(which)
    trainable = open_trainable(name, "cpu")
    items: Any = ["jade cup", "navy jug and a tray"]
    if which == "tiny_mobilenet":
        items = [np.full((30, 40, 3), 90, np.uint8), np.arange(3600, dtype=np.uint8).reshape(40, 30, 3)]
    torch.manual_seed(4)
    with torch.no_grad():  # every parameter moves
        for parameter in trainable.module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
        expected = trainable.vectors(trainable.activations(items)).numpy()
    save_file({k: v.detach().contiguous() for k, v in trainable.tensors().items()}, tmp_path / WEIGHTS)
    trainable.copy_rest(tmp_path)
    opened = open_encoder(f"{name.partition('@')[0]}@{tmp_path}", device="cpu", precision="fp32")
    np.testing.assert_allclose(opened.encode(items), expected, atol=1e-4 if which == "tiny_mobilenet" else 2e-6)
    assert opened.identity != open_encoder(name).identity


def test_minilm_written_back_untouched_has_its_vectors_to_the_last_bit(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trainable = open_trainable("minilm", "cpu")
    save_file({k: v.detach().contiguous() for k, v in trainable.tensors().items()}, tmp_path / WEIGHTS)
    trainable.copy_rest(tmp_path)
    texts = ["jade cup", "a tall vase"]
    ours, theirs = (open_encoder(n, device="cpu", precision="fp32") for n in ("minilm", f"minilm@{tmp_path}"))
    np.testing.assert_array_equal(ours.encode(texts), theirs.encode(texts))


# --- what learns


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"layers": 1}, {"encoder.layer.2"}),
        ({"layers": 2}, {"encoder.layer.1", "encoder.layer.2"}),
        ({"layers": 0}, set()),
        ({"train": "whole", "layers": None}, {"embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2"}),
        ({"train": "lora", "layers": None}, {"encoder.layer.0", "encoder.layer.1", "encoder.layer.2"}),
    ],
)
def test_only_what_is_asked_for_learns(
    train: Callable[..., Training], settings: FinetuneSettings, change: dict[str, Any], moved: set[str]
) -> None:
    settings = replace(settings, **change)
    training = train(settings)
    merge_adapters(training.network)
    before = {name: value.detach().numpy() for name, value in open_trainable(settings.encoder, "cpu").tensors().items()}
    after = weights_of(training)
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not np.array_equal(value, before[name])}
    assert {name.partition("embeddings")[1] or ".".join(name.split(".")[:3]) for name in changed} == moved
    if settings.train == "lora":
        assert not [name for name in changed if "LayerNorm" in name or name.endswith("bias")]


def test_merged_lora_prices_as_it_did_beside(
    train: Callable[..., Training], settings: FinetuneSettings, machine: Device
) -> None:
    training = train(replace(settings, train="lora", layers=None))
    batches, rows = training._batches, np.arange(ROWS)
    beside = predict(training.network, batches, rows, machine)
    merge_adapters(training.network)
    assert not [name for name, _ in training.network.encoders["text"].module.named_parameters() if "lora" in name]
    np.testing.assert_allclose(predict(training.network, batches, rows, machine), beside, atol=1e-5)


def test_layers_learn_slower_the_lower_they_are_and_norms_do_not_decay(settings: FinetuneSettings) -> None:
    settings = replace(settings, train="whole", layers=None, layer_decay=0.5, learning_rate=0.8, weight_decay=0.1)
    network = make_network(open_encoders(settings, "cpu"), settings)
    rates = {
        id(p): (group["rate"], group["weight_decay"])
        for group in network.parameter_groups(settings)
        for p in group["params"]
    }
    named = {name: rates[id(parameter)] for name, parameter in network.trained().items()}
    assert named["text.layers.2.widen.weight"] == (0.8, 0.1)
    assert named["text.layers.1.widen.weight"] == (0.4, 0.1)
    assert named["text.layers.0.widen.bias"] == (0.2, 0)
    assert named["text.words"] == (0.1, 0.1)
    assert named["text.norm.weight"] == (0.1, 0)
    assert {rate for name, rate in named.items() if name.startswith("head.") and rate[1]} == {(1e-3, 0.1)}


def test_the_loss_that_is_told_is_that_of_the_rows(train: Callable[..., Training], settings: FinetuneSettings) -> None:
    import torch

    still = replace(settings, learning_rate=0.0, head_learning_rate=0.0, epochs=1, batch_size=15, accumulate=3)
    training = train(still)
    own = training.network
    batch = training._batches.batch(np.arange(30))
    with torch.no_grad():
        missed = own.forward(batch) - training._target[:30]
    expected = torch.nn.functional.smooth_l1_loss(missed, torch.zeros(30), beta=settings.beta)
    assert training.state.curve[0].loss == pytest.approx(float(expected), rel=1e-4)


# --- the same sum by other ways


def test_a_batch_in_parts_is_the_same_step(train: Callable[..., Training], settings: FinetuneSettings) -> None:
    assert_close(train(settings), train(replace(settings, accumulate=5)), 1e-5)


@pytest.mark.parametrize("which", ["whole", "last"])
def test_activations_computed_twice_change_nothing(
    train: Callable[..., Training], settings: FinetuneSettings, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils import checkpoint

    own, calls = checkpoint.checkpoint, []
    monkeypatch.setattr(checkpoint, "checkpoint", lambda *a, **k: (calls.append(1), own(*a, **k))[1])
    settings = replace(settings, train=which, layers=1 if which == "last" else None)
    plain = train(settings)
    assert not calls
    again = train(replace(settings, recompute=True))
    assert calls
    assert_close(plain, again, 1e-6)


def test_what_is_frozen_may_be_kept_or_not(train: Callable[..., Training], settings: FinetuneSettings) -> None:
    kept, made, some = (train(settings, capacity=capacity) for capacity in (2**20, 0, 3000))
    assert kept._batches._activations._kept and not made._batches._activations._kept
    assert len(some._batches._activations._kept) in range(1, ROWS)
    assert_close(kept, made, 1e-4)
    assert_close(kept, some, 1e-4)


def test_mixed_precision_learns_about_the_same(
    settings: FinetuneSettings, train: Callable[..., Training], machine: Device
) -> None:
    import torch

    mixed, rows = Device(machine.device, torch.bfloat16), np.arange(ROWS)
    settings = replace(settings, train="whole", layers=None, learning_rate=2e-3)
    exact, rough = train(settings), train(settings, on=mixed)
    still = train(replace(settings, learning_rate=0.0, head_learning_rate=0.0))
    priced, by_rough, unlearned = (
        predict(each.network, each._batches, rows, machine) for each in (exact, rough, still)
    )
    assert np.abs(priced - unlearned).max() > 0.3
    np.testing.assert_allclose(by_rough, priced, atol=0.05)
    for one, other in zip(exact.state.curve, rough.state.curve, strict=True):
        assert one.loss != other.loss == pytest.approx(one.loss, rel=0.03)
        assert one.smape != other.smape == pytest.approx(one.smape, rel=0.03)
    weights, roughly = weights_of(exact), weights_of(rough)
    changed = [name for name, value in weights.items() if not np.array_equal(value, roughly[name])]
    assert len(changed) > len(weights) / 2
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in roughly.values())
    answered = predict(exact.network, exact._batches, rows, mixed)
    assert not np.array_equal(answered, priced)
    np.testing.assert_allclose(answered, priced, atol=0.02)


def test_the_weights_taken_are_those_of_the_best_epoch(
    train: Callable[..., Training], settings: FinetuneSettings
) -> None:
    training = train(replace(settings, epochs=8, patience=8, head_learning_rate=0.3))
    scores = [epoch.smape for epoch in training.state.curve]
    assert training.state.best != len(scores) - 1, "nothing to tell apart: change the seed"
    rows = np.arange(30, ROWS)
    answer = predict(training.network, training._batches, rows, training._machine)
    assert smape(np.exp(made_up().log_price[rows]), np.exp(answer)) == pytest.approx(min(scores))


# --- batches and rates


def test_every_row_is_in_one_batch_and_lone_ones_in_none() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    rows = np.arange(0, 1000, 2)
    batches = batches_of(rows, lengths, 16, seed=1)
    assert sorted(np.concatenate(batches)) == list(rows)
    assert {len(batch) for batch in batches} == {16, 500 % 16}
    assert sum(map(len, batches_of(rows[:33], lengths, 16, seed=1))) == 32
    other = batches_of(rows, lengths, 16, seed=2)
    assert [list(batch) for batch in batches] != [list(batch) for batch in other]


def test_rows_of_a_batch_are_of_about_one_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    spread = [np.ptp(lengths[batch]) for batch in batches_of(np.arange(1000), lengths, 16, seed=1)]
    assert np.mean(spread) < 15


def test_rates_rise_and_fall_to_nothing() -> None:
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert rates[:11] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1])
    assert all(np.diff(rates[10:]) < 0) and rates[-1] < 0.001
    assert rate_at(0, 1, 0.0) == 1


def test_a_blank_text_is_absent_as_it_is_in_an_index(
    train: Callable[..., Training], settings: FinetuneSettings
) -> None:
    examples = made_up()
    examples.texts[3], examples.texts[35] = "", " \n"
    training = train(settings, examples=examples)
    batch = training._batches.batch(np.array([2, 3, 35]))
    vectors, present = training.network.vectors(batch)
    assert present.tolist() == [[True], [False], [False]]
    assert not vectors["text"][1:].any()
    assert np.isfinite(predict(training.network, training._batches, np.arange(ROWS), training._machine)).all()


# --- with photographs


def test_text_and_photograph_are_trained_together_and_a_missing_one_is_masked(
    tmp_path: Path, tiny_minilm: str, tiny_mobilenet: str
) -> None:
    from PIL import Image
    from safetensors.torch import load_file

    from engine.finetune.run import FinetuneOptions, finetune

    lines = ["sample_id,catalog_content,image_link,price"]
    (tmp_path / "images").mkdir()
    for i in range(44):
        image = "" if i % 11 else f"{i}.png"
        if image:
            Image.fromarray(np.full((24, 24, 3), 5 * i, np.uint8)).save(tmp_path / "images" / image)
        lines.append(f"{i},cup {chr(97 + i % 26)}{chr(97 + i // 26)},{image if i != 22 else 'gone.png'},{i + 3}")
    catalogue = tmp_path / "goods.csv"
    catalogue.write_text("\n".join(lines) + "\n")
    settings = FinetuneSettings(
        tiny_minilm, tiny_mobilenet, epochs=1, batch_size=32, width=8, layers=1, learning_rate=1e-2
    )
    options = FinetuneOptions(device="cpu", precision="fp32", image_dir=tmp_path / "images")
    done = finetune(catalogue, tmp_path / "out", settings, options)
    text, photograph = done.encoders
    assert photograph == f"mobilenet-v2@{tmp_path / 'out' / 'photographs'}"
    for name, base in ((text, tiny_minilm), (photograph, tiny_mobilenet)):
        assert open_encoder(name).identity != open_encoder(base).identity
    record = json.loads((tmp_path / "out" / "photographs" / "finetune.json").read_text())
    assert {"text_identity", "photograph_identity"} <= record.keys()
    before, after = (load_file(Path(name.partition("@")[2]) / WEIGHTS) for name in (tiny_mobilenet, photograph))
    moved = {name for name, value in after.items() if not value.equal(before[name])}
    learned = {name for name in moved if not name.endswith("num_batches_tracked")}  # which nothing reads
    assert learned == {"conv_head.weight", "bn2.weight", "bn2.bias"}, "the last layer, and no running statistics"
    shutil.rmtree(tmp_path / "out")
