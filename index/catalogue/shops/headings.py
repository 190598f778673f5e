"""Headings of catalogues: the words by which a column is known, in the languages in which shops export.

A heading is compared in one spelling (`normalised`): small letters, no punctuation. Of a role's words the first that a
file has wins, so they stand in the order of preference. Which file is whose is said in `index.catalogue.shops.exports`.
"""

import re

ROLES: dict[str, tuple[str, ...]] = {
    "id": (
        "sample id|item id|product id|variant sku|seller sku|item sku|sku|id|custom label sku|customlabel|custom label|"
        "reference|item no|item number|item code|article no|article number|art no|part no|part number|product number|"
        "product code|"
        "code|asin|handle|key|mpn|gtin|ean|upc|barcode|"
        "artikelnr|artikel nr|artikelnummer|art nr|artnr|bestellnummer|bestell nr|händler sku|bestandseinheit|"
        "référence|réf|ref|sku vendeur|code article|n article|numéro d article|"
        "referencia|ref artículo|código|codigo|número de artículo|sku del vendedor|"
        "codice|codice articolo|cod articolo|sku venditore|"
        "artikelcode|artikel|código do produto|numer katalogowy|indeks|kod|artikkelnummer|varenr|varenummer|"
        "货号|商品编号|编号|商品番号|品番|상품번호",
    ),
    "title": (
        "catalog content|title|item name|product name|product title|name|item|product|article|item title|listing title|"
        "designation|items|"
        "titel|bezeichnung|artikelbezeichnung|artikelname|produktname|produktbezeichnung|produkt|"
        "titre|nom|désignation|libellé|nom produit|nom du produit|produit|"
        "título|titulo|nombre|nombre del producto|producto|denominación|"
        "titolo|nome|nome prodotto|nome del prodotto|prodotto|denominazione|"
        "naam|productnaam|omschrijving|nome do produto|produto|nazwa|nazwa produktu|tytuł|"
        "benämning|produktnamn|benevnelse|varebetegnelse|navn|"
        "标题|商品名称|名称|品名|商品名|タイトル|상품명",
    ),
    "description": (
        "description|product description|item description|long description|body html|body|text|content|details|"
        "beschreibung|artikelbeschreibung|produktbeschreibung|langtext|"
        "descripción|descripcion|descrizione|description longue|descrição|descricao|beschrijving|opis|beskrivning|"
        "beskrivelse|描述|商品描述|説明|商品説明|설명",
    ),
    "summary": (
        "short description|summary|kurzbeschreibung|description courte|récapitulatif|résumé|descripción corta|"
        "descrizione breve|breve descrizione|riepilogo|zusammenfassung|resumen|resumo|kort beskrivning|"
        "kort beskrivelse|korte beschrijving|descrição curta|krótki opis|generic name",
    ),
    "image": (
        "image link|variant image|variant image url|image src|product image url|main image url|image url|image urls|"
        "image urls x y z|image|images|image1|image 1|image 0|image url 0|base image|picurl|item photo url|"
        "main product image locator media location|photo|"
        "photos|photo url|picture|pictures|picture url|img|img url|image path|thumbnail|"
        "bild|bilder|bild url|bildlink|bildadresse|foto|fotos|abbildung|url de l image|lien image|photographie|"
        "imagen|imágenes|imagenes|enlace imagen|immagine|immagini|link immagine|afbeelding|afbeeldingen|imagem|imagens|"
        "zdjęcie|zdjęcia|obrazy|obrazki|obrazek|bilde|bilder url|billede|图片|图片链接|画像|이미지",
    ),
    "price": (
        "price|variant price|current price|selling price|our price|your price|item price|final price|standard price|"
        "start price|startprice|regular price|retail price|unit price|price tax included|price tax excluded|"
        "price tax incl|price tax excl|offers price|offers lowprice|buy it now price|price usd|price eur|price gbp|"
        "list price|purchasable offer our price schedule value with tax|amount|msrp|rrp|mrp|"
        "preis|endpreis|verkaufspreis|vk preis|vk|einzelpreis|stückpreis|aktueller preis|listenpreis|"
        "regulärer preis|startpreis|preis brutto|bruttopreis|preis netto|nettopreis|preis inkl mwst|preis exkl mwst|"
        "preis ohne steuern|preis mit steuern|"
        "prix|tarif|prix final|prix de vente|prix actuel|prix régulier|tarif régulier|prix unitaire|prix ttc|prix ht|"
        "prix hors taxe|montant ht|prix de départ|"
        "precio|precio final|precio de venta|precio actual|precio normal|precio unitario|pvp|precio sin impuestos|"
        "prezzo|prezzo finale|prezzo di vendita|prezzo di listino|prezzo regolare|prezzo unitario|"
        "prijs|verkoopprijs|normale prijs|reguliere prijs|preço|preco|preço de venda|preço normal|cena|"
        "cena regularna|cena brutto|fiyat|цена|"
        "pris|ordinarie pris|normalpris|价格|售价|单价|価格|販売価格|가격",
    ),
    "sale_price": (
        "sale price|special price|online sale price|discounted price|discount price|offer price|promo price|"
        "promotional price|reduced price|price after discount|"
        "purchasable offer discounted price schedule value with tax|"
        "angebotspreis|sonderpreis|aktionspreis|preis nach rabatt|prix promo|tarif promo|prix promotionnel|prix soldé|"
        "prix réduit|prix après remise|"
        "precio rebajado|precio de oferta|precio oferta|prezzo in offerta|prezzo scontato|actieprijs|aanbiedingsprijs|"
        "preço promocional|cena promocyjna|reapris|kampanjpris|tilbudspris|salgspris|促销价|セール価格",
    ),
    "currency": (
        "currency|currency code|price currency|pricecurrency|offers pricecurrency|währung|währungscode|devise|moneda|"
        "divisa|valuta|moeda|waluta|币种|货币|通貨",
    ),
    "date": ("date|price date|valid from|as of|observed|observed at|scraped at|datum|preisdatum|fecha|data|日期|日付",),
    "parent": (
        "parent|parent sku|parent id|parent product|item group id|reference handle|url handle|handle|group id|"
        "child parent sku relationship parent sku|"
        "übergeordnetes produkt|übergeordnet|eltern|parent produit|produit parent|superior|producto superior|genitore|"
        "hoofdproduct|hoofd|bovenliggend|ascendente|nadrzędny|rodzic|överordnad|forælder|forelder",
    ),
    "variation": (
        "variation name|variation details|relationshipdetails|relationship details|variationsdetails|variantendetails|"
        "détails de la variante|détails sur la variante|detalles de la variante|dettagli della variante",
    ),
    "multipack": ("multipack",),
    "measure": ("quantity text|unit pricing measure|product quantity text",),
    "on_sale": ("on sale|is on sale",),
}
"""role -> its headings, split at |, in one string for the page's sake."""

