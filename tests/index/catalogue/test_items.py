"""Rows of a file that are items: claims about what is kept, rejected (and why), and refused as a whole."""

import csv
import math
import os
import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.catalogue.formats import compression, records
from index.catalogue.formats.records import Record
from index.catalogue.item_table import ITEMS, make_items
from index.catalogue.items import (
    CELL_LIMIT,
    Catalogue,
    Item,
    ItemReader,
    Reject,
    read_catalogue,
    reading_notes,
    write_rejects,
)
from index.catalogue.money.totals import TOTAL
from index.catalogue.reading import understand
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused

HEADER = "sample_id,catalog_content,image_link,price"
GOOD = "1,Acme Tea 12 oz,http://x/1.jpg,4.50"


def read(
    tmp_path: Path, content: str | bytes, settings: ReadSettings | None = None, *, priced: bool = True
) -> Catalogue:
    path = tmp_path / "catalogue.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_catalogue(path, settings or ReadSettings(), priced=priced)


def read_lines(tmp_path: Path, *lines: str, priced: bool = True) -> Catalogue:
    return read(tmp_path, "\n".join((HEADER, *lines)) + "\n", priced=priced)


def refusal(tmp_path: Path, content: str | bytes, settings: ReadSettings | None = None) -> str:
    with pytest.raises(DataRefused) as caught:
        read(tmp_path, content, settings)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is kept


