"""Name every file and folder of an index on disk, what it holds, and which step of its life writes it anew.

A build writes everything. Every later step makes a new generation out of the current one, in which a file that the step
leaves as it was is the old file under a second name. A name that is not listed here is a mistake, and no manifest
lists it. It knows names and sizes, and opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from index.search import FAISS, LANCE

# Of an index.
CURRENT = "CURRENT"
KEPT = "kept.json"
LOCK = "lock"
CACHE = "cache"
PHOTOGRAPHS = "photographs"  # below the cache
TUNING = "tuning"  # below the cache
FITS = "fits"  # below the cache
FINISHED = re.compile(r"gen-([0-9]{6,})")  # the name of a finished generation

# Of a generation. A name that ends in a slash is a folder, with everything below it.
MANIFEST = "manifest.json"
ITEMS = "items.lance/"
REFERENCE = "reference.arrow"
FAISS_INDEX = "search.faiss"
LANCE_INDEX = "search.lance/"
OUT_OF_FOLD = "out_of_fold.parquet"
HELD_OUT = "held_out.parquet"
REMOVED_ROWS = "removed_rows.parquet"
LSA = "lsa.safetensors"
CATEGORIES = "categories.safetensors"
MODELS = "models/"
PRICE_MODEL = "models/price_model.json"
REPORT = "report.json"
TUNING_RECORD = "tuning.json"
REJECTS = "rejects.csv"


class Step(Enum):
    """A step that makes a new generation out of the current one."""

    ADD = "rows are added, and replaced where asked"
    REMOVE = "rows are removed"
    COMPACT = "what removed rows left is dropped"
    TUNE_CORRECTION = "other settings of the correction alone"
    TUNE = "other settings of the blend, the stacker or the members as well"


OF_ROWS = frozenset({Step.ADD, Step.REMOVE, Step.COMPACT})
OF_SETTINGS = frozenset({Step.TUNE_CORRECTION, Step.TUNE})


@dataclass(frozen=True)
class Entry:
    """A file of a generation, or a folder with everything below it."""

    name: str
    holds: str
    rewritten_by: frozenset[Step]


GENERATION = (
    Entry(MANIFEST, "how the generation was made, and the sha256 of every other file", OF_ROWS | OF_SETTINGS),
    Entry(ITEMS, "items and their vectors: a Lance table", OF_ROWS),
    Entry(REFERENCE, "what a query may use of every row, in price order", OF_ROWS | {Step.TUNE}),
    Entry(FAISS_INDEX, "FAISS's lists of the search vectors, where that backend was chosen", OF_ROWS | {Step.TUNE}),
    Entry(LANCE_INDEX, "a Lance table of the search vectors, where that backend was chosen", OF_ROWS | {Step.TUNE}),
    Entry(OUT_OF_FOLD, "what models that never saw a row predicted for it", OF_ROWS | {Step.TUNE}),
    Entry(HELD_OUT, "what each row was priced at without its fold, with its interval", OF_ROWS | OF_SETTINGS),
    Entry(REMOVED_ROWS, "rows that the models were trained on and that were removed", OF_ROWS),
    Entry(LSA, "the projection of words to search vectors, where they are searched by words", frozenset()),
    Entry(CATEGORIES, "hashes of the categories' values that the build has seen, where there are any", frozenset()),
    Entry(PRICE_MODEL, "the blend, the correction and the interval, and which members there are", OF_SETTINGS),
    Entry(MODELS, "a file for each member, or stacker, and fold", OF_SETTINGS),
    Entry(REPORT, "the evaluation", OF_SETTINGS),
    Entry(TUNING_RECORD, "what a search for settings tried", OF_SETTINGS),
    Entry(
        REJECTS,
        "rows of the catalogue, or of the file that was added last, that could not be used",
        frozenset({Step.ADD}),
    ),
)
"""Everything that a generation may hold; of a name and a folder that it lies in, the name stands first."""


def entry_of(path: str) -> Entry:
    """Return a file's entry by its path in the generation, with forward slashes. AssertionError for an unknown path."""
    entry = _find_entry(path)
    assert entry is not None, f"{path} is no file of a generation: name it in index/storage/layout.py"
    return entry


def is_file_of_generation(path: str) -> bool:
    """Tell whether a path that a manifest names is one of a generation's, and leads nowhere else."""
    plain = path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))
    return plain and path != MANIFEST and _find_entry(path) is not None


def _find_entry(path: str) -> Entry | None:
    for entry in GENERATION:
        if path == entry.name or (entry.name.endswith("/") and path.startswith(entry.name)):
            return entry
    return None


def unchanged_by(step: Step, paths: Iterable[str]) -> list[str]:
    """List the files of a generation that a step does not write anew: the next generation links to them."""
    return [path for path in paths if step not in entry_of(path).rewritten_by]


def model_file(name: str, fold: int, suffix: str) -> str:
    """The file of a member's, or the stacker's, model of one fold."""
    return f"{MODELS}{name}-{fold}.{suffix}"


def memory_of(generation: Path) -> tuple[int, int]:
    """Return the bytes that a reader loads of a generation, most of them in half precision on the disk, and maps."""
    loaded, mapped = (generation / MODELS).glob("*"), (generation / LSA, generation / REFERENCE)
    return 2 * _total_size(loaded), _total_size(mapped)


def _total_size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def photograph_cache(index_dir: Path) -> Path:
    """Folder of the photographs that were fetched for an index, kept from build to build."""
    return index_dir / CACHE / PHOTOGRAPHS


def tuning_cache(index_dir: Path) -> Path:
    """Folder of the searches for settings that are not over."""
    return index_dir / CACHE / TUNING


def fits_cache(index_dir: Path) -> Path:
    """Folder of the finished fits of a build that is not over."""
    return index_dir / CACHE / FITS


def search_paths(generation: Path) -> dict[str, Path]:
    """Paths of the search backends that keep something on the disk, by the backend's name."""
    return {FAISS: generation / FAISS_INDEX, LANCE: generation / LANCE_INDEX}
