"""`price inspect`: claims about what it shows, writes and refuses, and that a build reads what it showed."""

import csv
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.settings.read import read_settings
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import ReadSettings

Price = Callable[..., Any]

STOCK = (
    "Artikelnr;Bezeichnung;Größe;Marke;Gewicht kg;Bild;Preis;Lager\n"
    + "".join(
        f"0{n:03};Tee Nr {n};{n % 5 + 1}0 Beutel;M{n % 3};0,{n % 7 + 1};https://x/{n}.jpg;1.{n:03},50 €;{n}\n"
        for n in range(1, 60)
    )
    + "0060;Öl;;M1;;;auf Anfrage;3\nNEUHEITEN;;;;;;;\n0061;Kerze;;M1;;;gratis;3\n0001;Tee;;M1;;;5,00 €;3\n"
)
SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Image Position,"
    "Variant Image,Variant Weight Unit\n"
    'tea,Tea,"<p>Loose\nleaf</p>",Acme,Size,20 Bags,T-20,4.99,https://x/a.jpg,1,https://x/v.jpg,lb\n'
    "tea,,,,,50 Bags,,12.99,https://x/b.jpg,2,,lb\nwax,Wax,,Acme,Title,Default Title,W,0.00,,,,lb\n"
)


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    path = tmp_path / "stock list.csv"
    path.write_text(STOCK, encoding="utf-8")
    return path


