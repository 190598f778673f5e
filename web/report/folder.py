"""The report of an index in a folder, written whole or not at all: the whole of `price report`."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.evaluation.index_figures import UNIT, IndexFigures, index_figures
from index.contents import MOST_JSON, loading, parse_json
from index.errors import IndexUnusable, UsageError
from index.files import open_regular, replace_folder
from index.progress import OnProgress, silent
from web.described import describe_generation
from web.pages.plots import interval_plot, score_plot
from web.pages.templating import STATIC, environment
from web.report.plots import all_plots

FIGURES = "figures.json"  # what makes a folder a report
FILES = "files"  # its key with all files of the report
PAGES = (("index.html", "The index"), ("rows.html", "Worst and best rows"))
STYLES = ("page.css", "icon.svg")


@dataclass(frozen=True)
class ReportResult:
    """Result of a report that was written."""

    output: Path
    index: str
    figures: IndexFigures
    files: int
    size: int  # bytes
    seconds: float

    @property
    def page(self) -> Path:
        """The page to begin with."""
        return self.output / PAGES[0][0]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        evaluation = self.figures.evaluation
        return {
            "output": str(self.output),
            "page": str(self.page),
            "generation": self.figures.pricer.folder.name,
            "n": evaluation.n,
            "not_scored": self.figures.added,
            "smape": evaluation.smape.value,
            "coverage": evaluation.coverage,
            "files": self.files,
            "bytes": self.size,
            "seconds": self.seconds,
        }


def write_report(index_dir: Path, out: Path, on_progress: OnProgress = silent) -> ReportResult:
    """Write the report of an index into the folder `out`, in the place of a report that is there.

    UsageError for a folder that holds other files, or cannot be written.
    """
    started, out = time.monotonic(), out.resolve()
    require_report_or_nothing(out, index_dir.resolve())
    figures = index_figures(index_dir, on_progress)
    on_progress("drawing", 0, None)
    name = index_dir.resolve().name
    texts = {**_pages(name, figures), **all_plots(figures)}
    document = {"index": name, "generation": figures.pricer.folder.name, **figures.to_json()}
    document[FILES] = sorted([*texts, *STYLES, FIGURES])
    texts[FIGURES] = json.dumps(document, allow_nan=False, indent=1) + "\n"
    try:
        with replace_folder(out) as partial:
            for file, text in texts.items():
                (partial / file).write_text(text, encoding="utf-8", errors="backslashreplace")
            for file in STYLES:
                shutil.copyfile(STATIC / file, partial / file)
        size = sum(path.stat().st_size for path in out.iterdir())
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written ({error.strerror or error}): mend that, or name another --output."
        ) from error
    return ReportResult(out, name, figures, len(document[FILES]), size, time.monotonic() - started)


def require_report_or_nothing(out: Path, index_dir: Path) -> None:
    """Raise UsageError where a report cannot take a folder's place without harm to anything but a report."""
    if out.is_relative_to(index_dir) or out == Path.cwd():
        where = "is the folder that you are in" if out == Path.cwd() else "lies in the index"
        raise UsageError(f"{out} {where}: name another --output.")
    if not out.parent.is_dir():
        raise UsageError(
            f"{out} cannot be written (there is no folder {out.parent}): make it, or name another --output."
        )
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{out} cannot be written ({out.parent} is read-only): name another --output.")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file, and a report is a folder: name another --output.")
    files = _files_of_report(out / FIGURES)
    try:
        foreign = sorted(path.name for path in out.iterdir() if path.name not in files)
    except OSError as error:
        raise UsageError(f"{out} cannot be read ({error.strerror}): name another --output.") from error
    if foreign:
        raise UsageError(f"{out} holds {foreign[0]!r}, which is no part of a report: name another --output.")


def _files_of_report(path: Path) -> set[str]:
    """Names of the files that a report was written with; none where there is no report."""
    try:
        with loading(path), open_regular(path) as file:
            return {str(name) for name in parse_json(file.read(MOST_JSON))[FILES]}
    except (OSError, IndexUnusable):
        return set()


def _pages(name: str, figures: IndexFigures) -> dict[str, str]:
    """Return the pages by the names of their files."""
    pricer, evaluation = figures.pricer, figures.evaluation.to_json()
    held = {**describe_generation(name, pricer), "indexes": [name], "newer": ""}
    largest = {group: _bars(figures, group) for group in figures.by_group}
    common = {"static": "", "pages": PAGES, "scripts": False, "held": held, "evaluation": evaluation}
    index: dict[str, Any] = {
        "scores": score_plot(evaluation["stage_intervals"], evaluation["stages"]),
        "figures": figures,
        "groups": largest,
        "unit": UNIT,
    }
    lists = [("The worst", figures.worst), ("The best", figures.best)]
    rows: dict[str, Any] = {
        "lists": [(title, [(row, interval_plot(row.quote, row.price)) for row in rows]) for title, rows in lists]
    }
    templates = zip(PAGES, ("report.html", "report_rows.html"), (index, rows), strict=True)
    return {
        file: environment().get_template(template).render(path=file, **common, **values)
        for (file, _), template, values in templates
    }


def _bars(figures: IndexFigures, name: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return the groups of a column, each with its bar."""
    groups = figures.by_group[name]
    scores = {str(place): group.smape for place, group in enumerate(groups)}  # two may have one label
    intervals = {place: (score.low, score.high) for place, score in scores.items()}
    bars = score_plot(intervals, {place: score.value for place, score in scores.items()})
    return list(zip(groups, bars, strict=True))
