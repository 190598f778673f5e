"""One query of an open index: its CPU milliseconds, and where they go.

    python benchmarks/scale/query.py INDEX CATALOGUE [--queries 60] [--texts 200]

Prices the first texts of CATALOGUE one by one by `Pricer.price`, as it is and on all threads, in turn; then many.
Prints medians of CPU time. A stage's milliseconds hold those of what it calls: searches are part of the estimate.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine.ensemble.price_model import PriceModel
from engine.ensemble.uncertainty.error_model import ErrorModel
from engine.ensemble.uncertainty.evidence import Evidence
from engine.features.search_vectors import SearchVectorizer
from engine.serving import pricer as pricing
from engine.serving.pricer import Item, Pricer
from index.catalogue.items import read_catalogue
from index.catalogue.settings import FOUND
from index.embedding.encode import Encoders
from index.search.neighbours import BandIndex

STAGES = (
    ("encoding", Encoders, "encode"),
    ("search vectors", SearchVectorizer, "vectors"),
    ("estimate", PriceModel, "estimate"),
    ("searches", BandIndex, "search"),
    ("evidence", Evidence, "table"),
    ("interval", ErrorModel, "spread"),
    ("reasons", PriceModel, "reasons"),
)


def timed(spent: dict[str, float], stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that adds its CPU seconds to its stage."""

    def measured(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[stage] += time.process_time() - began

    return measured


def milliseconds(pricer: Pricer, texts: list[str]) -> float:
    """The median CPU time of a query."""
    taken = []
    for text in texts:
        began = time.process_time()
        pricer.price([Item(text)])
        taken.append(time.process_time() - began)
    return 1000 * float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--texts", type=int, default=200)
    given = parser.parse_args()
    texts = read_catalogue(given.catalogue, FOUND, priced=False).items["text"].to_pylist()
    pricer, few = Pricer.open(given.index), pricing.FEW_ITEMS
    first = texts[: given.queries]
    milliseconds(pricer, first[:5])
    found: dict[str, Any] = {"one thread": [], "all threads": []}
    for _ in range(3):
        for threads, most in (("one thread", few), ("all threads", 0)):
            pricing.FEW_ITEMS = most
            found[threads].append(round(milliseconds(pricer, first), 1))
    pricing.FEW_ITEMS = few
    began = time.process_time()
    pricer.price([Item(text) for text in texts[: given.texts]])
    found[f"{given.texts} texts at once, each"] = round(1000 * (time.process_time() - began) / given.texts, 1)
    spent: dict[str, float] = defaultdict(float)
    for stage, owner, name in STAGES:
        setattr(owner, name, timed(spent, stage, getattr(owner, name)))
    milliseconds(pricer, first)
    found["stages, mean"] = {stage: round(1000 * seconds / len(first), 1) for stage, seconds in spent.items()}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
