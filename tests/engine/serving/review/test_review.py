"""Claims about a review: a row for every line, what is most at stake first, readable by others, inert, resumable."""

import csv
import gc
import html
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from engine.serving.listings.columns import FLAGS, REVIEW
from engine.serving.listings.listing import Listing
from engine.serving.listings.workbook import write_workbook
from engine.serving.price_file import PriceFileResult, price_file
from engine.serving.price_file_job import FULL, PriceFileSettings, ReviewSettings
from engine.serving.review.writing import SUMMARY
from engine.serving.shard_pricer import ShardPricer
from engine.serving.shards import parts_of, rejects_of
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused, UsageError

HEADER = ("sku", "title", "price", "sold", "cost", "least", "most", "category")
RULES = {"floor": "column:least", "ceiling": "column:most", "cost": "column:cost", "margin": 20.0, "ending": (".99",)}
ROWS = (
    ("a", "Green tea, 20 bags", "5.00", "10", "1.00", "", "", "Tea"),
    ("b", "Green tea, 40 bags", "5000", "10", "", "", "", "Tea"),
    ("c", "Utility rope, 100 feet", "call us", "3", "", "", "", "Tools"),
    ("d", "Olive oil, 16.9 fl oz", "", "3", "", "", "", "=1+1"),
    ("=e", '=HYPERLINK("x") coffee <b>12 oz</b>', "0.02", "7", "", "", "", "Tea"),
    ("f", "", "4.00", "1", "", "", "", ""),
    ("g", "Smoky hazelnut coffee, 12 oz", "9.00", "many", "n/a?", "", "", "Coffee"),
    ("h", "Smoky hazelnut coffee, 10 oz", "9.00", "1", "EUR 4", "", "", "Coffee"),
    ("i", "Lemon soap, 4 oz", "9.00", "1", "", "12", "10", "Soap"),
    ("j", "Lemon soap, 8 oz", "9.00", "2", "", "100.5", "", "Soap"),
)


@pytest.fixture(scope="session")
def price_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *ROWS])
    return path


def review(
    items: Path, out: Path, index: Path, rules: dict[str, Any] = RULES, weight: str | None = "sold", **more: Any
) -> PriceFileResult:
    overwrite = more.pop("overwrite", False)
    settings = PriceFileSettings(rules=tuple(rules.items()), review=ReviewSettings(weight), **{"shard_rows": 4} | more)
    return price_file(items, out, index, settings, overwrite=overwrite)


@pytest.fixture(scope="session")
def reviewed(price_list: Path, shop: Any) -> dict[str, PriceFileResult]:
    """The list as each kind of file."""
    kinds = ("xlsx", "csv", "parquet", "html")
    return {kind: review(price_list, price_list.parent / f"r.{kind}", shop.index) for kind in kinds}


@pytest.fixture
def rows(reviewed: dict[str, PriceFileResult]) -> dict[str, dict[str, Any]]:
    """Rows by id, as Parquet has them, in its order."""
    return {row["sku"]: row for row in pq.read_table(reviewed["parquet"].output).to_pylist()}