def test_a_row_becomes_an_item_of_the_schema(tmp_path: Path) -> None:
    text = "Item Name: Acme Tea, 12 Ounce (Pack of 6)\nValue: 72.0\nUnit: Ounce\n"
    catalogue = read(tmp_path, f'{HEADER}\n7,"{text}",http://x/7.jpg,4.5\n')
    assert catalogue.rejects == []
    assert catalogue.items.schema.equals(ITEMS)
    [item] = catalogue.items.to_pylist()
    assert item == {
        "item_id": "7",
        "text": text,
        "name": "Acme Tea, 12 Ounce (Pack of 6)",
        "image": "http://x/7.jpg",
        "log_price": pytest.approx(math.log(4.5)),
        "amount": pytest.approx(72 * 28.349523125),
        "unit": "gram",
        "pack": 6,
        "parent": None,
        "date": None,
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_one_that_shows_the_columns(tmp_path: Path, delimiter: str) -> None:
    lines = [["price", "a, b; c", "catalog_content", "sample_id"], ["2", "x", "Acme, soft; 3 oz", "1"]]
    path = tmp_path / "any.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    [item] = read_catalogue(path, ReadSettings(), priced=True).items.to_pylist()
    assert (item["item_id"], item["text"], item["image"]) == ("1", "Acme, soft; 3 oz", None)


def test_a_byte_order_mark_blank_lines_and_padded_headers_are_accepted(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + f"\n{HEADER.replace(',', ' , ')}\r\n\r\n{GOOD}\r\n\r\n".encode()
    catalogue = read(tmp_path, content)
    assert catalogue.items["item_id"].to_pylist() == ["1"] and not catalogue.rejects


def test_named_columns_are_read_and_a_missing_default_image_column_is_all_null(tmp_path: Path) -> None:
    settings = ReadSettings(id="sku", text=("title",), price="cost")
    catalogue = read(tmp_path, "cost,title,sku,other\n2.5,Acme Tea,a-1,zzz\n", settings)
    [item] = catalogue.items.to_pylist()
    assert (item["item_id"], item["text"], item["image"]) == ("a-1", "Acme Tea", None)


def test_more_rows_than_a_batch_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "BLOCK", 100)
    reported: list[tuple[str, int, int | None]] = []
    path = tmp_path / "many.csv"
    path.write_text(HEADER + "".join(f"\n{n},Acme {n},,{n + 1}" for n in range(50)))
    catalogue = read_catalogue(path, ReadSettings(), priced=True, on_progress=lambda *args: reported.append(args))
    assert catalogue.items["item_id"].to_pylist() == [str(n) for n in range(50)]
    assert len(reported) > 5 and reported[-1] == ("reading", 50, None)


def test_a_batch_ends_early_where_cells_are_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH_CHARACTERS", 100)
    batches = records.in_batches(Record(n, ("soap " * 30, None), "") for n in range(3))
    assert [len(batch) for batch in batches] == [1, 1, 1]


# What is rejected


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("2,Acme,,", "price", "no price"),
        ("2,Acme,,  ", "price", "no price"),
        ("2,Acme,,free", "price", "price is free: free"),
        ("2,Acme,,1_000", "price", "price is not a plain number: 1_000"),
        ("2,Acme,,0", "price", "price is not positive: 0"),
        ("2,Acme,,-4.5", "price", "price is not positive: -4.5"),
        ("2,Acme,,nan", "price", "price is not finite: nan"),
        ("2,Acme,,-INF", "price", "price is not finite: -INF"),
        ("2,Acme,,1e39", "price", "price is beyond 1e-06 to 1e+12: 1e39"),
        ("2,Acme,,1e999", "price", "price is beyond 1e-06 to 1e+12: 1e999"),
        ("2,Acme,,1e-20", "price", "price is beyond 1e-06 to 1e+12: 1e-20"),
        ("2,,http://x/2.jpg,3", "catalog_content", "no text"),
        ("2,   ,,3", "catalog_content", "no text"),
        ("1,Acme again,,3", "sample_id", "an id seen before"),
        (" 1 ,Acme again,,3", "sample_id", "an id seen before"),
        ("2,Ac\0me,,3", "catalog_content", "a NUL byte"),
        ("2,Acme,a\0b,3", "image_link", "a NUL byte"),
        ("2,Acme", "price", "no price"),
        ("2,Acme,,3,x", "", "5 cells where the header has 4"),
        ('2,"Acme" tea, soft,,3', "", "a misplaced quote"),
        (f"2,{'x' * (CELL_LIMIT + 1)},,3", "catalog_content", f"a cell over {CELL_LIMIT} characters: {CELL_LIMIT + 1}"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_column_and_reason(
    tmp_path: Path, row: str, column: str, reason: str
) -> None:
    catalogue = read_lines(tmp_path, GOOD, row, "3,Acme Soap,,1")
    assert catalogue.items["item_id"].to_pylist() == ["1", "3"]
    [reject] = catalogue.rejects
    assert (reject.line, reject.column, reject.reason) == (3, column, reason)
    assert reject.item_id == ("" if reason == "a misplaced quote" else row.partition(",")[0].strip())


@pytest.mark.parametrize(
    ("row", "item_id", "price"),
    [("2,Acme,,$5", "2", 5), ('2,Acme,,"1,299"', "2", 1299), (",Acme,,3", "line-3", 3), ("'02,Acme,,3", "02", 3)],
)
def test_a_row_as_people_write_it_is_an_item(tmp_path: Path, row: str, item_id: str, price: float) -> None:
    catalogue = read_lines(tmp_path, GOOD, row, "3,Acme Soap,,1")
    assert catalogue.items["item_id"].to_pylist() == ["1", item_id, "3"]
    assert catalogue.prices.to_pylist() == [4.5, price, 1] and not catalogue.rejects


def test_an_id_that_is_missing_is_made_of_the_line_and_said_so(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, GOOD, ",Acme,,3", "  ,Acme,,3", "line-3,Acme,,2")
    assert catalogue.items["item_id"].to_pylist() == ["1", "line-3", "line-4"]
    assert [(reject.line, reject.reason) for reject in catalogue.rejects] == [(5, "an id seen before")]
    assert catalogue.notes[-1] == "2 items have no id: they are named by their line, as in line-3."
    assert catalogue.made_ids == ("line-3", "line-4")


def test_the_first_item_that_is_named_by_its_line_is_told_as_the_example(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("\n".join((HEADER, GOOD, "2,Acme,,3", ",Acme,,3")))
    reader = ItemReader(reading := understand(path, ReadSettings(), priced=False), priced=False, unique=False)
    for batch in reading.batches():
        reader.read(batch)
    notes = reading_notes(reading, reader.passed_over, reader.unnamed, reader.first_made)
    assert notes[-1] == "1 item has no id: it is named by its line, as line-4."


TOTALLED = [f"{number},Tea {number} oz,,{number}.25" for number in range(1, 7)]


def test_the_row_that_sums_up_a_price_list_is_no_item(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, *TOTALLED, ",Total,,22.50", ",Prices without obligation,,")
    assert catalogue.items["item_id"].to_pylist() == ["1", "2", "3", "4", "5", "6"]
    assert catalogue.passed_over == {TOTAL: 1, "the heading of a section": 1}


@pytest.mark.parametrize(
    "last",
    [",Total,,22.70", ",Set of all,,1.25"],
    ids=["a sum that does not add up", "a price that another has too"],
)
def test_a_last_row_whose_price_is_no_sum_of_the_others_is_an_item(tmp_path: Path, last: str) -> None:
    assert read_lines(tmp_path, *TOTALLED, last).items.num_rows == 7


def test_a_set_of_few_items_at_the_price_of_all_is_an_item(tmp_path: Path) -> None:
    assert read_lines(tmp_path, *TOTALLED[:4], "set,Four teas,,11").items.num_rows == 5


def test_an_id_that_looks_like_a_line_is_an_id(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, "line-2,Acme,,3", ",Acme,,3")
    assert (catalogue.unnamed, catalogue.made_ids) == (1, ("line-3",))


def test_of_two_rows_with_one_id_the_first_usable_one_stays(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, "1,bad,,", "1,first,,1", "1,second,,2")
    assert catalogue.items["text"].to_pylist() == ["first"]
    assert [reject.line for reject in catalogue.rejects] == [2, 4]


def test_a_text_of_exactly_the_limit_is_kept(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, f"1,{'x' * CELL_LIMIT},,3")
    assert catalogue.items.num_rows == 1


def test_a_ten_megabyte_cell_is_one_reject(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, GOOD, f'2,"{"soap " * 2_000_000}",,3', "3,Acme,,1")
    assert catalogue.items["item_id"].to_pylist() == ["1", "3"]
    assert [reject.line for reject in catalogue.rejects] == [3]


def test_a_reject_names_the_physical_line_where_its_row_starts(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, '1,"Acme\nTea\r\nlast",,2', "", "2,Acme,,", '3,"a\nb",,', "4,Acme,,1")
    assert [(reject.line, reject.item_id) for reject in catalogue.rejects] == [(6, "2"), (7, "3")]


def test_a_stray_quote_cannot_hide_a_row_inside_another(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, '1,"Acme pan,,9.99', '2,"Acme pot",,8.99', "3,Acme,,1")
    assert catalogue.items["text"].to_pylist() == ['"Acme pan', "Acme pot", "Acme"]
    assert catalogue.rejects == []


def test_a_last_row_cut_short_is_rejected_with_the_lines_it_took(tmp_path: Path) -> None:
    catalogue = read(tmp_path, f'{HEADER}\n{GOOD}\n2,"Acme\nsoft\nwar')
    assert catalogue.rejects == [Reject(3, "", "", "a quote that is never closed (lines 3 to 5: is a quote missing?)")]


def test_a_stray_byte_rejects_its_row_alone(tmp_path: Path) -> None:
    lines = [f"{n},Acme {n},,1".encode() for n in range(200)]
    lines[5] = b"5,caf\xe9,,1"
    catalogue = read(tmp_path, b"\n".join((HEADER.encode(), *lines)))
    assert catalogue.items.num_rows == 199
    assert catalogue.rejects == [Reject(7, "5", "", "not UTF-8")]


def test_a_row_is_an_item_a_reject_or_passed_over_and_never_vanishes(tmp_path: Path) -> None:
    """Rows made of a mixture of good and bad cells: what is read is kept, rejected or passed over by name."""
    source = random.Random(0)  # noqa: S311
    ids = ["", "1", "2", "3", "4\0"]
    cells = (
        ids,
        ["", "Acme", "a\0", '"two\nlines"', '"a ""b"""'],
        ["", "http://x"],
        ["", "1", "-1", "nan", "x", "1,5"],
    )
    for _ in range(30):
        lines = [GOOD.replace("1,", "good,", 1)]
        lines += [",".join(source.choice(choices) for choices in cells) for _ in range(source.randrange(1, 40))]
        catalogue = read_lines(tmp_path, *lines)
        filled = [line for line in lines if line.replace('""', "").strip(",")]
        assert catalogue.items.num_rows + len(catalogue.rejects) + catalogue.passed_over.total() == len(filled)
        assert set(catalogue.passed_over) <= {"the heading of a section"}
        single = [line for line in filled if len([cell for cell in next(csv.reader([line])) if cell.strip()]) == 1]
        assert catalogue.passed_over.total() <= len(single)
        kept = catalogue.items["item_id"].to_pylist()
        assert len(set(kept)) == len(kept)


def test_items_to_be_priced_need_text_or_photograph_and_no_price(tmp_path: Path) -> None:
    rows = ("1,Acme,,", "2,,http://x/2.jpg,free", "3,,,5", "4,Acme,,5", "5,Acme,,-5")
    catalogue = read_lines(tmp_path, *rows, priced=False)
    assert catalogue.items["item_id"].to_pylist() == ["1", "2", "4", "5"]
    assert catalogue.items["log_price"].to_pylist() == [None, None, pytest.approx(math.log(5)), None]
    assert catalogue.rejects == [Reject(4, "3", "catalog_content", "no text and no photograph")]
    assert read(tmp_path, "sample_id,catalog_content\n1,Acme\n", priced=False).items.num_rows == 1


# What is refused as a whole


def test_a_path_that_holds_no_catalogue_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "nowhere.csv", "does not exist"),
        (tmp_path, "is a folder without a .parquet file"),
        (pipe, "is not a regular file"),
        (tmp_path / ("x" * 400), "cannot be read"),
    ):
        with pytest.raises(DataRefused, match=words):
            read_catalogue(path, ReadSettings(), priced=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \n", "is empty"),
        (HEADER.encode(), "has a header and no rows"),
        (f"{HEADER}\n\n".encode(), "has a header and no rows"),
        ("\xa0\n\u200b \n".encode(), "is empty"),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16")[:-1], "is damaged UTF-16 text"),
        (f"{HEADER}\n1,\xd1\xf2\xee\xeb,,2\n".encode("latin-1"), "is not UTF-8: 1 of 1 rows are not. Save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text"),
        (b"PK\x03\x04rest", "is a damaged workbook or zip file"),
        (b"\x1f\x8brest", "is a damaged gzip file"),
        (b"PAR1 and no more", "damaged Parquet file: write it again"),
        (b'"sample_id,catalog_content', "no readable header (a quote that is never closed"),
        (f"{HEADER},price\n{GOOD},1\n".encode(), "more than one column 'price'"),
        (f"{HEADER}\n1,Acme,,\n2,Acme,,x\n3,Acme,,y\n".encode(), "2 of them with: price is not a plain number"),
        (f"{HEADER}\n{'1,Acme,,' * 3_000_000}".encode(), "has over 16000000 characters"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, content)


def test_an_unclosed_quote_takes_no_row_but_its_own(tmp_path: Path) -> None:
    rest = "\n".join(f"{n},Acme {n},,1" for n in range(3, 200))
    catalogue = read(tmp_path, f'{HEADER}\n{GOOD}\n2,"Acme,,1\n{rest}')
    assert catalogue.items["item_id"].to_pylist() == [str(n) for n in range(1, 200)]
    assert catalogue.items["text"][1].as_py() == '"Acme' and not catalogue.rejects


@pytest.mark.parametrize(
    ("settings", "header", "words"),
    [
        (
            ReadSettings(),
            "sample_id,catalog_content,image_link,prise",
            "'price' for the price, nor one that looks like it: did you mean 'prise'?",
        ),
        (ReadSettings(id="skuu"), "sku,catalog_content,image_link,price", "'skuu' for the id: did you mean 'sku'?"),
        (ReadSettings(text=("Titel",)), "sample_id,Title,image_link,price", "for the text: did you mean 'Title'?"),
        (ReadSettings(price="cots"), "sample_id,catalog_content,image_link,cost", "did you mean 'cost'?"),
        (ReadSettings(image="photo"), "sample_id,catalog_content,photos,price", "did you mean 'photos'?"),
        (ReadSettings(), "a,b,c,d", "for the price, nor one that looks like it. Its columns are: a, b, c, d."),
    ],
)
def test_a_wrong_column_is_refused_with_the_nearest_right_one(
    tmp_path: Path, settings: ReadSettings, header: str, words: str
) -> None:
    message = refusal(tmp_path, f"{header}\n{GOOD}\n", settings)
    assert words in message
    assert "-column." in message


@pytest.mark.parametrize(
    "header",
    ["Sample_ID,Catalog-Content,Image Link,PRICE", "sku,Title,photo,Price (EUR)", "Artikelnr,Titel,Bild,Preis"],
)
def test_a_column_is_found_by_its_heading_however_it_is_written(tmp_path: Path, header: str) -> None:
    [item] = read(tmp_path, f"{header}\n{GOOD}\n").items.to_pylist()
    assert (item["item_id"], item["text"], item["image"]) == ("1", "Acme Tea 12 oz", "http://x/1.jpg")
    assert item["log_price"] == pytest.approx(math.log(4.5))


def test_a_file_without_a_column_of_ids_has_its_items_named_by_their_lines(tmp_path: Path) -> None:
    catalogue = read(tmp_path, "title,price\nAcme Tea,4\nAcme Soap,5\n")
    assert catalogue.items["item_id"].to_pylist() == ["line-2", "line-3"]
    assert "2 items have no id" in catalogue.notes[-1]


# Parquet


def write_parquet(tmp_path: Path, **columns: pa.Array | list[object]) -> Path:
    path = tmp_path / "catalogue.bin"  # told by its bytes, not by its name
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_gives_the_items_and_rejects_that_csv_gives(tmp_path: Path) -> None:
    rows = [("1", "Acme Tea 12 oz", "http://x", "4.5"), ("2", "", None, "3"), ("3", "Soap", None, None)]
    rows += [("1", "Soap", None, "1"), ("4", "So\0ap", None, "1"), ("5", "Soap", None, "nan")]
    columns = dict(zip(HEADER.split(","), map(list, zip(*rows, strict=True)), strict=True))
    from_parquet = read_catalogue(write_parquet(tmp_path, **columns), ReadSettings(), priced=True)
    from_csv = read_lines(tmp_path, *(",".join(cell or "" for cell in row) for row in rows))
    assert from_parquet.items.equals(from_csv.items)
    assert [(r.line + 1, r.column, r.reason) for r in from_parquet.rejects] == [
        (r.line, r.column, r.reason) for r in from_csv.rejects
    ]


def test_parquet_columns_of_numbers_and_dictionaries_are_read_as_text(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path,
        sample_id=pa.array([12.0, 13.0, None]),
        catalog_content=pa.array(["Acme", "Soap", "Acme"]).dictionary_encode(),
        price=pa.array([Decimal("1.50"), Decimal("2.00"), None]),
    )
    catalogue = read_catalogue(path, ReadSettings(), priced=True)
    assert catalogue.items["item_id"].to_pylist() == ["12", "13"]
    assert catalogue.items["log_price"].to_pylist() == pytest.approx([math.log(1.5), math.log(2)])
    assert not catalogue.rejects and catalogue.passed_over == {"the heading of a section": 1}


def test_a_parquet_column_of_lists_of_lists_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, sample_id=[1], catalog_content=[[["a"], ["b"]]], price=[1.0])
    with pytest.raises(DataRefused, match=r"'catalog_content' holds list<.*>, which is neither text nor numbers"):
        read_catalogue(path, ReadSettings(), priced=True)


def test_a_parquet_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, sample_id=[1], catalog_content=pa.array([b"caf\xe9"]), price=[1.0])
    with pytest.raises(DataRefused, match="damaged Parquet"):
        read_catalogue(path, ReadSettings(), priced=True)


