"""Claims about what a query hears of the catalogue: it comes back from the disk as it went there."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from engine.ensemble.stacker import Goods
from engine.serving.reference import SHOWN, Comparables, open_comparables, read_comparables, write_comparables
from index.catalogue.items import make_items
from index.errors import DataRefused
from index.search.int8_codes import encode_rows
from index.search.neighbours import BandIndex


def comparables_of(rows, dim=6, directions=6) -> Comparables:
    random = np.random.default_rng(0)
    names, images = [f"Tea {i} [/b]\x1b" for i in range(rows)], [None if i % 2 else f"{i}.jpg" for i in range(rows)]
    items = make_items([str(i) for i in range(rows)], names, images)
    space = random.normal(size=(rows, directions)) @ random.normal(size=(directions, dim))
    space = (space / np.linalg.norm(space, axis=1, keepdims=True)).astype(np.float32)
    goods = Goods(random.normal(size=rows), random.integers(0, 5, rows), random.normal(size=rows))
    goods.log_amount[::3] = np.nan
    return Comparables(items, space, goods, random.normal(size=rows), (np.arange(rows) % 3).astype(np.int8))


@pytest.mark.parametrize("chunks", [1, 3])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, chunks):
    rows = comparables_of(9)
    pieces = [rows.shown.slice(start, 9 // chunks) for start in range(0, 9, 9 // chunks)]
    write_comparables(tmp_path, replace(rows, shown=pa.concat_tables(pieces)))
    back = read_comparables(tmp_path)
    assert back.shown.to_pylist() == rows.shown.select(SHOWN).to_pylist()
    for there, was in ((back, rows), (back.goods, rows.goods)):
        for name, value in vars(was).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(there, name), value)
                assert getattr(there, name).dtype == value.dtype


def test_rows_without_a_vector_are_kept_and_never_found(tmp_path):
    rows = comparables_of(9)
    rows.space[[0, 4]] = 0
    write_comparables(tmp_path, rows)
    opened = open_comparables(tmp_path)
    np.testing.assert_array_equal(opened.space(), rows.space)
    assert sorted(opened.order.rows.tolist()) == [1, 2, 3, 5, 6, 7, 8]
    near = opened.index().search(rows.space[[1]], [0.0], k=9, band=np.inf)
    assert sorted(near.rows[0].tolist()) == [-1, -1, 1, 2, 3, 5, 6, 7, 8]


def test_a_query_finds_rows_by_their_number_in_the_catalogue(tmp_path):
    rows = comparables_of(60)
    write_comparables(tmp_path, rows)
    opened = open_comparables(tmp_path)
    want = BandIndex(rows.space, rows.goods.log_price).search(rows.space, rows.goods.log_price, k=7, band=0.8)
    near = opened.index().search(rows.space, rows.goods.log_price, k=7, band=0.8)
    np.testing.assert_array_equal(near.rows, want.rows)
    np.testing.assert_array_equal(near.similarity, want.similarity)
    assert [one["item_id"] for one in opened.shown(near.rows[:, 0])] == [str(row) for row in range(60)]


def test_a_large_file_holds_what_it_is_scanned_by_and_is_searched_without_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.serving.reference.SCAN_ROWS", 50)
    monkeypatch.setattr("index.search.dense.SCAN_ROWS", 50)
    monkeypatch.setattr("index.search.dense.SCAN_AFTER", 0)
    rows = comparables_of(400, dim=256, directions=40)
    write_comparables(tmp_path, rows)
    order = open_comparables(tmp_path).order
    made = encode_rows(rows.space[order.rows])
    np.testing.assert_array_equal(order.codes.whole.code, made.whole.code)
    np.testing.assert_array_equal(order.codes.head.level.code, made.head.level.code)
    np.testing.assert_array_equal(order.codes.head.projection, made.head.projection)
    assert not any(each.flags.owndata or each.flags.writeable for each in (order.vectors, order.codes.whole.code))
    want = BandIndex(rows.space, rows.goods.log_price).search(rows.space, rows.goods.log_price, k=7, band=0.8)
    np.testing.assert_array_equal(
        open_comparables(tmp_path).index().search(rows.space, rows.goods.log_price, k=7, band=0.8).rows, want.rows
    )


@pytest.mark.parametrize("search", ["faiss", "lance"])
def test_what_a_backend_keeps_lies_beside_the_rows(tmp_path, search):
    rows = comparables_of(30)
    write_comparables(tmp_path, rows, search)
    assert len(list(tmp_path.iterdir())) == 2
    near = open_comparables(tmp_path).index(search).search(rows.space, rows.goods.log_price, k=3, band=5)
    np.testing.assert_array_equal(near.rows[:, 0], np.arange(30))


def test_a_machine_of_less_memory_opens_what_was_built_for_slices_by_slices(tmp_path, monkeypatch):
    rows = comparables_of(30)
    write_comparables(tmp_path, rows)
    monkeypatch.setattr("index.search.backends.total_memory", lambda: 10)
    assert open_comparables(tmp_path).index().backend == "slice: exact, and 30 rows of 6 numbers are mapped."


def test_a_machine_of_more_memory_uses_the_table_that_was_built(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("index.search.backends.total_memory", lambda: 10)
        write_comparables(tmp_path, comparables_of(30))
    assert (tmp_path / "search.lance").is_dir()
    assert open_comparables(tmp_path).index().backend.startswith("lance")


def test_a_vector_with_nan_is_refused_by_its_row(tmp_path):
    rows = comparables_of(9)
    rows.space[3, 1] = np.nan
    with pytest.raises(DataRefused, match="the first at row of the catalogue 3"):
        write_comparables(tmp_path, rows)


def test_rows_are_shown_by_their_number(tmp_path):
    write_comparables(tmp_path, comparables_of(9))
    assert [one["item_id"] for one in open_comparables(tmp_path).shown([7, 2])] == ["7", "2"]


def test_a_catalogue_of_one_row_is_kept_too(tmp_path):
    write_comparables(tmp_path, comparables_of(1))
    assert read_comparables(tmp_path).space.shape == (1, 6)
