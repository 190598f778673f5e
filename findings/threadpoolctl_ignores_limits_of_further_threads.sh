#!/usr/bin/env bash
# threadpoolctl gives OpenBLAS to the first Python thread that sets its number of threads. What any other thread sets is
# ignored without a word, while that one lives and has not let go; a `with` block lets go at its end, a call never does.
# So a program that begins with `threadpool_limits(4)`, in its main thread, can limit nothing in its workers, though
# OpenBLAS's number is the whole process's and the block returns as if it had set it.
#
# Expected: 1 inside the worker's block, as the same block has it in the main thread, or an error or a warning.
# Seen, with threadpoolctl 3.8.0, numpy 2.4.6 on Linux x86-64 (Python 3.11), warnings shown:
#
#     main thread, in a block of 1: 1
#     worker, in a block of 1: 1
#     after a call with 2, main thread, in a block of 1: 1
#     after a call with 2, worker, in a block of 1: 2
#     after clear_controlling_thread(), worker, in a block of 1: 1
#
# What to do: in every thread that sets limits outside of a block, call clear_controlling_thread() of OpenBLAS's
# controller at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
"$bin/pip" install --quiet --disable-pip-version-check --no-input threadpoolctl==3.8.0 numpy==2.4.6 2>/dev/null
cat > "$work/seen.py" <<'PYTHON'
from threading import Thread

import numpy as np  # noqa: F401  brings OpenBLAS
from threadpoolctl import ThreadpoolController, threadpool_limits


def blas():
    (library,) = ThreadpoolController().select(internal_api="openblas").lib_controllers
    return library


def in_a_block(who):
    with threadpool_limits(limits=1, user_api="blas"):
        print(f"{who}, in a block of 1: {blas().num_threads}", flush=True)


def in_a_worker(who):
    thread = Thread(target=in_a_block, args=(who,))
    thread.start()
    thread.join()


in_a_block("main thread")
in_a_worker("worker")
limits = threadpool_limits(limits=2, user_api="blas")
in_a_block("after a call with 2, main thread")
limits = threadpool_limits(limits=2, user_api="blas")
in_a_worker("after a call with 2, worker")
blas().clear_controlling_thread()
in_a_worker("after clear_controlling_thread(), worker")
PYTHON
OPENBLAS_NUM_THREADS=2 "$bin/python" -W always "$work/seen.py" 2>&1 | tee "$work/seen.txt"
diff "$work/seen.txt" - <<'SEEN'
main thread, in a block of 1: 1
worker, in a block of 1: 1
after a call with 2, main thread, in a block of 1: 1
after a call with 2, worker, in a block of 1: 2
after clear_controlling_thread(), worker, in a block of 1: 1
SEEN
