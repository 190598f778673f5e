"""Progress of a build as a whole, once everything is encoded: how much of all that is left to do is done.

Stages take very different times. What each is expected to take, by rows and folds, makes parts of a thousand of it; how
long the rest takes is then told by the parts that are done, whatever the machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.members.kernel.fits import kernels_for
from engine.settings.schema import Settings
from index.progress import OnProgress

PARTS = 1000
KERNEL, MODELS, STACKER, CORRECTION, WRITING = (
    "fitting the kernel",
    "fitting models",
    "fitting the stacker",
    "fitting the correction",
    "writing the index",
)
# CPU seconds on one machine, of which the ratios matter: see `expected_seconds`.
OF_PAIR, OF_CUBE, OF_FIT, OF_STACKER, OF_CORRECTION, OF_WRITING = 1.4e-7, 1e-11, 1.1e-3, 7e-5, 6e-3, 3e-4
OF_SEARCH = 5.5e-8  # of a row among all


def expected_seconds(rows: int, settings: Settings) -> dict[str, float]:
    """Seconds of each stage, in their order, of a build of so many rows."""
    folds = settings.folds or 0
    landmarks = min(rows, settings.kernel.landmarks)
    kernels = kernels_for(rows, landmarks) * (OF_PAIR * rows * landmarks + OF_CUBE * rows * landmarks**2)
    alone = [name for name in settings.members if name != "kernel"]
    return {
        KERNEL: kernels if "kernel" in settings.members else 0.0,
        MODELS: OF_FIT * rows * folds * (folds + 1) / 2 * len(alone) / 3,
        STACKER: OF_STACKER * rows * folds**2 + OF_SEARCH * rows**2 if settings.stacker.rounds else 0.0,
        CORRECTION: OF_CORRECTION * rows + OF_SEARCH * rows**2,
        WRITING: OF_WRITING * rows,
    }


def as_a_whole(on_progress: OnProgress, expected: Mapping[str, float]) -> OnProgress:
    """Reports of the stages in `expected` as parts of all of them; other reports as they are."""
    stages, whole = list(expected), sum(expected.values()) or 1.0

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage not in expected:
            on_progress(stage, done, total)
            return
        before = sum(expected[earlier] for earlier in stages[: stages.index(stage)])
        within = expected[stage] * done / total if total else 0.0
        on_progress(f"building, {stage}", int(PARTS * (before + within) / whole), PARTS)

    return tell
