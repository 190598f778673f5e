"""Claims about the reasons why a price is no surer: each sentence by a case that calls for it, and none without."""

from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble.uncertainty.confidence import Spread
from engine.ensemble.uncertainty.evidence import GROUPS, NEAREST, ComparedRows, Evidence
from engine.ensemble.uncertainty.reasons import BRIEF, LEAST_RAISED, reasons
from engine.features.inputs import NUMBERS, Fields
from index.search.neighbours import Neighbours

SIMILARITY = 0.625


def evidence_of(amount_known: bool = True, neighbours: int = 40) -> Evidence:
    """One item of 12.00 whose neighbours cost 5 to 20, and of which the models were off by a half."""
    near, similarity = np.full((1, NEAREST), -1), np.zeros((1, NEAREST), np.float32)
    near[0, :neighbours], similarity[0, :neighbours] = np.arange(neighbours), SIMILARITY
    numbers = np.zeros((1, len(NUMBERS)), np.float32)
    numbers[0, NUMBERS.index("amount_unknown")] = not amount_known
    numbers[0, NUMBERS.index("log_text_length")] = np.log1p(1234)
    fields = Fields(numbers, np.zeros(1, np.int64))
    log_price = np.log(np.where(np.arange(40) % 2 == 0, 5.0, 20.0))
    rows = ComparedRows(log_price, np.zeros(40, np.int64), np.zeros(40))
    members = {"one": np.log([9.0]), "other": np.log([24.0]), "third": np.log([11.0])}
    answer = np.log([12.0])
    return Evidence(
        members, answer, answer, answer, fields, Neighbours(near, similarity), rows, np.full(40, -np.log(1.5))
    )


def spread_of(unlike: bool = False, brief: bool = False) -> Spread:
    one = np.zeros(1)
    return Spread(one, one, one, np.array([unlike]), np.array([brief]), one)


def raised_of(**groups: float) -> np.ndarray:
    return np.array([[groups.get(name, 0.0) for name in GROUPS]])


def why(evidence: Evidence | None = None, spread: Spread | None = None, **raised: float) -> tuple[str, ...]:
    (own,) = reasons(evidence or evidence_of(), spread or spread_of(), raised_of(**raised))
    return own


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("members", "The models disagree: 9.00 to 24.00."),
        ("likeness", "Little in the catalogue is much like it: the nearest has a similarity of 0.62."),
        ("prices", "What is most like it costs 5.00 to 20.00."),
        ("residuals", "The models are off by 50% on what is most like it."),
        ("amount", "Items of such an amount are priced less surely."),
        ("length", "Items described in some 1,234 characters are priced less surely."),
        ("level", "Items of about 12.00 are priced less surely."),
    ],
)
def test_what_raises_the_expected_error_is_said_with_the_item_s_own_numbers(group: str, sentence: str) -> None:
    assert why(**{group: 0.1}) == (sentence,)


@pytest.mark.parametrize("members", [{"one": np.log([10.0])}, {"one": np.log([10.0]), "other": np.log([10.1])}])
def test_models_that_are_not_apart_are_not_said_to_disagree(members: dict[str, np.ndarray]) -> None:
    """A blend may have one member, whose distance from the answer is evidence all the same."""
    evidence = replace(evidence_of(), members=members, blended=np.log([10.0]))
    assert why(evidence, members=0.1) == ("The models say 10.00, and what is most like it moves that to 12.00.",)
    assert why(replace(evidence, answer=np.log([10.05])), members=0.1) == ()


def test_an_amount_that_is_not_known_is_said_to_be() -> None:
    assert why(evidence_of(amount_known=False), amount=0.1) == ("No amount is known of it.",)


def test_where_nothing_raises_the_error_there_is_no_reason() -> None:
    assert why() == ()
    assert why(**dict.fromkeys(GROUPS, LEAST_RAISED - 0.001)) == ()
    assert why(**dict.fromkeys(GROUPS, -0.5)) == ()


def test_the_two_weightiest_are_said_and_the_weightiest_first() -> None:
    assert [each.split()[0] for each in why(members=0.1, level=0.2, length=0.05)] == ["Items", "The"]
    assert why(members=0.1, level=0.2, length=0.05)[0].startswith("Items of about")


def test_what_is_unlike_the_catalogue_is_said_first_and_once() -> None:
    said = why(spread=spread_of(unlike=True), likeness=0.9, members=0.1)
    assert said == (
        "Nothing in the catalogue is like it: the nearest has a similarity of 0.62.",
        "The models disagree: 9.00 to 24.00.",
    )


def test_what_has_no_neighbour_at_all_has_nothing_to_compare_it_by() -> None:
    alone = evidence_of(neighbours=0)
    assert why(alone, spread_of(unlike=True)) == (
        "Nothing in the catalogue is like it: there is nothing to compare it by.",
    )
    assert why(alone, prices=0.2, residuals=0.2) == ()


def test_a_brief_text_is_a_reason_whatever_raises_the_error() -> None:
    assert why(spread=spread_of(brief=True)) == (BRIEF,)
    assert why(spread=spread_of(brief=True), members=0.1)[0] == BRIEF


def test_small_and_large_money_can_be_read() -> None:
    evidence = evidence_of()
    evidence = replace(evidence, members={"one": np.log([0.0123]), "other": np.log([12345.678])})
    assert why(evidence, members=0.2) == ("The models disagree: 0.012 to 12,345.68.",)


def test_every_item_has_its_own_reasons() -> None:
    evidence, one = evidence_of(), np.zeros(2)
    two = Evidence(
        {name: np.repeat(values, 2) for name, values in evidence.members.items()},
        *(np.repeat(evidence.answer, 2) for _ in range(3)),
        evidence.fields.take(np.array([0, 0])),
        Neighbours(*(np.repeat(part, 2, axis=0) for part in (evidence.near.rows, evidence.near.similarity))),
        evidence.rows,
        evidence.residual,
    )
    spread = Spread(one, one, one, one.astype(bool), np.array([False, True]), one)
    first, second = reasons(two, spread, np.vstack([raised_of(members=0.2), raised_of()]))
    assert first == ("The models disagree: 9.00 to 24.00.",) and second == (BRIEF,)
