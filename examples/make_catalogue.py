"""Writes a made-up catalogue whose price law is known, photographs and all.

    python examples/make_catalogue.py OUT_DIR [--rows 2000] [--seed 0]

    OUT_DIR/catalogue.csv   sample_id, catalog_content, image_link, price; some rows are bad on purpose
    OUT_DIR/holdout.csv     one family of near-duplicates in ten, kept out of catalogue.csv, with its prices
    OUT_DIR/images/*.jpg    the photographs, under the last part of their links
    OUT_DIR/query.jpg       the photograph of QUERY, an item that is in neither file
    OUT_DIR/README.txt      the law, with its figures, and what is wrong with the catalogue by design

A family is one product in one to three listings, near-duplicates of each other: sold again at another price under the
same photograph, or the same name in another size. The same seed gives the same bytes, for the same numpy and Pillow.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from made_up_goods import (
    ADJECTIVES,
    AFFINITY_SPREAD,
    BRANDS,
    FAMILY_SPREAD,
    KINDS,
    LISTING_SPREAD,
    PACK_EXPONENT,
    QUALITY,
    UNITS,
    Product,
    Unit,
    fair_price,
)
from made_up_photographs import draw

PACKS, PACK_SHARES = (1, 2, 3, 4, 6, 12), (0.45, 0.17, 0.10, 0.10, 0.11, 0.07)
LISTINGS, LISTING_SHARES = (1, 2, 3), (0.72, 0.20, 0.08)  # in a family
QUALITY_SHARES = (0.25, 0.50, 0.25)
SILENT_QUALITY = 0.35  # share of families whose quality only the photograph shows
SILENT_PACK = 0.10  # share of families whose title leaves the pack out
SILENT_AMOUNT = 0.05  # share of listings without Value and Unit
FEWEST_ROWS, MOST_ROWS = 100, 12_000  # below, not every defect occurs; above, the names run out
COLUMNS = ("sample_id", "catalog_content", "image_link", "price")
LINK = "https://made-up.invalid/images/"

QUERY_TEXT = "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"
QUERY, QUERY_SIZE, QUERY_PACK = Product(KINDS[0], BRANDS[0], "Hazelnut", "Smoky", "fine"), 12, 2

QUALITY_WORDS = {"basic": ("Thrifty", "Everyday", "Budget"), "plain": ("",), "fine": ("Reserve", "Deluxe", "Artisan")}
NAMES = ("{brand} {word} {kind}, {flavour}", "{brand} {flavour} {kind} {word}", "{brand} {kind} {word} - {flavour}")
PACKINGS = (" (Pack of {p})", ", Pack of {p}", " - {p} Pack")
BULLETS = (
    "{flavour}: our {adjective} take on {kind}", "From the house of {brand}, known to nobody", "Great as a gift",
    "For home, office and travel", "For those who like {variant}", "No fuss: open and use",
    "Its {adjective} character would bring customers back, had there been any", "Sealed at the works",
    "Ships in plain cardboard", "Store in a cool, dry place", "{brand} stands behind every {kind} it sells",
)  # fmt: skip
PRAISE = {
    "basic": ("Plain packaging keeps the cost down", "Our entry range, no frills"),
    "plain": ("The range that everybody picks", "Just {kind}, as it should be"),
    "fine": ("Small batches, selected by hand", "Our top range, for special days"),
}
MARKS = ("Made up: {brand} does not exist", "This item is made up", "Nobody sells this, it is a made up product")
BAD_PRICES = ("", "0.00", "-4.20", "not known", "nan")

Option = TypeVar("Option")


@dataclass(frozen=True)
class Family:
    """One product under one name but for numbers; `photographs` are those that its listings may show."""

    number: int
    product: Product
    says_quality: bool
    name: str
    size_form: str
    pack_form: str  # empty: the titles leave the pack out
    noise: float  # log price

    @property
    def held_out(self) -> bool:
        """Tell whether all of its listings go to holdout.csv."""
        return self.number % 10 == 3


@dataclass(frozen=True)
class Listing:
    """One row to be; `image_link` is empty where there is no photograph, `price` in money."""

    family: Family
    size: float
    pack: int
    image_link: str
    text: str
    price: str


class Maker:
    """Draws families and their listings; holds the randomness, the names taken and the photographs written."""

    def __init__(self, seed: int, image_dir: Path) -> None:
        self.seed = seed
        self.image_dir = image_dir
        self.random = np.random.default_rng(seed)
        affinity = self.random.normal(0, AFFINITY_SPREAD, (len(BRANDS), len(KINDS)))  # log price
        self.affinity = {(b.name, k.name): affinity[i, j] for i, b in enumerate(BRANDS) for j, k in enumerate(KINDS)}
        self.taken = {(QUERY.kind.name, QUERY.brand.name, QUERY.flavour)}
        self.photographs = 0

    def listings(self, rows: int) -> list[Listing]:
        """`rows` listings of as many families as it takes, in an order that keeps no family together."""
        made: list[Listing] = []
        number = 0
        while len(made) < rows:
            made += self._family_listings(self._family(number))[: rows - len(made)]
            number += 1
        return [made[at] for at in self.random.permutation(rows)]

    def price(self, product: Product, size: float, pack: int) -> float:
        """The law's price, affinity included, before noise."""
        return fair_price(product, size, pack) * float(np.exp(self.affinity[product.brand.name, product.kind.name]))

    def _family(self, number: int) -> Family:
        product = self._product()
        says_quality = bool(self.random.random() > SILENT_QUALITY)
        word = self._pick(QUALITY_WORDS[product.quality if says_quality else "plain"])
        words = {"brand": product.brand.name, "word": word, "kind": product.kind.name, "flavour": product.flavour}
        name = " ".join(self._pick(NAMES).format(**words).split()).replace(" ,", ",")
        size_form = self._pick(UNITS[product.kind.unit].titles)
        pack_form = self._pick(PACKINGS) if self.random.random() > SILENT_PACK else ""
        noise = float(self.random.normal(0, FAMILY_SPREAD))
        return Family(number, product, says_quality, name, size_form, pack_form, noise)

    def _product(self) -> Product:
        """A product whose kind, brand and flavour no other family has."""
        while True:
            kind, brand, adjective = self._pick(KINDS), self._pick(BRANDS), self._pick(ADJECTIVES)
            variant, quality = self._pick(list(kind.variants)), self._weighted(list(QUALITY), QUALITY_SHARES)
            product = Product(kind, brand, variant, adjective, quality)
            if (kind.name, brand.name, product.flavour) not in self.taken:
                self.taken.add((kind.name, brand.name, product.flavour))
                return product

    def _family_listings(self, family: Family) -> list[Listing]:
        """The first listing, and its near-duplicates: the same again at another price, or another size."""
        count = self._weighted(LISTINGS, LISTING_SHARES)
        size, pack = self._pick(family.product.kind.sizes), self._weighted(PACKS, PACK_SHARES)
        link = self._photograph(family.product, size, pack)
        made = [self._listing(family, size, pack, link, count > 1)]
        for _ in range(count - 1):
            if self.random.random() < 0.5:
                made.append(self._listing(family, size, pack, link, True))
                continue
            size, pack = self._pick(family.product.kind.sizes), self._weighted(PACKS, PACK_SHARES)
            if self.random.random() < 0.5:  # else the old photograph stands for the new size, as in real catalogues
                link = self._photograph(family.product, size, pack)
            made.append(self._listing(family, size, pack, link, True))
        return made

    def _listing(self, family: Family, size: float, pack: int, link: str, has_duplicates: bool) -> Listing:
        noise = family.noise + float(self.random.normal(0, LISTING_SPREAD))
        price = self.price(family.product, size, pack) * float(np.exp(noise))
        return Listing(family, size, pack, link, self._text(family, size, pack, has_duplicates), f"{price:.2f}")

    def _text(self, family: Family, size: float, pack: int, has_duplicates: bool) -> str:
        product, unit = family.product, UNITS[family.product.kind.unit]
        title = f"{family.name}, {_amount(family.size_form, size, unit)}"
        if pack > 1 or has_duplicates:  # else near-duplicates of one piece would differ by more than numbers
            title += family.pack_form.format(p=pack)
        words = {"brand": product.brand.name, "kind": product.kind.name.lower(), "variant": product.variant.lower()}
        words |= {"flavour": product.flavour, "adjective": product.adjective.lower()}
        pool = [*BULLETS, *(PRAISE[product.quality] if family.says_quality else ())]
        picked = [pool[at] for at in self.random.permutation(len(pool))[: self.random.integers(0, 6)]]
        *bullets, last = [line.format(**words) for line in [*picked, self._pick(MARKS)]]
        lines = [f"Item Name: {title}"]
        if self.random.random() < 0.5:
            description = ". ".join([*bullets[2:], last]) + "."
            bullets = bullets[:2]
        else:
            description, bullets = "", [*bullets, last]
        lines += [f"Bullet Point {at}: {bullet}" for at, bullet in enumerate(bullets, 1)]
        lines += [f"Product Description: {description}"] if description else []
        if self.random.random() > SILENT_AMOUNT:
            lines += [f"Value: {float(round(size * pack, 2))}", f"Unit: {self._pick(unit.lines)}"]
        return "\n".join(lines) + "\n"

    def _photograph(self, product: Product, size: float, pack: int) -> str:
        """Write the next photograph and return its link. Of 100, 4 have no link, 3 no file, and 2 cannot be read."""
        number, self.photographs = self.photographs, self.photographs + 1
        if number % 25 == 7:
            return ""
        name = f"made-up-{number:05d}.jpg"
        if number % 33 != 11:
            data = _jpeg(product, size, pack, (self.seed, number))
            if number % 50 == 23:
                cut = data[: len(data) // 2]
                data = cut if number % 100 == 23 else f"<html><p>404: {name} is made up</p></html>\n".encode()
            (self.image_dir / name).write_bytes(data)
        return LINK + name

    def _pick(self, options: Sequence[Option]) -> Option:
        return options[int(self.random.integers(len(options)))]

    def _weighted(self, options: Sequence[Option], shares: Sequence[float]) -> Option:
        return options[int(np.searchsorted(np.cumsum(shares), self.random.random() * 0.999999))]


def _amount(form: str, size: float, unit: Unit) -> str:
    metric = size * unit.metric
    return form.format(n=f"{size:g}", m=f"{metric:.0f}" if metric >= 20 else f"{metric:.2f}".rstrip("0").rstrip("."))


def _jpeg(product: Product, size: float, pack: int, tint: tuple[int, int]) -> bytes:
    data = io.BytesIO()
    image = draw(product, size, pack, np.random.default_rng(tint))
    image.save(data, "JPEG", quality=85, subsampling=2, optimize=False, progressive=False)
    return data.getvalue()


def rows_of(listings: Sequence[Listing], first_id: int) -> list[list[str]]:
    """The rows of a CSV, numbered from `first_id`."""
    return [[str(first_id + at), made.text, made.image_link, made.price] for at, made in enumerate(listings)]


def bad_rows(listings: Sequence[Listing], first_id: int) -> list[list[str]]:
    """Rows that a reader must refuse: five prices, a row without text, and an id that is taken by `first_id`'s row."""
    broken = [replace(made, price=price) for made, price in zip(listings, BAD_PRICES, strict=False)]
    broken.append(replace(listings[len(broken)], text=""))
    rows = rows_of([*broken, listings[len(broken)]], first_id + len(listings))
    rows[-1][0] = str(first_id)
    return rows


def write_catalogue(out_dir: Path, *, rows: int, seed: int) -> str:
    """Write everything; `rows` counts the good rows of both files together. Returns a sentence about it."""
    images = out_dir / "images"
    images.mkdir(parents=True, exist_ok=True)
    for stale in images.glob("made-up-*.jpg"):
        stale.unlink()
    maker = Maker(seed, images)
    listings = maker.listings(rows)
    kept = [made for made in listings if not made.family.held_out]
    held_out = [made for made in listings if made.family.held_out]
    good, bad = rows_of(kept, 100_000), bad_rows(kept, 100_000)
    for at, row in enumerate(bad, 1):
        good.insert(at * len(kept) // len(bad), row)
    _write_csv(out_dir / "catalogue.csv", good)
    _write_csv(out_dir / "holdout.csv", rows_of(held_out, 900_000))
    (out_dir / "query.jpg").write_bytes(_jpeg(QUERY, QUERY_SIZE, QUERY_PACK, (seed, maker.photographs)))
    query_price = maker.price(QUERY, QUERY_SIZE, QUERY_PACK)
    (out_dir / "README.txt").write_text(_readme(maker, len(kept), len(held_out), query_price), encoding="utf-8")
    return (
        f"{out_dir}: a made up catalogue of {len(kept)} items and {len(bad)} bad rows, {len(held_out)} items held out, "
        f"{len(list(images.glob('*.jpg')))} drawn photographs. Nothing in it exists."
    )


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _readme(maker: Maker, kept: int, held_out: int, query_price: float) -> str:
    return f"""\
Everything here is made up: the items, the brands, the prices and the photographs. Made by examples/make_catalogue.py
with seed {maker.seed}; the same seed gives the same bytes.

catalogue.csv   {kept} items, and {len(BAD_PRICES) + 2} bad rows:
                prices {", ".join(map(repr, BAD_PRICES))}; a text that is empty; an id that is taken
holdout.csv     {held_out} items of families that catalogue.csv has nothing of
images/         {maker.photographs} photographs were asked for; of 100, 4 have no link, 3 no file and 2 cannot be read
query.jpg       belongs to: {QUERY_TEXT}
                which the law, before noise, puts at {query_price:.2f}

The law of the prices:
  kind's price * (size / kind's reference) ** kind's exponent * pack ** {PACK_EXPONENT}
  * brand * (brand and kind together: log-normal, spread {AFFINITY_SPREAD}) * quality * variant
  * noise (log-normal: {FAMILY_SPREAD} shared by near-duplicates, {LISTING_SPREAD} the listing's own)

Of the families, {SILENT_QUALITY:.0%} tell their quality by the badge alone, and {SILENT_PACK:.0%} have no pack in
their titles; of the listings, {SILENT_AMOUNT:.0%} have no Value and Unit.

A photograph shows the kind by its shape, the brand by colour, the variant by the label's colour, the pack by
repetition, the size by scale and the quality by a badge. Half of the near-duplicates of another size show the old
photograph.

Quality: {_factors(QUALITY)}
Brands:  {_factors({brand.name: brand.level for brand in BRANDS})}
Kinds:
{_kinds()}
"""


def _factors(factors: dict[str, float]) -> str:
    return ", ".join(f"{name} x {factor:g}" for name, factor in factors.items())


def _kinds() -> str:
    return "\n".join(
        f"  {kind.name:15} {kind.price:5.2f} for {kind.reference:g} {kind.unit}, size ** {kind.exponent:g}; "
        + _factors(kind.variants)
        for kind in KINDS
    )


def main() -> None:
    """Read the command line and write the catalogue."""
    parser = argparse.ArgumentParser(description="Write a made-up catalogue with drawn photographs into OUT_DIR.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("--rows", type=int, default=2000, help="good rows of both files together (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another catalogue (default: 0)")
    given = parser.parse_args()
    if not FEWEST_ROWS <= given.rows <= MOST_ROWS:
        parser.error(f"--rows {given.rows}: choose between {FEWEST_ROWS} and {MOST_ROWS}")
    if given.seed < 0:
        parser.error(f"--seed {given.seed}: choose 0 or more")
    if given.out_dir.exists() and not given.out_dir.is_dir():
        parser.error(f"{given.out_dir} is not a folder: choose another OUT_DIR")
    sys.stdout.write(write_catalogue(given.out_dir, rows=given.rows, seed=given.seed) + "\n")


if __name__ == "__main__":
    main()
