"""Promises of the installed command to other processes: exit codes, streams, signals, the lock."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from index.storage.generations import writing
from index.storage.layout import CACHE

ROOT = Path(__file__).parent.parent.parent
PRICE = "import cli; cli.main()"
HANGS = 600  # seconds after which a process is killed that does not end by itself, however busy the machine

Start = Callable[..., subprocess.Popen[Any]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `price ARGUMENTS`, or another script with them. No process outlives its test."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: object, script: str = PRICE, **options: Any) -> subprocess.Popen[Any]:
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            command = [sys.executable, "-c", script, *map(str, arguments)]
            process = subprocess.Popen(command, cwd=ROOT, **{"text": True, **pipes, **options})
            stack.enter_context(process)
            stack.callback(process.kill)
            watchdog = threading.Timer(HANGS, process.kill)
            watchdog.start()
            stack.callback(watchdog.cancel)
            return process

        yield run


def cached(index: Path) -> dict[str, int]:
    """Rows of each cache of encodings."""
    counts = {}
    for path in (index / CACHE).glob("*.sqlite"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            counts[path.name] = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        connection.close()
    return counts


LEAN = """
import sys
import cli

code = cli.run(sys.argv[1:])
needless = {"index.catalogue.reading", "pandas", "pyarrow.compute", "sklearn"} & set(sys.modules)
sys.exit(f"it imported {needless}" if needless else code)
"""


def test_a_query_writes_its_answer_to_stdout_and_nothing_else(shop: Any, start: Start) -> None:
    """Nor does it import what it has no use for."""
    process = start("query", "Herbal tea, 16 count", "--index", shop.index, script=LEAN)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    assert out.splitlines()[0].endswith(")") and "USD" in out
    assert max(map(len, out.splitlines())) <= 80  # where there is no terminal to ask for its width


AT_ONCE = """
import sys, time
import cli

time.sleep = lambda seconds: sys.exit("it waited")
code = cli.run(sys.argv[1:])
loaded = {"lightgbm", "tokenizers", "torch", "transformers"} & set(sys.modules)
sys.exit(f"it loaded {loaded}" if loaded else code)
"""


def test_a_second_build_ends_at_once_with_the_code_of_a_lock_that_is_held(
    shop: Any, start: Start, tmp_path: Path
) -> None:
    """While the lock is held, without a pause, and before anything is loaded that takes time."""
    index = tmp_path / "index"
    with writing(index) as folder:
        process = start("build-index", shop.catalogue, "--index", index, script=AT_ONCE)
        out, err = process.communicate()
        assert (process.returncode, out) == (75, ""), err
        assert err.startswith("price: ") and err.count("\n") == 1
        assert f"process {os.getpid()}" in err
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


def test_a_kill_leaves_the_old_index_current_and_a_restart_redoes_no_finished_encoding(
    shop: Any, price: Callable[..., Any], start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Path(shutil.copytree(shop.index, tmp_path / "index"))
    shutil.rmtree(index / CACHE)
    current = (index / "CURRENT").read_text()
    before = price("query", "Herbal tea", "--index", index, "--json").json
    build = ["build-index", shop.catalogue, "--image-dir", shop.images, "--index", index, "--config", shop.quick]

    killed = start(*build, script=KILLED)
    _, err = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, err
    assert list(index.glob("gen-*.partial")) != []
    assert (index / "CURRENT").read_text() == current
    after = price("query", "Herbal tea", "--index", index, "--json").json
    assert after | {"seconds": 0} == before | {"seconds": 0}
    finished = sum(cached(index).values())
    assert finished > 0

    encoded = count_encodings(monkeypatch)
    assert price(*build).code == 0
    assert sum(encoded) + finished == sum(cached(index).values())  # each text and photograph once, over both builds
    assert (index / "CURRENT").read_text() != current
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


ENDLESS = """
import signal, sys
import cli
from index.embedding.vector_cache import VectorCache

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins without one
put = VectorCache.put

def put_and_stand_still(self, keys, vectors):
    put(self, keys, vectors)
    print("encoding", file=sys.stderr, flush=True)
    signal.pause()

VectorCache.put = put_and_stand_still
cli.main()
"""


def test_ctrl_c_ends_a_build_at_once_and_leaves_no_half_of_it(shop: Any, start: Start, tmp_path: Path) -> None:
    """In the middle of work that would not end by itself."""
    index, said = tmp_path / "index", []
    process = start("build-index", shop.catalogue, "--index", index, "--config", shop.quick, script=ENDLESS)
    assert process.stdout is not None and process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line == "encoding\n":
            process.send_signal(signal.SIGINT)
    assert (process.wait(), process.stdout.read()) == (130, ""), said
    assert said.count("encoding\n") == 1
    assert said[-1] == "price: Interrupted; what was finished is kept.\n"
    assert "Traceback" not in "".join(said)
    assert not list(index.glob("gen-*"))
    assert sum(cached(index).values()) > 0


def test_an_interrupt_is_130_wherever_it_comes(price: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.evaluation.evaluate.evaluate_index", interrupted)
    answer = price("evaluate")
    assert (answer.code, answer.out, answer.err) == (
        130,
        "",
        "",
    )  # its line is `main`'s, who may have written it already


# A command, with the interrupt that comes while it works.
INTERRUPTED = """
import _imp, os, signal, sys, threading, time
import cli
from commands.price import price

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins without one

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

