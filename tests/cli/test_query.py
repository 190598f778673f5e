"""`price query`: an item is priced from words, from a photograph or from both, and the answer says how."""

import io
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Price = Callable[..., Any]

COFFEE = "Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"
KEYS = {"price", "low", "high", "parts", "comparables", "settings", "seconds"}  # the contract's
MORE_KEYS = {"notes", "currency", "per_unit", "before", "confidence", "within_20", "why"}
COMPARABLE = {"item_id", "name", "price", "similarity", "residual", "weight", "image", "per_unit"}


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def but_for_seconds(answer: Any) -> dict[str, Any]:
    assert answer.code == 0, answer.err
    return {key: value for key, value in answer.json.items() if key != "seconds"}


def test_json_is_one_object_with_the_keys_of_the_contract(price: Price, shop: Any) -> None:
    answer = price("query", COFFEE, "--image", shop.photograph, "--index", shop.index, "--json")
    quote = answer.json
    assert (answer.code, answer.err, answer.out.count("\n")) == (0, "", 1)
    assert set(quote) == KEYS | MORE_KEYS
    assert {"mlp", "shift", "gbdt"} <= set(quote["parts"])
    assert set(quote["settings"]) == {"k", "band", "lambda", "alpha"}
    assert quote["comparables"] and all(set(one) == COMPARABLE for one in quote["comparables"])


def test_the_figures_of_an_answer_hang_together(price: Price, shop: Any) -> None:
    quote = price("query", COFFEE, "--index", shop.index, "--json", "--band", "1").json
    parts, near, settings = quote["parts"], quote["comparables"], quote["settings"]
    assert 0 < quote["low"] <= quote["price"] <= quote["high"]
    assert quote["price"] == pytest.approx(parts["blend"] + parts["shift"])
    assert len(near) <= settings["k"]
    assert sum(one["weight"] for one in near) == pytest.approx(1)
    assert all(abs(math.log(one["price"] / parts["blend"])) <= 1 + 1e-6 for one in near)
    moved = settings["alpha"] * sum(one["weight"] * one["residual"] for one in near)
    assert quote["price"] == pytest.approx(parts["blend"] * math.exp(moved), rel=1e-5)
    closest = near[0]["similarity"]
    weights = [math.exp(-settings["lambda"] * (closest - one["similarity"])) for one in near]
    assert [one["weight"] for one in near] == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-4)


def test_the_readable_answer_tells_what_the_json_tells(price: Price, shop: Any) -> None:
    quote = price("query", COFFEE, "--index", shop.index, "--json").json
    answer = price("query", COFFEE, "--index", shop.index)
    assert (answer.code, answer.err) == (0, "")
    per_unit = quote["per_unit"]
    assert per_unit["unit"] == "kg" and per_unit["price"] > quote["price"]  # of two twelve-ounce packs
    price_line = f"{quote['price']:,.2f} USD, {per_unit['price']:,.2f} a kg"
    first = f"{price_line}   (80% interval {quote['low']:,.2f} to {quote['high']:,.2f})"
    assert answer.out.splitlines()[0] == first
    for name in ("mlp", "gbdt", "lexical", "blend"):
        assert f"{name} {quote['parts'][name]:,.2f}" in answer.out
    assert f"moved by {quote['parts']['shift']:,.2f}" in answer.out
    assert f"k {quote['settings']['k']}, band {quote['settings']['band']:g}" in answer.out
    for one in quote["comparables"][:10]:
        assert f"{one['similarity']:.3f}" in answer.out and f"{one['price']:,.2f}" in answer.out


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_answer_fits_the_terminal_and_its_figures_stand_in_line(
    columns: int, price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = price("query", COFFEE, "--index", shop.index).out.splitlines()
    assert max(map(len, lines)) <= columns
    rows = [line.rstrip() for line in lines if re.search(r"\d%$", line.rstrip())]
    assert len(rows) >= 2
    assert len({len(row) for row in rows}) == 1  # the weights end in one column
    assert len({re.search(r" 0\.\d{3} ", row).start() for row in rows}) == 1  # type: ignore[union-attr]


def test_long_lists_of_comparables_are_cut_and_say_so(price: Price, shop: Any) -> None:
    wide = ["--k", "25", "--band", "inf", "--index", shop.index]
    assert len(price("query", COFFEE, *wide, "--json").json["comparables"]) == 25
    assert "And 15 more" in price("query", COFFEE, *wide).out


def test_text_comes_from_standard_input_too(price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"\xef\xbb\xbf" + COFFEE.encode())  # some editors write that mark, which is no text
    by_pipe = but_for_seconds(price("query", "-", "--index", shop.index, "--json"))
    assert by_pipe == but_for_seconds(price("query", COFFEE, "--index", shop.index, "--json"))


@pytest.mark.parametrize(("data", "phrase"), [(b"", "nothing to price"), (b"x" * 1_000_001, "1,000,000 bytes")])
def test_standard_input_that_is_no_item_is_refused(
    data: bytes, phrase: str, price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, data)
    answer = price("query", "-", "--index", shop.index)
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)
    assert phrase in answer.err


def test_standard_input_that_is_not_utf_8_is_priced_by_what_can_be_read(
    price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "Café au lait".encode("latin-1"))
    assert price("query", "-", "--index", shop.index, "--json").json["price"] > 0


