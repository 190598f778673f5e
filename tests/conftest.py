"""Fixtures of several rooms: a made-up catalogue, one small index of it, and the command in process."""

import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

# Before any library reads them. Threads that spin while they wait, for products of twenty rows, make these tests crawl.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", OPENBLAS_NUM_THREADS="1")
# A hub without a network and without what the developer has fetched; who tests another sets it for its own process.
os.environ.update(HF_HOME=tempfile.mkdtemp(prefix="no-hub-"), HF_HUB_OFFLINE="1")
os.environ.pop("HF_HUB_CACHE", None)
os.environ.pop("HUGGINGFACE_HUB_CACHE", None)

import pytest

ROOT = Path(__file__).parent.parent
NO_HUB = os.environ["HF_HOME"]
QUICK = """
folds = 3
[mlp]
members = 1
width = 16
[mlp.fit]
epochs = 1
[lexical]
members = 1
width = 16
[lexical.fit]
epochs = 1
[gbdt]
rounds = 5
leaves = 4
"""  # settings of a model that is built in a second, and is not good for anything else


def pytest_unconfigure() -> None:
    """Leave no folder behind that was made here."""
    shutil.rmtree(NO_HUB, ignore_errors=True)


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which must be one JSON object and nothing else."""
        document = json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True)
class Shop:
    """A made-up catalogue with its index. For reading: a test that changes something copies it first."""

    folder: Path  # catalogue.csv, holdout.csv, images/, query.jpg, price.toml
    index: Path
    build: Answer  # what `price build-index --json` said

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue.csv"

    @property
    def holdout(self) -> Path:
        return self.folder / "holdout.csv"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def photograph(self) -> Path:
        """Of an item that stands in neither file."""
        return self.folder / "query.jpg"

    @property
    def quick(self) -> Path:
        return self.folder / "price.toml"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """139 items and 7 bad rows, 11 held out, 100 or so photographs."""
    folder = tmp_path_factory.mktemp("shop")
    make = [sys.executable, str(ROOT / "examples" / "make_catalogue.py"), str(folder), "--rows", "150"]
    subprocess.run(make, check=True, capture_output=True)
    (folder / "price.toml").write_text(QUICK, encoding="utf-8")
    arguments = ["build-index", str(folder / "catalogue.csv"), "--image-dir", str(folder / "images"), "--json"]
    build = _run([*arguments, "--index", str(folder / "index"), "--config", str(folder / "price.toml")])
    assert build.code == 0, build.err
    return Shop(folder, folder / "index", build)


@pytest.fixture
def own_index(shop: Shop, tmp_path: Path) -> Path:
    """A copy of the shop's index, to be changed."""
    return Path(shutil.copytree(shop.index, tmp_path / "own-index"))


