"""Claims about what no build writes: one sentence that names the file, and what is no fault of the file passes."""

from pathlib import Path

import pytest

from index.contents import WrongContents, expect, loading, parse_json
from index.errors import DownloadNeeded, IndexUnusable, UsageError

FILE = Path("index/gen-000001/models/mlp-0.safetensors")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (WrongContents("a weight is no number"), "a weight is no number"),
        (UsageError("k is 0: give a number."), "k is 0"),
        (KeyError("k"), "it cannot be read"),
        (AssertionError("bad\nlines"), "it cannot be read"),
        (RuntimeError("shape '[3]' is invalid"), "it cannot be read"),
        (OSError(22, "Invalid argument"), "it cannot be read"),
    ],
)
def test_whatever_a_loader_raises_is_one_sentence_that_names_the_file(error: Exception, why: str) -> None:
    with pytest.raises(IndexUnusable) as refused, loading(FILE):
        raise error
    assert str(refused.value) == f"{FILE} is damaged ({why}): build the index again with `price build-index`."
    assert refused.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ImportError("no such library"),
        IndexUnusable("another sentence"),
        DownloadNeeded("weights"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_fault_of_the_file_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, loading(FILE):
        raise error
    assert raised.value is error


def test_a_document_is_strict_json() -> None:
    assert parse_json('{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}
    for text in ('{"a": NaN}', '{"a": [-Infinity]}', '{"a": 1e400}', "[1]", "{", b"\xff", "[" * 100_000, ""):
        with pytest.raises(WrongContents):
            parse_json(text)


def test_what_is_right_is_no_error() -> None:
    expect(True, "")
    with pytest.raises(WrongContents, match="too short"):
        expect(0, "too short")
