"""Claims about members that are given further columns: they use them, keep them, and are not fooled by them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.features.inputs import Inputs
from engine.features.tabular import MISSING, Tabular
from engine.members.kernel.kernel_ridge import KernelRidge
from engine.members.lightgbm import LightGbm
from engine.members.member import FitContext
from engine.members.neural import NeuralMember
from engine.settings.schema import LEXICAL, MLP, Fit, Gbdt, Kernel
from index.arrays import Float64

FIT = Fit(12, 32, 32, 0.02, 0.05, "constant")
HEADS = {"mlp": replace(MLP, width=16, fit=FIT), "lexical": replace(LEXICAL, width=16, fit=FIT)}
TREES = Gbdt(rounds=40, learning_rate=0.2, feature_fraction=0.8, least_rows_in_leaf=5, least_rows_of_word=5)


def fit(name: str, inputs: Inputs, log_price: Float64) -> Any:
    if name == "gbdt":
        return LightGbm.fit(inputs, log_price, TREES, FitContext(name, 0, 1, {}, {}))
    if name == "kernel":
        return KernelRidge.fit(inputs, log_price, Kernel(), seed=0)
    return NeuralMember.fit(inputs, log_price, HEADS[name], 0)


def load(name: str, path: Path) -> Any:
    return LightGbm.load(path, {}) if name == "gbdt" else {"kernel": KernelRidge}.get(name, NeuralMember).load(path)


reads_categories = pytest.mark.parametrize("name", ["mlp", "lexical", "gbdt"])  # the kernel reads them as words
every = pytest.mark.parametrize("name", ["mlp", "lexical", "gbdt", "kernel"])


def with_columns(inputs: Inputs, categories: Any, numbers: Any) -> Inputs:
    columns = np.asarray(categories, np.int64).reshape(len(inputs), -1)
    return replace(inputs, tabular=Tabular(columns, np.asarray(numbers, np.float32).reshape(len(inputs), -1)))


@pytest.fixture
def goods(make_items: Any) -> Callable[..., tuple[Inputs, Float64]]:
    """rows -> inputs of which the price depends little; what a row's own columns add to it is the test's."""

    def make(rows: int = 400) -> tuple[Inputs, Float64]:
        inputs, log_price = make_items(rows, seed=4)
        return inputs, 0.1 * log_price

    return make


def missed(name: str, inputs: Inputs, log_price: Float64, train: int = 300) -> float:
    """Mean error on the rows beyond the first `train`."""
    rows = np.arange(len(inputs))
    model = fit(name, inputs.take(rows[:train]), log_price[:train])
    return float(np.abs(model.predict(inputs.take(rows[train:])) - log_price[train:]).mean())


@reads_categories
def test_a_category_that_no_text_tells_of_is_learned(name: str, goods: Any) -> None:
    inputs, log_price = goods()
    brand = np.random.default_rng(5).integers(100, 106, len(inputs))
    dear = log_price + 0.8 * (brand - 100)
    without = missed(name, inputs, dear)
    assert missed(name, with_columns(inputs, brand, np.empty((len(inputs), 0))), dear) < 0.4 * without


@every
def test_a_number_that_no_text_tells_of_is_learned_with_a_third_of_it_missing(name: str, goods: Any) -> None:
    inputs, log_price = goods()
    random = np.random.default_rng(6)
    weight = np.exp(random.normal(0, 1, len(inputs)))
    dear = log_price + 1.5 * np.log(weight)
    weight[random.random(len(inputs)) < 1 / 3] = np.nan
    without = missed(name, inputs, dear)
    assert missed(name, with_columns(inputs, np.empty((len(inputs), 0)), weight), dear) < 0.75 * without


@every
def test_unknown_and_missing_cells_give_a_price_near_the_others_and_come_back_from_the_disk(
    name: str, goods: Any, tmp_path: Path
) -> None:
    inputs, log_price = goods(200)
    random = np.random.default_rng(7)
    brand, weight = random.integers(0, 4, (200, 2)), random.normal(size=(200, 2))
    model = fit(name, with_columns(inputs, brand, weight), log_price + 0.5 * brand[:, 0])
    few = inputs.take(np.arange(6))
    odd = with_columns(
        few, [[99, 1], [MISSING, 1], [99, MISSING], [1, 99], [MISSING] * 2, [99, 99]], [[np.nan] * 2] * 6
    )
    odd.tabular.numbers[0] = 1e30, -1e30  # type: ignore[union-attr]
    predicted = model.predict(odd)
    assert ((log_price.min() - 1 < predicted) & (predicted < log_price.max() + 3)).all()
    model.save([tmp_path / "model"] if name == "kernel" else tmp_path / "model")
    np.testing.assert_array_equal(load(name, tmp_path / "model").predict(odd), predicted)


@reads_categories
def test_a_category_that_is_an_id_teaches_nothing(name: str, goods: Any) -> None:
    inputs, log_price = goods()
    random = np.random.default_rng(8)
    noisy = log_price + random.normal(0, 0.5, len(inputs))  # which values of a few rows each could learn by heart
    ids = random.integers(0, len(inputs) // 3, len(inputs))
    without = missed(name, inputs, noisy)
    assert without * 0.9 < missed(name, with_columns(inputs, ids, np.empty((len(inputs), 0))), noisy) < without * 1.15


@every
def test_columns_without_a_single_value_change_nothing_for_the_worse(name: str, goods: Any) -> None:
    inputs, log_price = goods(200)
    empty = with_columns(inputs, np.full((200, 1), MISSING), np.full((200, 1), np.nan))
    assert missed(name, empty, log_price, 150) < missed(name, inputs, log_price, 150) + 0.1


@pytest.mark.parametrize("head", ["mlp", "lexical"])
def test_networks_train_so_many_times_as_long_where_there_are_further_columns(head: str, goods: Any) -> None:
    plain, log_price = goods(60)
    rich = with_columns(plain, np.arange(60) % 3, np.arange(60.0))

    def predicted(inputs: Inputs, epochs: int, factor: float) -> Float64:
        course = replace(FIT, epochs=epochs, further_factor=factor)
        return NeuralMember.fit(inputs, log_price, replace(HEADS[head], fit=course), 0).predict(inputs)

    np.testing.assert_array_equal(predicted(rich, 2, 1.5), predicted(rich, 3, 1.0))
    np.testing.assert_array_equal(predicted(plain, 2, 1.5), predicted(plain, 2, 1.0))
