"""Reasons why a price is no surer, in words: which evidence raises its expected error most, and what that evidence is.

What each piece of evidence adds is told by the trees themselves (SHAP values); the numbers in the sentences are the
item's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.uncertainty.evidence import (
    AMOUNT,
    FEW,
    GROUPS,
    LENGTH,
    LEVEL,
    LIKENESS,
    MEMBERS,
    PRICES,
    RESIDUALS,
    SOME,
)
from engine.features.inputs import NUMBERS
from index.visible import money

if TYPE_CHECKING:
    from engine.ensemble.uncertainty.confidence import Spread
    from engine.ensemble.uncertainty.evidence import Evidence
    from index.arrays import Float64, Int64

MOST_REASONS = 2
LEAST_RAISED = 0.03  # log price: what raises the expected error by less is no reason
BRIEF = "Its text is shorter than nearly all of the catalogue's: it says less than the models are used to."


def reasons(evidence: Evidence, spread: Spread, raised: Float64) -> list[tuple[str, ...]]:
    """Sentences for each of n items, the weightiest first; `raised` (n, groups) as of `ErrorModel.raised`."""
    sentences = []
    for row in range(len(raised)):
        own = []
        if spread.unlike[row]:
            own.append(f"Nothing in the catalogue is like it: {_nearest(evidence, row)}.")
        if spread.brief[row]:
            own.append(BRIEF)
        for place in np.argsort(-raised[row], kind="stable")[:MOST_REASONS]:
            if raised[row, place] >= LEAST_RAISED and not (GROUPS[place] == LIKENESS and spread.unlike[row]):
                own += _sentence(GROUPS[place], evidence, row)
        sentences.append(tuple(own))
    return sentences


def _sentence(group: str, evidence: Evidence, row: int) -> list[str]:
    """A sentence on what a group of evidence says of one item; none where it says nothing that can be told."""
    near = evidence.near.rows[row][evidence.near.found[row]]
    if group in (PRICES, RESIDUALS):
        return [_of_neighbours(group, evidence, near)] if len(near) else []
    if group == MEMBERS:
        return _of_members(evidence, row)
    if group == LIKENESS:
        return [f"Little in the catalogue is much like it: {_nearest(evidence, row)}."]
    if group == AMOUNT and np.isnan(evidence.fields.log_amount[row]):
        return ["No amount is known of it."]
    characters = np.expm1(evidence.fields.numbers[row, NUMBERS.index("log_text_length")])
    such = {
        AMOUNT: "of such an amount",
        LENGTH: f"described in some {characters:,.0f} characters",
        LEVEL: f"of about {money(np.exp(evidence.answer[row]))}",
    }
    return [f"Items {such[group]} are priced less surely."]


def _of_members(evidence: Evidence, row: int) -> list[str]:
    """Tell how far the members are apart or, where they agree or there is one alone, what the price is moved by."""
    predicted = [values[row] for values in evidence.members.values()]
    if np.ptp(predicted) >= LEAST_RAISED:
        low, high = np.exp([min(predicted), max(predicted)])
        return [f"The models disagree: {money(low)} to {money(high)}."]
    blended, answer = evidence.blended[row], evidence.answer[row]
    if abs(answer - blended) < LEAST_RAISED:
        return []
    return [f"The models say {money(np.exp(blended))}, and what is most like it moves that to {money(np.exp(answer))}."]


def _of_neighbours(group: str, evidence: Evidence, near: Int64) -> str:
    if group == PRICES:
        low, high = np.exp(np.quantile(evidence.rows.log_price[near[:SOME]], (0.1, 0.9)))
        return f"What is most like it costs {money(low)} to {money(high)}."
    off = np.expm1(np.median(np.abs(evidence.residual[near[:FEW]])))
    return f"The models are off by {off:.0%} on what is most like it."


def _nearest(evidence: Evidence, row: int) -> str:
    if not evidence.near.found[row, 0]:
        return "there is nothing to compare it by"
    return f"the nearest has a similarity of {evidence.likeness[row]:.2f}"
