"""What is paid, where a file has several prices or one of another kind, and whose words and price a variant has."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import ReadSettings
from index.catalogue.shops.articles import PARENT
from index.catalogue.shops.headings import normalised


def read(tmp_path: Path, content: str | list[Any] | dict[str, Any], settings: ReadSettings | None = None) -> Catalogue:
    path = tmp_path / "stock.csv"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_catalogue(path, settings or ReadSettings(), priced=True)


def priced_by(tmp_path: Path, headings: str, settings: ReadSettings | None = None) -> Catalogue:
    """Read two items with these columns of prices, of which the second is 10 in the first column, 11 in the next."""
    names = headings.split(";")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["sku", "title", *names])
    writer.writerows([[sku, f"Lamp {sku}", *range(start, start + len(names))] for sku, start in (("A", 20), ("B", 10))])
    return read(tmp_path, text.getvalue(), settings)


def by_id(found: Catalogue) -> dict[str, float | None]:
    return dict(zip(found.items["item_id"].to_pylist(), found.prices.to_pylist(), strict=True))


# Several prices

PAID = [
    # headings in one order; what is paid, whatever the order
    ("initial_price;final_price", "final_price"),
    ("regular price;final price", "final price"),
    ("Precio s/IVA;Precio c/IVA", "Precio c/IVA"),
    ("Prezzo IVA escl.;Prezzo IVA incl.", "Prezzo IVA incl."),
    ("Pris ekskl. moms;Pris inkl. moms", "Pris inkl. moms"),
    ("price excl vat;price incl vat", "price incl vat"),
    ("price excl;price incl", "price incl"),
    ("price_net;price_gross", "price_gross"),
    ("Cena netto;Cena brutto", "Cena brutto"),
    ("cena bez DPH;cena s DPH", "cena s DPH"),
    ("Preis netto;Preis inkl. MwSt.", "Preis inkl. MwSt."),
    ("Precio sin impuestos;Precio con IVA", "Precio con IVA"),
    ("Prix unitaire HT;Prix unitaire TTC", "Prix unitaire TTC"),
    ("price w/o tax;price with tax", "price with tax"),
    ("Listenpreis;Verkaufspreis", "Verkaufspreis"),
    ("Prezzo di listino;Prezzo di vendita", "Prezzo di vendita"),
    ("price_cents;price_eur", "price_eur"),
    ("cost price;shop price", "shop price"),
    ("cost price;price excl vat", "price excl vat"),
    ("cost price;sale price", "sale price"),
    ("original price;price", "price"),
    ("price incl. shipping;price", "price"),
]


@pytest.mark.parametrize(("headings", "paid"), PAID)
def test_what_is_paid_does_not_depend_on_the_order_of_the_columns(tmp_path: Path, headings: str, paid: str) -> None:
    for names in (headings.split(";"), headings.split(";")[::-1]):
        found = priced_by(tmp_path, ";".join(names))
        assert found.reading.heading("price") == paid
        assert by_id(found) == {"A": 20 + names.index(paid), "B": 10 + names.index(paid)}
        assert not any(column.partition(":")[0] == "number" for column in found.reading.roles.further)


def test_a_price_after_a_discount_is_paid_where_it_is_filled(tmp_path: Path) -> None:
    found = read(tmp_path, "sku,title,full price,price after discount\nA,Blue Lamp,12.99,9.99\nB,Red Lamp,8.00,\n")
    assert by_id(found) == {"A": 9.99, "B": 8}
    assert "What is paid is 'price after discount' where it is filled." in found.notes


@pytest.mark.parametrize("headings", ["price;price incl vat", "shop price;member price", "list price;shop price"])
def test_a_price_that_might_be_paid_as_well_is_told(tmp_path: Path, headings: str) -> None:
    first, second = headings.split(";")
    note = f"What is paid is read from {first!r}, not from {second!r}: --price-column names another."
    assert note in priced_by(tmp_path, headings).notes
    assert note not in priced_by(tmp_path, headings, ReadSettings(price=first)).notes


@pytest.mark.parametrize(
    "headings", ["price;list price", "price;price group", "price excl vat;price incl vat", "price;cost price"]
)
def test_a_price_of_another_kind_beside_what_is_paid_is_nothing_to_tell(tmp_path: Path, headings: str) -> None:
    content = f"sku,title,{headings.replace(';', ',')}\nA,Blue Lamp,12.99,{'B7-1' if 'group' in headings else 15}\n"
    assert read(tmp_path, content).notes == ()


@pytest.mark.parametrize("heading", ["cost price", "price per kg", "Grundpreis", "min price;max price", "EK-Preis"])
def test_prices_of_another_kind_are_told_where_there_are_no_others(tmp_path: Path, heading: str) -> None:
    found = priced_by(tmp_path, heading)
    assert any(note.startswith("No column says what is paid: prices are read from ") for note in found.notes)
    named = priced_by(tmp_path, heading, ReadSettings(price=heading.partition(";")[0]))
    assert not any("says what is paid" in note for note in named.notes)


@pytest.mark.parametrize("heading", ["price", "list price", "selling price", "Net price EUR", "sold price"])
def test_a_price_by_its_heading_is_nothing_to_doubt(tmp_path: Path, heading: str) -> None:
    assert not any("says what is paid" in note for note in priced_by(tmp_path, heading).notes)


@pytest.mark.parametrize("settings", [None, ReadSettings(price="price_cents")])
def test_prices_in_cents_by_their_heading_are_told_even_where_they_are_named(
    tmp_path: Path, settings: ReadSettings | None
) -> None:
    assert any("are in cents by its name" in note for note in priced_by(tmp_path, "price_cents", settings).notes)


@pytest.mark.parametrize(
    "heading", ["Precio s/IVA", "Prezzo IVA escl.", "Pris ekskl. moms", "price w/o tax", "Prix HT"]
)
def test_prices_without_tax_are_told_where_there_are_no_others(tmp_path: Path, heading: str) -> None:
    assert f"The prices of {heading!r} are without tax." in priced_by(tmp_path, heading).notes


# Sales

SALE = "SKU,Title,Price,Sale Price,On Sale\n"


@pytest.mark.parametrize("cell", ["No", "false", "FALSE", "0", "n", "nein", "non"])
def test_a_sale_price_is_not_paid_where_the_file_says_that_there_is_no_sale(tmp_path: Path, cell: str) -> None:
    rows = f"A,Linen Shirt,49.00,39.00,{cell}\nB,Linen Top,49.00,39.00,Yes\nC,Hat,49.00,39.00,\nD,Cap,,39.00,{cell}\n"
    found = read(tmp_path, SALE + rows)
    assert by_id(found) == {"A": 49, "B": 39, "C": 39, "D": 39}  # the last has no other price
    assert "What is paid is 'Sale Price' where it is filled, unless 'On Sale' says no." in found.notes
    assert found.reading.roles.further == ()


@pytest.mark.parametrize("header", ["SKU,Title,Price,On Sale", "SKU,Title,Price,Sale Price,On sale (0/1)"])
def test_a_column_on_sale_says_nothing_of_prices_without_a_sale_price_or_by_another_name(
    tmp_path: Path, header: str
) -> None:
    sale = "39.00," if "Sale Price" in header else ""
    found = read(tmp_path, f"{header}\nA,Linen Shirt,49.00,{sale}0\nB,Linen Top,49.00,{sale}1\n")
    assert "on_sale" not in found.reading.roles.named()
    assert set(by_id(found).values()) == {39.0 if sale else 49.0}


AUCTIONS = {  # shop -> header; headings of id, title, format, lowest bid, and what is paid at once
    "eBay file exchange": (
        "*Action(SiteID=US|Country=US|Currency=USD|Version=1193),CustomLabel,*Category,*Title,Relationship,"
        "RelationshipDetails,*Description,PicURL,*Format,*StartPrice,BuyItNowPrice,*Quantity",
        ("CustomLabel", "*Title", "*Format", "*StartPrice", "BuyItNowPrice"),
    ),
    "eBay active listings": (
        "Item number,Title,Variation details,Custom label (SKU),Available quantity,Format,Currency,Start price,"
        "Auction Buy It Now price,Reserve price,Current price",
        ("Custom label (SKU)", "Title", "Format", "Current price", "Auction Buy It Now price"),
    ),
}


@pytest.mark.parametrize("auction", ["Auction", "AUCTION", "Auktion"])
@pytest.mark.parametrize("shop", AUCTIONS)
def test_a_bid_of_an_auction_is_no_price(tmp_path: Path, shop: str, auction: str) -> None:
    header, headings = AUCTIONS[shop]
    text = io.StringIO()
    writer = csv.DictWriter(text, header.split(","), restval="")
    writer.writeheader()
    fixed = {f"F{number}": 99.0 for number in range(60)}  # few of the rows can be bought at once
    rows = [
        ("A", auction, "0.99", "1499.00"),
        ("B", auction, "0.99", ""),
        *((sku, "FixedPrice", 99, "") for sku in fixed),
    ]
    for sku, *cells in rows:
        writer.writerow(dict(zip(headings, (sku, f"Camera {sku}", *cells), strict=True)))
    found = read(tmp_path, text.getvalue())
    assert found.reading.roles.shop is not None and found.reading.roles.shop.name == shop
    assert by_id(found) == {"A": 1499, **fixed}
    assert [(reject.item_id, reject.reason) for reject in found.rejects] == [("B", "price is a lower bound: from 0.99")]


# schema.org


def offered(*offers: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"@type": "Product", "name": f"Wine {number}", "sku": str(number), "offers": offer}
        for number, offer in enumerate(offers)
    ]


def test_a_range_of_offers_is_no_price_and_one_of_equal_ends_is(tmp_path: Path) -> None:
    bounds = ((5, 500), ("5.50", 5.5), (7, None))
    offers = [{"@type": "AggregateOffer", "lowPrice": low, "highPrice": high} for low, high in bounds]
    found = read(tmp_path, offered(*offers))
    assert by_id(found) == {"1": 5.5, "2": 7}
    assert [reject.reason for reject in found.rejects] == ["price is a range: 5-500"]


def unit_price(price: str, amount: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "UnitPriceSpecification", "price": price, "referenceQuantity": amount}


LITRE = {"value": 1, "unitCode": "LTR"}


def test_a_price_for_a_unit_is_no_price_of_the_item(tmp_path: Path) -> None:
    per_litre, per_gram = unit_price("13.33", LITRE), unit_price("0.9", {"value": "100", "unitText": "g"})
    own = [{"price": "10.00"}, unit_price("9.00", {"value": 1, "unitCode": "C62"})]
    of_its_content = unit_price("81.00", {"value": "4.5", "unitCode": "LTR", "valueReference": LITRE})
    per_piece = unit_price("90.00", {"value": 100, "unitCode": "C62"})
    specified = (per_litre, per_gram, [per_litre, own[0]], [own[0], per_litre], own[1], of_its_content, per_piece)
    found = read(tmp_path, offered(*({"priceSpecification": price} for price in specified)))
    assert by_id(found) == {"2": 10, "3": 10, "4": 9, "5": 81}
    assert [reject.reason for reject in found.rejects] == [
        "price is for a unit: 13.33/LTR",
        "price is for a unit: 0.9/g",
        "price is for a unit: 90.00/C62",
    ]


# Numbers of items


@pytest.mark.parametrize("heading", ["Item #", "Product #", "Article#", "Part #", "Item # "])
def test_a_number_of_an_item_is_its_id_and_no_name(tmp_path: Path, heading: str) -> None:
    items = read(tmp_path, f"{heading},Description,Price\n1001,Cola can 330 ml,0.54\n").items
    assert items.select(["item_id", "text"]).to_pylist() == [{"item_id": "1001", "text": "Cola can 330 ml"}]


def test_other_number_signs_in_headings_mean_what_they_did() -> None:
    assert (
        normalised("Reference #") == "reference" and normalised("item_name[language_tag=en_US]#1.value") == "item name"
    )
    assert normalised("item#1.value") == "item"


# Parents


VARIANTS = [
    # header, parent, variants, one without; the parent's words are the variants', as they have none
    ("parent_sku,sku,name,color,price", ",P1,Linen shirt,,", "P1,P1-R,,Red,10.00/P1,P1-B,,Blue,11.00", ",M,Mug,,3.00"),
    ("Parent,SKU,Title,Colour,Price", ",P1,Linen shirt,,", "P1,P1-R,,Red,10.00/P1,P1-B,,Blue,11.00", ",M,Mug,,3.00"),
    ("parent_id,id,sku,name,color,price", ",7,P1,Linen shirt,,", "7,8,P1-R,,Red,10.00/7,9,P1-B,,Blue,11.00",
     ",5,M,Mug,,3.00"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "parent", "variants", "single"), VARIANTS, ids=[row[0] for row in VARIANTS])
@pytest.mark.parametrize("first", [True, False])
def test_a_parent_that_variants_name_gives_them_its_words_and_is_no_item(
    tmp_path: Path, header: str, parent: str, variants: str, *, single: str, first: bool
) -> None:
    rows = [parent, *variants.split("/")] if first else [*variants.split("/"), parent]
    found = read(tmp_path, "\n".join([header, *rows, single]) + "\n")
    texts = dict(zip(found.items["item_id"].to_pylist(), found.items["text"].to_pylist(), strict=True))
    assert texts == {"P1-R": "Linen shirt, Red", "P1-B": "Linen shirt, Blue", "M": "Mug"}
    assert by_id(found) == {"P1-R": 10, "P1-B": 11, "M": 3}
    assert found.passed_over == {PARENT: 1} and not found.rejects
    key = dict(zip(texts, found.items["parent"].to_pylist(), strict=True))
    assert key["P1-R"] == key["P1-B"] is not None and key["M"] is None


def test_a_parent_with_a_price_is_an_item_and_its_variants_keep_what_they_say(tmp_path: Path) -> None:
    content = (
        "id;parent_id;product_number;name;description;price_net;price_gross\n"
        "a;;S1;Linen shirt;Nice;10;12\nb;a;S1.1;;;20;24\nd;a;S1.2;Silk shirt;;30;36\nc;;S2;Mug;;5;6\n"
    )
    found = read(tmp_path, content)
    texts = dict(zip(found.items["item_id"].to_pylist(), found.items["text"].to_pylist(), strict=True))
    assert texts == {"a": "Linen shirt\nNice", "b": "Linen shirt\nNice", "d": "Silk shirt\nNice", "c": "Mug"}
    assert by_id(found) == {"a": 12, "b": 24, "d": 36, "c": 6}
    assert found.items["parent"].to_pylist() == ["a", "a", "a", None]


def test_a_parent_is_priced_where_its_variants_have_no_prices_either(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("parent_sku,sku,name,color,price\n,P1,Linen shirt,,\nP1,P1-R,,Red,\n")
    found = read_catalogue(path, ReadSettings(), priced=False)
    assert found.items["text"].to_pylist() == ["Linen shirt", "Linen shirt, Red"] and not found.passed_over


def test_a_key_that_names_no_row_is_shared_as_it_was(tmp_path: Path) -> None:
    content = "group id,sku,name,color,price\nG,A,Shirt,Red,1\nG,B,,Blue,2\nH,C,Mug,,\n"
    found = read(tmp_path, content)
    assert found.items["text"].to_pylist() == ["Shirt, Red", "Shirt, Blue"]
    assert found.rejected == {"no price": 1} and not found.passed_over


# Variants in JSON


SHIRT = {
    "id": 1, "title": "Linen shirt", "handle": "shirt", "body_html": "<p>Nice</p>", "vendor": "Acme",
    "images": [{"src": "https://x/1.jpg"}, {"src": "https://x/2.jpg"}],
    "variants": [
        {"id": 11, "title": "S", "sku": "LS-S", "price": "19.00", "featured_image": None},
        {"id": 12, "title": "XL", "sku": "LS-XL", "price": "29.00", "featured_image": {"src": "https://x/3.jpg"}},
    ],
}  # fmt: skip
MUG = {
    "id": 2,
    "title": "Mug",
    "handle": "mug",
    "variants": [{"id": 21, "title": "Default Title", "sku": "MG", "price": "12.00"}],
}


def test_the_products_of_shopify_in_json_are_read_as_its_exports_are(tmp_path: Path) -> None:
    found = read(tmp_path, {"products": [SHIRT, MUG]})
    assert found.reading.kind == "Shopify export, JSON"
    assert by_id(found) == {"LS-S": 19, "LS-XL": 29, "MG": 12}
    assert found.items["text"].to_pylist() == ["Linen shirt, S\nNice", "Linen shirt, XL\nNice", "Mug"]
    assert found.items["parent"].to_pylist() == ["shirt", "shirt", "mug"]
    assert found.items["image"].to_pylist() == ["https://x/1.jpg", "https://x/3.jpg", None]


@pytest.mark.parametrize(
    "variants",
    [
        [{"id": 11, "name": "S", "price": 10}, {"id": 12, "name": "XL", "price": 29}],
        [{"id": 11, "size": "S", "price": None}, {"id": 12, "size": "XL", "price": 29}],
        [{"size": "S", "price": 10}, {"size": "XL", "price": 29}],
    ],
    ids=["names", "a price of the article's", "no ids"],
)
def test_variants_in_json_have_prices_and_sizes_of_their_own(tmp_path: Path, variants: list[dict[str, Any]]) -> None:
    found = read(
        tmp_path, [{"id": 1, "name": "Shirt", "price": 10, "variants": variants}, {"id": 2, "name": "Mug", "price": 3}]
    )
    assert found.items["text"].to_pylist() == ["Shirt, S", "Shirt, XL", "Mug"]
    assert found.prices.to_pylist() == [10, 29, 3] and not found.rejects
    assert found.items["parent"].to_pylist() == ["1", "1", None]


@pytest.mark.parametrize("variants", [[], ["S", "XL"], [{"size": "S"}, {"size": "XL"}]])
def test_variants_without_prices_leave_an_article_as_it_is(tmp_path: Path, variants: list[Any]) -> None:
    assert by_id(read(tmp_path, [{"id": 1, "name": "Shirt", "price": 10, "variants": variants}])) == {"1": 10}
