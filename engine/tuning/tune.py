"""Search for better settings of an index, out of fold, and say what they are honestly worth: the whole of `price tune`.

The best of many settings looks better than it is on the rows that it was chosen on. So there is a search for each fold,
which knows of the other folds' rows alone, and one more on all rows, which proposes what becomes current. All share
the first trials, which are drawn at random. The cross-fitted score prices each fold with what its own search chose;
what remains is of second order, as in `engine.ensemble.cross_fit`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.ensemble.cross_fit import answer_out_of_fold
from engine.ensemble.train import predict_members, with_stacker
from engine.evaluation.report import Score
from engine.evaluation.tuning_record import read_record
from engine.finetune.provenance import finetuned_notes
from engine.metrics import bootstrap, row_smape
from engine.serving.scorable import ScorableRows, open_scorable_rows
from engine.settings.ranges import SEEDS, Between
from engine.tuning.activate import activate
from engine.tuning.parameter_space import (
    BLEND,
    CORRECTION,
    MEMBERS,
    PARTS,
    Point,
    point_of,
    ranges,
    require_parts,
    settings_at,
)
from engine.tuning.trials import Journal, Trial, loss_without, remove_stale, require_optuna
from index.arrays import Float64
from index.errors import DataRefused, UsageError
from index.progress import OnProgress, silent
from index.storage.layout import tuning_cache

if TYPE_CHECKING:
    from engine.features.training_set import TrainingSet
    from engine.members.member import Range

AT_RANDOM = 20  # trials drawn at random, before any search proposes one
TRIALS, MINUTES = 200, 10.0
MOST_TRIALS, MOST_MINUTES = Between(1, 1_000_000), Between(1e-9, 1_000_000)


@dataclass(frozen=True)
class TuneResult:
    """Result of a search. Scores are SMAPE out of fold, 0 to 200, with 95% intervals over duplicate groups."""

    rows: int
    what: tuple[str, ...]
    seed: int
    trials: int  # of all runs of this search
    present: Score  # of the index's own settings, each fold's chosen on the others
    cross_fitted: Score  # of the search: each fold's choice made on the others. This one is honest
    searched: float  # of the settings that were chosen, on the rows that they were chosen on
    gain: Score  # present - cross_fitted, row by row
    chosen: Point
    better: bool  # and so current
    notes: tuple[str, ...]  # what a reader of the scores must know
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The figures first, then the settings by their path."""
        return asdict(self)


