"""A catalogue of any size out of a real one, to measure time and memory with. Of accuracy it says nothing.

    python benchmarks/scale/make_catalogue.py CATALOGUE OUT --rows 75000 [--seed 0] [--words 0]

Each text is put together from parts of real ones: the name's first half from one listing, the second from another, its
other lines from several. The price follows a law of the amount and of the words of the name, with noise. One row in
twelve is a twin of an earlier one, with another amount. There are no photographs. `--words 20` cuts each text after so
many words, for machines on which the encoding of whole texts would take longer than what is to be measured.
"""

import argparse
import csv
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TWINS = 1 / 12  # of the rows
NOISE = 0.45  # standard deviation of log price
SLOPE = 0.6  # log price per log amount
UNITS = ("Ounce", "Fl Oz", "Count")
LABELS = ("Value:", "Unit:")


def parts_of(catalogue: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Words of each name, and the other lines of each text, but for those that state the amount."""
    names, lines = [], []
    with catalogue.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, *further = row["catalog_content"].split("\n")
            names.append(name.split())
            lines.append([line for line in further if line.strip() and not line.startswith(LABELS)])
    return names, lines


def log_price(name: list[str], amount: float, noise: float) -> float:
    """The law: every word is worth something of its own, and the amount counts as it does in shops."""
    worth = [(zlib.crc32(word.lower().encode()) % 1000 / 1000 - 0.5) * 1.2 for word in name[:12]]
    return float(2.3 + SLOPE * np.log(amount / 12) + sum(worth) / max(len(worth), 1) ** 0.5 + NOISE * noise)


def made_rows(catalogue: Path, rows: int, seed: int, words: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the made catalogue: id, text, no photograph, price."""
    random = np.random.default_rng(seed)
    names, lines = parts_of(catalogue)
    made: list[tuple[list[str], list[str]]] = []
    for row in range(rows):
        if made and random.random() < TWINS:
            name, body = made[random.integers(len(made))]
        else:
            first, second = (names[random.integers(len(names))] for _ in range(2))
            name = first[: max(1, (len(first) + 1) // 2)] + second[len(second) // 2 :] + [f"No{row}"]
            several = [lines[random.integers(len(lines))] for _ in range(3)]
            longest = max(map(len, several))
            body = [several[place % 3][place] for place in range(longest) if place < len(several[place % 3])]
            made.append((name, body))
        amount = float(np.round(np.exp(random.normal(2.5, 0.9)), 1)) + 0.5
        price = np.exp(log_price(name, amount, random.normal()))
        text = "\n".join([" ".join(name), *body])
        if words:
            text = " ".join(text.split(" ")[:words])
        text += f"\nValue: {amount}\nUnit: {UNITS[random.integers(len(UNITS))]}"
        yield str(row), text, "", f"{max(price, 0.5):.2f}"


def make_catalogue(catalogue: Path, out: Path, rows: int, *, seed: int = 0, words: int = 0) -> None:
    """Write the made catalogue."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sample_id", "catalog_content", "image_link", "price"))
        writer.writerows(made_rows(catalogue, rows, seed, words))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path, help="a real one: sample_id, catalog_content, image_link, price")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--words", type=int, default=0)
    given = parser.parse_args()
    make_catalogue(given.catalogue, given.out, given.rows, seed=given.seed, words=given.words)


if __name__ == "__main__":
    main()
