"""A whole catalogue's photographs: what is tried again, what is remembered, and what a rerun does not ask for."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from index.errors import DataRefused
from index.photographs.cache import STALE_SECONDS, Link, PhotographCache
from index.photographs.fetch import Limits, Network, system_connect
from index.photographs.fetch_all import FetchReport, FetchSettings, Patience, fetch_all
from index.photographs.formats import ImageRefused, Reason
from index.photographs.source import Photographs

OWN = Limits(seconds=60, allow_private_addresses=True)  # none of these servers stalls: a busy machine is no failure
QUICK = Patience(first_wait=0.01, longest_wait=0.05)


def photograph(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """`/ok/7` gives a photograph, `/flaky-503/7` a status the first time, `/always-404/7` every time, and so on."""

    protocol_version = "HTTP/1.1"
    server: "Shop"

    def do_GET(self) -> None:
        count = self.server.enter(self.path)
        kind, _, shade = self.path.strip("/").partition("/")
        name, _, status = kind.partition("-")
        self.server.before_answer(self.path)
        if name == "always" or (name == "flaky" and count == 1):
            self.reply(int(status), b"")
        elif name == "busy" and count == 1:
            self.reply(429, b"", {"Retry-After": status})
        elif name == "short" and count == 1:
            self.reply(200, photograph(1)[:20], {"Content-Length": "70"})
        elif name == "page":
            self.reply(200, b"<html></html>")
        else:
            self.reply(200, photograph(int(shade)))

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Tests are read by people."""


class Shop(ThreadingHTTPServer):
    """Counts what it is asked for. `before_answer(path)` runs before each answer, and may wait."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.asked_at: list[float] = []
        self.before_answer: Callable[[str], object] = lambda path: None

    def enter(self, path: str) -> int:
        """How often this path was asked for, this time included."""
        with self.lock:
            self.asked[path] += 1
            self.asked_at.append(time.monotonic())
            return self.asked[path]

    def urls(self, *paths: str) -> list[str]:
        return [f"http://127.0.0.1:{self.server_address[1]}/{path}" for path in paths]


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def go(urls: Sequence[str], cache: Path, *, retries: int = 2, limits: Limits = OWN) -> FetchReport:
    settings = FetchSettings(retries=retries, limits=limits, patience=QUICK)
    result = fetch_all(urls, cache, settings=settings, jitter=random.Random(0))  # noqa: S311
    assert result.settled == result.urls
    return result


def test_every_url_is_counted_once_by_what_came_of_it(shop: Shop, tmp_path: Path) -> None:
    kinds = ["ok/1", "ok/2", "ok/2", "flaky-503/3", "short/4", "always-500/5", "always-404/6", "always-403/7", "page/8"]
    urls = [*shop.urls(*kinds), "ftp://127.0.0.1/9", "http://[broken/10", f"  {shop.urls('ok/1')[0]}#zoom "]
    result = go(urls, tmp_path)
    assert (result.urls, result.fetched, result.cached) == (10, 4, 0)
    assert result.given_up == {
        Reason.SERVER_ERROR: 1,
        Reason.NOT_FOUND: 1,
        Reason.REFUSED_BY_SERVER: 1,
        Reason.NOT_AN_IMAGE: 1,
        Reason.SCHEME: 1,
        Reason.BAD_URL: 1,
    }
    assert result.retried == {Reason.SERVER_ERROR: 1 + 2, Reason.CUT_SHORT: 1}
    assert result.bytes == sum(len(photograph(shade)) for shade in (1, 2, 3, 4))
    assert shop.asked["/always-500/5"] == 3
    assert shop.asked["/always-404/6"] == shop.asked["/page/8"] == shop.asked["/ok/2"] == 1


def test_a_report_can_be_written_as_json() -> None:
    result = FetchReport(urls=3, fetched=1, given_up=Counter({Reason.EMPTY: 1, Reason.TIMED_OUT: 2}))
    plain = json.loads(json.dumps(result.plain()))
    assert plain["given_up"] == {"timed out": 2, "empty": 1}
    assert set(plain) == {"urls", "fetched", "cached", "given_up", "remembered", "retried", "bytes", "seconds"}


def test_what_was_fetched_is_what_is_read(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("ok/7", "flaky-500/9")
    go(urls, tmp_path)
    photographs = Photographs(cache_dir=tmp_path)
    assert [int(photographs.read(url)[0, 0, 0]) for url in urls] == [7, 9]


def test_a_rerun_asks_only_for_what_may_have_changed(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("ok/1", "always-404/2", "page/3", "always-503/4")
    go(urls, tmp_path)
    shop.asked.clear()
    again = go(urls, tmp_path)
    assert again.cached == 1
    assert again.remembered == {Reason.NOT_FOUND: 1, Reason.NOT_AN_IMAGE: 1}
    assert set(shop.asked) == {"/always-503/4"}


def test_what_was_remembered_is_asked_again_on_demand(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("flaky-404/1")
    assert go(urls, tmp_path).given_up == {Reason.NOT_FOUND: 1}
    assert go(urls, tmp_path).remembered == {Reason.NOT_FOUND: 1}
    assert fetch_all(urls, tmp_path, settings=FetchSettings(limits=OWN, retry_remembered=True)).fetched == 1
    assert go(urls, tmp_path).cached == 1


def test_a_blocked_address_is_remembered_until_private_ones_are_allowed(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("ok/1")
    assert go(urls, tmp_path, limits=Limits()).given_up == {Reason.BLOCKED_ADDRESS: 1}
    assert go(urls, tmp_path, limits=Limits()).remembered == {Reason.BLOCKED_ADDRESS: 1}
    assert not shop.asked
    assert go(urls, tmp_path).fetched == 1


class Connections:
    """Connections as the system makes them, counted by who holds them: a server may be late to see one closed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = self.most_open = 0

    def count(self, change: int) -> None:
        with self.lock:
            self.open += change
            self.most_open = max(self.most_open, self.open)

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.count(1)
        return _Counted(system_connect(address, port, seconds), self)


