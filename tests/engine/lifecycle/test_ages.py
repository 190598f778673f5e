"""Claims about prices with a half-life: what a row counts for by its date, and that it is priced by what counts."""

import csv
import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.ensemble.reference import ReferenceSet
from engine.evaluation.ablation import ablate
from engine.evaluation.evaluate import evaluate_index
from engine.features.inputs import make_inputs
from engine.features.training_set import TrainingSet
from engine.lifecycle.ages import ages, choose_half_life, weights_of
from engine.lifecycle.build import BuildResult, build_index
from engine.lifecycle.update import add_items, remove_items
from engine.serving.pricer import Item, Pricer
from engine.settings.read import read_settings
from engine.settings.schema import Settings
from index.catalogue.item_table import make_items
from index.catalogue.items import AFTER_AS_OF
from index.errors import DataRefused, IndexUnusable, UsageError
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2025, 12, 31)
MADE = ("oak", "tin", "jute", "felt", "clay", "cork", "silk", "wool", "teak", "zinc", "iron", "wax")
SORTS = ("jar", "box", "bag", "cup", "pan", "tub", "keg", "urn")
Row = tuple[str, str, str, str]


def law(made: int, sort: int) -> float:
    """Price of a thing in the old days; what it is made of and its sort stand in its name."""
    return 5 * 1.05**made * 1.1**sort


def rows_of(count: int, *, factor: float = 2.0) -> list[Row]:
    """Things in no order of time; in the second half of it all cost `factor` times as much."""
    random = np.random.default_rng(0)
    rows = []
    for row in range(count):
        made, sort = row % 12, row // 12 % 8
        day = FIRST + dt.timedelta(int(random.integers(0, (LAST - FIRST).days + 1)))
        price = law(made, sort) * (factor if day > FIRST + (LAST - FIRST) / 2 else 1) * random.uniform(0.97, 1.03)
        rows.append((str(row), f"{MADE[made]} {SORTS[sort]} number {row}", f"{price:.2f}", day.isoformat()))
    return [*rows, ("last", "oak box number 1000", f"{law(0, 1) * factor:.2f}", LAST.isoformat())]


def write(path: Path, rows: Sequence[Row], columns: int = 4) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row[:columns] for row in [("sample_id", "catalog_content", "price", "date"), *rows])
    return path


@pytest.fixture(scope="module")
def settings(shop: Any) -> Settings:
    quick = read_settings(shop.quick)
    trees = replace(quick.gbdt, rounds=40, learning_rate=0.2, feature_fraction=0.9, leaves=8, least_rows_in_leaf=5)
    return replace(
        quick, image_encoder=(), members=("kernel", "gbdt"), gbdt=trees, stacker=replace(quick.stacker, rounds=20)
    )