@pytest.mark.parametrize(("name", "value"), [("k", 3), ("band", 0.15), ("lambda", 40.0), ("alpha", 2.5)])
def test_a_parameter_that_is_given_changes_the_answer_and_is_echoed(
    name: str, value: float, price: Price, shop: Any
) -> None:
    usual = price("query", COFFEE, "--index", shop.index, "--json").json
    given = price("query", COFFEE, "--index", shop.index, "--json", f"--{name}", value).json
    assert usual["settings"][name] != value
    assert given["settings"] == usual["settings"] | {name: value}
    assert given["price"] != usual["price"]
    assert given["parts"]["blend"] == usual["parts"]["blend"]
    if name == "k":
        assert len(given["comparables"]) == 3


def test_a_band_without_a_limit_is_null_in_json(price: Price, shop: Any) -> None:
    settings = price("query", COFFEE, "--index", shop.index, "--json", "--band", "inf").json["settings"]
    assert settings["band"] is None
    assert "band inf" in price("query", COFFEE, "--index", shop.index, "--band", "inf").out


def test_a_band_that_holds_nobody_shifts_nothing_and_says_so(price: Price, shop: Any) -> None:
    narrow = ["query", COFFEE, "--index", shop.index, "--band", "1e-9"]
    quote = price(*narrow, "--json").json
    assert (quote["comparables"], quote["parts"]["shift"]) == ([], 0)
    assert quote["price"] == quote["parts"]["blend"]
    assert "No neighbour" in quote["notes"][0]
    readable = price(*narrow).out
    assert "Note: No neighbour" in readable
    assert "moved" not in readable and "similarity" not in readable


def test_an_item_without_a_photograph_is_priced_on_an_index_with_photographs(price: Price, shop: Any) -> None:
    words = but_for_seconds(price("query", COFFEE, "--index", shop.index, "--json"))
    both = but_for_seconds(price("query", COFFEE, "--image", shop.photograph, "--index", shop.index, "--json"))
    assert words["notes"] == both["notes"] == []
    assert words["parts"]["mlp"] != both["parts"]["mlp"]


def test_a_photograph_alone_is_priced(price: Price, shop: Any, tmp_path: Path) -> None:
    quote = price("query", "--image", shop.photograph, "--index", shop.index, "--json").json
    Image.new("RGB", (300, 300), "red").save(tmp_path / "red.png")
    other = price("query", "--image", tmp_path / "red.png", "--index", shop.index, "--json").json
    assert quote["low"] <= quote["price"] <= quote["high"]
    assert quote["parts"]["mlp"] != other["parts"]["mlp"]
    assert quote["notes"] == ["Neighbours are found by words: the price is the models' alone."]


BROKEN = {"missing": None, "empty": b"", "no image at all": b"words", "cut short": b"\x89PNG\r\n\x1a\n\0\0"}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_photograph_beside_words_is_a_note(kind: str, price: Price, shop: Any, tmp_path: Path) -> None:
    photograph, data = tmp_path / "photograph.png", BROKEN[kind]
    if data is not None:
        photograph.write_bytes(data)
    broken = but_for_seconds(price("query", COFFEE, "--image", photograph, "--index", shop.index, "--json"))
    assert "photograph could not be used" in broken["notes"][0]
    words = but_for_seconds(price("query", COFFEE, "--index", shop.index, "--json"))
    assert broken | {"notes": []} == words


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_photograph_alone_is_refused(kind: str, price: Price, shop: Any, tmp_path: Path) -> None:
    photograph, data = tmp_path / "photograph.png", BROKEN[kind]
    if data is not None:
        photograph.write_bytes(data)
    answer = price("query", "--image", photograph, "--index", shop.index)
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)
    assert "photograph could not be used" in answer.err


def test_a_photograph_at_an_address_that_is_not_public_is_not_fetched(price: Price, shop: Any) -> None:
    quote = price("query", COFFEE, "--image", "http://127.0.0.1:9/x.png", "--index", shop.index, "--json").json
    assert "blocked address" in quote["notes"][0]


def test_private_addresses_may_be_allowed(price: Price, shop: Any) -> None:
    url = ["--image", "http://127.0.0.1:9/x.png", "--allow-private-addresses"]  # nobody listens there
    quote = price("query", COFFEE, *url, "--index", shop.index, "--json").json
    assert "connection failed" in quote["notes"][0]


def test_a_text_that_begins_with_a_dash_goes_after_two(price: Price, shop: Any) -> None:
    assert price("query", "--index", shop.index, "--json", "--", "-5 lb of rice").json["price"] > 0


def test_the_index_may_be_named_by_the_environment(price: Price, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE_INDEX", str(shop.index))
    assert price("query", COFFEE, "--json").json["price"] > 0


@pytest.mark.parametrize(
    "text", ["\0", "\x1b[2J", "[/b]", "\u202e", "\udce9", "%s{}", "💾" * 50, "x" * 50_000, "\n" * 5_000 + "tea", "…"]
)
def test_no_text_is_too_odd_for_an_answer(text: str, price: Price, shop: Any) -> None:
    answer = price("query", text, "--index", shop.index, "--json")
    assert answer.code in (0, 3), answer.err
    assert "Traceback" not in answer.err and answer.err.count("\n") == (answer.code != 0)
