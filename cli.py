"""`price`: parse, one call into the engine, render. Results go to stdout, everything else to stderr.

Only click is imported at start, so that `price --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console
    from rich.table import Table

    from engine.evaluation import Evaluation, Score, Slice
    from engine.pricer import Quote
    from index.catalogue import Columns

INTERRUPTED, FAULT, USAGE = 130, 1, 2
PROGRESS_EVERY = 10.0  # seconds between lines where stderr is no terminal
SHOWN_COMPARABLES = 10
STDIN_LIMIT = 10 * 2**20  # bytes: a text longer than this is no item


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    # OpenMP threads that spin while they wait slow each other down a hundredfold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of `price ARGUMENTS`. Every error is one sentence on stderr."""
    from index.errors import PriceError

    try:
        price.main(arguments, prog_name="price", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return _complain("Interrupted; nothing that was finished is lost.", INTERRUPTED)
    except PriceError as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, OSError) as error:
        return _complain(f"The system refused: {error or 'not enough memory'}.", FAULT)
    return 0


def _complain(sentence: str, code: int) -> int:
    click.echo(f"price: {clean(sentence)}", err=True)
    return code


def clean(text: str) -> str:
    """Product text is data: control characters, and those that turn or hide text, must not reach a terminal."""
    kept = (
        " " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c for c in text
    )
    return "".join(kept)


_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

index_option = click.option(
    "--index",
    type=click.Path(path_type=Path),
    default=Path("price-index"),
    show_default=True,
    envvar="PRICE_INDEX",
    show_envvar=True,
    help="Folder of the index.",
)
image_dir_option = click.option(
    "--image-dir",
    type=click.Path(path_type=Path),
    help="Folder of photographs, found by the last part of their URL.",
)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
COLUMN_OPTIONS = (
    ("id", "sample_id", "that tells items apart"),
    ("text", "catalog_content", "of words"),
    ("image", "image_link", "of photographs; may be absent"),
    ("price", "price", "of prices"),
)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--id-column and so on, with the challenge's names as defaults."""
    for name, default, what in reversed(COLUMN_OPTIONS):
        option = click.option(f"--{name}-column", default=default, show_default=True, help=f"Column {what}.")
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="price-engine", prog_name="price")
def price() -> None:
    """Say what an item is worth, how sure that is, and which comparable items say so.

    \b
    price build-index catalogue.csv     learn from a priced catalogue
    price query "item text" --image X   price one item
    price evaluate                      SMAPE of the index, out of fold
    """


@price.command("build-index")
@click.argument("catalogue", type=click.Path(path_type=Path))
@index_option
@image_dir_option
@click.option("--preset", default="default", show_default=True, help="Named settings to start from.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (price.toml); options here win over it.")
@click.option("--text-encoder", help="Encoder of words, or several with commas: NAME or NAME@PATH. [default: minilm]")
@click.option("--image-encoder", help="Encoder of photographs, or none. [default: pixels]")
@click.option("--folds", type=int, help="Folds that every row is predicted out of. [default: 5]")
@click.option("--seed", type=int, help="Of everything random: folds, networks, trees. [default: 0]")
@click.option("--currency", help="Label of the prices, kept with the index. [default: USD]")
@device_option
@column_options
@json_option
def build_index_command(catalogue: Path, index: Path, image_dir: Path | None, as_json: bool, **options: Any) -> None:
    """Learn from a priced CATALOGUE (CSV or Parquet) and put a new index in force.

    Rows that cannot be used go to a rejects file with line, column and reason. A build that is stopped leaves the
    previous index in force, and the next one encodes only what is not yet encoded.
    """
    from engine.build import build_index
    from engine.settings import read_settings

    columns = _columns(options)
    device, config, preset = options.pop("device"), options.pop("config"), options.pop("preset")
    settings = read_settings(config, preset, **options)
    with Progress() as progress:
        built = build_index(
            catalogue, index, settings, columns=columns, image_dir=image_dir, device=device, report=progress.report
        )
    if as_json:
        rejected = sum(built.rejected.values())
        summary = {"rows": built.rows, "rejected": rejected, "encoders": built.encoders, "seconds": built.seconds}
        _print_json({**summary, "smape": built.evaluation.smape.value})
        return
    console = _console()
    console.print(f"{built.rows:,} rows indexed in {index} in {built.seconds:.0f} s.")
    if built.rejects_file:
        console.print(f"{sum(built.rejected.values()):,} rows rejected, listed in {built.rejects_file}:")
        _print_counts(console, built.rejected)
    if built.photographs_absent:
        console.print(f"{sum(built.photographs_absent.values()):,} rows without a usable photograph:")
        _print_counts(console, built.photographs_absent)
    score = built.evaluation.smape
    console.print(f"SMAPE out of fold {score.value:.2f} (95% interval {score.low:.2f} to {score.high:.2f}).")
    console.print(f'Next: price query "item text" --index {index}, or price evaluate --index {index}.')


