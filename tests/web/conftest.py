"""A real server on a loopback port, over the shop's index, and a client for it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest
import uvicorn

from web.app import create_app
from web.pricing.indexes import ServedIndex
from web.serve import listen
from web.settings import Limits, ServeSettings

Serve = Callable[..., contextlib.AbstractContextManager[httpx2.Client]]
Told = TypeVar("Told")
PATIENCE = 600.0  # seconds after which what has not come is taken to be never coming, however busy the machine


def until(tell: Callable[[], Told]) -> Told:
    """Ask until the answer is true, or for so long that it will not be; the last answer."""
    ends = time.monotonic() + PATIENCE
    while not (told := tell()) and time.monotonic() < ends:
        time.sleep(0.02)
    return told


@pytest.fixture(scope="session")
def opened(shop: Any) -> ServedIndex:
    """The shop's index, open once for all servers that do not follow it."""
    return ServedIndex.open("shop", str(shop.index))


@pytest.fixture(scope="session")
def serve(shop: Any, opened: ServedIndex) -> Serve:
    """`serve(limits, **settings)`: a client of a server of the shop's index, which has time unless `limits` say so.

    Beside it, `other` is an index of that name.
    """

    @contextlib.contextmanager
    def start(
        limits: Limits | None = None, *, index: ServedIndex = opened, other: ServedIndex | None = None, **given: Any
    ) -> Iterator[httpx2.Client]:
        indexes = {"shop": index} | ({"other": other} if other else {})
        settings = ServeSettings(
            indexes=tuple((name, str(served.folder)) for name, served in indexes.items()),
            image_dir=str(shop.images),
            limits=limits or Limits(seconds=PATIENCE),
            **given,
        )
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(create_app(settings, indexes), log_config=None, access_log=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx2.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
            listener.close()

    return start


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[httpx2.Client]:
    """A client of a server with the usual settings."""
    with serve() as client:
        yield client
