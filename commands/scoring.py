"""Commands that score an index, compare it with its past, search for settings: evaluate, report, diff, tune, ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import render
import render.scores
from commands.libraries import prepare
from commands.options import (
    PATH,
    answer_option,
    image_dir_option,
    index_option,
    json_option,
    print_json,
    runtime,
    runtime_options,
)
from commands.reading import read_settings_of, reading_options
from commands.streams import tell_notes


@click.command("evaluate", short_help="Score the index, out of fold or on a labelled file.")
@click.argument("labelled", type=PATH, required=False)
@index_option
@answer_option
@image_dir_option
@runtime_options
@reading_options
@json_option
def evaluate_command(labelled: Path | None, index_dir: Path, *, as_json: bool, answer: str, **options: Any) -> None:
    """Score the index: out of fold, or on a LABELLED file priced as queries.

    SMAPE is the full definition, 100 * mean(|p - y| / ((|p| + |y|) / 2)), from 0 to 200. Out of fold, every fold is
    priced as a build without it would price it, and the blend, the correction and the interval are fitted on the
    other folds. Prices of a LABELLED file in another currency than the index's are refused, or converted with --rates.

    \b
    price evaluate
    price evaluate holdout.csv --image-dir photographs --json
    """
    prepare()
    from engine.evaluation.evaluate import evaluate_index, evaluate_labelled

    how = {"reading": read_settings_of(options), "image_dir": options["image_dir"], "runtime": runtime(options)}
    with render.Progress() as progress:
        if labelled is None:
            evaluation = evaluate_index(index_dir, progress.update, answer=answer)
        else:
            evaluation = evaluate_labelled(index_dir, labelled, answer=answer, on_progress=progress.update, **how)
    tell_notes(evaluation.reading_notes)
    if as_json:
        print_json(evaluation.to_json())
    else:
        render.scores.show_evaluation(render.open_console(), evaluation)


@click.command("report", short_help="Write a report of the index: pages with plots.")
@click.option("--output", "-o", type=PATH, required=True, help="Folder to write; a report that is there is replaced.")
@index_option
@json_option
def report_command(output: Path, index_dir: Path, *, as_json: bool) -> None:
    """Write how good the index is as a folder of pages with plots, to read in a browser or to send to somebody.

    Scores by stage, price against truth, calibration, sureness, error by price, unit and category, the correction's
    gain, the growth of the index, and the rows that are priced worst and best with their comparables; all out of fold,
    as `price evaluate` has it. The pages need no server, no network and no script. Needs price-engine[report].

    \b
    price report -o report
    """
    require_libraries()
    prepare()
    from web.report.folder import write_report

    with render.Progress() as progress:
        done = write_report(index_dir, output, progress.update)
    if as_json:
        print_json(done.to_json())
    else:
        render.scores.show_report(done)


def require_libraries() -> None:
    """Raise UsageError where the libraries of the report are not installed."""
    from index.errors import UsageError

    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(f"price report needs {error.name}: pip install 'price-engine[report]'.") from error


@click.command("diff", short_help="Compare the prices of two generations.")
@click.argument("old")
@click.argument("new")
@click.argument("items", type=PATH, required=False)
@click.option("--output", "-o", type=PATH, help="Write all prices, the largest change first: .csv or .parquet.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
@index_option
@image_dir_option
@runtime_options
@reading_options
@json_option
def diff_command(
    old: str, new: str, items: Path | None, index_dir: Path, *, output: Path | None, as_json: bool, **options: Any
) -> None:
    """Show which prices the generation NEW of the index moves from OLD, by how much, and whether the evidence says why.

    OLD and NEW are numbers, names of `price keep`, or `current`. A change is that of the models, and that of what
    neighbours add: rows that were added or removed among a price's comparables are named. With ITEMS, that file is
    priced by both. Without, the rows that both hold are, each as if it were not in the catalogue: by what models that
    never saw it predicted, and by rows of other folds; nothing is encoded.

    \b
    price keep spring
    price add new.csv --replace
    price diff spring current
    price diff spring current items.csv -o moved.csv
    """
    prepare()
    from engine.evaluation.price_changes import DiffSettings, price_changes
    from index.catalogue.inspection import refuse_outputs

    overwrite = options.pop("overwrite")
    refuse_outputs(items or index_dir, output, None, overwrite=overwrite)
    settings = DiffSettings(read_settings_of(options), options["image_dir"], runtime(options))
    with render.Progress() as progress:
        changes = price_changes(index_dir, old, new, items, settings=settings, on_progress=progress.update)
    tell_notes(changes.notes)
    if output:
        changes.write(output)
    if as_json:
        print_json(changes.to_json())
    else:
        render.show_changes(render.open_console(), changes)


@click.command("tune", short_help="Search for better settings of the index.")
@index_option
@click.option("--what", default="correction,blend", help="With commas: correction, blend, stacker, members.")
@click.option("--trials", type=int, default=200, help="Settings to try beyond those that the index has.")
@click.option("--minutes", type=float, default=10.0, help="After which no trial is begun.")
@click.option("--seed", type=int, default=0, help="Of the search.")
@json_option
def tune_command(index_dir: Path, what: str, *, as_json: bool, **options: Any) -> None:
    """Search for better settings out of fold, and make them the index's own where they are better.

    The best of many settings looks better than it is on the rows that chose it. The cross-fitted score makes the choice
    anew for each fold on the other folds; if that is no better than the index, the index is left as it is. A search
    that was stopped is continued by the same command; parts that an earlier search has chosen are searched again with
    the others. A trial of the correction takes about as long as an evaluation, of the blend or the stacker some ten
    times that, of the members as long as a build.

    \b
    price tune --minutes 30
    price tune --what correction --trials 500
    """
    from index.shortage import require_memory

    require_memory(training=True)
    from engine.tuning.tune import tune

    parts = tuple(part.strip() for part in what.split(","))
    with render.Progress() as progress:
        found = tune(index_dir, what=parts, on_progress=progress.update, **options)
    if as_json:
        print_json(found.to_json())
    else:
        render.scores.show_tune_result(found, index_dir)


@click.command("ablate", short_help="Score the index with one part at a time left out.")
@index_option
@click.option("--parts", help="Of the table, with commas. [default: all that need no refitting]")
@click.option("--refit", is_flag=True, help="Also what takes fitting the members anew, which takes a build each.")
@json_option
def ablate_command(index_dir: Path, parts: str | None, *, refit: bool, as_json: bool) -> None:
    """Leave out or swap one part of the index at a time, and score what is left out of fold.

    Each difference is to the index's own answer, row by row, with its 95% interval: above 0, the index is worse off
    without the part.

    \b
    price ablate --parts correction,members
    price ablate --refit --json
    """
    from index.shortage import require_memory

    require_memory(training=True)
    from engine.evaluation.ablation import ablate

    chosen = None if parts is None else tuple(part.strip() for part in parts.split(","))
    with render.Progress() as progress:
        table = ablate(index_dir, parts=chosen, refit=refit, on_progress=progress.update)
    if as_json:
        print_json(table.to_json())
    else:
        render.scores.show_ablation(render.open_console(), table)
