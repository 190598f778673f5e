"""Commands that price items: query and predict."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import render
from commands.libraries import prepare
from commands.options import (
    PATH,
    answer_option,
    correction_options,
    generation_option,
    image_dir_option,
    index_option,
    index_uri_option,
    json_option,
    listed,
    print_json,
    private_option,
    rule_options,
    rules_given,
    runtime,
    runtime_options,
)
from commands.reading import read_settings_of, reading_options
from commands.streams import tell_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.serving.arguing.selection import Selection
    from engine.serving.price_file import PriceFileResult
    from engine.serving.price_file_job import PriceFileSettings

STDIN_LIMIT = 10**6  # bytes: a catalogue's cell may hold no more characters


@click.command("query", short_help="Price one item.")
@click.argument("text", required=False, default="")
@click.option("--image", help="Photograph of the item: a URL or a path.")
@click.option(
    "--set",
    "further",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the item has in a column of the catalogue, brand=Acme, or a JSON object of several; may be repeated.",
)
@click.option("--without", multiple=True, metavar="ID", help="Leave out this comparable; may be repeated.")
@click.option(
    "--only", multiple=True, metavar="ID,...", help="Pin these comparables, whatever they cost: no other row counts."
)
@click.option("--exclude-group", metavar="ID", help="Price a listing of the index itself: without it or its like.")
@click.option("--explain", is_flag=True, help="Show what each part of the item does to its price.")
@generation_option
@click.option("--current-price", help="What the item costs now, which the rule max_change is of.")
@rule_options
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
    price query "Running shoe, blue" --set brand=Acme --set weight=0.4
    price query "Green tea, 20 bags" --without 1234 --without 1235
    price query "Acme green tea, 20 bags (pack of 6)" --explain

    --without and --only leave the models as they are, and what comes after them is told anew: the neighbours' prices,
    the correction, the interval; what the price would have been stands beside it. With --exclude-group the models
    answer that were trained on none of the row's near-duplicates.
    """
    prepare()
    from dataclasses import asdict, replace

    from engine.serving.pricer import Item, Pricer
    from engine.serving.review.one_price import bound_price
    from engine.settings.schema import require_overrides, with_overrides
    from index.errors import DataRefused
    from index.photographs.source import Photographs

    started = time.monotonic()
    private, answer, machine = given.pop("allow_private_addresses"), given.pop("answer"), runtime(given)
    further, selection, generation = _cells(given.pop("further")), _selection(given), given.pop("generation")
    explain = given.pop("explain")
    rules, current = rules_given(given), given.pop("current_price")
    require_overrides(**given)
    _require_amount(current)
    text = _standard_input() if text == "-" else text
    if not text.strip() and not (image or "").strip():
        raise DataRefused("There is nothing to price: give the item's TEXT, its --image, or both.")
    photographs = Photographs(allow_paths=True, fetch_missing=True, allow_private_addresses=private)
    pricer = Pricer.open(index_dir, machine, generation=generation)
    correction = with_overrides(pricer.correction, **given)
    how = {"correction": correction, "photographs": photographs, "answer": answer, "selection": selection}
    item = Item(text, image, further)
    explanation = pricer.explain(item, **how) if explain else None
    quote = explanation.quote if explanation else pricer.price([item], **how)[0]
    currency, band = pricer.manifest.currency, math.inf if selection.only else correction.band
    settings = {"k": correction.k, "band": band, "lambda": correction.decay, "alpha": correction.alpha}
    bounded = bound_price(quote.price, current, replace(pricer.settings.rules, **rules), currency)
    if not as_json:
        console = render.open_console()
        render.show_quote(console, quote, currency, pricer.settings.coverage, settings)
        if explanation:
            render.show_explanation(console, explanation, currency)
        render.show_price_to_set(console, bounded, currency)
        return
    plain = settings | {"band": band if math.isfinite(band) else None}  # JSON knows no infinity
    beside = {"explain": explanation.to_json()} if explanation else {}
    seconds = time.monotonic() - started
    print_json({**asdict(quote), **beside, **bounded, "settings": plain, "currency": currency, "seconds": seconds})


def _selection(given: dict[str, Any]) -> Selection:
    """Take --without, --only and --exclude-group out of the options. Raises UsageError where they contradict."""
    from engine.serving.arguing.selection import Selection
    from index.errors import UsageError

    without, only, group = given.pop("without"), given.pop("only"), given.pop("exclude_group")
    if only and given["band"] is not None:
        raise UsageError("--only counts comparables whatever they cost, and --band says how far off: give one of them.")
    return Selection(without, tuple(item_id for ids in only for item_id in listed("--only", ids)), group)


def _require_amount(current: str | None) -> None:
    """Raise UsageError for a --current-price that is none in any currency, before an index is opened."""
    from index.errors import UsageError

    if current is not None and not any(character.isdigit() for character in current):
        raise UsageError(f"The current price is {current!r:.60}: give an amount of money, such as 4.99.")


