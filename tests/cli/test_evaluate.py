"""`price evaluate`: how good an index is, out of fold and on a labelled file."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Price = Callable[..., Any]

KEYS = {"n", "smape", "smape_low", "smape_high", "median_ape", "coverage", "stages"}  # the contract's
STAGES = {
    "constant median", "neighbours alone", "mlp", "lexical", "kernel", "gbdt",
    "blend", "stacker", "stacker + correction",
}  # fmt: skip


@pytest.fixture(params=["out of fold", "labelled"])
def scored(request: pytest.FixtureRequest, shop: Any) -> list[object]:
    """The arguments of either kind of score."""
    labelled = [shop.holdout, "--image-dir", shop.images] if request.param == "labelled" else []
    return ["evaluate", *labelled, "--index", shop.index]


def test_json_is_one_object_that_has_the_keys_of_the_contract(scored: list[object], price: Price) -> None:
    answer = price(*scored, "--json")
    result = answer.json
    assert answer.code == 0 and answer.out.count("\n") == 1
    assert set(result) >= KEYS
    assert set(result["stages"]) >= STAGES
    assert all(0 <= value <= 200 for value in result["stages"].values())
    assert result["smape"] == result["stages"]["stacker + correction"]
    assert result["smape_low"] <= result["smape"] <= result["smape_high"]
    assert 0 <= result["coverage"] <= 1
    assert result["gain"]["value"] == pytest.approx(result["stages"]["blend"] - result["smape"])


def test_the_readable_score_tells_what_the_json_tells_at_80_columns(scored: list[object], price: Price) -> None:
    result = price(*scored, "--json").json
    lines = price(*scored).out.splitlines()
    text = "\n".join(lines)
    for name, value in result["stages"].items():
        assert any(line.strip().startswith(f"{name} ") and f" {value:.2f} " in line for line in lines), name
    assert f"{result['gain']['value']:+.2f}" in text and f"{result['control']['value']:+.2f}" in text
    assert f"{result['median_ape']:.1f}%" in text and f"{result['coverage']:.1%}" in text
    assert max(map(len, lines)) <= 80
    for part in (*result["by_price"], *result["by_similarity"]):
        assert part["label"] in text


def test_every_row_is_scored_out_of_fold(price: Price, shop: Any) -> None:
    result = price("evaluate", "--index", shop.index, "--json").json
    assert result["n"] == shop.build.json["rows"]
    assert sum(part["n"] for part in result["by_price"]) == result["n"]
    assert sum(part["n"] for part in result["by_similarity"]) == result["n"]


def test_the_score_of_the_build_is_that_of_evaluate(price: Price, shop: Any) -> None:
    result = price("evaluate", "--index", shop.index, "--json").json
    assert result["smape"] == pytest.approx(shop.build.json["smape"], abs=1e-6)


def test_rows_that_cannot_be_used_are_noted_and_not_scored(price: Price, shop: Any, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.csv"
    labelled.write_text(shop.holdout.read_text(encoding="utf-8") + "x1,Tea,,free\nx2,,,3\n", encoding="utf-8")
    result = price("evaluate", labelled, "--index", shop.index, "--json").json
    with shop.holdout.open(encoding="utf-8", newline="") as file:
        assert result["n"] == sum(1 for _ in csv.DictReader(file))
    assert result["notes"][0].startswith("2 rows of the file cannot be used")


def test_a_file_that_the_index_was_built_from_is_scored_with_a_warning(price: Price, shop: Any) -> None:
    result = price("evaluate", shop.catalogue, "--image-dir", shop.images, "--index", shop.index, "--json").json
    assert f"{shop.build.json['rows']} items stand word for word in the index" in " ".join(result["notes"])
    assert result["smape"] < 0.9 * shop.build.json["smape"]  # it is flattered, as the note says


def test_a_labelled_file_may_have_its_own_columns(price: Price, shop: Any, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("sku;title;paid\n1;Herbal tea 16 count;4,50\n2;Ground coffee 12 oz;9\n", encoding="utf-8")
    named = ["--id-column", "sku", "--text-column", "title", "--price-column", "paid"]
    assert price("evaluate", labelled, *named, "--index", shop.index, "--json").json["n"] == 2
