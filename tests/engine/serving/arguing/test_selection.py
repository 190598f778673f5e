"""Claims about arguing with the comparables: they are left out or pinned, and the price before stands beside."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.serving.pricer import Item, Pricer, Selection
from index.errors import DataRefused, UsageError
from index.storage.items_table import ItemStore

TEXT = "Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"
Price = Callable[..., Any]


@pytest.fixture(scope="module")
def pricer(shop: Any) -> Pricer:
    return Pricer.open(shop.index)


def test_a_comparable_that_is_left_out_is_none_and_the_price_before_stands_beside(
    pricer: Pricer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = pricer.price([Item(TEXT)])
    near = [row.item_id for row in before.comparables]
    encoded: list[Any] = []
    encode = pricer.encoders.encode
    monkeypatch.setattr(pricer.encoders, "encode", lambda *given: encoded.append(given) or encode(*given))
    (quote,) = pricer.price([Item(TEXT)], selection=Selection(without=(near[0], near[2])))
    assert len(encoded) == 1  # for both answers
    assert before.before is None
    assert quote.before is not None
    assert (quote.before.price, quote.before.low, quote.before.high) == (before.price, before.low, before.high)
    left = [row.item_id for row in quote.comparables]
    assert left[: len(near) - 2] == [near[1], *near[3:]]
    assert quote.price != before.price
    assert {name: quote.parts[name] for name in pricer.settings.members} == {
        name: before.parts[name] for name in pricer.settings.members
    }


def test_pinned_comparables_are_the_only_ones_whatever_they_cost(pricer: Pricer) -> None:
    prices = np.exp(pricer.reference.log_price)
    ids = pricer.reference.ids()
    pinned = (ids[int(prices.argmax())], ids[int(prices.argmin())])
    (quote,) = pricer.price([Item(TEXT)], selection=Selection(only=pinned))
    assert {row.item_id for row in quote.comparables} == set(pinned)
    assert sum(row.weight for row in quote.comparables) == pytest.approx(1)
    (less,) = pricer.price([Item(TEXT)], selection=Selection(only=pinned, without=pinned[:1]))
    assert [row.item_id for row in less.comparables] == [pinned[1]]


def test_a_listing_of_the_catalogue_is_priced_without_itself_and_its_like(pricer: Pricer) -> None:
    items = ItemStore.open(pricer.folder).items(["item_id", "text", "group"])
    groups = items["group"].to_numpy()
    row = int(np.flatnonzero(groups == np.bincount(groups).argmax())[0])  # of the largest group
    group = set(items.filter(groups == groups[row])["item_id"].to_pylist())
    assert len(group) > 1
    item_id, text = items["item_id"][row].as_py(), items["text"][row].as_py()
    (quote,) = pricer.price([Item(text)], selection=Selection(exclude_group=item_id))
    assert quote.before is not None
    assert not group & {row.item_id for row in quote.comparables}
    unseen = pricer.model.unseen(
        pricer.features(_table(text), _no_photographs()).inputs,
        pricer.reference.search_vectors()[[row]],
        pricer.reference.fold[[row]],
    )
    for name, value in unseen.members.items():
        assert quote.parts[name] == pytest.approx(float(np.exp(value[0])), rel=1e-4)
    assert any(f"neither {item_id!r} nor its like" in note for note in quote.notes)


def test_leaving_out_what_had_no_part_says_so_and_moves_nothing(pricer: Pricer) -> None:
    far = pricer.reference.ids()[int(pricer.reference.log_price.argmax())]
    (before,) = pricer.price([Item(TEXT)])
    assert far not in {row.item_id for row in before.comparables}
    (quote,) = pricer.price([Item(TEXT)], selection=Selection(without=(far,)))
    assert quote.price == before.price
    assert quote.notes == ("What was left out had no part in the price.",)


def test_more_pinned_rows_than_k_are_said(pricer: Pricer) -> None:
    ids = tuple(pricer.reference.ids()[: pricer.correction.k + 1])
    (quote,) = pricer.price([Item(TEXT)], selection=Selection(only=ids))
    assert len(quote.comparables) == pricer.correction.k
    assert f"with a k of {len(ids)} all do" in quote.notes[0]


@pytest.mark.parametrize(
    ("given", "error", "phrase"),
    [
        ({"without": ("nobody's",)}, DataRefused, r"The index has no row \"nobody's\": name ids"),
        ({"only": tuple("abcde")}, DataRefused, "no row 'a', 'b', 'c' and 2 more"),
        ({"exclude_group": "nowhere"}, DataRefused, "no row 'nowhere'"),
        ({"without": "1234"}, UsageError, r"'1234' is one string: give a tuple of ids, such as \('1234',\)"),
        ({"without": ("a", " ")}, UsageError, "An id of a comparable is empty"),
        ({"without": ("a",), "only": ("a",)}, UsageError, "pinned is left out as well"),
        ({"only": ("a",), "exclude_group": "a"}, UsageError, "pinned is left out as well"),
        ({"without": tuple(map(str, range(1001)))}, UsageError, "without names 1,001 ids: name at most 1,000"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_a_sentence(
    given: dict[str, Any], error: type[Exception], phrase: str, pricer: Pricer
) -> None:
    with pytest.raises(error, match=phrase):
        pricer.price([Item(TEXT)], selection=Selection(**given))


def test_the_command_leaves_out_pins_and_tells_the_price_before(price: Price, shop: Any) -> None:
    index = ["--index", shop.index]
    plain = price("query", TEXT, *index, "--json").json
    assert plain["before"] is None
    first, second, third = (row["item_id"] for row in plain["comparables"][:3])
    dropped = price("query", TEXT, *index, "--json", "--without", first, "--without", third).json
    assert dropped["before"] == {name: plain[name] for name in ("price", "low", "high")}
    assert {first, third} & {row["item_id"] for row in dropped["comparables"]} == set()
    pinned = price("query", TEXT, *index, "--json", "--only", f"{second},{third}").json
    assert [row["item_id"] for row in pinned["comparables"]] == [second, third]
    assert pinned["settings"]["band"] is None  # they count whatever they cost
    readable = price("query", TEXT, *index, "--without", first).out
    assert f"By all comparables {plain['price']:,.2f}" in readable
    assert f"{second}: " in readable and f"{first}: " not in readable


@pytest.mark.parametrize(
    ("options", "code", "phrase"),
    [
        (["--without", "nix"], 3, "no row 'nix'"),
        (["--only", "a", "--band", "1"], 2, "give one of them"),
        (["--only", ","], 2, "An id of a comparable is empty"),
    ],
)
def test_the_command_refuses_in_one_line(options: list[str], code: int, phrase: str, price: Price, shop: Any) -> None:
    answer = price("query", TEXT, "--index", shop.index, *options)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert phrase in answer.err


def _table(text: str) -> Any:
    from index.catalogue.item_table import make_items

    return make_items(["0"], [text], [None])


def _no_photographs() -> Any:
    from index.photographs.source import Photographs

    return Photographs()
