"""Fetching of a whole catalogue's photographs, and the account of what came of it.

They are fetched concurrently, a few at a time from any one host. What can succeed later is tried again, later and
later, with jitter so that the tries do not fall in step; what cannot is remembered, and a rerun does not ask. One
thread decides and records; the others each run `index.photographs.fetch.fetch`, the same code that fetches the
photograph of a query.
"""

import heapq
import random
import sqlite3
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from index.photographs.cache import PhotographCache, key
from index.photographs.fetch import LIMITS, SYSTEM, FetchRefused, Limits, Network, fetch
from index.photographs.formats import ImageRefused, Reason
from index.progress import OnProgress, silent

UNANSWERED = frozenset({Reason.TIMED_OUT, Reason.CONNECTION_FAILED, Reason.HOST_NOT_FOUND})
"""Reasons by which the host said nothing at all."""

RETRIED = UNANSWERED | {Reason.CUT_SHORT, Reason.EMPTY, Reason.TOO_MANY_REQUESTS, Reason.SERVER_ERROR}
"""Reasons that may pass in a moment."""

NAME_SECONDS = 60.0
"""Seconds that a run believes a look-up before it asks again. Every connection checks the addresses all the same."""


@dataclass(frozen=True)
class Patience:
    """Patience of a bulk fetch: seconds before it tries a photograph again, and when it stops asking a host."""

    first_wait: float = 0.5
    factor: float = 2.0
    longest_wait: float = 30.0
    longest_retry_after: float = 60.0  # a server that asks for more in Retry-After is given up on, for this run
    silence: int = 50  # attempts without any answer, one after another, after which a host is given up on, for this run

    def wait(self, attempt: int, jitter: random.Random) -> float:
        """Draw a wait between half and all of `first_wait * factor ** attempt` seconds, at most `longest_wait`."""
        return min(self.longest_wait, self.first_wait * self.factor**attempt) * jitter.uniform(0.5, 1.0)


@dataclass(frozen=True)
class FetchSettings:
    """Settings of a bulk fetch."""

    concurrency: int = 16  # photographs at a time
    per_host: int = 8  # of them, from any one host
    retries: int = 3  # attempts after the first
    retry_remembered: bool = False  # ask again for what an earlier run gave up for good
    limits: Limits = LIMITS  # of each fetch
    patience: Patience = Patience()


DEFAULTS = FetchSettings()


@dataclass
class FetchReport:
    """Account of every URL: `urls` is the sum of `fetched`, `cached`, `given_up` and `remembered`."""

    urls: int = 0  # different ones
    fetched: int = 0
    cached: int = 0  # were here already
    given_up: Counter[Reason] = field(default_factory=Counter)  # in this run
    remembered: Counter[Reason] = field(default_factory=Counter)  # refused for good by an earlier run, not asked again
    retried: Counter[Reason] = field(default_factory=Counter)  # attempts that were followed by another
    bytes: int = 0
    seconds: float = 0.0

    @property
    def settled(self) -> int:
        """URLs whose outcome is known; in the end, all of them."""
        return self.fetched + self.cached + self.given_up.total() + self.remembered.total()

    def plain(self) -> dict[str, int | float | dict[str, int]]:
        """Return the counts as JSON can hold them, the most frequent reason first."""
        counted = {name: getattr(self, name) for name in ("given_up", "remembered", "retried")}
        return {
            **{name: getattr(self, name) for name in ("urls", "fetched", "cached", "bytes")},
            **{name: {str(reason): n for reason, n in counter.most_common()} for name, counter in counted.items()},
            "seconds": round(self.seconds, 3),
        }


def fetch_all(
    urls: Iterable[str],
    cache_dir: Path,
    *,
    settings: FetchSettings = DEFAULTS,
    on_progress: OnProgress = silent,
    network: Network = SYSTEM,
    jitter: random.Random | None = None,
) -> FetchReport:
    """Fetch every photograph that the cache does not hold, and say what came of each. No URL raises.

    `urls` may repeat. A run that was killed is continued by the same call. Progress has the stage "photographs".
    Raises DataRefused where the cache cannot be used.
    """
    started = time.monotonic()
    cache = PhotographCache(cache_dir)
    result = FetchReport()
    line = _Line(_unsettled(urls, cache, result, settings), settings.per_host)
    cache.sweep()
    network = replace(network, resolve=_Names(network.resolve))
    jitter = jitter or random.Random()  # noqa: S311 - spreads load, hides nothing
    with closing(cache.connect()) as links, ThreadPoolExecutor(settings.concurrency, "fetch") as pool:
        running: dict[Future[_Outcome], _Link] = {}
        while running or line.next_due() is not None:
            while len(running) < settings.concurrency and (link := line.take()):
                running[pool.submit(_attempt, link, cache, settings, network)] = link
            for future in _finished(running, line, settings.concurrency):
                link, outcome = running.pop(future), future.result()
                line.leave(link, outcome)
                delay = _delay(link, outcome, settings, jitter)
                if outcome.refusal is not None and delay is not None:
                    result.retried[outcome.refusal.reason] += 1
                    line.again(link, delay, whole_host=outcome.asked_to_wait is not None)
                else:
                    _record(link, outcome, cache, links, result)
                    on_progress("photographs", result.settled, result.urls)
    result.seconds = time.monotonic() - started
    return result


