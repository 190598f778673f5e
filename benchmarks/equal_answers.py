"""Two checkouts' answers to the same commands, compared byte for byte but for renamed keys and dropped stages.

    python benchmarks/equal_answers.py record CHECKOUT OUT_DIR [--rows 800]
    python benchmarks/equal_answers.py compare OUT_DIR OTHER_DIR
    python benchmarks/equal_answers.py speed CHECKOUT OTHER_CHECKOUT WORK_DIR [--rows 800] [--rounds 5]

`record` runs a checkout's own command line, in the environment of this Python, over a made-up catalogue (seed 0) and
keeps what it answers; what tells the time is taken out. `compare` says for every answer whether it is equal, and ends
with exit code 1 where one is not. `speed` runs both checkouts in turns and prints wall and CPU seconds of a build (of
few epochs and trees, one a round), of a query by the command line and of a query to an open index, as medians, and the
second checkout's in multiples of the first's.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); import cli; cli.main()"
WARM = """
import json, statistics, sys, time
try:
    from engine.serving.pricer import Item, Pricer
except ImportError:  # a checkout from before there were folders
    from engine.pricer import Item, Pricer
pricer, items = Pricer.open("price-index"), [Item(sys.argv[1], "query.jpg")]
taken = []
for _ in range(60):
    wall, cpu = time.perf_counter(), time.process_time()
    pricer.price(items)
    taken.append((time.perf_counter() - wall, time.process_time() - cpu))
print(json.dumps([statistics.median(pair[place] for pair in taken[10:]) for place in (0, 1)]))
"""
TEXT = "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"
TIMED = frozenset({"seconds", "items_per_second", "output", "rejects"})  # and where files were written
RENAMED = {
    "stack": "stacker",
    "stack + correction": "stacker + correction",
    "stack without evidence": "stacker without evidence",
    "without stack": "without stacker",
    "knobs": "parameters",
    "space": "search-vectors",
}
DROPPED = frozenset({"mlp + correction"})  # a stage of evaluations then, a row of ablations now
QUICK = """
folds = 3
members = ["mlp", "lexical", "kernel", "gbdt", "xgboost", "catboost"]
[mlp.fit]
epochs = 2
[gbdt]
rounds = 20
reads = ["words", "fused"]
[xgboost]
rounds = 20
reads = ["words", "vectors"]
[catboost]
rounds = 20
reads = ["fused"]
"""


class Recorder:
    """A folder that commands of one checkout are run in, and their answers kept."""

    def __init__(self, checkout: Path, out: Path) -> None:
        self.checkout, self.out = checkout.resolve(), out.resolve()
        self.environment = os.environ | {"PYTHONPATH": str(self.checkout), "HF_HUB_OFFLINE": "1"}

    def price(self, name: str, *arguments: object, keep: str = "") -> None:
        """Run `price ARGUMENTS` in the folder; keep its JSON, or the file `keep` that it wrote."""
        command = [sys.executable, "-c", RUN, str(self.checkout), *map(str, arguments)]
        ran = subprocess.run(command, cwd=self.out, env=self.environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (name, ran.stderr)
        answer = (self.out / keep).read_text(encoding="utf-8") if keep else ran.stdout
        (self.out / f"answer-{name}").write_text(answer, encoding="utf-8")
        print(f"{name}: kept", flush=True)

    def seconds(self, arguments: tuple[str, ...]) -> tuple[float, float]:
        """Wall and CPU seconds of `price ARGUMENTS`."""
        command = [sys.executable, "-c", RUN, str(self.checkout), *arguments]
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=self.out, env=self.environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - started, cpu

    def warm(self) -> tuple[float, float]:
        """Wall and CPU seconds of a query to an open index."""
        command = [sys.executable, "-c", WARM, TEXT]
        done = subprocess.run(command, cwd=self.out, env=self.environment, capture_output=True, check=True)
        wall, cpu = json.loads(done.stdout)
        return wall, cpu


def record(checkout: Path, out: Path, rows: int) -> None:
    """Every command whose answer a user may rely on."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    recorder = Recorder(checkout, out)
    make = [sys.executable, str(checkout / "examples" / "make_catalogue.py"), str(out), "--rows", str(rows)]
    subprocess.run(make, check=True, capture_output=True)
    (out / "quick.toml").write_text(QUICK, encoding="utf-8")
    images, price = ("--image-dir", "images"), recorder.price
    price("build", "build-index", "catalogue.csv", *images, "--seed", 0, "--json")
    current = (out / "price-index" / "CURRENT").read_text(encoding="utf-8").strip()
    shutil.copy(out / "price-index" / current / "report.json", out / "answer-report")
    price("query-text", "query", TEXT, "--json")
    price("query-text-photograph", "query", TEXT, "--image", "query.jpg", "--json")
    price("query-photograph", "query", "--image", "query.jpg", "--json")
    price("query-parameters", "query", TEXT, "--k", 4, "--band", 0.2, "--lambda", 3, "--alpha", 0.5, "--json")
    price("predict", "predict", "holdout.csv", "-o", "full.csv", "--full", *images, keep="full.csv")
    price("evaluate", "evaluate", "--json")
    price("evaluate-labelled", "evaluate", "holdout.csv", *images, "--json")
    shutil.copytree(out / "price-index", out / "grown")
    price("add", "add", "holdout.csv", *images, "--index", "grown", "--json")
    price("query-after-add", "query", TEXT, "--index", "grown", "--json")
    price("remove", "remove", *_first_ids(out / "catalogue.csv"), "--index", "grown", "--json")
    price("query-after-remove", "query", TEXT, "--index", "grown", "--json")
    price("evaluate-after-remove", "evaluate", "--index", "grown", "--json")
    quick = ("--index", "quick")
    price("build-trees", "build-index", "catalogue.csv", *images, *quick, "--config", "quick.toml", "--json")
    price("query-trees", "query", TEXT, "--image", "query.jpg", *quick, "--json")
    price("ablate", "ablate", *quick, "--json")
    price("tune", "tune", *quick, "--trials", 6, "--minutes", 30, "--json")
    price("evaluate-tuned", "evaluate", *quick, "--json")
    price("finetune", "finetune", "catalogue.csv", "-o", "encoder", "--epochs", 1, "--json")


