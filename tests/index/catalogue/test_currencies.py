"""Claims about codes and marks of currencies, the one currency of an index, and rates of exchange."""

import datetime as dt
from pathlib import Path

import pytest

from index.catalogue.money.currencies import CODES, MARKS, choose_code, codes_of, read_currency
from index.catalogue.money.rates import SIZE_LIMIT, Rates, one_currency
from index.errors import DataRefused

RATES = "code,rate\nEUR,1.08\nJPY,0.0064\n"


def read(tmp_path: Path, content: str | bytes, as_of: dt.date | None = None) -> Rates:
    path = tmp_path / "rates.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Rates.read(path, as_of)


def test_every_mark_stands_for_codes_in_use_and_is_written_as_it_is_looked_up() -> None:
    assert {code for codes in MARKS.values() for code in codes} - CODES == {"?"}
    assert [mark for mark in MARKS if mark != mark.lower() or " " in mark] == []


@pytest.mark.parametrize(
    ("mark", "code"),
    [
        ("USD", "USD"), ("usd", "USD"), ("€", "EUR"), ("Euro", "EUR"), ("US $", "USD"), ("USD $", "USD"),
        ("$ CAD", "CAD"), ("Rs.", "INR"), ("zł", "PLN"), ("kr", None), ("TRY", "TRY"), ("$", "USD"),
    ],
)  # fmt: skip
def test_a_mark_is_known_in_its_usual_spellings(mark: str, code: str | None) -> None:
    assert choose_code(codes_of(mark), ()) == code


@pytest.mark.parametrize("mark", ["", "try", "XYZ", "EUR $", "each", "x" * 1000, "?", "XAU"])
def test_what_is_no_mark_stands_for_nothing(mark: str) -> None:
    assert codes_of(mark) == ()


def test_a_currency_column_is_read_cell_by_cell() -> None:
    assert [read_currency(cell) for cell in ("USD", " eur ", "£", "", None)] == ["USD", "EUR", "GBP", None, None]
    assert read_currency("$", {"CAD"}) == "CAD"
    assert read_currency("kr", {"DKK"}) == "DKK"
    assert [read_currency(cell) for cell in ("n/a", "-", "None", "NaN", "#N/A")] == [None] * 5


@pytest.mark.parametrize(
    ("cell", "reason"), [("XYZ", "currency is not known: XYZ"), ("kr", "currency may be SEK or NOK or DKK or ISK: kr")]
)
def test_a_cell_that_is_no_currency_is_refused_with_its_reason(cell: str, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        read_currency(cell)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("counts", "given", "currency"),
    [
        ({}, None, None),
        ({}, "EUR", "EUR"),
        ({"USD": 3}, None, "USD"),
        ({"USD": 3, "JPY": 0}, None, "USD"),
        ({"GBP": 3}, "£", "£"),
        ({"CAD": 3}, "$", "$"),
        ({}, "points", "points"),
    ],
)
def test_the_one_currency_of_the_rows_is_the_index_s(counts: dict[str, int], given: str | None, currency: str):
    assert one_currency(counts, given) == currency


def test_several_currencies_are_refused_with_their_counts() -> None:
    with pytest.raises(DataRefused, match=r"several currencies: 150 in USD, 20 in JPY\. Keep .* or convert .* --rates"):
        one_currency({"JPY": 20, "USD": 150}, None)


@pytest.mark.parametrize("given", ["EUR", "points"])
def test_a_currency_that_contradicts_the_option_is_refused(given: str) -> None:
    with pytest.raises(DataRefused, match=f"not in the {given} of --currency: 2 in USD"):
        one_currency({"USD": 2}, given)


def test_rates_convert_into_the_currency_of_the_index(tmp_path: Path) -> None:
    rates = read(tmp_path, RATES)
    counts = {"EUR": 5, "JPY": 3, "USD": 1}
    assert one_currency(counts, None, rates) == "USD"  # the only one without a line
    assert one_currency(counts, "USD", rates) == "USD"
    assert rates.factor("EUR", "USD") == 1.08
    assert rates.factor("JPY", "US$") == 0.0064
    assert rates.factor("USD", "USD") == 1
    assert rates.factor("EUR", "JPY") == pytest.approx(1.08 / 0.0064)
    assert one_currency({"EUR": 5}, None, rates) == "EUR"
    assert one_currency({}, None, rates) is None


def test_the_line_with_rate_1_names_the_currency_of_the_rates(tmp_path: Path) -> None:
    assert one_currency({"USD": 5, "EUR": 3}, None, read(tmp_path, RATES + "usd,1\n")) == "USD"


