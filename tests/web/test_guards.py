"""Claims about the guards: who may come in, how much of a body, and what every answer forbids a browser."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from index.errors import UsageError
from tests.web.conftest import PATIENCE, until
from web.pricing.photographs import PhotographReader
from web.problems import Busy
from web.settings import Limits, named_indexes, required_token

BODY = {"items": [{"text": "green tea, 20 bags"}]}
TOKEN = "a secret of many characters"


def detail(answer: httpx2.Response, status: int) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "a b"])
def test_a_host_that_is_not_ours_gets_no_answer(host: str, client: httpx2.Client) -> None:
    assert client.get("/v1/index", headers={"Host": host}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]:8000", "192.0.2.7"])
def test_our_names_and_any_address_are_let_in(host: str, client: httpx2.Client) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_name_that_was_given_is_ours(serve: Any) -> None:
    with serve(hosts=("prices.example",)) as client:
        assert client.get("/healthz", headers={"Host": "prices.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_post(headers: dict[str, str], client: httpx2.Client) -> None:
    assert "another site" in detail(client.post("/v1/quotes", json=BODY, headers=headers), 403)
    assert client.post("/", data={"text": "tea"}, headers=headers).status_code == 403


def test_our_own_pages_can_post(client: httpx2.Client) -> None:
    own = {"Origin": f"http://{client.base_url.netloc.decode()}", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/quotes", json=BODY, headers=own).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/v1/index", 200), ("/static/page.css", 200), ("/no", 404)])
def test_every_answer_forbids_what_is_of_others(path: str, status: int, client: httpx2.Client) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.fixture(scope="module")
def shut(serve: Any) -> Iterator[httpx2.Client]:
    with serve(token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", f"Bearer {TOKEN}x", "Bearer tea", "Basic !", "Basic YTpi", "Digest x", "Bearer é"],
)
def test_without_the_token_nothing_is_told(authorization: str | None, shut: httpx2.Client) -> None:
    headers = {"Authorization": authorization.encode()} if authorization else {}
    for path in ("/", "/v1/index", "/metrics", "/docs", "/static/page.css", "/no"):
        answer = shut.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert shut.get("/healthz").status_code == shut.get("/readyz").status_code == 200


def test_a_body_without_the_token_is_not_read_to_its_end(shut: httpx2.Client) -> None:
    with raw(shut, POST % 1_000_000 + b"x") as connection:
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer.lower()


def test_the_token_lets_in_as_bearer_and_as_password(shut: httpx2.Client) -> None:
    assert shut.get("/v1/index", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert shut.get("/v1/index", auth=("anyone", TOKEN)).status_code == 200


def test_off_loopback_a_token_or_open_is_needed() -> None:
    assert required_token("127.0.0.1", None, to_all=False) is None
    assert required_token("::1", None, to_all=False) is None
    assert required_token("0.0.0.0", None, to_all=True) is None  # noqa: S104
    assert required_token("0.0.0.0", TOKEN, to_all=False) == TOKEN  # noqa: S104
    with pytest.raises(UsageError, match="set PRICE_TOKEN"):
        required_token("0.0.0.0", None, to_all=False)  # noqa: S104
    with pytest.raises(UsageError, match="16 or more"):
        required_token("127.0.0.1", "short", to_all=False)


def test_indexes_are_named_once_each() -> None:
    assert [name for name, _ in named_indexes(["food=a/b", "c/toys"])] == ["food", "toys"]
    with pytest.raises(UsageError, match="Two indexes are named 'a'"):
        named_indexes(["a=x", "y/a"])
    with pytest.raises(UsageError, match="gives no name"):
        named_indexes(["b c=x"])


def test_photographs_that_wait_to_be_priced_have_an_end() -> None:
    reader = PhotographReader(Limits(photographs=3), None)
    with reader.room(4):  # where none is here, one request always has room
        with pytest.raises(Busy) as busy, reader.room(1):
            pass
        assert busy.value.status_code == 429
    with reader.room(2), reader.room(1), pytest.raises(Busy), reader.room(1):
        pass
    with reader.room(3):
        pass


SMALL = Limits(body_bytes=2_000, file_bytes=2_000, arriving_bytes=5_000, seconds=PATIENCE, concurrent=2)


@pytest.fixture(scope="module")
def small(serve: Any) -> Iterator[httpx2.Client]:
    with serve(SMALL) as client:
        yield client


def test_a_body_is_counted_as_it_arrives_declared_or_in_chunks(small: httpx2.Client) -> None:
    headers = {"Content-Type": "application/json"}
    assert "2,000 bytes" in detail(small.post("/v1/quotes", content=b"x" * 2_001, headers=headers), 413)

    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000_000):
            sent += 1_000
            yield b"x" * 1_000

    with contextlib.suppress(httpx2.HTTPError):  # the server hangs up on a client that goes on
        assert small.post("/v1/quotes", content=chunks(), headers=headers).status_code == 413
    assert sent < 10_000_000
    assert small.get("/healthz").status_code == 200


def raw(client: httpx2.Client, head: bytes) -> socket.socket:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    connection = socket.create_connection((host, port), timeout=PATIENCE)
    connection.sendall(head)
    return connection


POST = b"POST /v1/quotes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_a_declared_gigabyte_is_refused_before_it_arrives(small: httpx2.Client) -> None:
    with raw(small, POST % 10**9) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_not_waited_for(serve: Any) -> None:
    with serve(Limits(seconds=0.2)) as client:
        with raw(client, POST % 100 + b"{") as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
        with raw(client, POST % 100 + b"{"):  # and one whose client leaves harms nobody
            pass
        assert client.get("/healthz").status_code == 200


def test_bodies_that_arrive_together_have_an_end_and_give_their_room_back(small: httpx2.Client) -> None:
    part = POST % 2_000 + b"{" * 1_800  # of which two have room, and no third
    held = [raw(small, part) for _ in range(3)]
    (refused,), *_ = select.select(held, [], [], PATIENCE)  # whichever came last
    assert refused.recv(10_000).startswith(b"HTTP/1.1 429")
    text = {"items": [{"text": "green tea, 20 bags" + " " * 1_700}]}
    assert "More is arriving" in detail(small.post("/v1/quotes", json=text), 429)
    for connection in held:
        connection.close()
    assert until(lambda: small.post("/v1/quotes", json=text).status_code == 200)
    assert [small.post("/v1/quotes", json=text).status_code for _ in range(5)] == [200] * 5


def test_slow_bodies_take_no_place_of_those_at_work(small: httpx2.Client) -> None:
    slow = [raw(small, POST % 100 + b"{") for _ in range(10)]
    assert small.get("/v1/index").status_code == 200
    for connection in slow:
        connection.close()


def test_more_requests_than_may_be_at_work_are_turned_away(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from web.pricing import batches

    began, release, price = threading.Event(), threading.Event(), batches._priced

    def stand_still(*given: Any) -> Any:
        began.set()
        assert release.wait(PATIENCE)
        return price(*given)

    monkeypatch.setattr(batches, "_priced", stand_still)
    with serve(Limits(concurrent=1, seconds=PATIENCE)) as client, ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(client.post, "/v1/quotes", json=BODY)
        assert began.wait(PATIENCE)
        answer = client.get("/v1/index")
        assert "as many requests" in detail(answer, 429)
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        release.set()
        assert at_work.result().status_code == 200
        assert until(lambda: client.get("/v1/index").status_code == 200)
