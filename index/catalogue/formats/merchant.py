"""Records of a Google Merchant feed in XML: RSS items or Atom entries, their attributes without the prefix `g:`."""

from collections.abc import Iterator, Sequence

from index.catalogue.formats.compression import PackedFile
from index.catalogue.formats.records import LINE_LIMIT, Record, Source, in_batches, picker
from index.catalogue.formats.xml_events import XmlEvents
from index.errors import DataRefused

_ITEMS = {"item", "entry"}
MOST_COLUMNS = 2_000


def open_merchant(file: PackedFile) -> Source:
    """Open a feed. It is read twice, so that the header has every attribute that any item has."""
    names: dict[str, None] = {}
    items = 0
    for _, cells in _items(file):
        items += 1
        names.update(dict.fromkeys(cells))
        if len(names) > MOST_COLUMNS:
            raise DataRefused(f"{file.path} has items of over {MOST_COLUMNS} different names: is this a feed?")
    if not items:
        raise DataRefused(
            f"{file.path} is XML without an <item> or <entry>: export it as a Google Merchant feed, or as CSV."
        )
    header = tuple(names)
    return Source(
        file.path,
        f"Google Merchant RSS ({file.packing})" if file.packing else "Google Merchant RSS",
        header,
        lambda columns, _: in_batches(_records(file, header, columns)),
    )


def _records(file: PackedFile, header: Sequence[str], columns: Sequence[int] | None) -> Iterator[Record]:
    pick = picker(columns)
    for line, cells in _items(file):
        yield Record(line, pick([cells.get(name) for name in header]), "")


def _items(file: PackedFile) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line of each item, and its texts by name: `shipping.price` for what is nested."""
    feed = _Feed(file)
    for block in file.blocks():
        feed.events.read([block], whole=False)
        yield from feed.taken()
    feed.events.read([])
    yield from feed.taken()


class _Feed:
    """A feed as far as it is read."""

    def __init__(self, file: PackedFile) -> None:
        self.events = XmlEvents(file.path, self._start, self._end, LINE_LIMIT)
        self._line = 0  # where the open item begins, 0 for none
        self._open: list[str] = []  # names of the elements that are open in it
        self._cells: dict[str, list[str]] = {}
        self._own: set[str] = set()  # names that had the prefix `g:`
        self._done: list[tuple[int, dict[str, str]]] = []

    def taken(self) -> list[tuple[int, dict[str, str]]]:
        """Return the items that have ended, and forget them."""
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._line:
            self._open.append(name)
            if href := attributes.get("href"):  # Atom's <link href="..."/>
                self._add(href)
        elif name.rpartition(":")[2] in _ITEMS:
            self._line = self.events.line

    def _end(self, name: str, text: str) -> None:
        if self._open:
            if text.strip():
                self._add(text.strip())
            self._open.pop()
        elif self._line and name.rpartition(":")[2] in _ITEMS:
            cells = {path: ",".join(texts) for path, texts in self._cells.items()}
            self._done.append((self._line, cells))
            self._line, self._cells, self._own = 0, {}, set()

    def _add(self, text: str) -> None:
        """Add a text to the open element's; what the feed's own namespace says counts before RSS's or Atom's."""
        path = ".".join(name.rpartition(":")[2] for name in self._open)
        own = self._open[0].startswith("g:")
        if own and path not in self._own:
            self._own.add(path)
            self._cells[path] = []
        if own or path not in self._own:
            self._cells.setdefault(path, []).append(text)