def _unsettled(urls: Iterable[str], cache: PhotographCache, result: FetchReport, settings: FetchSettings) -> list[str]:
    """The URLs that must be asked for; the others are counted into `result`."""
    known, allow_private = cache.find_all(), settings.limits.allow_private_addresses
    unsettled = []
    for url in dict.fromkeys(map(key, urls)):
        result.urls += 1
        link = known.get(url)
        if link and link.digest and cache.has(link.digest):
            result.cached += 1
        elif link and link.reason and not settings.retry_remembered and link.stands(allow_private):
            result.remembered[link.reason] += 1
        else:
            unsettled.append(url)
    return unsettled


@dataclass
class _Host:
    """One server: how many of its photographs are under way, and how it has been answering."""

    active: int = 0
    rests_until: float = 0.0
    silence: int = 0  # attempts without an answer since the last answer
    parked: deque["_Link"] = field(default_factory=deque)  # due, but the host is busy


@dataclass(order=True)
class _Link:
    """One URL that waits until the moment `due`; ties go by the catalogue's order."""

    due: float
    number: int
    url: str = field(compare=False)
    host: _Host = field(compare=False)
    attempt: int = field(default=0, compare=False)


@dataclass(frozen=True)
class _Outcome:
    """Result of one attempt: a photograph by its hash, or a refusal."""

    digest: str = ""
    size: int = 0
    refusal: ImageRefused | None = None

    @property
    def asked_to_wait(self) -> float | None:
        """Seconds, where the server named them."""
        return self.refusal.retry_after if isinstance(self.refusal, FetchRefused) else None


class _Line:
    """Queue in which URLs wait for their moment and for a place at their host."""

    def __init__(self, urls: Sequence[str], per_host: int) -> None:
        self._per_host = per_host
        hosts: defaultdict[str, _Host] = defaultdict(_Host)
        self._waiting = [_Link(0.0, number, url, hosts[_host_name(url)]) for number, url in enumerate(urls)]

    def next_due(self) -> float | None:
        """Return when the next URL may be tried; None when all that wait do so for a busy host."""
        return self._waiting[0].due if self._waiting else None

    def take(self) -> _Link | None:
        """Take the next URL that is due and whose host has a place free."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].due <= now:
            link = heapq.heappop(self._waiting)
            if link.host.rests_until > now:
                link.due = link.host.rests_until
                heapq.heappush(self._waiting, link)
            elif link.host.active >= self._per_host:
                link.host.parked.append(link)
            else:
                link.host.active += 1
                return link
        return None

    def leave(self, link: _Link, outcome: _Outcome) -> None:
        """Give the place at the host to the next that waits for it."""
        host = link.host
        host.active -= 1
        unanswered = outcome.refusal is not None and outcome.refusal.reason in UNANSWERED | {Reason.HOST_SILENT}
        host.silence = host.silence + 1 if unanswered else 0
        if host.parked:
            heapq.heappush(self._waiting, host.parked.popleft())

    def again(self, link: _Link, delay: float, *, whole_host: bool) -> None:
        """Try this URL again after `delay`; a host that asked for the wait is left alone altogether."""
        link.attempt += 1
        link.due = time.monotonic() + delay
        if whole_host:
            link.host.rests_until = max(link.host.rests_until, link.due)
        heapq.heappush(self._waiting, link)


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class _Names:
    """Look-ups, remembered for a minute: a catalogue's photographs lie on few hosts."""

    def __init__(self, resolve: Callable[[str, int], Sequence[str]]) -> None:
        self._resolve = resolve
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}

    def __call__(self, host: str, port: int) -> Sequence[str]:
        good_until, addresses = self._known.get((host, port), (0.0, ()))
        if time.monotonic() >= good_until:
            addresses = self._resolve(host, port)
            self._known[host, port] = time.monotonic() + NAME_SECONDS, addresses
        return addresses


def _attempt(link: _Link, cache: PhotographCache, settings: FetchSettings, network: Network) -> _Outcome:
    """Fetch one photograph into the cache; runs in a thread of the pool."""
    if link.host.silence >= settings.patience.silence:
        return _Outcome(refusal=FetchRefused(Reason.HOST_SILENT))
    try:
        data = fetch(link.url, limits=settings.limits, network=network)
    except ImageRefused as refusal:
        return _Outcome(refusal=refusal)
    return _Outcome(cache.write(data), len(data))


def _finished(running: Mapping[Future[_Outcome], _Link], line: _Line, concurrency: int) -> Collection[Future[_Outcome]]:
    """Wait until an attempt is done or, with hands free, until the next one is due."""
    due = line.next_due()
    pause = None if due is None or len(running) >= concurrency else max(0.0, due - time.monotonic())
    if running:
        return wait(running, pause, FIRST_COMPLETED).done
    time.sleep(pause or 0.0)
    return ()


def _delay(link: _Link, outcome: _Outcome, settings: FetchSettings, jitter: random.Random) -> float | None:
    """Seconds until another attempt; None when this one is the last."""
    if outcome.refusal is None or outcome.refusal.reason not in RETRIED or link.attempt >= settings.retries:
        return None
    wait_for = settings.patience.wait(link.attempt, jitter)
    if outcome.asked_to_wait is None:
        return wait_for
    return outcome.asked_to_wait + wait_for if outcome.asked_to_wait <= settings.patience.longest_retry_after else None


def _record(
    link: _Link, outcome: _Outcome, cache: PhotographCache, links: sqlite3.Connection, result: FetchReport
) -> None:
    """Record what came of a URL, and count it."""
    if outcome.refusal is None:
        cache.record(links, link.url, outcome.digest)
        result.fetched += 1
        result.bytes += outcome.size
    else:
        cache.record_refusal(links, link.url, outcome.refusal.reason)
        result.given_up[outcome.refusal.reason] += 1
