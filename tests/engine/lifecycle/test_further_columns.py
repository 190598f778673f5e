"""Claims about an index of a catalogue with columns of its own: they count, whatever of them an item lacks."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.evaluation.evaluate import evaluate_index, evaluate_labelled
from engine.lifecycle.build import BuildResult, build_index
from engine.lifecycle.update import add_items
from engine.serving.price_file import price_file
from engine.serving.price_file_job import PriceFileSettings
from engine.serving.pricer import Item, Pricer
from engine.settings.read import read_settings
from engine.settings.schema import Settings
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused, UsageError
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

BRANDS = {"Acme": 1.0, "Bogusta": 4.0, "Corvo": 16.0, "Dulmar": 64.0}
HEADER = ("sample_id", "catalog_content", "image_link", "price", "brand", "net. weight")
SORTS = ("tin", "jar", "box", "bag", "cup", "pan")
MADE = ("oak", "tin", "jute", "felt", "clay", "cork", "silk", "wool", "teak", "zinc", "iron", "wax")


Row = list[str]


def rows_of(count: int, seed: int = 0, first: int = 0) -> list[Row]:
    """Things whose words tell nothing: a price is the brand's, times the weight."""
    random = np.random.default_rng(seed)
    rows = []
    for row in range(first, first + count):
        made, other, sort = MADE[row % 12], MADE[row // 12 % 12], SORTS[row // 144 % 6]
        brand, weight = random.choice(list(BRANDS)), random.choice([1.0, 2.0, 4.0])
        price = BRANDS[brand] * weight * random.uniform(0.95, 1.05)
        rows.append([str(row), f"{made} and {other} {sort}", "", f"{price:.2f}", brand, f"{weight:g}"])
    return rows


def write(path: Path, rows: Sequence[Row], columns: int = len(HEADER)) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([row[:columns] for row in [list(HEADER), *rows]])
    return path


@pytest.fixture(scope="module")
def settings(shop: Any) -> Settings:
    quick = read_settings(shop.quick)
    trees = replace(quick.gbdt, rounds=60, learning_rate=0.2, feature_fraction=0.9, leaves=8, least_rows_in_leaf=5)
    members = ("mlp", "lexical", "kernel", "gbdt")
    stacker, read = replace(quick.stacker, rounds=0), ReadSettings(number=("net. weight",))
    return replace(quick, image_encoder=(), members=members, gbdt=trees, stacker=stacker, catalogue=read)


@pytest.fixture(scope="module")
def built(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    folder = tmp_path_factory.mktemp("goods")
    result = build_index(write(folder / "goods.csv", rows_of(150)), folder / "index", settings)
    return folder / "index", result


def test_what_only_columns_tell_of_is_priced_far_better_with_them(
    built: tuple[Path, BuildResult], settings: Settings, tmp_path: Path
) -> None:
    plain = build_index(
        write(tmp_path / "plain.csv", rows_of(150), 4), tmp_path / "index", replace(settings, catalogue=ReadSettings())
    )
    assert built[1].evaluation.smape.value < 0.4 * plain.evaluation.smape.value
    assert read_manifest(current_generation(tmp_path / "index")).further == ()


def test_the_index_keeps_its_columns_by_name_and_as_they_were(built: tuple[Path, BuildResult]) -> None:
    folder = current_generation(built[0])
    assert read_manifest(folder).further == ("category:brand", "number:net. weight")
    items = ItemStore.open(folder).items(["item_id", "category:brand", "number:net. weight"])
    expected = [[row[0], row[4], float(row[5])] for row in rows_of(150)]
    assert [list(row.values()) for row in items.to_pylist()] == expected
    assert "number:net. weight" in ItemStore.open(folder).items().column_names


def test_an_item_is_priced_by_the_columns_that_it_is_given_with_and_a_note_on_what_is_unknown(
    built: tuple[Path, BuildResult],
) -> None:
    pricer = Pricer.open(built[0])
    text = "oak and tin jar"
    cheap, dear, plain, unknown, partly = pricer.price(
        [
            Item(text, further={"brand": "Acme", "net. weight": 2}),
            Item(text, further={"brand": " dulmar", "net. weight": "2"}),
            Item(text),
            Item(text, further={"brand": "Zorg", "net. weight": float("nan")}),
            Item(text, further={"net. weight": None, "brand": "Dulmar"}),
        ]
    )
    assert 5 * cheap.price < dear.price
    assert not cheap.notes
    assert plain.notes == ("Not given, and read by the index: brand, net. weight.",)
    assert unknown.notes == (
        "Not given, and read by the index: net. weight.",
        "No item of the index has brand 'Zorg': priced as if it were unknown.",
    )
    assert all(0.1 < quote.price < 1000 for quote in (plain, unknown, partly))
    assert partly.price > 3 * cheap.price
    frame = pd.DataFrame({"text": [text, text], "brand": ["Acme", None], "net. weight": [2.0, np.nan], "other": 1})
    assert pricer.price_frame(frame)["price"].tolist() == pytest.approx([cheap.price, plain.price], rel=1e-3)


@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        ({"brnd": "Acme"}, r"no column 'brnd'; did you mean 'brand'"),
        ({"net. weight": "heavy"}, r"net\. weight is 'heavy', and the index reads numbers there"),
    ],
)
def test_a_column_that_the_index_has_not_and_a_number_that_is_none_are_refused(
    built: tuple[Path, BuildResult], further: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        Pricer.open(built[0]).price([Item("oak and tin jar", further=further)])


def test_a_labelled_file_is_scored_by_its_columns_and_out_of_fold_agrees_with_the_build(
    built: tuple[Path, BuildResult], tmp_path: Path
) -> None:
    labelled = write(tmp_path / "labelled.csv", rows_of(40, seed=9, first=500))
    with_columns = evaluate_labelled(built[0], labelled)
    unread = ReadSettings(ignore=("brand", "net. weight"))
    assert with_columns.smape.value < 0.5 * evaluate_labelled(built[0], labelled, reading=unread).smape.value
    assert evaluate_index(built[0]).smape == built[1].evaluation.smape
    mean = evaluate_labelled(built[0], labelled, answer="mean")
    assert mean.r_squared != with_columns.r_squared
    assert list(mean.stages.values())[:-1] == list(with_columns.stages.values())[:-1]


def test_rows_are_added_with_columns_or_where_the_user_says_so_without(
    built: tuple[Path, BuildResult], tmp_path: Path
) -> None:
    index = Path(shutil.copytree(built[0], tmp_path / "own"))
    rich, plain = rows_of(3, seed=1, first=1000), rows_of(2, seed=2, first=2000)
    add_items(write(tmp_path / "rich.csv", rich), index)
    write(tmp_path / "plain.csv", plain, 4)
    lacks = r"lacks what the index reads of every item: 'brand', 'net\. weight'\. Add the columns, or leave"
    with pytest.raises(DataRefused, match=lacks):
        add_items(tmp_path / "plain.csv", index)
    unread = ReadSettings(ignore=("Brand", "net weight"))
    result = add_items(tmp_path / "plain.csv", index, reading=unread)
    assert result.rows == 155
    items = ItemStore.open(current_generation(index)).items(["category:brand", "number:net. weight"]).to_pylist()[150:]
    assert [list(row.values()) for row in items] == [*([row[4], float(row[5])] for row in rich), *[[None, None]] * 2]
    residual = Pricer.open(index).reference.residual[150:]
    assert np.isfinite(residual).all() and np.abs(residual[:3]).max() < 1


def test_the_mean_is_asked_for_by_query_and_leaves_median_and_interval_as_they_are(
    built: tuple[Path, BuildResult],
) -> None:
    pricer, item = Pricer.open(built[0]), Item("oak and tin jar", further={"brand": "Acme"})
    median, mean = (pricer.price([item], answer=answer)[0] for answer in ("median", "mean"))
    assert mean.price != median.price
    assert mean.parts == {**median.parts, "median": median.price}
    assert (mean.low, mean.high, mean.comparables) == (median.low, median.high, median.comparables)
    with pytest.raises(UsageError, match="answer is 'mode'"):
        pricer.price([item], answer="mode")


def test_a_file_is_priced_by_its_columns_whatever_their_order_and_spelling(
    built: tuple[Path, BuildResult], tmp_path: Path
) -> None:
    brands = ["Acme", "Dulmar", "Zorg", None]
    items = tmp_path / "items.csv"
    rows = "".join(f"{brand or ''},{row},oak and tin jar\n" for row, brand in enumerate(brands))
    items.write_text(f"BRAND,sample_id,catalog_content\n{rows}", encoding="utf-8")
    with pytest.raises(DataRefused, match=r"of every item: 'net\. weight'\. Add the column, or leave that unknown"):
        price_file(items, tmp_path / "prices.csv", built[0])
    unread, prices = ReadSettings(ignore=("net. weight",)), {}
    for answer in ("median", "mean"):
        settings = PriceFileSettings(reading=unread, answer=answer)
        result = price_file(items, tmp_path / f"{answer}.csv", built[0], settings)
        with (tmp_path / f"{answer}.csv").open(encoding="utf-8", newline="") as file:
            prices[answer] = [float(row["price"]) for row in csv.DictReader(file)]
    assert result.unseen == {"brand": 1}
    quotes = Pricer.open(built[0]).price([Item("oak and tin jar", further={"brand": brand}) for brand in brands])
    assert prices["median"] == pytest.approx([quote.price for quote in quotes], rel=1e-3)
    assert prices["median"][1] > 5 * prices["median"][0]
    assert prices["mean"] != prices["median"]


def test_what_a_builder_named_is_read_again_without_being_named(settings: Settings, tmp_path: Path) -> None:
    rows = [[row[1], row[0], row[3], row[4], row[5]] for row in rows_of(90)]
    with (tmp_path / "odd.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["w1", "w2", "w3", "brand", "net. weight"], *rows])
    read = ReadSettings(id="w2", text=("w1",), price="w3", number=("net. weight",))
    build_index(tmp_path / "odd.csv", tmp_path / "index", replace(settings, catalogue=read))
    price_file(tmp_path / "odd.csv", tmp_path / "prices.csv", tmp_path / "index")
    assert (tmp_path / "prices.csv").read_text(encoding="utf-8").startswith("w2,price\n0,")
    assert evaluate_labelled(tmp_path / "index", tmp_path / "odd.csv").n == 90
    (tmp_path / "other.csv").write_text("id,title,brand,net. weight\n1,oak jar,Acme,1\n", encoding="utf-8")
    with pytest.raises(DataRefused, match="has no column 'w1' for the text"):
        price_file(tmp_path / "other.csv", tmp_path / "o.csv", tmp_path / "index")
    renamed = PriceFileSettings(reading=ReadSettings(text=("title",)))
    assert price_file(tmp_path / "other.csv", tmp_path / "o.csv", tmp_path / "index", renamed).priced == 1
