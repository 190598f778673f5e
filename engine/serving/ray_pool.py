"""Shards priced by many workers, through Ray Data: each worker opens the index once and prices shard after shard.

A worker reads its shard's rows from OUT.parts and leaves the prices there, so that folder, the index and the
photographs must be where every worker finds them: on this machine they are, on a cluster on a shared disk (the index
also on an object store). What goes over Ray itself is a number for a shard and a line of the journal back.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.serving.shards import ShardResult
from index.cluster import RETRIES, connected, refusal, require_ray, workers_for

if TYPE_CHECKING:
    from engine.serving.price_file_job import Pool, PriceFileJob

REMEDY = "give it more memory, or fewer rows with --shard-rows; what is priced is kept, and the same command goes on."


def ray_pool(address: str) -> Pool:
    """A pool whose workers are those of the Ray cluster at `address`, or of one started here (`local`).

    UsageError where Ray is not installed or nobody answers; PriceError for a shard whose workers die again and again.
    """
    require_ray()

    def price(job: PriceFileJob, shards: Sequence[int]) -> Iterator[ShardResult]:
        with connected(address):
            yield from _priced(job, shards)

    return price


def _priced(job: PriceFileJob, shards: Sequence[int]) -> Iterator[ShardResult]:
    """Results of the shards as they are done, in any order."""
    from ray.data import ActorPoolStrategy, DataContext, from_items
    from ray.exceptions import RayError

    DataContext.get_current().enable_progress_bars = False
    gpu = job.settings.runtime.device.startswith("cuda")
    given = from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the two last arguments go in Ray 2.64, below which pyproject.toml keeps it
        priced = given.map(
            _Worker,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(size=workers_for(len(shards), gpu=gpu)),
            num_cpus=1,
            num_gpus=int(gpu),
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
    try:
        for row in priced.iter_rows():
            yield ShardResult(**json.loads(row["done"]))
    except RayError as error:
        raise refusal(error, "one shard", REMEDY) from error


class _Worker:
    """A worker on a machine of the cluster, with an open index."""

    def __init__(self, job: PriceFileJob) -> None:
        from engine.serving.shard_pricer import ShardPricer

        self._pricer = ShardPricer(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        # As text: of mappings Ray makes structs, in which a key of one shard's appears in the others' as null.
        return {"done": json.dumps(asdict(self._pricer.price(int(row["shard"]))))}
