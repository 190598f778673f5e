"""Exports of shops: how each is known by its headings, and what lies where in it.

One mechanism reads them all (`articles`); a shop is data. What they share is that an article may lie on several rows:
a parent with the words, and below it what is sold, with a size, a price and a photograph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ParentMode = Literal["", "shared", "reference", "above", "listed"]
"""Ways to find a row's parent: rows share a key, a row names its parent's id, the parent stands above its variants or
lists their ids; or none."""


NONE = "-"  # in the place of headings: the shop's column of such a name is something else


@dataclass(frozen=True)
class Shop:
    """Layout in which a shop exports its articles. Headings are normalised (`headings.normalised`) and divided by |."""

    name: str
    signatures: tuple[
        str, ...
    ]  # the headings that tell it, in each language that is known; / divides those of equal use
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> its headings, before those of every file
    parent: ParentMode = ""
    categories: str = ""
    numbers: str = ""


SHOPS = (
    Shop(
        "Shopify",
        ("handle|title|variant price", "url handle|title|option1 name|price", "handle|title|option1 value|price"),
        {
            "id": "variant sku|sku|variant id",
            "description": "body html|description",
            "image": "variant image|variant image url|featured image src|image src|product image url|images src",
            "price": "variant price|price",
            "parent": "handle|url handle",
        },
        parent="shared",
        categories="vendor|type|product category|product type",
        numbers="variant grams|weight value grams|grams",
    ),
    Shop(
        "Meta catalogue",
        ("id|title|price|image link|fb product category/quantity to sell on facebook/product tags 0",),
        {"sale_days": "sale price effective date"},
        parent="shared",
        categories="brand|google product category|fb product category|condition|gender|age group|color|material",
    ),
    Shop(
        "Google Merchant",
        ("id|title|price|image link|availability", "id|title|price|image link|link"),
        {"sale_days": "sale price effective date"},
        parent="shared",
        categories="brand|google product category|product type|condition|gender|age group|color|material",
    ),
    Shop(
        "WooCommerce",
        (
            "type/typ/tipo/rodzaj|name/nom/nombre/nome/naam/nazwa/namn/navn|regular price/regulärer preis/"
            "tarif régulier/prix régulier/precio normal/prezzo di listino/prezzo regolare/reguliere prijs/"
            "normale prijs/preço normal/cena regularna/ordinarie pris/ordinær pris/normalpris/vanlig pris",
            "tipo|nome|preço|publicado",
            "typ/rodzaj|nazwa|cena|opublikowano/opublikowany/opublikowane",
        ),
        {
            "id": "sku|artikelnummer|ugs|cod|ref|referencia|referência|artikelnummer sku|id",
            "title": "name|nom|nombre|nome|naam|nazwa|namn|navn",
            "kind": "type|typ|tipo|rodzaj",
            "sale_start": "date sale price starts|datum an dem angebotspreis beginnt|date de début de promo|"
            "día en que empieza el precio rebajado",
            "sale_end": "date sale price ends|datum an dem angebotspreis endet|date de fin de promo|"
            "día en que termina el precio rebajado",
        },
        parent="reference",
        categories="brands|categories|marken|kategorien|marques|catégories|marcas|categorías|categorie|brand|marchi|"
        "categorias|marki|kategorie|merken|categorieën|varumärken|kategorier",
        numbers="weight lbs|weight kg|weight oz|weight g|gewicht kg|gewicht g|poids kg|poids g|peso kg|peso g|waga kg|"
        "vikt kg",
    ),
    Shop(
        "Amazon category template",
        (
            "item sku|item name|standard price",
            "contribution sku|item name|purchasable offer our price schedule value with tax",
        ),
        {
            "id": "item sku|contribution sku",
            "title": "item name",
            "description": "product description",
            "image": "main image url|main product image locator media location",
            "kind": "parent child|parentage level|parentage",
            "price": "standard price|purchasable offer our price schedule value with tax|your price",
            "sale_start": "sale from date",
            "sale_end": "sale end date",
        },
        parent="reference",
        categories="brand name|brand|manufacturer|feed product type|product type|item type|item type keyword",
    ),
    Shop(
        "Amazon listings report",
        (
            "item name|seller sku|price",
            "artikelbezeichnung|händler sku|preis",
            "nom produit/nom du produit|sku vendeur|prix",
            "nome dell articolo|sku venditore|prezzo",
            "título del producto/nombre del producto|sku del vendedor|precio",
            "nazwa produktu|sku sprzedawcy|cena",
            "item name ürün adı|seller sku satıcı sku|price fiyat",
            "商品名|出品者sku|価格",
            "商品名称|卖家 sku|价格",
        ),
        {
            "id": "seller sku|händler sku|sku vendeur|sku venditore|sku del vendedor|sku sprzedawcy|"
            "seller sku satıcı sku|出品者sku|卖家 sku|listing id|asin1",
            "title": "item name|artikelbezeichnung|nom produit|nom du produit|nome dell articolo|título del producto|"
            "nombre del producto|nazwa produktu|item name ürün adı|商品名|商品名称",
            "description": "item description|artikelbeschreibung|description article|description de l article|"
            "descrizione dell articolo|descripción del producto|opis produktu|商品描述",
            "image": "image url|bild url|url image|url immagine",
            "price": "price|preis|prix|prezzo|precio|cena|price fiyat|価格|价格",
            "date": NONE,  # when it was first offered; the price is today's
        },
    ),
    Shop(
        "eBay file exchange",
        (
            "title|relationship|relationshipdetails/relationship details|startprice/start price/price",
            "titel|beziehung|beziehungsdetails|startpreis/preis",
            "title|startprice/start price|picurl/item photo url|customlabel/custom label sku/custom label",
            "title|price|item photo url|custom label sku|category id",
            "titel|startpreis/preis|artikelfoto url/bild url/url des artikelfotos|bestandseinheit sku/bestandseinheit",
        ),
        {
            "id": "customlabel|custom label sku|custom label|bestandseinheit sku|bestandseinheit|itemid|item id",
            "title": "title|titel",
            "price": "startprice|start price|startpreis|price|preis|buyitnowprice|buy it now price",
            "variation": "relationshipdetails|relationship details|beziehungsdetails",
            "kind": "relationship|beziehung",
            "image": "picurl|item photo url|artikelfoto url|bild url|url des artikelfotos",
            "selling_format": "format|angebotsformat",
            "buy_now": "buyitnowprice|buy it now price|sofort kaufen preis",
        },
        parent="above",
        categories="c brand|c marke|category|category name|category id|kategorie|conditionid|condition id|zustands id",
    ),
    Shop(
        "eBay active listings",
        (
            "item number|title|current price/start price|available quantity/variation details/custom label sku",
            "artikelnummer|titel/angebotstitel|aktueller preis/startpreis|verfügbare stückzahl/verfügbare menge/"
            "variantendetails/variationsdetails/bestandseinheit/bestandseinheit sku",
            "numéro de l objet|titre|prix actuel/prix de départ",
            "numero oggetto|titolo|prezzo attuale/prezzo di partenza/prezzo iniziale",
            "número de artículo|título|precio actual/precio inicial",
        ),
        {
            "id": "custom label sku|custom label|bestandseinheit sku|bestandseinheit|étiquette personnalisée sku|"
            "etichetta personalizzata sku|etiqueta personalizada sku|item number|artikelnummer|numéro de l objet|"
            "numero oggetto|número de artículo",
            "price": "current price|aktueller preis|prix actuel|prezzo attuale|precio actual|start price|startpreis|"
            "prix de départ|prezzo di partenza|prezzo iniziale|precio inicial",
            "parent": "item number|artikelnummer|numéro de l objet|numero oggetto|número de artículo",
            "title": "title|titel|angebotstitel|titre|titolo|título",
            "selling_format": "format|formato",
            "buy_now": "auction buy it now price|buy it now price|sofort kaufen preis auktion|sofort kaufen preis",
            "date": NONE,
        },
        parent="shared",
        categories="ebay category 1 name|name der ebay kategorie 1|ebay kategorie 1 name|condition|zustand|état",
    ),
    Shop(
        "Etsy",
        (
            "title|description|price|currency code|sku|materials/image1/variation 1 type",
            "title|description|price|tags|materials",
        ),
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
        categories="categories|category|reporting category",
        numbers="weight lb|weight kg|weight oz|weight g",
    ),
    Shop(
        "PrestaShop",
        (
            "product id/id|name|price tax excluded/price tax included/price tax excluded or price tax included/"
            "price tax excl/price tax incl",
            "produkt id/id|name|preis ohne steuern/preis mit steuern/preis exkl mwst/preis inkl mwst/preis zzgl mwst/"
            "preis ohne mwst/preis mit mwst",
            "id produit/id|nom|prix ht/prix hors taxe/prix hors taxes/prix ttc/prix ht ou ttc|référence/"
            "catégories x y z/catégorie/actif 0 1",
            "id producto/id del producto/id|nombre|precio sin impuestos/precio con impuestos/"
            "precio impuestos excluidos/precio impuestos incluidos/precio sin iva/precio con iva",
            "id prodotto/id|nome|prezzo tasse escluse/prezzo tasse incluse/prezzo iva esclusa/prezzo iva inclusa",
        ),
        {
            "id": "product id|produkt id|id produit|id producto|id del producto|id prodotto|id|reference|referenz|"
            "référence|referencia",
            "title": "name|nom|nombre|nome",
            "price": "price tax included|price tax incl|preis mit steuern|preis inkl mwst|preis mit mwst|prix ttc|"
            "precio con impuestos|precio impuestos incluidos|precio con iva|prezzo tasse incluse|prezzo iva inclusa|"
            "price tax excluded|price tax excl|price tax excluded or price tax included|preis ohne steuern|"
            "preis exkl mwst|preis zzgl mwst|preis ohne mwst|prix ht|prix hors taxe|prix hors taxes|prix ht ou ttc|"
            "precio sin impuestos|precio impuestos excluidos|precio sin iva|prezzo tasse escluse|prezzo iva esclusa",
            "image": "image urls x y z|image urls|bild urls x y z|bild urls|bild url|url des images x y z|"
            "url de las imágenes x y z|urls de las imágenes x y z|url delle immagini x y z|image|bild|imagen",
            "discount_percent": "discount percent|rabatt prozent|rabatt in prozent|rabattsatz|pourcentage de réduction|"
            "pourcentage de la réduction|pourcentage de remise|pourcentage de la remise|porcentaje de descuento|"
            "percentuale di sconto",
            "discount_amount": "discount amount|discount value|rabattbetrag|rabattwert|montant de la réduction|"
            "montant de la remise|montant de remise|importe de descuento|importe del descuento|valor del descuento|"
            "importo dello sconto",
            "sale_start": "discount from yyyy mm dd",
            "sale_end": "discount to yyyy mm dd",
        },
        categories="manufacturer|brand|hersteller|marke|marque|fabricante|marca|categories x y z|category|"
        "kategorien x y z|kategorie|catégories x y z|catégorie|categorías x y z|categoría|condition|zustand|état|"
        "condición|estado",
        numbers="weight|gewicht|poids|peso",
    ),
    Shop(
        "Magento",
        (
            "sku|product type|name|price|attribute set code",
            "sku|store view code|name|price",
            "sku|attribute set|type|name|price",
        ),
        {
            "kind": "product type|type",
            "children": "configurable variations",
            "attributes": "additional attributes",
            "image": "base image|image|small image|thumbnail image",
            "store_view": "store view code|store",
            "sale_price": "special price",
            "sale_start": "special price from date|special from date",
            "sale_end": "special price to date|special to date",
        },
        parent="listed",
        categories="categories|category|manufacturer",
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
            "kind": "type",
        },
        parent="shared",
        categories="brand name|brand|category|color|material|manufacturer name|offers itemcondition",
    ),
)
PARENT_KINDS = frozenset("variable|grouped|configurable|bundle|parent|product group|variable subscription".split("|"))
"""Row types of what is not sold itself."""

AUCTIONS = frozenset(("auction", "auktion", "enchères", "enchère", "asta", "subasta", "asta online", "chinese"))
"""Selling formats in which a price is a bid, and what is paid in the end is more; the last is eBay's own old word."""

NOT_ON_SALE = frozenset(("no", "false", "0", "n", "nein", "non"))
"""Cells of a column "on sale" that keep a sale price from being what is paid."""

NO_VARIANT = frozenset(("default title", "regular", "default", "standardtitel", "titre par défaut"))
"""Words that shops write for the one variant of an article that has none."""