@pytest.fixture
def price(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`price ARGUMENTS` in this process, with what libraries write past Python caught as well."""
    import cli

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        code = cli.run([str(each) for each in arguments])
        return Answer(code, *capfd.readouterr())

    return run


def _run(arguments: list[str]) -> Answer:
    """The same where there is no capfd: in a fixture of the session."""
    import cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(arguments)
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run_price() -> Callable[..., Answer]:
    """`price ARGUMENTS` in this process, for fixtures of a session or a module."""
    return lambda *arguments: _run([str(argument) for argument in arguments])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks of a few weights wait for their threads longer than they compute, and a sum's last bit hangs on them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_minilm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`minilm@FOLDER`: a random BERT of three layers with MiniLM's own tokeniser."""
    import torch
    from safetensors.torch import save_file

    from index.encoders import ENCODERS
    from index.encoders.bert.shape import BertShape
    from index.encoders.hub import locate

    folder, published = tmp_path_factory.mktemp("minilm"), locate(ENCODERS["minilm"], None)
    shutil.copy(published / "tokenizer.json", folder)
    config = json.loads((published / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = torch.Generator().manual_seed(1)
    shapes = BertShape.from_config(config).tensors()
    tensors = {name: torch.randn(shape, generator=random) * 0.2 for name, shape in shapes.items()}
    tensors |= {name: tensor + 1 for name, tensor in tensors.items() if name.endswith("LayerNorm.weight")}
    save_file(tensors, folder / "model.safetensors")
    return f"minilm@{folder}"


@pytest.fixture(scope="session")
def priced_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 120 items whose words tell their price, 24 of them near-duplicates of others."""
    kinds = "amber beryl coral delft ebony flint glass hazel ivory jade khaki lapis mauve navy ochre pearl".split()
    wares, rows = "cup teapot jug vase tray lamp".split(), []
    for i in range(96):
        kind, what = i % 16, i // 16
        name = f"{kinds[kind]} {wares[what]}"
        rows.append((name, 3 * 1.2**kind * 1.3**what))
        if i % 4 == 0:
            rows.append((f"{name}, 2 oz", 3.3 * 1.2**kind * 1.3**what))
    lines = ["sample_id,catalog_content,price"]
    lines += [f'{i},"Item Name: {name}",{price:.2f}' for i, (name, price) in enumerate(rows)]
    path = tmp_path_factory.mktemp("words") / "words.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class RayError(Exception):
    """Base of Ray's own errors."""

    __module__ = "ray.exceptions"


class RayTaskError(RayError):
    """An error of a worker, brought to the driver."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ActorDiedError(RayError):
    """A worker that is no more."""

    __module__ = "ray.exceptions"


@dataclass
class FakeRay:
    """What stands for Ray, which is an extra: two workers in this process, done in the reverse order.

    What a worker is given, and what it gives back, is a copy, as on another machine. `dies(task)` kills the worker that
    is at a task, None for its opening.
    """

    dies: Callable[[Any], bool] = lambda task: False
    tasks: list[Any] = field(default_factory=list)  # that were begun
    alive: int = 0
    connections: list[str] = field(default_factory=list)
    stopped: int = 0

    def call(self, actor: Any, method: str, arguments: Any) -> tuple[Any, BaseException | None]:
        """What a method of a worker gives back, or raises."""
        task = arguments[0] if method == "run" else None
        if method == "run":
            self.tasks.append(task)
        if self.dies(task):
            return None, ActorDiedError("The actor died.")
        try:
            given = [copied(value.value if isinstance(value, Stored) else value) for value in arguments]
            return copied(getattr(actor, method)(*given)), None
        except Exception as error:
            return None, RayTaskError(error)

    def module(self) -> ModuleType:
        """The module `ray`."""
        fake: Any = ModuleType("ray")
        fake.data, fake.exceptions = ModuleType("ray.data"), ModuleType("ray.exceptions")
        fake.exceptions.RayError = RayError
        fake.init = lambda address, **_: self.connections.append(address)
        fake.cluster_resources = lambda: {"CPU": 2.0}
        fake.put, fake.get, fake.kill = Stored, _get, lambda actor: setattr(self, "alive", self.alive - 1)
        fake.wait = lambda refs, num_returns: (refs[-1:], refs[:-1])
        fake.remote = lambda kind: _Remote(self, kind)
        fake.shutdown = lambda: setattr(self, "stopped", self.stopped + 1)
        return fake  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Stored:
    """A reference to a value."""

    value: Any
    error: BaseException | None = None


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # made here


def _get(stored: Stored) -> Any:
    if stored.error is not None:
        raise stored.error
    return stored.value


@dataclass(frozen=True)
class _Remote:
    ray: FakeRay
    kind: Any

    def options(self, **_: Any) -> "_Remote":
        return self

    def remote(self) -> "_Handle":
        self.ray.alive += 1
        return _Handle(self.ray, self.kind())


class _Handle:
    """A worker as the driver sees it."""

    def __init__(self, ray: FakeRay, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def __getattr__(self, method: str) -> Any:
        class Method:
            remote = staticmethod(lambda *given: Stored(*self._ray.call(self._actor, method, given)))

        return Method


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """Ray, as far as `index.cluster` asks for it."""
    fake = FakeRay()
    module: Any = fake.module()
    for name, part in (("ray", module), ("ray.data", module.data), ("ray.exceptions", module.exceptions)):
        monkeypatch.setitem(sys.modules, name, part)
    return fake
