"""Exports of shops in their true layouts: claims about which rows are items, at which price, with which words."""

import csv
import datetime as dt
import io
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from index.catalogue.items import Catalogue, read_catalogue
from index.catalogue.settings import ReadSettings
from index.catalogue.shops.articles import HEADER, PARENT, PHOTOGRAPH, SECTION, STORE_VIEW, Articles
from index.catalogue.shops.columns import find_roles
from index.errors import DataRefused

HTML = "<p>Loose leaf, <b>hand</b> picked &amp; dried</p>\n<ul><li>from our own garden</li></ul>"
OUR_PRICE = "purchasable_offer[marketplace_id=ATVPDKIKX0DER][audience=ALL]#1.our_price#1.schedule#1.value_with_tax"
Rows = list[dict[str, str]]


class Export(NamedTuple):
    """A small file of a shop, and how it is to be read."""

    shop: str
    header: str  # comma-separated, as the shop writes it
    rows: Rows  # heading -> cell; what is not there is empty
    items: dict[str, tuple[float, str]]  # id -> what is paid, and words of the text, divided by /
    passed_over: dict[str, int] = {}  # noqa: RUF012
    rejected: dict[str, int] = {}  # noqa: RUF012
    currency: str | None = None
    delimiter: str = ","


def written(export: Export) -> str:
    text = io.StringIO()
    header = next(csv.reader([export.header]))
    writer = csv.DictWriter(text, header, delimiter=export.delimiter, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(export.rows)
    return text.getvalue()


def read(tmp_path: Path, content: str, settings: ReadSettings | None = None) -> Catalogue:
    path = tmp_path / "export.csv"
    path.write_text(content, encoding="utf-8")
    return read_catalogue(path, settings or ReadSettings(), priced=True)


SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option1 Linked To,"
    "Option2 Name,Option2 Value,Option2 Linked To,Option3 Name,Option3 Value,Option3 Linked To,Variant SKU,"
    "Variant Grams,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,"
    "Variant Fulfillment Service,Variant Price,Variant Compare At Price,Variant Requires Shipping,Variant Taxable,"
    "Unit Price Total Measure,"
    "Unit Price Total Measure Unit,Unit Price Base Measure,Unit Price Base Measure Unit,Variant Barcode,Image Src,"
    "Image Position,Image Alt Text,Gift Card,SEO Title,SEO Description,Variant Image,Variant Weight Unit,"
    "Variant Tax Code,Cost per item,Included / United States,Price / United States,Compare At Price / United States,"
    "Status"
)
SHOPIFY_NEW = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,SKU,Barcode,"
    "Option1 name,Option1 value,Option1 Linked To,Option2 name,Option2 value,Option2 Linked To,Option3 name,"
    "Option3 value,Option3 Linked To,Price,Compare-at price,Cost per item,Charge tax,Tax code,Unit price total measure,"
    "Unit price total measure unit,Unit price base measure,Unit price base measure unit,Inventory tracker,"
    "Inventory quantity,Continue selling when out of stock,Weight value (grams),Weight unit for display,"
    "Requires shipping,Fulfillment service,Product image URL,Image position,Image alt text,Variant image URL,Gift card,"
    "SEO title,SEO description"
)
WOO = {
    "en": (
        'ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Published,Is featured?,Visibility in catalog,Short description,'
        "Description,Date sale price starts,Date sale price ends,Tax status,Tax class,In stock?,Stock,Low stock amount,"
        "Backorders allowed?,Sold individually?,Weight (kg),Length (cm),Width (cm),Height (cm),Allow customer reviews?,"
        "Purchase note,Sale price,Regular price,Categories,Tags,Shipping class,Images,Download limit,"
        "Download expiry days,Parent,Grouped products,Upsells,Cross-sells,External URL,Button text,Position,Brands,"
        "Attribute 1 name,Attribute 1 value(s),Attribute 1 visible,Attribute 1 global,Meta: _wp_page_template"
    ),
    "de": (
        'ID,Typ,Artikelnummer,"GTIN, UPC, EAN oder ISBN",Name,Veröffentlicht,Ist hervorgehoben?,'
        'Sichtbarkeit im Katalog,Kurzbeschreibung,Beschreibung,"Datum, an dem Angebotspreis beginnt",'
        '"Datum, an dem Angebotspreis endet",Steuerstatus,Steuerklasse,Vorrätig?,Bestand,Geringe Lagermenge,'
        "Lieferrückstande erlaubt?,Nur einzeln verkaufen?,Gewicht (kg),Länge (cm),Breite (cm),Höhe (cm),"
        "Kundenrezensionen erlauben?,Hinweis zum Kauf,Angebotspreis,Regulärer Preis,Kategorien,Schlagwörter,"
        "Versandklasse,Bilder,Downloadlimit,Ablauftage des Downloads,Übergeordnetes Produkt,Gruppierte Produkte,"
        "Zusatzverkäufe,Cross-Sells (Querverkäufe),Externe URL,Button-Text,Position,Marken,Attribut 1 Name,"
        "Attribut 1 Wert(e),Attribut 1 Sichtbar,Attribut 1 Global"
    ),
    "fr": (
        "ID,Type,UGS,Nom,Publié,Mis en avant ?,Visibilité dans le catalogue,Description courte,Description,"
        "Date de début de promo,Date de fin de promo,État de la TVA,Classe de TVA,En stock ?,Stock,Poids (kg),"
        "Autoriser les avis clients ?,Note de commande,Tarif promo,Tarif régulier,Catégories,Étiquettes,"
        "Classe d’expédition,Images,Parent,Groupes de produits,Produits suggérés,Ventes croisées,URL externe,"
        "Libellé du bouton,Position,Marques,Nom de l’attribut 1,Valeur(s) de l’attribut 1 ,Attribut 1 visible,"
        "Attribut 1 global"
    ),
    "es": (
        "ID,Tipo,SKU,Nombre,Publicado,¿Está destacado?,Visibilidad en el catálogo,Descripción corta,Descripción,"
        "Día en que empieza el precio rebajado,Día en que termina el precio rebajado,Estado del impuesto,"
        "Clase de impuesto,¿En inventario?,Inventario,Cantidad de bajo inventario,Peso (kg),Nota de compra,"
        "Precio rebajado,Precio normal,Categorías,Etiquetas,Clase de envío,Imágenes,Superior,Productos agrupados,"
        "Ventas dirigidas,Ventas cruzadas,URL externa,Texto del botón,Posición,Marcas,Nombre del atributo 1,"
        "Valor(es) del atributo 1,Atributo visible 1,Atributo global 1"
    ),
    "it": (
        "ID,Tipo,COD,Nome,Pubblicato,In primo piano?,Visibilità nel catalogo,Breve descrizione,Descrizione,"
        "Stato delle imposte,Aliquota di imposta,In stock?,Magazzino,Peso (kg),Prezzo in offerta,Prezzo di listino,"
        "Categorie,Tag,Classe di spedizione,Immagine,Genitore,Prodotti raggruppati,Up-sell,Cross-sell,URL esterno,"
        "Testo del pulsante,Posizione,Marchi,Nome dell'attributo 1,Valore dell'attributo 1,Attributo 1 visibile,"
        "Attributo 1 globale"
    ),
    "nl": (
        "ID,Type,SKU,Naam,Gepubliceerd,Is uitgelicht?,Zichtbaarheid in catalogus,Korte beschrijving,Beschrijving,"
        "Btw status,Belastingklasse,Op voorraad?,Voorraad,Gewicht (kg),Actieprijs,Reguliere prijs,Categorieën,Tags,"
        "Verzendklasse,Afbeeldingen,Hoofdproduct,Gegroepeerde producten,Upsells,Cross-sells,Externe URL,Knoptekst,"
        "Positie,Merken,Attribuut 1 naam,Attribuut 1 waarde(n),Attribuut 1 zichtbaar,Attribuut 1 globaal"
    ),
    "pt": (
        "ID,Tipo,SKU,Nome,Publicado,Em destaque?,Visibilidade no catálogo,Descrição curta,Descrição,Status do imposto,"
        "Classe de imposto,Em estoque?,Estoque,Peso (kg),Nota de compra,Preço promocional,Preço,Categorias,Tags,"
        "Classe de entrega,Imagens,Ascendente,Grupo de produtos,Aumenta vendas,Venda cruzada,URL externa,"
        "Texto do botão,Posição,Marcas,Nome do atributo 1,Valores do atributo 1,Visibilidade do atributo 1,"
        "Atributo global 1"
    ),
    "pl": (
        "ID,Typ,SKU,Nazwa,Opublikowano,Czy wyróżniony?,Widoczność w katalogu,Krótki opis,Opis,Status podatku,"
        "Klasa podatkowa,Na stanie?,Magazyn,Waga (kg),Cena promocyjna,Cena regularna,Kategorie,Tagi,Klasa wysyłkowa,"
        "Obrazki,Nadrzędny,Produkty grupowane,Zewnętrzny URL,Pozycja,Marki,Nazwa atrybutu 1,Wartości atrybutu 1,"
        "Atrybut 1 widoczny,Atrybut 1 globalny"
    ),
}
"""Headings of WooCommerce's own export, by the language of the shop."""

