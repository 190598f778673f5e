"""Claims about reference sets that are merged: equal, to the last row and similarity, to those written afresh."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from engine.ensemble.reference import ReferenceSet
from index.errors import DataRefused

DIM = 128


@dataclass
class Rows:
    """What a reference set is built from."""

    items: pa.Table
    vectors: np.ndarray
    log_price: np.ndarray
    unit: np.ndarray
    log_amount: np.ndarray
    residual: np.ndarray
    fold: np.ndarray

    def build(self) -> ReferenceSet:
        known = SimpleNamespace(
            log_price=self.log_price, unit=self.unit, log_amount=self.log_amount, fold=self.fold,
            search_vectors=self.vectors, age_weight=None,
        )  # fmt: skip
        return ReferenceSet.build(self.items, known, self.residual)


def some(rows: int, random: np.random.Generator) -> Rows:
    """Rows with ties in price, and a tenth without a vector."""
    vectors = random.normal(size=(rows, 20)) @ np.random.default_rng(0).normal(size=(20, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors[random.random(rows) < 0.1] = 0
    ids = [str(number) for number in random.integers(0, 10**9, rows)]
    items = pa.table({"item_id": ids, "name": [f"Tea {i}" for i in ids], "image": pa.nulls(rows, pa.string())})
    log_amount = random.normal(size=rows)
    log_amount[::3] = np.nan
    log_price, unit = random.normal(2, 0.3, rows).round(1), random.integers(0, 5, rows)
    fold = random.integers(0, 3, rows).astype(np.int8)
    return Rows(items, vectors, log_price, unit, log_amount, random.normal(size=rows), fold)


def joined(old: Rows, removed: np.ndarray, new: Rows | None) -> Rows:
    """The slow and obvious way."""
    left = np.delete(np.arange(len(old.fold)), removed)
    parts = [{name: values.take(left) if name == "items" else values[left] for name, values in vars(old).items()}]
    parts += [vars(new)] if new else []
    items = pa.concat_tables([part.pop("items") for part in map(dict, parts)])
    names = [name for name in vars(old) if name != "items"]
    return Rows(items, *(np.concatenate([part[name] for part in parts]) for name in names))


@pytest.fixture(params=["numpy", "codes", "codes from now on"])
def scanned(request, monkeypatch):
    """From how many rows on the file holds codes."""
    from_rows = {"numpy": 10**9, "codes": 50, "codes from now on": 230}[request.param]
    monkeypatch.setattr("index.search.table.SCAN_ROWS", from_rows)


def assert_equal(merged, fresh):
    """Every column but the codes, whose directions may be others; and every answer of the scan."""
    merged, fresh = merged.table, fresh.table
    assert merged.table.column_names == fresh.table.column_names
    for name in fresh.table.column_names:
        if not name.startswith(("code", "coarse")):
            assert str(merged.table[name].to_pylist()) == str(fresh.table[name].to_pylist()), name
    assert merged.table.schema.metadata.keys() == fresh.table.schema.metadata.keys()
    assert merged.table.schema.metadata[b"found"] == fresh.table.schema.metadata[b"found"]
    if "code" in merged.table.column_names:
        whole, found = merged.order.codes.whole, merged.order.vectors
        np.testing.assert_array_equal(whole.code, fresh.order.codes.whole.code)
        coarse = merged.order.codes.coarse
        if coarse is not None:
            seen = coarse.level.scale[:, None] * coarse.level.code[:, : len(coarse.directions)]
            off = np.linalg.norm(found @ coarse.directions.T - seen, axis=1)
            assert (off <= coarse.level.error + 1e-5).all()  # each row has its own bytes, not its neighbour's


def test_any_sequence_of_merges_is_what_a_fresh_file_of_the_rows_would_be(tmp_path, scanned):
    random = np.random.default_rng(0)
    rows = some(220, random)
    rows.build().write(tmp_path)
    for turn in range(12):
        removed = np.sort(random.choice(len(rows.fold), int(random.integers(0, 60)), replace=False))
        new = some(int(random.integers(1, 70)), random) if turn % 4 else None
        (grown := tmp_path / f"grown {turn}").mkdir()
        (fresh := tmp_path / f"fresh {turn}").mkdir()
        before = tmp_path if not turn else tmp_path / f"grown {turn - 1}"
        ReferenceSet.open(before).merged(removed, new.build() if new else None).write(grown)
        rows = joined(rows, removed, new)
        rows.build().write(fresh)
        assert_equal(ReferenceSet.open(grown), ReferenceSet.open(fresh))


@pytest.mark.parametrize("search", ["slice", "faiss", "lance"])
def test_what_every_backend_finds_after_growth_is_what_it_finds_in_a_fresh_index(tmp_path, search):
    random = np.random.default_rng(1)
    rows, new = some(120, random), some(30, random)
    removed = np.sort(random.choice(120, 40, replace=False))
    folders = [tmp_path / name for name in ("old", "grown", "fresh")]
    for folder in folders:
        folder.mkdir()
    old, grown, fresh = folders
    rows.build().write(old, search)
    ReferenceSet.open(old, search).merged(removed, new.build()).write(grown, search)
    joined(rows, removed, new).build().write(fresh, search)
    assert sorted(path.name for path in grown.iterdir()) == sorted(path.name for path in fresh.iterdir())
    queries = some(50, random)
    want, near = (
        ReferenceSet.open(folder, search).index.search(queries.vectors, queries.log_price, k=9, band=0.4)
        for folder in (fresh, grown)
    )
    assert want.found.any()
    np.testing.assert_array_equal(near.rows, want.rows)
    np.testing.assert_array_equal(near.similarity, want.similarity)


def test_the_scan_of_a_merged_file_finds_what_brute_force_does(tmp_path, monkeypatch):
    for place in ("index.search.table.SCAN_ROWS", "index.search.dense.SCAN_ROWS"):
        monkeypatch.setattr(place, 50)
    monkeypatch.setattr("index.search.dense.SCAN_AFTER", 0)
    random = np.random.default_rng(2)
    rows, new = some(300, random), some(80, random)
    new.vectors = np.roll(new.vectors, 50, axis=1)  # away from the directions that the coarse codes were drawn from
    removed = np.arange(0, 300, 7)
    for name in ("old", "grown"):
        (tmp_path / name).mkdir()
    rows.build().write(tmp_path / "old")
    assert ReferenceSet.open(tmp_path / "old").table.order.codes.coarse is not None
    ReferenceSet.open(tmp_path / "old").merged(removed, new.build()).write(tmp_path / "grown")
    rows = joined(rows, removed, new)
    centre = rows.log_price
    near = ReferenceSet.open(tmp_path / "grown").index.search(rows.vectors, centre, k=5, band=0.3)
    cosine = rows.vectors.astype(np.float64) @ rows.vectors.T.astype(np.float64)
    inside = np.abs(centre.astype(np.float32) - centre[:, None]) <= 0.3
    for row in np.flatnonzero(rows.vectors.any(axis=1)):
        there = np.flatnonzero(inside[row] & rows.vectors.any(axis=1))
        best = there[np.lexsort((there, -cosine[row, there].round(5)))][:5]
        np.testing.assert_allclose(near.similarity[row, : len(best)], cosine[row, best], atol=2e-5)


def test_rows_that_tie_in_price_stand_in_the_order_in_which_they_came(tmp_path):
    random = np.random.default_rng(3)
    rows, new = some(20, random), some(5, random)
    for part in (rows, new):
        part.log_price[:] = 1
    rows.build().write(tmp_path)
    merged = ReferenceSet.open(tmp_path).merged(np.array([4]), new.build())
    assert all(number < following for number, following in pairwise(merged.table.order.rows.tolist()))
    assert len(merged.fold) == 24


def test_a_new_vector_with_nan_is_refused():
    new = some(3, np.random.default_rng(4))
    new.vectors[1, 1] = np.nan
    with pytest.raises(DataRefused, match="hold NaN"):
        new.build()


def test_other_residuals_change_nothing_else(tmp_path, scanned):
    rows = some(220, np.random.default_rng(5))
    rows.build().write(tmp_path)
    rows.residual = np.arange(220.0)
    assert_equal(ReferenceSet.open(tmp_path).with_residual(rows.residual), rows.build())


def test_rebuilt_after_a_merge_it_is_as_written_at_once(tmp_path, scanned):
    random = np.random.default_rng(6)
    rows, new = some(220, random), some(60, random)
    rebuilt = rows.build().merged(np.arange(5), new.build()).rebuilt()
    fresh = joined(rows, np.arange(5), new).build()
    assert_equal(rebuilt, fresh)
    for reference, name in ((rebuilt, "rebuilt"), (fresh, "fresh")):
        reference.table.write(tmp_path / name)
    assert (tmp_path / "rebuilt").read_bytes() == (tmp_path / "fresh").read_bytes()
