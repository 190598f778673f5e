"""Kinds of file: claims about how a file is told, what header and records it gives, and what is refused."""

import gzip
import json
import os
import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from index.catalogue.formats import compression
from index.catalogue.formats.opening import open_source
from index.catalogue.formats.records import NOT_UTF8, Record, Source
from index.errors import DataRefused

FILES = Path(__file__).parent / "files"
TABLE = "id,title,price\nA1,Acme Tea,4.50\nA2,Acme Soap,2\n"


def source_of(tmp_path: Path, content: str | bytes) -> Source:
    path = tmp_path / "file"  # told by what is in it, never by its name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(path)


def records_of(source: Source) -> list[Record]:
    return [record for batch in source.batches() for record in batch]


def cells_of(source: Source) -> list[tuple[str | None, ...]]:
    assert [record.fault for record in records_of(source) if record.fault] == []
    return [record.cells for record in records_of(source)]


def refusal(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(DataRefused) as caught:
        records_of(source_of(tmp_path, content))
    message = str(caught.value)
    assert message.endswith((".", "?")) and "\n" not in message
    return message


# Files of shops and spreadsheets


@pytest.mark.parametrize(
    ("name", "kind", "columns", "records", "first"),
    [
        ("shopify_products_export.csv", "CSV", 43, 10, "bramblewick-classic-green-tea"),
        ("woocommerce_export.csv", "CSV", 45, 5, "1001"),
        ("ebay_file_exchange.csv", "CSV", 15, 8, "Add"),
        ("prestashop_products.csv", "CSV (semicolon)", 22, 3, "1"),
        ("excel_sep_line.csv", "CSV (semicolon)", 4, 12, "BR-001-1"),
        ("supplier_price_list.csv", "CSV (semicolon)", 4, 10, "BRAMBLEWICK CLASSIC GREEN TEA"),
        ("amazon_windows1252.txt", "CSV (tab, Windows-1252)", 29, 7, "Bramblewick Classic Green Tea – 20 Bags"),
        ("openfoodfacts.csv", "CSV (tab, without quoting)", 18, 11, "0000000000109"),
        ("google_merchant.tsv", "CSV (tab)", 19, 5, "BR-001-1"),
        ("google_merchant.xml", "Google Merchant RSS", 15, 6, "BR-001-1"),
        ("plain.csv.gz", "CSV (gzip)", 4, 145, "BR-001-1"),
        ("products.xlsx", "Excel workbook, sheet 'Products'", 4, 145, "BR-001-1"),
        ("products_schema_org.jsonl", "JSON lines", 23, 6, "https://schema.org/"),
    ],
)
def test_a_file_of_a_shop_is_understood_by_itself(name: str, kind: str, columns: int, records: int, first: str) -> None:
    source = open_source(FILES / name)
    cells = cells_of(source)
    assert (source.kind, len(source.header), len(cells)) == (kind, columns, records)
    assert cells[0][0] == first
    assert source.records == records and source.tally.blank == 0
    assert {len(row) for row in cells} == {columns}


def test_a_cell_over_several_lines_stays_one(tmp_path: Path) -> None:
    source = open_source(FILES / "shopify_products_export.csv")
    body = source.header.index("Body (HTML)")
    first, second, *_ = records_of(source)
    assert (first.cells[body] or "").count("\n") > 2
    assert (first.line, second.line) == (2, 3 + (first.cells[body] or "").count("\n"))


def test_the_same_goods_as_table_feed_and_objects_are_the_same(tmp_path: Path) -> None:
    feed = open_source(FILES / "google_merchant.xml")
    table = open_source(FILES / "google_merchant.tsv")
    objects = open_source(FILES / "products_schema_org.jsonl")
    for mine, named in ((feed, "title"), (objects, "name")):
        title, id_column = mine.header.index(named), mine.header.index("id" if mine is feed else "sku")
        other_title = table.header.index("title")
        expected = {row[0]: row[other_title] for row in cells_of(table)}
        found = {row[id_column]: row[title] for row in cells_of(mine)}
        assert {key: found[key] for key in expected} == expected
    images = {row[0]: row[table.header.index("additional_image_link")] for row in cells_of(table)}
    column = feed.header.index("additional_image_link") if "additional_image_link" in feed.header else None
    assert column is None or {row[0]: row[column] for row in cells_of(feed) if row[0] in images} == images


def test_a_header_below_a_banner_is_found_without_prices_too(tmp_path: Path) -> None:
    content = (FILES / "supplier_price_list.csv").read_text(encoding="utf-8")
    without_price = "\n".join(line.rpartition(";")[0] for line in content.splitlines())
    assert source_of(tmp_path, without_price).header == ("Item no.", "Description", "Picture")


def test_a_header_below_a_banner_is_found_and_said(tmp_path: Path) -> None:
    source = open_source(FILES / "supplier_price_list.csv")
    assert source.header == ("Item no.", "Description", "Picture", "List price")
    assert source.passed_over == 2 and "The header is on line 4." in source.notes
    assert records_of(source)[0].line == 5


GROUPS = "Goods,,,Price,,Stock\nNo,Description,Brand,List,Ours,Pieces\n"


def test_of_two_rows_of_names_the_second_is_the_header_where_the_first_names_groups(tmp_path: Path) -> None:
    source = source_of(tmp_path, GROUPS + "1,Tea,Acme,5.99,4.99,3\n2,Oil,Acme,7.99,6.99,9\n")
    assert source.header == ("No", "Description", "Brand", "List", "Ours", "Pieces")
    assert [cells[0] for cells in cells_of(source)] == ["1", "2"]


@pytest.mark.parametrize(
    "content",
    [
        "id,,,title,price\nA,red,big,Tea,4.99\nB,blue,big,Oil,5.99\n",
        "id,,title,price\nA,red,Tea,on request\nB,blue,Oil,5.99\n",
        "id,,,title,price\n,red,big,Tea,on request\nB,blue,big,Oil,5.99\n",
    ],
    ids=["a number", "one gap", "a cell left off"],
)
def test_a_row_below_a_header_with_gaps_is_no_header(tmp_path: Path, content: str) -> None:
    assert source_of(tmp_path, content).header[0] == "id"


@pytest.mark.parametrize("rows", ["A1,Tea,1\nA2,Soap,2\n", "a,b,c\nd,e,f\ng,h,i\n"])
def test_a_first_line_of_too_few_names_is_no_banner(tmp_path: Path, rows: str) -> None:
    source = source_of(tmp_path, "id,title\n" + rows)
    assert source.header == ("id", "title") and source.passed_over == 0
    assert {record.fault for record in records_of(source)} == {"3 cells where the header has 2"}


def test_a_template_with_header_rows_names_its_own_header(tmp_path: Path) -> None:
    lines = ["TemplateType=shop\tVersion=1\tThe top rows are for us\t", "SKU\tName\tPrice\tImage"]
    lines += ["item_sku\titem_name\tstandard_price\tmain_image_url", "A1\tAcme Tea\t4.5\tu"]
    source = source_of(tmp_path, "\n".join(lines))
    assert source.header == ("item_sku", "item_name", "standard_price", "main_image_url")
    assert cells_of(source) == [("A1", "Acme Tea", "4.5", "u")]
    lines = ["settings=attributeRow=2&dataRow=4\t\t\t", lines[2], "an example\t\t\t", lines[3]]
    source = source_of(tmp_path, "\n".join(lines))
    assert source.header[0] == "item_sku" and [row[0] for row in cells_of(source)] == ["A1"]


# Delimiters and encodings


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_told_by_the_rows_not_by_the_header_alone(tmp_path: Path, delimiter: str) -> None:
    names = ["Item (a, b; c)", "Text", "Image", "Price"]
    table = [names, *([f"A{n}", "Tea, green; soft", "a.jpg|b.jpg", "4.5"] for n in range(9))]
    rows = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in table]
    content = "\n".join(delimiter.join(row) for row in rows)
    source = source_of(tmp_path, content)
    assert source.header == tuple(names)
    assert cells_of(source) == [tuple(row) for row in table[1:]]


