"""Claims about work that is shared out among workers: all of it is done, or one sentence says why not."""

import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from index.cluster import Cluster, connected
from index.errors import DataRefused, PriceError, UsageError

TASKS = list(range(1, 8))


def open_worker(factor: int) -> Callable[[int], int]:
    return lambda task: task * factor


def refusing(message: str) -> Callable[[int], int]:
    def work(task: int) -> int:
        raise DataRefused(message)

    return work


def share_out(opening: Callable[..., Any] = open_worker, given: Any = 3, tasks: Any = TASKS) -> Iterator[Any]:
    return Cluster().share_out(opening, (given,), tasks, most=7, lost="one number")


def test_every_task_has_its_result(fake_ray: Any) -> None:
    assert dict(share_out()) == {task: 3 * task for task in TASKS}
    assert sorted(fake_ray.tasks) == TASKS
    assert fake_ray.alive == 0
    assert list(share_out(tasks=[])) == []


def test_a_task_is_taken_when_a_worker_is_free_and_not_before(fake_ray: Any) -> None:
    taken: list[int] = []
    results = share_out(tasks=(taken.append(task) or task for task in TASKS))  # type: ignore[func-returns-value]
    next(results)
    assert len(taken) <= 4  # two workers are at one each, one is done, one is next
    results.close()  # type: ignore[attr-defined]
    assert fake_ray.alive == 0


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("dying", [3, 7, None])
def test_a_task_whose_worker_died_is_tried_again(fake_ray: Any, dying: int | None, deaths: int) -> None:
    died: list[Any] = []
    fake_ray.dies = lambda task: task == dying and len(died) < deaths and (died.append(task) or True)
    assert dict(share_out()) == {task: 3 * task for task in TASKS}
    assert len(died) == deaths
    assert len(fake_ray.tasks) == len(TASKS) + (dying is not None) * deaths
    assert fake_ray.alive == 0


@pytest.mark.parametrize("dying", [3, None])
def test_a_task_that_takes_every_worker_along_is_one_sentence(fake_ray: Any, dying: int | None) -> None:
    fake_ray.dies = lambda task: task == dying
    with pytest.raises(PriceError, match=r"A worker died 3 times over one number \(ActorDiedError\): give it more mem"):
        list(share_out())
    assert fake_ray.tasks.count(dying) == (3 if dying else 0)
    assert fake_ray.alive == 0


def test_what_a_worker_raises_is_raised_here_and_not_tried_again(fake_ray: Any) -> None:
    with pytest.raises(DataRefused, match=r"^No such thing\.$"):
        list(share_out(refusing, "No such thing."))
    assert len(fake_ray.tasks) <= 2
    assert fake_ray.alive == 0


def test_an_address_where_nobody_listens_is_refused_at_once(fake_ray: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and not listening
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"No Ray cluster answers at {address}: start one"), connected(address):
            pass
    assert fake_ray.connections == []


@pytest.mark.parametrize("address", ["local", "auto"])
def test_an_address_of_no_host_is_left_to_ray(fake_ray: Any, address: str) -> None:
    with connected(address):
        assert fake_ray.connections == [address]
    assert fake_ray.stopped == 1


def test_an_address_for_which_ray_lacks_its_client_says_what_to_install(
    fake_ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(UsageError, match=r"pip install 'ray\[client\]'"), connected("ray://127.0.0.1:1"):
        pass
