"""The operations that change a disk, each on the smallest thing it can be done to, and what is seen of it afterwards.

An operation is prepared once, in a folder that is copied for every trial. What a reader sees of it, and what must be
equal in the end, are plain values: answers of queries, hashes of files, rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kill_points import fork

if TYPE_CHECKING:
    from engine.serving.pricer import Pricer

KINDS = "amber beryl coral delft ebony flint".split()
WARES = "cup jug vase tray lamp bowl dish ring".split()
BUILT = 30  # rows; `price finetune` takes more
SETTINGS = """
folds = 3
image_encoder = "none"
members = ["kernel", "gbdt"]
[gbdt]
rounds = 2
leaves = 2
least_rows_in_leaf = 2
[stacker]
rounds = 0
[correction]
k = 2
band = 1.0
lambda = 5.0
alpha = 0.1
"""
ANOTHER = "-"  # in the place of a refusal: a second run would be another operation
TIMES = ("created", "seconds", "learned", "datetime_start", "datetime_complete")


@dataclass(frozen=True)
class Operation:
    """One operation. `act` does it; `seen` is what a reader sees, equal before and after it or changed by it at once.

    `outcome` must be equal after an undisturbed run and after one that was killed and run again. `committed` is
    the name of the point from which on it counts as done. From the point `refused_from` on, which is the same where it
    is empty, a rerun may be refused by the words `refusal`. `unit` is in the name of the journal writes that no run
    repeats. `warm_up` loads what it alone needs.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], object]
    seen: Callable[[Path], Any]
    outcome: Callable[[Path], Any]
    committed: str
    refusal: str = ""
    refused_from: str = ""
    unit: str = "journal"
    answers_change: bool = True
    warm_up: Callable[[], None] = lambda: None


def row(number: int) -> str:
    """A line of a made-up catalogue, whose words tell its price."""
    kind, ware = number % len(KINDS), number // len(KINDS) % len(WARES)
    return f'{number},"Item Name: {KINDS[kind]} {WARES[ware]} {number}",{3 * 1.2**kind * 1.3**ware:.2f}'


def catalogue(path: Path, rows: range) -> Path:
    """A made-up catalogue of these rows."""
    path.write_text("\n".join(["sample_id,catalog_content,price", *map(row, rows)]) + "\n", encoding="utf-8")
    return path