WOO_DAYS = {
    "en": ("Date sale price starts", "Date sale price ends"),
    "de": ("Datum, an dem Angebotspreis beginnt", "Datum, an dem Angebotspreis endet"),
}
WOO_PLACES = {  # (type, id of the article, name, regular, sale, parent, value, photographs, description) by language
    "en": "Type|SKU|Name|Regular price|Sale price|Parent|Attribute 1 value(s)|Images|Short description|ID",
    "de": "Typ|Artikelnummer|Name|Regulärer Preis|Angebotspreis|Übergeordnetes Produkt|Attribut 1 Wert(e)|Bilder|"
    "Kurzbeschreibung|ID",
    "fr": "Type|UGS|Nom|Tarif régulier|Tarif promo|Parent|Valeur(s) de l’attribut 1 |Images|Description courte|ID",
    "es": "Tipo|SKU|Nombre|Precio normal|Precio rebajado|Superior|Valor(es) del atributo 1|Imágenes|Descripción corta|"
    "ID",
    "it": "Tipo|COD|Nome|Prezzo di listino|Prezzo in offerta|Genitore|Valore dell'attributo 1|Immagine|"
    "Breve descrizione|ID",
    "nl": "Type|SKU|Naam|Reguliere prijs|Actieprijs|Hoofdproduct|Attribuut 1 waarde(n)|Afbeeldingen|"
    "Korte beschrijving|ID",
    "pt": "Tipo|SKU|Nome|Preço|Preço promocional|Ascendente|Valores do atributo 1|Imagens|Descrição curta|ID",
    "pl": "Typ|SKU|Nazwa|Cena regularna|Cena promocyjna|Nadrzędny|Wartości atrybutu 1|Obrazki|Krótki opis|ID",
}


def woo(language: str) -> Export:
    """Make a WooCommerce export: a variable tea, whose variations stand before it, and a simple oil on sale."""
    kind, sku, name, regular, sale, parent, value, images, short, number = WOO_PLACES[language].split("|")
    rows = [
        {kind: "variation", sku: "T-20", name: "Tea - 20 Bags", regular: "4.99", parent: "id:10", value: "20 Bags"},
        {
            kind: "variation",
            sku: "T-50",
            name: "Tea",
            regular: "12.99",
            sale: "11.49",
            parent: "id:10",
            value: "50 Bags",
        },
        {number: "10", kind: "variable", sku: "T", name: "Tea", value: "20 Bags, 50 Bags", short: HTML},
        {
            number: "13",
            kind: "simple, virtual",
            sku: "O",
            name: "Oil",
            regular: "8.50",
            sale: "0",
            images: "https://x/a.jpg, https://x/b.jpg",
        },
    ]
    items = {"T-20": (4.99, "Tea - 20 Bags/hand picked & dried"), "T-50": (11.49, "Tea, 50 Bags"), "O": (8.5, "Oil")}
    return Export("WooCommerce", WOO[language], rows, items, {PARENT: 1})


