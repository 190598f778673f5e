"""Claims about what a query hears of the catalogue: it comes back from the disk as it went there."""

import numpy as np
import pyarrow as pa
import pytest

from engine.comparables import SHOWN, Comparables, read_comparables, write_comparables
from index.catalogue import make_items


def comparables_of(rows) -> Comparables:
    random = np.random.default_rng(0)
    names, images = [f"Tea {i} [/b]\x1b" for i in range(rows)], [None if i % 2 else f"{i}.jpg" for i in range(rows)]
    items = make_items([str(i) for i in range(rows)], names, images)
    space = random.normal(size=(rows, 6)).astype(np.float32)
    return Comparables(items, space, random.normal(size=rows), random.normal(size=rows))


@pytest.mark.parametrize("chunks", [1, 3])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, chunks):
    rows = comparables_of(9)
    pieces = [rows.shown.slice(start, 9 // chunks) for start in range(0, 9, 9 // chunks)]
    write_comparables(tmp_path, Comparables(pa.concat_tables(pieces), rows.space, rows.log_price, rows.residual))
    back = read_comparables(tmp_path)
    assert back.shown.to_pylist() == rows.shown.select(SHOWN).to_pylist()
    for name in ("space", "log_price", "residual"):
        np.testing.assert_array_equal(getattr(back, name), getattr(rows, name))
        assert getattr(back, name).dtype == getattr(rows, name).dtype


def test_rows_are_shown_by_their_number(tmp_path):
    write_comparables(tmp_path, comparables_of(9))
    assert read_comparables(tmp_path).shown.take([7, 2])["item_id"].to_pylist() == ["7", "2"]


def test_a_catalogue_of_one_row_is_kept_too(tmp_path):
    write_comparables(tmp_path, comparables_of(1))
    assert read_comparables(tmp_path).space.shape == (1, 6)