@price.command("query")
@click.argument("text", required=False, default="")
@click.option("--image", help="Photograph of the item: a URL or a path.")
@click.option("--k", type=int, help="How many neighbours correct the price.")
@click.option("--band", type=float, help="Half-width in log price in which neighbours lie; 0.35 is about a third.")
@click.option("--lambda", "decay", type=float, help="How fast a neighbour's weight falls with its distance.")
@click.option("--alpha", type=float, help="Share of the neighbours' mean residual that is added.")
@index_option
@device_option
@click.option("--allow-private-addresses", is_flag=True, help="Let --image reach addresses that are not public.")
@json_option
def query_command(
    text: str,
    *,
    image: str | None,
    index: Path,
    device: str,
    allow_private_addresses: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Price one item from its TEXT (`-` reads standard input), its photograph, or both.

    The index's own k, band, lambda and alpha were fitted out of fold; each can be overridden here.
    """
    started = time.monotonic()
    if text == "-":
        text = sys.stdin.buffer.read(STDIN_LIMIT).decode("utf-8", errors="replace")
    from engine.pricer import Item, Pricer, with_overrides
    from index.images import Photographs

    photographs = Photographs(allow_paths=True, fetch_missing=True, allow_private_addresses=allow_private_addresses)
    pricer = Pricer.open(index, device)
    knobs = with_overrides(pricer.knobs, **given)
    quote = pricer.price([Item(text, image)], knobs=knobs, photographs=photographs)[0]
    settings = {"k": knobs.k, "band": knobs.band, "lambda": knobs.decay, "alpha": knobs.alpha}
    if as_json:
        from dataclasses import asdict

        _print_json(
            {
                **asdict(quote),
                "settings": settings,
                "currency": pricer.manifest.currency,
                "seconds": time.monotonic() - started,
            }
        )
        return
    _show_quote(_console(), quote, pricer.manifest.currency, pricer.settings.coverage, settings)


@price.command("evaluate")
@click.argument("labelled", type=click.Path(path_type=Path), required=False)
@index_option
@image_dir_option
@device_option
@column_options
@json_option
def evaluate_command(
    labelled: Path | None, index: Path, image_dir: Path | None, device: str, as_json: bool, **options: Any
) -> None:
    """Score the index: out of fold, or on a LABELLED file priced as queries.

    SMAPE is the full definition, 100 * mean(|p - y| / ((|p| + |y|) / 2)), from 0 to 200. Out of fold, every fold is
    priced as a build without it would price it, and the blend, the correction and the interval are fitted on the
    other folds.
    """
    from engine.scoring import evaluate_index, evaluate_labelled

    with Progress() as progress:
        if labelled is None:
            evaluation = evaluate_index(index)
        else:
            evaluation = evaluate_labelled(
                index, labelled, columns=_columns(options), image_dir=image_dir, device=device, report=progress.report
            )
    if as_json:
        _print_json(evaluation.to_json())
    else:
        _show_evaluation(_console(), evaluation)


@price.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a SHELL: eval "$(price completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, shell
    click.echo(found(price, {}, "price", "_PRICE_COMPLETE").source())


def _columns(options: dict[str, Any]) -> Columns:
    from index.catalogue import Columns

    return Columns(**{name: options.pop(f"{name}_column") for name, _, _ in COLUMN_OPTIONS})


def _print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document))


def _console() -> Console:
    """Of plain data: no markup, no emoji codes, no guessing what is a number or a path."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def _print_counts(console: Console, counts: Mapping[str, int]) -> None:
    for reason, count in sorted(counts.items(), key=lambda each: -each[1]):
        console.print(f"  {count:>7,}  {clean(reason)}")


def _table(*columns: str) -> Table:
    """Words left, figures right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
    return table


def _show_quote(console: Console, quote: Quote, currency: str, coverage: float, settings: Mapping[str, float]) -> None:
    console.print(f"{quote.price:,.2f} {currency}   ({coverage:.0%} interval {quote.low:,.2f} to {quote.high:,.2f})")
    for note in quote.notes:
        console.print(f"Note: {clean(note)}")
    parts = quote.parts
    each = ", ".join(f"{name} {parts[name]:,.2f}" for name in parts if name not in ("blend", "shift"))
    console.print(f"How: {each}; blend {parts['blend']:,.2f}, neighbours' shift {parts['shift']:+,.2f}.")
    if not quote.comparables:
        return
    table = _table("comparable", "price", "similarity", "residual", "weight")
    for one in quote.comparables[:SHOWN_COMPARABLES]:
        table.add_row(
            _shortened(clean(one.name)),
            f"{one.price:,.2f}",
            f"{one.similarity:.3f}",
            f"{one.residual:+.2f}",
            f"{one.weight:.0%}",
        )
    console.print(table)
    more = len(quote.comparables) - SHOWN_COMPARABLES
    if more > 0:
        console.print(f"and {more} more (--json lists them all).")
    used = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    console.print(f"Residual: log price less what the models expected, so +0.10 is about 10% dearer. Settings: {used}.")


def _shortened(name: str, longest: int = 70) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _show_evaluation(console: Console, result: Evaluation) -> None:
    console.print(f"{result.n:,} items, {result.method}, seed {result.seed}. SMAPE is the full definition, 0 to 200.")
    for note in result.notes:
        console.print(f"Note: {clean(note)}")
    table = _table("stage", "SMAPE", "95% interval")
    for name, score in result.stages.items():
        table.add_row(name, f"{score.value:.2f}", f"{score.low:.2f} to {score.high:.2f}")
    console.print(table)
    console.print(f"Gain of the correction: {_points(result.gain)} points.")
    console.print(f"With random neighbours: {_points(result.control)}. Beyond them: {_points(result.beyond_control)}.")
    console.print(f"Median absolute percentage error {result.median_ape:.1f}%.")
    console.print(
        f"The {result.coverage_wanted:.0%} interval holds {result.coverage:.1%}; "
        f"half of them are narrower than a factor of {result.width:.2f} from end to end."
    )
    _show_slices(console, "price", result.by_price)
    _show_slices(console, "nearest neighbour's similarity", result.by_similarity)


def _points(score: Score) -> str:
    return f"{score.value:+.2f} ({score.low:+.2f} to {score.high:+.2f})"


def _show_slices(console: Console, title: str, slices: tuple[Slice, ...]) -> None:
    table = _table(title, "n", "SMAPE", "gain", "95% interval", "coverage", "width")
    for part in slices:
        table.add_row(
            part.label,
            f"{part.n:,}",
            f"{part.smape:.2f}",
            f"{part.gain.value:+.2f}",
            f"{part.gain.low:+.2f} to {part.gain.high:+.2f}",
            f"{part.coverage:.0%}",
            f"{part.width:.2f}",
        )
    console.print(table)


class Progress:
    """Bars on a terminal, a line now and then elsewhere; always on stderr."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._said, self._stage = 0.0, ""

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            words = TextColumn("{task.description}", markup=False)
            speed = TextColumn("{task.fields[speed]}", markup=False)
            parts = (words, BarColumn(), MofNCompleteColumn(), speed, TimeElapsedColumn(), TimeRemainingColumn())
            self._bars = Bars(*parts, console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def report(self, stage: str, done: int, total: int | None) -> None:
        """`index.progress.Report`."""
        if self._bars:
            self._update(stage, done, total)
            return
        now = time.monotonic()
        if stage != self._stage or done == total or now - self._said > PROGRESS_EVERY:
            if stage == self._stage and done == total and now - self._said < 1:
                return
            self._said, self._stage = now, stage
            count = (
                "" if not done and total is None else f": {done:,}" + (f" of {total:,}" if total is not None else "")
            )
            click.echo(f"{clean(stage)}{count}", err=True)

    def _update(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._bars.stop_task(task)
            self._tasks[stage] = self._bars.add_task(clean(stage), total=total, speed="")
        task = self._tasks[stage]
        rate = self._bars.tasks[task].speed
        self._bars.update(task, completed=done, total=total, speed=f"{rate:,.0f}/s" if rate else "")


if __name__ == "__main__":
    main()
