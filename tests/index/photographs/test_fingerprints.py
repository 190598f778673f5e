"""Claims about fingerprints: one read for each reference, and a reason for what cannot be read."""

import hashlib
from pathlib import Path

from index.photographs.fingerprints import read_fingerprints
from index.photographs.source import Photographs


class Counted(Photographs):
    """A folder that notes what is asked of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []

    def fingerprint(self, reference: str) -> str:
        self.asked.append(reference)
        return super().fingerprint(reference)


def test_each_reference_is_read_once_and_known_by_its_bytes(tmp_path: Path) -> None:
    for name, data in (("a.png", b"one"), ("b.png", b"two"), ("c.png", b"one")):
        (tmp_path / name).write_bytes(data)
    folder = Counted(tmp_path)
    references = ["a.png", None, "b.png", "a.png", "c.png", "gone.png"]
    fingerprints = read_fingerprints(folder, references)
    one, two = (hashlib.sha256(data).hexdigest() for data in (b"one", b"two"))
    assert fingerprints.of(references) == [one, None, two, one, one, None]
    assert fingerprints.refused == {"gone.png": "missing"}
    assert sorted(folder.asked) == ["a.png", "b.png", "c.png", "gone.png"]


def test_the_last_report_of_progress_says_that_all_are_read(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int | None]] = []
    read_fingerprints(Photographs(tmp_path), ["x.png", "y.png"], lambda *told: reported.append(told))
    assert reported == [("reading photographs", 2, 2)]
