"""Claims about runs of rows and rows of unit length."""

import numpy as np
import pytest

from index.arrays import chunks, unit_rows


@pytest.mark.parametrize(("rows", "size"), [(0, 3), (1, 3), (3, 3), (10, 3), (10, 100)])
def test_chunks_cover_every_row_once_in_order_and_none_is_larger_than_asked(rows: int, size: int) -> None:
    parts = list(chunks(rows, size))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows))
    assert all(part.stop - part.start == size for part in parts[:-1])
    assert all(0 < part.stop - part.start <= size for part in parts[-1:])


def test_unit_rows_have_length_one_and_rows_without_length_stay_zero() -> None:
    vectors = np.array([[3, 4], [0, 0], [1e-7, 0]], np.float32)
    unit = unit_rows(vectors)
    np.testing.assert_array_equal(unit, np.array([[0.6, 0.8], [0, 0], [1, 0]], np.float32))
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit_rows(vectors, least=1e-6)[2], [0, 0])
    np.testing.assert_array_equal(vectors[0], [3, 4])
