"""`price fetch`, which brings photographs to the next build, and `price encoders`, which lists what there is."""

import csv
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from index.encoders import ENCODERS

Price = Callable[..., Any]


class Server:
    """Photographs on the loopback; every other path is not found. `asked` lists the paths."""

    def __init__(self, photographs: dict[str, bytes]) -> None:
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805 (self is the server here)
                self.asked.append(handler.path)
                body = photographs.get(handler.path)
                handler.send_response(404 if body is None else 200)
                handler.send_header("Content-Length", str(len(body or b"")))
                handler.end_headers()
                handler.wfile.write(body or b"")

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(shop: Any) -> Iterator[Server]:
    opened = Server({"/a.jpg": shop.photograph.read_bytes()})
    yield opened
    opened.close()


@pytest.fixture
def linked(server: Server, shop: Any, tmp_path: Path) -> Path:
    """The shop's catalogue, whose first row links to a photograph and whose second to one that is gone."""
    with shop.catalogue.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["image_link"] = ""
    rows[0]["image_link"], rows[1]["image_link"] = f"{server.url}/a.jpg", f"{server.url}/gone.jpg"
    path = tmp_path / "linked.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_was_fetched_is_used_by_the_next_build(
    linked: Path, server: Server, shop: Any, price: Price, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    fetched = price("fetch", linked, "--index", index, "--allow-private-addresses", "--json")
    assert (fetched.code, fetched.json["urls"], fetched.json["fetched"]) == (0, 2, 1)
    assert fetched.json["given_up"] == {"not found": 1}
    server.asked.clear()
    built = price("build-index", linked, "--index", index, "--config", shop.folder / "price.toml")
    assert built.code == 0
    assert "1  not found" in built.out and "no photograph given" in built.out
    assert "not fetched" not in built.out
    assert server.asked == []


def test_a_second_fetch_asks_for_nothing_and_again_asks_for_what_was_given_up(
    linked: Path, server: Server, price: Price, tmp_path: Path
) -> None:
    command = ("fetch", linked, "--index", tmp_path / "index", "--allow-private-addresses")
    first = price(*command)
    assert "2 links: 1 fetched, 0 here before, 1 given up" in first.out
    server.asked.clear()
    assert "2 links: 0 fetched, 1 here before, 1 given up" in price(*command).out
    assert server.asked == []
    price(*command, "--again")
    assert server.asked == ["/gone.jpg"]


def test_addresses_that_are_not_public_are_not_asked_by_default(
    linked: Path, server: Server, price: Price, tmp_path: Path
) -> None:
    answer = price("fetch", linked, "--index", tmp_path / "index", "--json")
    assert answer.json["given_up"] == {"blocked address": 2}
    assert server.asked == []


@pytest.mark.parametrize("wrong", [("--concurrency", "0"), ("--per-host", "-1"), ("--retries", "many")])
def test_a_number_out_of_range_is_a_sentence(wrong: tuple[str, str], linked: Path, price: Price) -> None:
    answer = price("fetch", linked, *wrong)
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1


def test_every_encoder_is_listed_with_what_it_reads(price: Price) -> None:
    listed = {each["name"]: each for each in price("encoders", "--json").json["encoders"]}
    assert set(listed) == set(ENCODERS)
    assert listed["minilm"]["here"] is True and listed["pixels"]["here"] is True
    assert all(each["licence"] and each["dim"] > 0 for name, each in listed.items() if name != "none")
    shown = price("encoders").out
    assert all(name in shown for name in ENCODERS)


def test_an_encoder_that_reads_something_else_is_refused_by_name(shop: Any, price: Price, tmp_path: Path) -> None:
    answer = price("build-index", shop.catalogue, "--index", tmp_path / "index", "--text-encoder", "mobilenet-v2")
    assert (answer.code, answer.out) == (2, "")
    assert "mobilenet-v2 does not encode words" in answer.err
