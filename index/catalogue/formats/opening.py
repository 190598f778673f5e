"""Opening of a catalogue's file: its kind told by its bytes, never by its name; what is no catalogue is refused."""

import re
from pathlib import Path

from index.catalogue.formats.compression import PackedFile, open_packed
from index.catalogue.formats.delimited import open_delimited
from index.catalogue.formats.encodings import open_text
from index.catalogue.formats.json_records import open_json
from index.catalogue.formats.merchant import open_merchant
from index.catalogue.formats.parquet import is_hidden, open_parquet, parquet_files
from index.catalogue.formats.records import Source
from index.catalogue.formats.workbook import is_workbook, open_workbook
from index.errors import DataRefused

_PATTERN = re.compile(r"[*?\[]")
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|rss|feed)\b")
_HTML = re.compile(r"\ufeff?\s*<(?:!doctype html|html)\b", re.IGNORECASE)
_JSON = re.compile(r'\ufeff?\s*(?:\{\s*["}]|\[\s*[\[{\]"\d])')
_OTHER_KINDS = {
    b"PK\x03\x04": "is a zip file: unpack it first",
    b"PAR1": "is Parquet in a compressed file: unpack it first",
    b"BZh": "is compressed by bzip2: unpack it first",
    b"\xfd7zXZ\x00": "is compressed by xz: unpack it first",
    b"7z\xbc\xaf": "is a 7z archive: unpack it first",
    b"Rar!": "is a RAR archive: unpack it first",
    b"%PDF-": "is a PDF: export the table in it as CSV or .xlsx",
}


def open_source(path: Path, *, sheet: str | None = None) -> Source:
    """Open a file of records, or a folder or pattern of Parquet files. Raises `DataRefused` for what is none.

    `sheet` names the sheet of a workbook; without it the one with a header and most rows is taken.
    """
    try:
        return _open(path, sheet)
    except FileNotFoundError as error:
        raise DataRefused(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}.") from error


def files_of(path: Path) -> list[Path]:
    """Return the files that hold the records: the path itself, or the Parquet files of a folder or pattern."""
    return parquet_files(path) if path.is_dir() or _is_pattern(path) else [path]


def is_named_by(path: Path, file: Path) -> bool:
    """Tell whether a file is, or would be where it is written, one of those that a folder or pattern names."""
    if path.is_dir():
        return file.suffix == ".parquet" and not is_hidden(file) and file.resolve().is_relative_to(path.resolve())
    return _is_pattern(path) and file.match(str(path))


def _is_pattern(path: Path) -> bool:
    return _PATTERN.search(path.name) is not None and not path.exists()


def _open(path: Path, sheet: str | None) -> Source:
    files = files_of(path)
    if files != [path]:
        return open_parquet(path, files)
    if path.exists() and not path.is_file():  # told before it is opened: a pipe would keep us waiting
        raise DataRefused(f"{path} is not a regular file: save the data to a file first.")
    with path.open("rb") as opened:
        head = opened.read(4)
    if head.startswith(b"PAR1"):
        return open_parquet(path, [path])
    if is_workbook(path, head):
        return open_workbook(path, sheet)
    if sheet is not None:
        raise DataRefused(f"{path} is no workbook, so that it has no sheet {sheet!r}: leave --sheet out.")
    return _open_text(open_packed(path))


def _open_text(file: PackedFile) -> Source:
    head = file.head(4_096)
    for magic, sentence in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise DataRefused(f"{file.path} {sentence}.")
    if _XML.match(head):
        return open_merchant(file)
    text = open_text(file)
    beginning = text.head(4_096)
    if _HTML.match(beginning):
        raise DataRefused(f"{file.path} is a web page: save the catalogue itself, as CSV or .xlsx.")
    if _XML.match(beginning.encode("utf-8", "replace")):
        return open_merchant(file)
    return open_json(text) if _JSON.match(beginning) else open_delimited(text)
