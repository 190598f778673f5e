"""Product text as data, whatever it holds, on every surface that a person looks at."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import render
import render.scores
from engine.evaluation.report import Evaluation, OfConfidence, Score, Slice, Sureness
from engine.serving.quote import Before, Comparable, Quote

Price = Callable[..., Any]

ESCAPE = "\x1b[31m\x1b]0;title\x07"  # colours the rest, and names the window
BIDI = "\u202egpj.exe\u2066"  # turns what follows around
HIDDEN = "\u200b\u00ad\ufeff"
BREAKS = "a\nb\rc\u2028d\x85e\x0bf\x0cg"
MARKUP = "[/b][red]sale[/red] [link=http://x]y[/link] :pile_of_poo:"
NASTY = f"Cup {ESCAPE} {BIDI} {HIDDEN} {MARKUP} \x9b2J \udc80 end"

FORBIDDEN = {chr(code) for code in (*range(32), *range(0x7F, 0xA0))} - {"\n"}
FORBIDDEN |= set(BIDI + HIDDEN + "\u2028\u2029\udc80") - set("gpj.exe")


def harmless(shown: str) -> bool:
    return not FORBIDDEN & set(shown)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a renderer prints, on a wide terminal so that nothing is folded apart."""
    monkeypatch.setenv("COLUMNS", "300")

    def show(render: Callable[..., None], *arguments: object) -> str:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        render(*arguments)
        return out.getvalue()

    return show


def test_a_quote_shows_names_and_notes_as_data(shown: Callable[..., str]) -> None:
    comparable = Comparable(
        item_id="1", name=NASTY[:60], price=2.0, similarity=0.5, residual=0.1, weight=1.0, image=NASTY, per_unit=None
    )
    parts = {"mlp": 1.0, "gbdt": 1.0, "lexical": 1.0, "blend": 1.0, "shift": 0.5}
    quote = Quote(
        price=1.5, low=1.0, high=2.0, confidence="low", within_20=0.5, why=(NASTY,), parts=parts,
        comparables=(comparable,), notes=(NASTY + BREAKS,), per_unit=None, before=Before(1.0, 0.5, 2.0),
    )  # fmt: skip
    settings = {"k": 1, "band": 1.0, "lambda": 1.0, "alpha": 1.0}
    text = shown(render.show_quote, render.open_console(), quote, "USD", 0.8, settings)
    assert harmless(text)
    assert "[/b][red]" in text and ":pile_of_poo:" in text
    assert sum("Cup" in line for line in text.splitlines()) == 3  # the reason, the note and the comparable, a line each


def test_the_median_beside_a_mean_is_shown_as_no_model(shown: Callable[..., str]) -> None:
    parts = {"mlp": 1.0, "blend": 1.0, "shift": 0.5, "median": 1.5}
    quote = Quote(
        price=2.5, low=1.0, high=4.0, confidence="low", within_20=0.5, why=(), parts=parts, comparables=(), notes=(),
        per_unit=None,
    )  # fmt: skip
    text = shown(render.show_quote, render.open_console(), quote, "USD", 0.8, {"k": 1})
    assert "Models: mlp 1.00.\n" in text
    assert "Their blend 1.00: the median is 1.50, the price the mean." in text


def test_an_evaluation_shows_file_names_and_notes_as_data(shown: Callable[..., str]) -> None:
    score = Score(1.0, 0.5, 1.5)
    part = Slice("1 to 2", 1, 1.0, score, 1.0, 1.0)
    result = Evaluation(
        method=NASTY, n=1, seed=0, stages={"blend": score, "blend + correction": score}, median_ape=1.0, r_squared=0.5,
        coverage=1.0, coverage_wanted=0.8, width=1.0, gain=score, control=score, beyond_control=score, by_price=(part,),
        by_similarity=(part,), by_prediction=(part,), by_expected_error=(part,), by_likeness=(part,), notes=(NASTY,),
        interval_score=1.0, interval_score_by_level=None, sureness=(Sureness(1.0, 0.5, 0.5, 0.5, 1.0, 1.0),),
        by_confidence=(OfConfidence("high", 1, 1.0, 1.0, 1.0), OfConfidence("low", 0, None, None, None)),
    )  # fmt: skip
    text = shown(render.scores.show_evaluation, render.open_console(), result)
    assert harmless(text) and "[/b][red]" in text