WORDS = {role: tuple("".join(words).casefold().split("|")) for role, words in ROLES.items()}  # größe is grösse
SHOP_ROLES = (
    *("kind", "children", "attributes", "store_view", "discount_percent", "discount_amount"),
    *("sale_start", "sale_end", "sale_days", "selling_format", "buy_now"),
)
"""Roles that only a shop's export has: elsewhere such headings mean other things."""

_TAX = r"(?:tax|taxes|tasse|vat|gst|steuern?|mwst|ust|iva|tva|btw|moms|mva|impuestos)"
WITHOUT_TAX = re.compile(
    r"\b(?:excl|excluded|excluding|ex|net|nett|netto|nettopreis|nettoprijs|nettopris|neto|ht|hors|ohne|zzgl|exkl|ekskl|"
    r"eks|sin|escl|esclus[aeio]|excluid[ao]s?|bez|exclusief|s iva|"
    rf"(?:w o|without|before|sem|senza|uden|utan|uten) {_TAX})\b"
)
"""What a heading of prices says where tax is to be added."""

_INCLUDED = r"(?:incl|included|including|inclusive|inc|inkl|inclus[aeio]|incluid[ao]s?|inbegrepen|inclusief)"
WITH_TAX = re.compile(
    r"\b(?:gross|brutto|bruttopreis|bruttoprijs|bruttopris|bruto|ttc|ivato|c iva|s dph|z vat|"
    rf"(?:{_INCLUDED}|with|after|mit|con|com|avec|met|med) {_TAX}|{_TAX} {_INCLUDED}|{_INCLUDED}$)\b"
)
"""What it says where tax is in them."""

IN_CENTS = re.compile(r"\b(?:cents?|pence|centimes|céntimos|centesimi)\b")
"""What it says where they are in hundredths of a currency's unit."""

_VALUE = (
    "values?|value s|werte?|wert e|valeurs?|valeur s|valor|valores|valor es|valor e s|valore|valori|valore i|valore s|"
    "waarden?|waarde n|wartość|wartości|wartość i|värden?|värde n|verdi|verdier|verdi er|værdi|værdier|værdi er"
)
_ATTRIBUTE = "attribute?|atributo|attributo|attribuut|atrybutu?|attributt?|egenskap|egenskab"
OPTION = re.compile(
    rf"option ?\d (?:{_VALUE})|option (?:{_VALUE}) \d|variation \d values|(?:{_ATTRIBUTE}) \d (?:{_VALUE})|"
    rf"(?:{_VALUE}) (?:de l |del |dell |do |da |van |för |for )?(?:{_ATTRIBUTE}) \d"
)
OPTION_WORDS = (
    (
        "size|color|colour|material|pattern|flavor|flavour|scent|count|pack size|size name|color name|colour name|"
        "flavor name|flavour name|scent name|pattern name|style name|unit count|größe|farbe|taille|couleur|talla|color|"
        "taglia|colore|maat|kleur|tamanho|cor|rozmiar|kolor|storlek|färg|størrelse|farge|尺码|颜色"
    )
    .casefold()
    .split("|")
)
"""Headings whose values tell the variants of an article apart."""

