"""Shards priced by many workers, through Ray Data: each worker opens the index once and prices shard after shard.

A worker reads its shard's rows from OUT.parts and leaves the prices there, so that folder, the index and the
photographs must be where every worker finds them: on this machine they are, on a cluster on a shared disk (the index
also on an object store). What goes over Ray itself is a number for a shard and a line of the journal back.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.serving.shards import ShardResult
from index.errors import PriceError, UsageError

if TYPE_CHECKING:
    from engine.serving.price_file import Pool, PriceFileJob

LOCAL = "local"
RETRIES = 2  # of a shard whose worker died: one that takes every worker along must come to an end


def ray_pool(address: str) -> Pool:
    """A pool whose workers are those of the Ray cluster at `address`, or of one started here (`local`).

    UsageError where Ray is not installed or nobody answers; PriceError for a shard whose workers die again and again.
    """
    _require_ray()

    def price(job: PriceFileJob, shards: Sequence[int]) -> Iterator[ShardResult]:
        with _connected(address):
            yield from _priced(job, shards)

    return price


def _require_ray() -> Any:
    """Import Ray, without its usage reports and with errors alone in its log: progress is ours to show."""
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
def _connected(address: str) -> Iterator[None]:
    ray = _require_ray()
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address}: start one with `ray start --head`, or say `--ray local`."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _priced(job: PriceFileJob, shards: Sequence[int]) -> Iterator[ShardResult]:
    """Results of the shards as they are done, in any order."""
    from ray.data import ActorPoolStrategy, from_items
    from ray.exceptions import RayError

    given = from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    workers = _workers(job, len(shards))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the two last arguments go in Ray 2.64, below which pyproject.toml keeps it
        priced = given.map(
            _Worker,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=1 if job.settings.runtime.device.startswith("cuda") else 0,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
    try:
        for row in priced.iter_rows():
            yield ShardResult(**json.loads(row["done"]))
    except RayError as error:
        raise _refusal(error) from error


def _workers(job: PriceFileJob, shards: int) -> int:
    """One a core, or one a GPU."""
    import ray

    kind = "GPU" if job.settings.runtime.device.startswith("cuda") else "CPU"
    return max(1, min(shards, int(ray.cluster_resources().get(kind, 1))))


def _refusal(error: BaseException) -> BaseException:
    """The error to raise: what a worker raised, as it is; for a worker that died, a sentence."""
    cause: BaseException | None = error
    while cause is not None:
        last, cause = cause, getattr(cause, "cause", None) or cause.__cause__
    if type(last).__module__.partition(".")[0] != "ray":
        return last
    return PriceError(
        f"A worker died {RETRIES + 1} times over one shard ({type(last).__name__}): give it more memory, or fewer "
        "rows with --shard-rows; what is priced is kept, and the same command goes on."
    )


class _Worker:
    """A worker on a machine of the cluster, with an open index."""

    def __init__(self, job: PriceFileJob) -> None:
        from engine.serving.price_file import ShardPricer

        self._pricer = ShardPricer(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        # As text: of mappings Ray makes structs, in which a key of one shard's appears in the others' as null.
        return {"done": json.dumps(asdict(self._pricer.price(int(row["shard"]))))}
