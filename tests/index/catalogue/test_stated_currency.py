"""Claims about the currency of a file's prices: which statement of the file counts, and what contradicts it."""

from pathlib import Path

import pytest

from index.catalogue.inspection import inspect_file
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.money.stated import Places, decide_currency
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused

KR = "SEK or NOK or DKK or ISK"


def read(tmp_path: Path, content: str, *, currency: str | None = None, rates: str = "") -> Catalogue:
    (tmp_path / "rates.csv").write_text(rates)
    (tmp_path / "file.csv").write_text(content, encoding="utf-8")
    settings = ReadSettings(currency=currency, rates=str(tmp_path / "rates.csv") if rates else None)
    return read_catalogue(tmp_path / "file.csv", settings, priced=True)


def read_rows(tmp_path: Path, rows: str, *, currency: str | None = None, rates: str = "") -> Catalogue:
    """Read "price cell|currency cell" for each row."""
    lines = [f"{number},Lamp {number},{row.replace('|', ',')}" for number, row in enumerate(rows.split(), 1)]
    return read(tmp_path, "\n".join(["id,title,price,currency", *lines]), currency=currency, rates=rates)


def outcome(found: Catalogue) -> tuple[str | None, list[float | None], list[str]]:
    return found.reading.currency, found.prices.to_pylist(), [reject.reason for reject in found.rejects]


def headed(heading: str, given: str | None = None) -> tuple[str | None, str]:
    places = Places({"10.00": 3}, {}, {}, ("sku", heading), heading, "", 3)
    _, found = decide_currency(places, given)
    return found.code, " ".join(found.notes)


@pytest.mark.parametrize(
    ("rows", "currency", "prices", "rejects"),
    [
        ("12|USD 1500|GBX", "USD", [12], ["currency is not known: GBX"]),
        ("12|USD 1500|kr", "USD", [12], [f"currency may be {KR}: kr"]),
        ("12|SEK 1500|kr", "SEK", [12, 1500], []),
        ("12|CAD 1500|$", "CAD", [12, 1500], []),
        ("12|USD 13|n/a 14|- 15| 16|NaN", "USD", [12, 13, 14, 15, 16], []),
        ("free|GBX 12|EUR", "EUR", [12], ["price is free: free"]),
        ("$12|CAD 15|CAD", "CAD", [12, 15], []),
        ("£12|EGP 15|EGP", "EGP", [12, 15], []),
        ("C$12|NIO 15|NIO", "NIO", [12, 15], []),
        ("€12|EUR 15|", "EUR", [12, 15], []),
        ("99kr|USD 15|USD", "USD", [15], [f"price may be in {KR}: 99kr"]),
        ("99kr| $15|", "USD", [15], [f"price may be in {KR}: 99kr"]),
        ("99kr|kr 15|kr", None, [99, 15], []),
    ],
)  # fmt: skip
def test_a_currency_that_is_none_of_the_files_is_a_reject(
    tmp_path: Path, rows: str, currency: str | None, prices: list[float], rejects: list[str]
) -> None:
    assert outcome(read_rows(tmp_path, rows)) == (currency, prices, rejects)


def test_a_reject_for_its_currency_names_the_column_of_currencies(tmp_path: Path) -> None:
    found = read_rows(tmp_path, "12|USD 1500|GBX 99kr|USD")
    assert [(reject.line, reject.column) for reject in found.rejects] == [(3, "currency"), (4, "price")]


def test_an_inspection_asks_whether_the_column_names_currencies(tmp_path: Path) -> None:
    read_rows(tmp_path, "12|USD 1500|GBX")
    warnings = inspect_file(tmp_path / "file.csv", ReadSettings()).warnings
    assert any("currency is not known. Does the column name no currencies?" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("rows", "given", "currency", "note"),
    [
        ("12|$ 15|$", None, "USD", "$ is taken to be in USD: name another currency with --currency."),
        ("12|$ 15|$", "CAD", "CAD", ""),
        ("12|kr 15|kr", None, None, f"The currency of kr may be {KR}: name it with --currency."),
        ("12|kr 15|kr", "NOK", "NOK", ""),
        ("12|kr 15|kr", "kr", "kr", ""),
        ("12|£ 15|£", None, "GBP", ""),
    ],
)
def test_a_column_of_marks_is_read_as_prices_with_marks_are(
    tmp_path: Path, rows: str, given: str | None, currency: str | None, note: str
) -> None:
    found = read_rows(tmp_path, rows, currency=given)
    assert outcome(found) == (currency, [12, 15], [])
    assert " ".join(found.reading.stated.notes) == note


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ("€12|USD 15|USD", "by 'currency' 2 in USD, by the cells of 'price' 1 in EUR"),
        ("€12| 15|USD", "by 'currency' 1 in USD, by the cells of 'price' 1 in EUR"),
        ("$12|EUR 15|EUR", "by 'currency' 2 in EUR, by the cells of 'price' 1 in USD"),
        ("12|EUR 15|USD 16|USD", "2 in USD, 1 in EUR"),
    ],
)
def test_a_column_that_the_prices_contradict_is_refused_with_counts(tmp_path: Path, rows: str, counts: str) -> None:
    with pytest.raises(DataRefused, match=f"the prices are in several currencies: {counts}. Keep the rows in one"):
        read_rows(tmp_path, rows)


