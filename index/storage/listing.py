"""List the generations of an index that are there: their numbers, their names, and what their manifests say of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index.errors import IndexUnusable
from index.storage.generations import current_generation, finished_generations, number_of
from index.storage.kept import read_kept
from index.storage.manifest import read_manifest


@dataclass(frozen=True)
class Generation:
    """A finished generation; `rows` and `created` are None where this version does not read its manifest."""

    number: int
    current: bool
    names: tuple[str, ...]  # that it is kept by
    rows: int | None
    created: str | None  # UTC, ISO 8601

    def to_json(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {**asdict(self), "names": list(self.names)}


def list_generations(index_dir: Path) -> list[Generation]:
    """List the generations, the oldest first. Raises IndexUnusable where there is no index."""
    current, kept = current_generation(index_dir), read_kept(index_dir)
    found = []
    for folder in finished_generations(index_dir):
        names = tuple(name for name, generation in kept.items() if generation == folder.name)
        rows, created = None, None
        try:
            manifest = read_manifest(folder, files=False)
            rows, created = manifest.rows, manifest.created
        except IndexUnusable:
            pass  # of another version, or damaged: it is there all the same, and takes space
        found.append(Generation(number_of(folder.name), folder == current, names, rows, created))
    return found
