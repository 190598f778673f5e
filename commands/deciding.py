"""Commands that make decisions of prices: review a price list, audit a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import render
from commands.libraries import prepare
from commands.options import (
    PATH,
    answer_option,
    correction_options,
    image_dir_option,
    index_option,
    index_uri_option,
    json_option,
    print_json,
    rule_options,
    rules_given,
    runtime,
    runtime_options,
)
from commands.pricing import run_price_file
from commands.reading import read_settings_of, reading_options

OUTPUT = "File to write: .xlsx, .csv, .parquet or .html."
OVERWRITE = "Replace the output, and drop an unfinished job of other work."


@click.command("review", short_help="Review a price list.")
@click.argument("items", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help=OUTPUT)
@index_uri_option
@image_dir_option
@rule_options
@click.option("--weight-column", help="Column by which a difference is multiplied: a quantity.")
@click.option("--group-column", help="Column by which the summary is. [default: a category, found by its heading]")
@answer_option
@correction_options
@click.option("--shard-rows", type=int, default=1_000, help="Rows priced at a time: a kill loses them.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE)
@click.option("--ray", metavar="ADDRESS", help="Price on a Ray cluster; `local` starts one on this machine.")
@runtime_options
@reading_options
@json_option
def review_command(items: Path, output: Path, index_dir: str, *, as_json: bool, **options: Any) -> None:
    """Review the prices of ITEMS: what each should cost, how sure that is, what to set by your rules, and why.

    ITEMS is a file that `price inspect` reads, with the items' current prices. Rows are sorted by what is at stake,
    those that are unsure last. A workbook explains its columns on a second sheet and has a summary on a third. A review
    that is stopped is continued by the same command.

    \b
    price review stock.xlsx -o review.xlsx --weight-column sold
    price review shop.csv -o review.html --rule cost=column:cost --rule margin=25
    price review shop.csv -o review.csv --rule "ending=.99 below 20, nearest 5"
    """
    prepare()
    from engine.serving.price_file_job import PriceFileSettings, ReviewSettings

    given = {name: options.pop(name) for name in ("k", "band", "decay", "alpha")}
    settings = PriceFileSettings(
        reading=read_settings_of(options),
        correction=tuple((name, value) for name, value in given.items() if value is not None),
        image_dir=options["image_dir"] and options["image_dir"].absolute(),
        answer=options["answer"],
        runtime=runtime(options),
        shard_rows=options["shard_rows"],
        rules=tuple(rules_given(options).items()),
        review=ReviewSettings(options["weight_column"], options["group_column"]),
    )
    done = run_price_file(items, output, index_dir, settings, options)
    if as_json:
        print_json(done.to_json())
    else:
        render.show_review(render.open_console(), done)


@click.command("audit", short_help="List prices of the index that look wrong.")
@click.option("--output", "-o", type=PATH, required=True, help=OUTPUT)
@index_option
@click.option("--overwrite", is_flag=True, help="Replace the output.")
@json_option
def audit_command(output: Path, index_dir: Path, overwrite: bool, *, as_json: bool) -> None:
    """List the rows of the index whose own price lies outside what such items cost, the worst first.

    Each row stands beside what it should cost by models that saw neither it nor its near-duplicates, with comparables
    and the likely fault where one can be told: a decimal point, a pack, a unit, another currency, a near-duplicate with
    another price. Nothing is encoded anew.

    \b
    price audit -o audit.xlsx
    price audit -o audit.csv --json
    """
    prepare()
    from engine.serving.audit.audit_file import audit_file

    with render.Progress() as progress:
        done = audit_file(index_dir, output, overwrite=overwrite, on_progress=progress.update)
    if as_json:
        print_json(done.to_json())
    else:
        render.show_audit(render.open_console(), done)
