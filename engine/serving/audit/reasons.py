"""Tell what fault would explain a price that cannot be: a factor that takes it to where such items cost.

A fault is told where, of all that are tried, it makes the price likely enough; prices spread so far that the factor of
a fault is seldom known within a third. `benchmarks/decisions/audit.py` counts how often the right one is told.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from index.arrays import Float64
from index.catalogue.units import UNITS

# Units of a currency that a US dollar buys, roughly, in 2026: only those far from 1 to 1 are told from a good price.
PER_DOLLAR = {
    "USD": 1.0, "EUR": 0.87, "GBP": 0.75, "CHF": 0.8, "CAD": 1.4, "AUD": 1.5, "CNY": 7.2, "INR": 86.0, "JPY": 148.0,
    "KRW": 1390.0, "BRL": 5.5, "MXN": 19.0, "PLN": 3.7, "CZK": 21.5, "HUF": 350.0, "RON": 4.4, "SEK": 9.6, "NOK": 10.0,
    "DKK": 6.5, "TRY": 41.0, "UAH": 41.5, "ZAR": 18.0, "THB": 32.5, "IDR": 16400.0, "VND": 26000.0, "PHP": 57.0,
}  # fmt: skip
PER_UNIT = {"gram": {"kg": 1000.0, "lb": 453.59, "100 g": 100.0}, "millilitre": {"litre": 1000.0, "100 ml": 100.0}}
LEAST_FACTOR = 2.0  # a smaller one is within what items differ by
LEAST_RATE = 5.0  # likewise, of a currency, of which there are many
LEAST_PACK = 2
LEAST_HALF = 1e-9  # of an interval: it may have no width
FREEDOM = 4.0  # of Student's t, whose tails are as heavy as those of errors out of fold
NINTH_DECILE = 1.533  # of that t: four fifths lie within it on either side
SHARES = {"factor 10": 0.2, "factor 100": 0.1, "pack": 0.15, "unit": 0.1}  # of a fault, before a price is looked at
CURRENCIES = 0.15  # of all other currencies together
NO_FAULT = 0.5  # what a price that no fault explains counts for beside all of them
TOLD = 0.4  # the least probability of a fault that is told
NEAR = 0.05  # in log: a near-duplicate costs just what a row would without its fault
APART = math.log(1.4)  # so far must the prices of near-duplicates be from one another to disagree


@dataclass(frozen=True)
class Row:
    """A row whose price is looked at, in log price."""

    price: float  # its own
    answer: float  # what models say that never saw it
    low: float
    high: float
    pack: int
    unit: int  # place in `UNITS`
    log_amount: float  # NaN where unknown
    duplicates: tuple[tuple[str, float], ...]  # its near-duplicates: name or id, and log price


@dataclass(frozen=True)
class Reason:
    """A fault that would explain a price."""

    kind: str  # factor, pack, unit, currency or near-duplicate
    text: str
    would_be: float  # log price, were that the fault


@dataclass(frozen=True)
class _Fault:
    """A fault before a price is looked at."""

    kind: str
    text: str
    factor: float  # log of what the price is off by
    share: float  # of such rows that have it


def likely_reason(row: Row, currency: str) -> Reason | None:
    """The likeliest fault of a row, None where none can be told."""
    faults = [fault for fault in _faults(row, currency) if row.low <= row.price - fault.factor <= row.high]
    agreeing = [fault for fault in faults if any(abs(row.price - fault.factor - p) < NEAR for _, p in row.duplicates)]
    if not agreeing and (beside := _disagreeing(row)):
        return beside
    off, scale = row.price - (row.low + row.high) / 2, (row.high - row.low) / 2 / NINTH_DECILE
    weights = [fault.share * _density((off - fault.factor) / scale) for fault in agreeing or faults]
    if not weights:
        return None
    by_kind: dict[str, float] = defaultdict(float)
    for fault, weight in zip(agreeing or faults, weights, strict=True):
        by_kind[fault.kind] += weight
    kind = max(by_kind, key=lambda name: by_kind[name])
    if by_kind[kind] < TOLD * (sum(weights) + NO_FAULT * _density(off / scale)):
        return None
    pairs = zip(weights, agreeing or faults, strict=True)
    _, best = max(((weight, fault) for weight, fault in pairs if fault.kind == kind), key=lambda pair: pair[0])
    return Reason(kind, best.text, row.price - best.factor)


def _disagreeing(row: Row) -> Reason | None:
    """The near-duplicate of another price that is nearer to what the row should cost, None where there is none."""
    off = abs(row.price - row.answer)
    pairs = [pair for pair in row.duplicates if abs(row.price - pair[1]) > APART and abs(pair[1] - row.answer) < off]
    if not pairs:
        return None
    name, price = min(pairs, key=lambda pair: abs(pair[1] - row.answer))
    return Reason("near-duplicate", f"its near-duplicate {name} has another price", price)


def _density(distance: float) -> float:
    """Density of Student's t, but for a constant."""
    return math.pow(1 + distance**2 / FREEDOM, -(FREEDOM + 1) / 2)


def _faults(row: Row, currency: str) -> Iterator[_Fault]:
    """Faults that a row may have."""
    for factor in (10.0, 100.0):
        for sign, where in ((1, "high"), (-1, "low")):
            text = f"{factor:g} times too {where}: a decimal point"
            yield _Fault("factor", text, sign * math.log(factor), SHARES[f"factor {factor:g}"])
    if row.pack >= LEAST_PACK:
        size = math.log(row.pack)
        several = f"the price of {row.pack} packs: the text says a pack of {row.pack}"
        yield _Fault("pack", several, size, SHARES["pack"])
        yield _Fault("pack", f"the price of one of the pack of {row.pack}", -size, SHARES["pack"])
    units = PER_UNIT.get(UNITS[row.unit], {}) if not math.isnan(row.log_amount) else {}
    for name, amount in units.items():
        factor = math.log(amount) - row.log_amount
        if abs(factor) >= math.log(LEAST_FACTOR):
            yield _Fault("unit", f"the price of {'' if name[0] == '1' else 'a '}{name}", factor, SHARES["unit"])
    own = PER_DOLLAR.get(currency)
    rates = {code: math.log(rate / own) for code, rate in PER_DOLLAR.items()} if own else {}
    far = {code: rate for code, rate in rates.items() if abs(rate) >= math.log(LEAST_RATE)}
    for code, rate in far.items():
        yield _Fault("currency", f"in another currency, such as {code}", rate, CURRENCIES / len(far))


def severity(price: Float64, low: Float64, high: Float64) -> Float64:
    """Distance of each price (n,) from the middle of its interval, in halves of the interval; all log price.

    Not from the answer in parts of the way to an end: an end may lie at the answer.
    """
    half = np.maximum((high - low) / 2, LEAST_HALF)
    far: Float64 = np.abs(price - (low + high) / 2) / half
    return far
