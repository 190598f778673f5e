"""CPU time and memory of `price review` beside `price predict --full` of the same file.

    python benchmarks/decisions/review.py CATALOGUE INDEX [--rows 20000] [--rounds 2] [--seed 0]

A price list of so many rows is drawn from a catalogue, with changed prices, quantities and costs. Each command runs in
a process of its own, on one thread, in turn, and its least CPU seconds count. The review is a workbook with rules.
Writes results/review.json.
"""

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).parents[1]))  # measure.py
import measure

HEADER = ("sku", "title", "price", "sold", "cost", "category")
RULES = ("cost=column:cost", "margin=20", "max_change=30", "ending=.99 below 20, nearest 5")


def price_list(catalogue: Path, path: Path, rows: int, seed: int) -> Path:
    """A price list of rows drawn from a catalogue."""
    drawn, known = random.Random(seed), measure.read_csv(catalogue)  # noqa: S311  # no secret

    def cells() -> Any:
        for number in range(rows):
            row = drawn.choice(known)
            price = float(row["price"])
            current = round(price * drawn.choice((0.5, 0.9, 1, 1.1, 2)), 2)
            sold, category = drawn.randint(0, 500), f"category {number % 20}"
            yield f"S{number}", row["catalog_content"], current, sold, round(price / 2, 2), category

    return measure.write_csv(path, HEADER, cells())


def main() -> None:
    given = measure.argument_parser(__doc__, "catalogue", "index", rows=20_000, rounds=2, seed=0).parse_args()
    report: dict[str, Any] = {"machine": measure.machine(), "rows": given.rows, "runs": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        items = price_list(given.catalogue, folder / "list.csv", given.rows, given.seed)
        rules = [part for rule in RULES for part in ("--rule", rule)]
        commands = {
            "predict": ("predict", items, "-o", folder / "p.csv", "--full"),
            "review": ("review", items, "-o", folder / "r.xlsx", "--weight-column", "sold", *rules),
        }
        for _ in range(given.rounds):
            for name, command in commands.items():
                ran = measure.price(*command, "--index", given.index, "--overwrite", threads=1)
                report["runs"].append({"command": name, "cpu_seconds": ran.cpu_seconds, "peak_mb": ran.peak_mb})
    least = {}
    for name in commands:
        runs = [run for run in report["runs"] if run["command"] == name]
        least[name] = {kind: min(run[kind] for run in runs) for kind in ("cpu_seconds", "peak_mb")}
    report["least"], report["ratio"] = least, least["review"]["cpu_seconds"] / least["predict"]["cpu_seconds"]
    measure.write_results("review", report)
    for name, figures in least.items():
        print(f"{name:8} {figures['cpu_seconds']:8.1f} CPU s {figures['peak_mb']:8.0f} MB")
    print(f"ratio {report['ratio']:.3f}")


if __name__ == "__main__":
    main()