def json_of(price: Price, *arguments: object) -> Any:
    answer = price("inspect", *arguments, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_json_says_what_a_file_holds(price: Price, stock: Path) -> None:
    found = json_of(price, stock)
    assert list(found)[:6] == ["format", "rows", "items", "rejected", "passed_over", "currency"]
    assert (found["format"], found["rows"], found["items"]) == ("CSV (semicolon)", 63, 59)
    assert found["rejected"] == {"price is on request": 1, "price is free": 1, "an id seen before": 1}
    assert found["passed_over"] == {"the heading of a section": 1} and found["currency"] == "EUR"
    assert found["columns"] == {
        "id": "Artikelnr",
        "image": "Bild",
        "price": "Preis",
        "text": ["Bezeichnung"],
        "option": ["Größe"],
        "category": ["Marke"],
        "number": ["Gewicht kg"],
    }
    assert found["price"] == pytest.approx({"low": 1001.5, "median": 1030.5, "high": 1059.5})
    assert found["with_photograph"] == 59 and found["command"] == shlex.join(["price", "build-index", str(stock)])
    assert found["rows"] == found["items"] + sum(found["rejected"].values()) + sum(found["passed_over"].values())


def test_a_person_sees_columns_with_reasons_examples_counts_and_the_next_command(price: Price, stock: Path) -> None:
    answer = price("inspect", stock, "--id-column", "Artikelnr")
    assert answer.code == 0
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[:2] == ["stock list.csv: CSV (semicolon)", "63 rows, 59 items"]
    assert "id Artikelnr (named)" in lines and "price Preis (its heading)" in lines
    assert "number Gewicht kg (its values)" in lines and "option Größe (its heading)" in lines
    assert "1,001.50 0001 Tee Nr 1, 20 Beutel" in lines and "1,059.50 0059 Tee Nr 59, 50 Beutel" in lines
    assert "1 the heading of a section" in lines and "1 price is on request" in lines
    assert "line 61 in 'Preis': price is on request: auf Anfrage" in lines
    assert lines[-1] == f"Next: price build-index '{stock}' --id-column Artikelnr"
    assert "Gr" not in answer.err  # progress alone


def items_of(read: Catalogue) -> dict[str, list[Any]]:
    return {**read.items.to_pydict(), "money": read.prices.to_pylist()}


@pytest.mark.parametrize("content", [STOCK, SHOPIFY], ids=["a spreadsheet", "a shop"])
def test_the_settings_written_read_the_same_items(price: Price, tmp_path: Path, content: str) -> None:
    path, toml = tmp_path / "file.csv", tmp_path / "price.toml"
    path.write_text(content, encoding="utf-8")
    assert price("inspect", path, "--toml", toml).code == 0
    settings = read_settings(toml)
    as_found = read_catalogue(path, ReadSettings(), priced=True)
    as_written = read_catalogue(path, settings.catalogue, priced=True)
    assert items_of(as_written) == items_of(as_found)
    assert settings.currency == as_found.reading.currency


def test_the_settings_written_keep_what_the_user_said(price: Price, stock: Path, tmp_path: Path) -> None:
    toml = tmp_path / "price.toml"
    options = ("--text-column", "Marke, Bezeichnung", "--ignore-column", "Lager", "--number-column", "Gewicht kg")
    assert price("inspect", stock, *options, "--toml", toml, "--currency", "EUR").code == 0
    settings = read_settings(toml).catalogue
    assert settings.text == ("Marke", "Bezeichnung") and settings.ignore == ("Lager",)
    assert settings.number == ("Gewicht kg",) and settings.id == "Artikelnr"


def test_a_column_with_a_comma_in_its_name_can_be_named(price: Price, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text('id,"Name, long",Size,price\n1,Tea,20 Bags,2\n2,Oil,1 l,3\n')
    found = json_of(price, path, "--text-column", '"Name, long",Size')
    assert found["columns"]["text"] == ["Name, long", "Size"]
    words = shlex.split(found["command"])
    assert words[words.index("--text-column") + 1] == '"Name, long",Size'


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_items_are_written_as_read(price: Price, tmp_path: Path, suffix: str) -> None:
    path, out = tmp_path / "shop.csv", tmp_path / f"items{suffix}"
    path.write_text(SHOPIFY + 'oil,"Oil, ""extra""",,Acme,,,00012,0.1,,,,lb\n', encoding="utf-8")
    assert price("inspect", path, "-o", out).code == 0
    if suffix == ".csv":
        with out.open(newline="", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        rows = [{**row, "price": float(row["price"]), "image": row["image"] or None} for row in rows]
    else:
        rows = pq.read_table(out).to_pylist()
    assert [list(row)[:5] for row in rows] == [["item_id", "text", "image", "price", "currency"]] * 3
    names = ("item_id", "text", "image", "price", "currency", "Vendor")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("T-20", "Tea, 20 Bags\nLoose leaf", "https://x/v.jpg", 4.99, "USD", "Acme"),
        ("tea:50 Bags", "Tea, 50 Bags\nLoose leaf", "https://x/v.jpg", 12.99, "USD", "Acme"),
        ("00012", 'Oil, "extra"', None, 0.1, "USD", "Acme"),
    ]


def test_what_was_written_is_read_again_as_the_same_items(price: Price, stock: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.csv"
    assert price("inspect", stock, "-o", out).code == 0
    first, again = (read_catalogue(path, ReadSettings(), priced=True) for path in (stock, out))
    for name in ("item_id", "text", "image", "log_price"):
        assert again.items[name].to_pylist() == first.items[name].to_pylist()
    assert again.reading.currency == "EUR"


def test_a_file_without_prices_is_shown_and_ends_with_the_command_that_prices_it(price: Price, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("sku,title\n1,Tea\n2,Oil\n")
    found = json_of(price, path)
    assert found["price"] is None and found["items"] == 2
    assert found["command"] == f"price predict {path} --output prices.csv"
    assert "no price" in price("inspect", path).out


# Warnings


def rows(*prices: str, text: str = "Tea {n} of {n} oz") -> str:
    return "sku,title,photo,price\n" + "".join(
        f"{n},{text.format(n=n)},https://x/{n}.jpg,{price}\n" for n, price in enumerate(prices, 1)
    )


def _warned() -> Iterator[tuple[str, str, str]]:
    prices = [f"${10 + n % 9}.50" for n in range(60)]
    yield "variants", rows(*prices, text="Tea"), "1 text stands at different prices: is a column missing"
    yield "amounts", rows(*prices, text="Tea {n}"), "0% of the texts state an amount."
    yield "zeros", rows(*prices, "$0", "$0.00"), "2 rows are rejected with: price is not positive."
    yield "no prices yet", rows(*prices, "", ""), "2 rows are rejected with: no price."
    yield "most rejected", rows(*prices[:3], *["call us"] * 5), "5 of 8 rows are rejected, 5 of them with: price is"
    yield "no currency", rows("1", "2"), "The file does not say its currency"
    yield (
        "photographs",
        "sku,title,photo,price\n1,Tea 2 oz,,$1\n2,Oil 2 oz,,$2\n3,Wax 2 oz,x.jpg,$3\n",
        ("2 of 3 items name no photograph in 'photo'."),
    )
    yield "ids", "sku,title,price\n,Tea 2 oz,$1\n2,Oil 2 oz,$2\n", "1 item is without an id in 'sku'"
    doubled = "sku,title,price\n1,Tea 2 oz,$1\n1,Tea 4 oz,$2\n"
    yield "parents' ids", doubled, "1 row is rejected with: an id seen before. Is it the id of an article"


@pytest.mark.parametrize(("content", "warning"), [case[1:] for case in _warned()], ids=[case[0] for case in _warned()])
def test_what_looks_wrong_is_warned_of(price: Price, tmp_path: Path, content: str, warning: str) -> None:
    path = tmp_path / "stock.csv"
    path.write_text(content)
    assert any(line.startswith(warning) for line in json_of(price, path)["warnings"])


def test_nothing_is_warned_of_where_all_is_well(price: Price, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text(rows(*(f"${n}.50" for n in range(10, 60))))
    assert json_of(price, path)["warnings"] == []


def test_lost_rows_are_warned_of_before_lost_words_and_these_before_the_rest(price: Price, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text(rows("1", "2", "3", "x", "y", "z", "0", text="Tea"))
    found = [line.split()[0] for line in json_of(price, path)["warnings"]]
    assert found == ["4", "1", "1", "0%", "The"]


# Refusals


def _refused() -> Iterator[tuple[str, tuple[str, ...], int, str]]:
    """Yield a file, options, the exit code and words of the sentence."""
    good = "sku,title,price\n1,Tea,2\n"
    yield "", (), 3, "is empty"
    yield "sku,title,price\n", (), 3, "has a header and no rows"
    yield "a,b,c\n1,2,3\n", (), 3, "has no column 'catalog_content' for the text"
    yield "sku,title,price\n1,Tea,x\n", (), 3, "no usable row"
    yield "sku,title,price\n1,Tea,$2\n2,Oil,€3\n", (), 3, "--rates"
    yield "sku,title,price\n1,Tea,$2\n", ("--currency", "EUR"), 3, "USD"
    yield good, ("--price-column", "prise"), 3, "did you mean 'price'?"
    yield good, ("-o", "items.txt"), 2, "must end in .csv or .parquet"
    yield good, ("-o", "there.csv"), 2, "is there already"
    yield good, ("--toml", "there.csv"), 2, "is there already"
    yield good, ("-o", "file.csv", "--overwrite"), 2, "is the file that is read"


@pytest.mark.parametrize("case", list(_refused()), ids=lambda case: case[3])
def test_a_file_or_an_option_that_cannot_be_is_refused_in_a_sentence(
    price: Price, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, tuple[str, ...], int, str]
) -> None:
    content, options, code, words = case
    monkeypatch.chdir(tmp_path)
    Path("file.csv").write_text(content)
    Path("there.csv").write_text("mine")
    answer = price("inspect", "file.csv", *options)
    assert answer.code == code and words in answer.err.splitlines()[-1] and not answer.out
    assert Path("there.csv").read_text() == "mine" and Path("file.csv").read_text() == content


def test_files_are_replaced_where_that_is_meant(price: Price, stock: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.csv"
    out.write_text("old")
    assert price("inspect", stock, "-o", out, "--overwrite").code == 0
    assert out.read_text(encoding="utf-8").startswith('"item_id","text","image","price","currency"')
