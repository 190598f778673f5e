"""Reader of XML that goes forward only and knows no document types, so that no entity can grow or reach out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from xml.parsers import expat

from index.errors import DataRefused


class XmlEvents:
    """Elements of an XML document as they begin and end: `on_start(name, attributes)`, `on_end(name, text)`.

    Names keep their prefix. The text is what stands directly in an element; all that is open together has at most
    `most` characters of it.
    """

    def __init__(
        self,
        path: Path,
        on_start: Callable[[str, dict[str, str]], None],
        on_end: Callable[[str, str], None],
        most: int,
    ) -> None:
        self._path = path
        self._on_start = on_start
        self._on_end = on_end
        self._most = most
        self._texts: list[list[str]] = []  # of the elements that are open
        self._size = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse

    @property
    def line(self) -> int:
        """Return the number of the line that is being read."""
        return self._parser.CurrentLineNumber

    def read(self, blocks: Iterable[bytes], *, whole: bool = True) -> None:
        """Read a document; without `whole` it may break off. Raises `DataRefused` for one that is damaged."""
        try:
            for block in blocks:
                self._parser.Parse(block, False)
            if whole:
                self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            sentence = f"{self._path} is damaged XML ({expat.ErrorString(error.code)} at line {error.lineno})"
            raise DataRefused(f"{sentence}: export it again.") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._texts:
            self._size = 0
        self._texts.append([])
        self._on_start(name, attributes)

    def _end(self, name: str) -> None:
        text = "".join(self._texts.pop())
        self._size -= len(text)
        self._on_end(name, text)

    def _text(self, text: str) -> None:
        self._size += len(text)
        if self._size > self._most:
            raise DataRefused(f"{self._path} has a text of over {self._most} characters at line {self.line}.")
        self._texts[-1].append(text)

    def _refuse(self, *_: object) -> None:
        raise DataRefused(f"{self._path} declares a document type, which no catalogue needs: take the declaration out.")
