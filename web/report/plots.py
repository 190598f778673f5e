"""Plots of a report: SVG by matplotlib, in the colours of the pages, light and dark.

No text of the catalogue stands in a plot. Every plot is told in words where it is shown, and its figures stand in
tables or in the figures for programs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.uncertainty.confidence import CLOSE
from engine.evaluation.report import SLICES
from engine.metrics import row_smape
from web.pages.templating import STATIC

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from engine.evaluation.index_figures import IndexFigures
    from engine.evaluation.report import Slice
    from index.arrays import Float64

WIDTH, HEIGHT = 5.4, 4.0  # inches of 72 points: text of 12 points is still read where a phone shows it smaller
# Colours stand for the style sheet's own, which the finished SVG names.
INK, SOFT, LINE, ACCENT, DOT, BAND = "#000001", "#000002", "#000003", "#000004", "#000005", "#000006"
NAMES = {INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", DOT: "dot", BAND: "band"}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "price-engine",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 11,
    "figure.constrained_layout.use": True,
}
BINS = 45  # of price, along an axis
PALEST = 0.12  # opacity of a bin with one row
SUREST = 0.02  # share of the rows from which the curves of sureness begin
LEAST = 20  # rows from which they begin
LINES = (("-", ACCENT, "o"), ("--", DOT, "s"), (":", INK, "^"))


def all_plots(figures: IndexFigures) -> dict[str, str]:
    """Return the plots as SVG, by the names of their files."""
    plots: dict[str, Callable[[IndexFigures, Axes], None]] = {
        "price": _price,
        "smape-by-price": _smape_by_price,
        "calibration": _calibration,
        "gain-by-likeness": _gain,
        "within-by-sureness": _within,
        "smape-by-sureness": _smape,
    }
    if len(figures.growth) > 1:
        plots["growth"] = _growth
    return {f"{name}.svg": _drawn(figures, plot) for name, plot in plots.items()}


def _drawn(figures: IndexFigures, plot: Callable[[IndexFigures, Axes], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():  # whatever a matplotlibrc of the user's says
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, HEIGHT))
        plot(figures, figure.subplots())
        made = io.StringIO()
        figure.savefig(made, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _in_colours_of_the_pages(made.getvalue())


def _in_colours_of_the_pages(svg: str) -> str:
    """Name the style sheet's colours in the place of those that stand for them, and bring its palette along."""
    palette = re.match(
        r":root \{.*?\n\}\n@media.*?\n\}\n", (STATIC / "page.css").read_text(encoding="utf-8"), re.DOTALL
    )
    assert palette, "the style sheet begins with its colours"
    for colour, name in NAMES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<defs>", f"<style>\n{palette[0]}</style>\n <defs>", 1)


