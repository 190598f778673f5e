"""The whole of `price tune`: better settings for an index, searched out of fold, and what they are honestly worth.

The best of many settings looks better than it is on the rows that it was chosen on. So there is a search for each fold,
which hears of the other folds' rows alone, and one more on all rows, which proposes what is put in force. All share
the first trials, which look at nothing. The cross-fitted score prices each fold with what its own search chose; what
remains is of second order, as in `engine.ensemble.cross_fit`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.cross_fit import answer_out_of_fold
from engine.ensemble.out_of_fold import predict_out_of_fold
from engine.ensemble.train import stacked
from engine.evaluation.report import Score
from engine.evaluation.scorable import ScoredRows, open_scored_rows
from engine.evaluation.tuning_record import read_history
from engine.finetune.provenance import finetuned_notes
from engine.members.registry import BESIDE, member_fits
from engine.metrics import bootstrap, row_smape
from engine.tuning.activate import put_in_force
from engine.tuning.parameter_space import BLEND, CORRECTION, MEMBERS, PARTS, Point, Range, point_of, ranges, settings_at
from engine.tuning.trials import Journal, Trial, loss_without, require_optuna
from index.errors import DataRefused, UsageError
from index.progress import Report, silent
from index.storage.generations import CACHE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.stacker import Catalogue
    from engine.settings.schema import Settings

    Float64 = NDArray[np.float64]

FOLDER = "tuning"  # below the index's cache
AT_RANDOM = 20  # trials that look at nothing
TRIALS, MINUTES = 200, 10.0


@dataclass(frozen=True)
class Found:
    """What a search found. Scores are SMAPE out of fold, 0 to 200, with 95% intervals, twins drawn together."""

    rows: int
    what: tuple[str, ...]
    seed: int
    trials: int  # of all runs of this search
    present: Score  # of the index's own settings, each fold's chosen on the others
    cross_fitted: Score  # of the search: each fold's choice made on the others. This one is honest
    searched: float  # of the settings that were chosen, on the rows that they were chosen on
    gain: Score  # present - cross_fitted, row by row
    chosen: Point
    better: bool  # and so in force
    notes: tuple[str, ...]  # what a reader of the scores must know
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The figures first, then the settings by their path."""
        return asdict(self)


def tune(
    index: Path,
    *,
    what: Sequence[str] = (CORRECTION, BLEND),
    trials: int = TRIALS,
    minutes: float = MINUTES,
    seed: int = 0,
    report: Report = silent,
) -> Found:
    """Search until `trials` are made or `minutes` are over, and put what was found in force where it is better.

    An earlier search of the same index, for the same and with the same seed, goes on. Raises UsageError, IndexUnusable,
    DataRefused, and IndexLocked where the index is being written or was written anew meanwhile.
    """
    started = time.monotonic()
    if trials < 1:
        raise UsageError(f"--trials is {trials}: give 1 or more.")
    if not minutes > 0:
        raise UsageError(f"--minutes is {minutes:g}: give a number above 0.")
    require_optuna()
    rows = open_scored_rows(index)
    searched = ranges(what, rows.settings)
    parts = tuple(part for part in PARTS if part in what)
    _refuse(rows, parts)
    folder = index / CACHE / FOLDER / _digest(rows, parts, seed)
    search = Search(folder, rows, parts, searched, seed=seed, report=report)
    with contextlib.closing(search):
        search.run(trials, started + 60 * minutes)
        found = search.result(started)
        history = search.history(found)
    if found.better:
        put_in_force(index, rows, settings_at(found.chosen, rows.settings), parts, history=history, report=report)
        shutil.rmtree(folder, ignore_errors=True)  # of a generation that is not in force any more
    return found


def _refuse(rows: ScoredRows, parts: tuple[str, ...]) -> None:
    """Parts that cannot be searched now, or not without those that an earlier search has chosen.

    What was chosen on all rows stands in the settings. A search of other parts would price every fold with it, that
    fold's own say in it included, and call the figure honest.
    """
    history = read_history(rows.folder)
    earlier = tuple(history["what"]) if history else ()
    together = tuple(part for part in PARTS if part in parts + earlier)
    if rows.added and together != (CORRECTION,):
        others = ", ".join(part for part in together if part != CORRECTION)
        instead = "" if set(earlier) - {CORRECTION} else "search --what correction, or "
        raise DataRefused(
            f"{rows.added:,} rows were added since the build, and {others} cannot be fitted anew with them: "
            f"{instead}build the index again with `price build-index`."
        )
    if together != parts:
        chosen = ", ".join(part for part in earlier if part not in parts)
        raise UsageError(
            f"An earlier search chose {chosen} on these rows, so a score of {', '.join(parts)} alone would flatter: "
            f"search them together, --what {','.join(together)}."
        )


