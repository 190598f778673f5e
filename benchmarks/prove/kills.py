"""Kills at named points: what a process leaves that dies at a rename, a flush, a removal or a journal write.

    python benchmarks/prove/kills.py [--scale 1] [--seed 0] [--only build] [--workers 2]

Every such call of build, add, remove, compact, predict, fetch, tune and finetune is a point. A child of a warm process
is told to do the operation and to die at one of them. Each point is tried five times: before the call, after it, midway
(half a tree removed, half a line written), and before and after it with a second kill, at a point that is drawn, in
the run that was to go on. Then:

- a reader sees what he saw before the operation if it died before the one step that commits it, and else what an
  undisturbed run leaves: nothing between, whatever the point;
- a rerun ends equal to an undisturbed run: answers to the last bit, files to the byte but for the times in them and the
  names that Lance gives; or, where the operation was done, it is told so;
- nothing half-done is left beside, and no unit of work that a journal holds (a batch encoded, a photograph, a shard, a
  trial, a checkpoint) is done twice or lost.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_points import AFTER, BEFORE, KILLED, MIDWAY, KillPoints, fork, forked
from operations import (
    ANOTHER,
    Operation,
    copy,
    fetch_operation,
    finetune_operation,
    index_operations,
    photographs,
    predict_operation,
    tiny_encoder,
    warm_up,
)
from outcome import Tally, arguments, finish, scaled

from index.errors import PriceError

VARIANTS = ((BEFORE, False), (AFTER, False), (MIDWAY, False), (BEFORE, True), (AFTER, True))


@dataclass(frozen=True)
class Trial:
    """Place where a process dies: at the point of this number; and perhaps the next one at another."""

    number: int
    moment: str
    second: int | None

    def shown(self, points: tuple[str, ...]) -> str:
        """The trial in words."""
        again = "" if self.second is None else f", then at {self.second}"
        return f"{self.moment} point {self.number} ({points[self.number]}){again}"


@dataclass(frozen=True)
class Undisturbed:
    """An operation that nothing disturbed: what was seen before and after it, and its points."""

    base: Path
    points: tuple[str, ...]
    before: Any
    after: Any
    outcome: Any


def child(what: Callable[[], Any]) -> Any:
    """The value of a function, computed in a child: this process stays as it is. RuntimeError where it raises."""
    code, told = forked(lambda tell: tell([what()]))
    if code:
        raise RuntimeError(f"exit code {code}: {told}")
    return told[0]


@dataclass(frozen=True)
class Ran:
    """Report of a child: what it saw first, the points that it met and passed, and how it ended."""

    code: int
    seen: Any = None
    met: Sequence[str] = ()
    passed: Sequence[str] = ()
    refused: str = ""
    outcome: Any = None
    fault: str = ""  # where it raised what no user should see


def run(operation: Operation, folder: Path, number: int | None = None, moment: str = BEFORE, acts: bool = True) -> Ran:
    """Look and do an operation in a child, which may be told to die at a point; where it lives, look again."""

    def work(tell: Callable[[Any], None]) -> None:
        news = {"seen": operation.seen(folder)}
        points = KillPoints(lambda met, passed: tell(news | {"met": met, "passed": passed}), number, moment)
        with points:
            try:
                if acts:
                    operation.act(folder)
            except PriceError as error:
                news["refused"] = str(error)
        news["outcome"] = operation.outcome(folder) if acts else None
        points.tell()

    code, told = forked(work)
    return Ran(code, **told) if isinstance(told, dict) else Ran(code, fault=str(told or "it hung, and told nothing"))


def undisturbed(operation: Operation, work: Path) -> Undisturbed:
    """Prepare an operation, and do it once without a kill."""
    base, whole = work / "base", work / "whole"
    base.mkdir(parents=True)
    child(lambda: operation.prepare(base))
    ran = run(operation, copy(base, whole))
    if ran.code or ran.refused:
        raise RuntimeError(f"{operation.name} fails by itself: {ran}")
    after = child(lambda: operation.seen(whole))
    if operation.answers_change and ran.seen == after:
        raise RuntimeError(f"{operation.name} changes nothing: it proves nothing")
    return Undisturbed(base, tuple(ran.met), ran.seen, after, ran.outcome)


def attempt(operation: Operation, known: Undisturbed, trial: Trial, folder: Path) -> str:
    """Kill at a point, look, run again until nothing kills: what did not hold, "" where all did."""
    ran, second = run(operation, copy(known.base, folder), trial.number, trial.moment), trial.second
    if ran.code != KILLED:
        return f"it did not die: {ran}"
    met, passed, faults = [*ran.met], [*ran.passed], []
    while ran.code == KILLED:
        done = operation.committed in passed
        acts = not (done and operation.refusal == ANOTHER)
        ran, second = run(operation, folder, second, acts=acts), None
        if ran.fault:
            return f"the rerun ended with {ran.code}: {ran.fault}"
        if ran.seen != (known.after if done else known.before):
            between = ran.seen not in (known.before, known.after)
            faults.append(f"a reader sees {ran.seen if between else 'the step too early or too late'}")
        met, passed = [*met, *ran.met], [*passed, *ran.passed]
    may_be_refused = operation.refusal and (operation.refused_from or operation.committed) in passed
    if ran.refused and not (may_be_refused and operation.refusal in ran.refused):
        faults.append(f"the rerun: {ran.refused}")
    if acts and ran.outcome != known.outcome:
        faults.append(f"the rerun ends with {ran.outcome}, not {known.outcome}")
    most, least, units = (sum(operation.unit in point for point in points) for points in (met, passed, known.points))
    if not done and not least <= units <= most:  # that at which it died may have been finished or not
        faults.append(f"{least} to {most} units of work in all runs, not {units}")
    return "; ".join(faults)


def trials(known: Undisturbed, scale: float, seed: int) -> list[Trial]:
    """Every point in every variant; a sample of them where the scale is below 1."""
    draw = random.Random(seed)  # noqa: S311 - draws trials, hides nothing
    numbers = range(len(known.points))
    every = [
        Trial(number, moment, draw.choice(numbers) if twice else None)
        for number in numbers
        for moment, twice in VARIANTS
    ]
    return every if scale >= 1 else draw.sample(every, scaled(len(every), scale))


def prove(operation: Operation, work: Path, scale: float, seed: int, workers: int) -> Tally:
    """All trials of one operation, shared among children of this process."""
    tally = Tally(f"kills: {operation.name}")
    operation.warm_up()
    known = undisturbed(operation, work)
    chosen = trials(known, scale, seed)
    reports = [work / f"faults-{worker}" for worker in range(workers)]
    children = []
    for worker, report in enumerate(reports):
        pid = fork()
        if pid == 0:
            try:
                _report(operation, known, chosen[worker::workers], work / f"trial-{worker}", report)
            finally:
                os._exit(0)  # whatever came: what the parent would tidy up is not this child's
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    lines = [line for report in reports for line in report.read_text(encoding="utf-8").splitlines()]
    for line in lines + ["a worker of this proof died"] * (len(chosen) - len(lines)):
        tally.add(line)
    print(f"{operation.name}: {len(known.points)} points, {len(chosen)} trials, {tally.seconds:.0f} s", flush=True)
    return tally


def _report(operation: Operation, known: Undisturbed, chosen: list[Trial], folder: Path, report: Path) -> None:
    """Write a line for each trial: what did not hold, empty where all did."""
    with report.open("w", encoding="utf-8") as faults:
        for trial in chosen:
            fault = attempt(operation, known, trial, folder)
            shutil.rmtree(folder)
            faults.write(f"{trial.shown(known.points)}: {fault}\n" if fault else "\n")
            faults.flush()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", action="append", help="An operation, in the place of all.")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        warm_up()
        encoder = tiny_encoder(work / "encoder")
        operations = [*index_operations(encoder), predict_operation(encoder), finetune_operation(encoder)]
        # The server is a thread, which no fork should meet: it has a process of its own.
        with photographs() as port:
            operations.append(fetch_operation(port))
            finish(
                prove(operation, work / operation.name, given.scale, given.seed, given.workers)
                for operation in operations
                if not given.only or operation.name in given.only
            )


if __name__ == "__main__":
    main()