ATTRIBUTES = frozenset("size color colour flavor flavour scent material format pack count weight volume".split())
"""Names of further attributes in one cell, as Magento has them, that tell variants apart."""

GROUP_WORDS = (
    "category|categories|product category|product type|google product category|category name|department|kategorie|"
    "kategorien|warengruppe|catégorie|catégories|categoría|categorías|categoria|categorie|kategoria|分类|类目|カテゴリ"
).split("|")
"""Headings of columns by which a shop sorts its items."""

CATEGORY_WORDS = (
    *GROUP_WORDS,
    *(
        "brand|brands|brand name|vendor|manufacturer|maker|label|type|condition|item condition|gender|age group|season|"
        "style|marke|hersteller|zustand|marque|marques|fabricant|état|marca|marcas|fabricante|produttore|merk|"
        "fabrikant|producent|品牌|ブランド"
    ).split("|"),
)
"""Headings of columns whose values are kinds of item."""

NO_FEATURE = re.compile(
    r"\b(?:id|ids|sku|gtin|ean|upc|isbn|asin|mpn|barcode|code|nr|no|url|urls|link|handle|slug|permalink|path|file|"
    r"cost|costs|msrp|rrp|mrp|uvp|margin|markup|tax|vat|mwst|iva|tva|discount|revenue|sales|sold|orders|currency|"
    r"qty|stock|inventory|alert|published|status|visible|visibility|enabled|active|archived|deleted|position|token|"
    r"created|updated|modified|time|timestamp|line|row|index|unnamed|seo|meta|title|name|alt|views|watchers|bids|"
    r"ek|vk|rabatt|marge|coût|remise|coste|descuento|costo|sconto|korting|rabat|impuesto|ilość|costi)\b|"
    r"price|preis|\bprix\b|precio|prezz|prijs|pris\b|preço|preco\b|\bcena|koszt|kosten|quantity|menge|anzahl|"
    r"lager|bestand|vorrat|voorraad|magazz|existencias|inventario|quantité|cantidad|quantità|estoque|storico|\bdate|datum|\bfecha|\bdata\b|nummer|"
    r"numero|número|numéro|steuer|uhrzeit|barcod"
)
"""Headings of what is no property of an item, or would tell its price: never taken as a category or number unasked."""

LIKELY = {
    role: re.compile(pattern)
    for role, pattern in {
        "price": r"(?:price|preis|prix|precio|prezzo|prijs|cena|preço|preco|pris)s?\b|\bpvp\b|\bvk\b",
        "id": r"\b(?:id|sku|ean|gtin|nr|code)$|(?:nummer|number|código|codice|référence)$|^(?:sku|id|ean)\b",
        "image": r"image|photo|picture|bild|foto|imagen|immagin|afbeelding|imagem|thumbnail",
        "title": r"title|titel|titre|título|titolo|bezeichnung|\bname$|^name\b|artikelname|nazwa|désignation|"
        r"descri[pçz]",
        "currency": r"^(?!.*(?:cost|ship|purchas|buying|wholesale|supplier|tax|fee|versand|einkauf)).*"
        r"\b(?:currency|währung|devise|moneda|divisa|valuta|moeda|waluta)(?: code)?$",
    }.items()
}
"""role -> what a heading holds that may be of it, where no column has one of its headings."""

BEFORE_DISCOUNT = re.compile(
    r"compare|(?<![gs])old|was|original|initial|previous|list|msrp|rrp|uvp|alt|streich|strike|base|before|regular|\bfull|"
    r"actual|barré|tachado|lista"
)
"""What the heading of a price holds that is not paid where there is a sale."""

NOT_PAID = re.compile(
    rf"{BEFORE_DISCOUNT.pattern}|einkauf|\bek\b|cost|wholesale|purchase|buying|grund|unit|\bper\b|sale|offer|min|max|"
    rf"lowest|highest|{IN_CENTS.pattern}"
)
"""What the heading of a price holds that is not what is paid."""


_NUMBER_SIGN = re.compile(r"\b(item|product|article|part) ?#\W*$")  # "Item #" is the number of the item
_PATH = re.compile(r"\[[^\]]*\]|#\d+|\.(?:value|name)$")  # in item_name[language_tag=en_US]#1.value


def normalised(heading: str) -> str:
    """Return a heading in the spelling in which headings are compared: "*Price (USD)" is "price usd"."""
    folded = heading.casefold().strip().removeprefix("g:")
    if "#" in folded:
        folded = _PATH.sub("", _NUMBER_SIGN.sub(r"\1 number", folded))
    return " ".join(re.findall(r"[^\W_]+", folded))
