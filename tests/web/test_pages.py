"""Claims about the pages: they work without scripts, escape what they show, and say a mistake where it was made."""

import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from engine.lifecycle.update import remove_items
from engine.serving.pricer import Item
from index.errors import DataRefused
from index.visible import money
from web.pricing.indexes import MOST_WORST, ServedIndex

TEXT = "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"


def shown_price(page: str) -> str:
    match = re.search(r'class="amount">([\d.,e-]+)', page)
    assert match, page
    return match[1]


def test_the_page_of_an_item_shows_what_the_api_says(client: httpx2.Client) -> None:
    (quote,) = client.post("/v1/quotes", json={"items": [{"text": TEXT}]}).json()["quotes"]
    page = client.get("/", params={"text": TEXT}).text
    assert shown_price(page) == money(quote["price"])
    for value in (quote["low"], quote["high"], quote["parts"]["blend"], quote["parts"]["stacker"]):
        assert money(value) in page
    assert f"<b>{quote['confidence']}</b>" in page
    assert all(f"<li>{reason}</li>" in unescape(page) for reason in quote["why"])
    assert page.count('<circle class="dot"') == len(quote["comparables"])
    assert page.count('<li class="card">') == min(24, len(quote["comparables"]))
    assert unescape(page).count(quote["comparables"][0]["name"]) == 2  # its card and its dot


def test_its_link_gives_the_same_answer_again(client: httpx2.Client) -> None:
    page = client.get("/", params={"text": TEXT, "k": "7", "band": "0.4", "lambda": "3", "alpha": "0.9"}).text
    link = re.search(r'href="(/\?text=[^"]+)"', page)
    assert link
    address = unescape(link[1])
    assert parse_qs(urlsplit(address).query)["k"] == ["7"]
    again = client.get(address).text
    assert shown_price(again) == shown_price(page)
    assert again.count('<circle class="dot"') == page.count('<circle class="dot"') <= 7


def hidden(page: str, name: str) -> str:
    match = re.search(rf'type="hidden"[^>]* name="{name}" value="([^"]*)"', page)
    assert match, page
    return match[1]


def test_the_price_before_stays_visible_where_it_was_another(client: httpx2.Client) -> None:
    mark = hidden(client.get("/", params={"text": TEXT}).text, "before_of")
    page = client.get("/", params={"text": TEXT, "before": "1234.5", "before_of": mark}).text
    assert "<s>1,234.50</s>" in page and 'class="was"' in page
    price = shown_price(page)
    assert "<s>" not in client.get("/", params={"text": TEXT, "before": price, "before_of": mark}).text


def test_a_price_before_is_that_of_the_same_words_and_of_no_next_item(client: httpx2.Client) -> None:
    mark = hidden(client.get("/", params={"text": f"{TEXT}\nRoasted"}).text, "before_of")
    of_it = {"before": "1234.5", "before_of": mark}
    same = client.get("/", params={**of_it, "text": f"{TEXT}\r\nRoasted ", "alpha": "0.01"}).text
    assert "<s>1,234.50</s>" in same and hidden(same, "before_of") == mark
    for other in ({**of_it, "text": "Olive oil 16.9 fl oz"}, {"before": "1234.5", "text": TEXT}):
        assert "<s>" not in client.get("/", params=other).text


def test_what_a_page_of_another_index_brings_is_dropped_and_the_item_priced(
    serve: Any, own_index: Path, opened: ServedIndex
) -> None:
    (row,) = opened.pricer.price([Item(TEXT)])[0].comparables[:1]
    remove_items([row.item_id], own_index)
    moved = {"text": TEXT, "index": "other", "page_of": "shop", "set.colour": "red", "alpha": "0.01"}
    with serve(other=ServedIndex.open("other", str(own_index))) as client:
        of_it = {"before": "1234.5", "before_of": hidden(client.get("/", params={"text": TEXT}).text, "before_of")}
        plain = client.get("/", params={"text": TEXT, "index": "other"}).text
        for chosen in ("without", "only"):
            page = client.get("/", params={**moved, **of_it, chosen: row.item_id}).text
            assert shown_price(page) == shown_price(plain) and 'role="alert"' not in page and "<s>" not in page
            assert hidden(page, "page_of") == "other" and "checked" not in page
            refused = client.get("/", params={**moved, "page_of": "other", "set.colour": "", chosen: row.item_id})
            assert refused.status_code == 422 and "no row" in refused.text  # where it is the page's own index
        assert "no column" in client.get("/", params={**moved, "page_of": "other"}).text


