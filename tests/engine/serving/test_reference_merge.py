"""Claims about comparables that are merged: equal, to the last row and similarity, to those written afresh."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from engine.ensemble.stacker import Goods
from engine.serving.reference import (
    SHOWN,
    Comparables,
    merge_comparables,
    open_comparables,
    read_comparables,
    write_comparables,
)
from index.errors import DataRefused

DIM = 128


def some(rows: int, random: np.random.Generator) -> Comparables:
    """Rows with ties in price, and a tenth without a vector."""
    space = random.normal(size=(rows, 20)) @ np.random.default_rng(0).normal(size=(20, DIM))
    space = (space / np.linalg.norm(space, axis=1, keepdims=True)).astype(np.float32)
    space[random.random(rows) < 0.1] = 0
    ids = [str(each) for each in random.integers(0, 10**9, rows)]
    shown = pa.table({"item_id": ids, "name": [f"Tea {each}" for each in ids], "image": pa.nulls(rows, pa.string())})
    goods = Goods(random.normal(2, 0.3, rows).round(1), random.integers(0, 5, rows), random.normal(size=rows))
    goods.log_amount[::3] = np.nan
    return Comparables(shown, space, goods, random.normal(size=rows), random.integers(0, 3, rows).astype(np.int8))


def joined(old: Comparables, gone: np.ndarray, new: Comparables | None) -> Comparables:
    """The slow and obvious way."""
    left = np.delete(np.arange(len(old.fold)), gone)
    shown = old.shown.select(SHOWN).take(left)
    old = Comparables(shown, old.space[left], old.goods.take(left), old.residual[left], old.fold[left])
    if new is None:
        return old
    goods = Goods(
        *(np.concatenate(pair) for pair in zip(vars(old.goods).values(), vars(new.goods).values(), strict=True))
    )
    return Comparables(
        pa.concat_tables([old.shown, new.shown]),
        np.concatenate([old.space, new.space]),
        goods,
        np.concatenate([old.residual, new.residual]),
        np.concatenate([old.fold, new.fold]),
    )


@pytest.fixture(params=["numpy", "codes", "codes from now on"])
def scanned(request, monkeypatch):
    """From how many rows on the file holds codes."""
    from_rows = {"numpy": 10**9, "codes": 50, "codes from now on": 230}[request.param]
    monkeypatch.setattr("engine.serving.reference.SCAN_ROWS", from_rows)


def assert_equal(merged, fresh):
    """Every column but the codes, whose head may be another; and every answer of the scan."""
    assert merged.table.column_names == fresh.table.column_names
    for name in fresh.table.column_names:
        if not name.startswith(("code", "head")):
            assert str(merged.table[name].to_pylist()) == str(fresh.table[name].to_pylist()), name
    assert merged.table.schema.metadata.keys() == fresh.table.schema.metadata.keys()
    assert merged.table.schema.metadata[b"found"] == fresh.table.schema.metadata[b"found"]
    if "code" in merged.table.column_names:
        whole, found = merged.order.codes.whole, merged.order.vectors
        np.testing.assert_array_equal(whole.code, fresh.order.codes.whole.code)
        head = merged.order.codes.head
        if head is not None:
            seen = head.level.scale[:, None] * head.level.code[:, : len(head.projection)]
            off = np.linalg.norm(found @ head.projection.T - seen, axis=1)
            assert (off <= head.level.error + 1e-5).all()  # each row has its own bytes, not its neighbour's


def test_any_sequence_of_merges_is_what_a_fresh_file_of_the_rows_would_be(tmp_path, scanned):
    random = np.random.default_rng(0)
    rows = some(220, random)
    write_comparables(tmp_path, rows)
    for turn in range(12):
        gone = np.sort(random.choice(len(rows.fold), int(random.integers(0, 60)), replace=False))
        new = some(int(random.integers(1, 70)), random) if turn % 4 else None
        (grown := tmp_path / f"grown {turn}").mkdir()
        (fresh := tmp_path / f"fresh {turn}").mkdir()
        before = tmp_path if not turn else tmp_path / f"grown {turn - 1}"
        merge_comparables(grown, open_comparables(before), gone, new)
        rows = joined(rows, gone, new)
        write_comparables(fresh, rows)
        assert_equal(open_comparables(grown), open_comparables(fresh))


@pytest.mark.parametrize("search", ["slice", "faiss", "lance"])
def test_what_every_backend_finds_after_growth_is_what_it_finds_in_a_fresh_index(tmp_path, search):
    random = np.random.default_rng(1)
    rows, new = some(120, random), some(30, random)
    gone = np.sort(random.choice(120, 40, replace=False))
    folders = [tmp_path / name for name in ("old", "grown", "fresh")]
    for folder in folders:
        folder.mkdir()
    old, grown, fresh = folders
    write_comparables(old, rows, search)
    merge_comparables(grown, open_comparables(old), gone, new, search)
    write_comparables(fresh, joined(rows, gone, new), search)
    assert sorted(path.name for path in grown.iterdir()) == sorted(path.name for path in fresh.iterdir())
    queries = some(50, random)
    want, near = (
        open_comparables(folder).index(search).search(queries.space, queries.goods.log_price, k=9, band=0.4)
        for folder in (fresh, grown)
    )
    assert want.found.any()
    np.testing.assert_array_equal(near.rows, want.rows)
    np.testing.assert_array_equal(near.similarity, want.similarity)


def test_the_scan_of_a_merged_file_finds_what_brute_force_does(tmp_path, monkeypatch):
    for place in ("engine.serving.reference.SCAN_ROWS", "index.search.dense.SCAN_ROWS"):
        monkeypatch.setattr(place, 50)
    monkeypatch.setattr("index.search.dense.SCAN_AFTER", 0)
    random = np.random.default_rng(2)
    rows, new = some(300, random), some(80, random)
    new = replace(new, space=np.roll(new.space, 50, axis=1))  # away from the directions that the head was drawn from
    gone = np.arange(0, 300, 7)
    for name in ("old", "grown"):
        (tmp_path / name).mkdir()
    write_comparables(tmp_path / "old", rows)
    assert open_comparables(tmp_path / "old").order.codes.head is not None
    merge_comparables(tmp_path / "grown", open_comparables(tmp_path / "old"), gone, new)
    rows = joined(rows, gone, new)
    centre = rows.goods.log_price
    near = open_comparables(tmp_path / "grown").index().search(rows.space, centre, k=5, band=0.3)
    cosine = rows.space.astype(np.float64) @ rows.space.T.astype(np.float64)
    inside = np.abs(centre.astype(np.float32) - centre[:, None]) <= 0.3
    for row in np.flatnonzero(rows.space.any(axis=1)):
        there = np.flatnonzero(inside[row] & rows.space.any(axis=1))
        best = there[np.lexsort((there, -cosine[row, there].round(5)))][:5]
        np.testing.assert_allclose(near.similarity[row, : len(best)], cosine[row, best], atol=2e-5)


def test_rows_that_tie_in_price_stand_in_the_order_in_which_they_came(tmp_path):
    random = np.random.default_rng(3)
    rows, new = (replace(some(n, random), goods=Goods(np.ones(n), np.zeros(n, np.int64), np.ones(n))) for n in (20, 5))
    write_comparables(tmp_path, rows)
    (tmp_path / "grown").mkdir()
    merge_comparables(tmp_path / "grown", open_comparables(tmp_path), np.array([4]), new)
    assert all(one < next_one for one, next_one in pairwise(open_comparables(tmp_path / "grown").order.rows.tolist()))
    assert len(read_comparables(tmp_path / "grown").fold) == 24


def test_a_new_vector_with_nan_is_refused(tmp_path):
    random = np.random.default_rng(4)
    write_comparables(tmp_path, some(20, random))
    new = some(3, random)
    new.space[1, 1] = np.nan
    with pytest.raises(DataRefused, match="hold NaN"):
        merge_comparables(tmp_path, open_comparables(tmp_path), np.zeros(0, np.int64), new)
