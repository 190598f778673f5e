"""Faults that `price audit` finds among prices spoiled on purpose, by kind, against two simpler ways of looking.

    python benchmarks/decisions/audit.py spoil CATALOGUE INDEX -o FOLDER [--seed 0]
    price build-index FOLDER/spoiled.csv --index FOLDER/index --image-dir DIR --folds 5
    python benchmarks/decisions/audit.py score FOLDER

`spoil` changes the prices of 2% of the rows of a catalogue, an equal part by each kind of fault, and lists them in
FOLDER/faults.csv; INDEX, of the catalogue as it was, says what packs, amounts and near-duplicates its rows have. The
index must then be built anew: the models learn from the spoiled prices, as they would.

`score` says which share of the spoiled rows stands among the first 2% of the audit's ranking; of rows ranked by the
z-score of their log price within their unit of sale, the nearest that this catalogue has to a category; and of rows
ranked by how far, in log price, they lie from the median of their 16 nearest neighbours of other groups. The catalogue
has wrong prices of its own, which count as found by nobody. It writes results/audit.json beside this script.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(1, str(Path(__file__).parents[1]))  # measure.py
import measure

from engine.ensemble.held_out import HeldOutPrices
from engine.serving.audit.audit import audit_rows
from engine.serving.audit.reasons import severity
from engine.serving.pricer import Pricer
from engine.serving.scorable import ScorableRows, open_scorable_rows, scorable_rows
from index.storage.generations import lease_generation
from index.storage.items_table import ItemStore

SHARE = 0.02
KINDS = ("factor 10", "factor 100", "pack", "currency", "unit", "near-duplicate")
CURRENCIES = {"INR": 86.0, "JPY": 147.0, "MXN": 19.0, "CNY": 7.2, "KRW": 1380.0, "BRL": 5.5}  # for one USD
PER = {"kg or litre": 1000.0, "lb": 453.59, "100 g or ml": 100.0}  # of grams or millilitres
NEIGHBOURS = 16
LEAST_FACTOR = 2.5  # of a fault by the unit: nobody tells a smaller one


def faults_of(kind: str, row: dict[str, Any], random: np.random.Generator) -> tuple[str, float] | None:
    """Label and factor of a fault of a kind in a row; None where the row cannot have it."""
    either = bool(random.integers(2))
    if kind in ("factor 10", "factor 100"):
        factor = float(kind.split()[1])
        return kind, factor if either else 1 / factor
    if kind == "pack":
        return (f"pack of {row['pack']}", row["pack"] if either else 1 / row["pack"]) if row["pack"] >= 3 else None
    if kind == "currency":
        code = str(random.choice(list(CURRENCIES)))
        return code, CURRENCIES[code]
    if kind == "unit":
        if row["unit"] not in ("gram", "millilitre") or not row["amount"]:
            return None
        name = str(random.choice(list(PER)))
        factor = PER[name] / row["amount"]
        return (f"per {name}", factor) if max(factor, 1 / factor) >= LEAST_FACTOR else None
    factor = random.uniform(2, 4)
    return ("its near-duplicate's", factor if either else 1 / factor) if row["others"] else None


def spoil(catalogue: Path, index: Path, folder: Path, seed: int) -> None:
    """Write the spoiled catalogue, and which rows were spoiled how."""
    rows = open_scorable_rows(index)
    items = ItemStore.open(rows.folder).items(["item_id", "pack", "unit", "amount"]).take(rows.number).to_pylist()
    sizes = dict(zip(*np.unique(rows.groups, return_counts=True), strict=True))
    for item, group in zip(items, rows.groups, strict=True):
        item |= {"group": group, "others": sizes[group] - 1}
    random = np.random.default_rng(seed)
    wanted = round(SHARE * len(items))
    spoiled: dict[str, tuple[str, str, float]] = {}
    groups: set[int] = set()
    # Rarest first, or the rows that can have them were taken.
    for place, kind in enumerate(reversed(KINDS)):
        chosen = 0
        for at in random.permutation(len(items)):
            if chosen == wanted // len(KINDS) + (place < wanted % len(KINDS)):
                break
            item = items[at]
            if item["group"] not in groups and (fault := faults_of(kind, item, random)):
                spoiled[item["item_id"]] = (kind, *fault)
                groups.add(item["group"])
                chosen += 1
    table = measure.read_csv(catalogue)
    listed = []
    for row in table:
        if row["sample_id"] in spoiled:
            kind, label, factor = spoiled[row["sample_id"]]
            price = max(0.01, round(float(row["price"]) * factor, 2))
            listed.append((row["sample_id"], kind, label, factor, row["price"], price))
            row["price"] = str(price)
    folder.mkdir(exist_ok=True)
    measure.write_csv(folder / "spoiled.csv", table[0], (row.values() for row in table))
    measure.write_csv(folder / "faults.csv", ("item_id", "kind", "label", "factor", "was", "is"), listed)
    print(f"{len(listed)} of {len(table)} rows spoiled")


def found(score: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Share of the spoiled rows, whole and by kind, among so many with the highest `score` as 2% of all are."""
    first = np.argsort(-score, kind="stable")[: round(SHARE * len(score))]
    spoiled = kinds[first]
    shares = {"all": float((spoiled != "").sum() / (kinds != "").sum())}
    return shares | {kind: float((spoiled == kind).sum() / (kinds == kind).sum()) for kind in KINDS}


