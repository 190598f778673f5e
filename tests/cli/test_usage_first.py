"""A wrong option is a usage error, whatever else is wrong: options are judged before any file or index is looked at."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from commands.price import price as group
from commands.reading import READING_OPTIONS

USAGE, DATA, INDEX = 2, 3, 4
Price = Callable[..., Any]

COMMANDS = {  # with a catalogue and an index that are not there; the code that this alone gives
    "query": (["coffee", "--index", "nowhere"], INDEX),
    "predict": (["missing.csv", "-o", "prices.csv", "--index", "nowhere"], INDEX),
    "diff": (["1", "current", "missing.csv", "--index", "nowhere"], INDEX),
    "keep": (["spring", "--index", "nowhere"], INDEX),
    "evaluate": (["missing.csv", "--index", "nowhere"], INDEX),
    "report": (["-o", "report", "--index", "nowhere"], INDEX),
    "tune": (["--index", "nowhere"], INDEX),
    "ablate": (["--index", "nowhere"], INDEX),
    "build-index": (["missing.csv", "--index", "nowhere"], DATA),
    "add": (["missing.csv", "--index", "nowhere"], INDEX),
    "remove": (["--file", "missing.csv", "--index", "nowhere"], DATA),
    "compact": (["--index", "nowhere"], INDEX),
    "fetch": (["missing.csv", "--index", "nowhere"], DATA),
    "finetune": (["missing.csv", "-o", "encoder"], DATA),
}
RUNTIME = {"--device": ("tpu", "cuda:x", "", "cuda:-1"), "--precision": ("fp8", "")}
CORRECTION = {
    "--k": ("0", "-1", "10001", "1.5", "many", f"1{'0' * 30}"),
    "--band": ("0", "-1", "nan", "wide"),
    "--lambda": ("0", "-1", "nan", "inf"),
    "--alpha": ("0", "-1", "nan", "inf", "11"),
}
IMAGES = {"--image-dir": ("no-such-folder",)}
ANSWER = {"--answer": ("mode", "")}
RULES = {"--rule": ("", "floor", "floor=", "price=1", "margin=100"), "--config": ("no-such.toml", ".")}
HUGE = f"1{'0' * 30}"
DEEP = '{"brand": ' + "[" * 100_000
BROKEN = "1234\n1235"
WRONG: dict[str, dict[str, tuple[str, ...]]] = {
    "query": {
        **RUNTIME,
        **CORRECTION,
        **ANSWER,
        "--set": ("brand", "=Acme", "{", '{"brand": ["Acme"]}', '{"brand": true}', DEEP),
        "--without": ("", " "),
        "--only": ("", ",", "1234,,1235", BROKEN),
        "--exclude-group": ("", " "),
        "--current-price": ("", "free"),
        **RULES,
    },
    "diff": {**RUNTIME, **IMAGES, "--output": ("changes.xls", "changes")},
    "keep": {},
    "predict": {
        **RUNTIME,
        **CORRECTION,
        **IMAGES,
        **ANSWER,
        **RULES,
        "--min-confidence": ("low", "sure", ""),
        "--columns": ("cost", "price,price", "", "price,,low"),
        "--shard-rows": ("0", "-1", HUGE, "some"),
        "--output": ("prices.xls", "prices"),
    },
    "evaluate": {**RUNTIME, **IMAGES, **ANSWER},
    "report": {"--output": ("no/folder", ".")},
    "tune": {
        "--what": ("everything", "", "blend,blend", "blend,"),
        "--trials": ("0", "-1", HUGE, "many"),
        "--minutes": ("0", "-1", "nan", "inf", "long"),
        "--seed": ("-1", HUGE, "x"),
    },
    "ablate": {"--parts": ("everything", "", "members,members", "refit-folds")},
    "build-index": {
        **RUNTIME,
        **IMAGES,
        "--preset": ("defualt", ""),
        "--config": ("no-such.toml", "."),
        "--text-encoder": ("minlm", "pixels", "none", "", "minilm,minilm", "minilm@nowhere", "minilm@"),
        "--image-encoder": ("pixel", "minilm", "pixels,pixels", "pixels@nowhere"),
        "--folds": ("0", "1", "21", "-1", HUGE, "x"),
        "--seed": ("-1", HUGE, "x"),
        "--currency": ("", " ", "a long label"),
        "--most-rejects": ("-0.1", "1.5", "nan", "x"),
        "--half-life": ("0", "-1", "nan", "inf", "soon", "", HUGE),
        "--as-of": ("yesterday", "2026-13-01", "", "2999-01-01"),
    },
    "add": {**RUNTIME, **IMAGES},
    "remove": {},
    "compact": {},
    "fetch": {
        "--concurrency": ("0", "257", "x"),
        "--per-host": ("0", "257", "x"),
        "--retries": ("-1", "21", "x"),
    },
    "finetune": {
        **RUNTIME,
        **IMAGES,
        "--precision": ("fp8", "fp16"),
        "--config": ("no-such.toml", "."),
        "--text-encoder": ("minlm", "pixels", "", "minilm@nowhere"),
        "--image-encoder": ("pixel", "minilm", "pixels@nowhere"),
        "--train": ("all", ""),
        "--layers": ("-1", "0", HUGE, "x"),
        "--epochs": ("0", "-1", HUGE, "x"),
        "--batch-size": ("0", "1", HUGE, "x"),
        "--accumulate": ("0", "33", HUGE, "x"),
        "--learning-rate": ("-1", "nan", "inf", "x"),
        "--seed": ("-1", HUGE, "x"),
    },
}
CONTRADICTIONS = [
    ("query", ["--only", "1234", "--band", "1"]),
    ("query", ["--only", "1234", "--without", "1234"]),
    ("query", ["--only", "1234", "--exclude-group", "1234"]),
    ("keep", ["--list"]),
    ("keep", ["--drop", "--generation", "1"]),
    ("predict", ["--full", "--columns", "price"]),
    ("predict", ["--guard-formulas", "--output", "prices.parquet"]),
    ("finetune", ["--train", "whole", "--layers", "2"]),
    ("finetune", ["--batch-size", "8", "--accumulate", "16"]),
    ("ablate", ["--parts", "modalities"]),
]
# Whatever they say may be right: names of columns and generations, folders that may come to be, addresses that may
# answer.
READING = {option for option, _, _ in READING_OPTIONS} | {"--rates", "--ignore-column"}
FREE = {"--category-column", "--number-column", "--index", "--image", "--file", "--generation", "--ray", *READING}
CASES = [(name, option, value) for name, wrong in WRONG.items() for option, values in wrong.items() for value in values]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_wrong_option_it_is_the_data_or_the_index_that_is_missing(name: str, price: Price) -> None:
    arguments, code = COMMANDS[name]
    assert price(name, *arguments).code == code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_wrong_value_of_an_option_goes_before_data(name: str, price: Price) -> None:
    arguments, _ = COMMANDS[name]
    for option, values in WRONG[name].items():
        for value in values:
            answer = price(name, *arguments, option, value)
            assert (answer.code, answer.out, answer.err.count("\n")) == (USAGE, "", 1), (option, value, answer)
            assert list(Path().iterdir()) == [], (option, value)


@pytest.mark.parametrize(("name", "options"), CONTRADICTIONS)
def test_options_that_contradict_each_other_go_before_data(name: str, options: list[str], price: Price) -> None:
    answer = price(name, *COMMANDS[name][0], *options)
    assert (answer.code, answer.err.count("\n")) == (USAGE, 1), answer


def test_columns_of_texts_with_a_line_break_are_no_list_and_go_before_data(price: Price) -> None:
    for name in ("build-index", "fetch", "predict"):
        answer = price(name, *COMMANDS[name][0], "--text-column", BROKEN)
        assert (answer.code, answer.out, answer.err.count("\n")) == (USAGE, "", 1), answer
        assert answer.err.startswith("price: --text-column") and "put commas between them" in answer.err


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_with_a_value_is_forgotten(name: str) -> None:
    valued = {
        max(option.opts, key=len)
        for option in group.commands[name].params
        if isinstance(option, click.Option) and not option.is_flag
    }
    assert valued - FREE - {"--output"} == set(WRONG[name]) - {"--output"}


SPECIAL = [  # a command with a FIFO where a file or a folder is meant, and its code
    ("build-index FIFO", DATA),
    ("fetch FIFO", DATA),
    ("finetune FIFO -o encoder", DATA),
    ("remove --file FIFO", DATA),
    ("build-index missing.csv --config FIFO", USAGE),
    ("finetune missing.csv -o encoder --config FIFO", USAGE),
    ("finetune missing.csv -o FIFO", USAGE),
    ("build-index missing.csv --image-dir FIFO", USAGE),
    ("build-index missing.csv --text-encoder minilm@FIFO", USAGE),
    ("finetune missing.csv -o encoder --image-encoder mobilenet-v2@FIFO", USAGE),
    ("predict missing.csv -o FIFO", USAGE),
    ("report -o FIFO --index nowhere", USAGE),
    ("build-index missing.csv --index FIFO", USAGE),
    ("query coffee --index FIFO", INDEX),
    ("add missing.csv --index FIFO", INDEX),
]


@pytest.mark.parametrize(("command", "code"), SPECIAL)
def test_what_is_no_file_is_refused_in_one_sentence_and_not_waited_for(
    command: str, code: int, price: Price, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    answer = price(*command.replace("FIFO", str(tmp_path / "fifo.csv")).split())
    assert (answer.code, answer.out) == (code, ""), answer
    assert "fifo.csv" in answer.err.splitlines()[-1]


def test_standard_input_that_is_closed_is_a_usage_error(price: Price, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    answer = price("query", "-", "--index", "nowhere")
    assert (answer.code, answer.out) == (USAGE, "")
    assert answer.err.startswith("price: Standard input is closed: ") and answer.err.count("\n") == 1
