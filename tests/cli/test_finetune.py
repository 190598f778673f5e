"""`price finetune`: it says what it did, refuses in one sentence, and goes on after an interrupt."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Price = Callable[..., Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(price: Price, tiny_minilm: str, priced_words: Path, tmp_path: Path) -> Price:
    """`price finetune` of a tiny encoder into `tmp_path/out`."""
    config = tmp_path / "price.toml"
    config.write_text(f'[finetuned]\nencoder = "{tiny_minilm}"\nwidth = 8\nepochs = 2\nlayers = 1\n')

    def run(*options: object, catalogue: Path = priced_words) -> Any:
        return price("finetune", catalogue, "-o", tmp_path / "out", "--config", config, "--device", "cpu", *options)

    return run


def test_json_is_one_object_that_says_what_came_of_it(command: Price, tmp_path: Path) -> None:
    answer = command("--json", "--seed", 4)
    assert answer.code == 0
    assert answer.out.count("\n") == 1
    document = answer.json
    assert set(document) == {
        "encoders", "rows", "rejected", "validation_rows", "best_epoch", "smape", "curve", "seconds"
    }  # fmt: skip
    assert document["encoders"] == [f"minilm@{tmp_path / 'out'}"]
    assert (document["rows"], len(document["curve"])) == (120, 2)
    assert document["smape"] == document["curve"][document["best_epoch"] - 1]["smape"]
    assert json.loads((tmp_path / "out" / "finetune.json").read_text())["seed"] == 4


def test_a_person_is_told_of_every_epoch_and_what_to_type_next(command: Price, tmp_path: Path) -> None:
    answer = command()
    assert "Epoch 1: loss" in answer.out and "Epoch 2: loss" in answer.out and ", taken." in answer.out
    assert f"--text-encoder minilm@{tmp_path / 'out'}" in answer.out
    assert "fine-tuning, epoch 1: 1 of 8" in answer.err
    assert "validation SMAPE" in answer.err and "loss" in answer.err


def test_options_win_over_the_settings_file(command: Price, tmp_path: Path) -> None:
    options = ("--train", "whole", "--epochs", 1, "--batch-size", 50, "--accumulate", 2, "--learning-rate", 0.001)
    refused = command(*options)
    assert refused.code == 2 and "layers goes with train last" in refused.err
    (tmp_path / "price.toml").write_text((tmp_path / "price.toml").read_text().replace("layers = 1\n", ""))
    assert command(*options, "--recompute").code == 0
    record = json.loads((tmp_path / "out" / "finetune.json").read_text())
    expected = {"train": "whole", "epochs": 1, "batch_size": 50, "accumulate": 2, "learning_rate": 0.001}
    assert {name: record[name] for name in expected} == expected
    assert record["recompute"] is True and record["width"] == 8


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--device", "cuda:9"), 2, "not on this machine"),
        (("--precision", "fp16"), 2, "fp16 loses small gradients"),
        (("--layers", "9"), 2, "layers is 9, and minilm has 3: give 1 to 3"),
        (("--text-encoder", "pixels"), 2, "does not read|no weights to train"),
        (("--text-encoder", "minilm@/nowhere"), 2, "there is no file or folder"),
        (("--image-encoder", "pixels"), 2, "no weights to train"),
        (("--epochs", "0"), 2, "epochs is 0"),
        (("--text-column", "words"), 3, "words"),
        (("--layers", "0"), 2, "give a whole number of layers from 1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    command: Price, tmp_path: Path, options: tuple[str, ...], code: int, sentence: str
) -> None:
    import re

    answer = command(*options)
    assert (answer.code, answer.out) == (code, "")
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("price: ") and re.search(sentence, last), last
    assert [path.name for path in tmp_path.iterdir()] == ["price.toml"]


def test_an_unknown_setting_is_refused_by_name(command: Price, tmp_path: Path) -> None:
    (tmp_path / "price.toml").write_text("[finetuned]\nepoch = 3\n")
    answer = command()
    assert answer.code == 2 and "'epoch'" in answer.err and "'epochs'" in answer.err


STOPPED = """
import os, signal, sys
from pathlib import Path
import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins without one
how, replace = int(sys.argv.pop(1)), Path.replace

def replace_and_stop(self, target):
    replaced = replace(self, target)
    if Path(target).name == "checkpoint.safetensors":
        os.kill(os.getpid(), how)
    return replaced

Path.replace = replace_and_stop
cli.main()
"""


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_goes_on_and_ends_as_if_it_were_not(
    command: Price, tmp_path: Path, priced_words: Path, how: signal.Signals
) -> None:
    more = ("--epochs", "4", "--json")
    arguments = ["finetune", priced_words, "-o", tmp_path / "out", "--config", tmp_path / "price.toml", *more]
    settings = (tmp_path / "price.toml").read_text()
    (tmp_path / "price.toml").write_text(settings + "patience = 4\n")
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(how)), *map(str, arguments), "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (stopped.returncode, stopped.stdout) == (130 if how is signal.SIGINT else -how, ""), stopped.stderr
    if how is signal.SIGINT:
        assert "Interrupted" in stopped.stderr.splitlines()[-1]
    assert (tmp_path / "out.partial" / "checkpoint.safetensors").exists() and not (tmp_path / "out").exists()
    assert command(*more).code == 0
    resumed = (tmp_path / "out" / "model.safetensors").read_bytes()
    again = command(*more, "--overwrite")
    assert again.code == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == resumed
