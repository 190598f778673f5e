"""Trials of a search: what it tried so far, and what it should try next. The only file that knows Optuna.

Every trial is kept as soon as it is done, in SQLite, beside what it answered for every row: a killed search loses the
trial that it was at. A proposal depends on the seed, its number and the trials that it may use, and on nothing
else, so that a search that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.arrays import Float64
from index.errors import IndexLocked, IndexUnusable, UsageError
from index.files import atomic_write, exclusive_lock

if TYPE_CHECKING:
    from engine.members.member import Range
    from engine.tuning.parameter_space import Point

STUDY = "price tune"
FILE, LOCK = "trials.sqlite", "lock"
_TORN = (ValueError, KeyError, EOFError, FileNotFoundError)  # what reading half a file, or none, ends in


@dataclass(frozen=True)
class Trial:
    """A point that was tried."""

    number: int
    point: Point
    loss: tuple[float, ...]  # (folds,) summed SMAPE of each fold's rows, priced without their fold
    search: int | None  # that proposed it; None where it was drawn at random, so that every search may know of it
    seconds: float


def require_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError('`price tune` needs Optuna: install it with pip install "price-engine[tune]".') from None


def remove_stale(folder: Path) -> None:
    """Remove searches beside one, of other generations, which cannot go on: but for those that are at work."""
    generation, _, _ = folder.name.partition("-")
    for stale in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if stale.is_dir() and not stale.name.startswith(f"{generation}-"):
            with contextlib.suppress(IndexLocked, OSError), exclusive_lock(stale / LOCK, lambda _: ""):
                shutil.rmtree(stale, ignore_errors=True)


class Journal:
    """The trials of one search, in a folder of their own."""

    def __init__(self, folder: Path, ranges: Mapping[str, Range]) -> None:
        """Open or begin a search. Raises IndexUnusable if it cannot be read, IndexLocked if another process runs it."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        held = contextlib.ExitStack()  # two at work would give one number to two trials
        held.enter_context(
            exclusive_lock(
                folder / LOCK, lambda holder: "Another `price tune` is at this very search: wait until it is done."
            )
        )
        self.close = held.close
        self._distributions = {path: _distribution(bounds) for path, bounds in ranges.items()}
        with self._readable():
            self._study = optuna.create_study(
                study_name=STUDY, storage=f"sqlite:///{(folder / FILE).resolve()}", load_if_exists=True
            )
            self.trials = [
                Trial(trial.number, dict(trial.params), **_attributes(trial.user_attrs)) for trial in self._study.trials
            ]

    def keep(self, trial: Trial, answer: Float64) -> None:
        """The next trial, and what it answered: (n,) log price."""
        import optuna

        with atomic_write(self._answer(trial.number)) as partial, partial.open("wb") as file:
            np.save(file, answer)
        kept = optuna.trial.create_trial(
            params=trial.point,
            distributions=self._distributions,
            value=sum(trial.loss),
            user_attrs={"loss": trial.loss, "search": trial.search, "seconds": trial.seconds},
        )
        with self._readable():
            self._study.add_trial(kept)
        self.trials.append(trial)

    def answer(self, number: int) -> Float64:
        """(n,) log price, as `keep` was given it."""
        with self._readable():
            answer: Float64 = np.load(self._answer(number))
        return answer

    def propose(self, known: Sequence[Trial], left_out: int | None, seed: int) -> Point:
        """Propose a point by a tree-structured Parzen estimator (Bergstra et al., 2011); at random if little is known.

        It knows of the trials `known`, and of each the loss but that of the fold `without`.
        """
        import optuna

        sampler = optuna.samplers.TPESampler(
            seed=int(np.random.SeedSequence([seed, len(self.trials)]).generate_state(1)[0])
        )
        study = optuna.create_study(sampler=sampler)
        study.add_trials(
            optuna.trial.create_trial(
                params=trial.point, distributions=self._distributions, value=loss_without(trial, left_out)
            )
            for trial in known
        )
        return dict(study.ask(self._distributions).params)

    def _answer(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npy"

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        import optuna
        import sqlalchemy.exc

        try:
            yield
        except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, *_TORN) as error:
            raise IndexUnusable(
                f"What an earlier search kept in {self._folder} cannot be read or added to: remove that folder, and "
                "the search begins anew."
            ) from error


def loss_without(trial: Trial, fold: int | None) -> float:
    """Loss summed over the rows of all folds but one."""
    return sum(loss for f, loss in enumerate(trial.loss) if f != fold)


def _attributes(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {"loss": tuple(kept["loss"]), "search": kept["search"], "seconds": kept["seconds"]}


def _distribution(bounds: Range) -> Any:
    import optuna

    if bounds.whole:
        return optuna.distributions.IntDistribution(int(bounds.low), int(bounds.high), log=bounds.log)
    return optuna.distributions.FloatDistribution(bounds.low, bounds.high, log=bounds.log)
