"""Scores of an index: on a labelled file by the very path of a query, and out of fold as the build scored it."""

import json
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


def test_an_index_that_is_not_there_is_said_before_the_file_is_read(tmp_path: Path) -> None:
    for score in (lambda: evaluate_index(tmp_path / "x"), lambda: evaluate_labelled(tmp_path / "x", tmp_path / "y")):
        with pytest.raises(IndexUnusable, match="There is no index"):
            score()
