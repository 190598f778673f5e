"""Claims: a fine-tuning ends where it should, from wherever it was stopped, and loses nothing on the way."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.finetune import run as running
from engine.finetune.checkpoint import read_checkpoint, write_checkpoint
from engine.finetune.run import FinetuneOptions, FinetuneResult, finetune
from engine.finetune.workspace import FINETUNE
from engine.settings.finetuning import FinetuneSettings
from index.encoders import open_encoder
from index.errors import DataRefused, IndexLocked, PriceError, UsageError
from index.progress import OnProgress, silent

pytestmark = pytest.mark.usefixtures("one_thread")

Tune = Callable[..., FinetuneResult]
STEPS = 4  # of an epoch of `quick`


@pytest.fixture
def quick(tiny_minilm: str) -> FinetuneSettings:
    """Two epochs of four steps."""
    return FinetuneSettings(encoder=tiny_minilm, epochs=2, batch_size=32, width=8, layers=1, learning_rate=1e-3)


@pytest.fixture
def tune(priced_words: Path, tmp_path: Path, quick: FinetuneSettings, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Fine-tune into `tmp_path/out`, with a checkpoint after every step, in fp32."""

    monkeypatch.setattr(running, "CHECKPOINT_EVERY", 0.0)

    def run(
        settings: FinetuneSettings | None = None,
        target: str = "out",
        catalogue: Path = priced_words,
        on_progress: OnProgress = silent,
        **more: Any,
    ) -> FinetuneResult:
        options = FinetuneOptions(**{"device": "cpu", "precision": "fp32", **more})
        return finetune(catalogue, tmp_path / target, settings or quick, options, on_progress)

    return run


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Stop(BaseException):
    """What no code of ours may catch, as a kill cannot be."""


def stop_after(calls: int) -> Callable[..., None]:
    """A callback that stops at its n-th call."""
    seen = []

    def on_progress(*news: object) -> None:
        seen.append(news)
        if len(seen) == calls:
            raise Stop

    return on_progress


# --- what comes of it


