"""`price tune`: it says which figure is honest, keeps what a killed search found, and refuses in one sentence."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation.report import Score
from engine.tuning.tune import TuneResult
from index.storage.generations import writing
from render.scores import show_tune_result

ROOT = Path(__file__).parent.parent.parent
USAGE, INDEX, LOCKED = 2, 4, 75
Price = Callable[..., Any]


def refused(answer: Any, code: int, phrase: str) -> None:
    assert answer.code == code, answer
    assert answer.out == ""
    sentence = answer.err.splitlines()[-1]
    assert sentence.startswith("price: ") and sentence.endswith(".")
    assert phrase in sentence
    assert "Traceback" not in answer.err


def test_json_holds_the_honest_figure_and_the_searched_one(price: Price, own_index: Path) -> None:
    answer = price("tune", "--index", own_index, "--what", "correction", "--trials", 2, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["searched"] <= found["cross_fitted"]["value"]
    for score in ("present", "cross_fitted", "gain"):
        assert found[score]["low"] <= found[score]["value"] <= found[score]["high"]
    assert found["better"] == (found["gain"]["value"] > 0)
    assert set(found["chosen"]) == {f"correction.{name}" for name in ("k", "band", "decay", "alpha")}
    assert (found["what"], found["seed"]) == (["correction"], 0)
    assert "searching" in answer.err


def test_a_person_is_told_which_figures_are_honest_and_what_is_current(price: Price, own_index: Path) -> None:
    answer = price("tune", "--index", own_index, "--what", "correction", "--trials", 2)
    assert answer.code == 0, answer.err
    assert "these figures are honest" in answer.out
    assert "flatters it" in answer.out
    assert ("Now current in" in answer.out) != ("left as it is" in answer.out)
    assert max(map(len, answer.out.splitlines())) < 90 + len(str(own_index))


def test_a_person_sees_the_cross_fitted_score_by_its_name_and_settings_as_a_file_has_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    score, note = Score(50.0, 49.0, 51.0), "minilm@tuned was fine-tuned on 7 rows of this index"
    chosen = {"correction.decay": 5.0, "correction.k": 9}
    found = TuneResult(139, ("correction",), 0, 8, score, score, 48.0, score, chosen, True, (note,), 1.0)
    show_tune_result(found, tmp_path)
    said = capsys.readouterr().out
    assert "SMAPE cross-fitted 50.00" in said and "SMAPE searched" not in said
    assert "  correction.lambda = 5\n  correction.k = 9\n" in said
    assert f"Note: {note}\n" in said and "honest but for the note above" in said
    show_tune_result(replace(found, notes=()), tmp_path)
    assert "Note" not in (said := capsys.readouterr().out) and "these figures are honest." in said


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (["--trials", "0"], "--trials is 0: give a number from 1"),
        (["--trials", "x"], "not a valid integer"),
        (["--minutes", "0"], "--minutes is 0.0: give a number from"),
        (["--minutes", "nan"], "--minutes is nan"),
        (["--what", "corection"], "did you mean 'correction'"),
        (["--what", "stacker,,"], "''"),
        (["--what", ""], "choose from correction, blend, stacker, members"),
    ],
)
def test_what_cannot_be_searched_is_refused(price: Price, shop: Any, options: list[str], phrase: str) -> None:
    refused(price("tune", "--index", shop.index, *options), USAGE, phrase)


def test_an_index_that_is_not_there_is_refused(price: Price, tmp_path: Path) -> None:
    refused(price("tune", "--index", tmp_path / "none"), INDEX, "There is no index at")
    assert not (tmp_path / "none").exists()


def test_without_optuna_the_extra_is_named(price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused(price("tune", "--index", shop.index), USAGE, 'pip install "price-engine[tune]"')


def test_a_winner_does_not_take_the_place_of_an_index_that_is_being_written(
    price: Price, own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.tuning.tune import Search, TuneResult

    honest = Search.result

    def better(self: Any, started: float) -> TuneResult:
        from dataclasses import replace

        return replace(honest(self, started), better=True)

    monkeypatch.setattr(Search, "result", better)
    current = (own_index / "CURRENT").read_text()
    with writing(own_index) as folder:
        answer = price("tune", "--index", own_index, "--what", "correction", "--trials", 1)
        refused(answer, LOCKED, f"being written by process {os.getpid()}")
        (folder / "manifest.json").write_text("{}")
    assert (own_index / "CURRENT").read_text() != current


KILLED = """
import os, signal
import cli
from engine.tuning.trials import Journal

keep = Journal.keep

def keep_and_die(self, trial, answer):
    keep(self, trial, answer)
    if trial.number == 5:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.keep = keep_and_die
cli.main()
"""


def test_a_killed_search_leaves_the_current_index_and_goes_on(price: Price, own_index: Path) -> None:
    current = (own_index / "CURRENT").read_text()
    before = sorted(path.name for path in own_index.iterdir())
    search = ["tune", "--index", str(own_index), "--what", "correction", "--trials", "4", "--json"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *search], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout == b""
    assert (own_index / "CURRENT").read_text() == current
    assert sorted(path.name for path in own_index.iterdir()) == before
    resumed = price(*search)
    assert resumed.code == 0, resumed.err
    assert resumed.err.startswith("searching: 6 of 8")
    assert resumed.json["trials"] == 8


def test_a_time_budget_ends_a_search_that_has_begun(price: Price, own_index: Path) -> None:
    answer = price("tune", "--index", own_index, "--what", "correction", "--minutes", "1e-9", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["trials"] == 4  # what the index has, for each of three folds and as a whole
    assert answer.json["better"] is False
