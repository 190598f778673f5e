"""Columns of files that are no shop's: claims about which is taken for what, and which for nothing."""

import csv
import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from index.catalogue.further import further_columns
from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import ReadSettings
from index.errors import DataRefused

ROWS = 60
BRANDS, KINDS = ("Acme", "Bogusta", "Corvid", "Larkspur"), ("Tea", "Oil", "Soap")


def cells_of(kind: str) -> Iterator[str]:
    """Yield the cells of a made-up column, by what it is; in each file the prices are the same."""
    source = random.Random(kind)  # noqa: S311
    prices = random.Random("price")  # noqa: S311
    for row in range(ROWS):
        price = prices.lognormvariate(2.5, 1)
        yield {
            "id": f"A{row:03}",
            "title": f"{source.choice(KINDS)} {source.choice(KINDS)} no {row}, 12 oz",
            "words": "hand picked leaves of our own garden, dried and packed",
            "price": f"{price:.2f}",
            "dear": f"{price * 1.4:.2f}",
            "cost": f"{price * source.uniform(0.45, 0.55):.2f}",
            "photo": f"https://x/{row}.jpg",
            "brand": source.choice(BRANDS),
            "colour": source.choice(("red", "blue", "green")),
            "weight": f"{source.uniform(0.1, 30):.2f}",
            "year": str(source.randrange(1990, 2024)),
            "rating": f"{source.uniform(1, 5):.1f}",
            "count": str(1000 + row),
            "day": f"2024-0{source.randrange(1, 9)}-{source.randrange(10, 28)}",
            "stock": str(source.randrange(0, 9)),
            "yes": source.choice(("yes", "no")),
            "same": "1",
            "nothing": "",
        }[kind]


def table(header: Sequence[str], kinds: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*map(cells_of, kinds), strict=True))
    return text.getvalue()


def read(tmp_path: Path, content: str, settings: ReadSettings | None = None, *, priced: bool = True) -> Catalogue:
    path = tmp_path / "stock.csv"
    path.write_text(content, encoding="utf-8")
    return read_catalogue(path, settings or ReadSettings(), priced=priced)


FILES = [
    # heading=what it is, ...; what is found
    ("SKU=id Title=title Price=price", "id=SKU text=Title price=Price"),
    ("Artikelnr=id Bezeichnung=title Bild=photo Preis=price", "id=Artikelnr text=Bezeichnung image=Bild price=Preis"),
    (
        "Référence=id Désignation=title Photo=photo Prix_TTC=price Marque=brand",
        "id=Référence text=Désignation image=Photo price=Prix_TTC category=Marque",
    ),
    ("Código=id Descripción=title Precio=price Marca=brand", "id=Código text=Descripción price=Precio category=Marca"),
    (
        "Codice=id Titolo=title Prezzo=price Categoria=colour",
        "id=Codice text=Titolo price=Prezzo category=Categoria",
    ),
    ("Artikelcode=id Naam=title Prijs=price Merk=brand", "id=Artikelcode text=Naam price=Prijs category=Merk"),
    ("Kod=id Nazwa=title Cena=price Producent=brand", "id=Kod text=Nazwa price=Cena category=Producent"),
    ("货号=id 名称=title 价格=price 品牌=brand", "id=货号 text=名称 price=价格 category=品牌"),
    # What is paid
    ("sku=id name=title price=price old_price=dear", "id=sku text=name price=price"),
    ("sku=id name=title list_price=dear selling_price=price", "id=sku text=name price=selling_price"),
    ("sku=id name=title mrp=dear price=price", "id=sku text=name price=price"),
    (
        "sku=id name=title actual_price=dear discounted_price=price",
        "id=sku text=name price=actual_price sale_price=discounted_price",
    ),
    ("sku=id name=title Verkaufspreis_brutto=price EK_Preis=cost", "id=sku text=name price=Verkaufspreis_brutto"),
    ("sku=id name=title Compare_at_price=dear Net_price_EUR=price", "id=sku text=name price=Net_price_EUR"),
    # Columns of headings that are not known
    ("Product_SKU=id Product_title_EN=title Shop_price=price", "id=Product_SKU text=Product_title_EN price=Shop_price"),
    ("ref=id brand_name=brand whatever=title price=price", "id=ref text=whatever price=price category=brand_name"),
    ("ref=id words=title foo=photo price=price", "id=ref text=words image=foo price=price"),
    # Sizes are words, where nobody says what the words are
    ("sku=id name=title size=weight price=price", "id=sku text=name option=size price=price"),
    ("sku=id name=title colour=colour price=price", "id=sku text=name option=colour price=price"),
    # Kinds and numbers by their values
    (
        "id=id title=title Finish=colour Net_weight_kg=weight Year=year Rating=rating Organic=yes price=price",
        "id=id text=title price=price category=Finish,Organic number=Net_weight_kg,Year,Rating",
    ),
    # Hard negatives: nothing of these is a property
    *[
        (f"id=id title=title {heading}={kind} price=price", "id=id text=title price=price")
        for heading, kind in [
            *(("Position", "count"), ("Lieferantennummer", "count"), ("Serial", "count"), ("EAN_code", "count")),
            *(("Stock", "stock"), ("Lagerbestand", "stock"), ("Qty_available", "stock"), ("Menge", "stock")),
            *(("Added", "day"), ("created_at", "day"), ("Gültig", "day"), ("Stand", "day")),
            *(("Wholesale", "cost"), ("Einkauf", "cost"), ("cost_of_goods", "cost"), ("UVP", "dear")),
            *(("Flag", "same"), ("Empty", "nothing"), ("Text2", "id"), ("Link_to_page", "id")),
            *(("VAT_class", "stock"), ("published", "yes"), ("units_sold", "stock")),
        ]
    ],
]