def _price(figures: IndexFigures, axes: Axes) -> None:
    """Draw answers over prices, both by their logarithm, as counts of rows."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    own, answer = figures.log_price, figures.held_out.answer
    low, high = min(own.min(), answer.min()), max(own.max(), answer.max())
    edges = np.linspace(low - 0.02, max(high, low + 0.1) + 0.02, BINS + 1)
    counts = np.histogram2d(own, answer, bins=[edges, edges])[0]
    shade = np.log1p(counts) / np.log1p(max(counts.max(), 1))
    axes.set(xscale="log", yscale="log", xlim=np.exp(edges[[0, -1]]), ylim=np.exp(edges[[0, -1]]))
    ends = np.exp(edges)
    for x, y in np.argwhere(counts > 0).tolist():
        size = ends[x + 1] - ends[x], ends[y + 1] - ends[y]
        opacity = PALEST + (1 - PALEST) * shade[x, y]
        axes.add_patch(Rectangle((ends[x], ends[y]), *size, facecolor=ACCENT, alpha=opacity, linewidth=0))
    axes.plot(ends[[0, -1]], ends[[0, -1]], color=INK, linewidth=1)
    for share in (1 - CLOSE, 1 + CLOSE):
        axes.plot(ends[[0, -1]], ends[[0, -1]] * share, color=INK, linewidth=0.8, linestyle=":")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, (1, 3) if edges[-1] - edges[0] < np.log(1e4) else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="price in the catalogue", ylabel="priced at")


def _smape_by_price(figures: IndexFigures, axes: Axes) -> None:
    parts = figures.evaluation.by_price
    axes.plot(_places(axes, parts), [part.smape for part in parts], color=ACCENT, marker="o")
    axes.axhline(figures.evaluation.smape.value, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel=f"{_part(parts)} of the rows, the cheapest first", ylabel="SMAPE", ylim=(0, None))


def _calibration(figures: IndexFigures, axes: Axes) -> None:
    """Draw the share of prices within their intervals by tenths, and where 95 of 100 such shares lie by chance."""
    evaluation = figures.evaluation
    level = evaluation.coverage_wanted
    tenths = {
        "price": evaluation.by_prediction,
        "expected error": evaluation.by_expected_error,
        "likeness": evaluation.by_likeness,
    }
    chance = 1.96 * np.sqrt(level * (1 - level) / min(part.n for part in evaluation.by_prediction))
    axes.axhspan(100 * (level - chance), 100 * min(level + chance, 1), color=BAND, alpha=0.5, linewidth=0)
    axes.axhline(100 * level, color=INK, linewidth=1)
    lowest = 100 * (level - chance)
    for (name, parts), (line, colour, marker) in zip(tenths.items(), LINES, strict=True):
        shares = [100 * part.coverage for part in parts]
        lowest = min(lowest, *shares)
        axes.plot(_places(axes, parts), shares, color=colour, linestyle=line, marker=marker, markersize=5, label=name)
    by = f"{_part(evaluation.by_prediction)} of the rows, lowest first, by"
    axes.set(xlabel=by, ylabel="% in the interval", ylim=(max(lowest - 10, 0), 101))
    axes.legend(loc="lower right", ncols=3, handlelength=1.5, columnspacing=1)


def _gain(figures: IndexFigures, axes: Axes) -> None:
    """Draw what the correction takes off SMAPE by the likeness of the nearest row, with 95 % intervals."""
    parts = figures.evaluation.by_likeness
    ordered = np.sort(figures.held_out.likeness)
    middle = [float(np.median(part)) for part in np.array_split(ordered, len(parts))]
    gains = [part.gain for part in parts]
    ends = [[gain.value - gain.low for gain in gains], [gain.high - gain.value for gain in gains]]
    axes.axhline(0, color=INK, linewidth=1)
    axes.errorbar(middle, [gain.value for gain in gains], yerr=np.maximum(ends, 0), color=ACCENT, marker="o", capsize=3)
    axes.set(xlabel="likeness of the nearest item (1: the same)", ylabel="SMAPE gained by the correction")


def _within(figures: IndexFigures, axes: Axes) -> None:
    off = np.abs(np.expm1(figures.held_out.answer - figures.log_price))
    for close, (line, colour, _) in zip((0.3, CLOSE, 0.1), LINES, strict=True):
        covered, share = _of_surest(figures, 100 * (off <= close))
        axes.plot(covered, share, color=colour, linestyle=line, label=f"within {close:.0%}")
    axes.set(xlabel="% of the rows, the surest first", ylabel="% close to the price", xlim=(0, 100), ylim=(0, 105))
    axes.legend(loc="upper right")


def _smape(figures: IndexFigures, axes: Axes) -> None:
    smape = row_smape(np.exp(figures.log_price), np.exp(figures.held_out.answer))
    covered, mean = _of_surest(figures, smape)
    axes.plot(covered, mean, color=ACCENT)
    axes.set(xlabel="% of the rows, the surest first", ylabel="SMAPE", xlim=(0, 100), ylim=(0, None))


def _growth(figures: IndexFigures, axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.plot([generation.rows for generation in figures.growth], color=ACCENT, marker="o", drawstyle="steps-post")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    numbers = [generation.generation.removeprefix("gen-").lstrip("0") for generation in figures.growth]
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda place, _: numbers[int(place)] if 0 <= place < len(numbers) else "")
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set(xlabel="generation", ylabel="rows", ylim=(0, None))


def _places(axes: Axes, parts: tuple[Slice, ...]) -> list[int]:
    """Return where the parts of the rows lie on the axis of their places, which it is made."""
    axes.set_xticks(range(1, len(parts) + 1))
    return list(range(1, len(parts) + 1))


def _part(parts: tuple[Slice, ...]) -> str:
    return "tenth" if len(parts) == SLICES else "part"


def _of_surest(figures: IndexFigures, values: Any) -> tuple[Float64, Float64]:
    """Mean of `values` (n,) over the surest rows, by their share of all in percent; no more points than are seen."""
    order = np.argsort(figures.held_out.spread.expected_error, kind="stable")
    means = np.cumsum(np.asarray(values, np.float64)[order]) / np.arange(1, len(order) + 1)
    first = min(max(LEAST, round(SUREST * len(order))), len(order))
    places = np.unique(np.linspace(first, len(order), 200).round().astype(int)) - 1
    return 100 * (places + 1) / len(order), means[places]
