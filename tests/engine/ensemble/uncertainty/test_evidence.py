"""Claims about the evidence of an error, row by row against a slow reading of the same neighbours."""

import math
from typing import Any

import numpy as np
import pytest

from engine.ensemble.stacker import AMOUNT_SLOPE
from engine.ensemble.uncertainty.evidence import (
    GROUPS,
    NEAREST,
    ComparedRows,
    Evidence,
    weighted_quantiles,
    width,
    widths,
)
from engine.features.inputs import NUMBERS, Fields
from index.search.neighbours import Neighbours

UNKNOWN, AMOUNT = NUMBERS.index("amount_unknown"), NUMBERS.index("log_amount")
NAN = math.nan


def evidence_of(found: list[int], rows: int = 90) -> Evidence:
    """An item for each number of neighbours that are `found`."""
    random, n = np.random.default_rng(3), len(found)
    near, similarity = np.full((n, NEAREST), -1), np.zeros((n, NEAREST), np.float32)
    for row, count in enumerate(found):
        near[row, :count] = random.permutation(rows)[:count]
        similarity[row, :count] = np.sort(random.uniform(0.2, 1, count))[::-1]
    numbers = random.normal(size=(n, len(NUMBERS))).astype(np.float32)
    numbers[:, UNKNOWN] = np.arange(n) % 3 == 2
    log_amount = np.where(np.arange(rows) % 4 == 0, NAN, random.normal(size=rows))
    compared = ComparedRows(random.normal(3, 1, rows), np.arange(rows) % 2, log_amount)
    members = {name: random.normal(3, 1, n) for name in ("one", "other", "third")}
    blended, base, answer = random.normal(3, 0.5, (3, n))
    fields = Fields(numbers, np.arange(n) % 2)
    return Evidence(
        members, blended, base, answer, fields, Neighbours(near, similarity), compared, random.normal(0, 0.4, rows)
    )


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


def deviation(values: list[float]) -> float:
    return math.sqrt(mean([(value - mean(values)) ** 2 for value in values])) if values else NAN


def quantile(values: list[float], weight: list[float], share: float) -> float:
    """The least value up to which `share` of the weight lies."""
    reached = 0.0
    for value, own in sorted(zip(values, weight, strict=True)):
        reached += own / sum(weight)
        if reached >= share - 1e-12:
            return value
    return NAN


def slow_groups(evidence: Evidence, row: int) -> dict[str, list[float]]:
    """One item's evidence, one neighbour at a time."""
    answer, rows = float(evidence.answer[row]), evidence.rows
    members = [float(values[row]) for values in evidence.members.values()]
    numbers = [float(number) for number in evidence.fields.numbers[row]]
    own_amount = NAN if numbers[UNKNOWN] > 0 else numbers[AMOUNT]
    cosine, dearer, at_amount, residual, comparable = [], [], [], [], 0
    for place in range(NEAREST):
        j = int(evidence.near.rows[row, place])
        if j < 0:
            continue
        cosine.append(float(evidence.near.similarity[row, place]))
        dearer.append(float(rows.log_price[j]) - answer)
        more = own_amount - float(rows.log_amount[j])
        like = rows.unit[j] == evidence.fields.unit[row] and not math.isnan(more)
        comparable += like
        at_amount.append(dearer[-1] + (AMOUNT_SLOPE * more if like else 0))
        residual.append(float(evidence.residual[j]))
    weight = [math.exp(-10 * (1 - own)) for own in cosine]
    off = [abs(value) for value in residual]
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    length = [numbers[NUMBERS.index(name)] for name in ("log_name_length", "log_text_length", "log_lines")]
    rest = [numbers[NUMBERS.index(name)] for name in NUMBERS if "length" not in name and name != "log_lines"]
    first = (cosine or [NAN])[0], (dearer or [NAN])[0], (at_amount or [NAN])[0]
    return {
        "members": [
            *(member - answer for member in members),
            evidence.blended[row] - answer,
            evidence.base[row] - answer,
            deviation(members),
            max(members) - min(members),
        ],
        "likeness": [first[0], mean(cosine[:8]), mean(cosine[:32]), mean(cosine)],
        "prices": [
            first[1], mean(dearer[:8]), mean(dearer[:32]), deviation(dearer[:8]), deviation(dearer[:32]),
            first[2], mean(at_amount[:8]), deviation(at_amount[:8]), deviation(at_amount[:32]),
            *(quantile(at_amount, weight, share) for share in shares),
        ],
        "residuals": [
            mean(off[:8]), mean(off[:32]),
            sum(w * value for w, value in zip(weight, off, strict=True)) / (sum(weight) or 1),
            mean(residual[:8]), deviation(residual[:8]), *(quantile(residual, weight, share) for share in shares),
        ],
        "amount": [*rest, float(evidence.fields.unit[row]), comparable / NEAREST],
        "length": length,
        "level": [answer],
    }  # fmt: skip


