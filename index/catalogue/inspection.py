"""Inspection of a file before anything is built from it: how it is read, what of it is left out, what looks wrong."""

import json
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.catalogue.duplicates import LINKS, duplicate_groups, with_duplicate_keys
from index.catalogue.items import ITEMS, Catalogue, read_catalogue
from index.catalogue.money.prices import price_column_warning
from index.catalogue.reading import Reading
from index.catalogue.settings import ReadSettings
from index.errors import UsageError
from index.files import atomic_write
from index.progress import OnProgress, silent

EXAMPLES = 3
FEW_AMOUNTS = 0.2  # share of texts with an amount below which a warning asks for the column of sizes


@dataclass(frozen=True)
class Inspection:
    """Findings on a file."""

    catalogue: Catalogue
    near_duplicates: int  # items that share a group with another
    warnings: tuple[str, ...]  # the most harmful first
    command: str  # that builds from the file

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
    read = read_catalogue(path, settings, priced=False, on_progress=on_progress)
    if read.reading.convention is not None:
        read = read_catalogue(path, settings, priced=True, on_progress=on_progress)
    items = with_duplicate_keys(read.items, [None] * read.items.num_rows)
    groups = duplicate_groups(*(items[name].to_pylist() for name in LINKS))
    sizes = np.bincount(groups)[groups] if len(groups) else np.zeros(0, np.int64)
    return Inspection(read, int((sizes > 1).sum()), _warnings(read), _command(path, settings))


def _warnings(read: Catalogue) -> tuple[str, ...]:
    """Warnings on what looks wrong, the most harmful first."""
    items, reading = read.items, read.reading
    rows = items.num_rows + len(read.rejects)
    warnings = []
    if len(read.rejects) * 2 > rows:
        warnings.append(f"{len(read.rejects):,} of {rows:,} rows are rejected: is the file read as it was meant?")
    if dear := _rejected_end(reading):
        warnings.append(dear)
    if at_several := _texts_at_several_prices(read):
        warnings.append(
            f"{at_several:,} texts stand at different prices: is a column missing that tells their variants apart, "
            "such as a size? Name it with --text-column title,size."
        )
    if read.several:
        warnings.append(
            f"{read.several:,} items stand for several variants at one price, which is the price of no one variant."
        )
    if items.num_rows and reading.convention and items["amount"].null_count > (1 - FEW_AMOUNTS) * items.num_rows:
        warnings.append(
            f"Only {1 - items['amount'].null_count / items.num_rows:.0%} of the texts state an amount: if sizes stand "
            "in a column of their own, name it with --text-column title,size."
        )
    if reading.currency is None and reading.convention is not None:
        warnings.append(
            "The file does not say its currency: USD is written beside the prices unless --currency says another."
        )
    return tuple(warnings)


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


def _command(path: Path, settings: ReadSettings) -> str:
    """Return the command that builds an index from the file, as it was read here."""
    parts = ["price", "build-index", str(path)]
    for option, value in options_of(settings).items():
        for name in value if isinstance(value, list) else [value]:
            parts += [option, name]
    return shlex.join(parts)


def options_of(settings: ReadSettings) -> dict[str, str | list[str]]:
    """Return the options that say what `settings` say, by name."""
    single = {
        "--id-column": settings.id,
        "--text-column": None if settings.text is None else ",".join(settings.text),
        "--image-column": settings.image,
        "--price-column": settings.price,
        "--sale-price-column": settings.sale_price,
        "--currency-column": settings.currency_column,
        "--date-column": settings.date,
        "--sheet": settings.sheet,
        "--currency": settings.currency,
        "--rates": settings.rates,
    }
    several = {
        "--category-column": list(settings.category),
        "--number-column": list(settings.number),
        "--ignore-column": list(settings.ignore),
    }
    return {
        **{option: value for option, value in single.items() if value is not None},
        **{option: values for option, values in several.items() if values},
    }


def examples(read: Catalogue) -> list[tuple[dict[str, Any], float | None]]:
    """Return a few items with their prices, spread over the file."""
    items = read.items
    places = (
        sorted({round(share * (items.num_rows - 1)) for share in np.linspace(0, 1, EXAMPLES)}) if len(items) else []
    )
    return [(items.slice(at, 1).to_pylist()[0], read.prices[at].as_py()) for at in places]


def items_as_read(read: Catalogue) -> pa.Table:
    """Return the items as read: item_id, text, image, price, currency, and the file's own columns by their names."""
    items = read.items
    columns = {
        "item_id": items["item_id"],
        "text": items["text"],
        "image": items["image"],
        "price": read.prices,
        "currency": pa.array([read.reading.currency] * items.num_rows, pa.string()),
    }
    for name in items.column_names[len(ITEMS) :]:
        own = name.partition(":")[2]
        columns[own if own not in columns else name] = items[name]
    return pa.table(columns)


def write_items_file(found: Inspection, path: Path, *, overwrite: bool = False) -> None:
    """Write the items as read to a .csv or .parquet file. Raises UsageError for another suffix or a file there."""
    import pyarrow.csv
    import pyarrow.parquet

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(f"{path} must end in .csv or .parquet: that says what to write.")
    _refuse_overwriting(path, overwrite)
    table = items_as_read(found.catalogue)
    with atomic_write(path) as partial:
        if suffix == ".csv":
            pyarrow.csv.write_csv(table, partial)
        else:
            pyarrow.parquet.write_table(table, partial)


def write_toml(found: Inspection, path: Path, *, overwrite: bool = False) -> None:
    """Write the reading as a section of settings. Raises UsageError for a file that is there."""
    _refuse_overwriting(path, overwrite)
    with atomic_write(path) as partial:
        partial.write_text(as_toml(found.catalogue.reading), encoding="utf-8")


def as_toml(reading: Reading) -> str:
    """Return the section [catalogue] that reads a file as it was read: every column by its heading."""
    named = reading.roles.named()
    keys = {"currency": "currency_column"}
    known = {field.name for field in fields(ReadSettings)}
    lines = [f"# {reading.path.name}: {reading.kind}", "[catalogue]"]
    for role, value in named.items():
        key = keys.get(role, role)
        if key in known:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")  # a string of JSON is one of TOML
    if reading.currency:
        lines.append(f"currency = {json.dumps(reading.currency)}")
    return "\n".join(lines) + "\n"


def _refuse_overwriting(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: name another file, or replace it with --overwrite.")
