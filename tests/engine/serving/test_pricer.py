"""Claims about an open index: it prices items as the command does, alone or many at once, and tells what it used."""

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.features.inputs import InputShape, hash_words
from engine.features.lsa import Lsa
from engine.lifecycle.build import build_index
from engine.serving.pricer import Item, Pricer, Quote
from engine.settings.read import read_settings
from engine.settings.schema import with_overrides
from index.catalogue.fields import parse_fields
from index.encoders import open_encoder
from index.errors import DataRefused, IndexUnusable, UsageError
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore

ROOT = Path(__file__).parents[3]
TEXTS = (
    "Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)\nValue: 24\nUnit: Ounce",
    "Utility rope, 100 feet",
    "Olive oil, 16.9 fl oz, small batches",
    "something that nobody sells",
)


@pytest.fixture
def pricer(shop: Any, one_at_a_time: None) -> Pricer:
    return Pricer.open(shop.index)


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders that take items one by one: in bfloat16 a text's vector leans a little on what it is padded beside."""
    from index.embedding import encode

    def open_alone(*arguments: Any, **options: Any) -> Any:
        encoder = open_encoder(*arguments, **options)
        encoder.batch_size = 1
        return encoder

    monkeypatch.setattr(encode, "open_encoder", open_alone)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("with_photograph", [False, True])
def test_python_and_the_command_give_the_same_quote(
    text: str, with_photograph: bool, shop: Any, price: Callable[..., Any]
) -> None:
    image = str(shop.photograph) if with_photograph else None
    quote = asdict(Pricer.open(shop.index).price([Item(text, image)])[0])
    said = price("query", text, *(["--image", image] if image else []), "--index", shop.index, "--json").json
    assert {key: said[key] for key in quote} == {
        **quote,
        "comparables": [dict(one) for one in quote["comparables"]],
        "notes": list(quote["notes"]),
        "why": list(quote["why"]),
    }


def test_a_frame_gets_the_prices_of_its_items_under_its_own_index(shop: Any, pricer: Pricer) -> None:
    frame = pd.DataFrame(
        {"title": [TEXTS[0], TEXTS[1], None], "photo": [str(shop.photograph), np.nan, str(shop.photograph)]},
        index=["a", "b", "c"],
    )
    prices = pricer.price_frame(frame, text="title", image="photo")
    image = str(shop.photograph)
    quotes = pricer.price([Item(TEXTS[0], image), Item(TEXTS[1]), Item("", image)])
    assert list(prices.index) == ["a", "b", "c"]
    for row, quote in zip(prices.to_dict("records"), quotes, strict=True):
        parts = {f"part_{name}": value for name, value in quote.parts.items()}
        numbers = {"price": quote.price, "low": quote.low, "high": quote.high, "confidence": quote.confidence}
        assert row == numbers | parts
    alone = pricer.price_frame(frame[["title"]].iloc[:1], text="title")
    assert alone["price"].tolist() == [pricer.price([Item(TEXTS[0])])[0].price]


def test_a_row_of_a_frame_with_nothing_to_price_is_refused_by_its_number(pricer: Pricer) -> None:
    with pytest.raises(DataRefused, match="Item 2 has no text and no photograph"):
        pricer.price_frame(pd.DataFrame({"text": ["Tea", np.nan]}))


@pytest.mark.parametrize(
    ("item", "cells"),
    [
        (Item(float("nan")), "text nan and image None"),  # type: ignore[arg-type]
        (Item("tea", float("nan")), "text 'tea' and image nan"),  # type: ignore[arg-type]
        (Item(None), "text None and image None"),  # type: ignore[arg-type]
        (Item(b"tea"), "text b'tea' and image None"),  # type: ignore[arg-type]
    ],
)
def test_an_item_whose_cells_are_no_strings_is_refused_by_its_number(item: Item, cells: str, pricer: Pricer) -> None:
    with pytest.raises(DataRefused, match=f"Item 2 has {cells}: give strings, and no photograph as None"):
        pricer.price([Item("tea"), item])