def test_two_readers_find_every_row_with_numbers_as_numbers(
    reviewed: dict[str, PriceFileResult], rows: dict[str, dict[str, Any]]
) -> None:
    path = reviewed["xlsx"].output
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Review", "Columns", "Summary"] == CalamineWorkbook.from_path(path).sheet_names
    sheet = book["Review"]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:AA11")
    by_one = list(sheet.iter_rows(min_row=2))
    by_other = CalamineWorkbook.from_path(path).get_sheet_by_name("Review").to_python()
    assert by_other[0] == [column.heading for column in REVIEW] == [cell.value for cell in sheet[1]]
    assert len(by_one) == len(rows) == len(by_other) - 1
    for cells, plain, row in zip(by_one, by_other[1:], rows.values(), strict=True):
        for column, cell, other, value in zip(REVIEW, cells, plain, row.values(), strict=True):
            assert cell.data_type != "f"
            assert (cell.value or "") == (other or "") == (value or "") if column.is_text else True
            if value is not None and not column.is_text:
                assert isinstance(cell.value, int | float) and cell.value == other == pytest.approx(value, rel=1e-15)
    money = sheet.cell(2, [column.name for column in REVIEW].index("price_to_set") + 1)
    assert money.number_format == '#,##0.00 "USD"'
    flags = {sheet.cell(row, 3).value: sheet.cell(row, 3).fill.fgColor.rgb for row in range(2, sheet.max_row + 1)}
    assert len(set(flags.values())) == len(flags) >= 3
    assert {row[0].value for row in book["Columns"].iter_rows(min_row=2)} == {column.heading for column in REVIEW}


def test_all_kinds_of_file_hold_the_same(reviewed: dict[str, PriceFileResult], rows: dict[str, dict[str, Any]]) -> None:
    with reviewed["csv"].output.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["sku"].removeprefix("'") for line in lines] == list(rows)
    for line, row in zip(lines, rows.values(), strict=True):
        for name, value in row.items():
            if isinstance(value, float):
                assert float(line[name]) == pytest.approx(value, abs=1e-6)
    page = reviewed["html"].output.read_text(encoding="utf-8")
    assert page.count("<tr data-flag=") == len(rows)
    assert html.escape(rows["=e"]["name"]) in page and "&quot;" in html.escape(rows["=e"]["name"])
    assert "<script" not in page and "default-src 'none'" in page


def test_what_a_browser_would_run_is_text(shop: Any, tmp_path: Path) -> None:
    """In an id, in a category, and in a note on a cell that is no number."""
    of_id, of_cost, of_category = (f"<script>alert({number})</script>" for number in (1, 2, 3))
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, (of_id, "Green tea", "5.00", "10", of_cost, "", "", of_category)])
    review(tmp_path / "list.csv", tmp_path / "r.html", shop.index, {"cost": "column:cost"})
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for script, times in ((of_id, 1), (of_cost, 1), (of_category, 2)):  # a category stands in the summary, too
        assert page.count(html.escape(script)) == times and script not in page
    assert "<script" not in page


def test_what_a_spreadsheet_would_run_is_inert(
    reviewed: dict[str, PriceFileResult], rows: dict[str, dict[str, Any]]
) -> None:
    assert rows["=e"]["name"].startswith("=HYPERLINK") and rows["d"]["category"] == "=1+1"
    text = reviewed["csv"].output.read_text(encoding="utf-8")
    assert "'=e" in text and "'=1+1" in text and not re.search(r'(^|,)"?=', text, re.MULTILINE)


def test_rows_are_sorted_by_what_is_at_stake_and_the_unsure_come_last(rows: dict[str, dict[str, Any]]) -> None:
    last = {"unsure": 1, "no price": 2}
    keys = [(last.get(row["flag"], 0), -(row["at_stake"] or 0)) for row in rows.values()]
    assert keys == sorted(keys)
    assert next(iter(rows)) == "b" and rows["b"]["flag"] == "too high" and rows["=e"]["flag"] == "too low"
    b = rows["b"]
    assert b["at_stake"] == pytest.approx(10 * (5000 - b["suggested_price"]))
    assert b["difference_percent"] == pytest.approx(100 * (b["suggested_price"] / 5000 - 1))


def test_a_suggestion_is_that_of_predict_to_the_last_digit(
    price_list: Path, rows: dict[str, dict[str, Any]], shop: Any, tmp_path: Path
) -> None:
    price_file(price_list, tmp_path / "p.parquet", shop.index, PriceFileSettings(output=FULL, shard_rows=4))
    for predicted in pq.read_table(tmp_path / "p.parquet").to_pylist():
        row = rows[predicted["sku"]]
        assert (row["suggested_price"], row["low"], row["high"]) == tuple(
            predicted[n] for n in ("price", "low", "high")
        )
        assert (row["per_unit"] or 0) == pytest.approx(predicted["per_unit"] or 0)


