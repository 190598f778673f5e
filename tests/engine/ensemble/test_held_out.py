"""Claims about the prices that a build keeps of its own rows: those it was scored by, whatever becomes of the rows."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ensemble.held_out import HeldOutPrices
from engine.lifecycle.update import add_items, remove_items
from engine.serving.pricer import Pricer
from index.errors import IndexUnusable
from index.storage.generations import current_generation
from index.storage.layout import HELD_OUT


def kept(index: Path) -> dict[str, tuple[float, ...]]:
    ids = Pricer.open(index).reference.ids()
    return dict(zip(ids, zip(*columns_of(current_generation(index)), strict=True), strict=True))


def columns_of(folder: Path) -> list[np.ndarray]:
    table = pq.read_table(folder / HELD_OUT)
    return [table[name].to_numpy() for name in ("answer", "low", "high")]


def test_a_row_keeps_its_price_when_others_come_and_go_and_an_added_one_has_none(
    own_index: Path, tmp_path: Path
) -> None:
    before = kept(own_index)
    gone = list(before)[3:30:9]
    remove_items(gone, own_index)
    tea = tmp_path / "tea.csv"
    tea.write_text("sample_id,catalog_content,image_link,price\nnew,Sencha 12 oz,,5.0\n", encoding="utf-8")
    add_items(tea, own_index)
    after = kept(own_index)
    assert np.isnan(after.pop("new")).all()
    assert after == {item_id: prices for item_id, prices in before.items() if item_id not in gone}


@pytest.mark.parametrize(
    "spoiled",
    [
        pa.table({"answer": [1.0], "low": [0.5], "high": [2.0]}),
        pa.table({"answer": [1.0], "low": [0.5]}),
        pa.table({"answer": [1], "low": [0], "high": [2]}),
        pa.table({"answer": [1.0] * 500, "low": [2.0] * 500, "high": [0.5] * 500}),
        pa.table({"answer": [float("nan")] * 500, "low": [0.5] * 500, "high": [2.0] * 500}),
        pa.table({name: [float("nan")] * 500 for name in ("answer", "low", "high")}),
    ],
)
def test_contents_that_no_build_writes_are_refused(spoiled: pa.Table, tmp_path: Path) -> None:
    pq.write_table(spoiled, tmp_path / HELD_OUT)
    with pytest.raises(IndexUnusable, match=r"held_out\.parquet is damaged \(.+\): build the index again"):
        HeldOutPrices.read(tmp_path, np.arange(400))


def test_prices_come_back_as_they_were_written(tmp_path: Path) -> None:
    prices = HeldOutPrices(np.array([1.0, 2.0]), np.array([0.5, 2.0]), np.array([1.5, 2.0]))
    prices.among(np.array([2, 0]), 4).write(tmp_path)
    read = HeldOutPrices.read(tmp_path, np.array([2, 0]))
    np.testing.assert_array_equal(astuple(read), astuple(prices))
    assert np.isnan(columns_of(tmp_path)[0][[1, 3]]).all()
