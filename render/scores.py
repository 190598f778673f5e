"""Scores as a terminal shows them: evaluations, searches for settings, ablations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.streams import show
from index.visible import visible
from render import make_table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from engine.evaluation.ablation import Ablation
    from engine.evaluation.report import Evaluation, Score, Slice
    from engine.tuning.tune import TuneResult
    from web.report.folder import ReportResult


def show_evaluation(console: Console, result: Evaluation) -> None:
    console.print(f"{result.n:,} items, {visible(result.method)}, seed {result.seed}.")
    for note in result.notes:
        console.print(f"Note: {visible(note)}")
    table = make_table("stage", "SMAPE (0 to 200)", "95% interval")
    for name, score in result.stages.items():
        table.add_row(name, f"{score.value:.2f}", f"{score.low:.2f} to {score.high:.2f}")
    console.print(table)
    console.print(f"Gain of the correction: {_points(result.gain)} points.")
    console.print(f"With random neighbours: {_points(result.control)}.")
    console.print(f"Beyond them: {_points(result.beyond_control)}.")
    console.print(f"Median absolute percentage error {result.median_ape:.1f}%.")
    console.print(f"The {result.coverage_wanted:.0%} interval holds {result.coverage:.1%} of the prices;")
    console.print(f"half of the intervals are narrower than a factor of {result.width:.2f} from end to end.")
    by_level = result.interval_score_by_level
    beside = "" if by_level is None else f"; by the level of the price alone {by_level:.2f}"
    console.print(f"Interval score (log price, lower is better) {result.interval_score:.2f}{beside}.")
    _show_sureness(console, result)
    _show_slices(console, "price", result.by_price)
    _show_slices(console, "nearest similarity", result.by_similarity)
    _show_slices(console, "expected error", result.by_expected_error)


def show_report(done: ReportResult) -> None:
    """Show where a report is, and the figures that stand first in it."""
    evaluation = done.figures.evaluation
    score = evaluation.smape
    size = f"{done.size / 1e6:.1f} MB, {done.seconds:.0f} s"
    show(f"Report of {evaluation.n:,} rows of {done.index} in {done.page}; {size}.")
    if done.figures.added:
        show(f"{done.figures.added:,} rows were added since the build, and are in no score before the next.")
    show(f"SMAPE {score.value:.2f} ({score.low:.2f} to {score.high:.2f}) out of fold; the interval of")
    show(f"{evaluation.coverage_wanted:.0%} holds {evaluation.coverage:.1%} of the prices.")


def _show_sureness(console: Console, result: Evaluation) -> None:
    table = make_table("surest", "within 10%", "within 20%", "within 30%", "median error", "SMAPE")
    for part in result.sureness:
        within = (f"{share:.0%}" for share in (part.within_10, part.within_20, part.within_30))
        table.add_row(f"{part.covered:.0%}", *within, f"{part.median_ape:.1f}%", f"{part.smape:.2f}")
    console.print(table)
    table = make_table("confidence", "n", "within 20%", "SMAPE", "coverage")
    for of_word in result.by_confidence:
        figures = ("", "", "")
        if of_word.within_20 is not None:
            figures = f"{of_word.within_20:.0%}", f"{of_word.smape:.2f}", f"{of_word.coverage:.0%}"
        table.add_row(of_word.confidence, f"{of_word.n:,}", *figures)
    console.print(table)


def _points(score: Score) -> str:
    return f"{score.value:+.2f} ({score.low:+.2f} to {score.high:+.2f})"


def _show_slices(console: Console, title: str, slices: tuple[Slice, ...]) -> None:
    table = make_table(title, "n", "SMAPE", "gain", "95% interval", "coverage", "width")
    for part in slices:
        interval = f"{part.gain.low:+.2f} to {part.gain.high:+.2f}"
        figures = f"{part.n:,}", f"{part.smape:.2f}", f"{part.gain.value:+.2f}", interval
        table.add_row(part.label, *figures, f"{part.coverage:.0%}", f"{part.width:.2f}")
    console.print(table)


def show_tune_result(result: TuneResult, index_dir: Path) -> None:
    """Show the result of a search for settings: the scores, what they may be trusted for, and the settings chosen."""
    from engine.tuning.parameter_space import key_of

    show(f"{result.trials:,} trials of {', '.join(result.what)} on {result.rows:,} rows; {result.seconds:.0f} s.")
    for note in result.notes:
        show(f"Note: {note}")
    scores = {"as it was": result.present, "cross-fitted": result.cross_fitted}
    for name, score in scores.items():
        show(f"SMAPE {name:12} {score.value:.2f} ({score.low:.2f} to {score.high:.2f}), out of fold.")
    honest = "honest but for the note above" if result.notes else "honest"
    show(f"Gain {_points(result.gain)} points: these figures are {honest}. On the rows that it was chosen on, the")
    show(f"winner scores {result.searched:.2f}, which flatters it.")
    if not result.better:
        show(f"That is no gain: the index at {index_dir} is left as it is.")
        return
    show(f"Now current in {index_dir}:")
    for path, value in result.chosen.items():
        show(f"  {key_of(path)} = {value:.4g}")


def show_ablation(console: Console, table: Ablation) -> None:
    """Show a line for each variant: above 0, the part that it leaves out improves the index."""
    console.print(f"{table.n:,} items, out of fold, seed {table.seed}.")
    shown = make_table("variant", "SMAPE", "worse by", "95% interval", "seconds")
    for row in table.rows:
        worse = f"{row.worse.value:+.2f}", f"{row.worse.low:+.2f} to {row.worse.high:+.2f}"
        shown.add_row(row.variant, f"{row.smape:.2f}", *worse, f"{row.seconds:.1f}")
    console.print(shown)