def test_the_result_is_an_encoder_of_its_own_identity(tune: Tune, tmp_path: Path, quick: FinetuneSettings) -> None:
    done = tune()
    assert done.encoders == [f"minilm@{tmp_path / 'out'}"]
    tuned, base = (open_encoder(name, device="cpu", precision="fp32") for name in (done.encoders[0], quick.encoder))
    assert tuned.identity != base.identity and tuned.dim == base.dim
    assert not np.allclose(tuned.encode(["jade cup"]), base.encode(["jade cup"]), atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "nothing of the work is left"


def test_the_record_tells_settings_seed_base_curve_and_keys(
    tune: Tune, tmp_path: Path, quick: FinetuneSettings
) -> None:
    done = tune(seed=3)
    record = json.loads((tmp_path / "out" / FINETUNE).read_text())
    assert (record["seed"], record["epochs"], record["rows"], record["encoder"]) == (3, 2, 120, quick.encoder)
    assert record["text_identity"] == open_encoder(quick.encoder).identity
    assert [epoch["smape"] for epoch in record["curve"]] == [epoch.smape for epoch in done.state.curve]
    assert len(record["keys"]) == len(set(record["keys"])) >= 120


@pytest.mark.parametrize("train", ["last", "whole", "lora"])
def test_what_is_learned_prices_rows_kept_aside_better(tune: Tune, quick: FinetuneSettings, train: str) -> None:
    layers = 1 if train == "last" else None
    rates = {"learning_rate": 1e-2 if train == "lora" else 1e-3, "head_learning_rate": 1e-2}
    settings = replace(quick, train=train, layers=layers, epochs=12, patience=12, **rates)
    curve = [epoch.smape for epoch in tune(settings).state.curve]
    assert min(curve) < 0.8 * curve[0]


def test_two_runs_of_one_seed_are_the_same_bytes_and_another_seed_is_not(tune: Tune, tmp_path: Path) -> None:
    for target, seed in (("one", 5), ("two", 5), ("three", 6)):
        tune(target=target, seed=seed)
    one, two, three = (bytes_of(tmp_path / target) for target in ("one", "two", "three"))
    assert one == two
    assert one["model.safetensors"] != three["model.safetensors"]


def test_the_global_generator_and_strictness_are_left_as_they_were(tune: Tune) -> None:
    import torch

    torch.manual_seed(8)
    before = torch.get_rng_state()
    tune()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def scripted(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Epochs score these, in turn: which one is the best must not hang on the last bits of some processor."""
    following = iter(scores)
    monkeypatch.setattr("engine.finetune.training.smape", lambda *_: next(following))


def test_the_best_epoch_is_taken_and_a_hopeless_run_ends_early(
    tune: Tune, quick: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, 90, 80, 85, 81)
    done = tune(replace(quick, epochs=12, patience=2))
    assert [epoch.smape for epoch in done.state.curve] == [90, 80, 85, 81]
    assert done.state.best == 1


# --- stopped anywhere


def test_a_run_stopped_at_any_report_and_resumed_gives_the_same_bytes(tune: Tune, tmp_path: Path) -> None:
    tune(target="whole")
    whole, stopped = bytes_of(tmp_path / "whole"), 0
    for call in range(1, 60):
        target = f"stopped-{call}"
        try:
            tune(target=target, on_progress=stop_after(call))
        except Stop:
            stopped += 1
            assert not (tmp_path / target).exists()
            tune(target=target)
        assert bytes_of(tmp_path / target) == whole
        if call > stopped:
            break
    assert stopped >= 2 * STEPS + 2, "it was stopped at every step, before the first and after the last"


def test_a_best_epoch_from_before_a_stop_is_not_forgotten(
    tune: Tune, tmp_path: Path, quick: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer, scores, best = replace(quick, epochs=12, patience=3), (90, 80, 95, 94, 93), 1
    scripted(monkeypatch, *scores)
    assert tune(longer, "whole").state.best == best
    scripted(monkeypatch, *scores)
    with pytest.raises(Stop):
        tune(longer, on_progress=stop_after(2 + STEPS * (best + 2) + 1))
    tune(longer)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_no_near_duplicates_are_on_both_sides_of_the_rows_kept_aside(
    tune: Tune, priced_words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.finetune.training import Training
    from index.catalogue.fields import name_key

    sides: list[list[set[str]]] = []
    own = Training.__init__

    def init(self: Any, network: Any, batches: Any, rows: Any, *rest: Any, **more: Any) -> None:
        own(self, network, batches, rows, *rest, **more)
        sides.append([{name_key(batches.examples.texts[row]) for row in side} for side in rows])

    monkeypatch.setattr(Training, "__init__", init)
    for seed in range(4):
        tune(target=f"out-{seed}", seed=seed)
    assert len({tuple(sorted(validation)) for _, validation in sides}) == 4, "by seed"
    for training, validation in sides:
        assert validation and not training & validation


def test_a_resumed_run_repeats_no_step(tune: Tune) -> None:
    from engine.finetune.training import Training

    with pytest.raises(Stop):
        tune(on_progress=stop_after(2 + 6))  # reading, what is frozen, six steps
    steps: list[int] = []
    own = Training._step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_step", lambda self, *a: (steps.append(self.state.step), own(self, *a))[1])
        tune()
    assert 0 < len(steps) < 2 * STEPS
    assert steps[-1] == 2 * STEPS - 1


def test_a_step_that_is_cut_in_half_is_done_again(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    tune(target="whole")
    own, calls = torch.optim.AdamW.step, []

    def half(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            first = self.param_groups[0]["params"][0]
            first.data.add_(1)  # as far as it came
            raise KeyboardInterrupt
        return own(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", half)
    with pytest.raises(KeyboardInterrupt):
        tune()
    tune()
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("at", ["write", "first rename", "second rename"])
def test_a_stop_between_writing_and_renaming_loses_neither_the_old_nor_the_new(
    tune: Tune, tmp_path: Path, quick: FinetuneSettings, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    tune()
    before = bytes_of(tmp_path / "out")
    other = replace(quick, epochs=1)
    tune(other, "whole")
    renames, own = [], Path.rename

    def rename(self: Path, target: Path) -> Path:
        renames.append(target)
        if at == "first rename" or (at == "second rename" and len(renames) == 2):
            raise Stop
        return own(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        if at == "write":
            patch.setattr(running, "_write", stop_after(1))
        with pytest.raises(Stop):
            tune(other, overwrite=True)
    with pytest.raises(UsageError, match="finished encoder"):  # which also puts back what was set aside
        tune(other)
    assert bytes_of(tmp_path / "out") == before
    tune(other, overwrite=True)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.parametrize("left", [("model.safetensors", "finetune.json"), ("finetune.json",), ()])
def test_what_a_kill_left_of_a_replaced_encoder_is_in_nobodys_way(
    tune: Tune, tmp_path: Path, left: tuple[str, ...]
) -> None:
    tune()
    old = tmp_path / "out.replaced"
    old.mkdir()
    for name in left:
        (old / name).write_text("{}", encoding="utf-8")
    tune(overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_replaced_encoder_loses_last_what_says_that_it_is_one(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune()
    own, gone = Path.unlink, []

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.parent.name == "out.replaced":
            gone.append(self.name)
        own(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    tune(overwrite=True)
    assert gone[-1] == "finetune.json" and len(gone) > 2


def test_a_folder_of_others_where_the_old_encoder_would_wait_is_refused_before_anything_is_trained(
    tune: Tune, tmp_path: Path
) -> None:
    tune()
    before = bytes_of(tmp_path / "out")
    (tmp_path / "out.replaced").mkdir()
    (tmp_path / "out.replaced" / "letters.txt").write_text("mine", encoding="utf-8")
    steps: list[object] = []
    with pytest.raises(UsageError, match=r"out\.replaced .* holds other files"):
        tune(overwrite=True, on_progress=lambda *step: steps.append(step))
    assert not steps and bytes_of(tmp_path / "out") == before
    assert (tmp_path / "out.replaced" / "letters.txt").read_text(encoding="utf-8") == "mine"


def test_a_torn_checkpoint_leaves_the_one_before(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(target="whole")
    own, calls = Path.replace, []

    def replaced(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 4:
            self.write_bytes(self.read_bytes()[:1000])
            raise Stop
        return own(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replaced)
        with pytest.raises(Stop):
            tune()
    tune()
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("where", [b'"step": ', b'"loss": ', b'"curve": [{"loss": ', b'"rows": 1', "tensors"])
def test_a_flipped_bit_in_the_checkpoint_is_noticed(tune: Tune, tmp_path: Path, where: bytes | str) -> None:
    with pytest.raises(Stop):
        tune(on_progress=stop_after(10))
    path = tmp_path / "out.partial" / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    header = where.replace(b'"', b'\\"') if isinstance(where, bytes) else b""  # JSON within JSON
    place = content.index(header) + len(header) if header else -100
    content[place] ^= 1  # of a digit: another one
    path.write_bytes(content)
    with pytest.raises(DataRefused, match="damaged"):
        tune()
    tune(overwrite=True)


def test_a_tensor_of_another_kind_or_shape_is_noticed(tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    path, tensor = tmp_path / "checkpoint", torch.ones(2, 3)
    write_checkpoint(path, {"conditions": {}}, {"a": tensor})
    assert read_checkpoint(path) is not None
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    for other in (tensor.view(torch.int32), tensor.reshape(3, 2)):
        save_file({"a": other.contiguous()}, path, metadata)
        with pytest.raises(DataRefused, match="damaged"):
            read_checkpoint(path)


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("engine.finetune.checkpoint.FORMAT", 2)
        write_checkpoint(tmp_path / "checkpoint", {"begun": {}}, {})
    with pytest.raises(DataRefused, match="another version of price: give --overwrite"):
        read_checkpoint(tmp_path / "checkpoint")


def test_the_share_kept_aside_is_never_refused_as_folds(tune: Tune, quick: FinetuneSettings) -> None:
    done = tune(replace(quick, validation=0.001))
    assert 1 <= done.validation_rows <= 3


@pytest.mark.parametrize(
    ("change", "named"), [({"epochs": 3}, "epochs was 2 and is 3"), ({"train": "whole", "layers": None}, "train was")]
)
def test_other_settings_are_refused_by_name_on_resume(
    tune: Tune, quick: FinetuneSettings, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(Stop):
        tune(on_progress=stop_after(8))
    kept = bytes_of(tmp_path / "out.partial")
    with pytest.raises(DataRefused, match=named):
        tune(replace(quick, **change))
    assert bytes_of(tmp_path / "out.partial") == kept, "a refusal costs nothing"
    with pytest.raises(DataRefused, match="seed was 0 and is 1"):
        tune(seed=1)
    tune(replace(quick, **change), overwrite=True)
    assert (tmp_path / "out" / FINETUNE).is_file()


def test_a_changed_catalogue_is_refused_on_resume(tune: Tune, tmp_path: Path, priced_words: Path) -> None:
    with pytest.raises(Stop):
        tune(on_progress=stop_after(8))
    changed = tmp_path / "changed.csv"
    changed.write_text(priced_words.read_text().replace(",3.00\n", ",3.01\n"))
    assert changed.read_text() != priced_words.read_text()
    with pytest.raises(DataRefused, match="the catalogue has changed"):
        tune(catalogue=changed)


def test_a_run_that_failed_before_its_first_checkpoint_leaves_nothing(tune: Tune, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        tune(on_progress=stop_after(1))
    assert list(tmp_path.iterdir()) == []


# --- where it may be written


def test_a_finished_encoder_is_not_overwritten_unless_asked(
    tune: Tune, tmp_path: Path, quick: FinetuneSettings
) -> None:
    tune()
    before = bytes_of(tmp_path / "out")
    with pytest.raises(UsageError, match="--overwrite"):
        tune(replace(quick, epochs=1))
    assert bytes_of(tmp_path / "out") == before
    tune(replace(quick, epochs=1), overwrite=True)
    assert bytes_of(tmp_path / "out") != before


def test_a_folder_or_file_that_is_not_ours_is_left_alone_whatever_is_asked(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("ten years")
    (tmp_path / "file").write_text("ten more")
    (tmp_path / "busy.partial").mkdir()
    (tmp_path / "busy.partial" / "notes").write_text("and ten")
    before = bytes_of(tmp_path)
    for target in ("out", "file", "busy"):
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="name a"):
                tune(target=target, overwrite=overwrite)
    assert bytes_of(tmp_path) == before


def test_two_runs_into_one_folder_are_not_let_in(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    handle = os.open(tmp_path / "out.partial" / "LOCK", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(IndexLocked, match="another process"):
            tune()
    finally:
        os.close(handle)
    tune()


# --- what is refused


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder": "pixels"}, "pixels .*for words, choose minilm"),
        ({"encoder": "none"}, "none has no weights"),
        ({"image_encoder": "pixels"}, "pixels has no weights to train: for photographs, choose mobilenet-v2"),
        ({"encoder": "clip-vit-b-32"}, "clip-vit-b-32 cannot be fine-tuned here"),
        ({"layers": 4}, "layers is 4, and minilm has 3: give 1 to 3"),
    ],
)
def test_an_encoder_that_cannot_be_tuned_is_refused_by_name(
    tune: Tune, quick: FinetuneSettings, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        tune(replace(quick, **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"train": "some"}, "choose from whole, last, lora"),
        ({"train": "whole", "layers": 2}, "layers goes with train last"),
        ({"layers": -1}, "layers is -1: give a number"),
        ({"accumulate": 64, "batch_size": 32}, "has no more parts"),
        ({"validation": 0.9}, "validation is 0.9"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        FinetuneSettings(**change)


def test_lora_without_peft_names_what_to_install(
    tune: Tune, quick: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    own = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *a: None if name == "peft" else own(name, *a))
    with pytest.raises(UsageError, match=r"pip install 'price-engine\[finetune\]'"):
        tune(replace(quick, train="lora", layers=None))


def test_a_gpu_that_is_not_there_and_fp16_are_refused(tune: Tune) -> None:
    with pytest.raises(UsageError, match="not on this machine"):
        tune(device="cuda:63")
    with pytest.raises(UsageError, match="fp16 loses small gradients"):
        tune(precision="fp16")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(f"cup {i} of {'abcdefghij'[i % 10]}", 3 + i) for i in range(90)], "10 groups of near-duplicates.*takes 40"),
        ([(f"{chr(97 + i % 26)}{chr(97 + i // 26)} cup", 5) for i in range(90)], "the same price"),
        ([("", 5 + i) for i in range(90)], "no usable row"),
    ],
)
def test_a_catalogue_with_nothing_to_learn_from_is_refused(
    tune: Tune, tmp_path: Path, rows: list[tuple[str, float]], sentence: str
) -> None:
    path = tmp_path / "poor.csv"
    lines = [f"{i},{name},{price}" for i, (name, price) in enumerate(rows)]
    path.write_text("\n".join(["sample_id,catalog_content,price", *lines]) + "\n")
    with pytest.raises(DataRefused, match=sentence):
        tune(catalogue=path)
    assert [each.name for each in tmp_path.iterdir()] == ["poor.csv"]


def test_rates_that_blow_up_end_in_one_sentence_and_keep_the_last_good_step(
    tune: Tune, quick: FinetuneSettings
) -> None:
    with pytest.raises(PriceError, match=r"came apart at step .*lower learning rate"):
        tune(replace(quick, learning_rate=1.0, head_learning_rate=1.0, weight_decay=100.0, epochs=99, patience=99))
