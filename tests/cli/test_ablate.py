"""`price ablate`: a table that a person and a script can read, and refusals of one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

USAGE, INDEX = 2, 4
Price = Callable[..., Any]


def test_json_holds_a_row_for_the_index_and_one_for_each_variant(price: Price, shop: Any) -> None:
    answer = price("ablate", "--index", shop.index, "--parts", "correction, band", "--json")
    assert answer.code == 0, answer.err
    table = answer.json
    assert (table["n"], table["seed"]) == (139, 0)
    assert [row["variant"] for row in table["rows"]] == [
        "the index as it is",
        "without correction",
        "random neighbours in the band",
        "without band",
    ]
    for row in table["rows"]:
        assert set(row) == {"part", "variant", "smape", "worse", "seconds"}
        assert row["worse"]["low"] <= row["worse"]["value"] <= row["worse"]["high"]


def test_a_person_sees_a_line_for_each_variant(price: Price, shop: Any) -> None:
    answer = price("ablate", "--index", shop.index, "--parts", "weights")
    assert answer.code == 0, answer.err
    assert "139 items, out of fold, seed 0." in answer.out
    for variant in ("the index as it is", "unweighted mean", "weighted median"):
        assert variant in answer.out
    assert "scoring variants" in answer.err


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (["--parts", "membres"], "did you mean 'members'"),
        (["--parts", ""], "choose from correction"),
        (["--parts", "words"], "give --refit with it"),
    ],
)
def test_parts_that_there_are_not_are_refused(price: Price, shop: Any, options: list[str], phrase: str) -> None:
    answer = price("ablate", "--index", shop.index, *options)
    assert (answer.code, answer.out) == (USAGE, "")
    assert phrase in answer.err
    assert answer.err.count("\n") == 1


def test_an_index_that_is_not_there_is_refused(price: Price, tmp_path: Path) -> None:
    answer = price("ablate", "--index", tmp_path / "none")
    assert (answer.code, answer.out) == (INDEX, "")
    assert "There is no index at" in answer.err


def test_an_interrupt_ends_it_at_once(price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.evaluation.ablation.answer_out_of_fold", interrupted)
    answer = price("ablate", "--index", shop.index)
    assert (answer.code, answer.out, answer.err) == (130, "", "")  # its line is left to `cli.main`
