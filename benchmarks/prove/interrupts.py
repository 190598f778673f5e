"""Interrupts of every command, at early and at random moments: each must end as the contract says, and harm nothing.

    python benchmarks/prove/interrupts.py [--scale SHARE] [--seed N] [--only COMMAND]

Makes a small catalogue and an index of it in a folder of its own. In a trial a command runs on a copy of them, is sent
SIGINT after 0 to 0.3 seconds (every other trial) or 0 to 3, and must have ended 2 seconds later: with exit code 130,
one line about it on stderr that is the last, no traceback, and an index that opens and prices as before or, where the
command changes it, as after. A command that was done before is no trial; the moment then halves. Prints a table; exit
code 1 where a trial failed. Moments count from the first line of `cli.main`: what the interpreter does before (some 20
milliseconds, in which an interrupt kills it with a traceback of its own) is not ours.
"""

from __future__ import annotations

import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from outcome import arguments, scaled

from cli import INTERRUPT, INTERRUPTED
from engine.serving.pricer import Item, Pricer
from index.errors import PriceError

ROOT = Path(__file__).parents[2]
EARLY, LATE, WITHIN, LEAVING, HANGS = 0.3, 3.0, 2.0, 0.1, 60.0  # seconds
START = """
import os, sys, cli

def started(event, arguments):
    if event == "import" and arguments[0] == "commands":  # the first thing that `cli.main` does
        os.write(int(os.environ["PRICE_STARTED"]), b".")

sys.addaudithook(started)
cli.main()
"""
STAGE = re.compile(r"[a-z][\w ,]*(\([\w@.-]+\))?(: [\d,]+( of [\d,]+.*)?)?")  # a line of progress
QUICK = "folds = 3\n[mlp]\nwidth = 16\n[mlp.fit]\nepochs = 2\n[lexical]\nwidth = 16\n[gbdt]\nrounds = 10\n"
QUERY = "Herbal tea, 16 count"
TRIALS = 8  # of each command
COMMANDS = {
    "--help": "--help",
    "completion": "completion bash",
    "encoders": "encoders",
    "query": "query TEXT --index INDEX",
    "query an image": "query TEXT --image PHOTOGRAPH --index INDEX --json",
    "evaluate": "evaluate --index INDEX",
    "evaluate a file": "evaluate HOLDOUT --image-dir IMAGES --index INDEX",
    "predict": "predict CATALOGUE --image-dir IMAGES --index INDEX -o WORK/prices.csv --shard-rows 20",
    "build-index": "build-index CATALOGUE --image-dir IMAGES --index INDEX --config CONFIG",
    "add": "add HOLDOUT --image-dir IMAGES --index INDEX",
    "remove": "remove --file HOLDOUT --ignore-missing --index INDEX",
    "compact": "compact --index INDEX",
    "tune": "tune --index INDEX --trials 500",
    "ablate": "ablate --index INDEX",
    "fetch": "fetch LINKS --index INDEX --allow-private-addresses --concurrency 2",
    "finetune": "finetune CATALOGUE -o WORK/encoder --image-dir IMAGES",
}
CHANGES = ("build-index", "add", "remove", "compact", "tune")  # the index, so that its prices may be others after it


@dataclass
class Tally:
    """Trials of one command."""

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds from the interrupt to the end
    seconds: float = 0.0  # of all


@dataclass(frozen=True)
class Shop:
    """A catalogue, and an index of it with its answer to one query."""

    folder: Path
    links: Path
    answer: float

    def arguments(self, command: str, work: Path) -> list[str]:
        """Words to type for a command that works in the folder `work`."""
        places = {
            "TEXT": QUERY,
            "INDEX": str(work / "index"),
            "WORK": str(work),
            "CATALOGUE": str(self.folder / "catalogue.csv"),
            "HOLDOUT": str(self.folder / "holdout.csv"),
            "IMAGES": str(self.folder / "images"),
            "PHOTOGRAPH": str(self.folder / "query.jpg"),
            "CONFIG": str(self.folder / "price.toml"),
            "LINKS": str(self.links),
        }
        words = [places.get(word, word) for word in COMMANDS[command].split()]
        return [word.replace("WORK/", f"{work}/") for word in words]


