"""`price`: parse, one call into the engine, render. Results go to stdout, everything else to stderr.

Only click is imported at start, so that `price --help` answers at once.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
import time
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from rich.console import Console
    from rich.table import Table

    from engine.encoding import Runtime
    from engine.evaluation import Evaluation, Score, Slice
    from engine.pricer import Quote
    from index.catalogue import Columns

INTERRUPTED, FAULT, USAGE = 130, 1, 2
PROGRESS_EVERY = {False: 10.0, True: 0.1}  # seconds; by whether stderr is a terminal
SHOWN_COMPARABLES = 10
LONGEST_NAME = 70  # characters shown of a comparable's name
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
        code, message = USAGE, f"{' '.join(clean(error.format_message()).split())} See `{command} --help`."
    except (click.Abort, KeyboardInterrupt):
        code, message = INTERRUPTED, "Interrupted; what was finished is kept."
    except PriceError as error:
        code, message = error.exit_code, clean(str(error))
    except (MemoryError, OSError) as error:
        code, message = FAULT, f"The system refused: {clean(str(error)) or 'no memory left'}. Mend that and try again."
    click.echo(f"price: {message}", err=True)
    return code


def clean(text: str) -> str:
    """Product text is data: what could move a cursor, turn text around or hide it must not reach a terminal."""
    return "".join(_HARMLESS.get(unicodedata.category(c), c) if c not in "\t\r\n" else " " for c in text)


# Soft hyphens, joiners and bidi controls (Cf) are dropped, line separators are spaces, the rest is shown as missing.
_HARMLESS = {"Cf": "", "Zl": " ", "Zp": " ", **dict.fromkeys(("Cc", "Cs", "Co", "Cn"), "\N{REPLACEMENT CHARACTER}")}

PATH = click.Path(path_type=Path)
index_option = click.option(
    "--index", type=PATH, default="price-index", envvar="PRICE_INDEX", show_envvar=True, help="Folder of the index."
)
image_dir_option = click.option("--image-dir", type=PATH, help="Folder of photographs, by the last part of their URL.")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
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
    with Progress() as progress:
        built = build_index(catalogue, index, settings, report=progress.report, **how)
    score = built.evaluation.smape
    if as_json:
        summary = {"rows": built.rows, "rejected": built.rejected.total(), "encoders": built.encoders}
        _print_json({**summary, "seconds": built.seconds, "smape": score.value})
        return
    click.echo(f"{built.rows:,} rows indexed in {index} in {built.seconds:.0f} s.")
    _print_counts(f"rows rejected, listed in {built.rejects_file}", built.rejected)
    _print_counts("rows without a usable photograph", built.photographs_absent)
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
@click.option("--allow-private-addresses", is_flag=True, help="Let --image reach addresses that are not public.")
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
        _show_quote(_console(), quote, currency, pricer.settings.coverage, settings)
        return
    plain = settings | {"band": band if math.isfinite(band) else None}  # JSON knows no infinity
    _print_json({**asdict(quote), "settings": plain, "currency": currency, "seconds": time.monotonic() - started})


def _import_lightgbm_alone() -> None:
    """LightGBM imports scikit-learn and pandas to offer wrappers for them: a third of a cold query, for nothing here."""
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

    with Progress() as progress:
        if labelled is None:
            evaluation = evaluate_index(index)
        else:
            how = {"columns": _columns(options), "image_dir": options["image_dir"], "runtime": _runtime(options)}
            evaluation = evaluate_labelled(index, labelled, report=progress.report, **how)
    if as_json:
        _print_json(evaluation.to_json())
    else:
        _show_evaluation(_console(), evaluation)


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


def _print_counts(what: str, counts: Counter[str]) -> None:
    if counts:
        click.echo(f"{counts.total():,} {what}:")
    for reason, count in counts.most_common():
        click.echo(f"  {count:>7,}  {clean(reason)}")


def _console() -> Console:
    """Of plain data: no markup, no emoji codes, no guessing what is a number or a path."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _table(*columns: str) -> Table:
    """Words left, and folded where the terminal is narrow; figures right, and whole."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold", min_width=12)
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _money(amount: float) -> str:
    """Cents, but for a price that would be all zeros."""
    return f"{amount:,.2f}" if abs(amount) >= 0.1 or not amount else f"{amount:.2g}"


def _show_quote(console: Console, quote: Quote, currency: str, coverage: float, settings: Mapping[str, Any]) -> None:
    interval = f"{coverage:.0%} interval {_money(quote.low)} to {_money(quote.high)}"
    console.print(f"{_money(quote.price)} {currency}   ({interval})")
    for note in quote.notes:
        console.print(f"Note: {clean(note)}")
    parts = {name: _money(part) for name, part in quote.parts.items()}
    shift, blend = parts.pop("shift"), parts.pop("blend")
    moved = f", moved by {shift} for what they missed on the neighbours" if quote.comparables else ""
    console.print(f"Models: {', '.join(map(' '.join, parts.items()))}.\nTheir blend {blend}{moved}.")
    if quote.comparables:
        table = _table("comparable", f"price, {currency}", "similarity", "residual", "weight")
        for one in quote.comparables[:SHOWN_COMPARABLES]:
            figures = _money(one.price), f"{one.similarity:.3f}", f"{one.residual:+.2f}", f"{one.weight:.0%}"
            name = clean(one.name)
            table.add_row(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…", *figures)
        console.print(table)
        if len(quote.comparables) > SHOWN_COMPARABLES:
            console.print(f"And {len(quote.comparables) - SHOWN_COMPARABLES} more, which --json lists.")
        console.print("Residual: log price less what the models expected; +0.10 is about 10% dearer.")
    console.print(f"Settings: {', '.join(f'{name} {value:g}' for name, value in settings.items())}.")


def _show_evaluation(console: Console, result: Evaluation) -> None:
    console.print(f"{result.n:,} items, {clean(result.method)}, seed {result.seed}.")
    for note in result.notes:
        console.print(f"Note: {clean(note)}")
    table = _table("stage", "SMAPE (0 to 200)", "95% interval")
    for name, score in result.stages.items():
        table.add_row(name, f"{score.value:.2f}", f"{score.low:.2f} to {score.high:.2f}")
    console.print(table)
    console.print(f"Gain of the correction: {_points(result.gain)} points.")
    console.print(f"With random neighbours: {_points(result.control)}; beyond them {_points(result.beyond_control)}.")
    console.print(f"Median absolute percentage error {result.median_ape:.1f}%.")
    console.print(f"The {result.coverage_wanted:.0%} interval holds {result.coverage:.1%} of the prices;")
    console.print(f"half of the intervals are narrower than a factor of {result.width:.2f} from end to end.")
    _show_slices(console, "price", result.by_price)
    _show_slices(console, "nearest similarity", result.by_similarity)


def _points(score: Score) -> str:
    return f"{score.value:+.2f} ({score.low:+.2f} to {score.high:+.2f})"


def _show_slices(console: Console, title: str, slices: tuple[Slice, ...]) -> None:
    table = _table(title, "n", "SMAPE", "gain", "95% interval", "coverage", "width")
    for part in slices:
        interval = f"{part.gain.low:+.2f} to {part.gain.high:+.2f}"
        figures = f"{part.n:,}", f"{part.smape:.2f}", f"{part.gain.value:+.2f}", interval
        table.add_row(part.label, *figures, f"{part.coverage:.0%}", f"{part.width:.2f}")
    console.print(table)


class Progress:
    """How far the work is, on stderr: one line that moves on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stderr is not None and sys.stderr.isatty()
        self._stage, self._first, self._done = "", 0, 0
        self._began, self._said, self._over = 0.0, 0.0, True

    def __enter__(self) -> Progress:
        return self

    def report(self, stage: str, done: int, total: int | None) -> None:
        """`index.progress.Report`. A stage that falls back has begun anew: the same work on another column."""
        now, begins = time.monotonic(), stage != self._stage or done < self._done
        if begins:
            self._close_line()
            self._stage, self._first, self._began, self._over = stage, done, now, False
        self._done = done
        if not self._over and (begins or done == total or now - self._said >= PROGRESS_EVERY[self._moves]):
            self._said, self._over = now, done == total
            line = clean(stage) + _count(done, total, done - self._first, now - self._began)
            moving = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
            click.echo(moving if self._moves else line, err=True, nl=self._over or not self._moves)

    def _close_line(self, *_: object) -> None:
        if self._moves and not self._over:
            click.echo(err=True)

    __exit__ = _close_line


def _count(done: int, total: int | None, made: int, seconds: float) -> str:
    """`: 512 of 7,051, 40/s, 0:02:43 left`, as far as it is known; `made` of `done` took `seconds`."""
    if total is None:
        return f": {done:,}" if done else ""
    count = f": {done:,} of {total:,}"
    if not made or seconds <= 0 or done == total:
        return f"{count} in {seconds:.1f} s" if made else count
    rate, left = made / seconds, timedelta(seconds=round((total - done) * seconds / made))
    return f"{count}, {f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'}/s, {left} left"
