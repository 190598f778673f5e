"""`price keep`, `price query --generation` and `price diff`: what an index answered before it was changed."""

import csv
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.evaluation.price_changes import _catalogue
from engine.serving.pricer import Pricer

Price = Callable[..., Any]
COFFEE = "Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"


@dataclass(frozen=True)
class Past:
    """An index that is kept as `before`, and was changed since."""

    index: Path
    before: dict[str, Any]  # the answer of `price query` before the change
    removed: str  # the id of its nearest comparable, which is removed
    added: str  # the id of a row that is added, which is called as the item that is asked for


@pytest.fixture(scope="module")
def past(shop: Any, run_price: Price, tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    index = Path(shutil.copytree(shop.index, folder / "index"))
    before = run_price("query", COFFEE, "--index", index, "--json").json
    removed = before["comparables"][0]["item_id"]
    done = [run_price("keep", "before", "--index", index), run_price("remove", removed, "--index", index)]
    like_it = f'new-1,"{COFFEE}",{before["parts"]["blend"]:.2f}'
    (folder / "new.csv").write_text(f"sample_id,catalog_content,price\n{like_it}\n")
    done.append(run_price("add", folder / "new.csv", "--index", index))
    assert [answer.code for answer in done] == [0, 0, 0], done
    return Past(index, before, removed, "new-1")


def test_a_kept_generation_answers_as_it_did_and_the_current_one_anew(price: Price, past: Past) -> None:
    for reference in ("before", "1", "gen-000001"):
        old = price("query", COFFEE, "--index", past.index, "--json", "--generation", reference).json
        assert {**old, "seconds": 0} == {**past.before, "seconds": 0}
    new = price("query", COFFEE, "--index", past.index, "--json").json
    assert new["parts"]["blend"] == past.before["parts"]["blend"]
    ids = [row["item_id"] for row in new["comparables"]]
    assert ids[0] == past.added and past.removed not in ids
    current = price("query", COFFEE, "--index", past.index, "--json", "--generation", "current").json
    assert {**current, "seconds": 0} == {**new, "seconds": 0}


def test_generations_are_listed_kept_and_let_go(price: Price, past: Past, tmp_path: Path) -> None:
    index = shutil.copytree(past.index, tmp_path / "index")
    listed = price("keep", "--list", "--index", index, "--json").json["generations"]
    assert [(each["number"], each["current"], each["names"]) for each in listed] == [
        (1, False, ["before"]),
        (3, True, []),
    ]
    assert price("keep", "now", "--index", index, "--json").json == {"name": "now", "generation": "gen-000003"}
    lines = price("keep", "--list", "--index", index).out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "3"]
    assert lines[0].endswith("rows  before") and lines[1].endswith("rows  current, now")
    gone = price("keep", "before", "--drop", "--index", index)
    assert (gone.code, gone.out) == (0, "before is no name any more; its generation is removed.\n")
    assert not (index / "gen-000001").exists()


def test_rows_are_priced_for_a_comparison_as_the_build_priced_them_out_of_fold(shop: Any) -> None:
    pricer = Pricer.open(shop.index)
    reference, priced = pricer.reference, _catalogue(pricer)
    np.testing.assert_allclose(priced.estimate.base.last, reference.log_price - reference.residual, atol=1e-6)
    assert priced.ids == reference.ids()
    near = priced.estimate.near
    assert not (near.found & (reference.fold[near.rows] == reference.fold[:, None])).any()


def test_a_generation_does_not_differ_from_itself(price: Price, past: Past) -> None:
    changes = price("diff", "current", "3", "--index", past.index, "--json").json
    assert (changes["moved"], changes["median_change"], changes["same_models"]) == (0, 0, True)
    assert changes["rows"] == {"both": changes["items"], "added": 0, "removed": 0, "replaced": 0}
    assert "0 of" in price("diff", "3", "3", "--index", past.index).out


def test_rows_that_move_are_told_with_what_was_added_and_removed(price: Price, past: Past, tmp_path: Path) -> None:
    out = tmp_path / "changes.parquet"
    answer = price("diff", "before", "current", "--index", past.index, "--json", "-o", out)
    changes, table = answer.json, pq.read_table(out).to_pylist()
    assert changes["rows"] == {"both": len(table), "added": 1, "removed": 1, "replaced": 0}
    assert changes["same_models"] is True
    assert changes["changes"] == table[:20]
    sizes = [abs(math.log1p(row["change"])) for row in table]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0.01
    for row in table:
        assert row["new"] == pytest.approx(row["old"] * (1 + row["change"]))
        assert (1 + row["by_models"]) * (1 + row["by_evidence"]) == pytest.approx(1 + row["change"])
        assert row["by_models"] == 0  # the models are the same, and so are the rows' words
        assert bool(row["why"]) == (abs(row["change"]) >= 0.01)
    reasons = " ".join(row["why"] for row in table)
    assert f"added comparables {past.added}" in reasons and f"removed comparables {past.removed}" in reasons
    assert changes["moved"] == sum(bool(row["why"]) for row in table)
    readable = price("diff", "before", "current", "--index", past.index).out
    assert "From generation 1 to 3: the same models; rows 1 added, 1 removed." in readable
    assert f"{table[0]['change']:+.1%}" in readable


