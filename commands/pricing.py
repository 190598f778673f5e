"""Commands that price items: query and predict."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import click

import render
from commands.options import (
    PATH,
    answer_option,
    column_names,
    column_options,
    correction_options,
    image_dir_option,
    index_option,
    json_option,
    print_json,
    private_option,
    runtime,
    runtime_options,
)

STDIN_LIMIT = 10**6  # bytes: a catalogue's cell may hold no more characters


@click.command("query", short_help="Price one item.")
@click.argument("text", required=False, default="")
@click.option("--image", help="Photograph of the item: a URL or a path.")
@answer_option
@correction_options
@index_option
@runtime_options
@private_option
@json_option
def query_command(text: str, image: str | None, index_dir: Path, *, as_json: bool, **given: Any) -> None:
    """Price one item from its TEXT (`-` reads standard input), its photograph, or both.

    The index's own k, band, lambda and alpha were fitted out of fold; each can be overridden here. A TEXT that begins
    with a dash goes last, after `--`.

    \b
    price query "Espresso beans, 2 lb (Pack of 3)" --image beans.jpg
    price query - --k 8 --json < listing.txt
    """
    from index.errors import DataRefused

    started = time.monotonic()
    text = _standard_input() if text == "-" else text
    if not text.strip() and not (image or "").strip():
        raise DataRefused("There is nothing to price: give the item's TEXT, its --image, or both.")
    from dataclasses import asdict

    from engine.serving.pricer import Item, Pricer, with_overrides
    from index.photographs.source import Photographs

    private, answer = given.pop("allow_private_addresses"), given.pop("answer")
    photographs = Photographs(allow_paths=True, fetch_missing=True, allow_private_addresses=private)
    pricer = Pricer.open(index_dir, runtime(given))
    correction = with_overrides(pricer.correction, **given)
    quote = pricer.price([Item(text, image)], correction=correction, photographs=photographs, answer=answer)[0]
    currency, band = pricer.manifest.currency, correction.band
    settings = {"k": correction.k, "band": band, "lambda": correction.decay, "alpha": correction.alpha}
    if not as_json:
        render.show_quote(render.open_console(), quote, currency, pricer.settings.coverage, settings)
        return
    plain = settings | {"band": band if math.isfinite(band) else None}  # JSON knows no infinity
    print_json({**asdict(quote), "settings": plain, "currency": currency, "seconds": time.monotonic() - started})


def _standard_input() -> str:
    from index.errors import DataRefused

    given = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(given) > STDIN_LIMIT:
        raise DataRefused(f"Standard input holds over {STDIN_LIMIT:,} bytes, which is no item: give the text of one.")
    return given.decode("utf-8-sig", errors="replace")


@click.command("predict", short_help="Price a file of items.")
@click.argument("items", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="File to write: .csv or .parquet.")
@click.option(
    "--index",
    "index_dir",
    default="price-index",
    envvar="PRICE_INDEX",
    show_envvar=True,
    help="Folder of the index, or its URI on an object store.",
)
@image_dir_option
@click.option(
    "--columns", "output_columns", default="price", help="Of the output after the id, with commas; --full has all."
)
@click.option("--full", is_flag=True, help="Write price, low, high, blend, shift and the comparables' ids.")
@answer_option
@correction_options
@click.option("--shard-rows", type=click.IntRange(1), default=1_000, help="Rows priced at a time: a kill loses them.")
@click.option("--overwrite", is_flag=True, help="Replace the output, and drop an unfinished job of other work.")
@click.option("--ray", metavar="ADDRESS", help="Price on a Ray cluster; `local` starts one on this machine.")
@runtime_options
@column_options
@json_option
def predict_command(items: Path, output: Path, index_dir: str, *, as_json: bool, **options: Any) -> None:
    """Price every row of ITEMS (CSV or Parquet) into a file of ids and prices, in the same order.

    A row that cannot be priced has an empty price, and stands with its reason in OUTPUT.rejects.csv. A job that is
    stopped is continued by the same command, and gives the same file.

    \b
    price predict test.csv -o prices.csv
    price predict shop.parquet -o prices.parquet --full --ray local
    """
    from engine.serving.price_file import FULL, PriceFileSettings, price_file

    given = {name: options.pop(name) for name in ("k", "band", "decay", "alpha")}
    output_columns, full = options.pop("output_columns"), options.pop("full")
    settings = PriceFileSettings(
        columns=column_names(options),
        output=FULL if full else tuple(name.strip() for name in output_columns.split(",")),
        correction=tuple((name, value) for name, value in given.items() if value is not None),
        image_dir=options["image_dir"] and options["image_dir"].absolute(),
        answer=options["answer"],
        runtime=runtime(options),
        shard_rows=options["shard_rows"],
    )
    pool = None
    if options["ray"] is not None:
        from engine.serving.ray_pool import ray_pool

        pool = ray_pool(options["ray"])
    with render.Progress() as progress:
        done = price_file(
            items, output, index_dir, settings, overwrite=options["overwrite"], pool=pool, on_progress=progress.update
        )
    if as_json:
        print_json(done.to_json())
    else:
        render.show_price_file(done)
