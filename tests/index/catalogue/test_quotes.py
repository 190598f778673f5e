"""Quotes that are wrong: no row vanishes in another, and cells over several lines go on working."""

import csv
import io
import random
from pathlib import Path

import pytest

from index.catalogue.formats import compression, delimited
from index.catalogue.formats.opening import open_source
from index.catalogue.formats.records import Record, Source
from index.errors import DataRefused

WORDS = "Acme Tea Coffee Olive Oil Soap Large Pack".split()


def source_of(tmp_path: Path, content: str) -> Source:
    path = tmp_path / "items.csv"
    path.write_text(content, encoding="utf-8", newline="")
    return open_source(path)


def records_of(source: Source) -> list[Record]:
    return [record for batch in source.batches() for record in batch]


def test_quotes_that_open_and_never_close_swallow_no_row(tmp_path: Path) -> None:
    rows = [f"A{n}\tTea, {n} g\t\t{n}.5" for n in range(300)]
    for n in (10, 250):
        rows[n] = rows[n].replace("Tea", '"Old Barn Tea')
    source = source_of(tmp_path, "id\ttitle\timage\tprice\n" + "\n".join(rows) + "\n")
    assert [record.cells for record in records_of(source)] == [tuple(row.split("\t")) for row in rows]
    assert source.notes == ("Quotes are read as part of the texts: no cell is enclosed by them.",)


def test_a_quote_that_closes_in_another_row_swallows_none(tmp_path: Path) -> None:
    """As a spreadsheet reads them, 24 rows are 18: a record of good length that holds seven."""
    rows = [f"A{n},Tea {n} g,,{n}.5" for n in range(24)]
    rows[4], rows[10], rows[20] = 'A4,"Acme pan,,4.5', 'A10,pan of 12",,10.5', 'A20,"Tea, green",,20.5'
    content = "id,title,image,price\n" + "\n".join(rows)
    assert len(list(csv.reader(io.StringIO(content), strict=True))) == 1 + 18
    source = source_of(tmp_path, content)
    records = records_of(source)
    assert [record.cells[0] for record in records] == [f"A{n}" for n in range(24)]
    assert (records[4].cells[1], records[10].cells[1]) == ('"Acme pan', 'pan of 12"')
    assert source.records == 24
    assert source.notes == ("Line 6: a quote swallowed 6 lines; all are read without it.",)


def test_a_quote_inside_a_cell_is_part_of_its_text(tmp_path: Path) -> None:
    rows = ['A1,"Acme" tea,1', 'A2,"Soap, soft",2', 'A3,12" pan,3', 'A4,"Tea ""best""",4']
    source = source_of(tmp_path, "id,title,price\n" + "\n".join(rows))
    assert [record.cells[1] for record in records_of(source)] == ['"Acme" tea', "Soap, soft", '12" pan', 'Tea "best"']
    assert source.notes == ("Line 2: a quote inside a cell is read as part of its text.",)


def test_a_row_that_cannot_be_cut_is_one_fault_with_the_lines_it_takes(tmp_path: Path) -> None:
    rows = [f"A{n},Tea,1" for n in range(20)] + ['B1,"Acme "best", soft, green', 'tea",2', "B2,Soap,3", 'B3,"Tea']
    source = source_of(tmp_path, "id,title,price\n" + "\n".join(rows))
    assert [(record.line, record.cells[0], record.fault) for record in records_of(source)][20:] == [
        (22, None, "a misplaced quote (lines 22 to 23: is a quote missing?)"),
        (24, "B2", ""),
        (25, None, "a quote that is never closed"),
    ]
    assert source.records == 23


def cell_of(source: random.Random, stray: float, several_lines: float, delimiter: str) -> tuple[str, str]:
    """Make a cell: (as it is written, as it is meant)."""
    text = " ".join(source.choices(WORDS, k=source.randrange(2, 6)))
    kind = source.random()
    if kind < stray:
        literal = source.choice([f'"{text}', f'{text} 12"', f'"{text}" best', f'{text} "x" y', f'"{text} 5" {text}'])
        return literal, literal
    if kind < stray + several_lines:
        lines = ["", "a, b and c", "soft; red", "Value: 3", 'say ""hi""', f"x,y,z,{text}", text]
        text = "\n".join([text, *source.choices(lines, k=source.randrange(1, 6))])
        return f'"{text}"', text.replace('""', '"')
    return (f'"{text}{delimiter} soft"', f"{text}{delimiter} soft") if kind > 0.8 else (text, text)


