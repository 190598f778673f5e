"""Workbooks: claims about which sheet is read, what a cell says, and what is refused before it takes memory."""

import struct
import zipfile
from pathlib import Path

import pytest

from index.catalogue.formats import workbook
from index.catalogue.formats.opening import open_source
from index.catalogue.formats.records import Source
from index.catalogue.formats.workbook_facts import currency_in
from index.errors import DataRefused

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
RELATIONS = f"""<Relationships xmlns="{PACKAGE}">
<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
MANIFEST = """<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"""
STYLES = f"""<styleSheet xmlns="{MAIN}"><numFmts><numFmt numFmtId="164" formatCode="#,##0.00\\ [$€-407]"/>
<numFmt numFmtId="165" formatCode="&quot;$&quot;#,##0.00"/>
<numFmt numFmtId="166" formatCode="[$$-409]#,##0.00"/></numFmts>
<cellStyleXfs><xf numFmtId="0"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="14"/><xf numFmtId="165"/><xf numFmtId="166"/></cellXfs>
</styleSheet>"""


def letters(place: int) -> str:
    return (letters(place // 26 - 1) if place >= 26 else "") + chr(65 + place % 26)


def sheet_of(*rows: list[str | float], raw: str = "") -> str:
    """Make a sheet's XML; a text that begins with < is the cell's own XML, with `@` for its place."""
    lines = []
    for number, row in enumerate(rows, 1):
        cells = ""
        for place, value in enumerate(row):
            at = f"{letters(place)}{number}"
            if isinstance(value, str) and value.startswith("<"):
                cells += value.replace("@", f'r="{at}"')
            elif isinstance(value, str):
                cells += f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>' * bool(value)
            else:
                cells += f'<c r="{at}"><v>{value!r}</v></c>'
        lines.append(f'<row r="{number}">{cells}</row>')
    return f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}{raw}</sheetData></worksheet>'


def write_xlsx(path: Path, hidden: tuple[str, ...] = (), **sheets: str) -> Path:
    names = list(sheets)
    states = dict.fromkeys(hidden, ' state="hidden"')
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"{states.get(name, "")}/>' for n, name in enumerate(names, 1)
    )
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(names) + 1)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        archive.writestr("_rels/.rels", RELATIONS)
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{related}</Relationships>')
        archive.writestr("xl/styles.xml", STYLES)
        for n, name in enumerate(names, 1):
            archive.writestr(f"xl/worksheets/sheet{n}.xml", sheets[name])
    return path


def write_ods(path: Path, *rows: str) -> Path:
    kinds = ("office", "table", "text")
    spaces = " ".join(f'xmlns:{kind}="urn:oasis:names:tc:opendocument:xmlns:{kind}:1.0"' for kind in kinds)
    table = f'<table:table table:name="Goods">{"".join(rows)}</table:table>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        body = f"<office:body><office:spreadsheet>{table}</office:spreadsheet></office:body>"
        archive.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
    return path


def record_of(kind: int, content: bytes = b"") -> bytes:
    """Make a record of an .xlsb: type and size with seven bits a byte."""
    return b"".join(
        bytes([number & 0x7F | 0x80, number >> 7]) if number > 0x7F else bytes([number])
        for number in (kind, len(content))
    ) + content  # fmt: skip


def write_xlsb(path: Path, rows: dict[int, dict[int, str | float]]) -> Path:
    """Write cells by row and column, as BIFF12."""

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode("utf-16-le")

    body = b""
    for row, cells in rows.items():
        body += record_of(0, struct.pack("<I", row) + bytes(13))
        for column, value in cells.items():
            at = struct.pack("<II", column, 0)
            body += (
                record_of(6, at + text(value))
                if isinstance(value, str)
                else record_of(5, at + struct.pack("<d", value))
            )
    size = struct.pack("<IIII", 0, max(rows), 0, max(max(cells) for cells in rows.values()))
    sheet = [record_of(129), record_of(148, size), record_of(145), body, record_of(146), record_of(130)]
    listed = record_of(156, struct.pack("<II", 0, 1) + text("rId1") + text("Goods"))
    related = f'<Relationship Id="rId1" Type="{OFFICE}/worksheet" Target="worksheets/sheet1.bin"/>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", RELATIONS.replace("workbook.xml", "workbook.bin"))
        archive.writestr(
            "xl/workbook.bin", b"".join([record_of(131), record_of(143), listed, record_of(144), record_of(132)])
        )
        archive.writestr("xl/_rels/workbook.bin.rels", f'<Relationships xmlns="{PACKAGE}">{related}</Relationships>')
        archive.writestr("xl/worksheets/sheet1.bin", b"".join(sheet))
    return path


def cells_of(source: Source) -> list[tuple[str | None, ...]]:
    return [record.cells for batch in source.batches() for record in batch]


def refusal(path: Path, sheet: str | None = None) -> str:
    with pytest.raises(DataRefused) as caught:
        open_source(path, sheet=sheet)
    return str(caught.value)


def test_cells_are_written_as_a_csv_file_would_have_them(tmp_path: Path) -> None:
    row: list[str | float] = [
        "007",
        12.0,
        4.99,
        '<c @ s="2"><v>45413.5</v></c>',
        '<c @ t="b"><v>1</v></c>',
        4006381333931.0,
    ]
    path = write_xlsx(tmp_path / "x", Goods=sheet_of(["id", "n", "price", "date", "new", "code"], row))
    assert cells_of(open_source(path)) == [("007", "12", "4.99", "2024-05-01T12:00:00", "true", "4006381333931")]


def test_a_formula_without_a_value_is_a_gap_that_is_named_and_no_price_of_zero(tmp_path: Path) -> None:
    price = "<c @><f>B1*2</f><v>{}</v></c>"
    rows: list[list[str | float]] = [["id", "price"], ["A1", price.format("2.5")], ["A2", price.format("")]]
    rows += [["A3", "<c @><f>B1*2</f></c>"], ["A4", '<c @ t="e"><f>1/0</f><v>#DIV/0!</v></c>']]
    rows += [["A5", '<c @ t="str"><f>""</f><v></v></c>'], ["A6", 0.0]]
    source = open_source(write_xlsx(tmp_path / "x", Goods=sheet_of(*rows)))
    assert [row[1] for row in cells_of(source)] == ["2.5", None, None, None, None, "0"]
    [note] = source.notes
    assert note.startswith("3 cells are empty because their formula has no stored value, or an error (the first: B3)")


def test_a_currency_is_told_by_the_number_format_of_the_cells(tmp_path: Path) -> None:
    rows: list[list[str | float]] = [["id", "price", "weight"]]
    rows += [[f"A{n}", f'<c @ s="1"><v>{n}</v></c>', 2.0] for n in range(5)]
    source = open_source(write_xlsx(tmp_path / "x", Goods=sheet_of(*rows)))
    assert [source.currencies_of(column) for column in range(3)] == [{}, {"EUR": 5}, {}]


def test_currencies_of_a_column_are_counted_without_the_header(tmp_path: Path) -> None:
    header = '<c @ s="1" t="inlineStr"><is><t>price</t></is></c>'
    rows: list[list[str | float]] = [["id", header], ["A0", '<c @ s="3"><v>1</v></c>']]
    rows += [[f"A{n}", f'<c @ s="{4 if n > 1 else 3}"><v>{n}</v></c>'] for n in range(1, 4)]
    source = open_source(write_xlsx(tmp_path / "x", Goods=sheet_of(*rows)))
    assert source.currencies_of(1) == {"$": 2, "USD": 2}


def test_prices_that_are_kept_as_text_have_the_currency_of_their_format(tmp_path: Path) -> None:
    price = '<c @ s="1" t="inlineStr"><is><t>{}</t></is></c>'
    rows: list[list[str | float]] = [["id", "price"], *([f"A{n}", price.format(n)] for n in range(1, 4))]
    source = open_source(write_xlsx(tmp_path / "x", Goods=sheet_of(*rows)))
    assert source.currencies_of(1) == {"EUR": 3}


@pytest.mark.parametrize(
    ("number_format", "code"),
    [
        ('"$"#,##0.00', "$"), ("[$$-409]#,##0.00", "USD"), ("[$$-1009]#,##0.00", "CAD"), ("[$USD] #,##0", "USD"),
        ("#,##0.00\\ [$€-407]", "EUR"), ('_-* #,##0.00\\ "€"_-', "EUR"), ("[$£-809]#,##0", "GBP"),
        ('#,##0 "zł"', "PLN"),
        ("[$$-240A]#,##0", "COP"), ("[$$-340A]#,##0", "CLP"), ("[$$-1004]#,##0", "SGD"), ("[$$-en-CA]#,##0", "CAD"),
        ("[$$-F]#,##0", "$"), ("[$¥-411]#,##0", "¥"), ("[$¥-804]#,##0", "CNY"), ('"￥"#,##0', "¥"), ("$#,##0", "$"),
        ("[$€-x-euro2] #,##0", "EUR"), ("[$-409]#,##0.00", ""), ("[$-en-US]mmm d", ""),
        ("[$kr-41D] #,##0", "SEK"), ('#,##0 "kr"', ""), ("0.00", ""), ("General", ""), ("yyyy-mm-dd", ""),
        ('0 "Stk"', ""), ("[Red]0.00", ""),
    ],
)  # fmt: skip
def test_a_number_format_names_a_currency_or_none(number_format: str, code: str) -> None:
    assert currency_in(number_format) == code


def test_the_visible_sheet_with_most_rows_is_read_and_another_by_name(tmp_path: Path) -> None:
    def table(name: str, rows: int) -> str:
        numbered: list[list[str | float]] = [[f"{name}{n}", float(n)] for n in range(rows)]
        return sheet_of(["id", "price"], *numbered)

    notes, few, many, longest = sheet_of(["Read me first"]), table("F", 2), table("M", 5), table("H", 9)
    path = write_xlsx(tmp_path / "x", ("Old",), Notes=notes, Few=few, Many=many, Old=longest)
    source = open_source(path)
    assert source.kind == "Excel workbook, sheet 'Many'" and len(cells_of(source)) == 5
    assert any("'Few'" in note and "--sheet" in note and "'Old'" not in note for note in source.notes)
    assert [row[0] for row in cells_of(open_source(path, sheet="Old"))] == [f"H{n}" for n in range(9)]
    assert "has no sheet 'New': its sheets are 'Notes', 'Few', 'Many', 'Old'." in refusal(path, "New")


def test_a_header_below_a_title_is_found_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    rows: list[list[str | float]] = [
        ["Price list"],
        [],
        ["id", "title", "price"],
        ["A1", "Tea", 2.0],
        [],
        ["A2", "Soap", 3.0],
    ]
    source = open_source(write_xlsx(tmp_path / "x", Goods=sheet_of(*rows)))
    assert source.header == ("id", "title", "price") and source.passed_over == 1
    assert [record.line for batch in source.batches() for record in batch] == [4, 6]
    assert (source.records, source.tally.blank) == (2, 1)


def test_an_open_document_is_read_with_the_currency_of_its_cells(tmp_path: Path) -> None:
    text = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    price = '<table:table-cell office:value-type="currency" office:currency="EUR" office:value="12.5"/>'
    blank = '<table:table-cell table:number-columns-repeated="16384"/>'
    blank = f'<table:table-row table:number-rows-repeated="1048000">{blank}</table:table-row>'
    rows = [text.format("id") + text.format("price"), text.format("A1") + price]
    rows += [text.format("A2") + price.replace("EUR", "USD"), text.format("A3") + price]
    lines = [f"<table:table-row>{row}</table:table-row>" for row in rows]
    source = open_source(write_ods(tmp_path / "x", *lines, blank))
    assert source.kind == "OpenDocument workbook, sheet 'Goods'" and source.currencies_of(1) == {"EUR": 2, "USD": 1}
    assert cells_of(source) == [("A1", "12.5"), ("A2", "12.5"), ("A3", "12.5")]


def test_a_binary_workbook_is_read(tmp_path: Path) -> None:
    rows: dict[int, dict[int, str | float]] = {0: {0: "id", 1: "title", 2: "price"}, 1: {0: "A1", 1: "Tea", 2: 2.5}}
    source = open_source(write_xlsb(tmp_path / "x", rows))
    assert source.kind == "Excel workbook (.xlsb), sheet 'Goods'" and cells_of(source) == [("A1", "Tea", "2.5")]
    rows[200_000] = {2_000: "far"}
    assert "has cells so far apart" in refusal(write_xlsb(tmp_path / "x", rows))


def test_cells_that_lie_far_apart_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    far = '<row r="1048576"><c r="XFD1048576"{}</row>'
    sheet = sheet_of(["id", "price"], ["A1", 2.0], raw=far.format(' t="inlineStr"><is><t>x</t></is></c>'))
    assert "sheet 'Goods' has cells so far apart" in refusal(write_xlsx(tmp_path / "x", Goods=sheet))
    formatted = sheet_of(["id", "price"], ["A1", 2.0], raw=far.format(' s="1"/>'))
    assert cells_of(open_source(write_xlsx(tmp_path / "x", Goods=formatted))) == [("A1", "2")], (
        "an empty cell takes none"
    )
    cell = '<table:table-cell office:value-type="string"{}><text:p>x</text:p></table:table-cell>'
    repeated = cell.format(' table:number-columns-repeated="9000"')
    row = f'<table:table-row table:number-rows-repeated="9000">{repeated}</table:table-row>'
    assert "sheet 'Goods' has cells so far apart" in refusal(write_ods(tmp_path / "y", row))


def test_a_workbook_that_unpacks_to_too_much_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "FREE_BYTES", 100_000)
    path = write_xlsx(tmp_path / "x", Goods=sheet_of(["id", "price"], raw=" " * 2_000_000))
    assert "unpacks to over 250 times its size" in refusal(path)
    monkeypatch.setattr(workbook, "FREE_BYTES", 10_000_000)
    monkeypatch.setattr(workbook, "LARGEST_UNPACKED", 1 << 20)
    assert "unpacks to over 1 MB" in refusal(path)


def test_a_damaged_or_encrypted_workbook_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 600 + workbook.ENCRYPTED + b"\0" * 600)
    assert refusal(path).endswith("is encrypted: save it without a password.")
    whole = (Path(__file__).parent / "files" / "products.xlsx").read_bytes()
    refused = 0
    for place in range(40, len(whole), 311):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            cells_of(open_source(path))
        except DataRefused as error:
            assert "damaged" in str(error) or "is empty" in str(error)
            refused += 1
    assert refused > 10
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "is a zip file" in refusal(path)
    assert "is empty" in refusal(write_xlsx(path, Goods=sheet_of()))
