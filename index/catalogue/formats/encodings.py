"""Encoding of a text file, told by its mark or its bytes, and the text in it; what the text says is not known here."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from index.catalogue.formats.compression import PackedFile
from index.errors import DataRefused

SURVEYED = 64 << 20  # bytes that are looked at to tell UTF-8 from Windows-1252
BROKEN_SHARE = 0.01  # of lines: up to it, bytes that are not UTF-8 are damage of a UTF-8 file

_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_NAMES = {"utf-8": "UTF-8", "cp1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_CONTROLS = [byte for byte in range(32) if byte not in b"\t\n\v\f\r"]
_BROKEN_LINE = re.compile(r"[\udc80-\udcff][^\n]*")
_WELL_MADE = re.compile(r"[^\x00-\x7f\udc80-\udcff]")
_RUN = re.compile(r"[\udc80-\udcff]+")
_NOT_IN_1252 = re.compile(r"[\udc81\udc8d\udc8f\udc90\udc9d]")


@dataclass(frozen=True)
class TextFile:
    """A file of text: its bytes, its encoding, and the length of the mark before the text, in bytes."""

    file: PackedFile
    encoding: str  # one of Python's names
    mark: int = 0
    note: str = ""  # why it is this encoding, where that is not plain

    @property
    def name(self) -> str:
        """Return what people call the encoding."""
        return _NAMES[self.encoding]

    def texts(self) -> Iterator[str]:
        """Yield the text in pieces. Bytes that are not of the encoding become lone surrogates; see `is_broken`."""
        errors = "strict" if self.encoding.startswith("utf-16") else "surrogateescape"
        decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        skip = self.mark
        try:
            for block in self.file.blocks():
                yield decoder.decode(block[skip:])
                skip = 0
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise DataRefused(f"{self.file.path} is damaged {self.name} text: save it again, as UTF-8.") from error

    def blocks(self) -> Iterator[bytes]:
        """Yield the text in UTF-8, in pieces. Bytes that are not of the encoding are left as they are."""
        if self.encoding != "utf-8":
            yield from (text.encode("utf-8", "surrogateescape") for text in self.texts())
            return
        skip = self.mark
        for block in self.file.blocks():
            yield block[skip:]
            skip = 0

    def head(self, characters: int) -> str:
        """Return the text's beginning."""
        found = ""
        for text in self.texts():
            found += text
            if len(found) >= characters:
                break
        return found[:characters]


def is_broken(text: str) -> bool:
    """Tell whether a text holds bytes that are not of its encoding."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def open_text(file: PackedFile) -> TextFile:
    """Find the encoding of a file. What is neither UTF-8 nor likely to be anything else stays UTF-8, with damage."""
    head = file.head(4_096)
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return TextFile(file, encoding, len(mark))
    if encoding := _utf16_without_mark(head):
        return TextFile(file, encoding)
    if 20 * sum(head.count(byte) for byte in _CONTROLS) > len(head):
        raise DataRefused(f"{file.path} is no text: save it as CSV (UTF-8), .xlsx or Parquet.")
    if _is_utf8(file):
        return TextFile(file, "utf-8")
    lines, broken, likely = _survey(file)
    if broken > BROKEN_SHARE * lines and likely:
        note = f"Read as Windows-1252, because {broken} lines are not UTF-8: save it as UTF-8 where letters are wrong."
        return TextFile(file, "cp1252", note=note)
    return TextFile(file, "utf-8")


def _utf16_without_mark(head: bytes) -> str:
    """Name the kind of UTF-16 whose every other byte is nothing, "" for none."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if abs(even - odd) * 3 <= len(head):
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def _is_utf8(file: PackedFile) -> bool:
    """Tell whether all that is looked at is UTF-8: nearly every file is, and `_survey` takes five times as long."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    for block in file.blocks():
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            return False
        read += len(block)
        if read > SURVEYED:
            break
    return True


def _survey(file: PackedFile) -> tuple[int, int, bool]:
    """Return the count of lines, of lines that are not UTF-8, and whether these are likely to be Windows-1252.

    They are if nearly all of them are defined there, are not outnumbered by letters in UTF-8, and mostly stand alone
    among plain letters: scripts other than the Latin one, in encodings of their own, have runs of such bytes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    read = lines = broken = well_made = undefined = characters = runs = 0
    for block in file.blocks():
        read += len(block)
        lines += block.count(b"\n")
        text = decoder.decode(block)
        if not text.isascii():
            well_made += len(_WELL_MADE.findall(text))
            if is_broken(text):
                broken += len(_BROKEN_LINE.findall(text))
                undefined += len(_NOT_IN_1252.findall(text))
                lengths = [len(run) for run in _RUN.findall(text)]
                characters, runs = characters + sum(lengths), runs + len(lengths)
        if read > SURVEYED:
            break
    likely = bool(runs) and undefined * 50 <= characters and well_made < characters and characters < 2 * runs
    return lines + 1, broken, likely
