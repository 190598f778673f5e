"""CPU time of reading a catalogue into items, a row: two checkouts in turns, in one run.

    python benchmarks/columns/reading.py CHECKOUT OTHER_CHECKOUT [--catalogue CSV] [--rows 100000] [--rounds 5]

Reads made-up rows in the challenge's four columns, and those of `--catalogue`, repeated with new ids, where one is
given. Both checkouts read each file in turns, every time in a process of its own. Printed are the median microseconds
of CPU time a row (of all threads together), the second checkout's in multiples of the first's, and the most memory.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path

HEADER = ("sample_id", "catalog_content", "image_link", "price")
READ = """
import json, resource, sys, time
from pathlib import Path
try:
    from index.catalogue.items import read_catalogue
    from index.catalogue.settings import FOUND as columns
except ImportError:  # a checkout from before files were understood
    from index.catalogue import Columns, read_catalogue
    columns = Columns()
started = time.process_time()
read = read_catalogue(Path(sys.argv[1]), columns, priced=True)
seconds = time.process_time() - started
print(json.dumps([seconds, len(read.items) + len(read.rejects), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
WORDS = "Acme Tea Coffee Organic Smoky Vanilla Olive Oil Soap Large Pack Fresh Garden".split()


def made_up() -> Iterator[tuple[str, str, str, str]]:
    """Rows without end, each on one line: eight words, an amount, an address, a price."""
    source = random.Random(0)  # noqa: S311
    number = 0
    while True:
        text = f"{' '.join(source.choices(WORDS, k=8))}, {source.randrange(1, 99)} oz"
        yield str(number), text, f"https://img.example/p/{number}.jpg", str(source.randrange(100, 9_999) / 100)
        number += 1


def repeated(catalogue: Path) -> Iterator[tuple[str, ...]]:
    """The rows of a catalogue in the challenge's form, again and again, with new ids."""
    with catalogue.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    for number, row in enumerate(cycle(rows)):
        yield (str(number), *row[1:])


def write(rows: Iterable[tuple[str, ...]], path: Path) -> None:
    """Write a catalogue."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])


def read(checkout: Path, path: Path) -> tuple[float, int, float]:
    """Microseconds of CPU time a row, rows, and the most MB that reading took."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, check=True)
    seconds, rows, memory = json.loads(done.stdout)
    return seconds / rows * 1e6, rows, memory / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    """Read the arguments, and print a line for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs=2)
    parser.add_argument("--catalogue", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    kinds: dict[str, Iterator[tuple[str, ...]]] = {"made-up rows": made_up()}
    if given.catalogue:
        kinds[given.catalogue.name] = repeated(given.catalogue)
    print("file | rows | first, us a row | second, us a row | ratio | first, MB | second, MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in kinds.items():
            path = Path(folder) / "catalogue.csv"
            write(islice(rows, given.rows), path)
            taken = [[read(checkout.resolve(), path) for checkout in given.checkouts] for _ in range(given.rounds)]
            first, second = zip(*taken, strict=True)
            assert {count for _, count, _ in first} == {count for _, count, _ in second}, "rows were lost"
            medians = [statistics.median(time for time, _, _ in side) for side in (first, second)]
            memory = [max(most for _, _, most in side) for side in (first, second)]
            print(
                f"{name} | {given.rows} | {medians[0]:.1f} | {medians[1]:.1f} | {medians[1] / medians[0]:.3f} | "
                f"{memory[0]:.0f} | {memory[1]:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
