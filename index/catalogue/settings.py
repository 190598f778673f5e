"""Settings of reading a catalogue: what a user says of a file; the rest is found in it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReadSettings:
    """Settings of reading a file of items. A column that is None is found by its heading and its values."""

    id: str | None = None
    text: tuple[str, ...] | str | None = None  # joined in this order; a string may name several with commas
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
    rates: Path | None = None