def test_a_file_of_items_is_priced_by_both_as_queries_are(price: Price, past: Past, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(f'sample_id,catalog_content\nx,"{COFFEE}"\ny,"=1+1 rope, 20 feet"\n')
    out = tmp_path / "changes.csv"
    answer = price("diff", "1", "current", tmp_path / "items.csv", "--index", past.index, "--json", "-o", out)
    changes = {row["item_id"]: row for row in answer.json["changes"]}
    new = price("query", COFFEE, "--index", past.index, "--json").json
    assert changes["x"]["old"] == pytest.approx(past.before["price"], rel=1e-3)
    assert changes["x"]["new"] == pytest.approx(new["price"], rel=1e-3)
    assert "items.csv: CSV" in answer.err
    with out.open(encoding="utf-8") as file:
        rows = {row["item_id"]: row for row in csv.DictReader(file)}
    assert rows["y"]["name"] == "'=1+1 rope, 20 feet"  # inert in a spreadsheet
    refused = price("diff", "1", "current", "--index", past.index, "-o", out)
    assert (refused.code, refused.err.count("\n")) == (2, 1) and "--overwrite" in refused.err


def test_a_row_that_was_replaced_is_said_to_be(price: Price, run_price: Price, shop: Any, tmp_path: Path) -> None:
    index = Path(shutil.copytree(shop.index, tmp_path / "index"))
    row = Pricer.open(index).reference.shown([5])[0]
    (tmp_path / "new.csv").write_text(
        f'sample_id,catalog_content,price\n{row["item_id"]},"Item Name: Rope, 9 feet",30\n'
    )
    assert run_price("keep", "old", "--index", index).code == 0
    assert run_price("add", tmp_path / "new.csv", "--replace", "--yes", "--index", index).code == 0
    changes = price("diff", "old", "current", "--index", index, "--json").json
    assert changes["rows"]["replaced"] == 1
    (replaced,) = [row for row in changes["changes"] if "the row itself was replaced" in row["why"]]
    assert replaced["item_id"] == row["item_id"]


def test_an_item_of_a_file_is_replaced_by_no_row_of_the_same_id(
    price: Price, run_price: Price, past: Past, tmp_path: Path
) -> None:
    """Neither where a row of that id was added, nor where one was replaced: it is the file's, and the same for both."""
    index, items = Path(shutil.copytree(past.index, tmp_path / "index")), tmp_path / "items.csv"
    items.write_text(f'sample_id,catalog_content\n{past.added},"{COFFEE}"\n')
    added = price("diff", "before", "current", items, "--index", index, "--json").json
    assert (added["rows"]["added"], added["rows"]["replaced"]) == (1, 0)
    assert run_price("keep", "now", "--index", index).code == 0
    (tmp_path / "new.csv").write_text(f'sample_id,catalog_content,price\n{past.added},"{COFFEE}",90\n')
    assert run_price("add", tmp_path / "new.csv", "--replace", "--yes", "--index", index).code == 0
    replaced = price("diff", "now", "current", items, "--index", index, "--json").json
    assert replaced["rows"]["replaced"] == 1
    for changes in (added, replaced):
        (change,) = changes["changes"]
        assert "was replaced" not in change["why"] and f"comparables {past.added}" in change["why"]


def test_rows_of_a_file_that_are_not_compared_are_counted(price: Price, past: Past, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    rows = ["x,Green tea", "y,Rope"]
    items.write_text("\n".join(["sample_id,catalog_content", *rows]) + "\n")
    diff = ["diff", "before", "current", items, "--index", past.index, "--json"]
    whole = price(*diff).json
    assert (whole["items"], len(whole["notes"])) == (2, 1)  # what the file was taken for
    items.write_text("\n".join(["sample_id,catalog_content", *rows, *rows, "z,<p></p>"]) + "\n")
    answer = price(*diff)
    note = "3 rows of the file cannot be used and are not compared."
    assert (answer.json["items"], answer.json["notes"]) == (2, [*whole["notes"], note])
    assert note in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "phrase"),
    [
        (["keep"], 2, "No name is given"),
        (["keep", "x", "--list"], 2, "give it alone"),
        (["keep", "x", "--drop"], 2, "keeps no generation by the name 'x': it keeps before"),
        (["keep", "before", "--drop", "--generation", "1"], 2, "leave out --generation"),
        (["keep", "7"], 2, "cannot name a generation"),
        (["keep", "x", "--generation", "2"], 4, "has no generation '2': it has 1 ('before'), 3 (current)"),
        (["diff", "before", "7"], 4, "has no generation '7'"),
        (["diff", "before", "current", "nowhere.csv"], 3, "nowhere.csv"),
        (["diff", "before", "current", "-o", "x.xls"], 2, "must end in .csv or .parquet"),
        (["query", "tea", "--generation", "autumn"], 4, "has no generation 'autumn'"),
    ],
)
def test_what_cannot_be_kept_or_asked_is_refused_in_one_line(
    arguments: list[str], code: int, phrase: str, price: Price, past: Past
) -> None:
    answer = price(*arguments, "--index", past.index)
    told = [line for line in answer.err.splitlines() if line.startswith("price: ")]
    assert (answer.code, answer.out, len(told)) == (code, "", 1)
    assert phrase in told[0] and "Traceback" not in answer.err
