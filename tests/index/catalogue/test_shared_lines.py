"""Claims about first lines that many items share: they name nothing, and what the prices do not follow is left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from index.catalogue import shared_lines
from index.catalogue.fields import details, name_first, parse_fields, parse_prose
from index.catalogue.item_table import make_items
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import FOUND, IndexColumns
from index.catalogue.shared_lines import SharedLines, find_shared_lines

BANNER, KEY = "Free  Delivery from 50", "free delivery from 50"
SHARED = frozenset((KEY,))
KINDS = ("kettle", "carpet", "hammer", "teapot", "pillow", "basket", "candle", "mirror", "ladder", "bucket")
ROWS = 120


def named(row: int) -> str:
    return f"Large {KINDS[row % 10]} of {KINDS[row // 10 % 10]}s, {row + 1} cm"


def with_line(line: str, rows: int = ROWS, every: int = 2) -> list[str]:
    return [f"{line}\n{named(row)}" if row % every == 0 else named(row) for row in range(rows)]


def made(texts: Sequence[str], prices: Sequence[float] | None = None) -> pa.Table:
    return make_items([str(row) for row in range(len(texts))], texts, [None] * len(texts), prices)


def at_random(rows: int = ROWS) -> list[float]:
    return np.exp(np.random.default_rng(0).normal(3, 0.5, rows)).tolist()


def written(path: Path, texts: Sequence[str], prices: Sequence[float]) -> Path:
    rows = [f'{row},"{text}",{price:.2f}' for row, (text, price) in enumerate(zip(texts, prices, strict=True))]
    path.write_text("\n".join(["sample_id,catalog_content,price", *rows]), encoding="utf-8")
    return path


def read(path: Path, index: IndexColumns | None = None) -> Catalogue:
    return read_catalogue(path, FOUND, priced=True, index=index)


@pytest.mark.parametrize(
    ("text", "without", "below"),
    [
        ("Acme\nTea\nGood.", "Tea\nGood.", "Tea\nAcme\nGood."),
        ("Acme\nNew\nTea\nGood.", "New\nTea\nGood.", "New\nTea\nAcme\nGood."),
        ("Brand: B\nAcme\nTea", "Brand: B\nTea", "Brand: B\nTea\nAcme"),
        ("ACME\r\nTitle: Tea\r\nSize: 1 kg", "Title: Tea\nSize: 1 kg", "Title: Tea\nACME\nSize: 1 kg"),
        ("\nAcme\n\nOnly today\nTea", "\n\nTea", "\n\nTea\nAcme\nOnly today"),
        ("For you:\nAcme\nTea", "Tea", "Tea\nFor you:\nAcme"),
        ("For you: \nTea\nGood:\nIt is.", "Tea\nGood:\nIt is.", "Tea\nFor you: \nGood:\nIt is."),
        ("Acme\nTea\nValue: 3\nUnit: kg", "Tea\nValue: 3\nUnit: kg", "Tea\nAcme\nValue: 3\nUnit: kg"),
    ],
)
def test_a_name_comes_before_the_shared_lines_or_these_are_left_out(text: str, without: str, below: str) -> None:
    shared = frozenset(("acme", "only today"))
    for expected, kept in ((without, False), (below, True)):
        assert name_first(text, shared, kept=kept) == expected
        assert name_first(expected, shared, kept=kept) == expected  # again
        assert parse_fields(expected).name == parse_fields(text, shared).name == "Tea"


@pytest.mark.parametrize("text", ["Acme", "Acme\nBrand: B", "Acme\nItem Name: Tea", "Tea\nAcme", "", "\n", "Acme\n"])
def test_a_text_without_a_name_below_a_shared_line_stays_as_it_is(text: str) -> None:
    for kept in (False, True):
        assert name_first(text, frozenset(("acme",)), kept=kept) == text


def test_a_line_that_the_prices_do_not_follow_is_left_out_of_texts_names_and_amounts() -> None:
    texts = with_line("Free 30 ml sample")
    items = made(texts, at_random())
    shared = find_shared_lines(items)
    assert shared == SharedLines(frozenset(("free 30 ml sample",)), kept=False)
    assert shared.applied(items).equals(made([named(row) for row in range(ROWS)], at_random()))


def test_a_line_that_the_prices_follow_is_kept_below_the_name_and_says_no_amount() -> None:
    texts = with_line("Free 30 ml sample")
    items = made(texts, [40.0 + row if row % 2 else 10.0 + row for row in range(ROWS)])
    shared = find_shared_lines(items)
    assert shared == SharedLines(frozenset(("free 30 ml sample",)), kept=True)
    applied, clean = shared.applied(items), made([named(row) for row in range(ROWS)])
    assert applied["text"][:2].to_pylist() == [f"{named(0)}\nFree 30 ml sample", named(1)]
    assert all(applied[name].equals(clean[name]) for name in ("name", "amount", "unit", "pack"))
    assert details(applied["text"][0].as_py()).startswith(named(0))
    assert parse_prose(applied["text"][0].as_py()).description == "Free 30 ml sample"


def test_brands_above_the_name_are_kept_since_prices_follow_them() -> None:
    brands = [f"{maker} and sons" for maker in ("Acme", "Bogusta", "Corvo", "Dulmar", "Ebbing")]
    texts = [f"{brands[row * 7 % 5]}\n{named(row)}" for row in range(ROWS)]
    prices = [price * (1 + row * 7 % 5) for row, price in enumerate(at_random())]
    shared = find_shared_lines(made(texts, prices))
    assert shared == SharedLines(frozenset(brand.lower() for brand in brands), kept=True)


def test_without_prices_every_line_is_kept_below_the_name() -> None:
    assert find_shared_lines(made(with_line(BANNER))) == SharedLines(SHARED, kept=True)


def test_a_line_that_all_texts_begin_with_or_among_equal_prices_is_left_out() -> None:
    for items in (made(with_line(BANNER, every=1), at_random()), made(with_line(BANNER), [5.0] * ROWS)):
        assert find_shared_lines(items) == SharedLines(SHARED, kept=False)


def test_the_lines_of_a_file_join_those_of_an_index_and_are_treated_alike() -> None:
    items = made(with_line(BANNER), at_random())
    for kept in (False, True):
        known = SharedLines(frozenset(("only today",)), kept)
        assert find_shared_lines(items, known) == SharedLines(SHARED | {"only today"}, kept)
    alone = made([f"{BANNER}\n{named(0)}"])
    assert find_shared_lines(alone, SharedLines(SHARED)).applied(alone)["text"].to_pylist() == [named(0)]
    assert find_shared_lines(alone) == SharedLines()


def test_a_line_above_the_name_that_ends_in_a_colon_is_left_out_however_few_have_it() -> None:
    texts = [
        named(0),
        f"Our listing of the day:\n{named(1)}",
        f"今日のおすすめ：\r\n{named(2)}\r\nSize: 3",
        "For the desk:",
    ]
    clean = [named(0), named(1), f"{named(2)}\nSize: 3", "For the desk:"]
    assert SharedLines().applied(made(texts)).equals(made(clean))
    assert SharedLines(SHARED, kept=True).applied(made(texts[:2]))["text"][1].as_py() == (
        f"{named(1)}\nOur listing of the day:"
    )


def test_of_a_large_catalogue_items_from_all_over_it_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lines, "LOOKED_AT", 50)
    texts = [*[named(row) for row in range(ROWS)], *with_line(BANNER, every=1)]
    assert find_shared_lines(made(texts, at_random(2 * ROWS))).lines == SHARED


def test_a_file_with_a_banner_is_read_as_the_file_without_it_and_says_so(tmp_path: Path) -> None:
    prices = at_random()
    clean = read(written(tmp_path / "clean.csv", [named(row) for row in range(ROWS)], prices))
    found = read(written(tmp_path / "banner.csv", with_line(BANNER), prices))
    assert found.items.equals(clean.items) and found.shared.lines == SHARED
    assert found.notes[-1] == f"Many different texts begin with '{KEY}': that is no name, and is left out."
    assert found.reading_notes[-1] == found.notes[-1]
    assert clean.shared == SharedLines() and not any("Many different" in note for note in clean.notes)


def test_for_an_index_a_file_is_read_by_its_lines_which_need_no_note(tmp_path: Path) -> None:
    index = IndexColumns(FOUND, shared=SharedLines(SHARED))
    few = read(written(tmp_path / "few.csv", [f"{BANNER}\n{named(0)}", named(1)], [3, 4]), index)
    assert few.items["text"].to_pylist() == [named(0), named(1)]
    assert few.shared.lines == SHARED and not any("Many different" in note for note in few.notes)
    many = read(written(tmp_path / "many.csv", with_line(f"Only today\n{BANNER}"), at_random()), index)
    assert many.items["text"].to_pylist() == [named(row) for row in range(ROWS)]
    assert many.notes[-1] == "Many different texts begin with 'only today': that is no name, and is left out."


def test_shared_lines_of_several_are_noted_by_one_and_their_number() -> None:
    assert shared_lines.notes_on({"a", "b", "c"}, kept=True) == (
        "Many different texts begin with 'a' or 2 more such lines: that is no name.",
    )
