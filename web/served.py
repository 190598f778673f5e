"""State of an application: what it serves, and with what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from index.errors import IndexUnusable
from index.photographs.source import Photographs
from index.storage.layout import photograph_cache
from index.visible import visible
from web.jobs.folder import JobFolders
from web.jobs.runner import JobRunner
from web.metrics import Metrics
from web.pricing.batches import Batcher
from web.pricing.indexes import ServedIndex
from web.pricing.photographs import PhotographReader
from web.problems import Problem, problem_of
from web.settings import ServeSettings

LOG = logging.getLogger("price")


@dataclass(frozen=True)
class Served:
    """Open indexes, and all that they are served with."""

    settings: ServeSettings
    indexes: Mapping[str, ServedIndex]
    batcher: Batcher
    photographs: PhotographReader
    metrics: Metrics
    jobs: JobRunner
    shown: Mapping[str, Photographs]  # photographs of the rows of an index, where there may be any

    def problem_of(self, error: BaseException) -> Problem:
        """Return the problem that an error is; what is said of an index's files names no path of this machine."""
        problem = problem_of(error)
        if isinstance(error, IndexUnusable):  # alone: others hold words of clients, who would learn if they guess right
            for index in self.indexes.values():
                problem.detail = index.without_paths(problem.detail)
        return problem

    def log_items(self, texts: Callable[[], Sequence[str]]) -> None:
        """Write texts of items to the log where that was allowed."""
        if self.settings.log_items:
            for text in texts():
                LOG.info("item: %s", visible(text))


def served(settings: ServeSettings, indexes: Mapping[str, ServedIndex], metrics: Metrics, jobs: Path) -> Served:
    """Put together what serves open indexes; `jobs` is the folder of files to be priced."""
    web = Photographs(fetch_missing=True) if settings.allow_fetch else None
    shown = {name: photographs for name, index in indexes.items() if (photographs := _shown(settings, index))}
    batcher = Batcher(indexes, settings.limits, metrics)
    return Served(
        settings, indexes, batcher, PhotographReader(settings.limits, web), metrics, JobRunner(JobFolders(jobs)), shown
    )


def _shown(settings: ServeSettings, index: ServedIndex) -> Photographs | None:
    """Return where photographs of the index's rows lie on this machine, None where nowhere; nothing is fetched."""
    cache = photograph_cache(index.folder)
    if settings.image_dir is None and not cache.is_dir():
        return None
    return Photographs(Path(settings.image_dir) if settings.image_dir else None, cache if cache.is_dir() else None)
