"""Fingerprints of photographs: each is read and hashed once, and what cannot be read is kept with its reason.

A photograph is known by the SHA-256 of its bytes, whatever its name; nothing is decoded here.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from index.arrays import chunks
from index.photographs.formats import ImageRefused
from index.photographs.source import Photographs
from index.progress import OnProgress, silent

READERS = 4  # threads that read, hash or decode; all of these let go of the interpreter
_CHUNK = 1024  # photographs between two reports of progress


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints by reference, and reasons where there is none; each distinct reference is in one of the two."""

    known: dict[str, str]  # reference -> hex SHA-256 of the bytes
    refused: dict[str, str]  # reference -> reason, for a photograph that cannot be read

    def of(self, references: Sequence[str | None]) -> list[str | None]:
        """Return (n,) fingerprints; None for a row without a photograph, or with one that cannot be read."""
        return [None if reference is None else self.known.get(reference) for reference in references]


def read_fingerprints(
    photographs: Photographs, references: Sequence[str | None], on_progress: OnProgress = silent
) -> Fingerprints:
    """Read and hash the photograph of each distinct reference; raises nothing for one that cannot be had."""

    def read(reference: str) -> str | ImageRefused:
        try:
            return photographs.fingerprint(reference)
        except ImageRefused as error:
            return error

    distinct = list(dict.fromkeys(reference for reference in references if reference is not None))
    known: dict[str, str] = {}
    refused: dict[str, str] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for run in chunks(len(distinct), _CHUNK):
            for reference, answer in zip(distinct[run], pool.map(read, distinct[run]), strict=True):
                if isinstance(answer, ImageRefused):
                    refused[reference] = str(answer.reason)
                else:
                    known[reference] = answer
            on_progress("reading photographs", run.stop, len(distinct))
    return Fingerprints(known, refused)
