"""Claims about expected prices: the mean of what an item may cost, whatever the currency and however few the rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.ensemble.uncertainty.evidence import NEAREST, ComparedRows, Evidence
from engine.ensemble.uncertainty.expected_price import ExpectedPrice, require_answer
from engine.features.inputs import NUMBERS, Fields
from index.arrays import Float64
from index.errors import UsageError
from index.search.neighbours import Neighbours

ROWS = 600


def evidence(rows: int = ROWS, seed: int = 0) -> tuple[Evidence, Float64]:
    """Answers that are medians; the farther the members are apart, the farther the prices are, so their means lie."""
    random = np.random.default_rng(seed)
    answer = random.normal(3, 0.5, rows)
    apart = random.choice([0.05, 1.0], rows) * random.uniform(0.9, 1.1, rows)
    members = {"one": answer - apart, "other": answer + apart}
    fields = Fields(np.zeros((rows, len(NUMBERS)), np.float32), np.zeros(rows, np.int64))
    nobody = Neighbours(np.full((rows, NEAREST), -1), np.zeros((rows, NEAREST), np.float32))
    one = ComparedRows(np.zeros(1), np.zeros(1, np.int64), np.zeros(1))
    known = Evidence(members, answer, answer, answer, fields, nobody, one, np.zeros(1))
    return known, answer + apart * random.normal(size=rows)


def missed(predicted: Float64, log_price: Float64) -> float:
    """Mean squared error, in money."""
    return float(np.mean((np.exp(predicted) - np.exp(log_price)) ** 2))


def test_what_is_uncertain_costs_more_on_average_than_its_median_and_what_is_sure_does_not() -> None:
    known, log_price = evidence()
    model = ExpectedPrice.fit(known.table(), known.answer, log_price, seed=0)
    unseen, truth = evidence(seed=1)
    mean = model.log_mean(unseen.table(), unseen.answer)
    raised = mean - unseen.answer
    apart = unseen.members["other"] - unseen.answer > 0.5
    assert abs(np.median(raised[~apart])) < 0.1
    assert 0.3 < np.median(raised[apart]) < 0.7  # the mean of a log-normal of spread 1 lies 0.5 above its median
    assert missed(mean, truth) < missed(unseen.answer, truth)


def test_the_currency_does_not_matter() -> None:
    known, log_price = evidence()
    one = ExpectedPrice.fit(known.table(), known.answer, log_price, seed=0).log_mean(known.table(), known.answer)
    more = {name: values + 5 for name, values in known.members.items()}
    dear = replace(known, members=more, blended=known.blended + 5, base=known.base + 5, answer=known.answer + 5)
    other = ExpectedPrice.fit(dear.table(), dear.answer, log_price + 5, seed=0).log_mean(dear.table(), dear.answer)
    np.testing.assert_allclose(other, one + 5, atol=0.02)


@pytest.mark.parametrize("rows", [1, 3, 30])
def test_few_rows_raise_all_answers_alike(rows: int) -> None:
    known, log_price = evidence(rows)
    mean = ExpectedPrice.fit(known.table(), known.answer, log_price, seed=0).log_mean(known.table(), known.answer)
    assert np.exp(mean).sum() == pytest.approx(np.exp(log_price).sum(), rel=1e-6)
    np.testing.assert_allclose(mean - known.answer, mean[0] - known.answer[0])


def test_a_saved_model_answers_as_it_did(tmp_path: Path) -> None:
    known, log_price = evidence()
    model = ExpectedPrice.fit(known.table(), known.answer, log_price, seed=0)
    model.save(tmp_path / "expected.txt")
    loaded = ExpectedPrice.load(tmp_path / "expected.txt", len(known.members))
    np.testing.assert_array_equal(
        loaded.log_mean(known.table(), known.answer), model.log_mean(known.table(), known.answer)
    )


def test_any_other_answer_is_refused() -> None:
    with pytest.raises(UsageError, match="answer is 'mode': choose from median, mean"):
        require_answer("mode")
