"""Photographs fetched from a server that stalls, errs, redirects and truncates, by a run that is killed and goes on.

Two thousand drawn photographs on a server of ours on the loopback, under four names; a fixed share of them misbehaves.
A first run is killed (SIGKILL) half-way, a second finishes, a third finds that there is nothing left to do. The server
counts what it was asked for and what it delivered whole, and every photograph is compared with the one that was drawn.

    python benchmarks/fetch_photographs.py      writes benchmarks/results/fetch_photographs.json; takes about a minute
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import measure

from index.photographs.cache import PhotographCache
from index.photographs.fetch import Limits, Network
from index.photographs.fetch_all import FetchSettings, fetch_all
from index.photographs.source import Photographs

PHOTOGRAPHS = 2_000
HOSTS = 4
LIMITS = Limits(seconds=2.0, allow_private_addresses=True)  # the default is 10 s; a stall costs the whole of it

BEHAVIOUR = {  # what the server does, and to how many of 200 photographs
    "stalls once": 4, "stalls always": 1, "503 once": 8, "500 always": 2, "429 once": 2, "404": 6, "410": 2,
    "redirects": 10, "redirects for ever": 1, "redirects to a private address": 1,
    "truncates once": 8, "truncates always": 1, "resets once": 4, "sends a web page": 2, "declares 11 MB": 1,
}  # fmt: skip


def behaviour_of(number: int) -> str:
    """The same photograph misbehaves in the same way in every run: shuffled once, by a fixed seed."""
    names = [name for name, share in BEHAVIOUR.items() for _ in range(share)]
    names += ["behaves"] * (200 - len(names))
    random.Random(number // 200).shuffle(names)  # noqa: S311 - a draw, not a secret
    return names[number % 200]


def draw(number: int) -> bytes:
    """A photograph of no thing: a gradient and its number's colours, some 12 kB."""
    from PIL import Image, ImageDraw

    paint = random.Random(number)  # noqa: S311
    image = Image.radial_gradient("L").resize((384, 384)).convert("RGB")
    pencil = ImageDraw.Draw(image)
    for _ in range(40):
        left, top = paint.randrange(384), paint.randrange(384)
        pencil.ellipse((left, top, left + 60, top + 40), fill=tuple(paint.randrange(256) for _ in range(3)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Shop(ThreadingHTTPServer):
    """Holds the drawn photographs, and counts by number."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, photographs: list[bytes], misbehaves: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.photographs, self.misbehaves = photographs, misbehaves
        self.lock = threading.Lock()
        self.requests: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what this is about."""


class Handler(BaseHTTPRequestHandler):
    """`/7.jpg` is a photograph, in its own manner; `/plain/7.jpg` the same without it."""

    server: Shop

    def do_GET(self) -> None:
        number = int(self.path.rpartition("/")[2].removesuffix(".jpg"))
        if self.path.startswith("/plain/"):
            self.deliver(number)
            return
        with self.server.lock:
            self.server.requests[number] += 1
            again = self.server.requests[number] > 1
        behaviour = behaviour_of(number) if self.server.misbehaves else "behaves"
        self.behave("behaves" if behaviour.endswith(" once") and again else behaviour, number)

    def behave(self, behaviour: str, number: int) -> None:
        what, data = behaviour.partition(" ")[0], self.server.photographs[number]
        if what == "redirects":
            targets = {"redirects": f"/plain/{number}.jpg", "redirects for ever": self.path}
            self.reply(302, b"", Location=targets.get(behaviour, "http://169.254.169.254/latest/meta-data/"))
        elif what == "stalls":
            time.sleep(LIMITS.seconds + 0.5)
        elif what.isdecimal():
            headers: dict[str, Any] = {"Retry-After": "1"} if what == "429" else {}
            self.reply(int(what), b"", **headers)
        elif what == "truncates":
            self.reply(200, data[: len(data) // 2], length=len(data))
        elif what == "resets":
            self.connection.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of 0: close by reset
        elif what == "sends":
            self.reply(200, b"<html>sold out</html>")
        elif what == "declares":
            self.reply(200, data, length=11_000_000)
        else:
            self.deliver(number)

    def deliver(self, number: int) -> None:
        self.reply(200, self.server.photographs[number])
        with self.server.lock:
            self.server.delivered[number] += 1

    def reply(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The counts are the log."""


@contextlib.contextmanager
def open_shop(photographs: list[bytes], misbehaves: bool) -> Iterator[Shop]:
    """A server in a thread of this process, which has nothing else to do."""
    with Shop(photographs, misbehaves) as shop:
        threading.Thread(target=shop.serve_forever, daemon=True).start()
        yield shop
        shop.shutdown()


# The fetch is a process of its own, so that it can be killed.


def urls_of(port: int) -> list[str]:
    return [f"http://shop-{number % HOSTS}.test:{port}/{number}.jpg" for number in range(PHOTOGRAPHS)]


def fetch_once(port: int, cache: Path) -> None:
    """Fetch them all; say on stdout how far it is, and at the end what came of it."""
    result = fetch_all(
        urls_of(port),
        cache,
        settings=FetchSettings(concurrency=32, per_host=8, limits=LIMITS),
        network=Network(resolve=lambda host, port: ["127.0.0.1"]),
        on_progress=lambda stage, done, total: print(done, flush=True),
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cost = {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak_megabytes": usage.ru_maxrss // 1024}
    print(json.dumps(result.plain() | cost))


def run_child(port: int, cache: Path, kill_at: int | None = None) -> dict[str, Any]:
    """Run the fetch; kill it without warning once it has settled `kill_at` photographs."""
    command = [sys.executable, __file__, "--port", str(port), "--cache", str(cache)]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line)
            if kill_at is not None and int(line) >= kill_at:
                child.kill()
                break
    assert child.returncode == (0 if kill_at is None else -signal.SIGKILL), child.returncode
    done: dict[str, Any] = json.loads(lines[-1]) if kill_at is None else {"settled_when_killed": len(lines)}
    return done


def check_all(shop: Shop, cache_dir: Path) -> dict[str, int]:
    """Compare every photograph in the cache with the drawn one, and decode it."""
    cache, photographs = PhotographCache(cache_dir), Photographs(cache_dir=cache_dir)
    seen: Counter[str] = Counter()
    for url, drawn in zip(urls_of(shop.server_port), shop.photographs, strict=True):
        link = cache.find(url)
        if link is None or link.digest is None:
            seen["none"] += 1
        else:
            assert photographs.read(url).shape == (384, 384, 3)
            seen["as drawn" if link.digest == hashlib.sha256(drawn).hexdigest() else "other"] += 1
    return dict(seen)


def kill_and_resume(shop: Shop, cache: Path) -> dict[str, Any]:
    """A run that is killed half-way, one that finishes, and one that has nothing to do."""
    port = shop.server_port
    killed = run_child(port, cache, kill_at=PHOTOGRAPHS // 2)
    links = PhotographCache(cache).find_all()
    known = [number for number, url in enumerate(urls_of(port)) if url in links and links[url].digest]
    before = shop.requests.copy()
    resumed = run_child(port, cache)
    after = shop.requests.copy()
    again = run_child(port, cache)
    last = shop.requests.copy()
    return {
        "killed": killed | {"photographs_recorded": len(known)},
        "resumed": resumed,
        "run_again": again,
        "requests": {"first": before.total(), "all": last.total()},
        "requests_of_the_run_again": last.total() - after.total(),
        "recorded_before_the_kill_and_asked_again": sum(last[number] > before[number] for number in known),
        "delivered_whole_twice": sum(count > 1 for count in shop.delivered.values()),
        "in_flight_at_the_kill_at_most": 32,
        "photographs": check_all(shop, cache),
    }


def main() -> None:
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.port:
        fetch_once(given.port, given.cache)
        return
    started = time.monotonic()
    photographs = [draw(number) for number in range(PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory() as scratch:
        with open_shop(photographs, misbehaves=False) as shop:
            done = run_child(shop.server_port, Path(scratch) / "easy")
        with open_shop(photographs, misbehaves=True) as shop:
            hard = kill_and_resume(shop, Path(scratch) / "hard")
    report = {
        "photographs": PHOTOGRAPHS,
        "seconds_per_fetch": LIMITS.seconds,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "behaving_server": {"run": done, "photographs_per_second": round(done["fetched"] / done["seconds"])},
        "misbehaving_server": {"shares_of_200": BEHAVIOUR, **hard},
        "seconds": round(time.monotonic() - started, 1),
    }
    measure.write_results("fetch_photographs", report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