def tiny_encoder(folder: Path) -> str:
    """`minilm@FOLDER`: a random BERT of one layer with MiniLM's own tokeniser."""
    import torch
    from safetensors.torch import save_file

    from index.encoders import ENCODERS
    from index.encoders.bert.shape import BertShape
    from index.encoders.hub import locate

    published = locate(ENCODERS["minilm"], None)
    folder.mkdir()
    shutil.copy(published / "tokenizer.json", folder)
    config = json.loads((published / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.randn(shape, generator=random) * 0.2 + name.endswith("LayerNorm.weight")
        for name, shape in BertShape.from_config(config).tensors().items()
    }
    save_file(tensors, folder / "model.safetensors")
    return f"minilm@{folder}"


def warm_up() -> None:
    """Load in this process what children that are forked from it need, and start no thread."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not outlive a fork
    import lancedb  # noqa: F401
    import numba  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.linalg
    import scipy.optimize  # noqa: F401
    import torch
    import transformers  # noqa: F401

    from engine.members.lightgbm import lightgbm
    from index.catalogue.units import read_quantity

    torch.set_num_threads(1)
    lightgbm()
    read_quantity("6 x 330 ml")


def settings(encoder: str, folder: Path) -> Any:
    """Settings of an index that is built in less than a second, and is good for nothing else."""
    from engine.settings.read import read_settings

    path = folder / "price.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return read_settings(path, "default", text_encoder=encoder)


def answers(index: Path) -> Any:
    """Answers of an index to a few queries, and its rows; a sentence where it has none."""
    from engine.serving.pricer import Pricer
    from index.errors import IndexUnusable

    try:
        return answers_of(Pricer.open(index))
    except IndexUnusable:
        return "no index"


def answers_of(pricer: Pricer) -> Any:
    """Answers of an open index to a few queries, and its rows."""
    from engine.serving.pricer import Item
    from index.photographs.source import Photographs

    queries = [Item("amber cup 3"), Item("Item Name: flint lamp"), Item(row(32).split('"')[1])]
    quotes = pricer.price(queries, photographs=Photographs())
    near = [[comparable.item_id for comparable in quote.comparables] for quote in quotes]
    return {"prices": [quote.price for quote in quotes], "near": near, "rows": rows_of(pricer.folder)}


def rows_of(generation: Path) -> list[str]:
    """Ids of a generation, in order."""
    from index.storage.items_table import ItemStore

    ids: list[str] = ItemStore.open(generation).items(["item_id"])["item_id"].to_pylist()
    return ids


def contents(index: Path) -> Any:
    """Hash of every file of the current generation, and what else lies in the index's folder.

    Lance names its files at random, so of its tables the rows are hashed; times are left out.
    """
    from index.storage.generations import current_generation
    from index.storage.items_table import ItemStore

    generation = current_generation(index)
    table = ItemStore.open(generation)
    items = table.items().to_pydict()
    files = {
        str(path.relative_to(generation)): _digest(path)
        for path in sorted(generation.rglob("*"))
        if path.is_file() and ".lance" not in str(path.relative_to(generation)) and path.name != "manifest.json"
    }
    beside = sorted(path.name for path in index.iterdir() if not path.name.startswith("gen-") or "partial" in path.name)
    return {"items": hashlib.sha256(repr(items).encode()).hexdigest(), "files": files, "beside": beside}


def _digest(path: Path) -> str:
    """Hash of a file; of JSON without its times."""
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def index_operations(encoder: str) -> list[Operation]:
    """Building and changing an index: readers see the old answers until CURRENT is swapped, and the new ones then."""
    from engine.lifecycle.build import build_index
    from engine.lifecycle.update import add_items, compact_index, remove_items
    from engine.tuning.tune import tune

    def build(folder: Path) -> None:
        path = catalogue(folder / "catalogue.csv", range(BUILT))
        build_index(path, folder / "index", settings(encoder, folder))

    def add(folder: Path) -> None:
        add_items(catalogue(folder / "more.csv", range(BUILT, BUILT + 4)), folder / "index")

    def remove(folder: Path) -> None:
        remove_items(["3", "7"], folder / "index")

    def build_and_remove(folder: Path) -> None:
        build(folder)
        remove(folder)

    def build_again(folder: Path) -> None:
        build_index(catalogue(folder / "other.csv", range(6, BUILT + 6)), folder / "index", settings(encoder, folder))

    def search(folder: Path) -> None:
        tune(folder / "index", what=["correction"], trials=3, minutes=10, seed=0)

    def warm_up() -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        optuna.create_study(storage="sqlite:///:memory:")  # loads what defines and makes its tables

    def of_index(name: str, prepare: Callable[[Path], None], act: Callable[[Path], object], **more: Any) -> Operation:
        def seen(folder: Path) -> Any:
            return answers(folder / "index")

        def outcome(folder: Path) -> Any:
            return seen(folder), contents(folder / "index")

        return Operation(name, prepare, act, seen, outcome, "replace CURRENT", **more)

    return [
        of_index("build", lambda folder: None, build),
        of_index("build again", build, build_again),
        of_index("add", build, add, refusal="in the index already"),
        of_index("remove", build, remove, refusal="has no item"),
        of_index("compact", build_and_remove, lambda folder: compact_index(folder / "index"), answers_change=False),
        of_index("tune", build, search, refusal=ANOTHER, warm_up=warm_up),
    ]


def predict_operation(encoder: str) -> Operation:
    """A file of items priced in three shards, one of its rows without a price."""
    from engine.serving.price_file import price_file
    from engine.serving.price_file_job import PriceFileSettings

    def prepare(folder: Path) -> None:
        index_operations(encoder)[0].act(folder)
        path = catalogue(folder / "items.csv", range(20, 31))
        path.write_text(path.read_text(encoding="utf-8") + "77,,\n", encoding="utf-8")

    def act(folder: Path) -> None:
        price_file(folder / "items.csv", folder / "out.csv", folder / "index", PriceFileSettings(shard_rows=4))

    def seen(folder: Path) -> Any:
        return _digest(folder / "out.csv") if (folder / "out.csv").exists() else "no prices"

    def outcome(folder: Path) -> Any:
        files = sorted(path.name for path in folder.iterdir() if path.name.startswith("out.csv"))
        return files, [_digest(folder / name) for name in files if (folder / name).is_file()]

    return Operation(
        "predict",
        prepare,
        act,
        seen,
        outcome,
        committed="replace out.csv",
        refusal="exists already",
        refused_from="unlink journal.jsonl",
        unit="journal record done",
    )


def finetune_operation(encoder: str) -> Operation:
    """An encoder fine-tuned in place of one that was finished before, with a checkpoint after each of two epochs."""
    from engine.finetune.run import FinetuneOptions, finetune
    from engine.settings.finetuning import FinetuneSettings

    def run(folder: Path, rate: float) -> None:
        what = FinetuneSettings(encoder=encoder, epochs=2, batch_size=32, width=8, layers=1, learning_rate=rate)
        path = catalogue(folder / "catalogue.csv", range(48))
        finetune(path, folder / "encoder", what, FinetuneOptions(device="cpu", precision="fp32", overwrite=True))

    def outcome(folder: Path) -> Any:
        beside = sorted(path.name for path in folder.iterdir() if path.name.startswith("encoder"))
        files = sorted(path for path in (folder / "encoder").rglob("*") if path.is_file())
        return beside, {path.name: _digest(path) for path in files}

    def seen(folder: Path) -> Any:
        aside = folder / "encoder.replaced"  # for as long as one rename takes; the next run puts it back
        whole = folder / "encoder" if (folder / "encoder").exists() else aside
        return {path.name: _digest(path) for path in sorted(whole.rglob("*")) if path.is_file()}

    def warm_up() -> None:
        import torch._inductor  # noqa: F401 - which asking torch for repeatable sums brings in

    return Operation(
        "finetune",
        lambda folder: run(folder, 1e-3),
        lambda folder: run(folder, 2e-3),
        seen,
        outcome,
        committed="rename encoder",
        warm_up=warm_up,
    )


@contextlib.contextmanager
def photographs() -> Iterator[int]:
    """Serve small photographs, each of a colour of its own, from a process of its own; the port."""
    server = HTTPServer(("127.0.0.1", 0), _Photograph)
    pid = fork()
    if pid == 0:
        server.serve_forever()
    server.server_close()
    try:
        yield server.server_port
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class _Photograph(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        from PIL import Image

        body = io.BytesIO()
        Image.new("RGB", (8, 8), (int(self.path.strip("/")), 0, 0)).save(body, "PNG")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body.getvalue())))
        self.end_headers()
        self.wfile.write(body.getvalue())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def fetch_operation(port: int) -> Operation:
    """Five photographs fetched from a server of this machine, one after the other."""
    from index.photographs.cache import PhotographCache
    from index.photographs.fetch import Limits
    from index.photographs.fetch_all import FetchSettings, fetch_all

    urls = [f"http://127.0.0.1:{port}/{shade}" for shade in range(1, 6)]

    def act(folder: Path) -> None:
        limits = Limits(allow_private_addresses=True)
        fetched = fetch_all(urls, folder / "cache", settings=FetchSettings(concurrency=1, limits=limits))
        assert fetched.fetched + fetched.cached == len(urls), fetched.plain()

    def seen(folder: Path) -> Any:
        """Links whose photograph is not there whole."""
        cache = PhotographCache(folder / "cache")
        links = cache.find_all().items() if (folder / "cache").exists() else ()
        return [url for url, link in links if not link.digest or cache.read(link.digest) is None]

    def outcome(folder: Path) -> Any:
        digests = {url: link.digest for url, link in PhotographCache(folder / "cache").find_all().items()}
        return seen(folder), digests

    return Operation("fetch", lambda folder: None, act, seen, outcome, "-", answers_change=False)


def copy(source: Path, target: Path) -> Path:
    """A copy of a prepared folder; a file with several names keeps them."""
    names: dict[int, Path] = {}

    def one(path: str, to: str) -> str:
        inode = Path(path).stat().st_ino
        if inode in names:
            os.link(names[inode], to)
        else:
            shutil.copy2(path, to)
            names[inode] = Path(to)
        return to

    return Path(shutil.copytree(source, target, copy_function=one))
