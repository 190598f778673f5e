"""Claims about generations: a new one answers within seconds and drops no request; a bad one leaves the old one."""

import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from engine.lifecycle.update import remove_items
from engine.serving.pricer import Pricer
from index.encoders.device import Runtime
from index.storage.generations import current_generation
from tests.web.conftest import until
from web.pricing.indexes import ServedIndex

BODY = {"items": [{"text": "Olive oil, 16.9 fl oz"}, {"text": "Utility rope, 100 feet"}]}


def test_a_new_generation_is_followed_without_a_failed_request(serve: Any, own_index: Path) -> None:
    index = ServedIndex.open("shop", str(own_index))
    first, gone = index.generation, index.pricer.reference.ids()[:1]
    seen: list[tuple[int, str]] = []
    done = threading.Event()

    def read(client: httpx2.Client) -> None:
        while not done.is_set():
            answer = client.post("/v1/quotes", json=BODY)
            seen.append((answer.status_code, answer.json().get("generation", "")))

    with serve(index=index) as client:
        readers = [threading.Thread(target=read, args=(client,)) for _ in range(2)]
        for reader in readers:
            reader.start()
        remove_items(gone, own_index)
        newest = current_generation(own_index).name
        until(lambda: seen and seen[-1][1] == newest)
        done.set()
        for reader in readers:
            reader.join()
        assert client.get(f"/v1/comparables/{gone[0]}").status_code == 404
    assert {status for status, _ in seen} == {200}
    assert {generation for _, generation in seen} == {first, newest}


def test_a_generation_that_cannot_be_opened_leaves_the_old_one_and_says_so(own_index: Path) -> None:
    index = ServedIndex.open("shop", str(own_index))
    (own_index / "CURRENT").write_text("gen-000099\n", encoding="ascii")
    assert index.newer() is None
    assert "gen-000099" in index.trouble
    (own_index / "CURRENT").write_text(f"{index.generation}\n", encoding="ascii")
    assert index.newer() is None
    assert index.trouble == ""


def test_an_error_of_a_library_at_a_new_generation_does_not_end_the_following(
    serve: Any, own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ServedIndex.open("shop", str(own_index))
    tries: list[int] = []

    def newer(_: ServedIndex) -> None:
        tries.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr("web.app.LOOKED_EVERY", 0.01)
    monkeypatch.setattr(ServedIndex, "newer", newer)
    with serve(index=index) as client:
        until(lambda: len(tries) >= 3)
        assert client.get("/v1/index").json()["newer"] == "ZeroDivisionError"
    assert len(tries) >= 3


def test_encoders_run_as_told_also_for_a_newer_generation(own_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, seen, opened = Runtime("cpu", "fp32"), [], Pricer.open

    def watched(folder: Path, runtime: Runtime) -> Pricer:
        seen.append(runtime)
        return opened(folder, runtime)

    monkeypatch.setattr(Pricer, "open", watched)
    index = ServedIndex.open("shop", str(own_index), told)
    remove_items(index.pricer.reference.ids()[:1], own_index)
    assert index.newer() is not None
    assert seen == [told, told]
