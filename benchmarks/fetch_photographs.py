"""Claim: photographs are fetched from servers that stall, err, redirect and truncate, and a killed run goes on.

Two thousand drawn photographs on a server of ours on the loopback, under four names; a fixed share of them misbehaves.
A first run is killed (SIGKILL) half-way, a second finishes, a third finds that there is nothing left to do. The server
counts what it was asked for and what it delivered whole, and every photograph is compared with the one that was drawn.

    python benchmarks/fetch_photographs.py      writes benchmarks/results/fetch_photographs.json; takes about a minute
"""

import argparse
import hashlib
import io
import json
import multiprocessing
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from index.photographs.cache import PhotographCache
from index.photographs.fetch import Limits, Network
from index.photographs.fetch_all import FetchSettings, fetch_all
from index.photographs.source import Photographs

PHOTOGRAPHS = 2_000
HOSTS = 4
LIMITS = Limits(seconds=2.0, allow_private_addresses=True)  # the default is 10 s; a stall costs the whole of it
RESULT = Path(__file__).parent / "results" / "fetch_photographs.json"

BEHAVIOUR = {  # what the server does, and to how many of 200 photographs
    "stalls once": 4,
    "stalls always": 1,
    "503 once": 8,
    "500 always": 2,
    "429 once": 2,
    "404": 6,
    "410": 2,
    "redirects": 10,
    "redirects for ever": 1,
    "redirects to a private address": 1,
    "truncates once": 8,
    "truncates always": 1,
    "resets once": 4,
    "sends a web page": 2,
    "declares 11 MB": 1,
}


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


# --- the server, a process of its own --------------------------------------------------------------------------------


class Shop(ThreadingHTTPServer):
    """Holds the drawn photographs, and counts by number."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, misbehaves: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.photographs = [draw(number) for number in range(PHOTOGRAPHS)]
        self.misbehaves = misbehaves
        self.lock = threading.Lock()
        self.asked: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what this is about."""