class _Counted(socket.socket):
    def __init__(self, plain: socket.socket, connections: Connections) -> None:
        super().__init__(fileno=plain.detach())
        self.connections: Connections | None = connections

    def close(self) -> None:
        if self.connections:
            self.connections.count(-1)
        self.connections = None
        super().close()


def test_no_host_gets_more_than_its_share_at_once(shop: Shop, tmp_path: Path) -> None:
    """The server answers three at a time, so that the share must be used up; who would take more has time to."""
    together, connections = threading.Barrier(3, lambda: time.sleep(0.01), timeout=60), Connections()
    shop.before_answer = lambda path: together.wait()
    urls = shop.urls(*(f"ok/{number}" for number in range(24)))
    network = Network(connect=connections.connect)
    result = fetch_all(urls, tmp_path, network=network, settings=FetchSettings(concurrency=12, per_host=3, limits=OWN))
    assert result.fetched == 24
    assert (connections.most_open, connections.open) == (3, 0)


def test_a_busy_host_does_not_hold_up_another(shop: Shop, tmp_path: Path) -> None:
    """All of one host's photographs stand first, and it answers none before the other host was asked for its own."""
    other_is_asked = threading.Event()

    def wait_for_the_other(path: str) -> None:
        if path != "/ok/77":
            other_is_asked.wait(30)
        other_is_asked.set()  # one that waited in vain lets the rest pass, and the test fail

    shop.before_answer = wait_for_the_other
    busy = shop.urls(*(f"ok/{number}" for number in range(12)))
    other = [url.replace("127.0.0.1", "other.test") for url in shop.urls("ok/77")]
    order: list[int] = []
    network = Network(resolve=lambda host, port: ["127.0.0.1"])
    report = lambda stage, done, total: order.append(done)  # noqa: E731
    settings = FetchSettings(concurrency=4, per_host=1, limits=OWN)
    fetch_all([*busy, *other], tmp_path, network=network, on_progress=report, settings=settings)
    assert list(shop.asked).index("/ok/77") < 2
    assert order == list(range(1, 14))