AMAZON = {
    "en": "item-name,item-description,listing-id,seller-sku,price,quantity,open-date,image-url,item-is-marketplace,"
    "product-id-type,zshop-shipping-fee,item-note,item-condition,asin1,product-id,fulfillment-channel,status",
    "de": "Artikelbezeichnung,Artikelbeschreibung,Angebotsnummer,Händler-SKU,Preis,Menge,Erstellungsdatum,Bild-URL,"
    "Artikel ist Marketplace-Angebot,Produkt-ID-Typ,Zshop-Versandkosten,Anmerkung zum Artikel,Artikelzustand,ASIN 1,"
    "Produkt-ID,Versender,Status",
    "fr": "nom-produit,description-article,id-offre,sku-vendeur,prix,quantité,date-ouverture,url-image,"
    "article-est-en-vente,type-id-produit,frais-port,note-état-article,état-produit,asin1,id-produit,canal-traitement,"
    "état",
    "it": "Nome dell'articolo,Descrizione dell'articolo,Numero offerta,SKU venditore,Prezzo,Quantità,Data di creazione,"
    "URL immagine,Articolo per la vendita,Tipo di identificativo del prodotto,Spese,Note sull'articolo,"
    "Condizione dell'articolo,ASIN 1,Identificativo del prodotto,Canale di gestione,stato",
    "es": "Título del producto,Descripción del producto,Identificador del listing,SKU del vendedor,Precio,Cantidad,"
    "Fecha de creación,URL de la imagen,Producto para vender,Tipo de identificador de producto,Gastos,"
    "Nota sobre el producto,Estado,ASIN 1,Identificador del producto,Canal de gestión logística,estado",
    "pl": "nazwa-produktu,opis-produktu,identyfikator-oferty,sku-sprzedawcy,cena,ilość,data-otwarcia,adres-obrazu,"
    "produkt-jest-(na)rynku,typ-identyfikatora-produktu,koszt,uwaga-o-produkcie,stan-produktu,asin1,"
    "identyfikator-produktu,kanał-realizacji,status",
}


def amazon(language: str) -> Export:
    """Make a listings report: two listings, and a parent without a price."""
    names = next(csv.reader([AMAZON[language]]))
    name, words, _, sku, price, quantity, opened = names[:7]
    when = "2026-03-01 08:00:00 PST" if language == "en" else "01/03/2026 08:00:00 MET"
    rows = [
        {name: 'Tea "Classic" 20 Bags', words: "Loose leaf", sku: "T-20", price: "4.99", quantity: "7", opened: when},
        {name: "Oil 1 l", words: "", sku: "O", price: "1299.5", quantity: "0", opened: when},
        {name: "Tea", words: "Loose leaf", sku: "T", opened: when},
    ]
    items = {"T-20": (4.99, 'Tea "Classic" 20 Bags/Loose leaf'), "O": (1299.5, "Oil 1 l")}
    rejected = {"no price": 1}
    currency = "USD" if language == "en" else None
    return Export("Amazon listings report", AMAZON[language], rows, items, {}, rejected, currency, "\t")


EBAY_FILE = (
    "*Action(SiteID=Germany|Country=DE|Currency=EUR|Version=1193|CC=UTF-8),CustomLabel,*Category,*Title,Relationship,"
    "RelationshipDetails,*Description,*ConditionID,PicURL,*Format,*Duration,*StartPrice,*Quantity,C:Brand"
)
EBAY_ACTIVE = {
    "en": "Item number,Title,Variation details,Custom label (SKU),Available quantity,Format,Currency,Start price,"
    "Auction Buy It Now price,Reserve price,Current price,Sold quantity,Watchers,Bids,Start date,End date,"
    "eBay category 1 name,eBay category 1 number,Condition,eBay Product ID(ePID),Listing site,P:UPC,P:EAN",
    "de": "Artikelnummer,Titel,Variantendetails,Bestandseinheit (SKU),Verfügbare Stückzahl,Format,Währung,Startpreis,"
    "Sofort-Kaufen-Preis (Auktion),Mindestpreis,Aktueller Preis,Verkaufte Stückzahl,Beobachter,Gebote,Startdatum,"
    "Enddatum,Name der eBay-Kategorie 1,Nummer der eBay-Kategorie 1,Zustand,eBay-Produkt-ID (ePID),eBay-Website,P:UPC,"
    "P:EAN",
}


def ebay_active(language: str) -> Export:
    """Make a report of active listings: one with variations under a row that lists them all, and two without."""
    header = EBAY_ACTIVE[language]
    names = next(csv.reader([header]))
    number, title, details, sku, quantity, _, money, start = names[:8]
    current, date = names[10], names[14]
    tea = {number: "318000000001", title: "Tea", money: "EUR", quantity: "4", date: "Jun-29-26 16:00:01 PDT"}
    rows = [
        {**tea, details: "Size=20 Bags;50 Bags", sku: "TEA", start: "4.99", current: "4.99"},
        {**tea, details: "Size=20 Bags", sku: "T-20", start: "4.99", current: "4.99"},
        {**tea, details: "Size=50 Bags|Color=Dark Green", start: "12.99", current: "11.49"},
        {number: "318000000002", title: "Oil 1 l", sku: "O", money: "EUR", start: "8.5", current: "8.5"},
        {number: "318000000003", title: "Ratio 2:1 mix", details: "Size=Large", money: "EUR", start: "3"},
    ]
    items = {
        "T-20": (4.99, "Tea, 20 Bags"),
        "318000000001": (11.49, "Tea, 50 Bags, Dark Green"),
        "O": (8.5, "Oil 1 l"),
        "318000000003": (3, "Ratio 2:1 mix, Large"),
    }
    return Export("eBay active listings", header, rows, items, {PARENT: 1}, {}, "EUR")


