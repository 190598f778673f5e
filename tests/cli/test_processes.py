"""Does the installed command keep its promises to other processes: exit codes, streams, signals, the lock?"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index.storage.generations import CACHE, writing

ROOT = Path(__file__).parent.parent.parent
PRICE = [sys.executable, "-c", "import cli; cli.main()"]


def start(*arguments: object, script: list[str] | None = None, **options: Any) -> subprocess.Popen[str]:
    command = [*(script or PRICE), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.01)


def cached(index: Path) -> dict[str, int]:
    """Rows of each cache of encodings."""
    counts = {}
    for path in (index / CACHE).glob("*.sqlite"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            counts[path.name] = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        connection.close()
    return counts


def test_a_query_writes_its_answer_to_stdout_and_nothing_else(shop: Any) -> None:
    process = start("query", "Herbal tea, 16 count", "--index", shop.index)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    assert out.splitlines()[0].endswith(")") and "USD" in out
    assert max(map(len, out.splitlines())) <= 80  # where there is no terminal to ask for its width


def test_a_second_build_ends_at_once_with_the_code_of_a_lock_that_is_held(shop: Any, tmp_path: Path) -> None:
    index = tmp_path / "index"
    with writing(index) as folder:
        started = time.monotonic()
        process = start("build-index", shop.catalogue, "--index", index)
        out, err = process.communicate(timeout=60)
        seconds = time.monotonic() - started
        assert (process.returncode, out) == (75, "")
        assert err.startswith("price: ") and err.count("\n") == 1
        assert f"process {os.getpid()}" in err
        assert seconds < 1.5  # within a second where the machine is its own
        (folder / "manifest.json").write_text("{}")


KILLED = """
import os, signal, sys
import cli
from index.embedding.vector_cache import VectorCache

put, batches = VectorCache.put, []

def put_and_die(self, keys, vectors):
    put(self, keys, vectors)
    batches.append(len(keys))
    if len(batches) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

VectorCache.put = put_and_die
cli.main()
"""


def test_a_kill_leaves_the_old_index_in_force_and_a_restart_redoes_no_finished_encoding(
    shop: Any, price: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Path(shutil.copytree(shop.index, tmp_path / "index"))
    shutil.rmtree(index / CACHE)
    in_force = (index / "CURRENT").read_text()
    before = price("query", "Herbal tea", "--index", index, "--json").json
    build = ["build-index", shop.catalogue, "--image-dir", shop.images, "--index", index, "--config", shop.quick]

    killed = start(*build, script=[sys.executable, "-c", KILLED])
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert list(index.glob("gen-*.partial")) != []
    assert (index / "CURRENT").read_text() == in_force
    after = price("query", "Herbal tea", "--index", index, "--json").json
    assert after | {"seconds": 0} == before | {"seconds": 0}
    finished = sum(cached(index).values())
    assert finished > 0

    encoded = count_encodings(monkeypatch)
    assert price(*build).code == 0
    assert sum(encoded) + finished == sum(cached(index).values())  # each text and photograph once, over both builds
    assert (index / "CURRENT").read_text() != in_force
    assert list(index.glob("*.partial")) == []

    encoded.clear()
    assert price(*build).code == 0
    assert encoded == []


def count_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every batch that goes through an encoder from here on."""
    from index.encoders.pixels import Pixels
    from index.encoders.sentence import Sentence

    sizes: list[int] = []
    for kind in (Pixels, Sentence):
        forward = kind.forward

        def counted(self: Any, prepared: Any, forward: Any = forward) -> Any:
            vectors = forward(self, prepared)
            sizes.append(len(vectors))
            return vectors

        monkeypatch.setattr(kind, "forward", counted)
    return sizes


SLOW = """
import sys, time
import cli
from index.embedding.vector_cache import VectorCache

put = VectorCache.put

def put_and_dawdle(self, keys, vectors):
    put(self, keys, vectors)
    print("encoding", file=sys.stderr, flush=True)
    time.sleep(60)

VectorCache.put = put_and_dawdle
cli.main()
"""


def test_ctrl_c_ends_a_build_at_once_and_leaves_no_half_of_it(shop: Any, tmp_path: Path) -> None:
    index, said = tmp_path / "index", tmp_path / "stderr"
    with said.open("w") as stderr:
        process = start(
            "build-index", shop.catalogue, "--index", index, "--config", shop.quick,
            script=[sys.executable, "-c", SLOW], stderr=stderr,
        )  # fmt: skip
        wait_for(lambda: "encoding" in said.read_text(), process)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert time.monotonic() - started < 5
    assert said.read_text().splitlines()[-1] == "price: Interrupted; what was finished is kept."
    assert "Traceback" not in said.read_text()
    assert not list(index.glob("gen-*"))
    assert sum(cached(index).values()) > 0


def test_an_interrupt_is_130_wherever_it_comes(price: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.evaluation.evaluate.evaluate_index", interrupted)
    answer = price("evaluate")
    assert (answer.code, answer.out) == (130, "")
    assert answer.err.strip() == "price: Interrupted; what was finished is kept."


def test_a_reader_that_leaves_early_is_met_with_silence() -> None:
    process = start("build-index", "--help")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=60)
    process.stderr.close()


def test_output_that_the_encoding_lacks_is_replaced() -> None:
    script = "import cli, click; cli.price.command('say')(lambda: click.echo('café ☃')); cli.main()"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    process = start("say", script=[sys.executable, "-c", script], env=environment, text=False)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "café ?\n".encode("latin-1"), b"")
