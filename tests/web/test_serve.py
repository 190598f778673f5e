"""Claims about `price serve`: what is wrong at its start is one sentence."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index.encoders.device import Runtime
from web.settings import Limits, ServeSettings


def test_a_missing_index_ends_it_with_4(price: Callable[..., Any], tmp_path: Path) -> None:
    answer = price("serve", "--index", tmp_path / "none", "--port", "0")
    assert answer.code == 4
    assert answer.err.count("\n") == 1
    assert "There is no index at" in answer.err


def test_a_port_in_use_is_one_sentence(price: Callable[..., Any], shop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = price("serve", "--index", shop.index, "--port", port)
    assert answer.code == 2
    assert answer.err == f"price: Port {port} of 127.0.0.1 cannot be listened at (address already in use): name " \
        "another with --port.\n"  # fmt: skip


def test_a_host_that_others_reach_needs_a_token(
    price: Callable[..., Any], shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRICE_TOKEN", raising=False)
    answer = price("serve", "--index", shop.index, "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert (answer.code, "set PRICE_TOKEN" in answer.err) == (2, True)


def test_without_its_libraries_the_extra_is_named(price: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    answer = price("serve")
    assert (answer.code, answer.err) == (
        2,
        "price: price serve needs uvicorn: pip install 'price-engine[serve]'.\n",
    )


@pytest.mark.parametrize("option", [("--precision", "fp7"), ("--device", "tpu")])
def test_encoders_that_cannot_run_so_are_refused_before_a_port_is_taken(
    option: tuple[str, str], price: Callable[..., Any], shop: Any
) -> None:
    answer = price("serve", "--index", shop.index, "--port", "0", *option)
    assert answer.code == 2 and option[1] in answer.err and answer.err.count("\n") == 1


def test_settings_come_to_worker_processes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE_SERVE_SETTINGS", "")
    settings = ServeSettings((("a", "/a"),), hosts=("b",), device="cpu", precision="fp32", limits=Limits(seconds=3))
    settings.to_environment()
    assert ServeSettings.from_environment() == settings
    assert settings.runtime == Runtime("cpu", "fp32")