def test_a_host_that_asks_for_a_wait_is_left_alone_for_that_long(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("busy-1/1", *(f"ok/{number}" for number in range(2, 12)))
    result = fetch_all(urls, tmp_path, settings=FetchSettings(concurrency=4, per_host=1, limits=OWN, patience=QUICK))
    assert result.fetched == 11
    assert result.retried == {Reason.TOO_MANY_REQUESTS: 1}
    assert shop.asked_at[1] - shop.asked_at[0] > 0.9


def test_a_wait_longer_than_our_patience_ends_it_for_this_run(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("busy-3600/1")
    result = go(urls, tmp_path)
    assert (result.given_up, result.retried) == ({Reason.TOO_MANY_REQUESTS: 1}, {})
    assert shop.asked == {"/busy-3600/1": 1}
    assert go(urls, tmp_path).fetched == 1


def test_a_host_that_never_answers_is_given_up_on_and_not_remembered(tmp_path: Path) -> None:
    tried: list[str] = []

    def dead(address: str, port: int, seconds: float) -> object:
        tried.append(address)
        raise ConnectionRefusedError

    network = Network(resolve=lambda host, port: ["93.184.216.34"], connect=dead)  # type: ignore[arg-type]
    urls = [f"https://dead.test/{number}" for number in range(500)]
    patience = Patience(first_wait=0.01, silence=20)
    result = fetch_all(urls, tmp_path, network=network, settings=FetchSettings(patience=patience))
    assert result.given_up[Reason.HOST_SILENT] > 400
    assert len(tried) < 20 + 16
    again = fetch_all(urls[:1], tmp_path, network=network, settings=FetchSettings(patience=patience))
    assert again.given_up == {Reason.CONNECTION_FAILED: 1}


def test_a_name_is_looked_up_once_for_many_photographs(shop: Shop, tmp_path: Path) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    urls = [url.replace("127.0.0.1", "shop.test") for url in shop.urls(*(f"ok/{number}" for number in range(20)))]
    result = fetch_all(
        urls, tmp_path, network=Network(resolve=resolve), settings=FetchSettings(concurrency=2, limits=OWN)
    )
    assert result.fetched == 20
    assert len(asked) <= 2  # two threads may both be the first


def test_waits_grow_and_are_spread() -> None:
    jitter, patience = random.Random(0), Patience(first_wait=1, factor=2, longest_wait=10)  # noqa: S311
    for attempt, most in enumerate((1, 2, 4, 8, 10, 10)):
        waits = {patience.wait(attempt, jitter) for _ in range(50)}
        assert most / 2 <= min(waits) < max(waits) <= most
        assert len(waits) == 50


# --- interruption ----------------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from index.photographs.fetch_all import FetchSettings, fetch_all
from index.photographs.fetch import Limits
urls = [sys.argv[2] + str(number) for number in range(200)]
report = lambda stage, done, total: print(done, flush=True)
limits = Limits(seconds=60, allow_private_addresses=True)
fetch_all(urls, Path(sys.argv[1]), on_progress=report, settings=FetchSettings(concurrency=4, per_host=4, limits=limits))
"""


def test_a_killed_run_is_resumed_without_a_second_download(shop: Shop, tmp_path: Path) -> None:
    killed = threading.Event()
    shop.before_answer = lambda path: len(shop.asked) <= 40 or killed.wait(60)
    base = shop.urls("ok/")[0]
    command = [sys.executable, "-c", CHILD, str(tmp_path), base]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as child:
        assert child.stdout is not None
        settled = 0
        while settled < 20:
            settled = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
    killed.set()
    known = PhotographCache(tmp_path).find_all()
    assert 20 <= len(known) <= 40

    urls = [base + str(number) for number in range(200)]
    result = go(urls, tmp_path)
    assert (result.cached, result.fetched) == (len(known), 200 - len(known))
    twice = [path for path, count in shop.asked.items() if count > 1]
    assert len(twice) <= 4  # those in flight at the kill, and no other
    assert not any(f"http://127.0.0.1:{shop.server_address[1]}{path}" in known for path in twice)


def test_an_interrupt_loses_nothing_that_was_reported(shop: Shop, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int | None) -> None:
        if done == 10:
            raise KeyboardInterrupt

    urls = shop.urls(*(f"ok/{number}" for number in range(40)))
    with pytest.raises(KeyboardInterrupt):
        fetch_all(urls, tmp_path, on_progress=interrupt, settings=FetchSettings(limits=OWN))
    assert go(urls, tmp_path).cached >= 10


# --- the cache -------------------------------------------------------------------------------------------------------


def test_two_urls_of_one_photograph_share_it(shop: Shop, tmp_path: Path) -> None:
    go(shop.urls("ok/5", "also/5"), tmp_path)
    assert len([path for path in tmp_path.glob("??/*") if path.is_file()]) == 1


def test_a_photograph_gone_from_the_cache_is_fetched_again(shop: Shop, tmp_path: Path) -> None:
    urls = shop.urls("ok/5")
    go(urls, tmp_path)
    for path in tmp_path.glob("??/*"):
        path.unlink()
    assert go(urls, tmp_path).fetched == 1


@pytest.mark.parametrize("data", [b"", photograph(6), photograph(5)[:-1]])
def test_a_photograph_that_was_damaged_in_the_cache_is_fetched_again_once_it_was_read(
    shop: Shop, tmp_path: Path, data: bytes
) -> None:
    """An empty one, such as a power cut leaves, at once."""
    [url] = shop.urls("ok/5")
    go([url], tmp_path)
    [path] = tmp_path.glob("??/*")
    path.write_bytes(data)
    if data:
        assert go([url], tmp_path).cached == 1
        with pytest.raises(ImageRefused, match="not fetched"):
            Photographs(cache_dir=tmp_path).read(url)
    assert go([url], tmp_path).fetched == 1
    assert Photographs(cache_dir=tmp_path).read_bytes(url) == photograph(5)
    assert go([url], tmp_path).cached == 1


def test_what_a_kill_left_half_written_is_swept_up_once_it_is_old(tmp_path: Path) -> None:
    cache = PhotographCache(tmp_path)
    cache.write(photograph(1))
    old, new = tmp_path / "partial/old.partial", tmp_path / "partial/new.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - STALE_SECONDS - 9,) * 2)
    fetch_all([], tmp_path)
    assert not old.exists()
    assert new.exists()


def test_a_passing_failure_is_not_remembered_and_a_lasting_one_is(tmp_path: Path) -> None:
    cache = PhotographCache(tmp_path)
    with closing(cache.connect()) as links:
        cache.record_refusal(links, "http://a.test/1", Reason.TIMED_OUT)
        cache.record_refusal(links, "http://a.test/2", Reason.NOT_FOUND)
        cache.record(links, "http://a.test/3", cache.write(photograph(3)))
    assert cache.find("http://a.test/1") is None
    assert cache.find("http://a.test/2") == Link("http://a.test/2", None, Reason.NOT_FOUND)
    found = cache.find("http://a.test/3")
    assert found is not None
    assert found.digest is not None
    assert cache.read(found.digest) == photograph(3)


def test_many_threads_may_use_one_cache(tmp_path: Path) -> None:
    cache = PhotographCache(tmp_path)

    def work(start: int) -> None:
        for shade in range(start, start + 25):
            with closing(cache.connect()) as links:
                cache.record(links, f"http://a.test/{shade}", cache.write(photograph(shade % 10)))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.find_all()) == 100


@pytest.mark.parametrize("obstacle", ["file in the way", "not a database"])
def test_a_cache_that_cannot_be_used_says_what_to_do(tmp_path: Path, obstacle: str) -> None:
    folder = tmp_path / "cache"
    if obstacle == "file in the way":
        folder.write_text("here")
    else:
        folder.mkdir()
        (folder / "photographs.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataRefused, match="cannot be used"):
        fetch_all([], folder)


def test_links_that_are_damaged_are_refused_with_what_to_do(tmp_path: Path) -> None:
    cache = PhotographCache(tmp_path)
    with closing(cache.connect()) as links:
        for shade in range(2_000):
            cache.record(links, f"http://a.test/{shade}", "00" * 32)
        links.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file = tmp_path / "photographs.sqlite"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096))
    for read in (cache.find_all, lambda: cache.find("http://a.test/7")):
        with pytest.raises(DataRefused, match=r"cannot be used \(.*\): mend that, or remove the folder"):
            read()


READ_AS_ANOTHER = """
import os, sys
from pathlib import Path
from index.photographs.cache import PhotographCache
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
cache = PhotographCache(Path(sys.argv[1]))
link = cache.find("http://a.test/1")
print(link is not None and cache.read(link.digest) is not None, len(cache.find_all()), cache.find("http://a.test/2"))
"""


def test_photographs_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as given:  # pytest's own folder is closed to other users
        folder = Path(given) / "cache"
        Path(given).chmod(0o755)
        cache = PhotographCache(folder)
        with closing(cache.connect()) as links:
            cache.record(links, "http://a.test/1", cache.write(photograph(3)))
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        try:
            answer = subprocess.run(
                [sys.executable, "-c", READ_AS_ANOTHER, str(folder)], capture_output=True, text=True, check=False
            )
        finally:
            for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                path.chmod(0o755)
    assert (answer.returncode, answer.stdout) == (0, "True 1 None\n"), answer.stderr
