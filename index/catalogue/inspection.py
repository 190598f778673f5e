"""Inspection of a file before anything is built from it: how it is read, what of it is left out, what looks wrong."""

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.catalogue.duplicates import LINKS, duplicate_groups, with_duplicate_keys
from index.catalogue.further import further_columns
from index.catalogue.items import Catalogue, read_items
from index.catalogue.money.prices import price_column_warning
from index.catalogue.reading import Reading, understand
from index.catalogue.settings import ReadSettings
from index.catalogue.shops.roles import LISTED
from index.errors import UsageError
from index.files import atomic_write
from index.progress import OnProgress, silent
from index.visible import visible

EXAMPLES = 3
CATEGORY_OPTION, NUMBER_OPTION = "--category-column", "--number-column"
# Shares from which a warning is due: of texts with an amount, of rows rejected, of items without a photograph.
FEW_AMOUNTS, FEW_REJECTS, MANY_REJECTS, MANY_WITHOUT_PHOTOGRAPH = 0.2, 0.01, 0.5, 0.5
REASONS_TO_ASK = {  # kinds of rejects, and what to ask about many of them
    "price is not positive": "Are these prices that are still to be filled in, or is another column what is paid?",
    "an id seen before": "Is it the id of an article, or of the parent of several? Name another with --id-column.",
    "a sale price above the price": "Is it what is paid? Name another with --sale-price-column.",
    "no text": "Do the words stand in another column? Name it with --text-column.",
    "currency is not known": "Does the column name no currencies? Leave it unread with --ignore-column.",
    "no price": "Do they have their price in another column? Name it with --price-column.",
}


@dataclass(frozen=True)
class Inspection:
    """Findings on a file."""

    catalogue: Catalogue
    near_duplicates: int  # items that share a group with another
    warnings: tuple[str, ...]  # the most harmful first
    command: str  # that builds from the file, or prices it

    @property
    def rows(self) -> int:
        """Rows of the file: items, rejects and those passed over."""
        read = self.catalogue
        return int(read.items.num_rows) + len(read.rejects) + read.passed_over.total()

    @property
    def price(self) -> dict[str, float] | None:
        """The lowest, the median and the highest price, in money; None where no item has one."""
        prices = self.catalogue.prices.drop_null().to_numpy()
        if not len(prices):
            return None
        return {"low": float(prices.min()), "median": float(np.median(prices)), "high": float(prices.max())}

    @property
    def with_amount(self) -> float:
        """Share of items whose text states an amount."""
        items = self.catalogue.items
        return float(1 - items["amount"].null_count / max(1, items.num_rows))

    @property
    def with_photograph(self) -> int:
        """Count of items that name a photograph."""
        items = self.catalogue.items
        return int(items.num_rows - items["image"].null_count)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        read = self.catalogue
        return {
            "format": read.reading.kind,
            "rows": self.rows,
            "items": read.items.num_rows,
            "rejected": dict(read.rejected),
            "passed_over": dict(read.passed_over),
            "currency": read.reading.currency,
            "columns": read.reading.roles.named(),
            "price": self.price,
            "with_amount": self.with_amount,
            "with_photograph": self.with_photograph,
            "near_duplicates": self.near_duplicates,
            "notes": list(read.notes),
            "warnings": list(self.warnings),
            "command": self.command,
        }


def inspect_file(path: Path, settings: ReadSettings, *, on_progress: OnProgress = silent) -> Inspection:
    """Read a file as a build would, with prices or without, and say what it holds. Raises DataRefused."""
    reading = understand(path, settings, priced=False, on_progress=on_progress)
    read = read_items(reading, reading.convention is not None, on_progress)
    items = with_duplicate_keys(read.items, [None] * read.items.num_rows)
    groups = duplicate_groups(*(items[name].to_pylist() for name in LINKS))
    sizes = np.bincount(groups)[groups] if len(groups) else np.zeros(0, np.int64)
    command = _command(path, settings, priced=reading.convention is not None)
    return Inspection(read, int((sizes > 1).sum()), _warnings(read), command)


def _warnings(read: Catalogue) -> tuple[str, ...]:
    """Warnings on what looks wrong, the most harmful first."""
    return tuple(filter(None, (*_lost_rows(read), *_lost_words(read), *_lost_columns(read))))


