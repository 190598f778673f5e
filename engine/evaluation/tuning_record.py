"""Record of a search for settings on an index's own rows: `tuning.json` in a generation.

Settings that were chosen on the rows that they are scored on look better than they are. So the file also keeps the
honest score, whose choice is made anew for each fold without it (`engine.tuning.tune`), and every trial.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from index.contents import MOST_JSON, expect, finite, loading, parse_json
from index.files import open_regular
from index.storage.layout import TUNING_RECORD


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write into a generation, before its manifest is written."""
    (folder / TUNING_RECORD).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read what `write_record` wrote; None where nothing was searched. IndexUnusable for what is no such record."""
    if not (folder / TUNING_RECORD).exists():
        return None
    with loading(folder / TUNING_RECORD), open_regular(folder / TUNING_RECORD) as file:
        record = parse_json(file.read(MOST_JSON))
        expect({"what", "cross_fitted", "chosen_by_fold"} <= record.keys(), "it lacks what was chosen")
        expect(isinstance(record["what"], list) and all(isinstance(part, str) for part in record["what"]), "no parts")
        expect(finite(record["cross_fitted"]["smape"]), "its score is no number")
        chosen = [value for point in record["chosen_by_fold"] for value in point.values()]
        expect(all(map(finite, chosen)), "a chosen setting is no number")
        return record
