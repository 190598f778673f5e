"""Claims about outliers: the farthest rows go, of training alone, and never of what is scored."""

from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble.out_of_fold import predict_out_of_fold
from engine.features.training_set import TrainingSet
from engine.members.outliers import without_outliers
from engine.members.registry import member_fits
from engine.settings.schema import Settings


def test_the_farthest_from_the_median_go_on_either_side_and_the_rest_keep_their_order():
    log_price = np.array([5.0, -40.0, 5.2, 4.9, 90.0, 5.1, 5.0, 4.8, 5.3, 4.7])
    assert without_outliers(log_price, 0.2).tolist() == [0, 2, 3, 5, 6, 7, 8, 9]
    assert without_outliers(log_price, 0.1).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert without_outliers(log_price, 0.09).tolist() == list(range(10))


@pytest.mark.parametrize("rows", [1, 2, 99, 100])
def test_never_more_than_the_share_and_never_everything(rows):
    kept = without_outliers(np.arange(rows, dtype=float), 0.5)
    assert len(kept) == rows - rows // 2 >= 1
    assert len(without_outliers(np.zeros(rows), 0.01)) == rows - rows // 100


def test_an_outlier_is_scored_but_teaches_no_member(make_items, monkeypatch):
    inputs, log_price = make_items(60)
    log_price[7] = np.log(1e6)
    fold = (np.arange(60) % 3).astype(np.int8)
    seen = []

    class Recorded:
        @classmethod
        def fit(cls, inputs, log_price, *_, **__):
            seen.append((len(inputs), log_price))
            return cls()

        def predict(self, inputs):
            return np.zeros(len(inputs))

    monkeypatch.setattr("engine.members.neural.NeuralMember", Recorded)
    fits = member_fits(replace(Settings(), members=("mlp",), outliers=0.03))
    training = TrainingSet(inputs, log_price, inputs.vectors["name"], np.arange(60), fold)
    oof, _ = predict_out_of_fold(training, fits, seed=0)
    assert seen
    assert all(rows == len(prices) for rows, prices in seen)
    assert {rows for rows, _ in seen} == {20, 39}  # of 20 rows 3 % are none, of 40 one
    assert all(prices.max() < 10 for rows, prices in seen if rows == 39)
    assert len(oof.oof["mlp"]) == 60
    assert len(oof.nested()["mlp"]) == 60