def test_decimal_commas_do_not_make_a_file_one_of_commas(tmp_path: Path) -> None:
    rows = "".join(f"A{n};Tea, {n} Bags;{n},99\n" for n in range(20))
    assert source_of(tmp_path, "Nr;Name;Preis\n" + rows).header == ("Nr", "Name", "Preis")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_an_encoding_is_told_by_the_bytes(tmp_path: Path, encoding: str) -> None:
    source = source_of(tmp_path, "id;name;price\nA1;Käse – würzig;4,50 €\n".encode(encoding))
    assert source.header == ("id", "name", "price")
    assert cells_of(source) == [("A1", "Käse – würzig", "4,50 €")]
    assert any("Windows-1252" in note for note in source.notes) == (encoding == "cp1252")


def test_a_few_broken_bytes_do_not_make_utf8_another_encoding(tmp_path: Path) -> None:
    lines = [f"A{n},Käse,1".encode() for n in range(300)]
    lines[5] = b"A5,K\xe4se,1"
    source = source_of(tmp_path, b"id,name,price\n" + b"\n".join(lines))
    assert source.kind == "CSV"
    assert [(record.line, record.fault) for record in records_of(source) if record.fault] == [(7, "not UTF-8")]
    assert source.records == 300
    chosen = [record for batch in source.batches([0, 2]) for record in batch]
    assert not any(record.fault for record in chosen), "a cell that is not asked for is no fault"


