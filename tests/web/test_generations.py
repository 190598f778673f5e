"""Claims about generations: a new one answers within seconds and drops no request; a bad one leaves the old one."""

import shutil
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from threadpoolctl import ThreadpoolController

from engine.lifecycle.update import remove_items
from engine.serving.pricer import Item, Pricer
from index.encoders.device import Runtime
from index.storage.generations import current_generation
from tests.web.conftest import until
from web.pricing.indexes import ServedIndex, opened

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


@pytest.mark.parametrize("how", ["a link names another index", "the index is built anew"])
def test_another_index_with_a_generation_of_the_same_name_is_followed(
    how: str, serve: Any, own_index: Path, tmp_path: Path
) -> None:
    live, other = tmp_path / "live", tmp_path / "other"
    shutil.copytree(own_index, other)
    live.symlink_to(own_index.name)
    served = live if how.startswith("a link") else own_index
    index = ServedIndex.open("shop", str(served))
    audited, ids = index.worst_rows(), index.pricer.reference.ids()
    remove_items(ids[:1], own_index)
    remove_items(ids[1:2], other)
    index.swap(*opened(served, index.runtime))
    assert index.newer() is None and index.worst_rows() is not audited
    before = index.generation
    with serve(index=index) as client:
        assert client.get(f"/v1/comparables/{ids[1]}").status_code == 200
        if served == live:
            (tmp_path / "next").symlink_to(other.name)
            (tmp_path / "next").replace(live)
        else:
            shutil.rmtree(own_index)
            other.rename(own_index)
        assert until(lambda: client.get(f"/v1/comparables/{ids[0]}").status_code == 200)
        assert client.get(f"/v1/comparables/{ids[1]}").status_code == 404
        assert client.get("/v1/index").json()["generation"] == before and index.swaps == 2
    assert index.newer() is None


def test_a_generation_that_could_not_be_opened_is_tried_at_once_where_another_takes_its_name(own_index: Path) -> None:
    index = ServedIndex.open("shop", str(own_index))
    sound = Path(shutil.copytree(own_index, own_index.with_name("sound")))
    for folder in (own_index, sound):
        remove_items(index.pricer.reference.ids()[:1], folder)
    (current_generation(own_index) / "lsa.safetensors").unlink()
    assert index.newer() is None and index.trouble
    shutil.rmtree(own_index)
    sound.rename(own_index)
    assert index.newer() is not None


def test_opening_a_generation_while_another_prices_leaves_the_threads_of_products(
    own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pricers = Pricer.open(own_index), Pricer.open(own_index)
    pools, within = ThreadpoolController(), [threading.Event() for _ in range(3)]

    def counts() -> list[int]:
        return [library.num_threads for library in pools.lib_controllers if library.user_api == "blas"]

    def slowly(number: int, features: Any) -> Any:
        def wait(*given: Any, **named: Any) -> Any:
            within[number].set()
            assert within[number + 1].wait(60)
            return features(*given, **named)

        return wait

    for number, pricer in enumerate(pricers):
        monkeypatch.setattr(pricer, "features", slowly(number, pricer.features))
    before = counts()
    threads = [threading.Thread(target=pricer.price, args=([Item("Green tea")],)) for pricer in pricers]
    for number, thread in enumerate(threads):
        thread.start()
        assert within[number].wait(60)
    threads[0].join()  # which began first and ends first
    within[2].set()
    threads[1].join()
    assert counts() == before


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