def tune(
    index_dir: Path,
    *,
    what: Sequence[str] = (CORRECTION, BLEND),
    trials: int = TRIALS,
    minutes: float = MINUTES,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> TuneResult:
    """Search until `trials` are made or `minutes` are over, and make what was found current where it is better.

    An earlier search of the same index, for the same and with the same seed, goes on. Raises UsageError, IndexUnusable,
    DataRefused, and IndexLocked where the index is being written or was written anew meanwhile.
    """
    started = time.monotonic()
    MOST_TRIALS("--trials", trials)
    MOST_MINUTES("--minutes", minutes)
    SEEDS("--seed", seed)
    require_parts(what)
    require_optuna()
    rows = open_scorable_rows(index_dir)
    searched = ranges(what, rows.settings)
    parts = tuple(part for part in PARTS if part in what)
    _refuse(rows, parts)
    folder = tuning_cache(index_dir) / _name(rows, parts, seed)
    remove_stale(folder)
    search = Search(folder, rows, parts, searched, seed=seed, on_progress=on_progress)
    with contextlib.closing(search):
        search.run(trials, started + 60 * minutes)
        result = search.result(started)
        record = search.record(result)
    if result.better:
        activate(
            index_dir, rows, settings_at(result.chosen, rows.settings), parts, record=record, on_progress=on_progress
        )
        shutil.rmtree(folder, ignore_errors=True)  # of a generation that is not current any more
    return result


def _refuse(rows: ScorableRows, parts: tuple[str, ...]) -> None:
    """Raise DataRefused for parts that cannot be searched now, or not without those of an earlier search.

    What was chosen on all rows stands in the settings. A search of other parts would price every fold with it, that
    fold's own say in it included, and call the figure honest.
    """
    record = read_record(rows.folder)
    earlier = tuple(record["what"]) if record else ()
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
        rows: ScorableRows,
        parts: tuple[str, ...],
        searched: dict[str, Range],
        *,
        seed: int,
        on_progress: OnProgress,
    ) -> None:
        self._rows, self._parts, self._seed, self._on_progress = rows, parts, seed, on_progress
        self._folds = rows.oof.folds
        self._price = np.exp(rows.log_price)
        self._pricing = Pricing(rows, parts)
        self._starts = self._pricing.starts(searched)
        wide = {path: bounds.around(*(start[path] for start in self._starts)) for path, bounds in searched.items()}
        self._journal = Journal(folder, wide)

    def run(self, trials: int, until: float) -> None:
        """Make trials until there are so many beyond the first, or until `until` (monotonic seconds)."""
        total = len(self._starts) + trials
        while len(self._journal.trials) < total:
            number = len(self._journal.trials)
            self._on_progress("searching", number, total)
            if number >= len(self._starts) and time.monotonic() >= until:
                return
            began = time.monotonic()
            search = self._whose(number)
            if number < len(self._starts):
                point = self._starts[number]
            else:
                known = [] if search is None else self._known_to(search)
                point = self._journal.propose(known, search, self._seed)
            answer = self._answer(point)
            loss = np.bincount(self._rows.oof.fold, row_smape(self._price, np.exp(answer)), self._folds)
            kept = Trial(number, point, tuple(loss.tolist()), search, time.monotonic() - began)
            self._journal.keep(kept, answer)
        self._on_progress("searching", total, total)

    def close(self) -> None:
        """Let another search of the same begin."""
        self._journal.close()

    def _whose(self, number: int) -> int | None:
        """The search that proposes a trial; None while trials are drawn at random."""
        searches = self._folds + 1
        if number < searches:
            return number
        turn = number - searches - AT_RANDOM
        return None if turn < 0 else turn % searches

    def _known_to(self, search: int) -> list[Trial]:
        """Trials that a search may know of: its own, and those drawn at random. The last may know of all."""
        last = search == self._folds
        return [trial for trial in self._journal.trials if last or trial.search in (None, search)]

    def _answer(self, point: Point) -> Float64:
        """Answer of a point; folds often start at the same one, and none is computed twice."""
        for trial in self._journal.trials:
            if trial.point == point:
                return self._journal.answer(trial.number)
        return self._pricing.answer(point)

    def best(self, search: int) -> Trial:
        """The best trial that it knows of, on the rows that it may use; of equals the first."""
        return min(self._known_to(search), key=lambda trial: loss_without(trial, search))

    def by_fold(self, chosen: Sequence[int]) -> Float64:
        """(n,) log price: each fold's rows as the trial that is `chosen` for it prices them."""
        answers = np.stack([self._journal.answer(number) for number in chosen])  # (folds, n)
        return answers[self._rows.oof.fold, np.arange(len(self._price))]

    def result(self, started: float) -> TuneResult:
        """Result of the trials so far."""
        chosen = self.best(self._folds)
        present = row_smape(self._price, np.exp(self.by_fold(range(self._folds))))
        crossed = row_smape(self._price, np.exp(self.by_fold([self.best(f).number for f in range(self._folds)])))
        return TuneResult(
            rows=len(crossed),
            what=self._parts,
            seed=self._seed,
            trials=len(self._journal.trials),
            present=self._score(present),
            cross_fitted=self._score(crossed),
            searched=sum(chosen.loss) / len(crossed),
            gain=self._score(present - crossed),
            chosen=chosen.point,
            better=bool(crossed.mean() < present.mean() and chosen.point != self._starts[-1]),
            notes=finetuned_notes(self._rows.manifest.encoders),
            seconds=time.monotonic() - started,
        )

    def _score(self, values: Float64) -> Score:
        return Score(float(values.mean()), *bootstrap(values, groups=self._rows.groups, seed=self._seed))

    def record(self, result: TuneResult) -> dict[str, Any]:
        """Record of the whole search, for the generation that it leads to."""
        scores = {name: getattr(result, name) for name in ("present", "cross_fitted", "gain")}
        return {
            "what": list(result.what),
            "seed": result.seed,
            **{name: {"smape": score.value, "low": score.low, "high": score.high} for name, score in scores.items()},
            "searched": result.searched,
            "chosen": result.chosen,
            "chosen_by_fold": [self.best(f).point for f in range(self._folds)],
            "trials": [asdict(trial) for trial in self._journal.trials],
        }


class Pricing:
    """Prices of the rows by the settings of a point, each row without its fold."""

    def __init__(self, rows: ScorableRows, parts: tuple[str, ...]) -> None:
        self._rows = rows
        self._refits_members = MEMBERS in parts
        self._refits_stacker = rows.oof.stacked and parts != (CORRECTION,)

    def starts(self, searched: dict[str, Range]) -> list[Point]:
        """Points of the index as it is: for each fold as chosen without that fold, and last the current one."""
        rows = self._rows
        now = answer_out_of_fold(
            rows.oof, rows.log_price, rows.search_vectors, rows.settings, age_weight=rows.age_weight
        )
        corrections, weights = [*now.parameters_by_fold, now.parameters], [*now.weights.by_fold, now.weights.whole]
        starts = [point_of(searched, rows.settings, w, c) for w, c in zip(weights, corrections, strict=True)]
        record = read_record(rows.folder)
        for start, known in zip(starts, record["chosen_by_fold"] if record else (), strict=False):
            start.update(known)  # all of it is searched again: see `_refuse`
        return starts

    def answer(self, point: Point) -> Float64:
        """(n,) log price."""
        rows, settings, oof = self._rows, settings_at(point, self._rows.settings), self._rows.oof
        if self._refits_members:
            oof = predict_members(self._training_set, settings)[0]
        if self._refits_stacker:
            oof = with_stacker(oof, self._training_set, settings)[0]
        return answer_out_of_fold(oof, rows.log_price, rows.search_vectors, settings, age_weight=rows.age_weight).answer

    @cached_property
    def _training_set(self) -> TrainingSet:
        return self._rows.training_set()  # reading it takes longer than a trial of the correction alone


def _name(rows: ScorableRows, parts: tuple[str, ...], seed: int) -> str:
    """Name of a search: a hash of its generation, and one of all else that it depends on."""
    of = [asdict(rows.settings), parts, seed, version("price-engine")]
    return "-".join(
        hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16] for part in (rows.manifest.files, of)
    )
