"""Batches of requests: what arrives while a batch is priced waits, and is then priced together.

One thread owns the pricers and prices one batch after another. The event loop alone touches the queue, whose length has
an end; a request that has waited too long, or whose client has left, is never begun.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from engine.serving.pricer import Item, Pricer, Quote, Selection
from engine.settings.schema import CorrectionParameters, with_overrides
from web.metrics import Metrics
from web.pricing.indexes import ServedIndex
from web.pricing.photographs import GivenPhotographs, Pixels
from web.problems import Busy, Problem
from web.settings import Limits

FIRST_GUESS = 0.05  # seconds an item takes, before any was measured
GATHERING = 0.25  # share of the last batch's time that the next one waits to be as full
SMOOTHING = 0.1  # share of the newest batch in what an item is held to take


@dataclass(frozen=True)
class Manner:
    """Manner of pricing that requests of one batch share."""

    index: str
    answer: str
    overrides: tuple[tuple[str, float], ...] = ()  # k, band, decay, alpha in the place of the index's own
    without: tuple[str, ...] = ()  # ids of comparables that are left out
    only: tuple[str, ...] = ()  # and of those that are pinned


@dataclass(frozen=True)
class Answer:
    """Quotes for the items of a request, and what they were priced by."""

    quotes: Sequence[Quote]
    pricer: Pricer
    correction: CorrectionParameters

    @property
    def generation(self) -> str:
        """Name of the generation that priced all of them."""
        return self.pricer.folder.name


@dataclass(eq=False)
class _Waiting:
    manner: Manner
    items: Sequence[Item]
    photographs: Mapping[str, Pixels]
    answered: asyncio.Future[Answer]
    ends: float = field(default=0.0)  # on the monotonic clock


class Batcher:
    """The queue and the thread behind it. Used on one event loop, between `start` and `stop`."""

    def __init__(self, indexes: Mapping[str, ServedIndex], limits: Limits, metrics: Metrics) -> None:
        self.indexes, self._limits, self._metrics = indexes, limits, metrics
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0  # items in the queue and at work
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "pricing")
        self._task: asyncio.Task[None] | None = None
        self._seconds_an_item = FIRST_GUESS
        self._last_requests, self._last_seconds = 0, 0.0

    def start(self) -> None:
        """Begin to price."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the batch at work; what waits is refused."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiting in self._queue:
            waiting.answered.cancel()
        self._thread.shutdown(wait=True)

    async def price(self, manner: Manner, items: Sequence[Item], photographs: Mapping[str, Pixels]) -> Answer:
        """Price items together with those of others. Raises Busy, Problem and PriceError."""
        if busy := self.full(len(items)):
            raise busy
        waiting = _Waiting(manner, items, photographs, asyncio.get_running_loop().create_future())
        waiting.ends = time.monotonic() + self._limits.seconds
        self._queue.append(waiting)
        self._count(len(items))
        self._arrived.set()
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await waiting.answered
        except TimeoutError:
            self._metrics.refused.labels("too late").inc()
            raise Problem(503, "The answer took too long: send less, or try again.", headers=LATER) from None
        finally:
            self._count(-len(items))

    def full(self, more: int = 1) -> Busy | None:
        """Return the refusal of so many more items, None where there is room; where nothing waits, there always is."""
        if not self._waiting or self._waiting + more <= self._limits.waiting_items:
            return None
        self._metrics.refused.labels("queue full").inc()
        return Busy(self._waiting * self._seconds_an_item)

    def _count(self, items: int) -> None:
        self._waiting += items
        self._metrics.waiting.set(self._waiting)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            for manner, group in self._next():
                began = time.monotonic()
                outcomes = await self._outcomes(self.indexes[manner.index].pricer, manner, group)
                for waiting, outcome in zip(group, outcomes, strict=True):
                    _tell(waiting.answered, outcome)
                self._measure(group, time.monotonic() - began)

    async def _gather(self) -> None:
        """Wait a moment for as many as were answered together: most of them ask again, and a fuller batch costs less.

        After a batch of one request there is no wait.
        """
        ends = time.monotonic() + GATHERING * self._last_seconds
        while 1 < self._last_requests > len(self._queue) and time.monotonic() < ends:
            await asyncio.sleep(0.001)

    async def _outcomes(self, pricer: Pricer, manner: Manner, group: Sequence[_Waiting]) -> list[Outcome]:
        """Price the items of all requests at once; where that fails, request by request, to find whose fault it is."""
        call = asyncio.get_running_loop().run_in_executor(self._thread, _priced, pricer, manner, group)
        (result,) = await asyncio.gather(call, return_exceptions=True)
        if not isinstance(result, BaseException):
            return list(result)
        if len(group) == 1:
            return [result]
        return [(await self._outcomes(pricer, manner, [waiting]))[0] for waiting in group]

    def _next(self) -> list[tuple[Manner, list[_Waiting]]]:
        """Take what waits longest, as much as makes a batch, and sort it by the manner of pricing."""
        batch: list[_Waiting] = []
        items, now = 0, time.monotonic()
        while self._queue and (not batch or items + len(self._queue[0].items) <= self._limits.batch_items):
            waiting = self._queue.popleft()
            if not waiting.answered.done() and waiting.ends > now:
                batch.append(waiting)
                items += len(waiting.items)
        if not self._queue:
            self._arrived.clear()
        places = {manner: place for place, manner in enumerate(dict.fromkeys(waiting.manner for waiting in batch))}
        batch.sort(key=lambda waiting: places[waiting.manner])
        return [(manner, list(group)) for manner, group in groupby(batch, key=lambda waiting: waiting.manner)]

    def _measure(self, group: Sequence[_Waiting], seconds: float) -> None:
        items = sum(len(waiting.items) for waiting in group)
        self._last_requests, self._last_seconds = len(group), seconds
        self._seconds_an_item += SMOOTHING * (seconds / items - self._seconds_an_item)
        self._metrics.batch_items.observe(items)
        self._metrics.batch_seconds.observe(seconds)


LATER = {"Retry-After": "5"}
Outcome = Answer | BaseException


def _priced(pricer: Pricer, manner: Manner, group: Sequence[_Waiting]) -> list[Answer]:
    correction = with_overrides(pricer.correction, **dict(manner.overrides))
    items = [item for waiting in group for item in waiting.items]
    pixels = {name: image for waiting in group for name, image in waiting.photographs.items()}
    quotes = iter(
        pricer.price(
            items,
            correction=correction,
            photographs=GivenPhotographs(pixels),
            answer=manner.answer,
            selection=Selection(manner.without, manner.only),
        )
    )
    return [Answer([next(quotes) for _ in waiting.items], pricer, correction) for waiting in group]


def _tell(answered: asyncio.Future[Answer], outcome: Outcome) -> None:
    if answered.done():  # its client has left
        return
    if isinstance(outcome, BaseException):
        answered.set_exception(outcome)
    else:
        answered.set_result(outcome)
