"""Commands that make and change an index: build-index, add, remove, compact, keep, fetch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import render
from commands.libraries import prepare
from commands.options import (
    PATH,
    days_or_word,
    image_dir_option,
    index_option,
    json_option,
    print_json,
    private_option,
    runtime,
    runtime_options,
)
from commands.reading import further_options, read_settings_of, reading_options
from commands.streams import show, tell, tell_notes


@click.command("build-index", short_help="Learn from a priced catalogue.")
@click.argument("catalogue", type=PATH)
@index_option
@image_dir_option
@click.option("--preset", default="default", help="Named settings to start from, from the list above.")
@click.option("--config", type=PATH, help="Settings file (price.toml); options here win over it.")
@click.option("--text-encoder", help="Encoder of words, or several with commas: NAME or NAME@PATH. [default: minilm]")
@click.option("--image-encoder", help="Encoder of photographs, or none. [default: pixels]")
@click.option(
    "--folds",
    type=int,
    help="Folds that every row is predicted out of, 3 to 20. [default: 10; 5 if rows > 8,000 or groups < 200]",
)
@click.option("--seed", type=int, help="Of everything random: folds, networks, trees. [default: 0]")
@click.option("--currency", help="Of the prices, kept with the index. [default: the catalogue's, else USD]")
@click.option(
    "--half-life",
    callback=days_or_word,
    metavar="DAYS",
    help="Days after which a price counts half, or auto to choose. [default: all count the same]",
)
@click.option("--as-of", metavar="DATE", help="Pass over prices of a later date. [default: the newest counts]")
@click.option(
    "--most-rejects",
    type=float,
    help="Share of the rows that may be rejected before nothing is built. [default: 0.5]",
)
@click.option("--ray", metavar="ADDRESS", help="Encode and fit on a Ray cluster; `local` starts one on this machine.")
@runtime_options
@reading_options
@further_options
@json_option
def build_index_command(catalogue: Path, index_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Learn from a priced CATALOGUE (a file that `price inspect` reads) and make the new index current.

    Rows that cannot be used go to a rejects file with line, column and reason. A CATALOGUE that is missing is data that
    is refused (exit code 3); a wrong option (2) is said before. A build that is stopped leaves the
    previous index current, and the next one encodes only what is not yet encoded.

    \b
    price build-index catalogue.csv --image-dir photographs
    price build-index shop.parquet --id-column sku --text-column title

    \b
    Presets; the last four are published systems, and run with any encoders:
    default         ours
    clip-fusion     CLIP's text and photograph in one latent space
    gated-ensemble  a gate over Qwen3 and Marqo, and three kinds of trees on it
    towers-knn      a tower each for Qwen3, Marqo and a vision-language encoder
    end-to-end      MiniLM and EfficientNet-B0, SmoothL1, then SMAPE itself
    """
    from index.shortage import require_memory

    require_memory(training=True)
    from engine.lifecycle.build import build_index
    from engine.settings.presets import replaced_encoders, without_its_encoder
    from engine.settings.read import read_settings
    from index.errors import DownloadNeeded

    how = {"image_dir": options.pop("image_dir"), "ray": options.pop("ray"), "runtime": runtime(options)}
    reading = read_settings_of(options)
    preset = options.pop("preset")
    settings = read_settings(options.pop("config"), preset, catalogue=reading.given(), **options)
    for replaced in replaced_encoders(preset, settings):
        tell(f"price: {replaced}")
    try:
        with render.Progress() as progress:
            result = build_index(catalogue, index_dir, settings, on_progress=progress.update, **how)
    except DownloadNeeded as error:
        raise DownloadNeeded(f"{error}{without_its_encoder(preset)}") from error
    score = result.evaluation.smape
    tell_notes((*result.reading_notes, *result.evaluation.notes))
    if as_json:
        summary = {"rows": result.rows, "rejected": result.rejected.total(), "encoders": result.encoders}
        print_json({**summary, "seconds": result.seconds, "smape": score.value})
        return
    show(f"{result.rows:,} rows indexed in {index_dir} in {result.seconds:.0f} s.")
    render.print_counts(f"rows rejected, listed in {result.rejects_file}", result.rejected)
    render.print_counts("rows without a usable photograph", result.photographs_absent)
    show(f"SMAPE out of fold {score.value:.2f} (95% interval {score.low:.2f} to {score.high:.2f}).")
    show(f'Next: price query "item text" --index {index_dir}, or price evaluate --index {index_dir}.')


