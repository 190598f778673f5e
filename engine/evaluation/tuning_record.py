"""Were an index's settings searched for on its own rows, and what was found on the way? `tuning.json` in a generation.

Settings that were chosen on the rows that they are scored on look better than they are. So the file also keeps the
honest score, whose choice is made anew for each fold without it (`engine.tuning.tune`), and every trial.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "tuning.json"


def write_history(folder: Path, history: dict[str, Any]) -> None:
    """As `folder`/tuning.json, before the manifest is written."""
    (folder / FILE).write_text(json.dumps(history, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_history(folder: Path) -> dict[str, Any] | None:
    """What `write_history` wrote; None where nothing was searched for. The manifest has checked the file before."""
    if not (folder / FILE).exists():
        return None
    history: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return history


def search_notes(folder: Path) -> tuple[str, ...]:
    """What a reader of the index's score out of fold must know."""
    history = read_history(folder)
    if history is None:
        return ()
    return (
        f"`price tune` chose {', '.join(history['what'])} on these rows, which flatters this figure; with the choice "
        f"made anew for each fold it was {history['cross_fitted']['smape']:.2f}.",
    )