def _cells(given: Sequence[str]) -> dict[str, str | float | None]:
    """Cells by column, of options NAME=VALUE or JSON objects. Raises UsageError for what is neither."""
    from index.errors import UsageError

    cells: dict[str, str | float | None] = {}
    for option in given:
        try:
            document = json.loads(option) if option.lstrip().startswith("{") else None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--set {option!r:.60} is no JSON ({error}): give NAME=VALUE, or a JSON object.") from None
        if document is None:
            name, sign, value = option.partition("=")
            if not sign or not name.strip():
                raise UsageError(f"--set {option!r:.60} names no column: give NAME=VALUE, or a JSON object.")
            document = {name.strip(): value.strip()}
        for name, value in document.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float | None):
                raise UsageError(f"--set gives {name!r} a {type(value).__name__}: give text, a number or null.")
            if name in cells:
                raise UsageError(f"--set gives {name!r} twice: give it once.")
            cells[name] = value
    return cells


def _standard_input() -> str:
    from index.errors import DataRefused, UsageError

    if sys.stdin is None:
        raise UsageError("Standard input is closed: give the item's TEXT itself, or a file with `<`.")
    given = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(given) > STDIN_LIMIT:
        raise DataRefused(f"Standard input holds over {STDIN_LIMIT:,} bytes, which is no item: give the text of one.")
    return given.decode("utf-8-sig", errors="replace")


@click.command("predict", short_help="Price a file of items.")
@click.argument("items", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="File to write: .csv or .parquet.")
@index_uri_option
@image_dir_option
@click.option(
    "--columns", "output_columns", help="Of the output after the id, with commas; --full has all. [default: price]"
)
@click.option(
    "--full", is_flag=True, help="Write all columns: price, low, high, the price per unit, comparables and more."
)
@click.option(
    "--min-confidence",
    type=click.Choice(["high", "medium"]),
    help="Leave items unpriced that are less sure, each with the reason in OUTPUT.rejects.csv.",
)
@answer_option
@correction_options
@rule_options
@click.option("--shard-rows", type=int, default=1_000, help="Rows priced at a time: a kill loses them.")
@click.option(
    "--guard-formulas/--no-guard-formulas",
    help="In a .csv, put ' before an id that a spreadsheet would run; it then joins no more.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output, and drop an unfinished job of other work.")
@click.option("--ray", metavar="ADDRESS", help="Price on a Ray cluster; `local` starts one on this machine.")
@runtime_options
@reading_options
@json_option
def predict_command(items: Path, output: Path, index_dir: str, *, as_json: bool, **options: Any) -> None:
    """Price every item of ITEMS (a file that `price inspect` reads) into a file of ids and prices, in the same order.

    A row that cannot be priced has an empty price, and stands with its reason in OUTPUT.rejects.csv. A job that is
    stopped is continued by the same command, and gives the same file. Ids are written as they are, to be joined on: for
    a spreadsheet, take --guard-formulas or .parquet. The rejects are always guarded. With rules, the price to set
    stands beside the price, and the rules that bound it.

    \b
    price predict test.csv -o prices.csv
    price predict shop.parquet -o prices.parquet --full --ray local
    """
    prepare()
    from engine.serving.price_file_job import PriceFileSettings

    given, rules = {name: options.pop(name) for name in ("k", "band", "decay", "alpha")}, rules_given(options)
    settings = PriceFileSettings(
        reading=read_settings_of(options),
        output=_output_columns(options.pop("output_columns"), full=options.pop("full"), bounded=bool(rules)),
        rules=tuple(rules.items()),
        correction=tuple((name, value) for name, value in given.items() if value is not None),
        image_dir=options["image_dir"] and options["image_dir"].absolute(),
        answer=options["answer"],
        min_confidence=options["min_confidence"],
        runtime=runtime(options),
        shard_rows=options["shard_rows"],
        guard_formulas=options["guard_formulas"],
    )
    done = run_price_file(items, output, index_dir, settings, options)
    if as_json:
        print_json(done.to_json())
    else:
        render.show_price_file(done)


def run_price_file(
    items: Path, output: Path, index_dir: str, settings: PriceFileSettings, options: Mapping[str, Any]
) -> PriceFileResult:
    """Price a file as `options` have it, here or on a Ray cluster, with progress and what the file was taken for."""
    from engine.serving.price_file import price_file

    pool = None
    if options["ray"] is not None:
        from engine.serving.ray_pool import ray_pool

        pool = ray_pool(options["ray"])
    with render.Progress() as progress:
        done = price_file(
            items, output, index_dir, settings, overwrite=options["overwrite"], pool=pool, on_progress=progress.update
        )
    tell_notes(done.reading_notes)
    return done


def _output_columns(names: str | None, *, full: bool, bounded: bool) -> tuple[str, ...]:
    """Columns that --columns or --full name, and behind them those of rules that are given and stand in none."""
    from engine.serving.price_file_job import BOUNDED, FULL, PLAIN
    from index.errors import UsageError

    if full and names is not None:
        raise UsageError("--full writes every column, and --columns says which: give one of them.")
    if full or names is None:
        return (FULL if full else PLAIN) + BOUNDED * bounded
    columns = tuple(name.strip() for name in names.split(","))
    return columns + BOUNDED * (bounded and not set(columns) & set(BOUNDED))