def test_counts_of_rejects_and_stages_of_progress_are_data(
    shown: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert harmless(shown(render.print_counts, "rows", Counter({NASTY + BREAKS: 2})))
    render.Progress().update(NASTY + BREAKS, 1, 2)
    said = capsys.readouterr().err
    assert harmless(said) and said.count("\n") == 1


@pytest.mark.parametrize("nasty", [NASTY, BREAKS, "x" * 5000])
def test_an_error_that_quotes_its_input_is_one_harmless_line(nasty: str, price: Price, tmp_path: Path) -> None:
    header = tmp_path / "header.csv"
    header.write_text(f"sample_id,{nasty.replace(chr(0xDC80), '')!s}\n1,2\n".replace("\r", ""), encoding="utf-8")
    for arguments in (
        ["build-index", header, "--index", tmp_path / "index"],
        ["build-index", nasty.replace("\0", ""), "--index", tmp_path / "index"],
        ["build-index", header, "--preset", nasty],
        ["query", "tea", "--index", nasty[:100]],
        [nasty],
        ["query", "tea", "--k", nasty],
    ):
        answer = price(*arguments)
        assert answer.code in (2, 3, 4)
        assert answer.out == ""
        assert harmless(answer.err) and answer.err.count("\n") == 1


def test_a_catalogue_of_nasty_names_is_built_queried_and_scored_harmlessly(
    price: Price, shop: Any, tmp_path: Path
) -> None:
    path, index = tmp_path / "nasty.csv", tmp_path / "index"
    named = NASTY.replace("\udc80", "")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["sample_id", "catalog_content", "image_link", "price"])
        table.writerows([f"{ESCAPE}{i}", f"{named} {chr(97 + i)}{BREAKS}", BIDI, i + 1] for i in range(26))
        table.writerows([f"{ESCAPE}{i}", named, "", f"{ESCAPE}free [/b]"] for i in range(30, 33))
    with_rejects = price("build-index", path, "--index", index, "--config", shop.quick)
    assert with_rejects.code == 0, with_rejects.err
    assert "rows rejected" in with_rejects.out
    for answer in (
        with_rejects,
        price("query", named.replace("\0", ""), "--image", NASTY.replace("\udc80", ""), "--index", index),
        price("query", "cup", "--index", index),
        price("evaluate", path, "--index", index),
        price("evaluate", "--index", index),
    ):
        assert answer.code == 0, answer.err
        assert harmless(answer.out) and harmless(answer.err)
    raw = price("query", "cup", "--index", index, "--json")
    assert harmless(raw.out) and raw.out.isascii()  # JSON keeps the name, escaped
    assert any(ESCAPE in one["name"] for one in raw.json["comparables"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_off_a_terminal_is_a_line_now_and_then_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 101.0, 110.0, 115.0, 140.0, 141.0, 150.0])
    monkeypatch.setattr(render.time, "monotonic", lambda: next(clock))
    with render.Progress() as progress:
        for done in (1000, 1100, 2000, 2500, 5000):
            progress.update("texts (minilm)", done, 5000)
        progress.update("texts (minilm)", 5000, 5000)
        progress.update("writing the index", 0, None)
    assert capsys.readouterr().err.splitlines() == [
        "texts (minilm): 1,000 of 5,000",
        "texts (minilm): 2,000 of 5,000, 100/s, 0:00:30 left",
        "texts (minilm): 5,000 of 5,000 in 40.0 s",
        "writing the index",
    ]


def test_progress_tells_a_stage_that_begins_anew_and_a_slow_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 2.0, 3.0, 23.0])
    monkeypatch.setattr(render.time, "monotonic", lambda: next(clock))
    progress = render.Progress()
    for done, total in ((0, 5), (5, 5), (0, 9), (1, 9)):
        progress.update("texts (minilm)", done, total)
    assert capsys.readouterr().err.splitlines() == [
        "texts (minilm): 0 of 5",
        "texts (minilm): 5 of 5 in 2.0 s",
        "texts (minilm): 0 of 9",
        "texts (minilm): 1 of 9, 0.05/s, 0:02:40 left",
    ]


def test_progress_on_a_terminal_is_one_line_that_moves_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    with render.Progress() as progress:
        for done in range(101):
            progress.update("a stage with quite a long name of its own", done, 100)
        progress.update("writing the index", 0, None)
    lines = terminal.getvalue().split("\n")
    assert len(lines) == 3 and lines[2] == ""
    assert all(len(part) < 40 for line in lines for part in line.replace("\x1b[K", "").split("\r"))
    assert lines[0].startswith("\r\x1b[Ka stage") and lines[1] == "\r\x1b[Kwriting the index"


def test_an_error_never_stands_on_the_line_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(OSError, match="full"), render.Progress() as progress:
        progress.update("texts", 1, 2)
        raise OSError("full")
    assert terminal.getvalue().endswith("\n")


def test_small_and_large_prices_keep_their_figures() -> None:
    shown = [render.money(amount) for amount in (1234567.891, 3, 0.1, 0.0123, 1e-6, 0, -1.5, -0.004)]
    assert shown == ["1,234,567.89", "3.00", "0.10", "0.012", "1e-06", "0.00", "-1.50", "-0.004"]
