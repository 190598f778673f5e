"""Settings of reading a catalogue: what a user says of a file; the rest is found in it."""

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

from index.catalogue.shared_lines import NONE_SHARED, SharedLines
from index.errors import UsageError


@dataclass(frozen=True)
class ReadSettings:
    """Settings of reading a file of items. A column that is None is found by its heading and its values."""

    id: str | None = None
    text: tuple[str, ...] | None = None  # joined in this order
    image: str | None = None
    price: str | None = None
    sale_price: str | None = None  # what is paid, where it is filled
    currency_column: str | None = None
    date: str | None = None  # of the price: of several prices of an id the newest is the item's
    category: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    sheet: str | None = None  # of a workbook
    currency: str | None = None  # that the prices must be in, or are converted to with `rates`
    rates: str | None = None  # path of a CSV of code,rate[,date]
    # Added rows are meant as they are: prices far from what is expected, items without ids that seem to be there
    any_price: bool = False

    def __post_init__(self) -> None:
        for name in ("text", "category", "number", "ignore"):
            names = getattr(self, name) or ()
            if doubled := [column for column, times in Counter(names).items() if times > 1]:
                raise UsageError(f"{name} names {doubled[0]!r} twice: name each once.")
        if both := [name for name in self.category if name in self.number]:
            raise UsageError(f"{both[0]!r} is named as a category and as a number: name it as one of them.")

    def for_index(self, currency: str) -> "ReadSettings":
        """Return the same for an index in `currency`: what rates convert to where the user names no currency."""
        return replace(self, currency=currency) if self.rates and not self.currency else self

    def given(self) -> dict[str, Any]:
        """Return what a user says, by name, without what is left to be found."""
        return {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) not in (None, (), False)
        }


@dataclass(frozen=True)
class IndexColumns:
    """Columns that an index reads of every item: a file that is priced, added or scored must have them.

    They are known by their headings; one that a file lacks is unknown where the user says to leave it unread.
    """

    named: ReadSettings  # what the user said when the index was built
    further: tuple[str, ...] = ()  # as items have them: `category:NAME`, `number:NAME`
    shared: SharedLines = NONE_SHARED  # first lines that are no names


FOUND = ReadSettings()
"""Everything is found in the file."""
