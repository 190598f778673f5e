"""Work shared out among the workers of a Ray cluster: connecting to it, one worker a core, workers that die.

It knows tasks and results, and nothing of what they are. What goes over Ray is what a worker is opened with, once into
its object store, then a task and its result at a time; our code itself must be installed on every machine.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from index.errors import PriceError, UsageError

LOCAL = "local"
RETRIES = 2  # of a task whose worker died: one that takes every worker along must come to an end
ANSWER_SECONDS = 5.0  # in which an address must answer: Ray itself tries for minutes

Task = TypeVar("Task")
Result = TypeVar("Result")


def require_ray() -> Any:
    """Import Ray, without its usage reports and with errors alone in its log: progress is ours to show.

    UsageError where it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--ray needs Ray Data: pip install 'price-engine[ray]'.") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ray


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to the Ray cluster at `address`, or to one started here (`local`), until the block ends.

    UsageError where Ray is not installed or nobody answers.
    """
    ray = require_ray()
    try:
        _require_answer(address)
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address}: start one with `ray start --head`, or say `--ray local`; one "
            "that asks for a token answers where RAY_AUTH_MODE and RAY_AUTH_TOKEN are set as there."
        ) from error
    try:
        yield Cluster()
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT or ray://HOST:PORT; UsageError where the latter needs more."""
    named = re.fullmatch(r"(ray://)?\[?([^/\]]+)\]?:([0-9]{1,5})", address)
    if named is None:  # `local`, `auto`, or something that Ray refuses at once
        return
    if named[1] and importlib.util.find_spec("grpc") is None:
        raise UsageError(
            f"{address} needs Ray's client: pip install 'ray[client]', or give HOST:PORT of the cluster itself."
        )
    socket.create_connection((named[2], int(named[3])), ANSWER_SECONDS).close()


def refusal(error: BaseException, lost: str, remedy: str) -> BaseException:
    """The error to raise: what a worker raised, as it is; for a worker that died over `lost`, a sentence."""
    raised = _raised(error)
    if not _is_of_ray(raised):
        return raised
    return PriceError(f"A worker died {RETRIES + 1} times over {lost} ({type(raised).__name__}): {remedy}")


def _raised(error: BaseException) -> BaseException:
    """The error that was raised first, in a worker or by Ray."""
    cause: BaseException | None = error
    while cause is not None:
        last, cause = cause, getattr(cause, "cause", None) or cause.__cause__
    return last


def _is_of_ray(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "ray"


def workers_for(tasks: int, *, gpu: bool = False) -> int:
    """Number of workers for so many tasks: one a core, or one a GPU."""
    import ray

    return max(1, min(tasks, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1))))


class Cluster:
    """A Ray cluster that this process is connected to."""

    def share_out(
        self,
        open_worker: Callable[..., Callable[[Task], Result]],
        given: Sequence[Any],
        tasks: Iterable[Task],
        *,
        most: int,
        lost: str,
        gpu: bool = False,
    ) -> Iterator[tuple[Task, Result]]:
        """Tasks with their results, as they are done, by up to `most` workers; a task is taken when one is free.

        Each worker calls `open_worker(*given)` once, and what that returned for every task. What a worker raises is
        raised here. One that dies is replaced and its task tried again; PriceError, which names the task as `lost`,
        where that helps not.
        """
        workers = _Workers(open_worker, given, gpu=gpu)
        ahead = (_Attempt(task) for task in tasks)
        waiting = deque(islice(ahead, 1))  # the next task, before it those whose workers died
        try:
            for _ in range(workers_for(most, gpu=gpu)):
                workers.start(_Attempt(None))
            while waiting or workers.busy:
                worker, attempt, result, death = workers.next_done()
                if death is not None:
                    if attempt.deaths == RETRIES:
                        remedy = "give it more memory; what is finished is kept, and the same command goes on."
                        raise refusal(death, lost, remedy) from death
                    again = attempt._replace(deaths=attempt.deaths + 1)
                    if attempt.task is not None:
                        waiting.appendleft(again)
                    workers.start(again if attempt.task is None else _Attempt(None))
                    continue
                if waiting:
                    workers.give(worker, waiting.popleft())
                    waiting.extend(() if waiting else islice(ahead, 1))
                else:
                    workers.stop(worker)
                if attempt.task is not None:
                    yield attempt.task, result
        finally:
            workers.end()


class _Attempt(NamedTuple):
    """A try at a task, None for the opening of a worker, after so many deaths of workers over it."""

    task: Any
    deaths: int = 0


class _Workers:
    """Workers, and what each of them is at."""

    def __init__(self, open_worker: Callable[..., Any], given: Sequence[Any], *, gpu: bool) -> None:
        import ray

        # A dead worker is ours to replace: Ray would try without end what runs out of memory.
        how: dict[str, Any] = {"num_cpus": 1, "num_gpus": int(gpu), "max_restarts": 0, "max_task_retries": 0}
        self._remote = ray.remote(_Worker).options(**how)
        self._open_worker, self._given = open_worker, [ray.put(value) for value in given]
        self._running: dict[Any, tuple[Any, _Attempt]] = {}
        self.busy = 0
        """Number of workers that are at a task."""

    def start(self, attempt: _Attempt) -> None:
        """Start a worker, which is given a task when it is open: not before, for it may wait for a core."""
        worker = self._remote.remote()
        self._running[worker.open.remote(self._open_worker, *self._given)] = worker, attempt

    def give(self, worker: Any, attempt: _Attempt) -> None:
        """Give a task to a worker."""
        self._running[worker.run.remote(attempt.task)] = worker, attempt
        self.busy += 1

    def next_done(self) -> tuple[Any, _Attempt, Any, BaseException | None]:
        """A worker that is done, with its result; or that has died, and of what. Raises what a worker raised."""
        import ray
        from ray.exceptions import RayError

        (done, *_), _ = ray.wait(list(self._running), num_returns=1)
        worker, attempt = self._running.pop(done)
        self.busy -= attempt.task is not None
        try:
            return worker, attempt, ray.get(done), None
        except RayError as error:
            self.stop(worker)
            raised = _raised(error)
            if not _is_of_ray(raised):
                raise raised from error
            return worker, attempt, None, error

    def stop(self, worker: Any) -> None:
        """Let go of a worker, and of the memory that it takes."""
        import ray

        ray.kill(worker)

    def end(self) -> None:
        """Let go of all that are left."""
        for worker, _ in self._running.values():
            self.stop(worker)


class _Worker:
    """A worker on a machine of the cluster."""

    def open(self, open_worker: Callable[..., Callable[[Any], Any]], *given: Any) -> None:
        self._work = open_worker(*given)

    def run(self, task: Any) -> Any:
        return self._work(task)
