"""Exports of shops: how each is known by its headings, and what lies where in it.

One mechanism reads them all (`articles`); a shop is data. What they share is that an article may lie on several rows:
a parent with the words, and below it what is sold, with a size, a price and a photograph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ParentMode = Literal["", "shared", "reference", "above"]
"""Ways to find a row's parent: rows share a key, a row names its parent's id, or the parent stands above; or none."""


NONE = "-"  # in the place of headings: the shop's column of such a name is something else


@dataclass(frozen=True)
class Shop:
    """Layout in which a shop exports its articles. Headings are normalised (`headings.normalised`) and divided by |."""

    name: str
    signatures: tuple[str, ...]  # the headings that tell it, in each language that is known
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> its headings, before those of every file
    parent: ParentMode = ""
    categories: str = ""
    numbers: str = ""
    untaxed: bool = False  # prices are without tax


SHOPS = (
    Shop(
        "Shopify",
        ("handle|title|variant price", "url handle|title|option1 name|price", "handle|title|option1 value|price"),
        {
            "id": "variant sku|sku|variant id",
            "description": "body html|description",
            "image": "variant image|variant image url|image src|product image url",
            "price": "variant price|price",
            "parent": "handle|url handle",
        },
        parent="shared",
        categories="vendor|type|product category",
        numbers="variant grams|weight value grams",
    ),
    Shop(
        "Meta catalogue",
        ("id|title|price|image link|fb product category", "id|title|price|image link|quantity to sell on facebook"),
        parent="shared",
        categories="brand|google product category|fb product category|condition|gender|age group|color|material",
    ),
    Shop(
        "Google Merchant",
        ("id|title|price|image link|availability", "id|title|price|image link|link"),
        parent="shared",
        categories="brand|google product category|product type|condition|gender|age group|color|material",
    ),
    Shop(
        "WooCommerce",
        (
            "type|sku|name|regular price",
            "typ|artikelnummer|name|regulärer preis",
            "typ|sku|name|regulärer preis",
            "type|ugs|nom|tarif régulier",
            "type|ugs|nom|prix régulier",
            "tipo|sku|nombre|precio normal",
            "tipo|sku|nome|prezzo di listino",
            "type|sku|naam|reguliere prijs",
            "type|sku|naam|normale prijs",
            "tipo|sku|nome|preço",
            "typ|sku|nazwa|cena",
        ),
        {"id": "sku|artikelnummer|ugs|id", "title": "name|nom|nombre|nome|naam|nazwa"},
        parent="reference",
        categories="brands|categories|marken|kategorien|marques|catégories|marcas|categorías|categorie|brand|marchi",
        numbers="weight lbs|weight kg|weight oz|weight g|gewicht kg|gewicht g|poids kg|poids g|peso kg|peso g|waga kg",
    ),
    Shop(
        "Amazon category template",
        ("item sku|item name|standard price",),
        {"id": "item sku", "title": "item name", "description": "product description", "parent": "parent sku"},
        parent="reference",
        categories="brand name|manufacturer|feed product type|item type",
    ),
    Shop(
        "Amazon listings report",
        (
            "item name|seller sku|price",
            "artikelbezeichnung|händler sku|preis",
            "nom produit|sku vendeur|prix",
            "nom du produit|sku vendeur|prix",
            "nome dell articolo|sku venditore|prezzo",
            "título del producto|sku del vendedor|precio",
            "nombre del producto|sku del vendedor|precio",
        ),
        {
            "id": "seller sku|händler sku|sku vendeur|sku venditore|sku del vendedor|listing id|asin1",
            "title": "item name|artikelbezeichnung|nom produit|nom du produit|nome dell articolo|título del producto",
            "description": "item description|artikelbeschreibung|description de l article",
        },
    ),
    Shop(
        "eBay file exchange",
        (
            "title|relationship|relationshipdetails|startprice",
            "title|relationship|relationship details|start price",
            "titel|beziehung|beziehungsdetails|startpreis",
        ),
        {
            "id": "customlabel|custom label sku|custom label|bestandseinheit sku|itemid|item id",
            "price": "startprice|start price|startpreis|buyitnowprice|buy it now price",
            "variation": "relationshipdetails|relationship details|beziehungsdetails",
            "image": "picurl|item photo url|bild url",
        },
        parent="above",
        categories="c brand|category|category name|conditionid|condition id",
    ),
    Shop(
        "eBay active listings",
        (
            "item number|title|variation details|current price",
            "item number|title|variation details|start price",
            "artikelnummer|titel|variantendetails|startpreis",
            "artikelnummer|titel|variantendetails|aktueller preis",
            "artikelnummer|angebotstitel|variantendetails|startpreis",
            "numéro de l objet|titre|détails de la variante|prix de départ",
        ),
        {
            "id": "custom label sku|custom label|bestandseinheit sku|bestandseinheit|étiquette personnalisée sku|"
            "item number|artikelnummer|numéro de l objet",
            "price": "start price|startpreis|prix de départ|current price|aktueller preis|auction buy it now price",
            "parent": "item number|artikelnummer|numéro de l objet",
            "title": "title|titel|angebotstitel|titre",
        },
        parent="shared",
        categories="ebay category 1 name|condition|zustand",
    ),
    Shop(
        "Etsy",
        ("title|description|price|currency code|sku", "title|description|price|tags|materials"),
        {"id": "sku|listing id", "image": "image1|image 1"},
    ),
    Shop(
        "Square",
        ("token|item name|variation name|price", "reference handle|item name|variation name|price"),
        {
            "id": "sku|token",
            "title": "item name|customer facing name",
            "parent": "reference handle|item name",
            "sale_price": NONE,  # what is paid online alone
        },
        parent="shared",
        categories="categories|reporting category",
        numbers="weight lb|weight kg|weight oz|weight g",
    ),
    Shop(
        "PrestaShop",
        (
            "product id|name|price tax excluded",
            "product id|name|price tax included",
            "id|name|price tax excluded",
            "produkt id|name|preis ohne steuern",
            "id produit|nom|prix ht",
            "id|nom|prix ht",
            "id producto|nombre|precio sin impuestos",
        ),
        {
            "id": "product id|produkt id|id produit|id producto|id|reference",
            "image": "image urls x y z|image urls|bild urls|url des images x y z|url de las imágenes x y z",
        },
        categories="manufacturer|hersteller|marque|fabricante|categories x y z|kategorien x y z|catégories x y z|"
        "condition|zustand|état",
        numbers="weight|gewicht|poids|peso",
        untaxed=True,
    ),
    Shop(
        "Magento",
        ("sku|product type|name|price|attribute set code", "sku|store view code|name|price"),
        {"kind": "product type", "image": "base image|image|small image|thumbnail image"},
        categories="categories|manufacturer",
        numbers="weight",
    ),
    Shop(
        "Open Food Facts",
        ("code|product name|quantity|brands",),
        {"id": "code", "title": "product name", "summary": "generic name", "measure": "quantity", "image": "image url"},
        categories="brands|categories|countries en|packaging",
    ),
    Shop(
        "schema.org",
        (
            "name|offers price",
            "name|offers lowprice",
            "name|offers pricespecification price",
        ),
        {
            "id": "sku|productid|product id|mpn|gtin13|gtin12|gtin8|gtin14|gtin|id|identifier|url",
            "price": "offers price|offers pricespecification price|offers lowprice",
            "currency": "offers pricecurrency|offers pricespecification pricecurrency",
            "image": "image|image 0|image url|image 0 url",
            "parent": "inproductgroupwithid|isvariantof productgroupid",
        },
        parent="shared",
        categories="brand name|brand|category|color|material|manufacturer name|offers itemcondition",
    ),
)
PARENT_KINDS = frozenset("variable|grouped|configurable|bundle|parent|product group|variable subscription".split("|"))
"""Row types of what is not sold itself."""

NO_VARIANT = frozenset(("default title", "regular", "default", "standardtitel", "titre par défaut"))
"""Words that shops write for the one variant of an article that has none."""