def simpler_scores(rows: ScorableRows, unit: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of two simpler ways, higher where a price looks more wrong."""
    deviation = np.zeros(len(unit))
    for name in np.unique(unit):
        here = unit == name
        log_price = rows.log_price[here]
        deviation[here] = np.abs(log_price - log_price.mean()) / max(log_price.std(), 1e-9)
    distance = np.zeros(len(unit))
    for row, vector in enumerate(rows.search_vectors):
        similarity = rows.search_vectors @ vector
        similarity[rows.groups == rows.groups[row]] = -np.inf
        nearest = np.argpartition(-similarity, NEIGHBOURS)[:NEIGHBOURS]
        distance[row] = abs(rows.log_price[row] - np.median(rows.log_price[nearest]))
    return {"z-score": deviation, "neighbours' median": distance}


def score(folder: Path) -> None:
    """Score the audit of the spoiled catalogue's index, and print what it finds."""
    faults = {row["item_id"]: row for row in measure.read_csv(folder / "faults.csv")}
    lease = lease_generation(folder / "index")
    pricer, rows = Pricer(lease.folder), scorable_rows(lease)
    items = ItemStore.open(rows.folder).items(["item_id", "unit"]).take(rows.number)
    ids = items["item_id"].to_pylist()
    kinds = np.array([faults[item]["kind"] if item in faults else "" for item in ids])
    started = time.process_time()
    held_out = HeldOutPrices.read(rows.folder, rows.number)
    audit = audit_rows(rows, pricer.reference, pricer.model.parameters)
    seconds = time.process_time() - started
    scores = {"audit": severity(rows.log_price, held_out.low, held_out.high)}
    scores |= simpler_scores(rows, np.array(items["unit"].to_pylist()))
    shares = {name: found(values, kinds) for name, values in scores.items()}
    listed = {row["item_id"]: row["reason"] for row in audit.table.to_pylist()}
    told = {kind: Counter[str]() for kind in KINDS}
    for item, fault in faults.items():
        told[fault["kind"]][kind_told(listed[item]) if item in listed else "not listed"] += 1
    figures = {"rows": len(ids), "seconds": seconds, "found": shares, "told": told}
    measure.write_results("audit", {"machine": measure.machine(), **figures})
    print(f"{'':20}" + "".join(f"{kind:>16}" for kind in ("all", *KINDS)))
    for name, of_name in shares.items():
        print(f"{name:20}" + "".join(f"{of_name[kind]:>16.0%}" for kind in ("all", *KINDS)))
    for kind, counts in told.items():
        print(f"{kind}: {', '.join(f'{count} {name}' for name, count in counts.most_common())}")


def kind_told(reason: str) -> str:
    """The kind of fault that a reason tells of."""
    words = {"pack": "pack", "currency": "currency", "near-duplicate": "near-duplicate", "the price of": "unit"}
    if "decimal" in reason:
        return f"factor {reason.split(maxsplit=1)[0]}"
    return next((kind for word, kind in words.items() if word in reason), "no reason")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    spoiling, scoring = commands.add_parser("spoil"), commands.add_parser("score")
    spoiling.add_argument("catalogue", type=Path)
    spoiling.add_argument("index", type=Path)
    spoiling.add_argument("-o", "--output", type=Path, required=True)
    spoiling.add_argument("--seed", type=int, default=0)
    scoring.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "spoil":
        spoil(given.catalogue, given.index, given.output, given.seed)
    else:
        score(given.folder)


if __name__ == "__main__":
    main()
