"""Claims about what a query may use of the catalogue: it comes back from the disk as it went there."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from engine.ensemble.reference import SHOWN, ReferenceSet
from engine.features.inputs import NUMBERS, Inputs
from engine.features.training_set import TrainingSet
from index.catalogue.item_table import make_items
from index.errors import DataRefused
from index.search.int8.codes import encode_rows
from index.search.neighbours import BandIndex


def rows_of(rows, dim=6, directions=6) -> tuple[pa.Table, TrainingSet, np.ndarray]:
    """Items, what the models know of them, and residuals."""
    random = np.random.default_rng(0)
    names, images = [f"Tea {i} [/b]\x1b" for i in range(rows)], [None if i % 2 else f"{i}.jpg" for i in range(rows)]
    items = make_items([str(i) for i in range(rows)], names, images)
    vectors = random.normal(size=(rows, directions)) @ random.normal(size=(directions, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    numbers = random.normal(size=(rows, len(NUMBERS))).astype(np.float32)
    numbers[:, NUMBERS.index("amount_unknown")] = np.arange(rows) % 3 == 0
    inputs = Inputs({}, numbers, random.integers(0, 5, rows), csr_matrix((rows, 1), dtype=np.float32))
    fold = (np.arange(rows) % 3).astype(np.int8)
    return (
        items,
        TrainingSet(inputs, random.normal(size=rows), vectors, np.arange(rows), fold),
        random.normal(size=rows),
    )


def written(folder, rows, search="auto"):
    """A reference set as it comes back from the disk."""
    ReferenceSet.build(*rows).write(folder, search)
    return ReferenceSet.open(folder, search)


@pytest.mark.parametrize("chunks", [1, 3])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, chunks):
    items, training, residual = rows_of(9)
    pieces = [items.slice(start, 9 // chunks) for start in range(0, 9, 9 // chunks)]
    back = written(tmp_path, (pa.concat_tables(pieces), training, residual))
    assert back.shown(np.arange(9)) == items.select(SHOWN).to_pylist()
    np.testing.assert_array_equal(back.residual, residual)
    np.testing.assert_array_equal(back.search_vectors(), training.search_vectors)
    for name in ("log_price", "unit", "log_amount", "fold"):
        np.testing.assert_array_equal(getattr(back, name), getattr(training, name))
        assert getattr(back, name).dtype == getattr(training, name).dtype


def test_rows_without_a_vector_are_kept_and_never_found(tmp_path):
    rows = rows_of(9)
    vectors = rows[1].search_vectors
    vectors[[0, 4]] = 0
    opened = written(tmp_path, rows)
    np.testing.assert_array_equal(opened.search_vectors(), vectors)
    assert sorted(opened.table.order.rows.tolist()) == [1, 2, 3, 5, 6, 7, 8]
    near = opened.index.search(vectors[[1]], [0.0], k=9, band=np.inf)
    assert sorted(near.rows[0].tolist()) == [-1, -1, 1, 2, 3, 5, 6, 7, 8]


def test_a_query_finds_rows_by_their_number_in_the_catalogue(tmp_path):
    rows = rows_of(60)
    opened, vectors, log_price = written(tmp_path, rows), rows[1].search_vectors, rows[1].log_price
    want = BandIndex(vectors, log_price).search(vectors, log_price, k=7, band=0.8)
    near = opened.index.search(vectors, log_price, k=7, band=0.8)
    np.testing.assert_array_equal(near.rows, want.rows)
    np.testing.assert_array_equal(near.similarity, want.similarity)
    assert [one["item_id"] for one in opened.shown(near.rows[:, 0])] == [str(row) for row in range(60)]


def test_a_set_that_was_never_written_is_searched_too():
    rows = rows_of(9)
    near = ReferenceSet.build(*rows).index.search(rows[1].search_vectors[:1], [0.0], k=1, band=np.inf)
    assert near.rows.tolist() == [[0]]


def test_a_large_file_holds_what_it_is_scanned_by_and_is_searched_without_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("index.search.table.SCAN_ROWS", 50)
    monkeypatch.setattr("index.search.dense.SCAN_ROWS", 50)
    monkeypatch.setattr("index.search.dense.SCAN_AFTER", 0)
    rows = rows_of(400, dim=256, directions=40)
    opened, vectors, log_price = written(tmp_path, rows), rows[1].search_vectors, rows[1].log_price
    order = opened.table.order
    made = encode_rows(vectors[order.rows])
    np.testing.assert_array_equal(order.codes.whole.code, made.whole.code)
    np.testing.assert_array_equal(order.codes.coarse.level.code, made.coarse.level.code)
    np.testing.assert_array_equal(order.codes.coarse.directions, made.coarse.directions)
    assert not any(each.flags.owndata or each.flags.writeable for each in (order.vectors, order.codes.whole.code))
    want = BandIndex(vectors, log_price).search(vectors, log_price, k=7, band=0.8)
    np.testing.assert_array_equal(opened.index.search(vectors, log_price, k=7, band=0.8).rows, want.rows)


@pytest.mark.parametrize("search", ["faiss", "lance"])
def test_what_a_backend_keeps_lies_beside_the_rows(tmp_path, search):
    rows = rows_of(30)
    opened = written(tmp_path, rows, search)
    assert len(list(tmp_path.iterdir())) == 2
    near = opened.index.search(rows[1].search_vectors, rows[1].log_price, k=3, band=5)
    np.testing.assert_array_equal(near.rows[:, 0], np.arange(30))


def test_a_machine_of_less_memory_opens_what_was_built_for_slices_by_slices(tmp_path, monkeypatch):
    opened = written(tmp_path, rows_of(30))
    monkeypatch.setattr("index.search.backends.total_memory", lambda: 10)
    assert opened.index.backend == "slice: exact, and 30 rows of 6 numbers are mapped."


def test_a_machine_of_more_memory_uses_the_table_that_was_built(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("index.search.backends.total_memory", lambda: 10)
        ReferenceSet.build(*rows_of(30)).write(tmp_path)
    assert (tmp_path / "search.lance").is_dir()
    assert ReferenceSet.open(tmp_path).index.backend.startswith("lance")


def test_a_vector_with_nan_is_refused_by_its_row(tmp_path):
    rows = rows_of(9)
    rows[1].search_vectors[3, 1] = np.nan
    with pytest.raises(DataRefused, match="the first at row of the catalogue 3"):
        ReferenceSet.build(*rows)


def test_rows_are_shown_by_their_number(tmp_path):
    opened = written(tmp_path, rows_of(9))
    assert [shown["item_id"] for shown in opened.shown([7, 2])] == ["7", "2"]


def test_a_catalogue_of_one_row_is_kept_too(tmp_path):
    assert written(tmp_path, rows_of(1)).search_vectors().shape == (1, 6)