def _lost_rows(read: Catalogue) -> Iterator[str]:
    """Warnings on rows that are no items and should be."""
    rejected, rows = len(read.rejects), read.items.num_rows + len(read.rejects)
    if rejected > MANY_REJECTS * rows:
        reason, times = read.rejected.most_common(1)[0]
        yield f"{rejected:,} of {rows:,} rows are rejected, {times:,} of them with: {reason}. Are the columns right?"
    yield _rejected_end(read.reading)
    for kind, what in REASONS_TO_ASK.items():
        if (times := read.rejected[kind]) > FEW_REJECTS * rows:
            yield f"{_are(times, 'row')} rejected with: {kind}. {what}"


def _lost_words(read: Catalogue) -> Iterator[str]:
    """Warnings on items that the words do not tell apart."""
    items = read.items
    title = read.reading.heading("text")
    if at_several := _texts_at_several_prices(read):
        yield (
            f"{at_several:,} {'text stands' if at_several == 1 else 'texts stand'} at different prices: is a column "
            f"missing that tells variants apart, such as a size? Name it too: --text-column "
            f"{_listed_names([title])},COLUMN."
        )
    if read.several:
        yield f"{read.several:,} items stand for several variants at one price, which is the price of no one variant."
    with_amount = items.num_rows - items["amount"].null_count
    if read.reading.convention and with_amount < FEW_AMOUNTS * items.num_rows:
        yield (
            f"{with_amount / items.num_rows:.0%} of the texts state an amount. If sizes stand in a column of their "
            f"own, name it too: --text-column {_listed_names([title])},COLUMN."
        )


def _lost_columns(read: Catalogue) -> Iterator[str]:
    """Warnings on what is missing beside words and prices."""
    reading, items = read.reading, read.items
    if reading.convention is not None and reading.currency is None:
        yield "The file does not say its currency: USD is written beside the prices unless --currency says another."
    without = items["image"].null_count
    if reading.heading("image") and without > MANY_WITHOUT_PHOTOGRAPH * items.num_rows:
        yield f"{without:,} of {items.num_rows:,} items name no photograph in {reading.heading('image')!r}."
    if (unnamed := read.unnamed) and reading.heading("id"):
        yield (
            f"{_are(unnamed, 'item')} without an id in {reading.heading('id')!r} and named by the line, which changes "
            "with the file."
        )