def test_a_damaged_parquet_file_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    ids = [str(n) for n in range(50)]
    path = write_parquet(tmp_path, sample_id=ids, catalog_content=["Acme"] * 50, price=[1.0] * 50)
    whole = path.read_bytes()
    source = random.Random(0)  # noqa: S311
    refused = 0
    for _ in range(60):
        broken = bytearray(whole[: source.choice([len(whole), len(whole), source.randrange(4, len(whole))])])
        broken[source.randrange(4, len(broken))] ^= 1 << source.randrange(8)
        path.write_bytes(broken)
        try:
            read_catalogue(path, ReadSettings(), priced=True)
        except DataRefused:
            refused += 1
    assert refused > 20


def test_rejects_are_counted_by_what_their_reasons_have_in_common(tmp_path: Path) -> None:
    catalogue = read_lines(tmp_path, GOOD, "2,Acme,,free", "3,Acme,,dear", "4,,,1", "1,Acme,,2", "5", "6,Acme,,1,1")
    assert catalogue.rejected == {
        "price is free": 1,
        "price is not a plain number": 1,
        "no text": 1,
        "an id seen before": 1,
        "5 cells where the header has 4": 1,
    }
    assert catalogue.passed_over == {"the heading of a section": 1}


def test_a_reader_returns_what_it_read_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text(f'{HEADER}\n1,Acme,a.jpg,"4,50"\n')
    row = Record(2, (" 1 ", " Acme ", " a.jpg ", " 4,50 "), "")
    for priced in (True, False):
        reader = ItemReader(understand(path, ReadSettings(), priced=priced), priced=priced, unique=True)
        assert reader.validate(row) == Item("1", " Acme ", "a.jpg", 4.5, "", None, (), ())
    unpriced = reader.validate(Record(3, ("2", "Acme", None, "free"), ""))
    assert unpriced == Item("2", "Acme", "", None, "", None, (), ())
    assert reader.validate(row) == Reject(2, "1", "sample_id", "an id seen before")
    assert reader.validate(Record(4, (None, "Drinks", None, None), "")) is None
    assert reader.passed_over == {"the heading of a section": 1} and reader.rows == 4