@price.command("work")
def work():
    {}

cli.main()
"""
MOMENTS = {
    "in a library that swallows it": "try: interrupt()\n    except BaseException: print('an answer')",
    "in a library that swallows it and works on": """
    while True:
        try: interrupt(); time.sleep(HANGS)
        except KeyboardInterrupt: pass
""",
    "in a library that swallows it and sleeps": """
    try: interrupt()
    except KeyboardInterrupt: time.sleep(HANGS)
""",
    "in a library that swallows it and waits for a thread": """
    thread = threading.Thread(target=time.sleep, args=(HANGS,))
    thread.start()
    try: interrupt()
    except KeyboardInterrupt: thread.join()
""",
    "in an import": "sys.path.insert(0, {folder!r}); import swallowing",
    "in an import that makes another error of it": """
    try: interrupt()
    except BaseException: raise ImportError("half of a module")
""",
    "in a destructor": """
    class Closed:
        def __del__(self): interrupt()
    Closed(); time.sleep(HANGS)
""",
    "while other threads work that nobody can stop": """
    threading.Thread(target=time.sleep, args=(HANGS,)).start(); interrupt()
""",
    "twice": """
    try: interrupt()
    except KeyboardInterrupt: interrupt(); time.sleep(HANGS)
""",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_ends_a_command_with_one_line(moment: str, start: Start, tmp_path: Path) -> None:
    (tmp_path / "swallowing.py").write_text(
        "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\nprint('an answer')\n"
    )
    work = MOMENTS[moment].replace("{folder!r}", repr(str(tmp_path))).replace("HANGS", str(2 * HANGS))
    script = INTERRUPTED.replace("{}", work)
    process = start("work", script=script)
    err = process.communicate()[1]
    assert (process.returncode, err) == (130, "price: Interrupted; what was finished is kept.\n")


def test_a_command_that_was_started_without_interrupts_is_not_interrupted(start: Start) -> None:
    script = INTERRUPTED.replace("default_int_handler", "SIG_IGN").replace("{}", "interrupt(); print('done')")
    process = start("work", script=script)
    assert process.communicate() == ("done\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("command", ["build-index --help", "encoders", "encoders --json"])
def test_a_reader_that_leaves_early_is_met_with_silence(command: str, start: Start) -> None:
    process = start(*command.split(), script=f"import sys; sys.stdin.read(); {PRICE}")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.close()  # it may speak now, to nobody
    assert process.stderr.read() == ""
    assert process.wait() == 141  # 128 and the number of SIGPIPE


CLOSES = (
    "import os, sys; os.close(int(sys.argv.pop(1))); os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
)


def test_an_answer_that_cannot_be_written_is_an_error(start: Start) -> None:
    process = start(1, PRICE, "--version", script=CLOSES)
    err = process.communicate()[1]
    assert (process.returncode, err.count("\n")) == (1, 1)
    assert err.startswith("price: Standard output is closed")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start("--version", stdout=full)
        err = process.communicate()[1]
    assert (process.returncode, err.count("\n")) == (1, 1)
    assert "No space left on device" in err


def test_errors_that_cannot_be_written_stop_no_command_and_land_in_no_file(start: Start, tmp_path: Path) -> None:
    """The number of a closed stderr is free for the next file that is opened, and libraries write to the number."""
    own = tmp_path / "own.txt"
    tells = "from commands.streams import tell; tell('progress'); print('an answer')"
    warned = f"file = open({str(own)!r}, 'w'); os.write(2, b'a warning'); {tells}"
    process = start(2, INTERRUPTED.replace("{}", warned), "work", script=CLOSES)
    assert process.communicate() == ("an answer\n", "")
    assert (process.returncode, own.read_text()) == (0, "")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start("work", script=INTERRUPTED.replace("{}", tells), stderr=full)
        assert process.communicate()[0] == "an answer\n"
    assert process.returncode == 0


def test_output_that_the_encoding_lacks_is_replaced(start: Start) -> None:
    say = "price.command('say')(lambda: click.echo('café ☃'))"
    script = f"import cli, click; from commands.price import price; {say}; cli.main()"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    process = start("say", script=script, env=environment, text=False)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "café ?\n".encode("latin-1"), b"")