def test_letters_of_other_scripts_are_not_taken_for_windows_1252(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"id,name\n" + "1,Кофе молотый\n".encode("cp1251") * 20)
    assert {record.fault for record in records_of(source)} == {"not UTF-8"}


# Rows of any length


def test_cells_that_are_left_off_at_the_end_of_a_row_are_empty(tmp_path: Path) -> None:
    rows = ["A1,Tea,4.5,u,Acme", "A2,Tea,3", "A3,Soap,2,,,", "A4,Soap,2,,,,,x"]
    source = source_of(tmp_path, "\n".join(["id,title,price,image,brand", *rows]))
    *good, bad = records_of(source)
    assert [record.cells for record in good] == [
        ("A1", "Tea", "4.5", "u", "Acme"), ("A2", "Tea", "3", None, None), ("A3", "Soap", "2", "", ""),
    ]  # fmt: skip
    assert bad.fault == "8 cells where the header has 5" and source.records == 4


def test_blank_rows_are_counted_apart(tmp_path: Path) -> None:
    source = source_of(tmp_path, "id,title,price\n\nA1,Tea,1\n,,\n   \nA2,Tea,1\n,,\n")
    assert [record.line for record in records_of(source)] == [3, 6]
    assert (source.records, source.tally.blank) == (2, 3)


@pytest.mark.parametrize("row", [" , ,", '"\r",,', "\u00a0,\t,\u3000", " ,", " , , , "])
def test_a_row_of_blanks_is_a_blank_row_whatever_blanks_and_however_many(tmp_path: Path, row: str) -> None:
    source = source_of(tmp_path, f"id,title,price\nA1,Tea,1\n{row}\nA2,Tea,1\n")
    assert [record.cells[0] for record in records_of(source)] == ["A1", "A2"]
    assert source.tally.blank == 1


@pytest.mark.parametrize("content", [TABLE, '[{"id": "A1", "title": "Acme Tea", "price": 4.50}]'])
def test_only_the_columns_asked_for_are_kept_in_their_order(tmp_path: Path, content: str) -> None:
    source = source_of(tmp_path, content)
    for columns, cells in (([2, 0], ("4.50", "A1")), ([1], ("Acme Tea",)), ([], ())):
        assert next(source.batches(columns))[0].cells == cells


