"""Claims about `price report`: its figures are the scores, it needs nothing beside itself, it replaces nothing else."""

import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.ensemble.out_of_fold import OutOfFold
from engine.evaluation import index_figures as figures_module
from engine.evaluation.index_figures import OTHERS, UNIT, IndexFigures, index_figures
from engine.evaluation.report import read_report
from engine.metrics import smape
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.kept import write_kept
from web.pages.plots import score_plot
from web.report import folder as report_folder
from web.report import plots
from web.report.folder import ReportResult

Price = Callable[..., Any]
HOSTILE = "<script>alert(1)</script> & \u202e $\\frac{$ \ud800"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_BROWSER = "PRICE_NO_BROWSER"


@pytest.fixture(scope="module")
def figures(shop: Any) -> IndexFigures:
    return index_figures(shop.index)


@pytest.fixture(scope="module")
def written(figures: IndexFigures, shop: Any, tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    """A report, whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_folder, "index_figures", lambda *_: figures)
        return report_folder.write_report(shop.index, tmp_path_factory.mktemp("whole") / "report")


@pytest.fixture
def report(
    figures: IndexFigures, shop: Any, tmp_path: Path, price: Price, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`report(figures)`: what `price report -o tmp_path/report --json` says of figures, without plots."""

    def run(given: IndexFigures = figures, *, out: Path = tmp_path / "report") -> Any:
        monkeypatch.setattr(report_folder, "index_figures", lambda *_: given)
        monkeypatch.setattr(report_folder, "all_plots", lambda _: {"price.svg": "<svg/>"})
        return price("report", "-o", out, "--index", shop.index, "--json")

    return run


class Links(HTMLParser):
    """Addresses that a page names, its tags, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]


def test_a_report_is_one_folder_that_needs_nothing_beside_itself(written: ReportResult) -> None:
    folder = written.output
    assert [path.name for path in folder.parent.iterdir()] == ["report"]
    names = {path.name for path in folder.iterdir()}
    assert written.files == len(names) and written.page == folder / "index.html"
    assert written.size == sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    named = set()
    for page in ("index.html", "rows.html"):
        links = Links((folder / page).read_text(encoding="utf-8"))
        named |= {address.removeprefix("#main") for address in links.addresses} - {""}
        assert "script" not in links.tags
    assert named == names
    for path in folder.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314  # made here
        outside = re.findall(r"(?:href|url)[=(]\"?(?!#)([^\")]+)", text)
        assert (outside, re.findall(r"#00000\d", text)) == ([], [])


def test_its_scores_are_those_of_the_evaluation(written: ReportResult, shop: Any) -> None:
    evaluated = read_report(current_generation(shop.index))
    document = json.loads((written.output / "figures.json").read_text(encoding="utf-8"))
    assert document["evaluation"] == evaluated
    page = (written.output / "index.html").read_text(encoding="utf-8")
    for name, value in evaluated["stages"].items():
        assert re.search(rf"{re.escape(name)}</th><td class=\"number\">{value:.2f}</td>", page)


def test_what_was_written_is_told_to_people_and_scripts(
    report: Any, figures: IndexFigures, shop: Any, tmp_path: Path, price: Price
) -> None:
    answer = report()
    assert answer.code == 0, answer.err
    assert (answer.json["smape"], answer.json["n"]) == (figures.evaluation.smape.value, figures.evaluation.n)
    assert Path(answer.json["page"]).is_file()
    answer = price("report", "-o", tmp_path / "report", "--index", shop.index)
    assert (answer.code, f"in {tmp_path}/report/index.html; " in answer.out) == (0, True)


def test_groups_are_scored_as_their_rows_alone_would_be(figures: IndexFigures) -> None:
    pricer = figures.pricer
    units = np.array(ItemStore.open(pricer.folder, pricer.manifest).items(["unit"])["unit"].to_pylist())
    groups = figures.by_group[UNIT]
    assert 0 <= figures.evaluation.n - sum(group.n for group in groups) < 20
    assert all(group.n >= 20 for group in groups)
    for group in groups:
        here = units == group.label if group.label != OTHERS else ~np.isin(units, [other.label for other in groups])
        assert group.n == here.sum()
        assert group.smape.value == pytest.approx(
            smape(np.exp(figures.log_price[here]), np.exp(figures.held_out.answer[here]))
        )
        assert group.smape.low <= group.smape.value <= group.smape.high


def test_the_worst_rows_are_farthest_off_and_their_comparables_are_of_other_folds(figures: IndexFigures) -> None:
    off = np.sort(np.abs(figures.held_out.answer - figures.log_price))
    for rows, expected in ((figures.worst, off[::-1]), (figures.best, off)):
        distances = [abs(np.log(row.quote.price / row.price)) for row in rows]
        # Prices are shown as the catalogue has them, not as the exponential of a log in single precision.
        np.testing.assert_allclose(distances, expected[: len(rows)], atol=1e-6)
    reference = figures.pricer.reference
    fold = OutOfFold.read(figures.pricer.folder).fold
    for row in (*figures.worst, *figures.best):
        ids = [row.item_id, *(comparable.item_id for comparable in row.quote.comparables)]
        numbers = reference.numbers(ids)
        assert row.price == pytest.approx(np.exp(reference.log_price[numbers[row.item_id]]))
        assert all(fold[numbers[other]] != fold[numbers[row.item_id]] for other in ids[1:])
        weights = [comparable.weight for comparable in row.quote.comparables]
        assert weights == sorted(weights, reverse=True)


def test_text_of_the_catalogue_is_shown_as_text(report: Any, figures: IndexFigures, tmp_path: Path) -> None:
    worst = replace(figures.worst[0], name=HOSTILE, item_id=HOSTILE)
    (comparable, *_), quote = figures.best[0].quote.comparables, figures.best[0].quote
    best = replace(figures.best[0], quote=replace(quote, comparables=(replace(comparable, name=HOSTILE),)))
    group = replace(figures.by_group[UNIT][0], label=HOSTILE)
    given = replace(figures, worst=(worst,), best=(best,), by_group={HOSTILE: (group, group)})
    answer = report(given)
    assert answer.code == 0, answer.err
    for page in ("index.html", "rows.html"):
        text = (tmp_path / "report" / page).read_text(encoding="utf-8")
        assert "script" not in Links(text).tags and "\u202e" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \\u202e $\\frac{$ \\ud800" in text


def test_growth_is_that_of_the_generations_that_are_kept_and_can_be_read(
    report: Any, figures: IndexFigures, own_index: Path, tmp_path: Path
) -> None:
    first = current_generation(own_index)
    shutil.copytree(first, own_index / "gen-000002")
    shutil.copytree(first, own_index / "gen-000003")
    (own_index / "gen-000002" / "manifest.json").write_text("{}", encoding="ascii")
    write_kept(own_index, {"spring": "gen-000003"})
    growth = figures_module._growth(own_index)
    assert [(row.generation, row.kept_as) for row in growth] == [(first.name, ()), ("gen-000003", ("spring",))]
    assert {row.rows for row in growth} == {figures.pricer.manifest.rows}
    given = replace(figures, growth=growth)
    assert "generation</text>" in plots._drawn(given, plots._growth)
    assert report(given).code == 0
    assert "spring" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_report_takes_the_place_of_a_report_and_of_nothing_else(report: Any, shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    assert report().code == 0  # an empty folder is filled
    assert report().code == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    answer = report()
    assert (answer.code, answer.err) == (
        2,
        f"price: {out} holds 'notes.txt', which is no part of a report: name another --output.\n",
    )
    (out / "figures.json").write_text("{}", encoding="utf-8")
    assert report().code == 2
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    for wrong, why in (
        (Path(), "is the folder that you are in"),
        (shop.index / "report", "lies in the index"),
        (out / "notes.txt", "is a file, and a report is a folder"),
        (tmp_path / "no" / "folder", "there is no folder"),
    ):
        answer = report(out=wrong)
        assert (answer.code, why in answer.err, answer.err.count("\n")) == (2, True, 1)


def test_a_report_that_cannot_be_finished_leaves_the_old_one(
    report: Any, figures: IndexFigures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report().code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_folder.shutil, "copyfile", full)
    answer = report()
    assert (answer.code, "cannot be written (No space left on device)" in answer.err) == (1, True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_without_its_libraries_the_extra_is_named(price: Price, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = price("report", "-o", "report", "--index", "nowhere")
    expected = "price: price report needs matplotlib: pip install 'price-engine[report]'.\n"
    assert (answer.code, answer.err) == (2, expected)


@pytest.mark.skipif(
    CHROMIUM is None and (NO_BROWSER in os.environ or "CI" not in os.environ), reason="there is no chromium here"
)
def test_a_browser_shows_the_report_from_the_disk_on_a_phones_width(written: ReportResult) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 375, "height": 800})
        faults: list[str] = []
        page.on("console", lambda line: faults.append(line.text))
        page.on("request", lambda request: None if request.url.startswith("file:") else faults.append(request.url))
        page.on("requestfailed", lambda request: faults.append(request.url))
        for name in ("index", "rows"):
            page.goto(f"file://{written.output}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert faults == []
        browser.close()


def test_bars_of_scores_without_any_error_are_empty() -> None:
    (bar,) = score_plot({"blend": (0.0, 0.0)}, {"blend": 0.0})
    assert (bar["x"], bar["width"]) == (0, 0)
