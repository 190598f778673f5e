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

    from engine.encoding import Runtime
    from index.catalogue import Columns

INTERRUPTED, FAULT, USAGE = 130, 1, 2
STDIN_LIMIT = 10**6  # bytes: a catalogue's cell may hold no more characters


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    # OpenMP threads that spin while they wait slow each other down a hundredfold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
    price evaluate                      SMAPE of the index, out of fold

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 a fault of ours, 2 usage, 3 the data was refused,
    4 the index is missing, damaged or of another format, 6 a download could not be had, 75 another build holds the
    index, 130 interrupted.
    """


@price.command("build-index", short_help="Learn from a priced catalogue.")
@click.argument("catalogue", type=PATH)
@index_option
@image_dir_option
@click.option("--preset", default="default", help="Named settings to start from.")
@click.option("--config", type=PATH, help="Settings file (price.toml); options here win over it.")
@click.option("--text-encoder", help="Encoder of words, or several with commas: NAME or NAME@PATH. [default: minilm]")
@click.option("--image-encoder", help="Encoder of photographs, or none. [default: pixels]")
@click.option("--folds", type=int, help="Folds that every row is predicted out of, 3 to 20. [default: 5]")
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
    """
    from engine.build import build_index
    from engine.settings import read_settings

    how = {"columns": _columns(options), "image_dir": options.pop("image_dir"), "runtime": _runtime(options)}
    settings = read_settings(options.pop("config"), options.pop("preset"), **options)
    with render.Progress() as progress:
        built = build_index(catalogue, index, settings, report=progress.report, **how)
    score = built.evaluation.smape
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
@click.option("--k", type=int, help="How many neighbours correct the price.")
@click.option("--band", type=float, help="Half-width in log price in which they lie: 0.35 is about a third, inf all.")
@click.option("--lambda", "decay", type=float, help="How fast a neighbour's weight falls with its distance.")
@click.option("--alpha", type=float, help="Share of the neighbours' mean residual that is added.")
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
    _import_lightgbm_alone()
    from dataclasses import asdict

    from engine.pricer import Item, Pricer, with_overrides
    from index.images import Photographs

    private = given.pop("allow_private_addresses")
    photographs = Photographs(allow_paths=True, fetch_missing=True, allow_private_addresses=private)
    pricer = Pricer.open(index, _runtime(given))
    knobs = with_overrides(pricer.knobs, **given)
    quote = pricer.price([Item(text, image)], knobs=knobs, photographs=photographs)[0]
    currency, band = pricer.manifest.currency, knobs.band
    settings = {"k": knobs.k, "band": band, "lambda": knobs.decay, "alpha": knobs.alpha}
    if not as_json:
        render.show_quote(render.open_console(), quote, currency, pricer.settings.coverage, settings)
        return
    plain = settings | {"band": band if math.isfinite(band) else None}  # JSON knows no infinity
    _print_json({**asdict(quote), "settings": plain, "currency": currency, "seconds": time.monotonic() - started})


def _import_lightgbm_alone() -> None:
    """LightGBM imports scikit-learn and pandas to wrap itself for them: a third of a cold query, for nothing here."""
    hidden = [name for name in ("sklearn", "pandas") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it is an ImportError
    try:
        import lightgbm  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def _standard_input() -> str:
    from index.errors import DataRefused

    given = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(given) > STDIN_LIMIT:
        raise DataRefused(f"Standard input holds over {STDIN_LIMIT:,} bytes, which is no item: give the text of one.")
    return given.decode("utf-8-sig", errors="replace")


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
    from engine.scoring import evaluate_index, evaluate_labelled

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
    from index.bulk_fetch import fetch_all
    from index.catalogue import read_catalogue
    from index.fetch import Limits
    from index.generations import photograph_cache

    with render.Progress() as progress:
        items = read_catalogue(catalogue, _columns(options), priced=False, report=progress.report).items
        links = [link for link in items["image"].to_pylist() if link and link.lower().startswith(("http:", "https:"))]
        limits = Limits(allow_private_addresses=options.pop("allow_private_addresses"))
        retry_remembered = options.pop("again")
        fetched = fetch_all(
            links,
            photograph_cache(index),
            report=progress.report,
            limits=limits,
            retry_remembered=retry_remembered,
            **options,
        )
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
    from engine.encoding import Runtime

    return Runtime(options.pop("device"), options.pop("precision"))


def _columns(options: dict[str, Any]) -> Columns:
    from index.catalogue import Columns

    return Columns(**{name: options.pop(f"{name}_column") for name, _, _ in COLUMN_OPTIONS})


def _print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, allow_nan=False))