def speed(checkouts: list[Path], work: Path, rows: int, rounds: int) -> None:
    """Time both checkouts in turns, and print medians."""
    shutil.rmtree(work, ignore_errors=True)
    recorders = []
    for number, checkout in enumerate(checkouts):
        out = work / str(number)
        out.mkdir(parents=True)
        make = [sys.executable, str(checkout / "examples" / "make_catalogue.py"), str(out), "--rows", str(rows)]
        subprocess.run(make, check=True, capture_output=True)
        (out / "quick.toml").write_text(QUICK.replace(', "xgboost", "catboost"', ""), encoding="utf-8")
        recorders.append(Recorder(checkout, out))
    build = ("build-index", "catalogue.csv", "--image-dir", "images", "--config", "quick.toml", "--json")
    query = ("query", TEXT, "--image", "query.jpg", "--json")
    seconds: dict[str, list[list[tuple[float, float]]]] = {}
    for _ in range(rounds):
        for name, times, command in (("build", 1, build), ("cold query", 5, query), ("warm query", 1, None)):
            taken = seconds.setdefault(name, [[], []])
            for _ in range(times):
                for number, recorder in enumerate(recorders):
                    taken[number].append(recorder.warm() if command is None else recorder.seconds(command))
    for name, taken in seconds.items():
        for kind, place in (("wall", 0), ("CPU", 1)):
            first, second = (statistics.median(pair[place] for pair in pairs) for pairs in taken)
            print(f"{name}, {kind} seconds: {first:.4f} and {second:.4f}, ratio {second / first:.3f}")


def _first_ids(catalogue: Path, count: int = 5) -> list[str]:
    lines = catalogue.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split(",")[0] for line in lines if line.split(",")[0].isdigit()][:count]


def compare(before_dir: Path, after_dir: Path) -> int:
    """Compare two folders of answers, and return how many differ."""
    names = sorted(path.name for path in before_dir.glob("answer-*"))
    assert names == sorted(path.name for path in after_dir.glob("answer-*")), "the folders do not hold the same answers"
    differing = 0
    for name in names:
        before, after = (_plain((folder / name).read_text(encoding="utf-8")) for folder in (before_dir, after_dir))
        differing += before != after
        print(f"{name.removeprefix('answer-')}: {'equal' if before == after else _first_difference(before, after)}")
    return differing


def _plain(text: str) -> Any:
    """JSON without times and with today's names; any other text as it is."""
    return _renamed(json.loads(text)) if text.startswith("{") else text


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_name(key): _renamed(v) for key, v in value.items() if key not in TIMED | DROPPED}
    if isinstance(value, list):
        return [_renamed(item) for item in value if not (isinstance(item, dict) and item.get("variant") in DROPPED)]
    return _name(value) if isinstance(value, str) else value


def _name(name: str) -> str:
    head, dot, tail = name.partition(".")  # `stack.rounds` is the path of a setting
    return f"{RENAMED.get(head, head)}{dot}{tail}"


def _first_difference(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            if before.get(key) != after.get(key):
                return _first_difference(before.get(key), after.get(key), f"{path}/{key}")
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (a, b) in enumerate(zip(before, after, strict=True)):
            if a != b:
                return _first_difference(a, b, f"{path}/{place}")
    return f"DIFFERS at {path or 'the text'}: {str(before)[:80]} -> {str(after)[:80]}"


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("checkout", type=Path)
    recording.add_argument("out", type=Path)
    recording.add_argument("--rows", type=int, default=800)
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    timing = commands.add_parser("speed")
    timing.add_argument("checkouts", type=Path, nargs=2)
    timing.add_argument("work", type=Path)
    timing.add_argument("--rows", type=int, default=800)
    timing.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.command == "record":
        record(given.checkout, given.out, given.rows)
    elif given.command == "speed":
        speed([path.resolve() for path in given.checkouts], given.work, given.rows, given.rounds)
    else:
        sys.exit(compare(given.before, given.after) > 0)


if __name__ == "__main__":
    main()
