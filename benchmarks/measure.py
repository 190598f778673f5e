"""Shared parts of the benchmarks: arguments, commands and what they cost, files, intervals, scores of a stored index.

What two experiments need of the engine stands here and nowhere else; what only one needs stands in that one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.serving.scorable import ScorableRows
    from index.arrays import Float64, Int64

RESULTS = Path(__file__).parent / "results"
PRICE = Path(sys.executable).parent / "price"


def argument_parser(description: str | None, *paths: str, **defaults: bool | int | str) -> argparse.ArgumentParser:
    """A parser that shows a script's docstring as it stands.

    It takes `paths`, a `name` needed and a `--name` not, and an option `--name` of its type for each default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for path in paths:
        parser.add_argument(path, type=Path)
    for name, default in defaults.items():
        how: dict[str, Any] = {"action": "store_true"} if default is False else {"type": type(default)}
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, **how)
    return parser


def machine() -> str:
    """Cores, processor and Python."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Ran:
    """Output of a command on stdout, and its own cost."""

    output: str
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def answer(self) -> dict[str, Any]:
        """Its JSON."""
        answer: dict[str, Any] = json.loads(self.output)
        return answer


def run(*command: object, threads: int | None = None) -> Ran:
    """Run a command to its end, with so many threads for each of its parts; it must succeed."""
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    started = time.monotonic()
    child = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, env=environment, text=True)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, (child.returncode, command)
    return Ran(output, time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def price(*arguments: object, threads: int | None = None) -> Ran:
    """Run `price ARGUMENTS --json` in a process of its own."""
    return run(PRICE, *arguments, "--json", threads=threads)


def options(**values: object) -> list[object]:
    """`--image-dir DIR` for `image_dir=DIR`, and so on; nothing for None."""
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in values.items() if value is not None)
    return [part for pair in pairs for part in pair]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Every row of a catalogue."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Path:
    """Write a catalogue; `rows` may be a generator of any length."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def read_results(name: str) -> dict[str, Any]:
    """Read results/`name`.json; nothing where it is not there."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write_results(name: str, document: dict[str, Any], path: Path | None = None) -> None:
    """Write results/`name`.json, or the file at `path`."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def interval(values: Float64, groups: Int64 | None = None, *, seed: int = 0, digits: int | None = None) -> list[float]:
    """The mean of (n,) values and the ends of its 95% interval, whole groups drawn; of a difference it is paired."""
    from engine.metrics import bootstrap

    figures = [float(values.mean()), *bootstrap(values, groups=groups, seed=seed)]
    return figures if digits is None else [round(figure, digits) for figure in figures]


def shown(figures: list[float], sign: str = "") -> str:
    """A mean and its interval for people; with the sign "+" a gain."""
    mean, low, high = figures
    return f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def by_fold(fold: Any) -> Iterator[tuple[Int64, Int64]]:
    """The rows outside each fold of (n,), and the rows in it."""
    for f in range(int(fold.max()) + 1):
        yield np.flatnonzero(fold != f), np.flatnonzero(fold == f)


def read_items(catalogue: Path, priced: bool = True) -> pa.Table:
    """The usable rows of a catalogue with the default names of its columns."""
    from index.catalogue.items import read_catalogue
    from index.catalogue.settings import ReadSettings

    return read_catalogue(catalogue, ReadSettings(), priced=priced).items


def duplicate_groups(items: pa.Table) -> Int64:
    """(n,) numbers of the groups of near-duplicates, by name and photograph."""
    from index.catalogue import duplicates
    from index.catalogue.fields import name_key

    names_key = [name_key(name) for name in items["name"].to_pylist()]
    return duplicates.duplicate_groups(names_key, items["image"].to_pylist())


def stage_losses(rows: ScorableRows) -> dict[str, Float64]:
    """SMAPE of every row by stage, each (n,): the last stage is the answer, that before it lacks the correction."""
    from engine.ensemble.cross_fit import cross_fit
    from engine.metrics import row_smape

    scored = cross_fit(
        rows.oof, rows.log_price, rows.search_vectors, rows.fields(), rows.settings, age_weight=rows.age_weight
    )[1]
    return {name: row_smape(np.exp(rows.log_price), np.exp(stage)) for name, stage in scored.stages.items()}