@pytest.mark.parametrize(("columns", "found"), FILES, ids=[columns for columns, _ in FILES])
def test_a_column_is_taken_for_what_it_is_and_for_no_more(tmp_path: Path, columns: str, found: str) -> None:
    header, kinds = zip(*(column.split("=") for column in columns.split()), strict=True)
    read_as = read(tmp_path, table([name.replace("_", " ") for name in header], kinds)).reading.roles.named()
    named = {
        role: ",".join(names if isinstance(names, list) else [names]).replace(" ", "_")
        for role, names in read_as.items()
    }
    assert named == dict(role.split("=") for role in found.split())


def test_a_cost_that_is_not_named_is_left_out_and_said_so_and_read_where_it_is_asked_for(tmp_path: Path) -> None:
    content = table(["id", "title", "Foo", "price"], ["id", "title", "cost", "price"])
    assert any("'Foo' follows the price as a cost does" in note for note in read(tmp_path, content).notes)
    asked = read(tmp_path, content, ReadSettings(number=("Foo",)))
    assert asked.items["number:Foo"].null_count == 0 and not any("'Foo'" in note for note in asked.notes)


def test_columns_of_words_are_joined_in_the_order_that_is_named(tmp_path: Path) -> None:
    content = 'title,brand,size,notes,price\nTea,Acme,20 Bags,"long\nlines",2\nOil,,1 l,,3\nAcme Soap,Acme,,,4\n'
    items = read(tmp_path, content, ReadSettings(text=("title", "brand", "size", "notes"))).items
    assert items["text"].to_pylist() == ["Tea, Acme, 20 Bags\nlong\nlines", "Oil, 1 l", "Acme Soap"]
    assert items["name"].to_pylist()[0] == "Tea, Acme, 20 Bags"


def test_named_columns_become_categories_and_numbers_and_ignored_ones_nothing(tmp_path: Path) -> None:
    content = table(["id", "title", "Maker", "Grade", "Stock", "price"], "id title brand yes stock price".split())
    settings = ReadSettings(category=("Stock",), number=("Grade",), ignore=("Maker",))
    items = read(tmp_path, content, settings).items
    further = {name: str(items.schema.field(name).type) for name in further_columns(items)}
    assert further == {"category:Stock": "string", "number:Grade": "double"}
    assert items["number:Grade"].null_count == ROWS  # "yes" is no number


def test_a_missing_number_and_an_empty_kind_are_null(tmp_path: Path) -> None:
    content = "id,title,brand,weight,price\n" + "".join(f"{n},Tea {n},A{n % 2},0.{n % 5},2\n" for n in range(1, 140))
    content += '140,Tea,,,2\n141,Tea,A1,"1,5",2\n142,Tea,A1,heavy,2\n'
    further = read(tmp_path, content).items.slice(139).to_pylist()
    assert [(item["category:brand"], item["number:weight"]) for item in further] == [
        (None, None),
        ("A1", 1.5),
        ("A1", None),
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ReadSettings(text=("titel",)), "no column 'titel' for the text: did you mean 'title'?"),
        (ReadSettings(text=("title", "sise")), "no column 'sise' for the text: did you mean 'size'?"),
        (ReadSettings(category=("brnd",)), "Name the right one with --category-column."),
        (ReadSettings(number=("wheight",)), "did you mean 'weight'?"),
        (ReadSettings(ignore=("nothing there",)), "Name the right one with --ignore-column."),
        (ReadSettings(sale_price="sales"), "no column 'sales' for the sale price"),
        (ReadSettings(currency_column="cur"), "for the currency"),
        (ReadSettings(date="day"), "for the date"),
        (ReadSettings(number=("tag",)), "more than one column 'tag': rename all but one"),
    ],
)
def test_a_named_column_that_is_not_there_is_refused_with_the_nearest(
    tmp_path: Path, settings: ReadSettings, words: str
) -> None:
    with pytest.raises(DataRefused) as caught:
        read(tmp_path, "id,title,brand,size,weight,tag,tag,price\n1,Tea,Acme,M,2,a,b,3\n", settings)
    assert caught.value.exit_code == 3 and words in str(caught.value)