def test_a_cell_that_cannot_be_read_marks_its_row_and_loses_nothing(rows: dict[str, dict[str, Any]]) -> None:
    notes = {item: row["note"] for item, row in rows.items()}
    assert rows["c"]["flag"] == rows["d"]["flag"] == "no price"
    assert "call us" in notes["c"] and notes["d"] == "no price"
    assert rows["c"]["suggested_price"] > 0
    assert (rows["f"]["flag"], rows["f"]["current_price"], rows["f"]["suggested_price"]) == ("unsure", 4.0, None)
    assert notes["f"].startswith("no text")
    assert "sold: no number: many" in notes["g"] and "cost: " in notes["g"] and rows["g"]["price_to_set"] is None
    assert "cost: in EUR, and the index is in USD: EUR 4" in notes["h"] and rows["h"]["price_to_set"] is None
    assert notes["i"] == "the floor 12 lies above the ceiling 10" and rows["i"]["price_to_set"] is None


def test_rules_are_kept_row_by_row(rows: dict[str, dict[str, Any]]) -> None:
    assert (rows["j"]["price_to_set"], rows["j"]["bound_by"]) == (100.99, "floor, ending")
    assert all(math.isclose(row["price_to_set"] % 1, 0.99) for row in rows.values() if row["price_to_set"])


def test_the_summary_counts_every_row(reviewed: dict[str, PriceFileResult], rows: dict[str, dict[str, Any]]) -> None:
    summary = reviewed["xlsx"].to_json()
    flags = [row["flag"] for row in rows.values()]
    assert summary["flags"] == {flag: flags.count(flag) for flag in FLAGS} and summary["rows"] == len(ROWS)
    assert sum(group["rows"] for group in summary["groups"]) == len(ROWS)
    assert {group["category"] for group in summary["groups"]} == {"Tea", "Tools", "=1+1", "(none)", "Coffee", "Soap"}
    at_stake = sum(row["at_stake"] for row in rows.values() if row["flag"] == "too high" and row["at_stake"])
    assert summary["at_stake"]["too high"] == pytest.approx(at_stake)
    sheet = openpyxl.load_workbook(reviewed["xlsx"].output)["Summary"]
    assert [cell.value for cell in sheet[sheet.max_row]][:2] == ["All", len(ROWS)]
    assert rejects_of(reviewed["csv"].output).read_text(encoding="utf-8").count("\n") == 2  # its header, and f


def test_a_review_that_was_stopped_goes_on_to_the_same_file(
    price_list: Path, reviewed: dict[str, PriceFileResult], shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, price = tmp_path / "r.xlsx", ShardPricer.price

    def dies(self: ShardPricer, shard: int) -> Any:
        if shard == 1:
            raise KeyboardInterrupt
        return price(self, shard)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ShardPricer, "price", dies)
        review(price_list, out, shop.index)
    (parts_of(out) / "scratch").mkdir()  # as a writer leaves it that was killed
    with pytest.raises(UsageError, match="unfinished job with another setting"):
        review(price_list, out, shop.index, rules={})
    done = review(price_list, out, shop.index)
    assert done.resumed == 4 and not parts_of(out).exists()
    assert out.read_bytes() == reviewed["xlsx"].output.read_bytes()


def listing(count: int) -> Listing:
    def batches() -> Iterator[pa.Table]:
        for row in range(count):
            cells = {column.name: [f"{row}"] if column.is_text else [float(row)] for column in REVIEW}
            yield pa.table({**cells, "flag": ["fine"]})

    return Listing("Review", "sku", REVIEW, count, batches, "JPY", SUMMARY, [])


