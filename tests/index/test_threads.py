"""Claims about the cores and threads of a process."""

import os
import threading

import pytest

from index.threads import own_cores, own_threads, thread_pool


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
