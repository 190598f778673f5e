"""Claims about dates: each column has one order of day and month, every date is read whole or rejected by name."""

import datetime as dt
from collections import Counter

import pytest

from index.catalogue.dates import DateEvidence, decide_dates

TODAY = dt.date(2026, 6, 15)


def outcome(cells: list[str]) -> list[str]:
    """What a column makes of its cells: ISO dates, or the reason without the cell that it shows."""
    convention = decide_dates(cells, TODAY)
    read = []
    for cell in cells:
        try:
            read.append(convention.read(cell).isoformat())
        except ValueError as refusal:
            read.append(str(refusal).removesuffix(f": {cell}"))
    return read


@pytest.mark.parametrize(
    ("cell", "date"),
    [
        ("2026-03-01", "2026-03-01"),
        ("2026/3/1", "2026-03-01"),
        ("2026.03.01", "2026-03-01"),
        ("20260301", "2026-03-01"),
        ("20260301T080000Z", "2026-03-01"),
        ("2026-03", "2026-03-01"),
        ("2019", "2019-01-01"),
        ("2026-03-01T08:00:00Z", "2026-03-01"),
        ("2026-03-01T08:00:00.000+00:00", "2026-03-01"),
        ("2026-03-01 08:00:00 PST", "2026-03-01"),
        ("2026-03-01 23:59:59.123456 -0800", "2026-03-01"),
        ("2026-03-01 08:00", "2026-03-01"),
        ("2026年3月1日", "2026-03-01"),
        ("２０２６年３月", "2026-03-01"),
        ("١/٣/٢٠٢٦ 8:00", "2026-01-03"),
        ("31.12.2025", "2025-12-31"),
        ("31.12.25", "2025-12-31"),
        ("12/31/2025", "2025-12-31"),
        ("31-12-2025 08:00:00", "2025-12-31"),
        ("3/1/26, 8:00 AM", "2026-03-01"),
        ("12/31/99", "1999-12-31"),
        ("1 Mar 2026", "2026-03-01"),
        ("1 March 2026", "2026-03-01"),
        ("March 1, 2026", "2026-03-01"),
        ("Mar. 1st, 2026 8:00 pm", "2026-03-01"),
        ("01-Mar-26", "2026-03-01"),
        ("01MAR2026", "2026-03-01"),
        ("Sun, 01 Mar 2026 08:00:00 GMT", "2026-03-01"),
        ("1. März 2026", "2026-03-01"),
        ("1er février 2026", "2026-02-01"),
        ("1 de marzo de 2026", "2026-03-01"),
        ("Mar 2026", "2026-03-01"),
        ("1488464896", "2017-03-02"),
        ("1488464896.25", "2017-03-02"),
        ("1488464896000", "2017-03-02"),
        ("1488464896000000", "2017-03-02"),
        ("1488464896000000000", "2017-03-02"),
        ("999999999", "2001-09-09"),
        ("2026-06-15", "2026-06-15"),
        ("2026-06-16", "date has not come yet"),
        ("2027", "date has not come yet"),
        ("4102444800", "date has not come yet"),
        ("2026-02-30", "date is not in the calendar"),
        ("2026-13-01", "date is not in the calendar"),
        ("13/13/2025", "date is not in the calendar"),
        ("0000-00-00", "date is not in the calendar"),
        ("1899-12-31", "date is before 1900"),
        ("0001-01-01", "date is before 1900"),
        ("yesterday", "date is not read"),
        ("spring 2026", "date is not read"),
        ("2026-03-01/2026-04-01", "date is not read"),
        ("2026-03/01", "date is not read"),
        ("12:30", "date is not read"),
        ("1", "date is not read"),
        ("45352", "date is not read"),
        ("9" * 1000, f"date is not read: {'9' * 79}…"),
        ("n/a", "date is not read"),
        ("", "no date"),
        (" ", "no date"),
    ],
)
def test_a_date_is_read_whole_or_rejected_by_name(cell: str, date: str) -> None:
    assert outcome([cell]) == [date]


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["1/3/2026", "31/1/2026"], ["2026-03-01", "2026-01-31"]),
        (["1/3/2026", "1/31/2026"], ["2026-01-03", "2026-01-31"]),
        (["01-03-26", "31-12-25"], ["2026-03-01", "2025-12-31"]),
        (["1/3/2026", "7/1/2026", "5/1/2026"], ["2026-03-01", "2026-01-07", "2026-01-05"]),  # July has not come yet
        (["1/31/2026", "2/28/2026", "31/1/2026"], ["2026-01-31", "2026-02-28", "date is not in the calendar"]),
        (["1.3.2026", "2.3.2026"], ["2026-03-01", "2026-03-02"]),
        (["1/3/2026", "2/3/2026"], ["2026-01-03", "2026-02-03"]),
        (["1.3.2026 8:00 pm"], ["2026-01-03"]),
        (["3/3/2026"], ["2026-03-03"]),
    ],
)
def test_day_and_month_stand_in_the_order_that_the_column_shows(cells: list[str], dates: list[str]) -> None:
    assert outcome(cells) == dates


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["2026-03-01", "31.1.2026", "1.3.2026"], ""),
        (["3/3/2026"], ""),
        (
            ["1/3/2026", "2/3/2026"],
            "2 dates such as 1/3/2026 are read as 2026-01-03, because America puts the month first: "
            "write 2026-01-03 to be sure.",
        ),
        (
            ["1.3.2026"],
            "The date 1.3.2026 is read as 2026-03-01, because most of the world puts the day first: "
            "write 2026-03-01 to be sure.",
        ),
        (
            ["1/31/2026", "2/28/2026", "31/1/2026"],
            "The date 31/1/2026 is not read, because 2 are written as 1/31/2026.",
        ),
    ],
)
def test_an_order_that_is_ambiguous_is_decided_and_noted(cells: list[str], note: str) -> None:
    assert decide_dates(cells, TODAY).note == note


@pytest.mark.parametrize(
    "pattern", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%m-%d-%Y %H:%M", "%Y-%m-%d", "%d %b %Y", "%Y%m%d"]
)
def test_every_day_of_years_is_read_back(pattern: str) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days) for days in range(0, 880, 3)]
    cells = [day.strftime(pattern) for day in days]
    convention = decide_dates(cells, TODAY)
    assert [convention.read(cell) for cell in cells] == days


def test_batches_of_cells_decide_as_the_whole_column_does() -> None:
    cells = ["1/3/2026", "31/1/2026", "2026-03-01", "x", "1/31/2026", "2/3/2026"]
    batches = DateEvidence(TODAY)
    for cell in cells:
        batches.add({cell: 2})
    assert batches.decide() == decide_dates(Counter(cells * 2), TODAY)


def test_without_a_day_given_today_has_come_and_the_day_after_tomorrow_has_not() -> None:
    today = dt.date.today()
    convention = decide_dates([])
    assert convention.read(today.isoformat()) == today
    with pytest.raises(ValueError, match="has not come yet"):
        convention.read((today + dt.timedelta(3)).isoformat())
