"""Opening of a catalogue's file: its kind told by its bytes, never by its name; what is no catalogue is refused."""

from pathlib import Path

from index.catalogue.formats.compression import open_packed
from index.catalogue.formats.delimited import open_delimited
from index.catalogue.formats.encodings import open_text
from index.catalogue.formats.parquet import open_parquet
from index.catalogue.formats.records import Source
from index.errors import DataRefused

_OTHER_KINDS = {
    b"PK\x03\x04": "is a zip file or a spreadsheet: export it as CSV (UTF-8) or Parquet",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: export it as CSV (UTF-8) or Parquet",
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
    head = _first_bytes(path)
    if head.startswith(b"PAR1"):
        return open_parquet(path, [path])
    file = open_packed(path)
    head = file.head(4_096)
    for magic, sentence in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise DataRefused(f"{path} {sentence}.")
    text = open_text(file)
    return open_delimited(text)


def _first_bytes(path: Path) -> bytes:
    """Return the beginning of a regular file; nothing else is opened, so that a pipe cannot keep us waiting."""
    try:
        if path.is_dir():
            raise DataRefused(f"{path} is a folder: name the CSV or Parquet file in it.")
        if path.exists() and not path.is_file():
            raise DataRefused(f"{path} is not a regular file: save the data to a file first.")
        with path.open("rb") as file:
            return file.read(4_096)
    except FileNotFoundError as error:
        raise DataRefused(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}.") from error