@pytest.fixture(scope="module")
def aged(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    """Index of prices that doubled, whose half-life was left to the build."""
    folder = tmp_path_factory.mktemp("aged")
    result = build_index(
        write(folder / "goods.csv", rows_of(220)), folder / "index", replace(settings, half_life="auto")
    )
    return folder / "index", result


def missed(index: Path) -> float:
    """Median of |log price - the law of today|, over all things."""
    things = [(made, sort) for made in range(12) for sort in range(8)]
    quotes = Pricer.open(index).price([Item(f"{MADE[made]} {SORTS[sort]}") for made, sort in things])
    truth = [2 * law(made, sort) for made, sort in things]
    return float(np.median(np.abs(np.log([quote.price for quote in quotes]) - np.log(truth))))


def dates_of(*days: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([[day and dt.date.fromisoformat(day) for day in days]], pa.date32())


def test_a_row_counts_half_after_a_half_life_and_never_nothing_and_never_more_than_one() -> None:
    age = ages(dates_of("2024-03-01", "2024-02-01", "2024-01-02", "2004-01-01", "2024-05-01"), "2024-03-01")
    assert age.tolist() == [0, 29, 59, 7365, -61]
    np.testing.assert_allclose(weights_of(age, 29.5), [1, 0.5 ** (29 / 29.5), 0.25, 1e-3, 1])


def test_a_row_without_a_date_counts_as_the_median_of_the_others_or_as_it_is_given() -> None:
    age = ages(dates_of("2024-03-01", None, "2024-02-20", "2024-02-10", None), "2024-03-01")
    assert weights_of(age, 10.0).tolist() == [1, 0.5, 0.5, 0.25, 0.5]
    assert weights_of(age[[1]], 10.0, undated=0.125).tolist() == [0.125]


def test_prices_that_doubled_are_met_with_a_half_life_and_not_without(
    aged: tuple[Path, BuildResult], settings: Settings, tmp_path: Path
) -> None:
    build_index(write(tmp_path / "goods.csv", rows_of(220)), tmp_path / "index", settings)
    assert read_manifest(current_generation(tmp_path / "index")).settings["as_of"] is None
    assert ReferenceSet.open(current_generation(tmp_path / "index")).age_weight is None
    assert missed(aged[0]) < 0.6 * missed(tmp_path / "index")


def test_the_chosen_half_life_is_short_and_told_and_kept_with_the_day_from_which_ages_count(
    aged: tuple[Path, BuildResult],
) -> None:
    folder = current_generation(aged[0])
    kept = read_manifest(folder).settings
    assert 40 <= kept["half_life"] <= 180 and kept["as_of"] == LAST.isoformat()
    told = aged[1].reading_notes[-1]
    assert told.startswith(f"half_life is {kept['half_life']:g} days, chosen from 90, 180, 365, 1095 and none (SMAPE")
    assert "by the kernel member alone" in told
    dates = ItemStore.open(folder).items(["date"])["date"]
    expected = weights_of(ages(dates, LAST.isoformat()), kept["half_life"])
    np.testing.assert_array_equal(ReferenceSet.open(folder).age_weight, expected)
    assert any("in this score and its coverage all rows count the same" in note for note in aged[1].evaluation.notes)


def test_where_time_says_nothing_none_is_chosen(aged: tuple[Path, BuildResult], settings: Settings) -> None:
    rows = rows_of(220, factor=1.0)
    ids, texts, prices, days = zip(*rows, strict=True)
    items = make_items(ids, texts, [None] * len(rows), [float(price) for price in prices])
    inputs, fold = make_inputs(items, {}), np.arange(items.num_rows) % 3
    training = TrainingSet(
        inputs,
        items["log_price"].to_numpy().astype(np.float64),
        np.zeros((items.num_rows, 1), np.float32),
        np.arange(items.num_rows),
        fold.astype(np.int8),
    )
    age = ages(dates_of(*days), LAST.isoformat())
    chosen, told = choose_half_life(training, age, settings)
    assert chosen is None and "none is better than none by more than chance" in told
    chosen, told = choose_half_life(training, np.where(np.arange(len(age)) < 9, age, np.nan), settings)
    assert chosen is None and "9 rows have dates" in told and "too little to choose by" in told
    chosen, told = choose_half_life(training, np.zeros(len(age)), settings)
    assert chosen is None and "span 0 days" in told


def test_a_score_and_an_ablation_of_the_index_fit_as_the_build_did(aged: tuple[Path, BuildResult]) -> None:
    again = evaluate_index(aged[0])
    assert again.smape == aged[1].evaluation.smape and again.notes == aged[1].evaluation.notes
    assert ablate(aged[0], parts=["weights"]).rows[0].smape == again.smape.value


def test_shares_of_comparables_are_by_age_too(aged: tuple[Path, BuildResult]) -> None:
    pricer = Pricer.open(aged[0])
    [quote] = pricer.price([Item("oak box")])
    place = {item_id: row for row, item_id in enumerate(pricer.reference.ids())}
    rows = [place[comparable.item_id] for comparable in quote.comparables]
    near = np.array([comparable.similarity for comparable in quote.comparables])
    assert pricer.reference.age_weight is not None
    share = np.exp(-pricer.correction.decay * (near[0] - near)) * pricer.reference.age_weight[rows]
    np.testing.assert_allclose([one.weight for one in quote.comparables], share / share.sum(), rtol=1e-4)


def test_added_rows_count_by_their_dates_a_later_one_as_of_the_day_and_one_without_as_the_median(
    settings: Settings, tmp_path: Path
) -> None:
    rows = rows_of(120)
    build_index(write(tmp_path / "goods.csv", rows), tmp_path / "index", replace(settings, half_life=100.0))
    before = ReferenceSet.open(current_generation(tmp_path / "index")).age_weight
    assert before is not None
    day = (LAST - dt.timedelta(200)).isoformat()
    new = [("a", "oak jar new", "9.00", "2026-01-31"), ("b", "tin jar new", "9.50", day), ("c", "jute jar", "9", "")]
    add_items(write(tmp_path / "new.csv", new), tmp_path / "index")
    add_items(write(tmp_path / "undated.csv", [("d", "wax cup new", "40", "")], 3), tmp_path / "index")
    remove_items(["b"], tmp_path / "index")
    folder = current_generation(tmp_path / "index")
    after = ReferenceSet.open(folder).age_weight
    median = np.median(before)
    np.testing.assert_allclose(after, [*before, 1, median, np.median([*before, 1, 0.25, median])])
    assert ItemStore.open(folder).items(["date"])["date"].to_pylist()[-3:] == [dt.date(2026, 1, 31), None, None]


def test_prices_after_as_of_are_no_items_and_ages_are_counted_from_it(settings: Settings, tmp_path: Path) -> None:
    rows, as_of = rows_of(160), FIRST + (LAST - FIRST) / 2
    later = sum(row[3] > as_of.isoformat() for row in rows)
    result = build_index(
        write(tmp_path / "goods.csv", rows),
        tmp_path / "index",
        replace(settings, half_life=365.0, as_of=as_of.isoformat()),
    )
    assert result.rows == len(rows) - later and later > 40 and not result.rejected
    assert any(f"{later:,} of {AFTER_AS_OF!r}" in note for note in result.reading_notes)
    folder = current_generation(tmp_path / "index")
    assert read_manifest(folder).settings["as_of"] == as_of.isoformat()
    age = ages(ItemStore.open(folder).items(["date"])["date"], as_of.isoformat())
    np.testing.assert_array_equal(ReferenceSet.open(folder).age_weight, 0.5 ** (age / 365))


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"half_life": 90.0}, DataRefused, r"half_life goes by the dates of prices, and no item has one: name their"),
        ({"half_life": "auto"}, DataRefused, r"name their column with --date-column, or leave --half-life out\.$"),
        ({"as_of": "2024-01-01"}, DataRefused, r"as_of goes by the dates .* or leave --as-of out\.$"),
        ({"as_of": "2999-01-01"}, UsageError, r"as_of is 2999-01-01, which has not come yet: give a date up to today"),
    ],
)
def test_what_goes_by_dates_is_refused_where_there_are_none(
    changes: dict[str, Any], error: type[Exception], why: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(error, match=why):
        build_index(write(tmp_path / "goods.csv", rows_of(60), 3), tmp_path / "index", replace(settings, **changes))
    assert not (tmp_path / "index" / "CURRENT").exists()


def test_a_reference_set_without_the_weights_that_the_settings_ask_for_is_refused(
    aged: tuple[Path, BuildResult], settings: Settings
) -> None:
    from engine.ensemble.parts import expect_reference

    folder = current_generation(aged[0])
    reference, manifest = ReferenceSet.open(folder), read_manifest(folder)
    with pytest.raises(IndexUnusable, match="its rows count by their age, or are to"):
        expect_reference(folder, reference, manifest, replace(settings, folds=3))


def test_a_placeholder_among_the_dates_does_not_say_which_half_lives_are_tried(settings: Settings) -> None:
    rows = rows_of(220, factor=1.0)
    ids, texts, prices, days = zip(*rows, strict=True)
    items = make_items(ids, texts, [None] * len(rows), [float(price) for price in prices])
    fold = (np.arange(items.num_rows) % 3).astype(np.int8)
    log_price = items["log_price"].to_numpy().astype(np.float64)
    vectors, groups = np.zeros((items.num_rows, 1), np.float32), np.arange(items.num_rows)
    training = TrainingSet(make_inputs(items, {}), log_price, vectors, groups, fold)
    age = ages(dates_of(*days), LAST.isoformat())
    odd = np.where(np.arange(len(age)) == 7, 46_000.0, age)
    told, told_of_odd = (choose_half_life(training, given, settings)[1] for given in (age, odd))
    assert told.split(" none is")[0] == told_of_odd.split(" none is")[0] and "of 90" in told