def _are(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def _rejected_end(reading: Reading) -> str:
    """Return the warning that the rejected prices are one end of the column, "" where they are not."""
    if reading.convention is None:
        return ""
    prices: list[float] = []
    rejected: dict[str, int] = {}
    for cell, rows in reading.survey.prices.items():
        try:
            prices += [reading.convention.read(cell).amount] * rows
        except ValueError:
            rejected[cell] = rows
    return price_column_warning(prices, rejected)


def _texts_at_several_prices(read: Catalogue) -> int:
    """Count of texts that more than one item has, at prices that differ by more than a hundredth."""
    items = read.items
    if not items.num_rows or items["log_price"].null_count == items.num_rows:
        return 0
    table = items.select(["text", "log_price"]).group_by("text").aggregate([("log_price", "min"), ("log_price", "max")])
    apart = pc.greater(pc.subtract(table["log_price_max"], table["log_price_min"]), 0.01)
    return int(pc.sum(apart).as_py() or 0)


def _command(path: Path, settings: ReadSettings, *, priced: bool) -> str:
    """Return the command that builds from the file as it was read here, or, where it has no prices, prices it."""
    name = str(path)
    parts = ["price", "build-index" if priced else "predict", f"./{name}" if name.startswith("-") else name]
    options = options_of(settings)
    if not priced:  # the index that prices it says which columns it reads
        options = {option: value for option, value in options.items() if option not in (CATEGORY_OPTION, NUMBER_OPTION)}
    for option, value in options.items():
        for name in value if isinstance(value, list) else [value]:
            parts += [option, name]
    return shlex.join(parts if priced else [*parts, "--output", "prices.csv"])


def options_of(settings: ReadSettings) -> dict[str, str | list[str]]:
    """Return the options that say what `settings` say, by name."""
    single = {
        "--id-column": settings.id,
        "--text-column": None if settings.text is None else _listed_names(settings.text),
        "--image-column": settings.image,
        "--price-column": settings.price,
        "--sale-price-column": settings.sale_price,
        "--currency-column": settings.currency_column,
        "--date-column": settings.date,
        "--sheet": settings.sheet,
        "--currency": settings.currency,
        "--rates": settings.rates,
    }
    given: dict[str, str | list[str]] = {option: value for option, value in single.items() if value is not None}
    several = {CATEGORY_OPTION: settings.category, NUMBER_OPTION: settings.number, "--ignore-column": settings.ignore}
    return given | {option: list(names) for option, names in several.items() if names}


def _listed_names(names: Sequence[str]) -> str:
    """Names with commas between them; one that holds a comma in quotes, as --text-column reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def examples(read: Catalogue) -> list[tuple[dict[str, Any], float | None]]:
    """Return a few items with their prices, spread over the file."""
    items = read.items
    places = (
        sorted({round(share * (items.num_rows - 1)) for share in np.linspace(0, 1, EXAMPLES)}) if len(items) else []
    )
    return [(items.slice(at, 1).to_pylist()[0], read.prices[at].as_py()) for at in places]


def items_as_read(read: Catalogue) -> pa.Table:
    """Return the items as read: item_id, text, image, price, currency, and the file's own columns by their names.

    Where prices have dates, these too.
    """
    items = read.items
    columns = {
        "item_id": items["item_id"],
        "text": items["text"],
        "image": items["image"],
        "price": read.prices,
        "currency": pa.array([read.reading.currency] * items.num_rows, pa.string()),
    }
    if items["date"].null_count < items.num_rows:
        columns["date"] = items["date"]
    for column in further_columns(items):
        name = column.partition(":")[2]
        columns[f"column {name}" if name in columns else name] = items[column]
    return pa.table(columns)


def write_items_file(found: Inspection, path: Path) -> None:
    """Write the items as read to a .csv or .parquet file."""
    import pyarrow.csv
    import pyarrow.parquet

    suffix = path.suffix.lower()
    table = items_as_read(found.catalogue)
    with atomic_write(path) as partial:
        if suffix == ".csv":
            pyarrow.csv.write_csv(table, partial)
        else:
            pyarrow.parquet.write_table(table, partial)


def write_toml(found: Inspection, path: Path) -> None:
    """Write the reading as settings, for --config of `price build-index`."""
    with atomic_write(path) as partial:
        partial.write_text(as_toml(found.catalogue.reading), encoding="utf-8")


def as_toml(reading: Reading) -> str:
    """Return the settings that read a file as it was read: every column by its heading.

    Where the first filled of several columns counts, as in exports of shops, they are found again, not named.
    """
    roles, settings = reading.roles, reading.settings
    named = roles.named()
    named.pop("option", None)
    if roles.shop is None:  # a shop's options are found again
        named["text"] = [roles.header[at] for at in (*roles.text[:1], *roles.options, *roles.text[1:])]
    lines = [f"# {visible(reading.path.name)}: {reading.kind}"]
    if reading.currency:
        lines.append(f"currency = {json.dumps(reading.currency)}")
    lines.append("[catalogue]")
    for role in ("id", "text", "image", "price", "sale_price", "currency", "date", "category", "number"):
        places = roles.places(role)
        key = "currency_column" if role == "currency" else role
        if len(places) > 1 and role not in LISTED:
            names = ", ".join(repr(roles.header[at]) for at in places)
            lines.append(f"# {key}: the first that is filled of {visible(names)}")
        elif role in named:
            lines.append(f"{key} = {_quoted(named[role])}")
    lines += [f"{key} = {_quoted(value)}" for key in ("ignore", "sheet", "rates") if (value := getattr(settings, key))]
    return "\n".join(lines) + "\n"


def _quoted(value: str | Sequence[str]) -> str:
    """A string or list of JSON, which is one of TOML; TOML alone forbids the character DEL."""
    listed = value if isinstance(value, str) else list(value)
    return json.dumps(listed, ensure_ascii=False).replace("\x7f", "\\u007f")


def refuse_outputs(file: Path, items: Path | None, toml: Path | None, *, overwrite: bool) -> None:
    """Raise UsageError for a file that may not be written; call it before a long file is read."""
    if items and items.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"{items} must end in .csv or .parquet: that says what to write.")
    for path in filter(None, (items, toml)):
        if path.exists() and file.exists() and path.samefile(file):
            raise UsageError(f"{path} is the file that is read: name another one to write.")
        if path.exists() and not overwrite:
            raise UsageError(f"{path} is there already: name another file, or replace it with --overwrite.")
