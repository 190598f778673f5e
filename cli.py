"""`price`: parse, one call into the engine, render (`render.py`). Results go to stdout, everything else to stderr.

Only click is imported at start, so that `price --help` answers at once.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from index.catalogue.columns import Columns
    from index.encoders.device import Runtime

INTERRUPTED, FAULT, USAGE = 130, 1, 2
STDIN_LIMIT = 10**6  # bytes: a catalogue's cell may hold no more characters


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    # OpenMP threads that spin while they wait slow each other down a hundredfold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # one for every length of text fills 300 MB
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal's encoding lacks is no reason to fail
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        os._exit(code)  # a library's thread that cannot be interrupted would keep the user waiting
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of `price ARGUMENTS`. Every error is one line on stderr."""
    from index.errors import PriceError

    try:
        return int(price.main(arguments, prog_name="price", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "price"
        code, message = USAGE, f"{' '.join(render.clean(error.format_message()).split())} See `{command} --help`."
    except (click.Abort, KeyboardInterrupt):
        code, message = INTERRUPTED, "Interrupted; what was finished is kept."
    except PriceError as error:
        code, message = error.exit_code, render.clean(str(error))
    except (MemoryError, OSError) as error:
        what = render.clean(str(error)) or "no memory left"
        code, message = FAULT, f"The system refused: {what}. Mend that and try again."
    click.echo(f"price: {message}", err=True)
    return code


PATH = click.Path(path_type=Path)
index_option = click.option(
    "--index", type=PATH, default="price-index", envvar="PRICE_INDEX", show_envvar=True, help="Folder of the index."
)
image_dir_option = click.option("--image-dir", type=PATH, help="Folder of photographs, by the last part of their URL.")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
private_option = click.option(
    "--allow-private-addresses", is_flag=True, help="Let photographs come from addresses that are not public."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
COLUMN_OPTIONS = (
    ("id", "sample_id", "that tells items apart"),
    ("text", "catalog_content", "of words"),
    ("image", "image_link", "of photographs; may be absent"),
    ("price", "price", "of prices"),
)


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--device and --precision: where and how encoders run."""
    precision = click.Choice(PRECISIONS)
    command = click.option("--precision", type=precision, default="auto", help="Of the encoders' products.")(command)
    return click.option("--device", default="auto", help="Of the encoders: auto, cpu, cuda or cuda:N.")(command)


KNOB_OPTIONS = (
    ("--k", "k", int, "How many neighbours correct the price."),
    ("--band", "band", float, "Half-width in log price in which they lie: 0.35 is about a third, inf all."),
    ("--lambda", "decay", float, "How fast a neighbour's weight falls with its distance."),
    ("--alpha", "alpha", float, "Share of the neighbours' mean residual that is added."),
)


def knob_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--k, --band, --lambda and --alpha, in the place of the index's own."""
    for option, name, kind, what in reversed(KNOB_OPTIONS):
        command = click.option(option, name, type=kind, help=what)(command)
    return command


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--id-column and so on, with the challenge's names as defaults."""
    for name, default, what in reversed(COLUMN_OPTIONS):
        command = click.option(f"--{name}-column", default=default, help=f"Column {what}.")(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="price-engine", prog_name="price")
def price() -> None:
    """Say what an item is worth, how sure that is, and which comparable items say so.

    \b
    price build-index catalogue.csv     learn from a priced catalogue
    price query "item text" --image X   price one item
    price predict items.csv -o out.csv  price a file of them
    price evaluate                      SMAPE of the index, out of fold

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 a fault of ours, 2 usage, 3 the data was refused,
    4 the index is missing, damaged or of another format, 6 a download could not be had, 75 another process is
    writing there, 130 interrupted.
    """


@price.command("build-index", short_help="Learn from a priced catalogue.")
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
@click.option("--currency", help="Label of the prices, kept with the index. [default: USD]")
@runtime_options
@column_options
@json_option
def build_index_command(catalogue: Path, index: Path, *, as_json: bool, **options: Any) -> None:
    """Learn from a priced CATALOGUE (CSV or Parquet) and put a new index in force.

    Rows that cannot be used go to a rejects file with line, column and reason. A build that is stopped leaves the
    previous index in force, and the next one encodes only what is not yet encoded.

    \b
    price build-index catalogue.csv --image-dir photographs
    price build-index goods.parquet --id-column sku --text-column title

    \b
    Presets; the last four are published systems, and run with any encoders:
    default         ours
    clip-fusion     CLIP's text and photograph in one latent space
    gated-ensemble  a gate over Qwen3 and Marqo, and three kinds of trees on it
    towers-knn      a tower each for Qwen3, Marqo and a fused encoder
    end-to-end      MiniLM and EfficientNet-B0, SmoothL1, then SMAPE itself
    """
    from engine.lifecycle.build import build_index
    from engine.settings.presets import replaced_encoders, without_its_encoder
    from engine.settings.read import read_settings
    from index.errors import DownloadNeeded

    how = {"columns": _columns(options), "image_dir": options.pop("image_dir"), "runtime": _runtime(options)}
    preset = options.pop("preset")
    settings = read_settings(options.pop("config"), preset, **options)
    for replaced in replaced_encoders(preset, settings):
        click.echo(f"price: {render.clean(replaced)}", err=True)
    try:
        with render.Progress() as progress:
            built = build_index(catalogue, index, settings, report=progress.report, **how)
    except DownloadNeeded as error:
        raise DownloadNeeded(f"{error}{without_its_encoder(preset)}") from error
    score = built.evaluation.smape
    for note in built.evaluation.notes:
        click.echo(f"price: {render.clean(note)}", err=True)
    if as_json:
        summary = {"rows": built.rows, "rejected": built.rejected.total(), "encoders": built.encoders}
        _print_json({**summary, "seconds": built.seconds, "smape": score.value})
        return
    click.echo(f"{built.rows:,} rows indexed in {index} in {built.seconds:.0f} s.")
    render.print_counts(f"rows rejected, listed in {built.rejects_file}", built.rejected)
    render.print_counts("rows without a usable photograph", built.photographs_absent)
    click.echo(f"SMAPE out of fold {score.value:.2f} (95% interval {score.low:.2f} to {score.high:.2f}).")
    click.echo(f'Next: price query "item text" --index {index}, or price evaluate --index {index}.')


@price.command("query", short_help="Price one item.")
@click.argument("text", required=False, default="")
@click.option("--image", help="Photograph of the item: a URL or a path.")
@knob_options
@index_option
@runtime_options
@private_option
@json_option
def query_command(text: str, image: str | None, index: Path, *, as_json: bool, **given: Any) -> None:
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

    private = given.pop("allow_private_addresses")
    photographs = Photographs(allow_paths=True, fetch_missing=True, allow_private_addresses=private)
    pricer = Pricer.open(index, _runtime(given))
    correction = with_overrides(pricer.correction, **given)
    quote = pricer.price([Item(text, image)], correction=correction, photographs=photographs)[0]
    currency, band = pricer.manifest.currency, correction.band
    settings = {"k": correction.k, "band": band, "lambda": correction.decay, "alpha": correction.alpha}
    if not as_json:
        render.show_quote(render.open_console(), quote, currency, pricer.settings.coverage, settings)
        return
    plain = settings | {"band": band if math.isfinite(band) else None}  # JSON knows no infinity
    _print_json({**asdict(quote), "settings": plain, "currency": currency, "seconds": time.monotonic() - started})


def _standard_input() -> str:
    from index.errors import DataRefused

    given = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(given) > STDIN_LIMIT:
        raise DataRefused(f"Standard input holds over {STDIN_LIMIT:,} bytes, which is no item: give the text of one.")
    return given.decode("utf-8-sig", errors="replace")


@price.command("predict", short_help="Price a file of items.")
@click.argument("items", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="File to write: .csv or .parquet.")
@click.option(
    "--index",
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
@knob_options
@click.option("--shard-rows", type=click.IntRange(1), default=1_000, help="Rows priced at a time: a kill loses them.")
@click.option("--overwrite", is_flag=True, help="Replace the output, and drop an unfinished job of other work.")
@click.option("--ray", metavar="ADDRESS", help="Price on a Ray cluster; `local` starts one on this machine.")
@runtime_options
@column_options
@json_option
def predict_command(items: Path, output: Path, index: str, *, as_json: bool, **options: Any) -> None:
    """Price every row of ITEMS (CSV or Parquet) into a file of ids and prices, in the same order.

    A row that cannot be priced has an empty price, and stands with its reason in OUTPUT.rejects.csv. A job that is
    stopped is continued by the same command, and gives the same file.

    \b
    price predict test.csv -o prices.csv
    price predict goods.parquet -o prices.parquet --full --ray local
    """
    from engine.serving.price_file import FULL, PriceFileSettings, price_file

    given = {name: options.pop(name) for name in ("k", "band", "decay", "alpha")}
    output_columns, full = options.pop("output_columns"), options.pop("full")
    settings = PriceFileSettings(
        columns=_columns(options),
        output=FULL if full else tuple(name.strip() for name in output_columns.split(",")),
        correction=tuple((name, value) for name, value in given.items() if value is not None),
        image_dir=options["image_dir"] and options["image_dir"].absolute(),
        runtime=_runtime(options),
        shard_rows=options["shard_rows"],
    )
    pool = None
    if options["ray"] is not None:
        from engine.serving.ray_pool import ray_pool

        pool = ray_pool(options["ray"])
    with render.Progress() as progress:
        done = price_file(
            items, output, index, settings, overwrite=options["overwrite"], pool=pool, report=progress.report
        )
    if as_json:
        _print_json(done.to_json())
    else:
        render.show_predicted(done)


@price.command("add", short_help="Add priced items to the index.")
@click.argument("new", type=PATH)
@index_option
@image_dir_option
@click.option("--replace", "replace_known", is_flag=True, help="Let an item take the place of the row with its id.")
@runtime_options
@column_options
@json_option
def add_command(new: Path, index: Path, *, as_json: bool, **options: Any) -> None:
    """Add the priced items of NEW (CSV or Parquet) to the index, without training anything.

    They are comparables from then on. What the models missed on them is said by models that saw neither them nor
    their twins. Whoever is reading keeps the index that was opened; a kill leaves the old one in force. An id that the
    index has is refused, and nothing is added, unless --replace is given.

    \b
    price add new.csv --image-dir photographs
    price add corrected.csv --replace --json
    """
    from engine.lifecycle.update import add_items

    how = {"columns": _columns(options), "image_dir": options.pop("image_dir"), "runtime": _runtime(options)}
    with render.Progress() as progress:
        grown = add_items(new, index, report=progress.report, **how, **options)
    if as_json:
        _print_json(grown.to_json())
        return
    render.show_update(grown, index)


@price.command("remove", short_help="Take items out of the index.")
@click.argument("ids", nargs=-1)
@click.option("--file", type=PATH, help="CSV or Parquet file of ids to remove, beside those that are named.")
@click.option("--id-column", default="sample_id", help="Column of the file that holds the ids.")
@click.option("--ignore-missing", is_flag=True, help="Pass over ids that the index does not have.")
@index_option
@json_option
def remove_command(
    ids: tuple[str, ...], file: Path | None, index: Path, *, id_column: str, ignore_missing: bool, as_json: bool
) -> None:
    """Take the items with these IDS out of the index: no longer comparables, shown or scored.

    If an id is unknown, nothing is removed. The models stay as they are. The space of the rows is given back when half
    as many are dead as are alive, or by `price compact`. An id that begins with a dash goes last, after `--`.

    \b
    price remove 1234 1235
    price remove --file sold-out.csv --ignore-missing
    """
    from engine.lifecycle.update import read_ids, remove_items

    wanted = [*ids, *(read_ids(file, id_column) if file else [])]
    with render.Progress() as progress:
        grown = remove_items(wanted, index, ignore_missing=ignore_missing, report=progress.report)
    if as_json:
        _print_json(grown.to_json())
        return
    render.show_update(grown, index)


@price.command("compact", short_help="Give back the space of removed rows.")
@index_option
@json_option
def compact_command(index: Path, *, as_json: bool) -> None:
    """Write the index's table anew, so that the disk holds live rows alone; its answers stay the same.

    `price add` and `price remove` do so by themselves once half as many rows are dead as are alive.

    \b
    price compact --index price-index
    """
    from engine.lifecycle.update import compact_index

    with render.Progress() as progress:
        grown = compact_index(index, progress.report)
    if as_json:
        _print_json(grown.to_json())
        return
    render.show_update(grown, index)


@price.command("finetune", short_help="Teach an encoder what things cost.")
@click.argument("catalogue", type=PATH)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Folder of the new encoder.")
@image_dir_option
@click.option("--config", type=PATH, help="Settings file (price.toml), its [finetuned]; options here win over it.")
@click.option("--text-encoder", "encoder", help="Encoder of words to start from. [default: minilm]")
@click.option("--image-encoder", help="Encoder of photographs to train beside it. [default: none]")
@click.option("--train", type=click.Choice(["whole", "last", "lora"]), help="What learns. [default: last]")
@click.option("--layers", type=int, help="How many layers, of --train last. [default: 2]")
@click.option("--epochs", type=int, help="Times that every row is learned from. [default: 5]")
@click.option("--batch-size", type=int, help="Rows that a step learns from. [default: 32]")
@click.option("--accumulate", type=int, help="Parts of a batch, one at a time, to save memory. [default: 1]")
@click.option("--recompute", is_flag=True, default=None, help="Compute activations twice, to save memory.")
@click.option("--learning-rate", type=float, help="Of the encoder's last layer. [default: 0.0001]")
@click.option("--seed", type=int, help="Of everything random. [default: 0]")
@click.option("--overwrite", is_flag=True, help="Replace a finished encoder, or drop an unfinished one.")
@runtime_options
@column_options
@json_option
def finetune_command(catalogue: Path, target: Path, *, as_json: bool, **options: Any) -> None:
    """Teach an encoder, on a priced CATALOGUE, what things cost, and write it to a folder as NAME@FOLDER.

    A run that was stopped is continued by the same command. An index that is built with the encoder on the same rows
    scores too well, and says so; the member finetuned of the blend fine-tunes inside the folds instead.

    \b
    price finetune catalogue.csv -o tuned
    price build-index other.csv --text-encoder minilm@tuned
    """
    from engine.finetune.run import FinetuneOptions, finetune
    from engine.settings.read import read_settings

    how = {name: options.pop(name) for name in ("image_dir", "device", "precision", "overwrite")}
    how["columns"] = _columns(options)
    config, seed = options.pop("config"), options.pop("seed")
    given = {name: value for name, value in options.items() if value is not None}
    settings = read_settings(config, seed=seed, finetuned=given or None)
    with render.Progress() as progress:
        done = finetune(
            catalogue, target, settings.finetuned, FinetuneOptions(seed=settings.seed, **how), progress.report
        )
    if as_json:
        _print_json(done.to_json())
        return
    render.show_finetuned(done)


@price.command("evaluate", short_help="Score the index, out of fold or on a labelled file.")
@click.argument("labelled", type=PATH, required=False)
@index_option
@image_dir_option
@runtime_options
@column_options
@json_option
def evaluate_command(labelled: Path | None, index: Path, *, as_json: bool, **options: Any) -> None:
    """Score the index: out of fold, or on a LABELLED file priced as queries.

    SMAPE is the full definition, 100 * mean(|p - y| / ((|p| + |y|) / 2)), from 0 to 200. Out of fold, every fold is
    priced as a build without it would price it, and the blend, the correction and the interval are fitted on the
    other folds.

    \b
    price evaluate
    price evaluate holdout.csv --image-dir photographs --json
    """
    from engine.evaluation.evaluate import evaluate_index, evaluate_labelled

    with render.Progress() as progress:
        if labelled is None:
            evaluation = evaluate_index(index, progress.report)
        else:
            how = {"columns": _columns(options), "image_dir": options["image_dir"], "runtime": _runtime(options)}
            evaluation = evaluate_labelled(index, labelled, report=progress.report, **how)
    if as_json:
        _print_json(evaluation.to_json())
    else:
        render.show_evaluation(render.open_console(), evaluation)


@price.command("tune", short_help="Search for better settings of the index.")
@index_option
@click.option("--what", default="correction,blend", help="With commas: correction, blend, stacker, members.")
@click.option("--trials", type=int, default=200, help="Settings to try beyond those that the index has.")
@click.option("--minutes", type=float, default=10.0, help="After which no trial is begun.")
@click.option("--seed", type=int, default=0, help="Of the search.")
@json_option
def tune_command(index: Path, what: str, *, as_json: bool, **options: Any) -> None:
    """Search for better settings out of fold, and put them in force where they are better.

    The best of many settings looks better than it is on the rows that chose it. The cross-fitted score makes the choice
    anew for each fold on the other folds; if that is no better than the index, the index is left as it is. A search
    that was stopped is continued by the same command; parts that an earlier search has chosen are searched again with
    the others. A trial of the correction takes about as long as an evaluation, of the blend or the stack some ten times
    that, of the members as long as a build.

    \b
    price tune --minutes 30
    price tune --what correction --trials 500
    """
    from engine.tuning.tune import tune

    parts = tuple(part.strip() for part in what.split(","))
    with render.Progress() as progress:
        found = tune(index, what=parts, report=progress.report, **options)
    if as_json:
        _print_json(found.to_json())
    else:
        render.show_tuned(found, index)


@price.command("ablate", short_help="Score the index with one part at a time left out.")
@index_option
@click.option("--parts", help="Of the table, with commas. [default: all that need no refitting]")
@click.option("--refit", is_flag=True, help="Also what takes fitting the members anew, which takes a build each.")
@json_option
def ablate_command(index: Path, parts: str | None, *, refit: bool, as_json: bool) -> None:
    """Leave out or swap one part of the index at a time, and score what is left out of fold.

    Each difference is to the index's own answer, row by row, with its 95% interval: above 0, the index is worse off
    without the part.

    \b
    price ablate --parts correction,members
    price ablate --refit --json
    """
    from engine.evaluation.ablation import ablate

    wanted = None if parts is None else tuple(part.strip() for part in parts.split(","))
    with render.Progress() as progress:
        table = ablate(index, parts=wanted, refit=refit, report=progress.report)
    if as_json:
        _print_json(table.to_json())
    else:
        render.show_ablation(render.open_console(), table)


@price.command("fetch", short_help="Fetch a catalogue's photographs.")
@click.argument("catalogue", type=PATH)
@index_option
@click.option("--concurrency", type=click.IntRange(1, 256), default=16, help="Photographs fetched at a time.")
@click.option("--per-host", type=click.IntRange(1, 256), default=8, help="Of them, from any one host.")
@click.option("--retries", type=click.IntRange(0, 20), default=3, help="Attempts after the first, where one may help.")
@click.option("--again", is_flag=True, help="Ask again for what an earlier run gave up for good.")
@private_option
@column_options
@json_option
def fetch_command(catalogue: Path, index: Path, *, as_json: bool, **options: Any) -> None:
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
    from index.storage.generations import photograph_cache

    with render.Progress() as progress:
        items = read_catalogue(catalogue, _columns(options), priced=False, report=progress.report).items
        links = [link for link in items["image"].to_pylist() if link and link.lower().startswith(("http:", "https:"))]
        limits = Limits(allow_private_addresses=options.pop("allow_private_addresses"))
        settings = FetchSettings(limits=limits, retry_remembered=options.pop("again"), **options)
        fetched = fetch_all(links, photograph_cache(index), settings=settings, report=progress.report)
    if as_json:
        _print_json(fetched.plain())
        return
    render.show_fetched(fetched)


@price.command("encoders", short_help="List the encoders, and which are on this machine.")
@json_option
def encoders_command(as_json: bool) -> None:
    """List the encoders that --text-encoder and --image-encoder take, and which are on this machine.

    NAME@PATH takes an encoder's weights from a file or folder.

    \b
    price encoders --json
    price build-index catalogue.csv --text-encoder minilm,qwen3-0.6b@weights/qwen
    """
    from dataclasses import asdict

    from index.encoders import ENCODERS
    from index.encoders.hub import is_here

    here = {name: spec.family != "none" and is_here(name) for name, spec in ENCODERS.items()}
    if as_json:
        _print_json({"encoders": [{**asdict(spec), "here": here[name]} for name, spec in ENCODERS.items()]})
        return
    render.show_encoders(render.open_console(), ENCODERS.values(), here)


@price.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    eval "$(price completion bash)"
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    script = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(script(price, {}, "price", "_PRICE_COMPLETE").source())


def _runtime(options: dict[str, Any]) -> Runtime:
    from index.encoders.device import Runtime

    return Runtime(options.pop("device"), options.pop("precision"))


def _columns(options: dict[str, Any]) -> Columns:
    from index.catalogue.columns import Columns

    return Columns(**{name: options.pop(f"{name}_column") for name, _, _ in COLUMN_OPTIONS})


def _print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, allow_nan=False))