# Items without a file, and the rejects' own file


def test_items_are_made_from_columns_for_a_query() -> None:
    items = make_items(["a", "b"], ["Acme Tea 2 kg", ""], [None, "photo.jpg"])
    assert items.schema.equals(ITEMS)
    assert items["amount"].to_pylist() == [2000.0, None]
    assert items["image"].to_pylist() == [None, "photo.jpg"]
    assert items["log_price"].to_pylist() == [None, None]
    assert make_items([], [], []).num_rows == 0


def test_prices_given_with_columns_are_money_and_must_be_positive() -> None:
    assert make_items(["a"], ["x"], [None], [2.0])["log_price"].to_pylist() == [pytest.approx(math.log(2))]
    for price in (0.0, -1.0, math.nan, math.inf, 1e39):
        with pytest.raises(DataRefused, match="item 'a' has the price"):
            make_items(["a"], ["x"], [None], [price])


def test_a_text_that_no_file_could_hold_is_refused() -> None:
    with pytest.raises(DataRefused, match="not Unicode"):
        make_items(["a"], ["caf\udce9"], [None])


def test_rejects_are_written_so_that_all_of_them_shows_and_a_spreadsheet_runs_none(tmp_path: Path) -> None:
    rejects = [
        Reject(2, "=cmd|' /C calc'!A0", "", "no id"),
        Reject(3, "+1", "@col", "-x"),
        Reject(4, 'a,"b"', "p", "r"),
        Reject(5, "\x1b[2J\u202e", "\u200bp", "\t=1"),
    ]
    path = tmp_path / "rejects.csv"
    path.write_text("old")
    write_rejects(rejects, path)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["line", "item_id", "column", "reason"],
            ["2", "'=cmd|' /C calc'!A0", "", "no id"],
            ["3", "'+1", "'@col", "'-x"],
            ["4", 'a,"b"', "p", "r"],
            ["5", r"\x1b[2J\u202e", r"\u200bp", "' =1"],
        ]
    assert [file.name for file in tmp_path.iterdir()] == ["rejects.csv"]


def test_rejects_of_undecoded_and_endless_ids_can_be_written(tmp_path: Path) -> None:
    long_id = "x" * 5_000
    content = b"\n".join([HEADER.encode(), *(f"{n},Acme,,1".encode() for n in range(300)), b"\xe9\0,Acme,,1"])
    catalogue = read(tmp_path, content + f"\n{long_id},Acme,,\n".encode())
    assert [len(reject.item_id) for reject in catalogue.rejects] == [len(r"\udce9\x00"), 80]
    write_rejects(catalogue.rejects, tmp_path / "rejects.csv")
    assert len((tmp_path / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 3
