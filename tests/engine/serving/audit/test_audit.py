"""Claims about an audit: the rows that lie outside what models say that never saw them, and no others; frames of it."""

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ensemble.blend import blend
from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.held_out import HeldOutPrices
from engine.serving.audit.audit import Audit, audit_rows
from engine.serving.audit.audit_file import audit_file
from engine.serving.listings.columns import AUDIT, REVIEW
from engine.serving.price_file import price_file
from engine.serving.price_file_job import PriceFileSettings, ReviewSettings
from engine.serving.pricer import Pricer
from engine.serving.review.decisions import short
from engine.serving.scorable import ScorableRows, open_scorable_rows
from engine.settings.rules import Rules
from index.embedding.encode import Encoders
from index.errors import UsageError


@pytest.fixture(scope="module")
def pricer(shop: Any) -> Pricer:
    return Pricer.open(shop.index)


@pytest.fixture(scope="module")
def rows(shop: Any) -> ScorableRows:
    return open_scorable_rows(shop.index)


def test_a_row_should_cost_what_an_evaluation_says(rows: ScorableRows) -> None:
    known = rows.log_price, rows.search_vectors, rows.fields()
    scored = cross_fit(rows.oof, *known, rows.settings, age_weight=rows.age_weight)[1]
    prices = HeldOutPrices.read(rows.folder, rows.number)
    np.testing.assert_allclose(prices.answer, list(scored.stages.values())[-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(prices.low, scored.spread.low, rtol=0, atol=1e-9)
    np.testing.assert_allclose(prices.high, scored.spread.high, rtol=0, atol=1e-9)


def test_what_lies_outside_its_interval_is_listed_and_nothing_else(pricer: Pricer, rows: ScorableRows) -> None:
    audit = audit_rows(rows, pricer.reference, pricer.model.parameters)
    prices, ids = HeldOutPrices.read(rows.folder, rows.number), pricer.reference.ids()
    expected = {
        ids[number]
        for number, log_price, low, high in zip(rows.number, rows.log_price, prices.low, prices.high, strict=True)
        if not low <= log_price <= high
    }
    table = audit.table.to_pylist()
    assert {row["item_id"] for row in table} == expected and 0 < len(table) == sum(audit.reasons.values()) < audit.rows
    severity = [row["severity"] for row in table]
    assert severity == sorted(severity, reverse=True) and severity[-1] > 1
    for row in table:
        assert (row["price"] > row["high"]) == (row["flag"] == "too high") != (row["price"] < row["low"])
        assert row["times"] == pytest.approx(row["price"] / row["should_be"])


def test_a_price_with_a_slipped_point_comes_first_and_is_told(pricer: Pricer, rows: ScorableRows) -> None:
    prices = HeldOutPrices.read(rows.folder, rows.number)
    row = int(np.argmin(np.abs(rows.log_price - prices.answer)))
    log_price = rows.log_price.copy()
    log_price[row] += np.log(100)
    spoiled = replace(rows, log_price=log_price)
    first = audit_rows(spoiled, pricer.reference, pricer.model.parameters).table.to_pylist()[0]
    assert first["item_id"] == pricer.reference.ids()[rows.number[row]]
    assert first["reason"] == "100 times too high: a decimal point"
    assert first["would_be"] == pytest.approx(np.exp(rows.log_price[row]))


def test_what_a_browser_would_run_is_text_on_the_page_of_an_audit(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an id, in the name of a comparable, and in a reason, which the summary counts."""
    of_id, of_name, of_reason = (f"<script>alert({number})</script>" for number in (1, 2, 3))

    def hostile(*of_index: Any) -> Audit:
        audit = audit_rows(*of_index)
        rows = audit.table.to_pylist()
        rows[0] |= {"item_id": of_id, "comparable_1": of_name, "reason": of_reason}
        table = pa.Table.from_pylist(rows, audit.table.schema)
        return replace(audit, table=table, reasons={**audit.reasons, of_reason: 1})

    monkeypatch.setattr("engine.serving.audit.audit_file.audit_rows", hostile)
    page = audit_file(shop.index, tmp_path / "a.html").output.read_text(encoding="utf-8")
    for script, times in ((of_id, 1), (of_name, 1), (of_reason, 2)):
        assert page.count(html.escape(script)) == times and script not in page
    assert "<script" not in page


def test_comparables_are_of_other_folds_and_nothing_is_encoded(
    pricer: Pricer, rows: ScorableRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoders, "encode", lambda *_: pytest.fail("encoded"))
    frame = pricer.audit()
    assert list(frame.columns) == [column.name for column in AUDIT] and len(frame)
    fold = dict(zip(pricer.reference.ids(), pricer.reference.fold.tolist(), strict=True))
    shown = pricer.reference.shown(np.arange(len(pricer.reference.fold)))
    folds_of_name: dict[str, set[int]] = {}
    for item in shown:
        folds_of_name.setdefault(item["name"], set()).add(fold[item["item_id"]])
    for row in frame.to_dict("records"):
        if name := row["comparable_1"]:
            assert folds_of_name[name] - {fold[row["item_id"]]}


@pytest.mark.parametrize("stacked", [True, False])
def test_comparables_are_the_nearest_around_the_price_before_the_correction(
    pricer: Pricer, rows: ScorableRows, stacked: bool
) -> None:
    reference, parameters = pricer.reference, pricer.model.parameters
    if not stacked:
        rows = replace(rows, oof=rows.oof.of(rows.oof.members))
    parameters = replace(parameters, correction=replace(parameters.correction, k=3, band=0.35))
    nested = rows.oof.nested()
    base = nested["stacker"] if stacked else blend(nested, parameters.weights)
    answer = HeldOutPrices.read(rows.folder, rows.number).answer
    names, ids, place = reference.names(), reference.ids(), {number: at for at, number in enumerate(rows.number)}
    vectors = reference.search_vectors()

    def nearest(number: int, centre: float) -> set[str]:
        there = (reference.fold != reference.fold[number]) & (np.abs(reference.log_price - centre) <= 0.35)
        order = np.argsort(-(vectors @ vectors[number])[there], kind="stable")[:3]
        return {names[row] for row in np.flatnonzero(there)[order]}

    table, others = audit_rows(rows, reference, parameters).table.to_pylist(), 0
    for row in table:
        number = ids.index(row["item_id"])
        shown = {row[f"comparable_{n}"] for n in (1, 2, 3)} - {""}
        assert shown == {short(name) for name in nearest(number, base[place[number]])}
        others += nearest(number, base[place[number]]) != nearest(number, answer[place[number]])
    assert len(table) > 5 and others


def test_a_frame_has_the_rules_of_the_index_and_the_reasons_of_a_reviewed_file(
    shop: Any, pricer: Pricer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    texts, images = ["Green tea, 20 bags", "", "", "<p></p>"], ["", "", str(bad), ""]
    frame = pd.DataFrame({"id": list("abcd"), "text": texts, "image": images, "price": [4.0, 5.0, 6.0, 7.0]})
    frame.to_csv(tmp_path / "list.csv", index=False)
    settings = PriceFileSettings(rules=(("floor", 80.0), ("ending", (".99",))), review=ReviewSettings())
    of_file = price_file(tmp_path / "list.csv", tmp_path / "r.parquet", shop.index, settings).output
    expected = pq.read_table(of_file).to_pandas().set_index("id").loc[list("abcd")]
    assert list(expected["note"]) == [
        "",
        "no text and no photograph",
        "no text, and the photograph cannot be used: not an image",
        "no text, and the photograph cannot be used: no photograph given",
    ]
    monkeypatch.setattr(pricer, "settings", replace(pricer.settings, rules=Rules(floor=50.0, ending=(".99",))))
    assert pricer.review(frame)["price_to_set"][0] == 50.99
    reviewed = pricer.review(frame, Rules(floor=80.0))
    assert reviewed["price_to_set"][0] == 80.99
    for column in ("note", "flag", "price_to_set", "bound_by"):
        assert list(reviewed[column].astype(object).fillna("")) == list(expected[column].astype(object).fillna(""))


def test_a_frame_is_reviewed_as_a_query_prices_it(pricer: Pricer) -> None:
    frame = pd.DataFrame(
        {
            "text": ["Green tea, 20 bags", None, "Utility rope, 100 feet"],
            "price": ["$3,000.00", 4.0, "call us"],
            "sold": [2, 3, 4],
            "cost": ["", "1.00", "n/a"],
        },
        index=["a", "b", "c"],
    )
    rules = Rules(cost="column:cost", margin=20.0, max_change=10.0, ending=(".99",))
    reviewed = pricer.review(frame, rules, weight="sold")
    assert list(reviewed.columns) == [column.name for column in REVIEW[1:]] and list(reviewed.index) == ["a", "b", "c"]
    assert reviewed["flag"].tolist() == ["too high", "unsure", "no price"]
    prices = pricer.price_frame(frame.loc[["a", "c"]])["price"]
    assert reviewed.loc["a", "suggested_price"] == pytest.approx(prices["a"], rel=1e-6)
    assert (reviewed.loc["a", "price_to_set"], reviewed.loc["a", "bound_by"]) == (2700.99, "max_change, ending")
    assert reviewed.loc["a", "at_stake"] == pytest.approx(2 * (3000 - prices["a"]), rel=1e-6)
    assert "cost: " in reviewed.loc["c", "note"] and "current: price is on request" in reviewed.loc["c", "note"]
    assert np.isnan(reviewed.loc["c", "price_to_set"])
    with pytest.raises(UsageError, match="frame has no column 'sold'"):
        pricer.review(frame.drop(columns="sold"), weight="sold")