@pytest.mark.parametrize("found", [[64] * 9, [0, 0], [1, 2, 5, 8, 9, 31, 32, 33, 0, 63]], ids=["all", "none", "some"])
def test_the_evidence_says_what_members_neighbours_and_item_say_row_by_row(found: list[int]) -> None:
    evidence = evidence_of(found)
    groups, table = evidence.groups(), evidence.table()
    assert tuple(groups) == GROUPS and table.shape == (len(found), width(3))
    assert {name: columns.shape[1] for name, columns in groups.items()} == widths(3)
    for row in range(len(found)):
        slow = slow_groups(evidence, row)
        for name in GROUPS:
            np.testing.assert_allclose(groups[name][row], slow[name], atol=2e-5, err_msg=name)
        np.testing.assert_allclose(table[row], np.concatenate(list(slow.values())), atol=2e-5)


def test_the_likeness_is_that_of_the_nearest_and_none_where_there_is_none() -> None:
    evidence = evidence_of([0, 3])
    assert evidence.likeness.tolist() == [0, float(evidence.near.similarity[1, 0])]


def test_one_item_has_the_evidence_that_it_has_among_others() -> None:
    evidence = evidence_of([5, 0, 64])
    for row in range(3):
        here = np.array([row])
        near = Neighbours(evidence.near.rows[here], evidence.near.similarity[here])
        members = {name: values[here] for name, values in evidence.members.items()}
        values = (values[here] for values in (evidence.blended, evidence.base, evidence.answer))
        alone = Evidence(members, *values, evidence.fields.take(here), near, evidence.rows, evidence.residual)
        np.testing.assert_array_equal(alone.table()[0], evidence.table()[row])


def test_a_weighted_quantile_is_that_of_values_as_often_as_they_weigh() -> None:
    values, times = np.array([[5.0, 1.0, 3.0, 2.0]]), np.array([1, 3, 2, 4])
    repeated, shares = sorted(np.repeat(values[0], times)), (0.05, 0.35, 0.65, 0.95)
    slow = [repeated[math.ceil(share * 10) - 1] for share in shares]
    assert weighted_quantiles(values, times[None] / 10, shares)[0].tolist() == slow


def test_dearer_money_changes_the_level_alone() -> None:
    evidence, more = evidence_of([64, 7]), 4.0
    rows: Any = evidence.rows
    dear = Evidence(
        {name: values + more for name, values in evidence.members.items()},
        *(values + more for values in (evidence.blended, evidence.base, evidence.answer)),
        evidence.fields,
        evidence.near,
        ComparedRows(rows.log_price + more, rows.unit, rows.log_amount),
        evidence.residual,
    )
    np.testing.assert_allclose(dear.table()[:, :-1], evidence.table()[:, :-1], atol=1e-9)
    np.testing.assert_allclose(dear.table()[:, -1], evidence.table()[:, -1] + more)