def test_more_rows_than_a_sheet_holds_go_on_further_sheets(tmp_path: Path) -> None:
    write_workbook(tmp_path / "many.xlsx", listing(7), tmp_path / "scratch", most_rows=3)
    book = openpyxl.load_workbook(tmp_path / "many.xlsx")
    assert book.sheetnames == ["Review", "Review 2", "Review 3", "Columns", "Summary"]
    assert [
        cell for name in book.sheetnames[:3] for (cell,) in book[name].iter_rows(2, max_col=1, values_only=True)
    ] == [str(row) for row in range(7)]
    assert book["Review 3"].auto_filter.ref == "A1:AA2" and book["Review"]["D2"].number_format == '#,##0 "JPY"'
    write_workbook(tmp_path / "none.xlsx", listing(0), tmp_path / "scratch")
    assert openpyxl.load_workbook(tmp_path / "none.xlsx")["Review"].max_row == 1
    assert not (tmp_path / "scratch").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # XlsxWriter leaves its files open
def test_a_workbook_that_the_disk_refuses_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write_workbook(tmp_path / "nowhere" / "r.xlsx", listing(1), tmp_path / "scratch")
    gc.collect()  # what is left open is told here, and not in the next test
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    ("text", "rules", "why"),
    [
        ("sku,title\n1,Tea\n", {}, "has no column 'price' for the price"),
        ("sku,title,price\n1,Tea,EUR 3\n2,Rope,EUR 4\n", {}, "are in EUR and the index's in USD"),
        ("sku,title,price\n1,Tea,3\n", {"floor": "column:leest"}, "has no column 'leest'"),
    ],
)
def test_a_list_that_cannot_be_reviewed_is_refused(
    text: str, rules: dict[str, Any], why: str, shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataRefused, match=why):
        review(tmp_path / "list.csv", tmp_path / "r.csv", shop.index, rules, None)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_an_output_that_cannot_be_is_refused(price_list: Path, shop: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.xlsx or \.csv or \.parquet or \.html"):
        review(price_list, tmp_path / "r.ods", shop.index)
    with pytest.raises(UsageError, match="cannot be written"):
        review(price_list, tmp_path / "nowhere" / "r.xlsx", shop.index)


def test_a_price_in_another_currency_is_converted_and_a_bare_cost_beside_it_is_not(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("code,rate\nUSD,1\nEUR,0.5\n", encoding="utf-8")
    text = "sku,title,price,cost\n1,Green tea,EUR 3,4\n2,Rope,USD 4,USD 3\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    review(
        tmp_path / "list.csv",
        tmp_path / "r.parquet",
        shop.index,
        {"cost": "column:cost"},
        None,
        reading=ReadSettings(rates=str(tmp_path / "rates.csv")),
    )
    rows = {row["sku"]: row for row in pq.read_table(tmp_path / "r.parquet").to_pylist()}
    assert rows["1"]["current_price"] == 1.5 and rows["2"]["current_price"] == 4
    assert "cost: states no currency, and the file has several: 4" in rows["1"]["note"] and rows["2"]["note"] == ""


def test_an_id_column_of_any_name_is_taken(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("unit,title,price\n1,Green tea,3\n", encoding="utf-8")
    reading = ReadSettings(id="unit")
    review(tmp_path / "list.csv", tmp_path / "r.csv", shop.index, {}, None, reading=reading)
    assert (tmp_path / "r.csv").read_text(encoding="utf-8").startswith("item_id,name,flag")


def test_a_list_is_summed_up_by_a_category_in_the_language_of_its_shop(shop: Any, tmp_path: Path) -> None:
    text = "sku,title,price,Warengruppe\n1,Green tea,3,Tee\n2,Utility rope,4,Seile\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    done = review(tmp_path / "list.csv", tmp_path / "r.csv", shop.index, {}, None)
    assert {group["category"] for group in done.summary["groups"]} == {"Tee", "Seile"}