def test_two_columns_of_one_name_are_refused_only_where_one_is_needed(tmp_path: Path) -> None:
    assert read(tmp_path, "id,title,tag,tag,price\n1,Tea,a,b,3\n").items.num_rows == 1
    with pytest.raises(DataRefused, match="more than one column 'price'"):
        read(tmp_path, "id,title,price,price\n1,Tea,2,3\n")
    with pytest.raises(DataRefused, match="more than one column 'title'"):
        read(tmp_path, "id,title,title,price\n1,Tea,Oil,3\n")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("12", "987", "1,234", "2,345.5"), [12, 987, 1234, 2345.5]),
        (("12,5", "0,375", "1.234", "1.234,5"), [12.5, 0.375, 1234, 1234.5]),
        (("12.5", "1.234", "0.375", "7"), [12.5, 1.234, 0.375, 7]),
    ],
    ids=["America", "Europe", "points"],
)
def test_a_column_of_numbers_says_what_its_commas_mean(
    tmp_path: Path, cells: Sequence[str], numbers: list[float]
) -> None:
    rows = "".join(f'A{row},Tea no {row},4.99,"{cell}"\n' for row, cell in enumerate(cells))
    found = read(tmp_path, f"id,title,price,reviews\n{rows}", ReadSettings(number=("reviews",)))
    assert found.items["number:reviews"].to_pylist() == numbers


def test_headings_that_many_shops_have_do_not_make_a_file_an_etsy_export(tmp_path: Path) -> None:
    rows = "".join(f"S{n},Tea {n},leaves,{BRANDS[n % 4]},{n}.50,USD\n" for n in range(1, ROWS))
    found = read(tmp_path, f"sku,title,description,brand,price,currency_code\n{rows}")
    assert found.reading.roles.shop is None and further_columns(found.items) == ("category:brand",)


@pytest.mark.parametrize("heading", ["Item", "Product", "Article"])
def test_numbers_below_a_heading_of_names_are_ids_where_another_column_has_words(tmp_path: Path, heading: str) -> None:
    content = f"{heading},Description,Price\n10023,Green tea,4.99\n10-024,Black tea,6.99\n"
    found = read(tmp_path, content)
    assert found.items["item_id"].to_pylist() == ["10023", "10-024"]
    assert found.items["text"].to_pylist() == ["Green tea", "Black tea"]


@pytest.mark.parametrize("names", [("M8 x 20", "M8 x 25"), ("75192", "75192"), ("1984", "Emma")])
def test_names_with_numbers_below_a_heading_of_names_stay_names(tmp_path: Path, names: tuple[str, str]) -> None:
    content = f"Item,Description,Price\n{names[0]},Good,4.99\n{names[1]},Fine,6.99\n"
    assert read(tmp_path, content).items["text"].to_pylist() == [f"{names[0]}\nGood", f"{names[1]}\nFine"]


def test_numbers_are_the_words_where_no_other_column_has_any(tmp_path: Path) -> None:
    assert read(tmp_path, "item,price\n10023,4.99\n10024,6.99\n").items["text"].to_pylist() == ["10023", "10024"]


@pytest.mark.parametrize("heading", ["offers.currency", "Item currency", "Selling currency code", "Währung"])
def test_a_column_of_codes_whose_heading_ends_in_currency_is_that_of_the_prices(tmp_path: Path, heading: str) -> None:
    content = f"sku,title,offers.price,{heading}\n1,Tea,4.99,EUR\n2,Oil,6.99,EUR\n"
    assert read(tmp_path, content).reading.currency == "EUR"


@pytest.mark.parametrize(
    ("headings", "cells"),
    [("shipping currency", "EUR"), ("last currency", "changed"), ("home currency,other currency", "EUR,USD")],
    ids=["of another amount", "no codes", "one of two"],
)
def test_a_currency_that_need_not_be_of_the_prices_is_not_taken(tmp_path: Path, headings: str, cells: str) -> None:
    content = f"sku,title,price,{headings}\n1,Tea,4.99,{cells}\n2,Oil,6.99,{cells}\n"
    assert read(tmp_path, content).reading.currency is None
