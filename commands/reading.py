"""Options that say how a file of items is to be read, and the command that shows how it is: inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import render
from commands.options import PATH, json_option, listed, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from index.catalogue.settings import ReadSettings

FOUND = "[default: found by its heading]"
READING_OPTIONS = (
    ("--id-column", "id", f"Column that tells items apart. {FOUND}"),
    ("--text-column", "text", f"Column of words, or several with commas: title,brand,size. {FOUND}"),
    ("--image-column", "image", f"Column of photographs; may be absent. {FOUND}"),
    ("--price-column", "price", f"Column of prices. {FOUND}"),
    ("--sale-price-column", "sale_price", f"Column of what is paid where it is filled. {FOUND}"),
    ("--currency-column", "currency_column", f"Column of the prices' currencies. {FOUND}"),
    ("--date-column", "date", f"Column of the prices' dates: an item's newest price counts. {FOUND}"),
    ("--sheet", "sheet", "Sheet of a workbook. [default: the one that looks like a table of items]"),
)
FURTHER_OPTIONS = (
    ("--category-column", "category", "Column of kinds, such as a brand; may be repeated. [default: found]"),
    ("--number-column", "number", "Column of numbers, such as a weight; may be repeated. [default: found]"),
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what the columns of a file are."""
    command = click.option(
        "--rates", type=PATH, help="CSV of code,rate[,date]: converts the prices of other currencies."
    )(command)
    ignore = "Column to leave unread; may be repeated."
    command = click.option("--ignore-column", "ignore", multiple=True, help=ignore)(command)
    for option, name, what in reversed(READING_OPTIONS):
        command = click.option(option, name, help=what)(command)
    return command


def further_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name the file's own categories and numbers."""
    for option, name, what in reversed(FURTHER_OPTIONS):
        command = click.option(option, name, multiple=True, help=what)(command)
    return command


def read_settings_of(options: dict[str, Any], currency: str | None = None) -> ReadSettings:
    """Take the options of `reading_options` out of `options`."""
    from index.catalogue.settings import ReadSettings

    given = {name: options.pop(name) for _, name, _ in READING_OPTIONS}
    given |= {name: options.pop(name, ()) for name in ("category", "number", "ignore")}
    given["text"] = given["text"] and tuple(map(str.strip, listed("--text-column", given["text"])))
    rates = options.pop("rates")
    return ReadSettings(**given, rates=rates and str(rates), currency=currency)


@click.command("inspect", short_help="Show how a file is understood.")
@click.argument("file", type=PATH)
@reading_options
@further_options
@click.option("--currency", help="Code of the prices' currency, or the one to convert them to with --rates.")
@click.option("--output", "-o", type=PATH, help="Write the items as they are read: .csv or .parquet.")
@click.option("--toml", type=PATH, help="Write the reading as settings, for --config of `price build-index`.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
def inspect_command(file: Path, *, as_json: bool, **options: Any) -> None:
    """Show how FILE is understood, before anything is built from it.

    Its kind, what each column is taken for and why, items with examples, prices, what is rejected or passed over, and
    what looks wrong. Read are CSV with any delimiter, Excel workbooks, JSON, Parquet, and the exports of Shopify,
    Google Merchant, Meta, WooCommerce, Amazon, eBay, Etsy, Square, PrestaShop, Magento and Open Food Facts.

    \b
    price inspect products_export.csv
    price inspect prices.xlsx --sheet Products -o items.csv
    """
    from index.catalogue.inspection import inspect_file, refuse_outputs, write_items_file, write_toml

    output, toml, overwrite = options.pop("output"), options.pop("toml"), options.pop("overwrite")
    settings = read_settings_of(options, options.pop("currency"))
    refuse_outputs(file, output, toml, overwrite=overwrite)
    with render.Progress() as progress:
        found = inspect_file(file, settings, on_progress=progress.update)
    if output:
        write_items_file(found, output)
    if toml:
        write_toml(found, toml)
    if as_json:
        print_json(found.to_json())
    else:
        render.show_inspection(render.open_console(), found)
