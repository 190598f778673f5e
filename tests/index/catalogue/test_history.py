"""Prices with dates: claims about which of several prices of an id is the item's."""

import datetime as dt
import json
from pathlib import Path

import pytest

from index.catalogue.inspection import items_as_read
from index.catalogue.items import AFTER_AS_OF, OLDER_PRICE, Catalogue, read_catalogue
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused

NAMED = ReadSettings(date="when")


def read(
    tmp_path: Path, *rows: str, heading: str = "when", settings: ReadSettings = NAMED, as_of: dt.date | None = None
) -> Catalogue:
    path = tmp_path / "history.csv"
    path.write_text("\n".join((f"sku,title,price,{heading}", *rows)) + "\n")
    return read_catalogue(path, settings, priced=True, as_of=as_of)


def prices_of(catalogue: Catalogue) -> dict[str, float]:
    return dict(zip(catalogue.items["item_id"].to_pylist(), catalogue.prices.to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("rows", "price"),
    [
        (("1,Tea,2,2019-05-01", "1,Tea,3,2024-05-01"), 3),
        (("1,Tea,3,2024-05-01", "1,Tea,2,2019-05-01"), 3),
        (("1,Tea,2,31.12.2019", "1,Tea,3,01.02.2024", "1,Tea,4,05.01.2024"), 3),
        (("1,Tea,2,2024-05-01", "1,Tea,3,2024-05-01"), 3),  # of one day the later line
        (("1,Tea,3,2024-05-01", "1,Tea,2,"), 3),  # without a date it is older than all
        (("1,Tea,2,", "1,Tea,3,2024-05-01"), 3),
    ],
)
def test_the_newest_price_of_an_id_is_the_items(tmp_path: Path, rows: tuple[str, ...], price: float) -> None:
    found = read(tmp_path, *rows, "2,Oil,9,2001-01-01")
    assert prices_of(found) == {"1": price, "2": 9}
    assert found.passed_over == {OLDER_PRICE: len(rows) - 1} and not found.rejects


def test_a_date_is_found_by_its_heading(tmp_path: Path) -> None:
    rows = ("1,Tea,2,2019-05-01", "1,Tea,3,2024-05-01")
    assert prices_of(read(tmp_path, *rows, heading="date", settings=ReadSettings())) == {"1": 3}


def test_a_date_that_has_not_come_or_is_none_is_a_reject_where_its_column_was_named(tmp_path: Path) -> None:
    found = read(tmp_path, "1,Tea,2,2024-05-01", "1,Tea,9,2990-01-01", "2,Oil,3,soon", "3,Wax,4,")
    assert prices_of(found) == {"1": 2, "3": 4}
    assert [(reject.line, reject.column, reject.reason) for reject in found.rejects] == [
        (3, "when", "date has not come yet: 2990-01-01"),
        (4, "when", "date is not read: soon"),
    ]


def test_it_counts_as_no_date_and_is_told_where_its_column_was_found(tmp_path: Path) -> None:
    rows = ("1,Tea,2,2024-05-01", "1,Tea,9,2990-01-01", "2,Oil,3,2991-01-01")
    found = read(tmp_path, *rows, heading="date", settings=ReadSettings())
    assert prices_of(found) == {"1": 2, "2": 3} and found.passed_over == {OLDER_PRICE: 1} and not found.rejects
    assert "In 2 rows the date has not come yet, such as 2990-01-01: these count as no date." in found.notes


def test_an_id_that_comes_twice_without_dates_is_a_reject_as_ever(tmp_path: Path) -> None:
    found = read(tmp_path, "1,Tea,2,", "1,Tea,3,", settings=ReadSettings(), heading="note")
    assert prices_of(found) == {"1": 2} and found.rejected == {"an id seen before": 1}


def test_the_newest_price_stands_even_where_it_cannot_be_used(tmp_path: Path) -> None:
    found = read(tmp_path, "1,Tea,2,2019-05-01", "1,Tea,on request,2024-05-01", "2,Oil,3,2024-05-01")
    assert prices_of(found) == {"2": 3}
    assert found.rejected == {"price is on request": 1} and found.passed_over == {OLDER_PRICE: 1}


def test_an_item_has_the_date_of_its_price_or_none(tmp_path: Path) -> None:
    rows = ("1,Tea,2,01.05.2019", "1,Tea,3,13.05.2024", "2,Oil,9,", "3,Wax,4,soon")
    found = read(tmp_path, *rows, heading="date", settings=ReadSettings())
    assert found.items["date"].to_pylist() == [dt.date(2024, 5, 13), None, None]
    assert items_as_read(found)["date"].to_pylist() == found.items["date"].to_pylist()


def test_a_file_without_dates_is_written_without_them(tmp_path: Path) -> None:
    assert (
        "date" not in items_as_read(read(tmp_path, "1,Tea,2,x", heading="note", settings=ReadSettings())).column_names
    )


def test_prices_after_as_of_are_passed_over_by_name_and_the_newest_before_it_is_the_items(tmp_path: Path) -> None:
    rows = ("1,Tea,2,2019-05-01", "1,Tea,3,2024-05-01", "1,Tea,4,2024-05-02", "2,Oil,9,2024-05-03", "3,Wax,5,")
    found = read(tmp_path, *rows, "4,Rye,free,2023-01-01", as_of=dt.date(2024, 5, 1))
    assert prices_of(found) == {"1": 3, "3": 5}
    assert found.passed_over == {OLDER_PRICE: 1, AFTER_AS_OF: 2} and found.rejected == {"price is free": 1}
    assert found.items.num_rows + len(found.rejects) + found.passed_over.total() == len(rows) + 1
    assert any("2 of 'a price after as-of'" in note for note in found.reading_notes)


def test_a_file_of_later_prices_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"has no item: all 2 rows are a price after as-of"):
        read(tmp_path, "1,Tea,2,2024-05-01", "2,Oil,3,2024-06-01", as_of=dt.date(2024, 4, 30))


def test_the_newest_price_is_found_in_json_without_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    days = ("2026-01-01", "2026-02-01", "2025-12-01")
    entries = [{"sku": "1", "title": "Tea", "price": str(n), "date": day} for n, day in enumerate(days, 2)]
    path.write_text(json.dumps(entries))
    found = read_catalogue(path, ReadSettings(), priced=True)
    assert prices_of(found) == {"1": 3} and found.passed_over == {OLDER_PRICE: 2}


def test_prices_as_of_a_day_are_converted_by_the_rates_of_that_day(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("code,rate,date\nEUR,1.10,2024-04-01\nEUR,1.50,2024-06-01\n")
    settings = ReadSettings(currency="USD", rates=str(rates))
    rows = ("1,Tea,€10,2024-04-15",)
    assert prices_of(read(tmp_path, *rows, heading="date", settings=settings)) == {"1": pytest.approx(15)}
    of_then = read(tmp_path, *rows, heading="date", settings=settings, as_of=dt.date(2024, 5, 1))
    assert prices_of(of_then) == {"1": pytest.approx(11)}