@pytest.mark.parametrize(("stray", "several_lines"), [(0.05, 0), (0.3, 0), (0, 0.3), (0.05, 0.2)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_every_row_is_read_as_it_was_meant(
    tmp_path: Path, stray: float, several_lines: float, delimiter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is what the rows were made of, whichever lines their quotes would swallow."""
    monkeypatch.setattr(compression, "BLOCK", 512)
    for seed in range(8):
        source = random.Random(seed)  # noqa: S311
        columns = source.choice([3, 4, 10])
        lines, meant = [], []
        for n in range(source.randrange(20, 120)):
            literal, text = cell_of(source, stray, several_lines, delimiter)
            row = [f"A{n}", literal, *["u"] * (columns - 3), f"{source.randrange(1, 99)}.5"]
            lines.append(delimiter.join(row))
            meant.append((row[0], text, *row[2:]))
        header = delimiter.join(["id", "title", *["image"] * (columns - 3), "price"])
        found = records_of(source_of(tmp_path, "\n".join([header, *lines]) + "\n"))
        assert [record.cells for record in found] == meant


def test_blocks_give_the_records_that_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain block, a block with cells over several lines and one with faults, cut anywhere."""
    rows = [f'A{n},"Tea{chr(10) * (n % 50 == 7)} {n}, g",{n}' + ",x" * (n % 90 == 60) for n in range(400)]
    source = source_of(tmp_path, "id,title,price\r\n" + "\r\n".join(rows) + "\r\n")
    whole = records_of(source)
    assert len(whole) == 400 and sum(bool(record.fault) for record in whole) == 4
    for block in (17, 100, 1_000):
        monkeypatch.setattr(compression, "BLOCK", block)
        assert records_of(source) == whole


def test_quotes_that_open_in_every_row_end_in_a_refusal_not_in_endless_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MOST_LINES", 10)
    monkeypatch.setattr(compression, "BLOCK", 5_000)
    source = source_of(tmp_path, "id,title,price\n" + 'tea,"Tea",1\n' * 20_000 + 'tea","Tea,1\n' * 2_000)
    with pytest.raises(DataRefused, match="quotes are opened and not closed in most rows around line"):
        records_of(source)


def made_up_file(source: random.Random) -> str:
    """Rows with cells over several lines, doubled quotes, and now and then a quote, a break or a NUL too many."""
    texts = ["Tea", "soft, green", "two\nlines", 'a "b" c', "", "1,2,3\n4,5,6", "x\r\ny, z, w, v", "é’", '"', "\u2028"]
    faults = ['"', "\n", "\0", ",", "\r"] if source.random() < 0.3 else []
    end = source.choice(["\n", "\n", "\r\n"])
    rows = ["id,title,image,price"]
    for number in range(source.randrange(5, 60)):
        text = " ".join(source.choices(texts, k=source.randrange(4)))
        if source.random() < 0.8 or set(text) & set(',"\n\r'):
            text = '"' + text.replace('"', '""') + '"'
        if faults and source.random() < 0.05:
            text += source.choice(faults)
        rows.append(f'{number},{text},{source.choice(["", "p.jpg"])},"{number}.5"')
        rows += source.choices(["", '"",,,""', ",,,"], k=source.random() < 0.03)
    return end.join(rows) + source.choice(["", end])


def test_rows_that_are_cut_at_their_quotes_are_those_of_the_csv_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at_quotes = delimited._Reader._cut_at_quotes
    cut: list[int] = []

    def counted(reader: delimited._Reader) -> list[Record]:
        records = cut_at_quotes(reader)
        cut.append(len(records))
        return records

    def uncut(reader: delimited._Reader) -> list[Record]:
        return []

    source = random.Random(0)  # noqa: S311
    monkeypatch.setattr(delimited._Reader, "_cut_plainly", uncut)
    for _ in range(100):
        content = made_up_file(source)
        columns = source.choice([None, [3], [1], [0, 3]])
        monkeypatch.setattr(compression, "BLOCK", source.choice([60, 200, 1_000]))
        found = []
        for way in (counted, uncut):
            monkeypatch.setattr(delimited._Reader, "_cut_at_quotes", way)
            monkeypatch.setattr(delimited._Reader, "_plain", False, raising=False)
            file = source_of(tmp_path, content)
            records = [record for batch in file.batches(columns) for record in batch]
            found.append((records, file.notes, file.tally))
        assert found[0] == found[1], content
    assert sum(cut) > 700 and cut.count(0) > 100  # both were tried


def test_a_cell_of_bytes_that_are_no_text_is_a_fault_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK", 200)
    rows = [f'{number},"Tea\nof {number}",{number}.5' for number in range(200)]
    path = tmp_path / "items.csv"
    path.write_bytes("\n".join(["id,title,price", *rows]).encode().replace(b"of 150", b"of \xff150"))
    for columns, faults in (([0, 1], 1), ([0, 2], 0)):
        records = [record for batch in open_source(path).batches(columns) for record in batch]
        assert len(records) == 200
        assert sum(record.fault == "not UTF-8" for record in records) == faults


@pytest.mark.parametrize("row", [b'2,12" pan\n', b'2,"Tea" best\n', b'2, "Tea"\n', b'2,"\0"\n', b"2,Tea\r3,Soap\n"])
def test_a_block_is_cut_at_its_quotes_only_where_each_is_an_end_of_a_cell(row: bytes) -> None:
    plain, waiting = b'1,"a\nb ""c"""\n', b'3,"d\n'
    assert delimited.split_at_quotes(plain + waiting, ",") == (["1,\0\0\0"], [b"a\nb ", b"c", b""], waiting)
    assert delimited.split_at_quotes(plain + row + waiting, ",") is None
    assert delimited.split_at_quotes(plain + row, ",") is None