class Search:
    """Trials on the rows of one generation. Searches are known by the fold that they leave out; the last by none."""

    def __init__(
        self,
        folder: Path,
        rows: ScoredRows,
        parts: tuple[str, ...],
        searched: dict[str, Range],
        *,
        seed: int,
        report: Report,
    ) -> None:
        self._rows, self._parts, self._seed, self._report = rows, parts, seed, report
        self._folds = rows.oof.folds
        self._price = np.exp(rows.log_price)
        self._pricing = Pricing(rows, parts)
        self._starts = self._pricing.starts(searched)
        wide = {path: each.around(start[path] for start in self._starts) for path, each in searched.items()}
        self._journal = Journal(folder, wide)

    def run(self, trials: int, until: float) -> None:
        """Make trials until there are so many beyond the first, or until `until` (monotonic seconds)."""
        total = len(self._starts) + trials
        while len(self._journal.trials) < total:
            number = len(self._journal.trials)
            self._report("searching", number, total)
            if number >= len(self._starts) and time.monotonic() >= until:
                return
            began = time.monotonic()
            search = self._whose(number)
            if number < len(self._starts):
                point = self._starts[number]
            else:
                heard = [] if search is None else self._heard_by(search)
                point = self._journal.propose(heard, search, self._seed)
            answer = self._answer(point)
            loss = np.bincount(self._rows.oof.fold, row_smape(self._price, np.exp(answer)), self._folds)
            kept = Trial(number, point, tuple(loss.tolist()), search, time.monotonic() - began)
            self._journal.keep(kept, answer)
        self._report("searching", total, total)

    def close(self) -> None:
        """Let another search of the same begin."""
        self._journal.close()

    def _whose(self, number: int) -> int | None:
        """The search that proposes a trial; None while they look at nothing."""
        searches = self._folds + 1
        if number < searches:
            return number
        turn = number - searches - AT_RANDOM
        return None if turn < 0 else turn % searches

    def _heard_by(self, search: int) -> list[Trial]:
        """What a search may know of: its own trials, and those that looked at nothing. The last may know of all."""
        last = search == self._folds
        return [each for each in self._journal.trials if last or each.search in (None, search)]

    def _answer(self, point: Point) -> Float64:
        """Folds often start alike, and what was answered once is not worked out again."""
        for each in self._journal.trials:
            if each.point == point:
                return self._journal.answer(each.number)
        return self._pricing.answer(point)

    def best(self, search: int) -> Trial:
        """Of what it heard of, on the rows that it may look at; of equals the first."""
        return min(self._heard_by(search), key=lambda each: loss_without(each, search))

    def by_fold(self, chosen: Sequence[int]) -> Float64:
        """(n,) log price: each fold's rows as the trial that is `chosen` for it prices them."""
        answers = np.stack([self._journal.answer(number) for number in chosen])  # (folds, n)
        return answers[self._rows.oof.fold, np.arange(len(self._price))]

    def result(self, started: float) -> Found:
        """What is known now."""
        chosen = self.best(self._folds)
        present = row_smape(self._price, np.exp(self.by_fold(range(self._folds))))
        found = row_smape(self._price, np.exp(self.by_fold([self.best(f).number for f in range(self._folds)])))
        return Found(
            rows=len(found),
            what=self._parts,
            seed=self._seed,
            trials=len(self._journal.trials),
            present=self._score(present),
            cross_fitted=self._score(found),
            searched=sum(chosen.loss) / len(found),
            gain=self._score(present - found),
            chosen=chosen.point,
            better=bool(found.mean() < present.mean() and chosen.point != self._starts[-1]),
            notes=finetuned_notes(self._rows.manifest.encoders),
            seconds=time.monotonic() - started,
        )

    def _score(self, values: Float64) -> Score:
        return Score(float(values.mean()), *bootstrap(values, groups=self._rows.groups, seed=self._seed))

    def history(self, found: Found) -> dict[str, Any]:
        """Of the whole search, for `tuning.json`."""
        scores = {name: getattr(found, name) for name in ("present", "cross_fitted", "gain")}
        return {
            "what": list(found.what),
            "seed": found.seed,
            **{name: {"smape": score.value, "low": score.low, "high": score.high} for name, score in scores.items()},
            "searched": found.searched,
            "chosen": found.chosen,
            "chosen_by_fold": [self.best(f).point for f in range(self._folds)],
            "trials": [asdict(each) for each in self._journal.trials],
        }


class Pricing:
    """What a point would make of the rows, each priced without its fold."""

    def __init__(self, rows: ScoredRows, parts: tuple[str, ...]) -> None:
        self._rows = rows
        self._refits_members = MEMBERS in parts
        self._refits_stack = rows.oof.stacked and parts != (CORRECTION,)
        self._catalogue: Catalogue | None = None

    def starts(self, searched: dict[str, Range]) -> list[Point]:
        """What the index has now: for each fold as it was chosen without it, and last as it is in force."""
        rows = self._rows
        now = answer_out_of_fold(rows.oof, rows.log_price, rows.space, rows.settings)
        knobs, weights = [*now.knobs_by_fold, now.knobs], [*now.weights.by_fold, now.weights.whole]
        starts = [point_of(searched, rows.settings, w, k) for w, k in zip(weights, knobs, strict=True)]
        history = read_history(rows.folder)
        for start, known in zip(starts, history["chosen_by_fold"] if history else (), strict=False):
            start.update(known)  # all of it is searched again: see `_refuse`
        return starts

    def answer(self, point: Point) -> Float64:
        """(n,) log price."""
        rows, settings = self._rows, settings_at(point, self._rows.settings)
        oof = rows.oof
        if self._refits_members:
            oof = self._members(settings)
        if self._refits_stack:
            oof = stacked(oof, self._whole(), settings)[0]
        return answer_out_of_fold(oof, rows.log_price, rows.space, settings).answer

    def _members(self, settings: Settings) -> Any:
        return predict_out_of_fold(
            self._whole().inputs,
            self._rows.log_price,
            self._rows.oof.fold,
            member_fits(settings),
            seed=settings.seed,
            aside=BESIDE,
        )[0]

    def _whole(self) -> Catalogue:
        if self._catalogue is None:  # reading it takes longer than a trial of the correction alone
            self._catalogue = self._rows.catalogue()
        return self._catalogue


def _digest(rows: ScoredRows, parts: tuple[str, ...], seed: int) -> str:
    """What a search is of: what any of it changes begins another one."""
    of = [rows.manifest.files, asdict(rows.settings), parts, seed, version("price-engine")]
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
