"""Claims about a pool of Ray's workers: it does what this process does, or ends in one sentence where it cannot.

Ray itself is an extra: here stands something that promises the same (`benchmarks/predict.py` runs the real one).
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from engine.serving.price_file import price_file
from engine.serving.price_file_job import PriceFileSettings
from engine.serving.ray_pool import ray_pool
from index.errors import IndexUnusable, PriceError, UsageError


class RayError(Exception):
    """Of Ray's own errors, the base."""

    __module__ = "ray.exceptions"


class RayTaskError(RayError):
    """An error of a worker, brought to the driver."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Dataset:
    """Rows, each of which passes through Arrow as Ray's do, in the reverse order; two workers take turns."""

    def __init__(self, rows: list[dict[str, Any]], **_: Any) -> None:
        self._rows = rows

    def map(self, worker: Any, *, fn_constructor_args: tuple[Any, ...], compute: Any, **_: Any) -> "Dataset":
        def priced() -> Iterator[dict[str, Any]]:
            try:
                workers = [worker(*fn_constructor_args) for _ in range(compute.size)]
                for at, row in enumerate(reversed(self._rows)):
                    yield pa.Table.from_pylist([workers[at % len(workers)](row)]).to_pylist()[0]
            except RayError:
                raise
            except Exception as error:
                raise RayTaskError(error) from None

        self.iter_rows = priced
        return self


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    fake, data, exceptions = (ModuleType(name) for name in ("ray", "ray.data", "ray.exceptions"))
    exceptions.RayError = RayError
    data.from_items, data.ActorPoolStrategy = Dataset, SimpleNamespace
    data.DataContext = SimpleNamespace(get_current=SimpleNamespace)
    fake.data, fake.exceptions, fake.stopped = data, exceptions, 0
    fake.init = lambda **_: None
    fake.cluster_resources = lambda: {"CPU": 2.0}

    def shutdown() -> None:
        fake.stopped += 1

    fake.shutdown = shutdown
    for module in (fake, data, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return fake


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text("sample_id,catalog_content\n" + "".join(f"{n},Tea {n} oz\n" for n in range(9)), encoding="utf-8")
    return path


@pytest.fixture
def run(items: Path, shop: Any) -> Callable[..., Any]:
    return lambda out, **options: price_file(items, out, shop.index, PriceFileSettings(shard_rows=2), **options)


def test_workers_in_any_order_give_the_local_file(ray: ModuleType, run: Any, tmp_path: Path) -> None:
    run(tmp_path / "here.csv")
    done = run(tmp_path / "there.csv", pool=ray_pool("local"))
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert (done.rows, done.priced) == (9, 9)
    assert ray.stopped == 1


def test_what_a_worker_refuses_is_refused_in_its_words(
    ray: ModuleType, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.serving import shard_pricer as predict

    def replaced(*_: Any) -> None:
        raise IndexUnusable("The index was replaced.")

    monkeypatch.setattr(predict.ShardPricer, "price", replaced)
    with pytest.raises(IndexUnusable, match=r"The index was replaced\."):
        run(tmp_path / "out.csv", pool=ray_pool("local"))
    assert ray.stopped == 1


def test_a_fault_of_ours_in_a_worker_is_not_told_as_a_death(
    ray: ModuleType, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.serving import shard_pricer as predict

    monkeypatch.setattr(predict.ShardPricer, "price", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "out.csv", pool=ray_pool("local"))


def test_a_worker_that_dies_again_and_again_is_one_sentence(
    ray: ModuleType, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.serving import shard_pricer as predict

    price = predict.ShardPricer.price

    def dies(self: Any, shard: int) -> Any:
        if shard == 1:
            raise RayError("The actor died.")
        return price(self, shard)

    with monkeypatch.context() as patch:
        patch.setattr(predict.ShardPricer, "price", dies)
        with pytest.raises(PriceError, match=r"A worker died 3 times over one shard \(RayError\).*--shard-rows"):
            run(tmp_path / "out.csv", pool=ray_pool("local"))
    assert run(tmp_path / "out.csv", pool=ray_pool("local")).resumed == 5


def test_a_cluster_that_does_not_answer_is_one_sentence(ray: ModuleType, run: Any, tmp_path: Path) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("ray://user:secret@host")

    ray.init = refuse  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="No Ray cluster answers at auto: start one"):
        run(tmp_path / "out.csv", pool=ray_pool("auto"))
