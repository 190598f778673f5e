"""Refusals: one line that says what happened and what to do, nothing on stdout, and the contract's code."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
USAGE, DATA, INDEX, DOWNLOAD = 2, 3, 4, 6
HEADER = "sample_id,catalog_content,image_link,price\n"
STAGE = re.compile(r"[a-z][\w, ]*(\([\w@.-]+\))?(: [\d,]+( of [\d,]+.*)?)?")  # a line of progress

Price = Callable[..., Any]
Make = Callable[[Path], object]


def refused(answer: Any, code: int, *phrases: str, after_work: bool = False) -> None:
    """One sentence, the last of stderr; before it at most progress, and that only `after_work`."""
    *before, sentence = answer.err.splitlines() or [""]
    assert answer.code == code, answer
    assert answer.out == ""
    assert sentence.startswith("price: ") and sentence.endswith((".", "?")) and len(sentence) > 20, answer.err
    for phrase in phrases:
        assert phrase in sentence
    assert after_work or before == []
    assert [line for line in before if not STAGE.fullmatch(line)] == []


def rows(*lines: str) -> Make:
    return lambda path: path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def written(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


GOOD = "1,Coffee 12 oz,,3.50\n"
FILES: dict[str, tuple[Make, str]] = {
    "missing": (lambda path: None, "does not exist"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (written(b""), "is empty"),
    "blank": (written(b"\n \n"), "is empty"),
    "header-only": (rows(), "has a header and no rows"),
    "ragged in every row": (rows("1,Coffee", "2,Tea,,,4,5"), "no usable row: all 2 were rejected"),
    "UTF-16 cut off": (written((HEADER + GOOD).encode("utf-16")[:-1]), "is damaged UTF-16 text"),
    "Cyrillic in another encoding": (written((HEADER + "1,Кофе,,3.50\n").encode("cp1251")), "not UTF-8"),
    "no text": (written(bytes(range(32)) * 9), "is no text"),
    "NUL bytes in every row": (rows("1,Cof\0fee,,3.50"), "a NUL byte"),
    "a 10 MB cell in every row": (rows(f"1,{'x' * 10_000_000},,3.50"), "a cell over 1000000 characters"),
    "a line without end": (written(HEADER.encode() + b"1," + b"x" * 17_000_000), "16000000 characters"),
    "no usable row": (rows("1,Coffee,,free", "2,Tea,,-1"), "no usable row: all 2 were rejected"),
    "a spreadsheet": (written(b"PK\x03\x04" + b"\0" * 100), "damaged workbook"),
    "torn Parquet": (written(b"PAR1" + b"\0" * 100), "damaged Parquet"),
    "a column that is nearly right": (
        written(GOOD.join([HEADER.replace("price", "Prise"), ""]).encode()),
        "did you mean 'Prise'?",
    ),
    "a column that is not there": (written(b"sku,words\n1,2\n"), "--text-column"),
    "a column twice": (written(b"sample_id,sample_id,catalog_content,price\n1,1,Coffee,3\n"), "'sample_id'"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_catalogue_that_cannot_be_worked_with_is_refused(kind: str, price: Price, tmp_path: Path) -> None:
    make, phrase = FILES[kind]
    path = tmp_path / "items.csv"
    make(path)
    answer = price("build-index", path, "--index", tmp_path / "index", "--image-encoder", "none")
    refused(answer, DATA, "items.csv", phrase, after_work=True)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "header-only", "no text", "no usable row"])
def test_a_labelled_file_that_cannot_be_worked_with_is_refused(
    kind: str, price: Price, shop: Any, tmp_path: Path
) -> None:
    make, phrase = FILES[kind]
    path = tmp_path / "labelled.csv"
    make(path)
    refused(price("evaluate", path, "--index", shop.index), DATA, "labelled.csv", phrase, after_work=True)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_too_few_rows_for_the_folds_are_refused(items: int, price: Price, shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    rows(*(f"{i},{'abcde'[i] * 5} tea,,{i + 1}" for i in range(items)))(path)
    answer = price("build-index", path, "--index", tmp_path / "index", "--config", shop.quick)
    refused(answer, DATA, "groups of near-duplicates", "ask for fewer folds", after_work=True)
    assert not (tmp_path / "index").exists()


def test_near_duplicates_do_not_count_as_rows_enough(price: Price, shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "near-duplicates.csv"
    rows(*(f"{i},Coffee,,{i + 1}" for i in range(30)))(path)
    answer = price("build-index", path, "--index", tmp_path / "index", "--config", shop.quick)
    refused(answer, DATA, "30 usable rows in 1 groups of near-duplicates", after_work=True)


def half_built(index: Path) -> None:
    (index / "CURRENT").unlink()
    next(index.glob("gen-*")).rename(index / "gen-000001.partial")


def other_format(index: Path) -> None:
    manifest = next(index.glob("gen-*/manifest.json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))


def fifo(pattern: str) -> Callable[[Path], None]:
    def replace(index: Path) -> None:
        path = sorted(index.glob(pattern))[0]
        path.unlink()
        os.mkfifo(path)

    return replace


def not_a_number(index: Path) -> None:
    manifest = next(index.glob("gen-*/manifest.json"))
    manifest.write_text(re.sub(r'"rows": \d+', '"rows": NaN', manifest.read_text()))


def flip_a_byte(pattern: str) -> Callable[[Path], None]:
    def flip(index: Path) -> None:
        path = sorted(index.glob(pattern))[0]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return flip


INDEXES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (shutil.rmtree, "There is no index at"),
    "half-built": (half_built, "is half-built"),
    "without its manifest": (lambda index: next(index.glob("gen-*/manifest.json")).unlink(), "half-built"),
    "of another format": (other_format, "is of format 99"),
    "with a changed table": (flip_a_byte("gen-*/items.lance/data/*"), "has changed since the index was built"),
    "with a changed model": (flip_a_byte("gen-*/models/mlp-0.safetensors"), "has changed since the index was built"),
    "with a changed setting": (flip_a_byte("gen-*/manifest.json"), "manifest.json"),
    "that lost a file": (lambda index: next(index.glob("gen-*/models/gbdt-1*")).unlink(), "is missing from the index"),
    "whose generation is gone": (lambda index: (index / "CURRENT").write_text("gen-000009\n"), "which is not there"),
    "with a FIFO for a model": (fifo("gen-*/models/kernel-0*"), "is a FIFO, not a file"),
    "with a FIFO for its manifest": (fifo("gen-*/manifest.json"), "is a FIFO, not a file"),
    "with a FIFO for CURRENT": (fifo("CURRENT"), "is a FIFO, not a file"),
    "with NaN for a number": (not_a_number, "it holds NaN, which is no number"),
    "that is a file": (lambda index: (shutil.rmtree(index), index.write_text("x")), "is a file, not an index"),
}


@pytest.mark.parametrize("command", ["query", "evaluate"])
@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_that_cannot_be_trusted_is_refused(kind: str, command: str, price: Price, own_index: Path) -> None:
    spoil, phrase = INDEXES[kind]
    spoil(own_index)
    answer = price(command, *(["coffee"] if command == "query" else []), "--index", own_index)
    refused(answer, INDEX, phrase)
    assert "--index" in answer.err or "price build-index" in answer.err  # what to do


def older_format(index: Path) -> None:
    """An index as it was before today's format: its manifest says so, and lacks keys and files that today's has."""
    manifest = next(index.glob("gen-*/manifest.json"))
    document = json.loads(manifest.read_text())
    del document["settings"]["stacker"], document["encoders"]
    manifest.write_text(json.dumps(document | {"format": 2}))
    for name in ("reference.arrow", "out_of_fold.parquet"):
        (manifest.parent / name).unlink()


@pytest.mark.parametrize(
    "command", ["query", "evaluate", "evaluate a file", "predict", "add", "remove", "compact", "tune", "ablate"]
)
def test_an_index_of_an_older_format_is_refused_with_the_command_that_builds_it_again(
    command: str, price: Price, shop: Any, own_index: Path, tmp_path: Path
) -> None:
    older_format(own_index)
    before = sorted(own_index.rglob("*"))
    arguments = {
        "query": ["query", "coffee"],
        "evaluate": ["evaluate"],
        "evaluate a file": ["evaluate", shop.holdout],
        "predict": ["predict", shop.holdout, "-o", tmp_path / "prices.csv"],
        "add": ["add", shop.holdout],
        "remove": ["remove", "1"],
        "compact": ["compact"],
        "tune": ["tune"],
        "ablate": ["ablate"],
    }
    answer = price(*arguments[command], "--index", own_index)
    shows_progress = command in ("predict", "add", "remove", "compact")
    refused(answer, INDEX, "is of format 2", "`price build-index`", after_work=shows_progress)
    assert "Traceback" not in answer.err
    assert sorted(own_index.rglob("*")) == before
    assert not list(tmp_path.glob("prices.csv*"))


SETTINGS = {
    "an unknown preset": (["--preset", "defualt"], "", "did you mean 'default'"),
    "an unknown text encoder": (["--text-encoder", "minlm"], "", "did you mean minilm?"),
    "an unknown image encoder": (["--image-encoder", "pixel"], "", "did you mean pixels?"),
    "a text encoder that reads no text": (["--text-encoder", "pixels"], "", "pixels"),
    "an image encoder that sees no image": (["--image-encoder", "minilm"], "", "minilm"),
    "no text encoder": (["--text-encoder", "none"], "", "text_encoder"),
    "weights that are not there": (["--text-encoder", "minilm@nowhere"], "", "'nowhere'"),
    "one fold": (["--folds", "1"], "", "folds is 1"),
    "more folds than are any use": (["--folds", "1000"], "", "folds is 1000"),
    "a negative seed": (["--seed", "-1"], "", "seed is -1"),
    "a device that there is not": (["--device", "tpu"], "", "'tpu'"),
    "no currency": (["--currency", ""], "", "currency is ''"),
    "photographs that are nowhere": (["--image-dir", "nowhere"], "", "nowhere"),
    "settings that are nowhere": (["--config", "nowhere.toml"], "", "nowhere.toml"),
    "settings that are no TOML": ([], "folds: 3", "TOML"),
    "an unknown key": ([], "flods = 3", "'flods'; did you mean 'folds'"),
    "an unknown key in a section": ([], "[mlp.fit]\nepoch = 3", "'epoch' in [mlp.fit]; did you mean 'epochs'"),
    "a number that is text": ([], 'folds = "3"', "'3'"),
    "a section that is a number": ([], "mlp = 3", "[mlp]"),
    "weights that do not add up": ([], "[blend]\nmlp = 0.5", "add up to 1"),
    "an unknown loss": ([], '[mlp.fit]\nloss = "mae"', "'mae'"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_cannot_be_used_are_refused(kind: str, price: Price, shop: Any, tmp_path: Path) -> None:
    options, toml, phrase = SETTINGS[kind]
    if toml:
        (tmp_path / "own.toml").write_text(toml, encoding="utf-8")
        options = ["--config", str(tmp_path / "own.toml")]
    refused(price("build-index", shop.catalogue, "--index", tmp_path / "index", *options), USAGE, phrase)


PARAMETERS = [(name, value) for name in ("k", "band", "lambda", "alpha") for value in ("0", "-1", "nan")]


@pytest.mark.parametrize(("name", "value"), [*PARAMETERS, ("lambda", "inf"), ("alpha", "inf"), ("alpha", "1000")])
def test_a_parameter_out_of_range_is_refused_in_a_query(name: str, value: str, price: Price, shop: Any) -> None:
    refused(price("query", "coffee", "--index", shop.index, f"--{name}", value), USAGE, name, value[:3])


@pytest.mark.parametrize(("name", "value"), [*PARAMETERS, ("k", "20000"), ("lambda", "inf"), ("alpha", "inf")])
def test_a_parameter_out_of_range_is_refused_in_the_settings(
    name: str, value: str, price: Price, shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(f"[correction]\n{name} = {value}\n", encoding="utf-8")
    answer = price("build-index", shop.catalogue, "--index", tmp_path / "index", "--config", tmp_path / "own.toml")
    refused(answer, USAGE, "correction")


def test_a_query_of_nothing_is_refused(price: Price, shop: Any) -> None:
    for nothing in ([], [""], [" \n"], ["", "--image", ""]):
        refused(price("query", *nothing, "--index", shop.index), DATA, "give the item's TEXT, its --image, or both")


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["quary"], ["No such command 'quary'", "'query'", "`price --help`"]),
        (["query", "--bnad", "2"], ["--bnad", "--band", "`price query --help`"]),
        (["query", "--k", "many", "coffee"], ["'many'", "--k"]),
        (["query", "coffee", "tea"], ["unexpected extra argument", "tea"]),
        (["build-index"], ["CATALOGUE", "`price build-index --help`"]),
        (["completion", "tcsh"], ["'tcsh'", "bash"]),
    ],
)
def test_a_slip_on_the_command_line_is_one_sentence_too(arguments: list[str], phrases: list[str], price: Price) -> None:
    refused(price(*arguments), USAGE, *phrases)


def test_the_command_alone_prints_its_help_and_is_a_usage_error(price: Price) -> None:
    answer = price()
    assert (answer.code, answer.out) == (USAGE, "")
    assert answer.err.startswith("Usage: price ")


def test_weights_that_cannot_be_fetched_are_a_download_that_was_needed(price: Price, shop: Any, tmp_path: Path) -> None:
    options = ["--text-encoder", "qwen3-0.6b", "--index", tmp_path / "index"]
    refused(price("build-index", shop.catalogue, *options), DOWNLOAD, "qwen3-0.6b", "HF_HUB_OFFLINE is set")


def test_a_folder_that_holds_other_things_is_not_built_into(price: Price, shop: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    refused(price("build-index", shop.catalogue, "--index", tmp_path), USAGE, "thesis.tex", "--index")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_error_of_the_system_is_one_sentence(
    price: Price, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "items.lance")

    monkeypatch.setattr("engine.lifecycle.build.write_items", full)
    index = tmp_path / "index"
    answer = price("build-index", shop.catalogue, "--index", index, "--config", shop.quick, "--image-encoder", "none")
    refused(answer, 1, "The disk is full (No space left on device: items.lance)", after_work=True)
    assert [path.name for path in index.iterdir()] == ["cache"]  # what was half written does not take up that space


SHORTAGES = {
    "a disk without room, out of Lance": (RuntimeError("No space left on device (os error 28)"), "The disk is full"),
    "no memory": (MemoryError(), "There is too little memory"),
    "no memory, out of torch": (RuntimeError("can't allocate memory: 7 bytes"), "There is too little memory"),
    "no thread": (RuntimeError("can't start new thread"), "There is too little memory"),
    "a panic": (BaseException("memory allocation of 7 bytes failed"), "There is too little memory"),
}


@pytest.mark.parametrize("kind", SHORTAGES)
def test_a_shortage_is_one_sentence_whatever_the_library_calls_it(
    kind: str, price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, phrase = SHORTAGES[kind]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("engine.members.registry.load_member", fail)
    refused(price("query", "Herbal tea", "--index", shop.index), 1, phrase)


def test_a_cache_that_the_disk_has_no_room_for_is_no_damaged_index(
    price: Price, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("index.embedding.vector_cache.VectorCache._try", full)
    answer = price("build-index", shop.catalogue, "--index", tmp_path / "index", "--config", shop.quick)
    refused(answer, 1, "disk is full", after_work=True)


def test_too_little_memory_is_refused_before_a_library_is_loaded(shop: Any) -> None:
    """In a process of its own, for a limit cannot be lifted again."""
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "import cli; code = cli.run(sys.argv[1:]); print(code, 'numpy' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "query", "Herbal tea", "--index", str(shop.index)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout == "1 False\n"
    assert ended.stderr.startswith("price: This process may take 1.0 GB of address space (ulimit -v) and needs about")
    assert ended.stderr.count("\n") == 1
