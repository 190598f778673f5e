"""Short forms of benchmarks/prove: parsers on examples that are made up, a kill at each step of a new generation."""

import os
import sys
from pathlib import Path
from typing import Any

import parsers
import pytest
import run
from kill_points import AFTER, BEFORE, KILLED, MIDWAY, KillPoints, forked
from outcome import ROW, Tally

from index.storage.generations import current_generation, writing
from index.storage.layout import MANIFEST


@pytest.mark.parametrize("name", parsers.PROPERTIES)
def test_a_parser_holds_on_examples_that_are_made_up(name: str) -> None:
    assert parsers.check(name, 30) > 15


def test_a_parser_that_fails_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "read_price", lambda cell: float(cell.replace(",", "")))
    with pytest.raises(AssertionError):
        parsers.check("prices as they are written", 20)


def write_generation(index: Path, content: str) -> None:
    """A generation of two files."""
    with writing(index) as folder:
        (folder / "report.json").write_text(content, encoding="utf-8")
        (folder / MANIFEST).write_text("{}", encoding="utf-8")


def current(index: Path) -> str:
    return (current_generation(index) / "report.json").read_text(encoding="utf-8")


def killed(index: Path, number: int | None, moment: str) -> tuple[int, Any]:
    """Write a second generation in a child that dies at a point: its exit code, and the points that it passed."""

    def work(tell: Any) -> None:
        with KillPoints(lambda met, passed: tell(passed), number, moment, journals=()) as points:
            write_generation(index, "new")
        points.tell()

    return forked(work)


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks a process that has threads")
@pytest.mark.parametrize("moment", [BEFORE, AFTER, MIDWAY])
def test_a_kill_at_any_point_of_a_new_generation_leaves_the_old_one_or_the_new_one_and_is_mended(
    moment: str, tmp_path: Path
) -> None:
    points = None
    for number in range(100):
        index = tmp_path / str(number)
        write_generation(index, "old")
        code, passed = killed(index, number, moment)
        assert current(index) == ("new" if "replace CURRENT" in passed else "old"), (number, passed)
        write_generation(index, "newer")
        assert current(index) == "newer"
        assert sorted(path.name for path in index.iterdir() if path.name.startswith("gen-")) == [
            current_generation(index).name
        ]
        if code != KILLED:
            assert code == 0, passed
            points = number
            break
    assert points is not None and points > 8


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks a process that has threads")
@pytest.mark.parametrize("moment", [BEFORE, AFTER, MIDWAY])
def test_a_removal_of_what_is_not_there_is_a_point_like_any_other(moment: str, tmp_path: Path) -> None:
    def work(tell: Any) -> None:
        with KillPoints(lambda met, passed: tell([met, passed]), 0, moment, journals=()) as points:
            (tmp_path / "nothing").unlink(missing_ok=True)
        points.tell()

    assert forked(work) == (KILLED, [["unlink nothing"], []])


def test_a_script_that_dies_without_a_row_is_a_failure() -> None:
    assert run.rows_of(["Traceback"], 1, "kills", 0.5) == ["kills ended with exit code 1 | 1 | 1 | 0.5"]
    assert run.rows_of(["text", "a | 5 | 0 | 0.1", "b | 2 | 1 | 0.0"], 1, "kills", 1) == [
        "a | 5 | 0 | 0.1",
        "b | 2 | 1 | 0.0",
    ]
    assert run.failures_of("b | 2 | 1 | 0.0") == 1


def test_every_proof_is_found_and_what_they_share_is_none() -> None:
    assert {"kills", "object_store", "parsers", "readers", "threads"} <= set(run.proofs())
    assert not {"run", "outcome", "operations", "kill_points"} & set(run.proofs())


def test_a_tally_counts_trials_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally("kills: add")
    tally.add()
    tally.add("a reader sees nothing")
    row = ROW.fullmatch(tally.row())
    assert row is not None and (row["what"], row["trials"], row["failures"]) == ("kills: add", "2", "1")
    assert capsys.readouterr().err == "FAILED: kills: add: a reader sees nothing\n"