def test_the_lines_of_the_readme_run(shop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert lines is not None
    image = re.search(r'image="([^"]+)"', lines[1])
    if image:
        shutil.copy(shop.photograph, tmp_path / image[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.print", lambda *shown: shown)
    names: dict[str, Any] = {}
    exec(lines[1].replace('"price-index"', repr(str(shop.index))), names)  # noqa: S102
    assert isinstance(names["quote"], Quote)


def test_many_items_at_once_are_priced_as_one_by_one(pricer: Pricer, shop: Any) -> None:
    items = [Item(text) for text in TEXTS] + [Item(TEXTS[0], str(shop.photograph)), Item(image=str(shop.photograph))]
    together = pricer.price(items)
    assert len(together) == len(items)
    for item, quote in zip(items, together, strict=True):
        (alone,) = pricer.price([item])
        assert quote.price == pytest.approx(alone.price, rel=1e-5)
        assert [one.item_id for one in quote.comparables] == [one.item_id for one in alone.comparables]
        assert quote.notes == alone.notes


def test_no_items_are_no_quotes(pricer: Pricer) -> None:
    assert pricer.price([]) == []


def test_an_item_of_nothing_is_refused_by_its_place(pricer: Pricer) -> None:
    with pytest.raises(DataRefused, match="Item 2 "):
        pricer.price([Item("Tea"), Item(" ", ""), Item("Rope")])


def test_each_item_is_told_of_its_own_photograph(pricer: Pricer, shop: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"words")
    asked = [
        Item("Tea", str(tmp_path / "nowhere.png")), Item("Tea", str(tmp_path / "broken.png")),
        Item("Tea", str(shop.photograph)), Item("Tea"),
    ]  # fmt: skip
    missing, broken, seen, unasked = (quote.notes for quote in pricer.price(asked))
    assert "missing" in missing[0] and "not an image" not in missing[0]
    assert "not an image" in broken[0] and "missing" not in broken[0]
    assert seen == unasked == ()


def test_comparables_are_the_nearest_rows_in_the_band_by_brute_force(pricer: Pricer, shop: Any) -> None:
    store, text = ItemStore.open(current_generation(shop.index)), TEXTS[0]
    items, lsa = store.items(), Lsa.load(current_generation(shop.index), InputShape.of(pricer.manifest))
    encoder = open_encoder("minilm")
    cosines = np.mean(
        [
            store.vectors("minilm_name") @ encoder.encode([parse_fields(text).name])[0],
            store.vectors("minilm_text") @ encoder.encode([text])[0],
            lsa.vectors(hash_words(items["name"].to_pylist(), items["text"].to_pylist()))
            @ lsa.vectors(hash_words([parse_fields(text).name], [text]))[0],
        ],
        axis=0,
    )
    correction = replace(pricer.correction, k=5, band=0.7)
    (quote,) = pricer.price([Item(text)], correction=correction)
    inside = np.abs(items["log_price"].to_numpy() - np.log(quote.parts["stacker"])) <= 0.7
    nearest = np.argsort(np.where(inside, -cosines, np.inf))[: min(5, inside.sum())]
    assert 0 < inside.sum() < len(inside)
    assert [one.item_id for one in quote.comparables] == items["item_id"].take(nearest).to_pylist()
    assert [one.similarity for one in quote.comparables] == pytest.approx(cosines[nearest].tolist(), abs=2e-3)
    assert [one.price for one in quote.comparables] == pytest.approx(
        np.exp(items["log_price"].to_numpy()[nearest]).tolist()
    )


def test_an_item_of_the_catalogue_finds_itself(pricer: Pricer, shop: Any) -> None:
    row = ItemStore.open(current_generation(shop.index)).items().slice(7, 1).to_pylist()[0]
    (quote,) = pricer.price([Item(row["text"])], correction=replace(pricer.correction, band=np.inf))
    assert quote.comparables[0].similarity == pytest.approx(1, abs=2e-3)
    assert quote.comparables[0].name == row["name"]


def test_correction_parameters_are_checked_where_they_are_made(pricer: Pricer) -> None:
    assert with_overrides(pricer.correction, k=None, alpha=2.0) == replace(pricer.correction, alpha=2.0)
    for bad in ({"k": 0}, {"band": float("nan")}, {"decay": -1.0}, {"alpha": 0.0}):
        with pytest.raises(UsageError):
            with_overrides(pricer.correction, **bad)


def test_a_wider_band_never_has_fewer_neighbours(pricer: Pricer) -> None:
    found = [
        len(pricer.price([Item(TEXTS[0])], correction=replace(pricer.correction, k=200, band=band))[0].comparables)
        for band in (1e-9, 0.1, 0.5, 1.0, 9.0)
    ]
    assert found == sorted(found)
    assert found[0] == 0 and found[-1] > 100


def test_a_reader_keeps_the_generation_that_it_opened(shop: Any, own_index: Path, one_at_a_time: None) -> None:
    pricer = Pricer.open(own_index)
    before = pricer.price([Item(TEXTS[0])])
    build_index(shop.catalogue, own_index, read_settings(shop.quick, image_encoder="none"))
    assert current_generation(own_index) != pricer.folder
    assert pricer.price([Item(TEXTS[0])]) == before
    assert Pricer.open(own_index).price([Item(TEXTS[0])]) != before


def test_an_index_of_other_weights_is_refused(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from index.embedding import encode

    def open_other(*arguments: Any, **options: Any) -> Any:
        encoder = open_encoder(*arguments, **options)
        encoder.identity = "another"
        return encoder

    monkeypatch.setattr(encode, "open_encoder", open_other)
    with pytest.raises(IndexUnusable, match=r"other weights.*price build-index"):
        Pricer.open(shop.index).price([Item("Tea")])


def test_words_on_an_index_of_words_and_a_photograph_that_it_cannot_use(
    shop: Any, tmp_path: Path, one_at_a_time: None
) -> None:
    build_index(shop.catalogue, tmp_path / "index", read_settings(shop.quick, image_encoder="none"))
    pricer = Pricer.open(tmp_path / "index")
    words, both = pricer.price([Item("Tea"), Item("Tea", str(shop.photograph))])
    assert words.price == both.price
    assert words.notes == () and "no photographs" in both.notes[0]
    with pytest.raises(DataRefused, match="describe the item in words"):
        pricer.price([Item(image=str(shop.photograph))])