def test_rates_that_leave_open_their_currency_are_refused(tmp_path: Path) -> None:
    rates = read(tmp_path, RATES)
    with pytest.raises(DataRefused, match="5 in EUR, 3 in JPY: name with --currency the one that the rates are in"):
        one_currency({"EUR": 5, "JPY": 3}, None, rates)
    with pytest.raises(DataRefused, match=r"rates\.csv has no rate for CHF: add a line with what 1 CHF costs in USD"):
        one_currency({"EUR": 5, "CHF": 3}, "USD", rates)


def test_rates_the_wrong_way_round_are_refused_where_that_is_beyond_doubt(tmp_path: Path) -> None:
    rates = read(tmp_path, "code,rate\nJPY,157\nEUR,0.92\n")
    with pytest.raises(DataRefused, match="1 JPY costs 157 USD, which is the wrong way round"):
        rates.factor("JPY", "USD")
    assert rates.factor("EUR", "USD") == 0.92
    with pytest.raises(DataRefused, match="wrong way round"):
        read(tmp_path, "code,rate\nUSD,0.0064\n").factor("USD", "JPY")


def test_of_several_rates_the_newest_on_or_before_the_day_counts(tmp_path: Path) -> None:
    content = "Code;Rate;Date\nEUR;1,05;2024-01-01\nEUR;1,10;2025-01-01\nEUR;1,00;\nEUR;1,08;2024-06-01\n"
    assert read(tmp_path, content).factor("EUR", "USD") == 1.10
    assert read(tmp_path, content, dt.date(2024, 6, 1)).factor("EUR", "USD") == 1.08
    assert read(tmp_path, content, dt.date(2024, 5, 31)).factor("EUR", "USD") == 1.05
    assert read(tmp_path, content, dt.date(2023, 1, 1)).factor("EUR", "USD") == 1.00  # undated: older than all


@pytest.mark.parametrize(
    "content", ["\ufeffcode,rate\r\nEUR,1.08\r\n\r\n", "rate\tsource\tCODE\n1.08\tbank\teur\n", "code;rate\nEUR;1,08"]
)
def test_rates_are_read_from_any_plain_table(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content).rates == {"EUR": 1.08}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no columns code and rate"),
        ("EUR,1.08\n", "has no columns code and rate: its first line must be code,rate or code,rate,date"),
        ("code,rate\n", "has a header and no rates"),
        ("code,rate\nEURO,1\n", "line 2: 'EURO' is no currency code such as USD"),
        ("code,rate\n,1\n", "line 2: '' is no currency code"),
        ("code,rate\nEUR,0\n", "line 2: the rate '0' of EUR is no positive number"),
        ("code,rate\nEUR,-1\n", "the rate '-1' of EUR"),
        ("code,rate\nEUR,nan\n", "the rate 'nan' of EUR"),
        ("code,rate\nEUR,1e999\n", "the rate '1e999' of EUR"),
        ("code,rate\nEUR,1e-400\n", "no positive number"),
        ("code,rate\nEUR,1.299.5\n", "no positive number"),
        ("code,rate\nEUR\n", "the rate '' of EUR"),
        ("code,rate\nEUR,1\neur,2\n", "lines 2 and 3 are both rates of EUR: keep one"),
        ("code,rate,date\nEUR,1,2024-01-01\nEUR,2,2024-01-01\n", "lines 2 and 3 are both rates of EUR"),
        ("code,rate,date\nEUR,1,1.3.2024\n", "line 2: '1.3.2024' is no date: write it as 2026-03-31"),
        ("code,rate,date\nEUR,1,9999-01-01\n", "line 2: the date 9999-01-01 of EUR has not come yet"),
        (b"code,rate\nEUR,\xff\n", "is not UTF-8"),
        ("code,rate\nEUR,1\0\n", "the rate '1\\x00' of EUR is no positive number"),
        (f"code,rate\nEUR,{'1' * 200_000}\n", "rates.csv, line 2"),
    ],
)
def test_a_file_of_rates_at_fault_is_refused_in_one_sentence(tmp_path: Path, content: str | bytes, sentence: str):
    with pytest.raises(DataRefused) as refusal:
        read(tmp_path, content)
    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith(str(tmp_path / "rates.csv"))


def test_a_rate_from_after_the_day_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="no rate of EUR on or before 2024-01-01"):
        read(tmp_path, "code,rate,date\nEUR,1,2024-02-01\n", dt.date(2024, 1, 1))


def test_no_file_a_folder_and_a_huge_file_are_no_rates(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="cannot be read: No such file"):
        Rates.read(tmp_path / "none.csv")
    with pytest.raises(DataRefused, match="cannot be read: Is a directory"):
        Rates.read(tmp_path)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    with pytest.raises(DataRefused, match="is over 16 MB"):
        Rates.read(huge)