PRESTASHOP = {
    "en": "Product ID;Active (0/1);Name *;Categories (x,y,z...);Price tax excluded;Tax rules ID;Wholesale price;"
    "On sale (0/1);Discount amount;Discount percent;Reference #;Manufacturer;EAN13;Weight;Quantity;Unit price;Summary;"
    "Description;Image URLs (x,y,z...);Condition",
    "de": "Produkt-ID;Aktiv (0/1);Name;Kategorien (x,y,z...);Preis ohne Steuern;Steuerregel-ID;Großhandelspreis;"
    "Im Angebot (0/1);Rabattbetrag;Rabatt (Prozent);Referenz;Hersteller;EAN13;Gewicht;Menge;Stückpreis;Zusammenfassung;"
    "Beschreibung;Bild-URLs (x,y,z...);Zustand",
    "fr": "ID;Actif (0/1);Nom *;Catégories (x,y,z...);Prix hors taxe;ID règle de taxes;Prix de gros;En solde (0/1);"
    "Montant de la remise;Pourcentage de la remise;Référence #;Marque;EAN13;Poids;Quantité;Prix unitaire;Résumé;"
    "Description;URL des images (x,y,z...);État",
    "es": "ID;Activo (0/1);Nombre;Categorías (x,y,z...);Precio sin impuestos;ID regla de impuestos;Precio mayorista;"
    "En oferta (0/1);Importe del descuento;Porcentaje de descuento;Referencia;Fabricante;EAN13;Peso;Cantidad;"
    "Precio unitario;Resumen;Descripción;URL de las imágenes (x,y,z...);Condición",
}


def prestashop(language: str) -> Export:
    """Make a PrestaShop export: two products at a discount, one without."""
    names = PRESTASHOP[language].split(";")
    number, _, name, kinds, price = names[:5]
    off, percent, reference, maker = names[8:12]
    rows = [
        {number: "1", name: "Tea 20 Bags", kinds: "Pantry,Tea", price: "4.158333", reference: "T-20", maker: "Acme"},
        {number: "2", name: "Tea 50 Bags", kinds: "Pantry,Tea", price: "10.00", percent: "10", reference: "T-50"},
        {number: "3", name: "Oil", kinds: "Pantry", price: "8.50", off: "1.5", names[16]: HTML},
    ]
    items = {"1": (4.158333, "Tea 20 Bags"), "2": (9.0, "Tea 50 Bags"), "3": (7.0, "Oil")}
    return Export("PrestaShop", ",".join(f'"{name}"' for name in names), rows, items, delimiter=";")