def test_with_rates_a_row_that_contradicts_itself_is_a_reject_and_others_are_converted(tmp_path: Path) -> None:
    rates = "code,rate\nEUR,2\n"
    found = read_rows(tmp_path, "€12|USD 15|USD €16| 17|EUR", rates=rates)
    assert outcome(found) == ("USD", [15, 32, 34], ["price has two currencies: €12 beside USD"])
    sales = "id,title,price,sale price\n1,Lamp,$10,€4\n2,Chair,10,€4\n3,Table,€10,€4\n"
    found = read(tmp_path, sales, currency="USD", rates=rates)
    assert outcome(found) == ("USD", [8, 8], ["price has two currencies: €4 beside $10"])


@pytest.mark.parametrize(
    ("heading", "code"),
    [
        ("Price (EUR)", "EUR"), ("Preis (€)", "EUR"), ("Preis in €", "EUR"), ("price_gbp", "GBP"), ("eur_price", "EUR"),
        ("Price in JPY", "JPY"), ("Preis EUR inkl. MwSt.", "EUR"), ("Price US$", "USD"), ("MRP (₹)", "INR"),
        ("Price (TRY)", "TRY"), ("price_try", "TRY"), ("Cena (zł)", "PLN"), ("价格（元）", "CNY"),
        ("USD ($) price", "USD"), ("price", None), ("Our price", None), ("PRICE ALL", None), ("Price per CUP", None),
        ("ALL ITEMS PRICE", None), ("Price R", None), ("Price Rs", None), ("Prix fr", None), ("Price EUR/USD", None),
        ("MSRP", None), ("Price for all", None),
    ],
)  # fmt: skip
def test_the_heading_of_the_prices_names_their_currency(heading: str, code: str | None) -> None:
    assert headed(heading) == (code, "")


def test_a_mark_of_many_currencies_in_a_heading_is_decided_and_noted() -> None:
    assert headed("Price ($)") == (
        "USD",
        "Price ($) is taken to be in USD: name another currency with --currency.",
    )
    assert headed("Price ($)", "CAD") == ("CAD", "")
    assert headed("Pris (kr)") == (None, f"The currency of Pris (kr) may be {KR}: name it with --currency.")
    assert headed("Pris (kr)", "DKK") == ("DKK", "")


def test_what_rows_state_goes_before_the_heading_which_tells_what_a_mark_is(tmp_path: Path) -> None:
    found = read(tmp_path, "id,title,Price (CAD)\n1,Lamp,$12\n")
    assert outcome(found) == ("CAD", [12], []) and found.reading.stated.notes == ()
    found = read(tmp_path, "id,title,Price (EUR),currency\n1,Lamp,12,USD\n")
    assert outcome(found) == ("USD", [12], [])
    assert found.reading.stated.notes == ("'Price (EUR)' names EUR, and the prices are in USD.",)


def test_prices_under_a_heading_with_a_currency_are_converted_from_it(tmp_path: Path) -> None:
    content = "id,title,Price (EUR)\n1,Lamp,10\n"
    assert outcome(read(tmp_path, content, currency="USD", rates="code,rate\nEUR,2\n")) == ("USD", [20], [])
    with pytest.raises(DataRefused, match="not in the USD of --currency: 1 in EUR"):
        read(tmp_path, content, currency="USD")


@pytest.mark.parametrize(
    ("formats", "given", "code", "note"),
    [
        ({"$": 3}, None, "USD", "$ is taken to be in USD: name another currency with --currency."),
        ({"$": 3}, "CAD", "CAD", ""),
        ({"$": 2, "CAD": 1}, None, "CAD", ""),
        ({"¥": 3}, "CNY", "CNY", ""),
        ({"£": 3}, None, "GBP", ""),
        ({"EUR": 3}, None, "EUR", ""),
        ({"PCS": 3}, None, None, ""),
    ],
)
def test_a_mark_in_the_formats_of_cells_is_the_currency_that_is_known(
    formats: dict[str, int], given: str | None, code: str | None, note: str
) -> None:
    _, found = decide_currency(Places({"1": 3}, {}, formats, ("price",), "price", "", 3), given)
    assert (found.code, " ".join(found.notes)) == (code, note)


def test_cells_that_are_formatted_in_several_currencies_are_refused_with_their_counts() -> None:
    places = Places({"1": 3}, {}, {"USD": 1, "EUR": 2}, ("price",), "price", "", 3)
    with pytest.raises(DataRefused, match="the cells of 'price' are formatted as 2 in EUR, 1 in USD"):
        decide_currency(places, None)
