"""`price predict`: it says what became of a file, and goes on after a kill."""

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
Price = Callable[..., Any]
KEYS = {
    "rows", "priced", "rejected", "resumed", "photographs_absent", "unseen", "seconds", "stages", "items_per_second",
    "output", "rejects",
}  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


@pytest.fixture
def workplace(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with nothing but the holdout in it."""
    (tmp_path / "holdout.csv").write_bytes(shop.holdout.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRICE_INDEX", str(shop.index))
    return tmp_path


def test_json_is_one_object_and_the_file_is_of_the_challenges_form(price: Price, shop: Any, out: Path) -> None:
    answer = price("predict", shop.holdout, "-o", out, "--index", shop.index, "--image-dir", shop.images, "--json")
    assert answer.code == 0, answer.err
    with shop.holdout.open(newline="", encoding="utf-8") as file:
        ids = [row["sample_id"] for row in csv.DictReader(file)]
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "sample_id,price"
    assert [line.partition(",")[0] for line in lines[1:]] == ids
    said = answer.json
    assert set(said) == KEYS
    assert said["rows"] == said["priced"] + said["rejected"] == len(ids)
    assert said["output"] == str(out)
    assert {"reading", "texts (minilm)", "features", "models", "writing"} <= set(said["stages"])


def test_a_person_is_told_the_counts_and_the_shares(price: Price, shop: Any, tmp_path: Path) -> None:
    items, out = tmp_path / "items.csv", tmp_path / "prices.parquet"
    items.write_text("sku,catalog_content,image_link\n1,Tea,x.jpg\n2,,\n", encoding="utf-8")
    answer = price("predict", items, "--output", out, "--index", shop.index, "--id-column", "sku", "--full")
    assert answer.code == 0, answer.err
    assert f"2 rows in {out}: 1 priced; " in answer.out
    assert f"1 rows have no price, listed in {out}.rejects.csv." in answer.out
    assert re.search(r"1 photographs that could not be used:\n +1  missing", answer.out)
    assert re.search(r"\d%  texts \(minilm\)", answer.out)
    assert "pricing: 2 of 2" in answer.err


def test_the_columns_that_are_wanted_stand_in_their_order(price: Price, shop: Any, out: Path) -> None:
    options = ["--index", shop.index, "--columns", "high, price", "--k", "3"]
    assert price("predict", shop.holdout, "-o", out, *options).code == 0
    assert out.read_text(encoding="utf-8").startswith("sample_id,high,price\n")


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        ("price,low", "sample_id,price,low,price_to_set,bound_by,rule_note"),
        ("price_to_set,price", "sample_id,price_to_set,price"),  # who names a column of the rules names all
    ],
)
def test_what_rules_make_of_a_price_stands_behind_the_columns_that_are_named(
    columns: str, header: str, price: Price, shop: Any, out: Path
) -> None:
    options = ["--index", shop.index, "--columns", columns, "--rule", "floor=500"]
    assert price("predict", shop.holdout, "-o", out, *options).code == 0
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == header
    assert {row["price_to_set"] for row in rows} == {"500.0"}
    assert all(float(row["price"]) < 500 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["holdout.csv", "-o", "holdout.csv"], 2, "would overwrite the items"),
        (["holdout.csv", "-o", "prices.txt"], 2, "must end in .csv or .parquet"),
        (["holdout.csv", "-o", "p.csv", "--columns", "prise"], 2, "price, low, high"),
        (["holdout.csv", "-o", "p.csv", "--alpha", "0"], 2, "alpha"),
        (["nowhere.csv", "-o", "p.csv"], 3, "not a file"),
        (["holdout.csv", "-o", "p.csv", "--text-column", "words"], 3, "no column 'words'"),
        (["holdout.csv", "-o", "p.csv", "--index", "nowhere"], 4, "no index at nowhere"),
        (["holdout.csv", "-o", "p.csv", "--index", "file:///nowhere/at/all"], 4, "no index at file:///nowhere/at/all"),
    ],
)
def test_a_refusal_is_one_sentence_with_its_exit_code(
    arguments: list[str], code: int, said: str, price: Price, workplace: Path
) -> None:
    answer = price("predict", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err.splitlines()[-1]
    assert [path.name for path in workplace.iterdir()] == ["holdout.csv"]


def test_without_ray_its_option_says_what_to_install(
    price: Price, shop: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = price("predict", shop.holdout, "-o", out, "--index", shop.index, "--ray", "local")
    assert answer.code == 2
    assert "pip install 'price-engine[ray]'" in answer.err


def test_an_index_is_taken_from_where_its_uri_says(
    price: Price, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRICE_CACHE", str(tmp_path / "cache"))
    there, here = tmp_path / "there.csv", tmp_path / "here.csv"
    assert price("predict", shop.holdout, "-o", there, "--index", shop.index.as_uri()).code == 0
    assert price("predict", shop.holdout, "-o", here, "--index", shop.index).code == 0
    assert there.read_bytes() == here.read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import cli

journal, fsync = Path(sys.argv.pop(1)), os.fsync

def fsync_and_die(handle):
    fsync(handle)
    if journal.exists() and journal.read_bytes().count(b'{"done"') == 2:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = fsync_and_die
cli.main()
"""


def test_a_job_that_is_killed_goes_on_and_gives_the_same_file(price: Price, shop: Any, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    texts = [f"{row},Green tea {row} oz" for row in range(60)]
    items.write_text("\n".join(["sample_id,catalog_content", *texts]) + "\n", encoding="utf-8")
    options = ["--index", shop.index, "--shard-rows", "3", "--json"]
    whole, out = tmp_path / "whole.csv", tmp_path / "prices.csv"
    assert price("predict", items, "-o", whole, *options).code == 0

    journal = tmp_path / "prices.csv.parts" / "journal.jsonl"
    command = [sys.executable, "-c", KILLED, journal, "predict", items, "-o", out, *options]
    killed = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()

    answer = price("predict", items, "-o", out, *options)
    assert answer.code == 0, answer.err
    assert answer.json["resumed"] == 6
    assert out.read_bytes() == whole.read_bytes()
    assert json.loads(answer.out)["rows"] == 60
