"""Claims about the cores and threads of a process."""

import contextlib
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from index.threads import limited_products, one_thread, own_cores, own_threads, thread_pool


@pytest.mark.parametrize(("asked", "threads"), [("", 4), ("3", 3), ("9", 4), ("0", 4), ("many", 4), ("-1", 4)])
def test_threads_are_one_a_core_or_fewer_where_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert (own_cores(), own_threads()) == (4, threads)


def test_where_the_system_does_not_say_which_cores_are_ours_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for told, cores in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda told=told: told)
        assert own_cores() == cores


def test_an_error_does_not_wait_for_what_has_begun_and_what_has_not_never_does() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work(task: int) -> None:
        begun.set()
        may_end.wait(60)
        ended.append(task)

    with pytest.raises(KeyboardInterrupt), thread_pool(1) as pool:
        tasks = [pool.submit(work, task) for task in range(3)]
        begun.wait(60)
        raise KeyboardInterrupt
    assert ended == []
    may_end.set()
    assert tasks[0].result(60) is None
    assert all(task.cancelled() for task in tasks[1:])


@pytest.fixture
def pools() -> Iterator[ThreadpoolController]:
    """The libraries of this process, on three threads."""
    np.eye(2) @ np.eye(2)  # of which there is one at least
    import faiss  # noqa: F401  which brings one that OpenMP runs

    pools = ThreadpoolController()
    limits = pools.limit(limits=3)
    with pools.limit():
        pass  # which lets other threads set theirs
    yield pools
    with limits:
        pass


def counts(pools: ThreadpoolController) -> set[int]:
    """The numbers that are the whole process's: FAISS's own OpenBLAS has one for each thread."""
    blas = [library for library in pools.lib_controllers if library.user_api == "blas"]
    return {library.num_threads for library in blas if library.threading_layer != "openmp"}


def test_products_run_on_so_many_threads_inside_the_block_and_an_inner_one_counts(pools: ThreadpoolController) -> None:
    with one_thread(pools):
        assert {library.num_threads for library in pools.lib_controllers} == {1}
        with limited_products(pools, 2):
            assert counts(pools) == {2}
        assert counts(pools) == {1}
    assert {library.num_threads for library in pools.lib_controllers} == {3}


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_the_threads_of_before_are_back_when_blocks_of_two_threads_have_overlapped(
    pools: ThreadpoolController, first_to_leave: int
) -> None:
    entered, may_leave = [[threading.Event() for _ in range(2)] for _ in range(2)]

    def block(number: int) -> None:
        with one_thread(pools):
            entered[number].set()
            may_leave[number].wait(60)

    threads = [threading.Thread(target=block, args=(number,)) for number in range(2)]
    for thread, began in zip(threads, entered, strict=True):
        thread.start()
        assert began.wait(60)
    for number in (first_to_leave, 1 - first_to_leave):
        assert counts(pools) == {1}
        may_leave[number].set()
        threads[number].join(60)
    assert counts(pools) == {3}


def test_a_block_that_fails_leaves_the_threads_as_they_were(pools: ThreadpoolController) -> None:
    with contextlib.suppress(KeyError), one_thread(pools):
        raise KeyError
    assert counts(pools) == {3}


def test_a_block_counts_though_another_thread_has_set_a_number_and_lives_on(pools: ThreadpoolController) -> None:
    has_set, may_end = threading.Event(), threading.Event()

    def set_and_stay() -> None:
        for library in pools.lib_controllers:
            library.set_num_threads(2)
        has_set.set()
        may_end.wait(60)

    thread = threading.Thread(target=set_and_stay)
    thread.start()
    assert has_set.wait(60)
    with one_thread(pools):
        assert counts(pools) == {1}
    assert counts(pools) == {2}
    may_end.set()
    thread.join(60)
