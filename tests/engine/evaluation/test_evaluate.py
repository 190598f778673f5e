"""Scores of an index: on a labelled file by the very path of a query, and out of fold as the build scored it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.evaluate import evaluate_index, evaluate_labelled
from engine.metrics import coverage, smape
from engine.serving.pricer import Item, Pricer
from index.catalogue.items import read_catalogue
from index.catalogue.settings import ReadSettings
from index.embedding import encode
from index.encoders import open_encoder
from index.errors import DataRefused, IndexUnusable
from index.photographs.source import Photographs
from index.storage.generations import current_generation


def test_a_labelled_file_scores_as_its_items_priced_one_by_one(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_alone(*arguments: Any, **options: Any) -> Any:
        encoder = open_encoder(*arguments, **options)
        encoder.batch_size = 1  # in bfloat16 a text's vector leans a little on what it is padded beside
        return encoder

    monkeypatch.setattr(encode, "open_encoder", open_alone)
    scored = evaluate_labelled(shop.index, shop.holdout, image_dir=shop.images)
    items = read_catalogue(shop.holdout, ReadSettings(), priced=True).items.to_pylist()
    pricer, photographs = Pricer.open(shop.index), Photographs(shop.images)
    quotes = [pricer.price([Item(row["text"], row["image"])], photographs=photographs)[0] for row in items]
    price = np.exp([row["log_price"] for row in items])
    assert scored.n == len(items) > 5
    assert scored.smape.value == pytest.approx(smape(price, [quote.price for quote in quotes]), abs=1e-3)
    for part in ("mlp", "gbdt", "lexical", "blend"):
        assert scored.stages[part].value == pytest.approx(smape(price, [q.parts[part] for q in quotes]), abs=1e-3)
    assert scored.coverage == coverage(price, [quote.low for quote in quotes], [quote.high for quote in quotes])


def test_out_of_fold_is_scored_again_as_the_build_scored_it(shop: Any) -> None:
    again = evaluate_index(shop.index).to_json()
    report = json.loads((current_generation(shop.index) / "report.json").read_text())
    assert again["n"] == report["n"]
    for name, value in report["stages"].items():
        assert again["stages"][name] == pytest.approx(value, abs=1e-6), name
    assert again["control"]["value"] == pytest.approx(report["control"]["value"], abs=1e-6)


def test_random_neighbours_are_a_control_of_their_own(shop: Any) -> None:
    for scored in (evaluate_index(shop.index), evaluate_labelled(shop.index, shop.holdout, image_dir=shop.images)):
        assert scored.control.value != scored.gain.value
        assert scored.beyond_control.value == pytest.approx(scored.gain.value - scored.control.value)


def test_slices_hold_every_item_once_and_average_to_the_whole(shop: Any) -> None:
    scored = evaluate_index(shop.index)
    for slices in (scored.by_price, scored.by_similarity):
        assert sum(part.n for part in slices) == scored.n
        assert sum(part.n * part.smape for part in slices) / scored.n == pytest.approx(scored.smape.value)
        assert sum(part.n * part.coverage for part in slices) / scored.n == pytest.approx(scored.coverage)


def test_a_labelled_file_without_prices_is_refused(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "unlabelled.csv").write_text("sample_id,catalog_content\n1,Tea\n")
    with pytest.raises(DataRefused, match="'price'"):
        evaluate_labelled(shop.index, tmp_path / "unlabelled.csv")


@pytest.fixture
def labelled(shop: Any, tmp_path: Path) -> Callable[..., Path]:
    """`labelled(currency, times)`: the held-out items at so many times their price, in the currency of a column."""

    def make(currency: str, times: float = 1, *more: list[str]) -> Path:
        with shop.holdout.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        at = header.index("price")
        for row in rows:
            row[at] = f"{float(row[at]) * times:.2f}"
        path = tmp_path / "labelled.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = [[*row, currency] for row in (*rows, *more)]
            csv.writer(file).writerows([[*header, "currency"], *lines])
        return path

    return make


def test_prices_in_another_currency_are_refused_or_converted_with_rates(
    shop: Any, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "rates.csv").write_text("code,rate\nUSD,1\nJPY,0.01\n", encoding="utf-8")
    with_rates = ReadSettings(rates=str(tmp_path / "rates.csv"))
    own = evaluate_labelled(shop.index, shop.holdout, image_dir=shop.images).to_json()
    for currency, times, reading in (("USD", 1, None), ("USD", 1, with_rates), ("JPY", 100, with_rates)):
        scored = evaluate_labelled(shop.index, labelled(currency, times), reading=reading, image_dir=shop.images)
        assert (scored.n, scored.smape.value) == (own["n"], pytest.approx(own["smape"], abs=1e-4))
    with pytest.raises(DataRefused, match="are in JPY and the index's in USD: --rates converts them"):
        evaluate_labelled(shop.index, labelled("JPY", 100))
    with pytest.raises(DataRefused, match="are in EUR and the index's in USD"):
        evaluate_labelled(shop.index, labelled(""), reading=ReadSettings(currency="EUR"))


def test_rows_without_words_are_left_out_and_counted_and_a_photograph_prices_them(
    shop: Any, labelled: Callable[..., Path]
) -> None:
    own = evaluate_labelled(shop.index, shop.holdout, image_dir=shop.images).to_json()
    image = next(shop.images.iterdir()).name
    empty = [["m1", "<p></p>", "", "3.5"], ["m2", "&nbsp;", "nowhere.jpg", "3.5"], ["m3", "", "", "3.5"]]
    scored = evaluate_labelled(shop.index, labelled("USD", 1, *empty), image_dir=shop.images).to_json()
    for key, value in own.items():
        if key not in ("method", "notes", "reading_notes"):
            assert scored[key] == value, key
    assert scored["notes"] == ("3 rows of the file cannot be used and are not scored.", *own["notes"])
    seen = evaluate_labelled(shop.index, labelled("USD", 1, ["m4", "<p></p>", image, "3.5"]), image_dir=shop.images)
    assert (seen.n, seen.notes) == (own["n"] + 1, own["notes"])


def test_a_file_of_which_no_row_can_be_priced_is_refused(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("sample_id,catalog_content,price\n1,<p></p>,3\n2,&nbsp;,4\n", encoding="utf-8")
    with pytest.raises(DataRefused, match=r"No item of .*empty\.csv can be priced"):
        evaluate_labelled(shop.index, tmp_path / "empty.csv")


def test_an_index_that_is_not_there_is_said_before_the_file_is_read(tmp_path: Path) -> None:
    for score in (lambda: evaluate_index(tmp_path / "x"), lambda: evaluate_labelled(tmp_path / "x", tmp_path / "y")):
        with pytest.raises(IndexUnusable, match="There is no index"):
            score()
