"""Claims about batches: what waits is priced together, the queue has an end, and no batch is of two generations."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.serving.pricer import Item
from engine.settings.schema import CorrectionParameters
from index.errors import DataRefused
from tests.web.conftest import PATIENCE
from web.metrics import Metrics
from web.pricing.batches import Answer, Batcher, Manner
from web.pricing.indexes import ServedIndex
from web.problems import Busy, Problem
from web.settings import Limits

MANNER = Manner("shop", "median", ())
WIDE = Manner("shop", "median", (("band", 2.0),))
PATIENT = Limits(seconds=PATIENCE)


@dataclass
class FakePricer:
    """A pricer whose quote of an item is its text, its generation and its band; it stands still until let go."""

    generation: str = "gen-000001"
    batches: list[list[str]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.folder = Path(self.generation)
        self.correction = CorrectionParameters(k=4, band=1.0, decay=5.0, alpha=0.5)

    def price(self, items: Sequence[Item], *, correction: CorrectionParameters, **_: Any) -> list[Any]:
        self.batches.append([item.text for item in items])
        self.began.set()
        assert self.free.wait(PATIENCE)
        if any(item.text == "refused" for item in items):
            raise DataRefused("Item 1 has no text.")
        if any(item.text == "fault" for item in items):
            raise ZeroDivisionError
        return [SimpleNamespace(text=item.text, of=self.generation, band=correction.band) for item in items]


def batcher_of(pricer: FakePricer, limits: Limits) -> tuple[Batcher, ServedIndex]:
    index = ServedIndex("shop", Path("nowhere"), pricer, True)  # type: ignore[arg-type]
    return Batcher({"shop": index}, limits, Metrics()), index


async def first_at_work(batcher: Batcher, pricer: FakePricer) -> "asyncio.Task[Answer]":
    """A request that is being priced while others come."""
    task = asyncio.create_task(batcher.price(MANNER, [Item("first")], {}))
    assert await asyncio.to_thread(pricer.began.wait, PATIENCE)
    return task


def run(coroutine: Any, pricer: FakePricer, limits: Limits | None = None) -> Any:
    """Run `coroutine(batcher, index)` with a batcher that is started and stopped."""

    async def whole() -> Any:
        batcher, index = batcher_of(pricer, limits or PATIENT)
        batcher.start()
        try:
            return await coroutine(batcher, index)
        finally:
            pricer.free.set()
            await batcher.stop()

    return asyncio.run(whole())


def test_what_arrives_while_a_batch_is_priced_is_priced_together() -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> list[str]:
        first = await first_at_work(batcher, pricer)
        others = [asyncio.create_task(batcher.price(MANNER, [Item(f"item {n}")], {})) for n in range(5)]
        await asyncio.sleep(0)
        pricer.free.set()
        return [(await task).quotes[0].text for task in (first, *others)]  # type: ignore[attr-defined]

    texts = [f"item {n}" for n in range(5)]
    assert run(ask, pricer) == ["first", *texts]
    assert pricer.batches == [["first"], texts]


def test_a_batch_has_an_end_and_one_manner() -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> list[float]:
        await first_at_work(batcher, pricer)
        manners = [MANNER, WIDE, MANNER, WIDE, MANNER]
        tasks = [asyncio.create_task(batcher.price(m, [Item(f"{n}")], {})) for n, m in enumerate(manners)]
        await asyncio.sleep(0)
        pricer.free.set()
        return [(await task).quotes[0].band for task in tasks]  # type: ignore[attr-defined]

    assert run(ask, pricer, replace(PATIENT, batch_items=4)) == [1.0, 2.0, 1.0, 2.0, 1.0]
    assert pricer.batches == [["first"], ["0", "2"], ["1", "3"], ["4"]]


def test_a_full_queue_turns_away_with_a_time_to_wait_and_takes_again_when_it_is_empty() -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> None:
        first = await first_at_work(batcher, pricer)
        second = asyncio.create_task(batcher.price(MANNER, [Item("a"), Item("b")], {}))
        await asyncio.sleep(0)
        with pytest.raises(Busy) as busy:
            await batcher.price(MANNER, [Item("c")], {})
        assert busy.value.status_code == 429
        assert busy.value.headers is not None and int(busy.value.headers["Retry-After"]) >= 1
        pricer.free.set()
        await asyncio.gather(first, second)
        await batcher.price(MANNER, [Item("c")], {})

    run(ask, pricer, replace(PATIENT, waiting_items=3))


def test_an_answer_that_comes_too_late_is_not_waited_for_and_never_begun() -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> None:
        tasks = [await first_at_work(batcher, pricer), asyncio.create_task(batcher.price(MANNER, [Item("late")], {}))]
        await asyncio.sleep(0)
        later = time.monotonic() + PATIENT.seconds
        asyncio.get_running_loop().time = lambda: later  # type: ignore[method-assign]
        for task in tasks:
            with pytest.raises(Problem, match="took too long"):
                await task
        pricer.free.set()
        await batcher.price(MANNER, [Item("again")], {})

    run(ask, pricer)
    assert pricer.batches == [["first"], ["again"]]


@pytest.mark.parametrize(("text", "error"), [("refused", DataRefused), ("fault", ZeroDivisionError)])
def test_what_is_wrong_with_a_request_harms_none_that_it_is_priced_with(text: str, error: type[Exception]) -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> list[Any]:
        await first_at_work(batcher, pricer)
        tasks = [asyncio.create_task(batcher.price(MANNER, [Item(item)], {})) for item in ("tea", text, "rope")]
        await asyncio.sleep(0)
        pricer.free.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    tea, wrong, rope = run(ask, pricer)
    assert (tea.quotes[0].text, rope.quotes[0].text) == ("tea", "rope")
    assert isinstance(wrong, error)


def test_a_batch_at_work_keeps_its_generation_and_the_next_has_the_new_one() -> None:
    pricer, newer = FakePricer(), FakePricer("gen-000002")
    newer.free.set()

    async def ask(batcher: Batcher, index: ServedIndex) -> tuple[Answer, Answer]:
        first = await first_at_work(batcher, pricer)
        second = asyncio.create_task(batcher.price(MANNER, [Item("a"), Item("b")], {}))
        await asyncio.sleep(0)
        index.swap(newer, True, "")  # type: ignore[arg-type]
        pricer.free.set()
        return await first, await second

    first, second = run(ask, pricer)
    assert (first.generation, second.generation) == ("gen-000001", "gen-000002")
    assert {quote.of for quote in second.quotes} == {"gen-000002"}


def test_a_client_that_left_is_not_priced() -> None:
    pricer = FakePricer()

    async def ask(batcher: Batcher, _: ServedIndex) -> None:
        first = await first_at_work(batcher, pricer)
        left = asyncio.create_task(batcher.price(MANNER, [Item("left")], {}))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        pricer.free.set()
        await first
        await batcher.price(MANNER, [Item("next")], {})

    run(ask, pricer)
    assert pricer.batches == [["first"], ["next"]]
