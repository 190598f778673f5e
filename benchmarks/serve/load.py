"""Load on `price serve` by locust: one client and sixteen, three times what it can, and a soak.

    pip install locust
    python benchmarks/serve/load.py INDEX --seconds 20 --soak 10

Each line is one measurement: the in-process time of a quote, then over HTTP; goodput and 429 under overload; memory and
open files over the soak.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, constant_throughput, task
from locust.env import Environment
from server import TEXTS, Server, serving, show

BACK = 5.0  # seconds after an overload by which all must be as before


def in_process(index: Path, count: int) -> dict[str, Any]:
    """Measure quotes of one text each without a server."""
    from engine.serving.pricer import Item, Pricer

    pricer = Pricer.open(index)
    pricer.price([Item(TEXTS[0])])
    seconds = []
    for text in random.Random(0).choices(TEXTS, k=count):  # noqa: S311
        began = time.perf_counter()
        pricer.price([Item(text)])
        seconds.append(time.perf_counter() - began)
    return {"quotes": count, "p50_ms": round(1000 * statistics.median(seconds), 1)}


def loaded(server: Server, clients: int, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """Measure `clients` that ask as fast as they are answered, or at a `rate` a second in all."""
    statuses: dict[int, int] = {}
    taken: list[float] = []

    class Client(FastHttpUser):
        host = server.address
        wait_time = constant(0) if rate is None else constant_throughput(rate / clients)

        @task
        def ask(self) -> None:
            began = time.perf_counter()
            body = {"items": [{"text": random.choice(TEXTS)}]}  # noqa: S311
            with self.client.post("/v1/quotes", json=body, catch_response=True) as answer:
                status = answer.status_code
                statuses[status] = statuses.get(status, 0) + 1
                if status == 200:
                    taken.append(time.perf_counter() - began)
                answer.success()

    environment = Environment(user_classes=[Client])
    runner = environment.create_local_runner()
    runner.start(clients, spawn_rate=clients)
    gevent.sleep(min(2.0, seconds / 4))  # until all are at work
    statuses.clear()
    taken.clear()
    began, used = time.perf_counter(), server.cpu_seconds
    gevent.sleep(seconds)
    passed = time.perf_counter() - began
    counts, times, used = dict(statuses), sorted(taken), server.cpu_seconds - used
    runner.quit()
    return {
        "clients": clients,
        "a_second": round(len(times) / passed, 1),
        "p50_ms": round(1000 * times[len(times) // 2], 1) if times else None,
        "p99_ms": round(1000 * times[int(len(times) * 0.99)], 1) if times else None,
        "cpu_ms_a_quote": round(1000 * used / len(times), 1) if times else None,
        "statuses": counts,
    }


def soaked(server: Server, minutes: int) -> dict[str, Any]:
    """Measure memory and open files under load, minute by minute; the first fills caches and is left out of the sum."""
    memory, files, statuses = [], [], []
    for _ in range(minutes + 1):
        load = loaded(server, 4, 58.0)
        gevent.sleep(1)
        memory.append(round(server.memory, 1))
        files.append(server.open_files)
        statuses.append(load["statuses"])
    growth = (memory[-1] - memory[1]) / max(1, minutes - 1)
    counted = {status: sum(found.get(status, 0) for found in statuses) for found in statuses for status in found}
    return {
        "minutes": minutes,
        "statuses": counted,
        "mb_a_minute": round(growth, 2),
        "memory_mb": memory,
        "files": files,
    }


def main() -> None:
    """Measure an index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--soak", type=int, default=10, help="minutes")
    parser.add_argument("--rounds", type=int, default=1, help="of all loads, for a machine that others use, too")
    given = parser.parse_args()
    show("in process", in_process(given.index, 100))
    with serving(given.index, "--most-waiting", "64") as server:
        for _ in range(given.rounds):
            show("one client", loaded(server, 1, given.seconds))
            peak = loaded(server, 16, given.seconds)
            show("sixteen clients", peak)
            show("three times that", loaded(server, 100, given.seconds, rate=3 * peak["a_second"]))
            gevent.sleep(BACK)
        show("5 s later, one client", loaded(server, 1, given.seconds / 2))
    with serving(given.index) as server:
        show("soak", soaked(server, given.soak))


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    main()