def test_a_source_is_read_from_the_start_each_time(tmp_path: Path) -> None:
    source = source_of(tmp_path, TABLE)
    assert records_of(source) == records_of(source)
    assert source.records == 2


def test_names_of_a_header_stay_as_they_are(tmp_path: Path) -> None:
    assert source_of(tmp_path, "id,price,price,\nA1,1,2,3\n").header == ("id", "price", "price", "")
    assert cells_of(source_of(tmp_path, "id\nA1\nA2\n")) == [("A1",), ("A2",)]


# Packed files


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_packed_file_gives_what_the_file_in_it_gives(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    for content in (TABLE.encode(), b'{"a": 1}\n{"b": 2}\n', b"<rss><item><id>1</id></item></rss>"):
        plain = cells_of(source_of(tmp_path, content))
        assert cells_of(source_of(tmp_path, pack(content))) == plain
        assert cells_of(source_of(tmp_path, pack(content[:5]) + pack(content[5:]))) == plain, "in two members"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_packed_file_that_is_cut_off_or_grows_too_much_is_refused(
    tmp_path: Path, pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(pack)
    source = random.Random(0)  # noqa: S311
    noise = TABLE + "".join(f"A{n},{source.random()},1\n" for n in range(3_000))
    for cut in (3, 20, 9_000):
        assert "damaged" in refusal(tmp_path, pack(noise.encode())[:-cut])
    monkeypatch.setattr(compression, "FREE_BYTES", 100_000)
    assert "over 250 times its size" in refusal(tmp_path, pack(TABLE.encode() + b"A1,Tea,1\n" * 1_000_000))


# JSON


def test_nested_objects_become_columns_and_numbers_stay_as_written(tmp_path: Path) -> None:
    products: list[dict[str, object]] = [
        {"sku": "1", "brand": {"name": "Acme"}, "image": ["a", "b"], "offers": {"price": 1.10, "priceCurrency": "EUR"}},
        {"sku": 2, "offers": [{"price": "2"}, {"price": 3}], "new": True, "none": None, "late": 5},
    ]
    expected = {"sku": "2", "offers.price": "2", "offers.1.price": "3", "new": "true", "late": "5"}
    graph: list[dict[str, object]] = [{"@type": "WebPage", "name": "x"}]
    graph += [{"@type": "Product", **product} for product in products]
    lines = [json.dumps(product).replace("1.1", "1.10") for product in products]
    wrapped = json.dumps({"products": products}), json.dumps({"@context": "https://schema.org", "@graph": graph})
    for content in ("\n".join(lines), "[\n" + ",\n".join(lines) + "\n]", *wrapped):
        source = source_of(tmp_path, content)
        first, second = (dict(zip(source.header, row, strict=True)) for row in cells_of(source))
        assert first["brand.name"] == "Acme" and first["image.1"] == "b" and first["offers.price"] in ("1.10", "1.1")
        assert {key: second[key] for key in expected} == expected
        assert first["late"] is None and second["image.0"] is None


def test_a_group_of_variants_gives_each_with_the_words_of_the_group(tmp_path: Path) -> None:
    variants = [{"sku": "1", "size": "S"}, {"sku": "2", "size": "L"}]
    lines = [{"@type": "ProductGroup", "name": "Tea", "hasVariant": variants}, {"name": "Soap", "sku": "3"}]
    source = source_of(tmp_path, "\n".join(map(json.dumps, lines)))
    columns = [source.header.index(name) for name in ("name", "sku", "size")]
    assert [tuple(row[column] for column in columns) for row in cells_of(source)] == [
        ("Tea", "1", "S"), ("Tea", "2", "L"), ("Soap", "3", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": "x"}, {"a": "y"},\n\n{"a": "z"}]',
        '{"@graph": [{"a": "x"}, {"a": "y"}]}\n\n\n{"a": "z"}',
        "<rss><item><a>x</a></item><item><a>y</a></item>\n\n\n<item><a>z</a></item></rss>",
    ],
    ids=["a list", "a graph on one line", "a feed"],
)
def test_records_on_one_line_have_lines_of_their_own(tmp_path: Path, content: str) -> None:
    records = records_of(source_of(tmp_path, content))
    assert [record.cells[0] for record in records] == ["x", "y", "z"]
    lines = [record.line for record in records]
    assert lines[0] == 1 and lines[1] == 2 and lines[2] in (3, 4)


def test_half_a_character_of_json_is_dropped_and_its_record_stays(tmp_path: Path) -> None:
    content = '[{"a": "Tea \\ud83c"}, {"a": "Tea \\ud83c\\udf75"}, {"a": "\\udf75Oil"}]'
    assert cells_of(source_of(tmp_path, content)) == [("Tea ",), ("Tea 🍵",), ("Oil",)]


def test_bytes_of_json_that_are_not_utf8_are_a_fault_of_their_record_alone(tmp_path: Path) -> None:
    content = b"".join(b'{"a": "Caf\xc3\xa9 %d"}\n' % number for number in range(200)) + b'{"a": "Caf\xe9"}\n'
    records = records_of(source_of(tmp_path, content))
    assert [record.line for record in records if record.fault] == [201] and records[-1].fault == NOT_UTF8


def test_a_typed_number_is_never_taken_for_thousands(tmp_path: Path) -> None:
    table = pa.table({"typed": [1.659, 2.0], "exact": pa.array([Decimal("1.659"), Decimal("-2.125")])})
    pq.write_table(table, tmp_path / "t.parquet")
    assert cells_of(open_source(tmp_path / "t.parquet")) == [("1.6590", "1.6590"), ("2", "-2.1250")]
    assert cells_of(source_of(tmp_path, '[{"a": 1.659}, {"a": 2.0}, {"a": "1.659"}]')) == [
        ("1.6590",),
        ("2.0",),
        ("1.659",),
    ]


def test_a_line_of_json_that_is_cut_off_is_a_fault_of_its_record_alone(tmp_path: Path) -> None:
    source = source_of(tmp_path, '{"a": 1}\n{"a": 2\n7\n\n{"a": nonsense}\n{"a": 3}')
    assert [(record.line, record.cells, record.fault) for record in records_of(source)] == [
        (1, ("1",), ""),
        (2, (None,), "JSON that is cut off"),
        (3, (None,), "no JSON object"),
        (5, (None,), "no JSON: Expecting value at character 7"),
        (6, ("3",), ""),
    ]
    source = source_of(tmp_path, '[{"a": 1},\n{"a": 2')
    assert [(record.line, record.fault) for record in records_of(source)] == [(1, ""), (2, "JSON that is cut off")]


# Feeds


def test_a_feed_joins_what_stands_twice_and_prefers_its_own_names(tmp_path: Path) -> None:
    item = "<title>short</title><g:title>Acme Tea</g:title><g:image_link>a</g:image_link><link>l</link>"
    item += "<g:more>b</g:more><g:more>c, d</g:more><g:shipping><g:price>3 USD</g:price></g:shipping><empty/>"
    namespace = 'xmlns:g="http://base.google.com/ns/1.0"'
    source = source_of(tmp_path, f"<rss {namespace}><channel>\n<item>{item}</item></channel></rss>")
    [record] = records_of(source)
    assert record.line == 2
    assert dict(zip(source.header, record.cells, strict=True)) == {
        "title": "Acme Tea", "image_link": "a", "link": "l", "more": "b,c, d", "shipping.price": "3 USD",
    }  # fmt: skip


def test_a_feed_with_a_document_type_is_refused_before_anything_grows(tmp_path: Path) -> None:
    declared = '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY tea "Acme">]><rss><item><id>&tea;</id></item></rss>'
    assert "declares a document type" in refusal(tmp_path, declared)


# Parquet


def test_a_folder_or_pattern_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for n in range(3):
        pq.write_table(pa.table({"id": [f"A{n}", f"B{n}"], "price": [1.0, 2.5]}), tmp_path / f"part-{n}.parquet")
    (tmp_path / "_SUCCESS").touch()
    for path in (tmp_path, tmp_path / "part-*.parquet"):
        source = open_source(path)
        assert source.kind == "Parquet (3 files)"
        assert [record.line for record in records_of(source)] == [1, 2, 3, 4, 5, 6]
        assert cells_of(source)[3] == ("B1", "2.5")
    pq.write_table(pa.table({"id": ["A"], "cost": [1.0]}), tmp_path / "part-1.parquet")
    with pytest.raises(DataRefused, match=r"part-1\.parquet has other columns than part-0\.parquet \('cost' of double"):
        open_source(tmp_path)
    (tmp_path / "part-1.parquet").write_text("id,price\n")
    with pytest.raises(DataRefused, match=r"part-1\.parquet is no Parquet file"):
        open_source(tmp_path)
    with pytest.raises(DataRefused, match="names no file"):
        open_source(tmp_path / "nothing-*.parquet")


def test_structs_and_lists_of_parquet_are_columns_and_cells(tmp_path: Path) -> None:
    rows = [{"offer": {"price": 2.0, "unit": {"code": "kg"}}, "images": ["a", "b"], "new": True, "raw": b"\xff"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x")
    source = open_source(tmp_path / "x")
    assert source.header == ("offer.price", "offer.unit.code", "images", "new", "raw")
    assert cells_of(source) == [("2", "kg", "a,b", "true", None)]
    assert [record.cells for batch in source.batches([1, 2]) for record in batch] == [("kg", "a,b")]


# What is refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        ("\xa0\n\u2003 \n\u200b", "is empty"),
        ("<html><body>Login</body></html>", "is a web page"),
        ("<?xml version='1.0'?><products/>", "XML without an <item> or <entry>"),
        ("<rss><item><id>1</id></item>", "is damaged XML (no element found"),
        ("[1, 2]", "holds no JSON object"),
        ("[]", "holds no JSON object"),
        ('[{"a": 1} {"a" 2}]', "is damaged JSON in the entry at line 1"),
        ('{\n"a": 1', "is damaged JSON (JSON that is cut off)"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "is a damaged workbook"),
        (b"PK\x03\x04" + b"\0" * 60, "is a damaged workbook or zip file"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"BZh91AY", "bzip2"),
        (gzip.compress(b"PAR1", mtime=0), "Parquet in a compressed file"),
        (bytes(range(256)) * 20, "is no text"),
        ('id,"title,price\nA1,Tea,1\nA2,Tea,2\n', "no readable header (a quote that is never closed)"),
    ],
)
def test_what_is_no_file_of_records_is_refused_in_one_sentence(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    assert words in refusal(tmp_path, content)


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path, "is a folder without a .parquet file"),
        (tmp_path / "nowhere.csv", "does not exist"),
    ):
        with pytest.raises(DataRefused, match=words):
            open_source(path)


def test_a_sheet_of_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(TABLE)
    with pytest.raises(DataRefused, match="no sheet 'A'"):
        open_source(tmp_path / "x", sheet="A")


def test_any_file_with_bytes_changed_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    files = sorted(FILES.iterdir())
    outcomes = set()
    for seed in range(10 * len(files)):
        source = random.Random(seed)  # noqa: S311
        content = bytearray(files[seed % len(files)].read_bytes())
        for _ in range(source.choice([1, 3, 20])):
            at = source.randrange(len(content))
            content[at : at + source.randrange(2)] = source.choice(
                [b"", b'"', b"\0", b"\xff", b"\n", b"<", b"{", b"\t,"]
            )
        try:
            found = source_of(tmp_path, bytes(content[: source.randrange(1, 2 * len(content))]))
            records = records_of(found)
        except DataRefused as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
        else:
            assert {len(record.cells) for record in records} <= {len(found.header)}
            assert found.records == len(records)
            outcomes.add("read")
    assert outcomes == {"read", "refused"}
