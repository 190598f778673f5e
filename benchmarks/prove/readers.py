"""Readers while an index is written: whether each answer belongs to one generation, and whether any reader fails.

    python benchmarks/prove/readers.py [--scale 1] [--seed 0]

Eight readers, each a process, for five minutes, while one writer makes twenty generations: rows added, replaced and
removed, the table compacted. Four readers open the index anew for every answer, as a command does. Four keep it open,
as a server does, and follow when there is a newer one. The writer says of every generation what it answers, before the
next one. An answer is three prices, their comparables, and the ids of all rows.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kill_points import fork
from operations import BUILT, answers_of, catalogue, index_operations, tiny_encoder, warm_up
from outcome import Tally, arguments, finish, scaled

READERS, SECONDS, GENERATIONS = 8, 300, 20
KEPT = 20  # answers of a reader that follows, before it looks for a newer generation
PAUSE = 0.02  # seconds between two answers


def write(index: Path, truth: Path, generations: int, seconds: float, seed: int) -> None:
    """Make so many generations in so many seconds, and write down what each answers."""
    from engine.lifecycle.update import add_items, compact_index, remove_items
    from engine.serving.pricer import Pricer

    draw = random.Random(seed)  # noqa: S311 - draws rows, hides nothing
    number = BUILT
    with truth.open("w", encoding="utf-8") as file:
        for turn in range(generations + 1):
            began = time.monotonic()
            more = catalogue(index.parent / "more.csv", range(number, number + 3))
            if turn % 4 in (1, 3):
                add_items(more, index)
                number += 3
            elif turn % 4 == 2:
                remove_items([str(draw.randrange(BUILT, number))], index, ignore_missing=True)
            elif turn:
                compact_index(index)
            pricer = Pricer.open(index)
            file.write(json.dumps([pricer.folder.name, answers_of(pricer)]) + "\n")
            file.flush()
            del pricer  # or it would hold every generation
            time.sleep(max(0.0, seconds / (generations + 1) - (time.monotonic() - began)))


def read(index: Path, report: Path, done: Path, follows: bool) -> None:
    """Answer until the writer is done, and write down by which generation."""
    from engine.serving.pricer import Pricer
    from index.storage.generations import current_generation

    pricer, answered = None, 0
    with report.open("w", encoding="utf-8") as file:
        while not done.exists():
            try:
                newer = not follows or answered % KEPT == 0
                if pricer is None or (newer and (not follows or current_generation(index) != pricer.folder)):
                    pricer = Pricer.open(index)
                file.write(json.dumps([pricer.folder.name, answers_of(pricer)]) + "\n")
            except Exception as error:
                file.write(json.dumps(["", f"{type(error).__name__}: {error}"]) + "\n")
                traceback.print_exc()
                raise
            answered += 1
            time.sleep(PAUSE)


def start(work: Callable[[], object]) -> int:
    """Start work in a process of its own; its number."""
    pid = fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def judge(tally: Tally, report: Path, truth: dict[str, Any], code: int) -> set[str]:
    """Count the answers of a reader; the generations that it saw."""
    seen = set()
    for line in report.read_text(encoding="utf-8").splitlines():
        generation, answer = json.loads(line)
        seen.add(generation)
        tally.add("" if truth.get(generation) == answer else f"{generation or 'no generation'} answered {answer}")
    if code:
        tally.add(f"a reader ended with exit code {code}")
    return seen


def main() -> None:
    given = arguments(__doc__).parse_args()
    generations, seconds = scaled(GENERATIONS, given.scale), SECONDS * given.scale
    with tempfile.TemporaryDirectory() as folder:
        work, done = Path(folder), Path(folder) / "done"
        index, truth = work / "index", work / "truth"
        warm_up()
        encoder = tiny_encoder(work / "encoder")
        assert not os.waitpid(start(lambda: index_operations(encoder)[0].act(work)), 0)[1], "the build fails by itself"
        tallies = [Tally("readers that open the index anew"), Tally("readers that keep it open and follow")]
        writer = start(lambda: write(index, truth, generations, seconds, given.seed))
        readers = {}
        for number in range(READERS):
            report, follows = work / f"reader-{number}", number % 2 == 1
            readers[start(partial(read, index, report, done, follows))] = (report, follows)
        wrote = os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1])
        done.touch()
        codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in readers}
        known = dict(json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines())
        seen = {name for pid, (report, f) in readers.items() for name in judge(tallies[f], report, known, codes[pid])}
        if wrote or len(known) <= generations:
            tallies[0].add(f"the writer made {len(known) - 1} generations of {generations}: exit code {wrote}")
        print(f"{READERS} readers saw {len(seen)} of {len(known)} generations")
        for tally in tallies:
            tally.seconds = seconds
    finish(tallies)


if __name__ == "__main__":
    main()
