"""Every proof in turn, or those that are named: one table of trials, failures and minutes.

    python benchmarks/prove/run.py [NAME ...] [--scale 0.1] [--seed 0] [-o FILE]

A proof is a script of this folder. Each runs in a process of its own, and a failure does not keep the others from
running. The exit code is 1 where anything failed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from outcome import HEADER, ROW, arguments

FOLDER = Path(__file__).parent
MOST_MINUTES = 90  # that one proof may take, whatever the scale: what hangs is a failure


def proofs() -> list[str]:
    """Names of the scripts of this folder that can be run, beside this one."""
    scripts = (path for path in sorted(FOLDER.glob("*.py")) if path != Path(__file__))
    return [path.stem for path in scripts if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def rows_of(output: list[str], exit_code: int, name: str, minutes: float) -> list[str]:
    """The rows at the end of a script's output, and one more where it failed without a row that says so."""
    rows: list[str] = []
    for line in reversed(output):
        if not ROW.fullmatch(line):
            break
        rows.insert(0, line)
    if exit_code and not any(failures_of(row) for row in rows):
        rows.append(f"{name} ended with exit code {exit_code} | 1 | 1 | {minutes:.1f}")
    return rows


def failures_of(row: str) -> int:
    """Number of failures in a row."""
    match = ROW.fullmatch(row)
    return int(match["failures"]) if match else 0


def prove(name: str, scale: float, seed: int) -> list[str]:
    """Run one script and show its output as it comes; its rows."""
    started = time.monotonic()
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--scale", str(scale), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        watch = threading.Timer(60 * MOST_MINUTES, child.kill)
        watch.start()
        output = []
        assert child.stdout is not None
        for line in child.stdout:
            print(f"{name}: {line}", end="", flush=True)
            output.append(line.rstrip("\n"))
        code = child.wait()
        watch.cancel()
    return rows_of(output, code, name, (time.monotonic() - started) / 60)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *proofs()], metavar="NAME", help=", ".join(proofs()))
    parser.add_argument("-o", "--output", type=Path, help="File for the table.")
    given = parser.parse_args()
    rows = [row for name in given.names or proofs() for row in prove(name, given.scale, given.seed)]
    table = "\n".join([HEADER, "--- | ---: | ---: | ---:", *rows]) + "\n"
    print(f"\n{table}", end="")
    if given.output:
        given.output.write_text(table, encoding="utf-8")
    sys.exit(1 if not rows or any(map(failures_of, rows)) else 0)


if __name__ == "__main__":
    main()
