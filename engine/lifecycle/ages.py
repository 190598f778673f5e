"""Ages of prices: what a row counts for by the date of its price, and the choice of a half-life.

    weight = 0.5 ** (age in days / half-life), no less than LEAST_WEIGHT and no more than 1

A row without a date counts as much as the median of those that have one. One that is added with a date after the day
from which ages are counted, as-of, counts 1, as if it were of that day: ages are counted anew by the next build.

A half-life is chosen, where the settings leave it open, by one member alone: kernel ridge regression, out of fold on
some thousand rows, by its SMAPE on the most recent third. It is a proxy of the whole, and a hundred times as cheap.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.members.kernel.kernel_ridge import KernelRidge
from engine.metrics import paired_bootstrap, row_smape, weighted_quantile
from engine.settings.schema import AUTO_HALF_LIFE
from index.arrays import rows_of
from index.errors import DataRefused, UsageError
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.features.training_set import TrainingSet
    from engine.settings.schema import Settings
    from index.arrays import Float64, Int64

LEAST_WEIGHT = 1e-3
TRIED = (7.0, 14.0, 30.0, 90.0, 180.0, 365.0, 1095.0, 3650.0)  # days
SHORTEST, LONGEST = 1 / 20, 2.0  # of what is tried, as a share of the span of the dates
SPAN = (0.01, 0.99)  # quantiles between which the dates' span lies: a placeholder such as 1970-01-01 is no price's date
RECENT = 1 / 3  # of the dated rows, the newest, by which a half-life is chosen
LEAST_RECENT = 20  # rows that tell a half-life
MOST_ROWS, MOST_LANDMARKS = 4096, 1024  # of the fits by which it is chosen


def read_as_of(settings: Settings) -> dt.date | None:
    """The day after which prices are passed over, None for no such day. UsageError for one that has not come yet."""
    if settings.as_of is None:
        return None
    as_of = dt.date.fromisoformat(settings.as_of)
    if as_of > dt.date.today() + dt.timedelta(1):  # somewhere it is tomorrow
        raise UsageError(f"as_of is {settings.as_of}, which has not come yet: give a date up to today.")
    return as_of


def with_as_of(catalogue: Path, dates: pa.ChunkedArray, settings: Settings) -> Settings:
    """The settings with the day from which ages are counted: the newest of the `dates`, where none is given.

    Raises DataRefused where the settings ask for dates and no item has one.
    """
    import pyarrow.compute as pc

    if settings.half_life is None and settings.as_of is None:
        return settings
    if dates.null_count == len(dates):
        option = "as_of" if settings.half_life is None else "half_life"
        raise DataRefused(
            f"{catalogue}: {option} goes by the dates of prices, and no item has one: name their column with "
            f"--date-column, or leave --{option.replace('_', '-')} out."
        )
    return replace(settings, as_of=settings.as_of or pc.max(dates).as_py().isoformat())


def ages(dates: pa.ChunkedArray, as_of: str) -> Float64:
    """(n,) days from each date to `as_of`; NaN where there is no date, below 0 for a later one."""
    days = (np.datetime64(as_of) - dates.to_numpy().astype("datetime64[D]")) / np.timedelta64(1, "D")
    age: Float64 = days.astype(np.float64)
    return age


def weights_of(age: Float64, half_life: float, undated: float | None = None) -> Float64:
    """(n,) what rows of these ages (n,) count for; NaN counts `undated`, by default the median of the others."""
    weight = np.maximum(0.5 ** (np.maximum(age, 0) / half_life), LEAST_WEIGHT)
    if np.isnan(weight).any():
        weight = np.where(np.isnan(weight), np.nanmedian(weight) if undated is None else undated, weight)
    return weight


def weighted_by_age(
    training: TrainingSet, dates: pa.ChunkedArray, settings: Settings, on_progress: OnProgress = silent
) -> tuple[TrainingSet, Settings, tuple[str, ...]]:
    """The rows with their weights, the settings with a half-life that is chosen, and what is to be said of the choice.

    `dates` (n,). The rows as they are where there is no half-life, or none is chosen.
    """
    if settings.half_life is None:
        return training, settings, ()
    assert settings.as_of is not None, "see `with_as_of`"
    age, notes = ages(dates, settings.as_of), list[str]()
    if settings.half_life == AUTO_HALF_LIFE:
        chosen, note = choose_half_life(training, age, settings, on_progress)
        settings = replace(settings, half_life=chosen)
        notes.append(note)
    if settings.half_life is not None:
        training = replace(training, age_weight=weights_of(age, float(settings.half_life)))
    return training, settings, tuple(notes)


def choose_half_life(
    training: TrainingSet, age: Float64, settings: Settings, on_progress: OnProgress = silent
) -> tuple[float | None, str]:
    """The half-life with the least SMAPE on the most recent rows, and a sentence on the choice. `age` (n,).

    None where no half-life is better than none by more than chance: the 95% interval of its gain must lie above 0.
    """
    dated = np.isfinite(age)
    newest, oldest = np.quantile(age[dated], SPAN)
    span = float(oldest - newest)
    tried = [days for days in TRIED if SHORTEST * span <= days <= LONGEST * span]
    rows = np.sort(np.random.default_rng(settings.seed).permutation(len(age))[:MOST_ROWS])
    recent = rows[age[rows] <= weighted_quantile(age[dated], np.ones(dated.sum()), RECENT)]
    if not tried or len(recent) < LEAST_RECENT:
        return None, (
            f"half_life is off: {dated.sum():,} rows have dates, which span {span:,.0f} days: too little to choose by."
        )
    losses: dict[float | None, Float64] = {}
    for place, days in enumerate((None, *tried)):
        on_progress("choosing the half-life", place, 1 + len(tried))
        losses[days] = _loss(training, rows, recent, None if days is None else weights_of(age, days), settings)
    on_progress("choosing the half-life", 1 + len(tried), 1 + len(tried))
    best = min(tried, key=lambda days: float(losses[days].mean()))
    gain = paired_bootstrap(losses[None], losses[best], groups=training.groups[recent], seed=settings.seed)
    listed = ", ".join(f"{days:g}" for days in tried)
    scores = f"SMAPE {losses[best].mean():.2f} with {best:g} days, {losses[None].mean():.2f} with none"
    proxy = f"({scores}, on the most recent third of the rows, out of fold, by the kernel member alone)."
    if gain[0] <= 0:
        return None, f"half_life is off: of {listed} days none is better than none by more than chance {proxy}"
    return best, f"half_life is {best:g} days, chosen from {listed} and none {proxy}"


def _loss(training: TrainingSet, rows: Int64, recent: Int64, age_weight: Float64 | None, settings: Settings) -> Float64:
    """SMAPE of each of the rows `recent`, by kernel models of those `rows` that are in other folds."""
    kernel = replace(settings.kernel, landmarks=min(settings.kernel.landmarks, MOST_LANDMARKS))
    fold, predicted = training.fold[recent], np.empty(len(recent))
    for f in np.unique(fold):
        seen = rows[training.fold[rows] != f]
        weight = rows_of(age_weight, seen)
        inputs, log_price = training.inputs.take(seen), training.log_price[seen]
        model = KernelRidge.fit(inputs, log_price, kernel, seed=settings.seed, age_weight=weight)
        predicted[fold == f] = model.predict(training.inputs.take(recent[fold == f]))
    return row_smape(np.exp(training.log_price[recent]), np.exp(predicted))
