"""Claims about the API: it prices as the command does, refuses in its sentences, and reads JSON strictly."""

import base64
import json
from dataclasses import asdict
from typing import Any

import httpx2
import pytest

from engine.serving.pricer import Item
from engine.settings.schema import with_overrides
from web.pricing.indexes import ServedIndex
from web.settings import MOST_ITEMS

TEXT = "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"


def quotes(client: httpx2.Client, **body: Any) -> httpx2.Response:
    return client.post("/v1/quotes", json={"items": [{"text": TEXT}], **body})


def refused(answer: httpx2.Response, status: int) -> str:
    """The sentence of a problem, which must be one by RFC 9457."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    assert problem["title"]
    return str(problem["detail"])


def without_images(quote: dict[str, Any]) -> dict[str, Any]:
    return {**quote, "comparables": [{**row, "image": None} for row in quote["comparables"]]}


def test_a_quote_is_that_of_the_engine_with_what_it_rests_on(client: httpx2.Client, opened: ServedIndex) -> None:
    answer, pricer = quotes(client, k=5).json(), opened.pricer
    (quote,) = pricer.price([Item(TEXT)], correction=with_overrides(pricer.correction, k=5))
    expected = json.loads(json.dumps(asdict(quote)))
    assert without_images(answer["quotes"][0]) == without_images(expected)
    assert (answer["index"], answer["generation"], answer["settings"]["k"]) == ("shop", pricer.folder.name, 5)


def test_comparables_are_left_out_and_pinned_and_the_price_before_stands_beside(client: httpx2.Client) -> None:
    whole = quotes(client).json()["quotes"][0]
    ids = [row["item_id"] for row in whole["comparables"]]
    (less,) = quotes(client, without=ids[:1]).json()["quotes"]
    (pinned,) = quotes(client, only=ids[:2]).json()["quotes"]
    assert whole["before"] is None
    assert less["before"]["price"] == pytest.approx(whole["price"], rel=1e-5)
    assert ids[0] not in [row["item_id"] for row in less["comparables"]]
    assert {row["item_id"] for row in pinned["comparables"]} == set(ids[:2])
    assert "no row 'nobody'" in refused(quotes(client, without=["nobody"]), 422)
    assert "left out as well" in refused(quotes(client, without=ids[:1], only=ids[:1]), 422)


def test_pinned_comparables_count_whatever_they_cost_and_no_band_is_taken_or_told_with_them(
    client: httpx2.Client,
) -> None:
    whole = quotes(client, band=0.5).json()
    (row,) = whole["quotes"][0]["comparables"][:1]
    own = quotes(client).json()["settings"]
    assert whole["settings"] == own | {"band": 0.5}
    for chosen in ({"only": [row["item_id"]]}, {"only": [row["item_id"]], "band": None}):
        assert quotes(client, **chosen).json()["settings"] == own | {"band": None}
    assert quotes(client, without=[row["item_id"]]).json()["settings"] == own
    for band in (0.5, "inf"):
        assert "give one of them" in refused(quotes(client, only=[row["item_id"]], band=band), 422)


def test_rules_bound_the_price_to_set_and_leave_the_price(client: httpx2.Client) -> None:
    (plain,) = quotes(client).json()["quotes"]
    assert "price_to_set" not in plain
    floor = round(2 * plain["price"])
    (bounded,) = quotes(client, rules={"floor": str(floor), "ending": ".99"}).json()["quotes"]
    assert bounded["price"] == pytest.approx(plain["price"], rel=1e-5)
    assert bounded["price_to_set"] >= floor and f"{bounded['price_to_set']:.2f}".endswith(".99")
    assert bounded["bound_by"] == "floor, ending"
    item = {"text": TEXT, "current_price": "1.00"}
    (moved,) = client.post("/v1/quotes", json={"items": [item], "rules": {"max_change": "10"}}).json()["quotes"]
    assert (moved["price_to_set"], moved["bound_by"]) == (1.1, "max_change")
    assert "no rule 'bottom'" in refused(quotes(client, rules={"bottom": "3"}), 422)
    unread = client.post("/v1/quotes", json={"items": [{**item, "current_price": "free"}], "rules": {"floor": "3"}})
    assert "current price is 'free'" in refused(unread, 422)


def test_many_items_are_priced_in_their_order(client: httpx2.Client) -> None:
    texts = ["Olive oil, 16.9 fl oz", TEXT, "Utility rope, 100 feet"]
    together = client.post("/v1/quotes", json={"items": [{"text": text} for text in texts]}).json()["quotes"]
    alone = [client.post("/v1/quotes", json={"items": [{"text": text}]}).json()["quotes"][0] for text in texts]
    assert [quote["price"] for quote in together] == pytest.approx([quote["price"] for quote in alone], rel=1e-4)


def test_a_photograph_comes_as_a_data_url_and_changes_the_price(
    client: httpx2.Client, shop: Any, opened: ServedIndex
) -> None:
    image = "data:image/jpeg;base64," + base64.b64encode(shop.photograph.read_bytes()).decode()
    seen = client.post("/v1/quotes", json={"items": [{"text": TEXT, "image": image}]}).json()["quotes"][0]
    assert seen["price"] != quotes(client).json()["quotes"][0]["price"]
    (quote,) = opened.pricer.price([Item(TEXT, str(shop.photograph))])
    assert seen["price"] == pytest.approx(quote.price, rel=1e-5)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("/etc/hostname", "paths are not read"),
        ("file:///etc/hostname", "paths are not read"),
        ("../images/1.png", "paths are not read"),
        ("http://127.0.0.1:1/x.png", "fetches no photographs"),
        ("data:image/png;base64,AAAA", "not an image"),
        ("data:image/png;base64,@@@", "no base64"),
        ("data:text/html,<b>", "paths are not read"),
    ],
)
def test_an_image_that_is_none_gets_one_sentence(image: str, sentence: str, client: httpx2.Client) -> None:
    answer = client.post("/v1/quotes", json={"items": [{"text": TEXT, "image": image}]})
    assert sentence in refused(answer, 422)


def test_an_image_of_a_hundred_megapixels_is_refused_by_its_header(client: httpx2.Client) -> None:
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 100).decode()
    answer = client.post("/v1/quotes", json={"items": [{"image": f"data:image/png;base64,{data}"}]})
    assert "too many pixels" in refused(answer, 422)


def test_nothing_tells_why_an_address_gave_nothing(serve: Any) -> None:
    with serve(allow_fetch=True) as client:
        addresses = ("http://127.0.0.1:1/x.png", "http://169.254.169.254/x", "http://no-such-host.invalid/x.png")
        said = {refused(client.post("/v1/quotes", json={"items": [{"image": address}]}), 422) for address in addresses}
    assert said == {"The photograph could not be fetched."}


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 422, "Field required"),
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b'{"items": [{"text": "tea"}], "k": NaN}', 400, "NaN"),
        (b'{"items": [{"text": "tea"}], "band": Infinity}', 400, "Infinity"),
        (b'{"items": [{"text": "tea"}], "band": 1e999}', 400, "1e999"),
        (b'{"items": [{"text": "tea \\ud800"}]}', 400, "Unicode"),
        (b'{"items": [{"text": "tea \xff"}]}', 400, "Unicode"),
        (b'{"items": [{"text": "tea"}], "k": ' + b"9" * 5000 + b"}", 400, "digits"),
        (b"[]", 422, "body"),
        (b'{"items": []}', 422, "items"),
        (b'{"items": [{"text": " "}]}', 422, "nothing to price"),
        (b'{"items": [{"text": 3}]}', 422, "string"),
        (b'{"items": [{"text": "tea"}], "knob": 1}', 422, "knob"),
        (b'{"items": [{"text": "tea"}], "k": 0}', 422, "k"),
        (b'{"items": [{"text": "tea"}], "k": true}', 422, "k"),
        (b'{"items": [{"text": "tea"}], "lambda": -1}', 422, "lambda"),
        (b'{"items": [{"text": "tea"}], "index": "other"}', 404, "no index 'other'"),
        (b'{"items": [{"text": "tea", "further": {"colour": "red"}}]}', 422, "no column 'colour'"),
    ],
)
def test_a_body_that_is_wrong_gets_one_sentence(body: bytes, status: int, sentence: str, client: httpx2.Client) -> None:
    answer = client.post("/v1/quotes", content=body, headers={"Content-Type": "application/json"})
    assert sentence in refused(answer, status)


def test_too_many_items_and_too_long_a_text_are_refused(client: httpx2.Client) -> None:
    refused(client.post("/v1/quotes", json={"items": [{"text": "tea"}] * (MOST_ITEMS + 1)}), 422)
    refused(client.post("/v1/quotes", json={"items": [{"text": "t" * 20_001}]}), 422)


def test_the_index_tells_what_it_holds_and_how_good_it_is(client: httpx2.Client, opened: ServedIndex) -> None:
    held = client.get("/v1/index").json()
    assert held["rows"] == opened.pricer.manifest.rows
    assert held["evaluation"]["smape"] > 0
    assert held["indexes"] == ["shop"]
    assert "no index 'x'" in refused(client.get("/v1/index?index=x"), 404)


def test_a_row_is_found_by_its_id_and_its_photograph_shown_small(client: httpx2.Client, opened: ServedIndex) -> None:
    comparables = quotes(client).json()["quotes"][0]["comparables"]
    row = client.get(f"/v1/comparables/{comparables[0]['item_id']}").json()
    assert {name: row[name] for name in ("name", "price", "residual")} == {
        name: comparables[0][name] for name in ("name", "price", "residual")
    }
    with_photograph = [row["image"] for row in comparables if row["image"]]
    statuses = {address: client.get(address) for address in with_photograph}
    assert any(answer.headers["content-type"] == "image/jpeg" for answer in statuses.values())
    assert {answer.status_code for answer in statuses.values()} <= {200, 404}


def test_an_id_with_a_slash_reaches_its_row(client: httpx2.Client) -> None:
    answer = client.get("/v1/comparables/tea%3AGreen%2FL")
    assert refused(answer, 404) == "The index shop has no row 'tea:Green/L': check the id."
    assert client.post("/v1/comparables/tea%3AGreen%2FL").headers["allow"] == "GET"


@pytest.mark.parametrize("row", ["nobody", "..%2F..%2Fetc", "%00"])
def test_an_unknown_row_is_a_problem(row: str, client: httpx2.Client) -> None:
    refused(client.get(f"/v1/comparables/{row}"), 404)
    assert client.get(f"/photographs/shop?id={row}").status_code == 404


def test_health_readiness_and_figures_are_told(client: httpx2.Client) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    quotes(client)
    text = client.get("/metrics").text
    assert 'price_requests_total{method="POST",route="/v1/quotes",status="200"}' in text
    assert TEXT not in text


def test_no_text_of_an_item_stands_in_the_log_unless_it_may(
    serve: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger("price"), "propagate", True)
    with caplog.at_level("DEBUG"):
        for allowed in (False, True):
            with serve(log_items=allowed) as client:
                quotes(client)
                client.get("/", params={"text": TEXT})
            assert any(TEXT in record.getMessage() for record in caplog.records) is allowed


def test_the_document_of_the_api_has_examples_and_every_route(client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/quotes", "/v1/index", "/v1/comparables/{item_id}", "/healthz", "/readyz", "/metrics"} <= set(
        document["paths"]
    )
    assert document["components"]["schemas"]["QuotesRequest"]["examples"]
