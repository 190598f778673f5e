"""`price build-index`: it learns from what is usable, and accounts for what is not."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Price = Callable[..., Any]

HEADER = ["sample_id", "catalog_content", "image_link", "price"]
KINDS = "amber beryl coral delft ebony flint glass hazel ivory jade khaki lapis mauve navy ochre pearl".split()
ITEMS = [[f"{i}", f"Teapot of {kind}, {i % 5 + 1} pint", "", f"{i + 4}.50"] for i, kind in enumerate(KINDS)]


@pytest.fixture
def build(price: Price, shop: Any, tmp_path: Path) -> Price:
    """Build `tmp_path/index` from a file, with small models."""

    def run(catalogue: Path, *options: object) -> Any:
        return price("build-index", catalogue, "--index", tmp_path / "index", "--config", shop.quick, *options)

    return run


@pytest.fixture
def items_file(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *ITEMS])
    return path


def rejects(index: Path) -> list[dict[str, str]]:
    generation = (index / "CURRENT").read_text().strip()
    with (index / generation / "rejects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_json_is_one_object_with_the_keys_of_the_contract_and_progress_is_elsewhere(shop: Any) -> None:
    answer = shop.build
    assert answer.code == 0
    assert set(answer.json) == {"rows", "rejected", "encoders", "seconds", "smape"}
    assert answer.json["encoders"] == ["minilm", "pixels"]
    assert answer.out.count("\n") == 1
    assert "reading" in answer.err and "texts (minilm)" in answer.err and "fitting models" in answer.err


def test_rows_read_are_rows_indexed_and_rows_rejected(shop: Any) -> None:
    with shop.catalogue.open(encoding="utf-8", newline="") as file:
        read = sum(1 for _ in csv.DictReader(file))
    assert shop.build.json["rows"] + shop.build.json["rejected"] == read
    assert len(rejects(shop.index)) == shop.build.json["rejected"] == 7


def test_the_summary_counts_rejects_and_photographs_by_reason(price: Price, shop: Any, tmp_path: Path) -> None:
    options = ["--image-dir", shop.images, "--config", shop.quick]
    answer = price("build-index", shop.catalogue, "--index", tmp_path / "index", *options)
    assert "7 rows rejected, listed in " in answer.out
    assert Path(re.search(r"listed in (.+rejects\.csv):", answer.out)[1]).is_file()  # type: ignore[index]
    counted = {reason: int(count) for count, reason in re.findall(r"^ +(\d+)  (.+)$", answer.out, re.MULTILINE)}
    assert counted["price is not positive"] == 2
    absent = int(re.search(r"^(\d+) rows without a usable photograph:", answer.out, re.MULTILINE)[1])  # type: ignore[index]
    assert counted["no photograph given"] > 0 and counted["not an image"] > 0
    assert sum(counted.values()) == 7 + absent
    assert re.search(r"^SMAPE out of fold \d+\.\d\d \(95% interval", answer.out, re.MULTILINE)
    assert f"price evaluate --index {tmp_path / 'index'}" in answer.out


def test_a_file_with_a_mark_and_bad_rows_of_every_kind_is_built_from_the_rest(
    build: Price, items_file: Path, tmp_path: Path
) -> None:
    bad = [
        "90,Ragged,,1,2,3", "91,Ragged too", "92,Nul\0byte,,3", f"93,{'x' * 10_000_000},,3", "94,Free,,",
        "95,Nought,,0", "96,Owed,,-2.50", "97,Odd,,nan", "98,Endless,,inf", '99,"",,3', ",Nameless,,3",
        "0,An id that is taken,,3", "89,Dear,,1e300", "88,Words,,cheap",
    ]  # fmt: skip
    text = items_file.read_text(encoding="utf-8") + "".join(f"{line}\n" for line in bad)
    items_file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    built = build(items_file, "--json")
    assert built.code == 0, built.err
    nameless = bad.index(",Nameless,,3")  # is named by its line
    assert (built.json["rows"], built.json["rejected"]) == (len(ITEMS) + 1, len(bad) - 1)
    listed = rejects(tmp_path / "index")
    assert [int(row["line"]) - len(ITEMS) - 2 for row in listed] == [n for n in range(len(bad)) if n != nameless]
    assert all(row["reason"] for row in listed)
    assert Counter(row["column"] for row in listed) == {"": 1, "catalog_content": 3, "price": 8, "sample_id": 1}


def test_a_catalogue_without_a_bad_row_has_no_rejects_file(build: Price, items_file: Path, tmp_path: Path) -> None:
    answer = build(items_file)
    assert answer.code == 0
    assert "rejected" not in answer.out
    assert not list((tmp_path / "index").rglob("rejects.csv"))


def test_any_columns_of_a_parquet_file_may_be_named(build: Price, price: Price, tmp_path: Path) -> None:
    ids, words, _, money = zip(*ITEMS, strict=True)
    table = pa.table({"sku": ids, "title": words, "cost": [float(each) for each in money], "other": ids})
    pq.write_table(table, tmp_path / "items.parquet")
    named = ["--id-column", "sku", "--text-column", "title", "--price-column", "cost", "--currency", "EUR"]
    assert build(tmp_path / "items.parquet", *named).code == 0
    answer = price("query", "Teapot of jade", "--index", tmp_path / "index", "--json")
    assert answer.json["currency"] == "EUR"
    assert {one["name"] for one in answer.json["comparables"]} <= set(words)
    readable = price("query", "Teapot of jade", "--index", tmp_path / "index").out
    assert " EUR " in readable.splitlines()[0] and "price, EUR" in readable


def test_options_win_over_the_file_and_both_stand_in_the_manifest(
    build: Price, items_file: Path, tmp_path: Path
) -> None:
    assert build(items_file, "--folds", "4", "--seed", "9", "--image-encoder", "none").code == 0
    settings = json.loads(next((tmp_path / "index").rglob("manifest.json")).read_text())["settings"]
    assert (settings["folds"], settings["seed"], settings["mlp"]["width"]) == (4, 9, 16)
    assert "none" in settings["image_encoder"] or settings["image_encoder"] == []


def test_a_half_life_for_a_catalogue_without_dates_is_refused(build: Price, items_file: Path, tmp_path: Path) -> None:
    answer = build(items_file, "--half-life", "90", "--as-of", "2026-03-31")
    assert answer.code == 3 and "half_life goes by the dates of prices, and no item has one" in answer.err


def test_the_same_seed_builds_the_same_prices(build: Price, price: Price, items_file: Path, tmp_path: Path) -> None:
    def answer(seed: int) -> dict[str, Any]:
        assert build(items_file, "--seed", seed).code == 0
        quote = price("query", "Teapot of jade, 2 pint", "--index", tmp_path / "index", "--json").json
        return {**quote, "seconds": 0}

    once = answer(1)
    assert answer(1) == once
    assert answer(2)["price"] != once["price"]


def test_a_refused_build_leaves_the_old_index_current(
    build: Price, price: Price, items_file: Path, tmp_path: Path
) -> None:
    assert build(items_file).code == 0
    before = (tmp_path / "index" / "CURRENT").read_text()
    items_file.write_text("sample_id,catalog_content,price\n1,Teapot,free\n", encoding="utf-8")
    assert build(items_file).code == 3
    assert (tmp_path / "index" / "CURRENT").read_text() == before
    assert price("query", "Teapot", "--index", tmp_path / "index").code == 0