class Handler(BaseHTTPRequestHandler):
    """`/7.jpg` is a photograph, in its own manner; `/plain/7.jpg` the same without it; `/counts` what was seen."""

    server: Shop

    def do_GET(self) -> None:
        if self.path == "/counts":
            with self.server.lock:
                body = json.dumps({"asked": self.server.asked, "delivered": self.server.delivered}).encode()
            self.reply(200, body)
            return
        number = int(self.path.rpartition("/")[2].removesuffix(".jpg"))
        if self.path.startswith("/plain/"):
            self.deliver(number)
            return
        with self.server.lock:
            self.server.asked[number] += 1
            again = self.server.asked[number] > 1
        behaviour = behaviour_of(number) if self.server.misbehaves else "behaves"
        if behaviour.endswith(" once") and again:
            behaviour = "behaves"
        self.behave(behaviour, number)

    def behave(self, behaviour: str, number: int) -> None:
        what, _, _ = behaviour.partition(" ")
        if behaviour.startswith("redirects"):
            targets = {"redirects": f"/plain/{number}.jpg", "redirects for ever": self.path}
            self.reply(302, b"", location=targets.get(behaviour, "http://169.254.169.254/latest/meta-data/"))
        elif what == "stalls":
            time.sleep(LIMITS.seconds + 0.5)
        elif what.isdecimal():
            self.reply(int(what), b"", retry_after="1" if what == "429" else "")
        elif what == "truncates":
            data = self.server.photographs[number]
            self.reply(200, data[: len(data) // 2], length=len(data))
        elif what == "resets":
            self.connection.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of 0: close by reset
        elif behaviour == "sends a web page":
            self.reply(200, b"<html>sold out</html>")
        elif behaviour == "declares 11 MB":
            self.reply(200, self.server.photographs[number], length=11_000_000)
        else:
            self.deliver(number)

    def deliver(self, number: int) -> None:
        self.reply(200, self.server.photographs[number])
        with self.server.lock:
            self.server.delivered[number] += 1

    def reply(
        self, status: int, body: bytes, length: int | None = None, *, location: str = "", retry_after: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (("Location", location), ("Retry-After", retry_after)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The counts are the log."""


def serve(pipe: Connection, misbehaves: bool) -> None:
    with Shop(misbehaves) as shop:
        pipe.send((shop.server_address[1], [hashlib.sha256(data).hexdigest() for data in shop.photographs]))
        shop.serve_forever()


# --- the fetch, a process of its own, so that it can be killed -------------------------------------------------------


def urls_of(port: int) -> list[str]:
    return [f"http://shop-{number % HOSTS}.test:{port}/{number}.jpg" for number in range(PHOTOGRAPHS)]


def fetch_once(port: int, cache: Path) -> None:
    """Fetch them all; say on stdout how far it is, and at the end what came of it."""
    network = Network(resolve=lambda host, port: ["127.0.0.1"])
    result = fetch_all(
        urls_of(port),
        cache,
        settings=FetchSettings(concurrency=32, per_host=8, limits=LIMITS),
        network=network,
        report=lambda stage, done, total: print(done, flush=True),
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
                child.send_signal(signal.SIGKILL)
                break
    if kill_at is not None:
        assert child.returncode == -signal.SIGKILL, child.returncode
        return {"settled_when_killed": len(lines)}
    assert child.returncode == 0, child.returncode
    done: dict[str, Any] = json.loads(lines[-1])
    return done


def counts(port: int) -> dict[str, dict[str, int]]:
    with urlopen(f"http://127.0.0.1:{port}/counts") as answer:
        seen: dict[str, dict[str, int]] = json.load(answer)
    return seen


def check_all(port: int, cache_dir: Path, digests: list[str]) -> dict[str, int]:
    """Compare every photograph in the cache with the drawn one, and decode it."""
    cache, photographs = PhotographCache(cache_dir), Photographs(cache_dir=cache_dir)
    seen: Counter[str] = Counter()
    for url, digest in zip(urls_of(port), digests, strict=True):
        link = cache.find(url)
        if link is None or link.digest is None:
            seen["none"] += 1
        else:
            assert photographs.read(url).shape == (384, 384, 3)
            seen["as drawn" if link.digest == digest else "other"] += 1
    return dict(seen)


# --- the demonstration -----------------------------------------------------------------------------------------------


def demonstrate(misbehaves: bool, scratch: Path) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(theirs, misbehaves), daemon=True)
    server.start()
    try:
        port, digests = ours.recv()
        cache = scratch / ("hard" if misbehaves else "easy")
        if not misbehaves:
            done = run_child(port, cache)
            return {"run": done, "photographs_per_second": round(done["fetched"] / done["seconds"])}
        return {"shares_of_200": BEHAVIOUR, **kill_and_resume(port, cache, digests)}
    finally:
        server.terminate()
        server.join()


def kill_and_resume(port: int, cache: Path, digests: list[str]) -> dict[str, Any]:
    killed = run_child(port, cache, kill_at=PHOTOGRAPHS // 2)
    known = {url for url, link in PhotographCache(cache).find_all().items() if link.digest}
    before = counts(port)
    resumed = run_child(port, cache)
    after = counts(port)
    again = run_child(port, cache)
    last = counts(port)
    known_numbers = {str(number) for number, url in enumerate(urls_of(port)) if url in known}
    asked_again = {n for n in known_numbers if last["asked"][n] > before["asked"][n]}
    return {
        "killed": killed | {"photographs_recorded": len(known)},
        "resumed": resumed,
        "run_again": again,
        "requests": {"first": sum(before["asked"].values()), "all": sum(last["asked"].values())},
        "requests_of_the_run_again": sum(last["asked"].values()) - sum(after["asked"].values()),
        "recorded_before_the_kill_and_asked_again": len(asked_again),
        "delivered_whole_twice": sum(count > 1 for count in last["delivered"].values()),
        "in_flight_at_the_kill_at_most": 32,
        "photographs": check_all(port, cache, digests),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port:
        fetch_once(options.port, options.cache)
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = {
            "photographs": PHOTOGRAPHS,
            "seconds_per_fetch": LIMITS.seconds,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "behaving_server": demonstrate(False, Path(scratch)),
            "misbehaving_server": demonstrate(True, Path(scratch)),
        }
    found["seconds"] = round(time.monotonic() - started, 1)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