def test_switches_of_the_cards_leave_out_and_pin_and_can_be_taken_back(client: httpx2.Client) -> None:
    (quote,) = client.post("/v1/quotes", json={"items": [{"text": TEXT}]}).json()["quotes"]
    gone, pinned = (row["item_id"] for row in quote["comparables"][:2])
    page = client.get("/", params={"text": TEXT, "without": gone}).text
    assert re.search(rf'name="without" value="{gone}"[^>]* checked', page)
    assert unescape(page).count(quote["comparables"][0]["name"]) == 1  # among those left out alone
    assert f"<s>{money(quote['price'])}</s>" in page or shown_price(page) == money(quote["price"])
    page = client.get("/", params={"text": TEXT, "only": pinned}).text
    assert page.count('<li class="card">') == 1
    assert re.search(rf'name="only" value="{pinned}"[^>]* checked', page)
    link = re.search(r'href="(/\?text=[^"]+)"', page)
    assert link and parse_qs(urlsplit(unescape(link[1])).query)["only"] == [pinned]


def test_a_form_with_a_photograph_is_priced_by_it(client: httpx2.Client, shop: Any) -> None:
    by_words = client.post("/", data={"text": TEXT}).text
    files = {"photograph": ("tea.jpg", shop.photograph.read_bytes(), "image/jpeg")}
    by_both = client.post("/", data={"text": TEXT}, files=files).text
    alone = client.post("/", data={"text": ""}, files=files)
    assert shown_price(by_words) != shown_price(by_both)
    assert alone.status_code == 200 and "without the photograph tea.jpg" in alone.text


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202eevil\x1b[31m"])
def test_words_of_an_item_are_text_wherever_they_stand(words: str, client: httpx2.Client) -> None:
    page = client.get("/", params={"text": words, "set.brand": words}, headers={"Accept": "text/html"})
    ours = re.sub(r"<textarea.*?</textarea>", "", page.text, flags=re.DOTALL)
    assert "<script>" not in page.text and "<img src=x" not in page.text
    assert "\u202e" not in ours and "\x1b" not in ours


@pytest.mark.parametrize(
    ("fields", "place", "sentence"),
    [
        ({"text": TEXT, "k": "0"}, "answer", "k is"),
        ({"text": TEXT, "alpha": "99"}, "answer", "alpha is 99.0"),
        ({"text": TEXT, "band": "nan"}, "answer", "band is"),
        ({"text": TEXT, "without": "nobody"}, "answer", "no row"),
        ({"text": "t" * 20_001}, "text", "over 20,000 characters"),
        ({"text": TEXT, "set.colour": "red"}, "text", "no column"),
        ({"text": TEXT, "image": "/etc/hostname"}, "photograph", "paths are not read"),
    ],
)
def test_a_mistake_is_told_where_it_was_made(
    fields: dict[str, str], place: str, sentence: str, client: httpx2.Client
) -> None:
    answer = client.get("/", params=fields, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 422
    alert = re.search(r'role="alert">([^<]*)', answer.text)
    assert alert and sentence in unescape(alert[1])
    before = answer.text[: alert.start()]
    assert re.findall(r'id="(answer|text|photograph)"', before)[-1] == place


def test_an_upload_that_is_no_photograph_is_told_beside_its_field(client: httpx2.Client) -> None:
    answer = client.post("/", data={"text": TEXT}, files={"photograph": ("x.jpg", b"words", "image/jpeg")})
    assert answer.status_code == 422
    assert re.search(r'id="photograph"[^>]* aria-invalid="true"', answer.text)
    assert "not an image" in answer.text


def test_a_link_on_a_page_of_another_site_lets_nothing_be_fetched(serve: Any) -> None:
    with serve(allow_fetch=True) as client:
        fields = {"text": TEXT, "image": "http://127.0.0.1:1/x.png"}
        own = client.get("/", params=fields, headers={"Sec-Fetch-Site": "same-origin"})
        foreign = client.get("/", params=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert (own.status_code, foreign.status_code) == (422, 200)


def test_a_part_of_the_page_is_the_answer_alone(client: httpx2.Client) -> None:
    part = client.get("/", params={"text": TEXT, "part": "answer"}).text
    assert part.lstrip().startswith('<section id="answer"')
    assert "<html" not in part


def test_the_page_of_the_index_shows_its_scores_and_coverage(client: httpx2.Client, opened: ServedIndex) -> None:
    page = client.get("/index").text
    evaluation = client.get("/v1/index").json()["evaluation"]
    assert f"{evaluation['smape']:.2f}" in page
    assert f"{100 * evaluation['coverage']:.1f} %" in page
    for part in evaluation["by_confidence"]:
        assert (f'<th scope="row">{part["confidence"]}</th>' in page) is bool(part["n"])
    assert page.count("of the items") and all(f"{part['median_ape']:.1f} %" in page for part in evaluation["sureness"])
    assert f"{opened.pricer.manifest.rows:,}" in page


def test_the_page_of_the_index_shows_the_worst_rows_of_its_audit(client: httpx2.Client, opened: ServedIndex) -> None:
    page, frame = client.get("/index").text, opened.pricer.audit()
    assert len(frame) > MOST_WORST and f"The own price of {len(frame):,} rows lies outside" in page
    worst = page.split("The worst rows</caption>")[1].split("</table>")[0]
    ids = re.findall(r'<span class="help">([^<]+)<', worst)
    assert ids == frame["item_id"].tolist()[:MOST_WORST]
    assert client.get("/index").text == page and opened.worst_rows() is opened.worst_rows()  # audited once


def test_the_page_of_an_index_stands_where_too_few_rows_are_left_to_audit(
    client: httpx2.Client, opened: ServedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ServedIndex) -> None:
        raise DataRefused("Only 3 <b>rows</b> are left.")

    monkeypatch.setattr(ServedIndex, "worst_rows", refuse)
    page = client.get("/index")
    assert page.status_code == 200 and "Only 3 &lt;b&gt;rows&lt;/b&gt; are left." in page.text


@pytest.mark.parametrize("address", ["/v1/index", "/index"])
def test_what_is_wrong_with_an_index_is_told_by_its_name_and_not_by_its_path(
    address: str, serve: Any, own_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "live"
    link.symlink_to(own_index.name)
    index = ServedIndex.open("shop", str(link))
    with serve(index=index) as client:
        (own_index / "CURRENT").write_text("gen-000099\n", encoding="ascii")
        assert index.newer() is None and str(link) in index.trouble  # of which the log tells the operator
        monkeypatch.setattr(ServedIndex, "newer", lambda _: None)
        told = client.get(address).text
        assert "shop/CURRENT names gen-000099" in told and str(tmp_path) not in told
        (own_index / index.generation / "report.json").write_text("{", encoding="ascii")
        refused = client.get(address, headers={"Accept": "text/html"})
        assert refused.status_code == 503 and f"shop/{index.generation}/report.json is damaged" in refused.text
        assert str(tmp_path) not in refused.text


def test_the_page_of_the_api_names_every_route_of_its_document(client: httpx2.Client) -> None:
    page, document = client.get("/docs").text, client.get("/openapi.json").json()
    assert all(f"{method.upper()} {path}" in page for path, methods in document["paths"].items() for method in methods)


@pytest.mark.parametrize("path", ["/", f"/?text={TEXT}", "/index", "/docs", "/nothing"])
def test_a_page_takes_nothing_from_elsewhere_and_has_no_script_of_its_own(path: str, client: httpx2.Client) -> None:
    page = client.get(path, headers={"Accept": "text/html"}).text
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"\s(?:style|on\w+)=", page) == []
    sources = re.findall(r'(?:src|href|action)="([^"]+)"', page)
    assert [source for source in sources if not source.startswith(("/", "#"))] == []


def test_the_page_is_light(client: httpx2.Client) -> None:
    page = client.get("/", params={"text": TEXT})
    parts = [client.get(path) for path in ("/static/page.css", "/static/page.js", "/static/icon.svg")]
    assert sum(len(part.content) for part in (page, *parts)) < 150_000
