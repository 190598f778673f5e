"""Generations swapped under readers: requests that fail, and answers that are of two generations.

python benchmarks/serve/swaps.py INDEX --swaps 20 --readers 8

A copy of INDEX is changed by removing a row at a time. Each request prices the same items together; the answers of a
generation must all be the same prices, whichever request they came by.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from server import TEXTS, serving, show

BODY = json.dumps({"items": [{"text": text} for text in TEXTS[:4]]}).encode()
AGREE = 1e-3  # share by which prices of one item may differ between batches: an encoder pads to the longest beside it


def main() -> None:
    """Measure a copy of an index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--readers", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(shutil.copytree(given.index, Path(folder) / "index", ignore=shutil.ignore_patterns("cache")))
        swapped(index, given.swaps, given.readers)


def swapped(index: Path, swaps: int, readers: int) -> None:
    """Swap generations under readers, and show what came of it."""
    from engine.lifecycle.update import remove_items
    from engine.serving.pricer import Pricer

    ids = Pricer.open(index).reference.ids()
    prices: dict[str, list[list[float]]] = defaultdict(list)
    failed: list[str] = []
    done = threading.Event()
    with serving(index) as server:

        def read() -> None:
            while not done.is_set():
                request = urllib.request.Request(  # noqa: S310
                    f"{server.address}/v1/quotes", BODY, {"Content-Type": "application/json"}
                )
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                        document = json.load(answer)
                except OSError as error:
                    failed.append(str(error))
                    continue
                prices[document["generation"]].append([quote["price"] for quote in document["quotes"]])

        threads = [threading.Thread(target=read) for _ in range(readers)]
        for thread in threads:
            thread.start()
        waits = []
        for place in range(swaps):
            newest = remove_items([ids[place]], index).generation
            began = time.monotonic()
            while newest not in prices and time.monotonic() - began < 120:
                time.sleep(0.05)
            waits.append(time.monotonic() - began)
        done.set()
        for thread in threads:
            thread.join()
    mixed = sum(
        any(abs(price / first - 1) > AGREE for price, first in zip(row, rows[0], strict=True))
        for rows in prices.values()
        for row in rows
    )
    show(
        "swaps",
        {
            "swaps": swaps,
            "readers": readers,
            "requests": sum(map(len, prices.values())),
            "failed": len(failed),
            "generations_seen": len(prices),
            "mixed": mixed,
            "followed_after_s": round(max(waits), 1),
        },
    )


if __name__ == "__main__":
    main()
