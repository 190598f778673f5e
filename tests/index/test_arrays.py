"""Claims about runs of rows, rows of unit length and rows in int8."""

import numpy as np
import pytest

from index.arrays import chunks, int8_rows, unit_rows


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


def test_rows_in_int8_are_within_half_a_scale_and_no_number_stays_no_number() -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    values[3] = 0
    whole, scale = int8_rows(values)
    assert (whole.dtype, scale.dtype) == (np.int8, np.float32) and np.abs(whole).max() == 127
    assert (np.abs(whole * scale[:, None] - values) <= 0.501 * scale[:, None]).all() and not whole[3].any()
    values[5, 1], values[6, 2] = np.nan, np.inf
    whole, scale = int8_rows(values)
    assert np.isfinite(np.delete(scale, [5, 6])).all()
    assert np.isnan(scale[5]) and np.isinf(scale[6])  # and so whatever is multiplied by them


def test_no_rows_and_no_columns_are_none_in_int8() -> None:
    for shape in ((0, 3), (2, 0)):
        whole, scale = int8_rows(np.zeros(shape, np.float32))
        assert whole.shape == shape and scale.shape == shape[:1]
