"""Work on a job, as a process of its own: `python -m web.jobs.work FOLDER reads or prices the file that lies there.

What it is about, and how far it is, stands in the folder. A killed one leaves nothing that another needs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from engine.serving.price_file import price_file
from engine.serving.price_file_job import FULL, PriceFileSettings, ReviewSettings
from index.catalogue.inspection import Inspection, examples, inspect_file
from index.catalogue.settings import FOUND
from index.encoders.device import Runtime
from index.errors import DataRefused, IndexUnusable, PriceError
from web.jobs.folder import DONE, PRICING, READ, READING, REFUSED, JobFolder
from web.problems import without_folder

MOST_ROWS = 100_000  # of a file
SHARD_ROWS = 200  # rows between two looks at how far it is
TOLD_EVERY = 0.3  # seconds
LONGEST_EXAMPLE = 200  # characters


def work(job: JobFolder) -> None:
    """Read the file, or price it, as the job's state says."""
    state = job.state()
    try:
        if state.state == READING:
            job.change(**read(job))
        else:
            job.change(state=DONE, result=price(job, state.index_dir))
    except IndexUnusable as error:
        job.change(state=REFUSED, detail=without_folder(str(error), Path(state.index_dir), state.index))
    except PriceError as error:
        job.change(state=REFUSED, detail=without_paths(job, str(error)))


def read(job: JobFolder) -> dict[str, Any]:
    """Return how the file is understood, as changes of the state. Raises DataRefused."""
    found = inspect_file(job.upload, FOUND, on_progress=_refuse_too_many)
    document = found.to_json()
    del document["command"]
    document["notes"] = [without_paths(job, note) for note in document["notes"]]
    document["warnings"] = [without_paths(job, warning) for warning in document["warnings"]]
    state = PRICING if job.state().then_price else READ
    return {"state": state, "reading": document | {"examples": shown_examples(found)}, "rows": found.rows}


def _refuse_too_many(_: str, rows: int, __: int | None) -> None:
    """Raise DataRefused on the way through a file, before all that it unpacks to is in memory."""
    if rows > MOST_ROWS:
        raise DataRefused(f"The file has more than {MOST_ROWS:,} rows: send at most so many at a time.")


def shown_examples(found: Inspection) -> list[dict[str, Any]]:
    """Return a few items as they were read."""
    return [
        {"id": item["item_id"], "text": item["text"][:LONGEST_EXAMPLE], "price": price_of_item}
        for item, price_of_item in examples(found.catalogue)
    ]


def price(job: JobFolder, index_dir: str) -> dict[str, Any]:
    """Price the file, and return the counts."""
    last_written = 0.0

    def tell(stage: str, done: int, total: int | None) -> None:
        nonlocal last_written
        if time.monotonic() - last_written > TOLD_EVERY:
            last_written = time.monotonic()
            progress = {"rows_done": done, "rows": total} if stage == "pricing" and total else {}
            job.change(stage=stage, **progress)

    state = job.state()
    review, runtime = ReviewSettings() if state.review else None, Runtime(state.device, state.precision)
    settings = PriceFileSettings(
        output=FULL, runtime=runtime, shard_rows=SHARD_ROWS, guard_formulas=review is None, review=review
    )
    done = price_file(job.upload, job.prices, index_dir, settings, overwrite=True, on_progress=tell).to_json()
    left_out = ("resumed", "stages", "items_per_second", "output", "rejects")  # of the command line, or of this machine
    return {name: value for name, value in done.items() if name not in left_out}


def without_paths(job: JobFolder, sentence: str) -> str:
    """Return a sentence in which the file has the name that it was uploaded by."""
    for path in (job.prices, job.upload):
        sentence = sentence.replace(str(path), job.state().name).replace(str(path.resolve()), job.state().name)
    return sentence


if __name__ == "__main__":
    work(JobFolder(Path(sys.argv[1])))
