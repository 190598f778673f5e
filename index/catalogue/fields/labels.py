"""Labels of a text's lines, as shops write them: "Title: ...", "Marke: ...", and lines that are a condition alone.

Which line of a text is its name, and which are something else. The labels of the challenge's own form ("Item Name:",
"Value:") are in `fields`.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

NAME, TITLE, SIZE, ATTRIBUTE, DESCRIPTION, BANNER, PLAIN = range(7)
"""What a line is: `TITLE` names the item wherever it stands, `NAME` where nothing but labels stands before; `SIZE` may
say how much of the item there is; a `BANNER` says nothing of the item."""
LABEL_LIMIT = 40  # characters before the colon
_LOOK_AHEAD = 12  # lines among which a title is looked for

_SPELLINGS = {
    TITLE: "title, item name, item title, product name, product title, listing title, article name, titel, "
    "produktname, artikelname, produkttitel, artikelbezeichnung, produktbezeichnung, titre, nom du produit, título, "
    "titulo, nombre del producto, nome do produto, titolo, nome prodotto, nome del prodotto, productnaam, tytuł, "
    "nazwa produktu, название, 标题, 商品名称, 品名, 商品名, 상품명",
    NAME: "name, product, item, article, artikel, produkt, bezeichnung, produit, nom, producto, nombre, artículo, "
    "produto, nome, prodotto, articolo, naam, nazwa",
    SIZE: "size, pack size, package size, package quantity, item package quantity, quantity, net weight, net "
    "content, net contents, contents, content, volume, net volume, unit count, number of items, pack, größe, "
    "groesse, inhalt, packungsgröße, menge, füllmenge, nettofüllmenge, nettogewicht, taille, contenance, quantité, "
    "poids net, volume net, tamaño, contenido, contenido neto, cantidad, peso neto, tamanho, conteúdo, quantidade, "
    "peso líquido, formato, contenuto, quantità, inhoud, hoeveelheid, rozmiar, zawartość, ilość, "
    "规格, 容量, 净含量, 数量, 内容量",
    ATTRIBUTE: "brand, brand name, manufacturer, maker, vendor, supplier, seller, category, categories, department, "
    "product type, type, condition, item condition, colour, color, material, materials, fabric, flavour, flavor, "
    "scent, model, model number, model name, part number, mpn, sku, gtin, ean, upc, isbn, asin, id, item number, "
    "price, availability, stock, shipping, delivery, tags, collection, season, gender, age group, pattern, weight, "
    "item weight, dimensions, country of origin, origin, warranty, year, marke, hersteller, kategorie, zustand, "
    "farbe, material, geschmack, duft, modell, artikelnummer, preis, verfügbarkeit, versand, gewicht, maße, "
    "abmessungen, herkunft, marque, fabricant, catégorie, état, couleur, matière, saveur, parfum, modèle, "
    "référence, prix, poids, marca, fabricante, categoría, estado, condición, sabor, modelo, referencia, precio, "
    "peso, categoria, condição, cor, preço, produttore, condizione, colore, materiale, gusto, prezzo, merk, "
    "categorie, staat, kleur, materiaal, prijs, producent, kategoria, stan, kolor, materiał, cena, бренд, "
    "категория, цвет, 品牌, 类别, 颜色, 材质, 型号, ブランド, カテゴリ, 색상",
    DESCRIPTION: "description, product description, item description, details, about, beschreibung, "
    "produktbeschreibung, description du produit, descripción, descrição, descrizione, omschrijving, opis, "
    "описание, 描述",
}
LABELS = {label.casefold(): kind for kind, labels in _SPELLINGS.items() for label in labels.split(", ")}
CONDITIONS = frozenset(
    "new, brand new, new with tags, new without tags, new in box, new other, used, like new, used - like "
    "new, very good, good, acceptable, fair, pre-owned, preowned, pre owned, second hand, second-hand, "
    "open box, refurbished, certified refurbished, seller refurbished, renewed, for parts or not "
    "working, vintage, neu, neu mit etikett, neuwertig, gebraucht, wie neu, sehr gut, generalüberholt, "
    "neuf, neuve, occasion, d'occasion, reconditionné, comme neuf, très bon état, bon état, nuevo, "
    "nueva, usado, usada, de segunda mano, reacondicionado, como nuevo, novo, nova, seminovo, "
    "recondicionado, nuovo, usato, ricondizionato, come nuovo, nieuw, gebruikt, tweedehands, nowy, "
    "używany, odnowiony, новый, б/у, 全新, 二手, 新品, 中古".split(", ")
)


def label_of(line: str) -> tuple[int, str]:
    """Return what a line is by its own words, and those without its label. `PLAIN` is anything else."""
    head, colon, rest = line.partition(":")
    if not colon:
        head, colon, rest = line.partition("：")
    if not colon:
        return (ATTRIBUTE if line.strip(" .*-[]()").casefold() in CONDITIONS else PLAIN), line
    words = rest.strip()
    kind = LABELS.get(" ".join(head.casefold().split())) if len(head) <= LABEL_LIMIT else None
    if kind is None:
        return (PLAIN if words else BANNER), line
    return kind, words


def first_line_key(line: str) -> str:
    """Return what lines that say the same share: "FREE  delivery" and "Free delivery"."""
    return " ".join(line.casefold().split())


def name_line(lines: Sequence[str], shared: Collection[str]) -> tuple[int, str, frozenset[int]]:
    """Return which of the lines names the item, its words, and which lines say nothing of the item.

    `lines` hold at least one, and none is blank; `shared` has the `first_line_key` of lines that many items share. A
    text of nothing but attributes is named by its first line.
    """
    kinds = [label_of(line) for line in islice(lines, _LOOK_AHEAD)]
    banners = set()
    for at, (kind, _) in enumerate(kinds):
        if kind == BANNER or first_line_key(lines[at]) in shared:
            banners.add(at)
        elif kind not in (ATTRIBUTE, SIZE, DESCRIPTION):
            break
    passed = frozenset(banners)
    titled = next((at for at, (kind, words) in enumerate(kinds) if kind == TITLE and words), -1)
    if titled >= 0:
        return titled, kinds[titled][1], passed
    for at, (kind, words) in enumerate(kinds):
        if at not in banners and (kind == PLAIN or (kind == NAME and words)):
            return at, words, passed
    return 0, lines[0], frozenset()


def contents(lines: Iterable[str]) -> list[str]:
    """Return what the lines say that may state how much of the item there is: "330 ml" of "Size: 330 ml"."""
    labelled = (label_of(line) for line in islice(lines, _LOOK_AHEAD))
    return [words for kind, words in labelled if kind == SIZE and words]
