"""Claims about what a build says that it does by some of its rows."""

from dataclasses import replace

import pytest

from engine.lifecycle.bounded import bounded_notes
from engine.settings.schema import Correction, Settings

FIXED = Correction(k=8, band=0.5, decay=3.0, alpha=0.3)


@pytest.mark.parametrize(
    ("rows", "changes", "said"),
    [
        (8_192, {}, []),
        (8_193, {}, ["8,192 of them"]),
        (20_001, {}, ["Of the 20,001 rows", "8,192 of them", "on 20,000"]),
        (20_001, {"members": ("gbdt",)}, ["on 20,000"]),
        (20_001, {"members": ("gbdt",), "correction": FIXED}, []),
        (20_001, {"correction": replace(FIXED, band=None)}, ["8,192 of them", "on 20,000"]),
    ],
)
def test_what_goes_by_fewer_rows_is_said_and_nothing_else(rows, changes, said):
    notes = bounded_notes(rows, replace(Settings(), **changes))
    assert len(notes) == bool(said)
    assert all(part in notes[0] for part in said)
    for part in ("8,192 of them", "on 20,000"):
        assert (part in "".join(notes)) == (part in said)
