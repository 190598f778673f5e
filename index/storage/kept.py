"""Names under which generations of an index are kept: one JSON file, checked when it is read and written whole.

A generation that has a name is never cleaned away. Who reads or writes it holds no lock here: that is the writer's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from index.contents import MOST_JSON, expect, loading, parse_json
from index.errors import IndexUnusable, UsageError
from index.files import atomic_write, fsync, open_regular
from index.storage.layout import FINISHED, KEPT

CURRENT_NAME = "current"  # what a user calls the generation that CURRENT names
MOST_NAMES = 1_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NUMBERED = re.compile(r"gen-[0-9]+")  # means a generation's number, with zeros or without


def require_name(name: str) -> None:
    """Raise UsageError for what is no name of a generation that is kept."""
    if not _NAME.fullmatch(name) or name == CURRENT_NAME or _NUMBERED.fullmatch(name):
        raise UsageError(
            f"{name!r:.70} cannot name a generation: take a letter, then letters, digits, dots, dashes or underlines, "
            f"at most 64 in all, and neither {CURRENT_NAME!r} nor gen- with a number."
        )


def read_kept(index_dir: Path) -> dict[str, str]:
    """Name -> generation, in the order in which they were kept. IndexUnusable for a file that nobody wrote so."""
    path = index_dir / KEPT
    if not path.exists():
        return {}
    try:
        with loading(path), open_regular(path) as file:
            kept = parse_json(file.read(MOST_JSON))
            expect(len(kept) <= MOST_NAMES, f"it holds {len(kept):,} names")
            for name, generation in kept.items():
                expect(_NAME.fullmatch(name) is not None, f"{name[:40]!r} is no name")
                expect(isinstance(generation, str) and FINISHED.fullmatch(generation), f"{name} names no generation")
            return dict(kept)
    except (IndexUnusable, OSError) as error:
        raise IndexUnusable(
            f"{path} cannot be used, which says which generations are kept: bring it back, or remove it and name them "
            "again with `price keep`."
        ) from error


def write_kept(index_dir: Path, kept: Mapping[str, str]) -> None:
    """Write the names in the place of those that are there. Raises UsageError for too many."""
    if len(kept) > MOST_NAMES:
        raise UsageError(
            f"An index keeps at most {MOST_NAMES:,} generations by name: drop one with `price keep --drop`."
        )
    with atomic_write(index_dir / KEPT) as partial:
        partial.write_text(json.dumps(dict(kept), indent=2) + "\n", encoding="ascii")
    fsync(index_dir)
