"""Notes of what a build of a large catalogue does by a part of its rows, lest it take time with their square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.ensemble.cross_fit import MOST_TRIED_ON

if TYPE_CHECKING:
    from engine.settings.schema import Settings


def bounded_notes(rows: int, settings: Settings) -> tuple[str, ...]:
    """Say, of a build of so many rows, what goes by fewer; nothing where all of it goes by all."""
    landmarks, correction = settings.kernel.landmarks, settings.correction
    bounds = []
    if "kernel" in settings.members and rows > landmarks:
        bounds.append(f"the kernel compares items with {landmarks:,} of them, drawn by the seed ([kernel] landmarks)")
    free = None in (correction.k, correction.band, correction.decay, correction.alpha)
    if free and rows > MOST_TRIED_ON:
        bounds.append(f"the correction's parameters are chosen on {MOST_TRIED_ON:,}")
    if not bounds:
        return ()
    why = "so that time and memory grow with them and not with their square"
    return (f"Of the {rows:,} rows, {why}: {'; '.join(bounds)}.",)
