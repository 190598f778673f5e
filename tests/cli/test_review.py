"""`price review`, and rules of `price query` and `price predict`: what a person and a script are told."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.storage.generations import current_generation
from index.storage.manifest import read_manifest, write_manifest

Price = Callable[..., Any]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text("sku,title,price,least\n1,Green tea,3000,\n2,Rope,,90\n3,Olive oil,9,x\n", encoding="utf-8")
    return path


def test_a_review_says_what_it_found_to_people_and_scripts(price: Price, shop: Any, items: Path) -> None:
    out = items.with_name("r.html")
    answer = price("review", items, "-o", out, "--index", shop.index)
    assert answer.code == 0, answer.err
    assert "3 rows in" in answer.out and "1 too high" in answer.out and "1 no price." in answer.out
    assert price("review", items, "-o", out, "--index", shop.index).code == 2  # it is there
    answer = price("review", items, "-o", out, "--index", shop.index, "--overwrite", "--json")
    assert answer.json["flags"]["too high"] == 1 and answer.json["currency"] == "USD"
    assert {"rows", "priced", "groups", "at_stake", "bound_by", "output", "rejects", "seconds"} <= answer.json.keys()


def test_predict_writes_the_bounded_price_beside_the_raw_one(price: Price, shop: Any, items: Path) -> None:
    out = items.with_name("p.csv")
    rules = ["--rule", "floor=column:least", "--rule", "ending=.99"]
    answer = price("predict", items, "-o", out, "--index", shop.index, *rules)
    assert answer.code == 0, answer.err
    with out.open(encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    assert list(first) == ["sku", "price", "price_to_set", "bound_by", "rule_note"]
    assert first["price_to_set"].endswith(".99") and first["bound_by"] == "ending"
    assert (second["price_to_set"], second["bound_by"]) == ("90.99", "floor, ending")
    assert float(second["price"]) < 90 and third["price"] and not third["price_to_set"]
    assert third["rule_note"].startswith("least: price is ")


def test_rules_that_an_index_was_built_with_are_its_own(price: Price, own_index: Path) -> None:
    folder = current_generation(own_index)
    manifest = read_manifest(folder)
    rules = manifest.settings["rules"] | {"floor": 500.0, "ceiling": "column:most"}
    write_manifest(folder, replace(manifest, settings=manifest.settings | {"rules": rules}))
    answered = price("query", "Green tea", "--index", own_index, "--json")
    assert answered.code == 0, answered.err
    answer = answered.json
    assert (answer["price_to_set"], answer["bound_by"]) == (500, "floor")
    assert answer["rule_note"] == "ceiling is of a column, and a query has none"
    assert price("query", "Tea", "--index", own_index, "--rule", "floor=none", "--json").json["price_to_set"] < 500


def test_a_query_knows_rules_of_options_and_of_a_file(price: Price, shop: Any, tmp_path: Path) -> None:
    plain = price("query", "Green tea", "--index", shop.index, "--json").json
    assert "price_to_set" not in plain
    (tmp_path / "price.toml").write_text('folds = 3\n[rules]\nfloor = 500\nending = ".99"\n', encoding="utf-8")
    file = ["--config", tmp_path / "price.toml"]
    bounded = price("query", "Green tea", "--index", shop.index, *file, "--json").json
    assert (bounded["price"], bounded["price_to_set"], bounded["bound_by"]) == (plain["price"], 500.99, "floor, ending")
    options = ["--rule", "floor=none", "--rule", "max-change=50", "--current-price", "900"]
    answer = price("query", "Green tea", "--index", shop.index, *file, *options)
    assert "Price to set: 450.99 USD (by max_change, ending)." in " ".join(answer.out.split())


@pytest.mark.parametrize("rules", [[], ["--rule", "max_change=10"]])
def test_a_current_price_that_is_none_in_the_indexs_currency_is_refused_for_what_it_is(
    price: Price, shop: Any, rules: list[str]
) -> None:
    for given, why in (("20 EUR", "in EUR, and the index is in USD"), ("0", "price is not positive: 0")):
        answer = price("query", "Green tea", "--index", shop.index, "--current-price", given, *rules)
        assert answer.code == 2 and f"The current price is '{given}' ({why}" in answer.err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--rule", "floor"], "--rule 'floor' is no rule: give NAME=VALUE"),
        (["--rule", "flor=3"], "There is no rule 'flor'"),
        (["--rule", "floor=3", "--rule", "floor=4"], "--rule gives 'floor' twice"),
        (["--rule", "floor=9", "--rule", "ceiling=3"], "the floor 9 lies above the ceiling 3"),
        (["--rule", "cost=3", "--rule", "margin=100"], "margin is 100.0: give a number from 0 to 99.9"),
        (["--config", "nowhere.toml"], "There is no settings file nowhere.toml"),
    ],
)
def test_rules_that_cannot_be_are_refused_before_anything_is_opened(
    price: Price, items: Path, options: list[str], why: str
) -> None:
    for command in (["query", "Tea"], ["predict", items, "-o", "p.csv"], ["review", items, "-o", "r.csv"]):
        answer = price(*command, "--index", "nowhere", *options)
        assert answer.code == 2 and why in answer.err


def test_an_audit_is_written_as_any_kind_of_file(price: Price, shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "audit.xlsx"
    answer = price("audit", "-o", out, "--index", shop.index)
    assert answer.code == 0, answer.err
    assert "rows lie outside their interval, the worst first, in" in answer.out and "likely reasons" in answer.out
    refused = price("audit", "-o", out, "--index", shop.index)
    assert refused.code == 2 and "exists already" in refused.err
    listed = {}
    for kind in ("csv", "parquet", "html"):
        listed[kind] = price("audit", "-o", tmp_path / f"audit.{kind}", "--index", shop.index, "--json").json
        assert {"rows", "listed", "flags", "reasons", "currency", "output", "seconds"} <= listed[kind].keys()
    text = (tmp_path / "audit.csv").read_text(encoding="utf-8")
    assert listed["csv"]["listed"] == text.count("\n") - 1 == sum(listed["csv"]["flags"].values())
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".html", ".parquet", ".xlsx"}
    assert price("audit", "-o", tmp_path / "a.ods", "--index", shop.index).code == 2
    assert price("audit", "-o", tmp_path / "nowhere" / "a.csv", "--index", shop.index).code == 2
    assert price("audit", "-o", tmp_path / "a.csv", "--index", tmp_path / "nowhere").code == 4