@click.command("add", short_help="Add priced items to the index.")
@click.argument("new", type=PATH)
@index_option
@image_dir_option
@click.option("--replace", "replace_known", is_flag=True, help="Let an item take the place of the row with its id.")
@click.option(
    "--yes", "any_price", is_flag=True, help="Add the items even if their prices are far off, or they seem to be there."
)
@runtime_options
@reading_options
@json_option
def add_command(new: Path, index_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Add the priced items of NEW (a file that `price inspect` reads) to the index, without training anything.

    They are comparables from then on. Their residuals come from models that were trained neither on them nor on their
    near-duplicates. Whoever is reading keeps the index that was opened; a kill leaves the old one current. An id that
    the index has is refused, and nothing is added, unless --replace is given. An item without an id is named by its
    line, as in line-2, or line-2.2 where another file's has that name, and takes no row's place.

    \b
    price add new.csv --image-dir photographs
    price add corrected.csv --replace --json
    """
    from index.shortage import require_memory

    require_memory(training=True)
    from engine.lifecycle.update import add_items

    reading = replace(read_settings_of(options), any_price=options.pop("any_price"))
    how = {"reading": reading, "image_dir": options.pop("image_dir"), "runtime": runtime(options)}
    with render.Progress() as progress:
        result = add_items(new, index_dir, on_progress=progress.update, **how, **options)
    tell_notes(result.reading_notes)
    if as_json:
        print_json(result.to_json())
        return
    render.show_update(result, index_dir)


@click.command("remove", short_help="Take items out of the index.")
@click.argument("ids", nargs=-1)
@click.option("--file", type=PATH, help="File of ids to remove, beside those that are named.")
@click.option("--id-column", help="Column of the file that holds the ids. [default: found by its heading]")
@click.option("--ignore-missing", is_flag=True, help="Pass over ids that the index does not have.")
@index_option
@json_option
def remove_command(
    ids: tuple[str, ...],
    file: Path | None,
    index_dir: Path,
    *,
    id_column: str | None,
    ignore_missing: bool,
    as_json: bool,
) -> None:
    """Take the items with these IDS out of the index: no longer comparables, shown or scored.

    If an id is unknown, nothing is removed. The models stay as they are. The disk space of the rows is freed once half
    as many are removed as are left, or by `price compact`. An id that begins with a dash goes last, after `--`.

    \b
    price remove 1234 1235
    price remove --file sold-out.csv --ignore-missing
    """
    prepare()
    from engine.lifecycle.update import read_ids, remove_items

    chosen = [*ids, *(read_ids(file, id_column) if file else [])]
    with render.Progress() as progress:
        result = remove_items(chosen, index_dir, ignore_missing=ignore_missing, on_progress=progress.update)
    if as_json:
        print_json(result.to_json())
        return
    render.show_update(result, index_dir)


@click.command("compact", short_help="Give back the space of removed rows.")
@index_option
@json_option
def compact_command(index_dir: Path, *, as_json: bool) -> None:
    """Write the index's table anew without its removed rows, which frees their disk space; its answers stay the same.

    `price add` and `price remove` do so by themselves once half as many rows are removed as are left.

    \b
    price compact --index price-index
    """
    prepare()
    from engine.lifecycle.update import compact_index

    with render.Progress() as progress:
        result = compact_index(index_dir, progress.update)
    if as_json:
        print_json(result.to_json())
        return
    render.show_update(result, index_dir)


@click.command("keep", short_help="Keep a generation of the index by a name.")
@click.argument("name", required=False)
@click.option("--generation", metavar="N", help="Its number, or another name of it. [default: the current one]")
@click.option("--drop", is_flag=True, help="Let the name go, and remove the generation if nothing else needs it.")
@click.option("--list", "listed", is_flag=True, help="List the generations that are there, and their names.")
@index_option
@json_option
def keep_command(
    name: str | None, index_dir: Path, *, generation: str | None, drop: bool, listed: bool, as_json: bool
) -> None:
    """Keep a generation of the index under a NAME, so that no later change cleans it away.

    Every build, `price add`, `price remove`, `price compact` and `price tune` makes a new generation and removes the
    one before. One that is kept can still be asked: `price query --generation NAME`, `price diff NAME current`. Files
    that two generations share take space once.

    \b
    price keep spring
    price add new.csv --replace
    price query "Green tea, 20 bags" --generation spring
    price keep spring --drop
    """
    from index.errors import UsageError
    from index.storage.generations import drop_name, keep_generation, number_of

    if listed:
        if name or drop or generation is not None:
            raise UsageError("--list shows all generations: give it alone.")
        _list_generations(index_dir, as_json=as_json)
        return
    if not name:
        raise UsageError("No name is given: name the generation to keep, or take --list.")
    if drop:
        if generation is not None:
            raise UsageError("--drop lets a name go, whatever generation has it: leave out --generation.")
        removed = drop_name(index_dir, name)
        if as_json:
            print_json({"name": name, "dropped": True, "removed": removed})
        else:
            show(f"{name} is no name any more; {'its generation is removed' if removed else 'its generation stays'}.")
        return
    folder = keep_generation(index_dir, name, generation)
    if as_json:
        print_json({"name": name, "generation": folder.name})
    else:
        show(f"{name} is generation {number_of(folder.name)} of {index_dir}, and stays.")


def _list_generations(index_dir: Path, *, as_json: bool) -> None:
    """Print every generation with its number, when it was made, its rows and its names."""
    from index.storage.listing import list_generations

    found = list_generations(index_dir)
    if as_json:
        print_json({"generations": [generation.to_json() for generation in found]})
        return
    for generation in found:
        names = ", ".join(["current"] * generation.current + list(generation.names))
        made = (generation.created or "of another version")[:16].replace("T", " ")
        rows = "" if generation.rows is None else f"{generation.rows:,} rows"
        show(f"{generation.number:>6}  {made:16}  {rows:>14}  {names}".rstrip())


@click.command("fetch", short_help="Fetch a catalogue's photographs.")
@click.argument("catalogue", type=PATH)
@index_option
@click.option("--concurrency", type=click.IntRange(1, 256), default=16, help="Photographs fetched at a time.")
@click.option("--per-host", type=click.IntRange(1, 256), default=8, help="Of them, from any one host.")
@click.option("--retries", type=click.IntRange(0, 20), default=3, help="Attempts after the first, where one may help.")
@click.option("--again", is_flag=True, help="Ask again for what an earlier run gave up for good.")
@private_option
@reading_options
@json_option
def fetch_command(catalogue: Path, index_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Fetch the photographs that a CATALOGUE links to, for `price build-index` with the same --index.

    Only http and https, only public addresses, at most 10 MB each. What fails for good is remembered and what is here
    is not fetched again, so a run that was stopped is continued by the same command.

    \b
    price fetch catalogue.csv
    price build-index catalogue.csv
    """
    from index.catalogue.items import read_catalogue
    from index.photographs.fetch import Limits
    from index.photographs.fetch_all import FetchSettings, fetch_all
    from index.storage.layout import photograph_cache

    with render.Progress() as progress:
        read = read_catalogue(catalogue, read_settings_of(options), priced=False, on_progress=progress.update)
        links = [
            link for link in read.items["image"].to_pylist() if link and link.lower().startswith(("http:", "https:"))
        ]
        limits = Limits(allow_private_addresses=options.pop("allow_private_addresses"))
        settings = FetchSettings(limits=limits, retry_remembered=options.pop("again"), **options)
        fetched = fetch_all(links, photograph_cache(index_dir), settings=settings, on_progress=progress.update)
    tell_notes(read.reading_notes)
    if as_json:
        print_json(fetched.plain())
        return
    render.show_fetched(fetched)