EXPORTS = {
    "Shopify, two options, photographs below, a product without variants or SKU": Export(
        "Shopify",
        SHOPIFY,
        [
            {
                "Handle": "tea",
                "Title": "Tea",
                "Body (HTML)": HTML,
                "Vendor": "Acme",
                "Option1 Name": "Size",
                "Option1 Value": "20 Bags",
                "Option2 Name": "Colour",
                "Option2 Value": "Green",
                "Variant SKU": "'0012",
                "Variant Price": "4.99",
                "Variant Compare At Price": "9.99",
                "Image Src": "https://x/a.jpg",
                "Image Position": "1",
                "Variant Image": "https://x/v.jpg",
                "Variant Weight Unit": "lb",
                "Status": "active",
            },
            {"Handle": "tea", "Option1 Value": "50 Bags", "Option2 Value": "Green", "Variant Price": "12.99"},
            {"Handle": "tea", "Image Src": "https://x/b.jpg", "Image Position": "2"},
            {"Handle": "oil", "Title": "Oil", "Option1 Value": "Default Title", "Variant Price": "8.50"},
            {"Handle": "wax", "Title": "Wax", "Option1 Value": "Default Title", "Variant Price": "0.00"},
        ],
        {
            "0012": (4.99, "Tea, 20 Bags, Green/hand picked & dried"),
            "tea:50 Bags/Green": (12.99, "Tea, 50 Bags, Green/from our own garden"),
            "oil": (8.5, "Oil"),
        },
        {PHOTOGRAPH: 1},
        {"price is not positive": 1},
        "USD",
    ),
    "Shopify's new naming": Export(
        "Shopify",
        SHOPIFY_NEW,
        [
            {"Title": "Tea", "URL handle": "tea", "SKU": "T-20", "Option1 value": "20 Bags", "Price": "4.99"},
            {"URL handle": "tea", "SKU": '="0050"', "Option1 value": "50 Bags", "Price": "12.99"},
            {"URL handle": "tea", "Product image URL": "https://x/b.jpg", "Image position": "2"},
        ],
        {"T-20": (4.99, "Tea, 20 Bags"), "0050": (12.99, "Tea, 50 Bags")},
        {PHOTOGRAPH: 1},
    ),
    "Google Merchant, sale prices": Export(
        "Google Merchant",
        "id,title,description,link,image_link,additional_image_link,availability,price,sale_price,"
        "sale_price_effective_date,brand,gtin,condition,google_product_category,item_group_id,size,color,multipack,"
        "unit_pricing_measure",
        [
            {"id": "T-20", "title": "Tea", "price": "4.99 USD", "size": "20 Bags", "item_group_id": "tea"},
            {"id": "T-50", "title": "Tea", "price": "12.99 USD", "sale_price": "11.49 USD", "size": "50 Bags"},
            {"id": "O", "title": "Oil", "price": "8.50 USD", "sale_price": "0 USD", "multipack": "6"},
            {"id": "W", "title": "Wax", "price": "8.50 USD", "sale_price": "9 USD"},
        ],
        {"T-20": (4.99, "Tea, 20 Bags"), "T-50": (11.49, "Tea, 50 Bags"), "O": (8.5, "Oil, Pack of 6")},
        rejected={"a sale price above the price": 1},
        currency="USD",
        delimiter="\t",
    ),
    "Google Merchant with the headings of its spreadsheet": Export(
        "Google Merchant",
        "id,title,description,availability,availability date,expiration date,link,mobile link,image link,price,"
        "sale price,identifier exists,gtin,mpn,brand,product highlight,condition,size,item group id,product type",
        [
            {"id": "T", "title": "Tea", "price": "4.99 EUR", "size": "20 Bags", "product type": "Bundle"},
            {"id": "O", "title": "Oil 1 l", "price": "8.5 EUR", "product type": "Oil"},
        ],
        {"T": (4.99, "Tea, 20 Bags"), "O": (8.5, "Oil 1 l")},
        currency="EUR",
    ),
    "Meta": Export(
        "Meta catalogue",
        "id,title,description,availability,condition,price,link,image_link,brand,google_product_category,"
        "fb_product_category,quantity_to_sell_on_facebook,sale_price,sale_price_effective_date,item_group_id,gender,"
        "color,size,age_group,material,pattern,shipping,shipping_weight,video[0].url,gtin,product_tags[0],"
        "product_tags[1],style[0]",
        [
            {"id": "T", "title": "Shirt", "price": "10.00 GBP", "size": "M", "color": "Red", "item_group_id": "s"},
            {"id": "U", "title": "Shirt", "price": "12.00 GBP", "sale_price": "9.00 GBP", "size": "L"},
        ],
        {"T": (10, "Shirt/M/Red"), "U": (9, "Shirt, L")},
        currency="GBP",
    ),
    **{f"WooCommerce in {language}": woo(language) for language in WOO},
    **{f"Amazon listings report in {language}": amazon(language) for language in AMAZON},
    "eBay file exchange": Export(
        "eBay file exchange",
        EBAY_FILE,
        [
            {
                "CustomLabel": "TEA",
                "*Title": "Tea",
                "RelationshipDetails": "Size=20 Bags;50 Bags|Colour=Green;Black",
                "PicURL": "https://x/a.jpg|https://x/b.jpg",
                "*StartPrice": "4.99",
                "C:Brand": "Acme",
            },
            {
                "CustomLabel": "T-20",
                "Relationship": "Variation",
                "RelationshipDetails": "Size=20 Bags|Colour=Green",
                "PicURL": "Size=20 Bags=https://x/20.jpg",
                "*StartPrice": "4.99",
            },
            {
                "CustomLabel": "T-50",
                "Relationship": "Variation",
                "RelationshipDetails": "Size=50 Bags|Colour=Black",
                "*StartPrice": "12.99",
            },
            {"CustomLabel": "O", "*Title": "Oil 1 l", "*StartPrice": "8.50", "*Description": HTML},
        ],
        {"T-20": (4.99, "Tea, 20 Bags, Green"), "T-50": (12.99, "Tea, 50 Bags, Black"), "O": (8.5, "Oil 1 l")},
        {PARENT: 1},
        {},
        "EUR",
    ),
    "eBay drafts": Export(
        "eBay file exchange",
        "Action(SiteID=US|Country=US|Currency=USD|Version=1193|CC=UTF-8),Custom label (SKU),Category ID,Title,UPC,"
        "Price,Quantity,Item photo URL,Condition ID,Description,Format",
        [
            {"Custom label (SKU)": "T", "Title": "Tea 20 Bags", "Price": "4.99", "Condition ID": "1000"},
            {"Custom label (SKU)": "O", "Title": "Oil 1 l", "Price": "8.5", "Condition ID": "1000"},
        ],
        {"T": (4.99, "Tea 20 Bags"), "O": (8.5, "Oil 1 l")},
        currency="USD",
    ),
    **{f"eBay active listings in {language}": ebay_active(language) for language in EBAY_ACTIVE},
    "Etsy": Export(
        "Etsy",
        "TITLE,DESCRIPTION,PRICE,CURRENCY_CODE,QUANTITY,TAGS,MATERIALS,IMAGE1,IMAGE2,VARIATION 1 TYPE,VARIATION 1 NAME,"
        "VARIATION 1 VALUES,VARIATION 2 TYPE,VARIATION 2 NAME,VARIATION 2 VALUES,SKU",
        [
            {"TITLE": "Mug", "PRICE": "12.00", "CURRENCY_CODE": "USD", "SKU": "M1", "MATERIALS": "clay"},
            {"TITLE": "Cup", "PRICE": "9.00", "CURRENCY_CODE": "USD", "VARIATION 1 VALUES": "S,L", "SKU": "C1,C2"},
        ],
        {"M1": (12, "Mug"), "C1,C2": (9, "Cup")},
        currency="USD",
    ),
    "Square": Export(
        "Square",
        "Reference Handle,Token,Item Name,Customer-facing Name,Variation Name,SKU,Description,Categories,"
        "Reporting Category,GTIN,Item Type,Weight (lb),Price,Online Sale Price,Archived,Sellable,Option Name 1,"
        "Option Value 1,Current Quantity Main St,Stock Alert Count Main St,Tax - Sales Tax (8.5%)",
        [
            {
                "Token": "A",
                "Item Name": "Tea",
                "Variation Name": "20 Bags",
                "Price": "4.99",
                "Option Value 1": "20 Bags",
            },
            {
                "Token": "B",
                "Item Name": "Tea",
                "Variation Name": "1:2 mix, large",
                "Price": "12.99",
                "Weight (lb)": "1",
            },
            {"Token": "C", "Item Name": "Oil", "Variation Name": "Regular", "Price": "8.50", "SKU": "O"},
            {"Token": "D", "Item Name": "Gift", "Variation Name": "Regular", "Price": "variable"},
        ],
        {"A": (4.99, "Tea, 20 Bags"), "B": (12.99, "Tea, 1:2 mix, large"), "O": (8.5, "Oil")},
        rejected={"price varies": 1},
        currency="USD",
    ),
    **{f"PrestaShop in {language}": prestashop(language) for language in PRESTASHOP},
    "PrestaShop's list of products": Export(
        "PrestaShop",
        '"Product ID","Image","Name","Reference","Category","Price (tax excl.)","Price (tax incl.)","Quantity"',
        [{"Product ID": "1", "Name": "Tea", "Reference": "T", "Price (tax excl.)": "10", "Price (tax incl.)": "12"}],
        {"1": (12, "Tea")},
        delimiter=";",
    ),
    "Magento, variants listed by their parent": Export(
        "Magento",
        "sku,store_view_code,attribute_set_code,product_type,categories,product_websites,name,description,"
        "short_description,weight,product_online,tax_class_name,visibility,price,special_price,special_price_from_date,"
        "special_price_to_date,url_key,base_image,small_image,thumbnail_image,created_at,additional_attributes,qty,"
        "is_in_stock,additional_images,configurable_variations",
        [
            {"sku": "T-20", "product_type": "simple", "name": "Tea", "price": "4.99", "base_image": "/t/e/tea.jpg"},
            {
                "sku": "T-50",
                "product_type": "simple",
                "name": "Tea",
                "price": "12.99",
                "special_price": "11.49",
                "additional_attributes": "color=Green,has_options=0",
            },
            {
                "sku": "TEA",
                "product_type": "configurable",
                "name": "Tea",
                "description": HTML,
                "configurable_variations": "sku=T-20,size=20 Bags|sku=T-50,size=50 Bags, large",
            },
            {"sku": "TEA", "store_view_code": "de", "name": "Tee"},
            {"sku": "O", "product_type": "simple", "name": "Oil", "price": "8.5"},
        ],
        {
            "T-20": (4.99, "Tea, 20 Bags/hand picked"),
            "T-50": (11.49, "Tea, Green, 50 Bags, large"),
            "O": (8.5, "Oil"),
        },
        {PARENT: 1, STORE_VIEW: 1},
    ),
    "Open Food Facts with prices of its own": Export(
        "Open Food Facts",
        "code,product_name,generic_name,quantity,brands,categories,countries_en,image_url,price",
        [{"code": "0012", "product_name": "Tea", "quantity": "40 g", "brands": "Acme", "price": "2"}],
        {"0012": (2, "Tea, 40 g")},
        delimiter="\t",
    ),
    "schema.org": Export(
        "schema.org",
        "@type,name,sku,description,image,brand.name,offers.price,offers.priceCurrency,inProductGroupWithID,size",
        [
            {"@type": "Product", "name": "Tea", "sku": "T-20", "offers.price": "4.99", "offers.priceCurrency": "USD"},
            {"@type": "Product", "name": "Oil", "sku": "O", "offers.price": "8.5", "size": "1 l"},
        ],
        {"T-20": (4.99, "Tea"), "O": (8.5, "Oil, 1 l")},
        currency="USD",
    ),
    "Amazon category template": Export(
        "Amazon category template",
        "feed_product_type,item_sku,brand_name,item_name,external_product_id,external_product_id_type,manufacturer,"
        "standard_price,quantity,main_image_url,parent_child,parent_sku,relationship_type,variation_theme,"
        "product_description,bullet_point1,size_name,color_name,sale_price,sale_from_date,list_price,currency",
        [
            {"item_sku": "TEA", "item_name": "Tea", "parent_child": "parent", "product_description": HTML},
            {"item_sku": "T-20", "standard_price": "4.99", "parent_sku": "TEA", "size_name": "20 Bags"},
            {
                "item_sku": "T-50",
                "item_name": "Tea, 50 Bags",
                "standard_price": "12.99",
                "sale_price": "11.49",
                "parent_child": "child",
                "parent_sku": "TEA",
                "size_name": "50 Bags",
                "list_price": "19.99",
            },
        ],
        {"T-20": (4.99, "Tea, 20 Bags/hand picked"), "T-50": (11.49, "Tea, 50 Bags")},
        {PARENT: 1},
        delimiter="\t",
    ),
    "Amazon's newer template": Export(
        "Amazon category template",
        "contribution_sku#1.value,product_type#1.value,parentage_level[marketplace_id=ATVPDKIKX0DER]#1.value,"
        "child_parent_sku_relationship[marketplace_id=ATVPDKIKX0DER]#1.parent_sku,variation_theme#1.name,"
        "item_name[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value,"
        "brand[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value,"
        "main_product_image_locator[marketplace_id=ATVPDKIKX0DER]#1.media_location,"
        "bullet_point[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value,"
        "bullet_point[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#2.value,"
        "size[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value,"
        "list_price[marketplace_id=ATVPDKIKX0DER]#1.value,"
        f"{OUR_PRICE}",
        [
            {"contribution_sku#1.value": "TEA", "parentage_level[marketplace_id=ATVPDKIKX0DER]#1.value": "Parent"},
            {
                "contribution_sku#1.value": "T-20",
                "parentage_level[marketplace_id=ATVPDKIKX0DER]#1.value": "Child",
                "child_parent_sku_relationship[marketplace_id=ATVPDKIKX0DER]#1.parent_sku": "TEA",
                "item_name[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value": "Tea",
                "size[marketplace_id=ATVPDKIKX0DER][language_tag=en_US]#1.value": "20 Bags",
                "list_price[marketplace_id=ATVPDKIKX0DER]#1.value": "9.99",
                OUR_PRICE: "4.99",
            },
        ],
        {"T-20": (4.99, "Tea, 20 Bags")},
        {PARENT: 1},
        delimiter="\t",
    ),
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_an_export_of_a_shop_is_read_as_its_shop_means_it(tmp_path: Path, export: Export) -> None:
    found = read(tmp_path, written(export))
    shop = found.reading.roles.shop
    assert (shop.name if shop else "") == export.shop
    texts = dict(zip(found.items["item_id"].to_pylist(), found.items["text"].to_pylist(), strict=True))
    prices = dict(zip(texts, found.prices.to_pylist(), strict=True))
    assert prices == {item_id: pytest.approx(price, rel=1e-9) for item_id, (price, _) in export.items.items()}
    unsaid = {
        item_id: texts[item_id]
        for item_id, (_, words) in export.items.items()
        if any(word not in texts[item_id].replace("\n", " ") for word in words.split("/"))
    }
    assert unsaid == {}
    assert dict(found.passed_over) == export.passed_over and dict(found.rejected) == export.rejected
    assert found.reading.currency == export.currency
    assert found.items.num_rows + len(found.rejects) + found.passed_over.total() == len(export.rows)
    assert not any("<" in text or "&amp;" in text for text in texts.values())


# Sales that are over, or yet to come

OVER, OPEN = ("2001-01-01", "2001-12-31"), ("2001-01-01", "2999-12-31")
TO_COME = ((dt.date.today() + dt.timedelta(days=30)).isoformat(), "")


@pytest.mark.parametrize(
    "sale",  # header, row, the headings of its days
    [
        (WOO["en"], {"Type": "simple", "Name": "Tea", "Regular price": "20", "Sale price": "15"}, WOO_DAYS["en"]),
        (WOO["de"], {"Typ": "simple", "Name": "Tea", "Regulärer Preis": "20", "Angebotspreis": "15"}, WOO_DAYS["de"]),
        (
            "sku,store_view_code,name,price,special_price,special_price_from_date,special_price_to_date",
            {"sku": "T", "name": "Tea", "price": "20", "special_price": "15"},
            ("special_price_from_date", "special_price_to_date"),
        ),
        (
            "Product ID,Name *,Price tax excluded,Discount percent,Discount from (yyyy-mm-dd),Discount to (yyyy-mm-dd)",
            {"Product ID": "1", "Name *": "Tea", "Price tax excluded": "20", "Discount percent": "25"},
            ("Discount from (yyyy-mm-dd)", "Discount to (yyyy-mm-dd)"),
        ),
        (
            "id,title,price,sale_price,sale_price_effective_date,image_link,availability",
            {"id": "1", "title": "Tea", "price": "20 USD", "sale_price": "15 USD"},
            "sale_price_effective_date",
        ),
    ],
    ids=["WooCommerce", "WooCommerce in German", "Magento", "PrestaShop", "Google Merchant"],
)
@pytest.mark.parametrize(("period", "paid"), [(OVER, 20), (OPEN, 15), (TO_COME, 20), (("", ""), 15)])
def test_a_sale_counts_on_its_days_alone(
    tmp_path: Path, sale: tuple[str, dict[str, str], tuple[str, str] | str], period: tuple[str, str], paid: float
) -> None:
    header, row, days = sale
    if isinstance(days, str):
        filled = {days: "T00:00+0100/".join(period) if any(period) else ""}
    else:
        filled = dict(zip(days, period, strict=True))
    found = read(tmp_path, written(Export("", header, [row | filled], {})))
    assert found.prices.to_pylist() == [paid]


def test_a_sale_counts_as_of_a_day_and_its_days_are_told(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    row = {"Type": "simple", "Name": "Tea", "Regular price": "20", "Sale price": "15"}
    path.write_text(written(Export("", WOO["en"], [row | dict(zip(WOO_DAYS["en"], OVER, strict=True))], {})))
    found = read_catalogue(path, ReadSettings(), priced=True, as_of=dt.date(2001, 12, 31))
    assert found.prices.to_pylist() == [15]
    assert any(note.endswith("where it is filled, on the days of 'Date sale price ends'.") for note in found.notes)


def test_a_sale_is_what_is_paid_where_there_is_no_other_price(tmp_path: Path) -> None:
    row = {"Type": "simple", "Name": "Tea", "Sale price": "15"} | dict(zip(WOO_DAYS["en"], OVER, strict=True))
    assert read(tmp_path, written(Export("", WOO["en"], [row], {}))).prices.to_pylist() == [15]


# Headers


def test_explanations_above_a_shops_header_are_no_items(tmp_path: Path) -> None:
    explained = (
        '"# Required | A unique content ID for the item. Use the item\'s SKU if you can.",'
        "# Required | A specific and relevant title for the item. Character limit: 200,"
        "# Required | The price of the item. Format the price as a number,# Required | The URL of the main image,"
        '"# Optional | The product category, as a number"\n'
    )
    header = "id,title,price,image_link,fb_product_category\n"
    found = read(tmp_path, f"{explained}{header}A,Shirt,10.00 USD,https://x/1.jpg,1\nB,Hat,7.00 USD,,1\n")
    assert found.items["item_id"].to_pylist() == ["A", "B"] and found.prices.to_pylist() == [10, 7]
    assert found.reading.kind.startswith("Meta catalogue export") and "The header is on line 2." in found.notes
    assert found.passed_over.total() == 0 and not found.rejects


@pytest.mark.parametrize("settings_line", [True, False])
def test_an_amazon_template_is_read_below_its_settings_and_labels(tmp_path: Path, settings_line: bool) -> None:
    lines = [
        "feed_product_type\titem_sku\titem_name\tstandard_price",
        "tea\tT-20\tTea 20 Bags\t4.99",
        "tea\tT-50\tTea 50 Bags\t12.99",
    ]
    lines = ["Product Type\tSeller SKU\tProduct Name\tYour Price", *lines]
    if settings_line:
        lines = ["TemplateType=fptcustom\tVersion=2022.1\tTemplateSignature=R1JPQ\t", *lines]
    found = read(tmp_path, "\n".join(lines) + "\n")
    assert found.reading.kind == "Amazon category template export, CSV (tab)"
    assert dict(zip(found.items["item_id"].to_pylist(), found.prices.to_pylist(), strict=True)) == {
        "T-20": 4.99,
        "T-50": 12.99,
    }


def test_a_suppliers_list_has_sections_a_header_again_and_items_that_are_sold_out(tmp_path: Path) -> None:
    content = (
        "Bramble Wholesale;;;\nPrice list valid from 2026-03-01;;;\n;;;\nItem no.;Description;Picture;List price\n"
        "GREEN TEA;;;\nA1;Green tea 20 bags;;4,99\nA2;Green tea 50 bags;;12,99\nA4;Wax;;discontinued\n"
        "Item no.;Description;Picture;List price\nOILS;;;\nA3;Oil 1 l;;1.008,50\nA5;Wax;;on request\n"
    )
    found = read(tmp_path, content)
    assert dict(zip(found.items["item_id"].to_pylist(), found.prices.to_pylist(), strict=True)) == {
        "A1": 4.99,
        "A2": 12.99,
        "A3": 1008.5,
    }
    assert found.passed_over == {SECTION: 2, HEADER: 1}
    assert found.rejected == {"item is sold out": 1, "price is on request": 1}


def test_names_alone_are_items_to_be_priced_where_no_row_has_a_price(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("sku,title,image,price\n,Green tea,,\n,Olive oil,,\n")
    assert read_catalogue(path, ReadSettings(), priced=False).items["text"].to_pylist() == ["Green tea", "Olive oil"]


# One way of reading


def test_the_short_way_of_reading_a_row_gives_what_the_long_way_gives() -> None:
    """Rows of files without parents and options, at random: with ids as spreadsheets keep them, and empty cells."""
    source = random.Random(0)  # noqa: S311
    cells = [
        ["1", " 2 ", "'03", '="04"', "", None, "id"],
        ["Tea", " Oil, 1 l ", "", None, "two\nlines", "title"],
        ["https://x/1.jpg", "Size=M=https://x/2.jpg", "", None],
        ["1", " 2.50 ", "", None, "price", "free"],
        ["Acme", "", None],
        ["3", "", None],
    ]
    for header in ("id title image price brand weight", "title price brand weight", "id title weight", "title price"):
        names = header.split()
        columns = [cells[("id title image price brand weight").split().index(name)] for name in names]
        roles = find_roles(Path("x.csv"), names, [["1"] * len(names), ["2"] * len(names)], ReadSettings(), priced=False)
        short, long = Articles(roles), Articles(roles, plainly=False)
        for line in range(2, 500):
            row = tuple(source.choice(choices) for choices in columns)
            assert short.read(row, line) == long.read(row, line)


# Photographs, and whatever else a shop may write


@pytest.mark.parametrize(
    ("export", "images"),
    [
        (
            "Shopify, two options, photographs below, a product without variants or SKU",
            {"0012": "https://x/v.jpg", "tea:50 Bags/Green": "https://x/v.jpg", "oil": None},
        ),
        ("WooCommerce in en", {"T-20": None, "T-50": None, "O": "https://x/a.jpg"}),
        ("eBay file exchange", {"T-20": "https://x/20.jpg", "T-50": "https://x/a.jpg", "O": None}),
        (
            "Magento, variants listed by their parent",
            {"T-20": "/t/e/tea.jpg", "T-50": None, "O": None},
        ),
    ],
)
def test_a_variant_has_its_own_photograph_or_else_its_parents(
    tmp_path: Path, export: str, images: dict[str, str | None]
) -> None:
    items = read(tmp_path, written(EXPORTS[export])).items
    assert dict(zip(items["item_id"].to_pylist(), items["image"].to_pylist(), strict=True)) == images


@pytest.mark.parametrize(
    ("row", "amount", "pack"),
    [
        (("Mineral water", "6", "9 l"), 9000, 6),
        (("Cola 6-pack", "", "1980 ml"), 1980, 6),
        (("Cola 6-pack", "6", "1980ml"), 1980, 6),
        (("Green tea 20 bags", "", "40 g"), 40, 1),
        (("Water, 12 bottles", "12", "6 l"), 6000, 12),
        (("Cable", "3", "6 m"), 6000, 3),
        (("Cable 2 m", "3", "6 m"), 6000, 3),
        (("Wipes 6-pack", "", "600 ct"), 600, 6),
    ],
)
def test_a_measure_is_that_of_the_whole_product_as_it_is_sold(
    tmp_path: Path, row: tuple[str, str, str], amount: float, pack: int
) -> None:
    for name, item in of_merchant_and_food_facts(tmp_path, row).items():
        assert (item["amount"], item["pack"]) == (pytest.approx(amount), pack), name


@pytest.mark.parametrize(
    ("row", "amount", "pack"),
    [
        (("Cola 6 x 330 ml", "", "330ml"), 1980, 6),
        (("Cola 6 x 330 ml", "", "330 ml"), 1980, 6),
        (("Cola 330 ml", "", "6 x 330 ml"), 1980, 6),
        (("Water 1.5 l", "6", "1.5 l"), 9000, 6),
        (("Water 1.5 l", "6", "9 l"), 9000, 6),
        (("Mugs, set of 3", "", "1 ct"), 3, 3),
        (("Cola", "", "330 ml"), 330, 1),
        (("Cola", "1", "330 ml"), 330, 1),
        (("Cola", "²", "330 ml"), 330, 1),
        (("Cola", "9" * 5_000, "330 ml"), 330, 1),
    ],
)
def test_a_titles_own_size_counts_before_the_measure(
    tmp_path: Path, row: tuple[str, str, str], amount: float, pack: int
) -> None:
    for name, item in of_merchant_and_food_facts(tmp_path, row).items():
        assert (item["amount"], item["pack"]) == (pytest.approx(amount), pack), name
        assert "total" not in item["text"]


def of_merchant_and_food_facts(tmp_path: Path, row: tuple[str, str, str]) -> dict[str, dict[str, Any]]:
    """The first item of each export, by the export's name."""
    exports = merchant_and_food_facts(*row).items()
    return {name: read(tmp_path, content).items.slice(0, 1).to_pylist()[0] for name, content in exports}


def merchant_and_food_facts(title: str, multipack: str, measure: str) -> dict[str, str]:
    """A row as Google Merchant has it, and where it has no multipack, as Open Food Facts has it."""
    files = {
        "Google Merchant": "id\ttitle\tlink\timage_link\tavailability\tprice\tmultipack\tunit_pricing_measure\n"
        f"A\t{title}\thttps://x\thttps://x/a.jpg\tin_stock\t4.99 USD\t{multipack}\t{measure}\n"
    }
    if not multipack:
        files["Open Food Facts"] = (
            f"code\tproduct_name\tquantity\tbrands\timage_url\tprice\n0012\t{title}\t{measure}\tAcme\t\t2\n"
        )
    return files


def test_variants_of_one_parent_share_its_key_and_others_none(tmp_path: Path) -> None:
    for export in ("WooCommerce in de", "eBay file exchange", "Magento, variants listed by their parent"):
        items = read(tmp_path, written(EXPORTS[export])).items
        parent = dict(zip(items["item_id"].to_pylist(), items["parent"].to_pylist(), strict=True))
        assert parent["T-20"] == parent["T-50"] != parent["O"], export
        assert parent["T-20"] is not None


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_rows_in_are_items_rejects_or_passed_over_whatever_the_cells_hold(tmp_path: Path, export: Export) -> None:
    """Rows of an export in another order, some twice, some with cells that are empty or another row's."""
    source = random.Random(0)  # noqa: S311
    for _ in range(6):
        rows: Rows = []
        for row in source.choices(export.rows, k=12):
            changed = dict(row)
            for heading in source.sample(sorted(changed), k=source.randrange(3)):
                changed[heading] = source.choice(["", "x", "0", source.choice(export.rows).get(heading, "")])
            rows.append(changed)
        rows = [row for row in rows if any(row.values())]  # a blank row is none
        try:
            found = read(tmp_path, written(export._replace(rows=rows)))
        except DataRefused as error:
            assert "no usable row" in str(error) or "no item" in str(error)
            continue
        assert found.items.num_rows + len(found.rejects) + found.passed_over.total() == len(rows)
        ids = found.items["item_id"].to_pylist()
        assert len(set(ids)) == len(ids)
