"""Arguing with prices: which way they move when a comparable is left out, what a listing owes to itself, what it costs.

    python benchmarks/arguing.py INDEX [--rows 200] [--seed 0]

Rows of the index are priced as their own listings, without their groups of near-duplicates. Then the dearest, and the
cheapest, of the five nearest comparables is left out as well: how often does the price fall, and rise, and by how much?
Beside it: how far the price of a listing lies from its own price where it may find itself, and where it may not. Last,
what one query, ten like it, one with a comparable left out and one with --explain take, in milliseconds, warm. Writes
results/arguing.json beside this script: figures only.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine.serving.pricer import Item, Pricer, Selection
from index.storage.items_table import ItemStore

NEAREST = 5  # comparables of which one is left out
ROUNDS = 9  # of which the median is told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pricer = Pricer.open(given.index)
    items = ItemStore.open(pricer.folder, pricer.manifest).items(["item_id", "text", "log_price"])
    chosen = np.random.default_rng(given.seed).choice(items.num_rows, given.rows, replace=False)
    rows = items.take(chosen).to_pylist()
    found = {"rows": len(rows), **moves(pricer, rows), "milliseconds": costs(pricer, [row["text"] for row in rows])}
    path = Path(__file__).parent / "results" / "arguing.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def moves(pricer: Pricer, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the prices that move as they should, and how far they lie from the listings' own."""
    without_dearest: list[float] = []
    without_cheapest: list[float] = []
    with_itself, without_itself = [], []
    for row in rows:
        item, group = [Item(row["text"])], row["item_id"]
        (quote,) = pricer.price(item, selection=Selection(exclude_group=group))
        near = sorted(quote.comparables[:NEAREST], key=lambda comparable: comparable.price)
        if len(near) < NEAREST or quote.before is None:
            continue
        for changes, left_out in ((without_dearest, near[-1]), (without_cheapest, near[0])):
            chosen = Selection(without=(left_out.item_id,), exclude_group=group)
            changes.append(pricer.price(item, selection=chosen)[0].price / quote.price - 1)
        price = float(np.exp(row["log_price"]))
        with_itself.append(abs(quote.before.price / price - 1))
        without_itself.append(abs(quote.price / price - 1))
    return {
        "dearest left out": {"falls": share(np.array(without_dearest) < 0), "median": median(without_dearest)},
        "cheapest left out": {"rises": share(np.array(without_cheapest) > 0), "median": median(without_cheapest)},
        "median absolute error": {"finds itself": median(with_itself), "without its group": median(without_itself)},
    }


def costs(pricer: Pricer, texts: list[str]) -> dict[str, float]:
    """Milliseconds of one query and of its kin."""
    item = Item(texts[0])
    (quote,) = pricer.price([item])
    selection = Selection(without=(quote.comparables[0].item_id,))
    return {
        "a query": timed(lambda: pricer.price([item])),
        "a query without a comparable": timed(lambda: pricer.price([item], selection=selection)),
        "a query of ten items": timed(lambda: pricer.price([Item(text) for text in texts[:10]])),
        "a query that explains": timed(lambda: pricer.explain(item)),
    }


def timed(act: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return round(1000 * statistics.median(taken), 1)


def share(holds: np.ndarray) -> float:
    return round(float(holds.mean()), 3)


def median(values: list[float]) -> float:
    return round(float(np.median(values)), 4)


if __name__ == "__main__":
    main()
