"""Parameter space of `price tune`: settings that can be searched, their bounds, and the way from a point to settings.

A point is a number by the path of a setting (`correction.band`, `mlp.fit.epochs`). A blend's weights are given as
shares of any size and divided by their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from engine.members.member import Range
from engine.members.registry import MEMBERS as SPECS
from engine.settings.ranges import distinct
from engine.settings.read import settings_from, suggestion
from engine.settings.schema import Settings
from index.errors import UsageError

if TYPE_CHECKING:
    from engine.settings.schema import CorrectionParameters

CORRECTION, BLEND, STACKER, MEMBERS = PARTS = ("correction", "blend", "stacker", "members")
Point = dict[str, float]


OF_CORRECTION = {
    "correction.k": Range(2, 256, log=True, whole=True),
    "correction.band": Range(0.1, 5.0, log=True),  # there are hardly two prices whose ratio is more than 150
    "correction.decay": Range(0.1, 50.0, log=True),
    "correction.alpha": Range(0.02, 1.5),
}
OF_STACKER = {
    "stacker.rounds": Range(50, 1500, log=True, whole=True),
    "stacker.leaves": Range(4, 63, log=True, whole=True),
    "stacker.learning_rate": Range(0.005, 0.1, log=True),
    "stacker.feature_fraction": Range(0.2, 1.0),
    "stacker.least_rows_in_leaf": Range(10, 200, log=True, whole=True),
    "stacker.k": Range(4, 64, log=True, whole=True),
    "stacker.band": Range(0.3, 5.0, log=True),
}


def require_parts(parts: Sequence[str]) -> None:
    """Raise UsageError for a part that there is not, or that is named twice."""
    for part in parts or ("",):
        if part not in PARTS:
            raise UsageError(f"--what {part!r} cannot be searched{suggestion(part, dict.fromkeys(PARTS))}.")
    distinct("--what", tuple(parts))


def ranges(parts: Sequence[str], settings: Settings) -> dict[str, Range]:
    """Ranges that are searched. Raises UsageError for a part that this index has nothing of."""
    if STACKER in parts and not settings.stacker.rounds:
        raise UsageError("The index has no stacker, so there is nothing to search of it: leave stacker out of --what.")
    found: dict[str, Range] = {}
    for part in sorted(set(parts), key=PARTS.index):
        found |= _of_part(part, settings)
    if not found:
        raise UsageError(f"The index has one member, so --what {','.join(parts)} leaves nothing to search.")
    return found


def _of_part(part: str, settings: Settings) -> dict[str, Range]:
    if part == BLEND:
        several = len(settings.members) > 1
        return {f"blend.{member}": Range(0.0, 1.0) for member in settings.members if several}
    if part == MEMBERS:
        return {f"{m}.{key}": bounds for m in settings.members for key, bounds in (SPECS[m].tunable or {}).items()}
    return {CORRECTION: OF_CORRECTION, STACKER: OF_STACKER}[part]


def point_of(
    searched: Mapping[str, Range],
    settings: Settings,
    weights: Mapping[str, float],
    correction: CorrectionParameters,
) -> Point:
    """The point of the index's settings; `weights` and `correction` where they are left to be fitted."""
    now: dict[str, Any] = asdict(settings)
    now["blend"], now["correction"] = dict(weights), asdict(correction)
    point = {}
    for path in searched:
        value: Any = now
        for key in path.split("."):
            value = value[key]
        point[path] = value
    return point


def settings_at(point: Mapping[str, float], settings: Settings) -> Settings:
    """The settings with those of the point in their place."""
    document: dict[str, Any] = asdict(settings)
    for path, value in point.items():
        section, *_, key = keys = path.split(".")
        if section != BLEND:
            below = document
            for name in keys[:-1]:
                below = below[name]
            below[key] = value
    shares = {path.partition(".")[2]: share for path, share in point.items() if path.startswith(f"{BLEND}.")}
    if shares:
        total = sum(shares.values())
        equal = 1 / len(shares)
        document[BLEND] = {member: share / total if total else equal for member, share in shares.items()}
    return settings_from(document)


def key_of(path: str) -> str:
    """The path as a settings file spells it: `correction.lambda` for `correction.decay`."""
    section: Any = Settings()
    keys = []
    for name in path.split("."):
        keys += [field.metadata.get("key", name) for field in fields(section) if field.name == name]
        section = getattr(section, name)
    return ".".join(keys)