def make_shop(folder: Path, port: int) -> Shop:
    """Make the catalogue and the index; `port` is where the links of photographs lead."""
    subprocess.run(
        [sys.executable, str(ROOT / "examples" / "make_catalogue.py"), str(folder), "--rows", "150"],
        check=True,
        capture_output=True,
    )
    (folder / "price.toml").write_text(QUICK, encoding="utf-8")
    links = folder / "links.csv"
    rows = [f"{number},Tea {number},http://127.0.0.1:{port}/{number}.jpg" for number in range(200)]
    links.write_text("\n".join(["sample_id,catalog_content,image_link", *rows]) + "\n", encoding="utf-8")
    shop = Shop(folder, links, 0.0)
    build = [sys.executable, "-c", "import cli; cli.main()", *shop.arguments("build-index", folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    return Shop(folder, links, price_of(folder / "index"))


def price_of(index: Path) -> float:
    """The index's answer to the one query. Raises PriceError for an index that was harmed."""
    return Pricer.open(index).price([Item(QUERY)])[0].price


@contextmanager
def slow_photographs() -> Iterator[int]:
    """Serve a photograph on this machine that takes a while to come; the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.2)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@dataclass(frozen=True)
class Ended:
    """End of a command that was interrupted."""

    code: int
    seconds: float  # from the interrupt
    errors: str

    @property
    def was_done(self) -> bool:
        """Tell whether the process was on its way out, where no signal reaches it."""
        return self.code == 0 and self.seconds < LEAVING

    def faults(self) -> list[str]:
        """List what is against the contract."""
        *before, last = self.errors.splitlines() or [""]
        found = [] if self.code == INTERRUPTED else [f"exit code {self.code}"]
        found += [] if f"{last}\n" == INTERRUPT.decode() else [f"the last line is {last!r}"]
        found += [f"stderr also says {line!r}" for line in before if not STAGE.fullmatch(line)][:1]
        return found + ([] if self.seconds <= WITHIN else [f"{self.seconds:.1f} s"])


def interrupt(arguments: list[str], moment: float) -> Ended | None:
    """Interrupt a command `moment` seconds after its start; None where it was done before."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        cwd=ROOT,
        env=os.environ | {"PRICE_STARTED": str(writing)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(writing,),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    os.close(writing)
    with process, os.fdopen(reading, "rb") as started:
        started.read(1)
        time.sleep(moment)
        if process.poll() is not None:
            return None
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        try:
            errors = process.communicate(timeout=HANGS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            errors = process.communicate()[1]
        ended = Ended(process.returncode, time.monotonic() - began, errors)
        return None if ended.was_done else ended


def trial(shop: Shop, command: str, moment: float) -> tuple[Ended, list[str]] | None:
    """Interrupt a command on a copy of the index: how it ended, and what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copytree(shop.folder / "index", work / "index")
        ended = interrupt(shop.arguments(command, work), moment)
        if ended is None:
            return None
        faults = ended.faults()
        try:
            price = price_of(work / "index")
        except PriceError as error:
            faults.append(f"the index is harmed: {error}")
        else:
            if price != shop.answer and command not in CHANGES:
                faults.append(f"the index answers {price}, not {shop.answer}")
        return ended, faults


def trials_of(shop: Shop, command: str, trials: int, chance: random.Random) -> Tally:
    """All trials of one command, their moments drawn by `chance`."""
    tally, began, longest = Tally(), time.monotonic(), LATE
    while tally.trials < trials:
        moment = chance.uniform(0, EARLY if tally.trials % 2 else longest)
        outcome = trial(shop, command, moment)
        if outcome is None:
            longest = max(moment / 2, 0.001)
            continue
        ended, faults = outcome
        tally.trials += 1
        tally.slowest = max(tally.slowest, ended.seconds)
        if faults:
            tally.failures.append(f"{command} after {moment:.3f} s: {'; '.join(faults)}")
    tally.seconds = time.monotonic() - began
    return tally


def main() -> None:
    """Run the trials and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=COMMANDS, help="one command alone")
    given = parser.parse_args()
    failures: list[str] = []
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder, slow_photographs() as port:
        shop = make_shop(Path(folder), port)
        for command in [given.only] if given.only else COMMANDS:
            tally = trials_of(shop, command, scaled(TRIALS, given.scale), random.Random(f"{given.seed} {command}"))  # noqa: S311
            failures += tally.failures
            print(f"{command}: the slowest took {tally.slowest:.2f} s", *tally.failures, sep="\n  ", flush=True)
            count = f"{tally.trials} | {len(tally.failures)} | {tally.seconds / 60:.1f}"
            rows.append(f"interrupts: {command} | {count}")
    print(*rows, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
