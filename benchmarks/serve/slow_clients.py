"""Clients that send slowly, and connections that send nothing: what `/healthz` takes beside them.

python benchmarks/serve/slow_clients.py INDEX --slow 1000 --idle 5000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import time
from pathlib import Path
from urllib.parse import urlsplit

from server import serving, show

HEAD = (
    b"POST /v1/quotes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
)


async def slow(host: str, port: int, opened: list[int]) -> None:
    """Send a byte a second."""
    _, writer = await asyncio.open_connection(host, port)
    opened.append(1)
    writer.write(HEAD)
    with contextlib.suppress(OSError):
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(1)


async def idle(host: str, port: int, opened: list[int]) -> None:
    """Send nothing."""
    await asyncio.open_connection(host, port)
    opened.append(1)
    await asyncio.sleep(3600)


async def healthz(host: str, port: int) -> float:
    """Return the seconds of a look at the server's health."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    return time.perf_counter() - began


async def measure(address: str, slow_clients: int, idle_clients: int, looks: int) -> None:
    """Open all and look at the health."""
    target = urlsplit(address)
    host, port = str(target.hostname), int(target.port or 80)
    opened: list[int] = []
    kinds = [slow] * slow_clients + [idle] * idle_clients
    tasks = []
    for kind in kinds:
        tasks.append(asyncio.create_task(kind(host, port, opened)))
        if len(tasks) % 100 == 0:
            await asyncio.sleep(0.05)
    ends = time.monotonic() + 60
    while len(opened) < len(kinds) and time.monotonic() < ends:
        await asyncio.sleep(0.1)
    seconds = []
    for _ in range(looks):
        seconds.append(await healthz(host, port))
        await asyncio.sleep(0.02)
    seconds.sort()
    figures = {"p50_ms": round(1000 * seconds[looks // 2], 1), "p99_ms": round(1000 * seconds[int(looks * 0.99)], 1)}
    show("healthz", {"slow": slow_clients, "idle": idle_clients, "open": len(opened), "looks": looks, **figures})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Measure an index's server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--slow", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--looks", type=int, default=500)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with serving(given.index) as server:
        asyncio.run(measure(server.address, given.slow, given.idle, given.looks))


if __name__ == "__main__":
    main()
