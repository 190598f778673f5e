"""Articles of a file: its rows -> what is sold, with the words of its parent, its own size and its own price.

One mechanism for every shop (`exports` holds what differs). A row is an article, or it is passed over by name: the
parent of variants, a further photograph, the heading of a section. Nothing is left out without being counted.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from index.catalogue.shops.exports import AUCTIONS, NO_VARIANT, NOT_ON_SALE, PARENT_KINDS
from index.catalogue.shops.headings import ATTRIBUTES, OPTION, WORDS, normalised
from index.catalogue.shops.roles import Roles
from index.catalogue.shops.titles import is_said, is_total, with_unit

PARENT = "the parent of variants"
PHOTOGRAPH = "a further photograph"
SECTION = "the heading of a section"
STORE_VIEW = "the words of another store view"
HEADER = "the header again"

LONGEST_VALUE = 60  # characters of a cell that joins the title's line

Cells = Sequence[str | None]

_FORMULA_ID = re.compile(r'=\s*"(.*)"')  # ="0012", as spreadsheets keep an id's zeros
_NAMED_PHOTOGRAPH = re.compile(r"[^=/:]{1,100}(?:=[^=/:]{1,100})?=(?=https?://|//)")  # Size=20 Bags=https://...
_PAIR = re.compile(r",(?=[\w .-]{1,60}=)")
_SPLIT_VARIATION = re.compile(r"[|;\[\]]|,(?=[^,:=]{1,60}[:=])")
_NAME_OF_VALUE = re.compile(r"^.*?(?:=|(?<=[^\W\d_]):)\s*")  # "Size=" of Size=M, nothing of 2:1
_SEVERAL_VALUES = re.compile(r"=.*;(?![^;|=]*=)")  # Size=S;M, where Color=Red;Size=M is one variant
_PLAIN_ROLES = frozenset(("id", "image", "price"))
_VARIANT_ROLES = frozenset(("variation", "attributes", "measure", "multipack"))
_CHILD_FIELDS = frozenset(("sku", "price", "display", "default", "map"))


class Article(NamedTuple):
    """Cells of an article, as its row has them; "" and None where it says nothing."""

    item_id: str
    text: str
    image: str
    price: str
    sale_price: str
    currency: str
    date: str
    parent: str  # a key that the variants of one article share
    categories: tuple[str | None, ...]
    numbers: tuple[str | None, ...]
    discount: tuple[str, str]  # percent, amount
    sale_days: tuple[str, str]  # of the sale price and the discount: the first, the last
    several: bool  # variants in one row, at one price


_new_article = partial(tuple.__new__, Article)  # several times as fast as Article


class Articles:
    """The rows of one file as articles. `survey` every row first, where `needs_survey`; then `read` them in order."""

    def __init__(self, roles: Roles, *, plainly: bool = True) -> None:
        """Take the roles of a file's columns. Without `plainly` there is no short way for files of few roles."""
        self._roles = roles
        self.columns = tuple(
            sorted(
                {at for places in roles.single.values() for at in places}
                | {*roles.text, *roles.options, *roles.categories, *roles.numbers}
            )
        )
        place = {at: number for number, at in enumerate(self.columns)}
        self._single = {role: tuple(place[at] for at in places) for role, places in roles.single.items()}
        self._text = tuple(place[at] for at in roles.text)
        self._beside_title = {  # further columns of words whose short cells join the title's line -> heading
            place[at]: heading
            for at in roles.text[1:]
            if (heading := normalised(roles.header[at])) not in (*WORDS["summary"], *WORDS["description"])
        }
        self._options = tuple((place[at], normalised(roles.header[at])) for at in roles.options)
        self._categories = tuple(place[at] for at in roles.categories)
        self._numbers = tuple(place[at] for at in roles.numbers)
        self._header = tuple(roles.header[at] for at in self.columns)
        self._price_heading = roles.header[roles.single["price"][0]] if roles.single.get("price") else ""
        mode = roles.shop.parent if roles.shop else "shared"
        needed = "children" if mode == "listed" else "parent"
        self._mode = mode if mode == "above" or self._single.get(needed) else ""
        self._parents: dict[str, Cells] = {}
        self._referenced: set[str] = set()
        self._with_variants: set[str] = set()
        self._listed: dict[str, tuple[str, ...]] = {}  # id of a variant -> its values, as its parent lists them
        self._last: Cells | None = None
        self._inherited = (*self._text, *self._categories, *self._single.get("currency", ()))
        # Of several columns of photographs only the first is the variant's own.
        self._gallery = self._single.get("image", ())[1:] if self._mode == "shared" else ()
        self._varied = bool(self._options or self._mode == "listed") or not _VARIANT_ROLES.isdisjoint(self._single)
        simple = not (self._mode or self._varied) and len(self._text) == 1 and self._single.keys() <= _PLAIN_ROLES
        self._plain = plainly and simple and all(len(places) == 1 for places in self._single.values())
        self._places = [self._single.get(role, (-1,))[0] for role in ("id", "image", "price")]

    def at(self, role: str) -> tuple[int, ...]:
        """Return the places of a role's cells among those that are read."""
        return self._single.get(role, ())

    @property
    def needs_survey(self) -> bool:
        """True where rows lean on other rows, which may stand further down."""
        return self._mode in ("shared", "reference", "listed")

    def survey(self, cells: Cells) -> None:
        """Take note of a row as a parent of others."""
        if self._mode == "listed":
            self._survey_children(cells)
            return
        key = self._cell(cells, "parent")
        if self._mode == "reference":
            if key:
                self._referenced.add(key)
            elif self._is_of_parent_kind(cells) or not self._cell(cells, "price"):
                for at in self._single.get("id", ()):
                    if item_id := cleaned_id(cells[at] or ""):
                        self._parents.setdefault(item_id, cells)
                        self._parents.setdefault(f"id:{item_id}", cells)
        elif self._mode == "shared":
            self._survey_shared(cells, key)

    def _survey_shared(self, cells: Cells, key: str) -> None:
        """Take note of a row that shares a key with others, or whose own they have as theirs."""
        own_key = self._own_key(cells)
        if own_key and key in ("", own_key):
            if self._title(cells):
                self._parents[own_key] = cells  # rather than a variant that stands above it
        elif key:
            if self._title(cells):
                self._parents.setdefault(key, cells)
            if self._cell(cells, "price") or self._cell(cells, "sale_price"):
                self._referenced.add(key)
        variation = self._cell(cells, "variation")
        if key and variation and not _SEVERAL_VALUES.search(variation):
            self._with_variants.add(key)

    def _survey_children(self, cells: Cells) -> None:
        """Take note of the variants that a parent lists: sku=A,size=S|sku=B,size=M."""
        for child in self._cell(cells, "children").split("|"):
            pairs = [pair.partition("=") for pair in _PAIR.split(child)]
            values = tuple(value.strip() for name, _, value in pairs if name.strip() not in _CHILD_FIELDS)
            for name, _, value in pairs:
                if name.strip() == "sku":
                    self._parents.setdefault(value.strip(), cells)
                    self._listed.setdefault(value.strip(), values)

    def read(self, cells: Cells, line: int) -> Article | str:
        """Return the article that a row is, or the reason for passing it over."""
        if self._plain:
            return self._read_plainly(cells, line)
        parent = self._parent_of(cells)
        if reason := self._reason_to_pass(cells, parent):
            return reason
        if parent is not None and parent != cells:
            cells = self._with_inherited(cells, parent)
        values, several = self._variant(cells) if self._varied else ((), False)
        key = self._cell(cells, "parent")
        if not key and parent is not None and self._mode in ("above", "listed"):
            key = self.own_id(parent)
        elif not key and self._own_key(cells) in self._referenced:
            key = self._own_key(cells)
        price = self._price(cells)
        return Article(
            item_id=self._item_id(cells, key, values, line),
            text=self._words(cells, values),
            image=self._photograph(cells, parent),
            price=price,
            sale_price="" if price and self._is_not_on_sale(cells) else self._cell(cells, "sale_price"),
            currency=self._cell(cells, "currency"),
            date=self._cell(cells, "date"),
            parent=key,
            categories=self._further(cells, self._categories),
            numbers=self._further(cells, self._numbers),
            discount=(self._cell(cells, "discount_percent"), self._cell(cells, "discount_amount")),
            sale_days=self._sale_days(cells),
            several=several,
        )

    def _price(self, cells: Cells) -> str:
        """The cell of what is paid; of an auction a bid is less, unless it can be bought at once."""
        price = self._cell(cells, "price")
        if price and self._cell(cells, "selling_format").casefold() in AUCTIONS:
            return self._cell(cells, "buy_now") or f"from {price}"
        return price

    def _is_not_on_sale(self, cells: Cells) -> bool:
        return self._cell(cells, "on_sale").casefold() in NOT_ON_SALE

    def _sale_days(self, cells: Cells) -> tuple[str, str]:
        if interval := self._cell(cells, "sale_days"):
            start, _, end = interval.partition("/")
            return start.strip(), end.strip()
        return self._cell(cells, "sale_start"), self._cell(cells, "sale_end")

    def _read_plainly(self, cells: Cells, line: int) -> Article | str:
        """Read a row of a file whose rows stand by themselves, with one column for each of few roles."""
        id_at, image_at, price_at = self._places
        price = "" if price_at < 0 else (cells[price_at] or "").strip()
        if (not price or price == self._price_heading) and price_at >= 0 and (reason := self._kind_of_rest(cells)):
            return reason
        item_id = (cells[id_at] or "") if id_at >= 0 else ""
        return _new_article(
            (
                (item_id if item_id.isalnum() else cleaned_id(item_id)) or f"line-{line}",
                cells[self._text[0]] or "",
                "" if image_at < 0 else without_name((cells[image_at] or "").strip()),
                price,
                "",
                "",
                "",
                "",
                self._further(cells, self._categories) if self._categories else (),
                self._further(cells, self._numbers) if self._numbers else (),
                ("", ""),
                ("", ""),
                False,
            )
        )

    @staticmethod
    def _further(cells: Cells, places: tuple[int, ...]) -> tuple[str | None, ...]:
        return tuple([(cells[at] or "").strip() or None for at in places]) if places else ()

    def _cell(self, cells: Cells, role: str) -> str:
        """The first filled cell of a role."""
        for at in self._single.get(role, ()):
            if cell := (cells[at] or "").strip():
                return cell
        return ""

    def _own_key(self, cells: Cells) -> str:
        """The cell by which others name a row as their parent; "" in exports of shops."""
        return cleaned_id(self._cell(cells, "parent_key"))

    def _is_of_parent_kind(self, cells: Cells) -> bool:
        return self._cell(cells, "kind").casefold().partition(",")[0] in PARENT_KINDS

    def _parent_of(self, cells: Cells) -> Cells | None:
        if self._mode == "above":
            return self._last if self._cell(cells, "kind") or not self._title(cells) else None
        if self._mode == "listed":
            return self._parents.get(self.own_id(cells))
        key = self._cell(cells, "parent")
        return self._parents.get(key) if key and self._mode else None

    def _title(self, cells: Cells) -> str:
        return (cells[self._text[0]] or "").strip() if self._text else ""

    def _reason_to_pass(self, cells: Cells, parent: Cells | None) -> str:
        if self._cell(cells, "store_view"):
            return STORE_VIEW
        price = self._cell(cells, "price") or self._cell(cells, "sale_price")
        if self._mode == "above" and parent is None:
            self._last = cells
        if self._is_parent(cells, price, above=parent is not None):
            return PARENT
        if "price" not in self._single or (price and price != self._price_heading):
            return ""
        own_words = self._title(cells) or any((cells[at] or "").strip() for at, _ in self._options)
        if self._mode == "shared" and not own_words and self._cell(cells, "image"):
            return PHOTOGRAPH
        return self._kind_of_rest(cells)

    def _is_parent(self, cells: Cells, price: str, *, above: bool) -> bool:
        """Tell whether a row is not sold itself: it says so, or others stand below it and it has no size or price."""
        if self._is_of_parent_kind(cells):
            return True
        variation = self._cell(cells, "variation")
        several = bool(variation and _SEVERAL_VALUES.search(variation))
        if self._mode == "above":
            return not above and (several or (not price and bool(variation)))
        if self._mode == "shared" and "variation" in self._single:
            return (several or not variation) and self._cell(cells, "parent") in self._with_variants
        if self._own_key(cells) in self._referenced:  # as other rows name it, in a file of no known shop
            return not price and not self._cell(cells, "parent")
        return self._mode == "reference" and not price and "price" in self._single and self._is_referenced(cells)

    def _kind_of_rest(self, cells: Cells) -> str:
        """The reason to pass over a row without a price that may be no row of the table at all."""
        filled = [cell.strip() for cell in cells if cell and cell.strip()]
        if len(filled) == 1 and len(self.columns) > 2 and self._roles.priced:
            return SECTION
        return HEADER if len(filled) > 1 and all(cell in self._header for cell in filled) else ""

    def _is_referenced(self, cells: Cells) -> bool:
        ids = (cleaned_id(cells[at] or "") for at in self._single.get("id", ()))
        return any(item_id and {item_id, f"id:{item_id}"} & self._referenced for item_id in ids)

    def _with_inherited(self, cells: Cells, parent: Cells) -> Cells:
        filled = list(cells)
        for at in self._inherited:
            if not (filled[at] or "").strip():
                filled[at] = parent[at]
        return filled

    def _variant(self, cells: Cells) -> tuple[tuple[str, ...], bool]:
        """The values that tell a variant from its siblings, and whether the row stands for several variants."""
        values: list[str] = []
        variation = self._cell(cells, "variation")
        several = bool(variation and _SEVERAL_VALUES.search(variation))
        for at, heading in self._options:
            value = (cells[at] or "").strip()
            if heading.endswith("values") and "," in value:
                several = True
            elif value:
                values.append(value if OPTION.fullmatch(heading) else with_unit(value, heading))
        if variation and not several:
            values += [_NAME_OF_VALUE.sub("", part).strip() for part in _SPLIT_VARIATION.split(variation)]
        for pair in _PAIR.split(self._cell(cells, "attributes")):
            name, equals, value = pair.partition("=")
            if equals and normalised(name) in ATTRIBUTES:
                values.append(value.strip())
        values += self._listed.get(self.own_id(cells), ())
        values.append(self._cell(cells, "measure"))
        if (pack := self._pack(cells)) > 1:
            values.append(f"Pack of {pack}")
        return tuple(dict.fromkeys(value for value in values if value and value.casefold() not in NO_VARIANT)), several

    def _words(self, cells: Cells, values: tuple[str, ...]) -> str:
        """The text: a line of the title and what it does not say of the variant, then the further columns."""
        if not self._text:
            return ", ".join(values)
        title = (cells[self._text[0]] or "").strip()
        if not values and len(self._text) == 1:
            return cells[self._text[0]] or ""
        lines = []
        for at in self._text[1:]:
            cell = (cells[at] or "").strip()
            if at in self._beside_title and len(cell) <= LONGEST_VALUE and "\n" not in cell:
                values = (*values, with_unit(cell, self._beside_title[at]))
            elif cell and cell.casefold() not in title.casefold():
                lines.append(cell)
        measure = self._cell(cells, "measure")
        for value in values:
            if value and not is_said(value, title):
                words = f"total {value}" if value == measure and is_total(value, title, self._pack(cells)) else value
                title = f"{title}, {words}" if title else words
        return "\n".join([title, *lines] if title else lines)

    def _pack(self, cells: Cells) -> int:
        """The number in the column "multipack", 1 for none."""
        pack = self._cell(cells, "multipack")
        return int(pack) if pack.isdecimal() and len(pack) < 6 else 1

    def _photograph(self, cells: Cells, parent: Cells | None) -> str:
        image = self._cell(cells, "image")
        if self._gallery and parent is not None and parent != cells:
            own = (cells[self._single["image"][0]] or "").strip()
            image = own or self._cell(parent, "image") or image
        elif not image and parent is not None:
            image = self._cell(parent, "image")
        return without_name(image)

    def own_id(self, cells: Cells) -> str:
        """Return the id that a row itself has, "" for none."""
        for at in self._single.get("id", ()):
            if item_id := cleaned_id(cells[at] or ""):
                return item_id
        return ""

    def _item_id(self, cells: Cells, key: str, values: tuple[str, ...], line: int) -> str:
        if item_id := self.own_id(cells):
            return item_id
        if key and values:
            return f"{key}:{'/'.join(values)}"
        if key and self._roles.shop is not None and self._parents.get(key) == cells:
            return key  # the one row of an article that has no variants
        return f"line-{line}"


def cleaned_id(cell: str) -> str:
    """Return an id without what a spreadsheet needs around it: ="0012" and '0012 are 0012."""
    cell = cell.strip()
    if cell.startswith("=") and (formula := _FORMULA_ID.fullmatch(cell)):
        return formula[1].strip()
    return cell[1:] if cell.startswith("'") and cell[1:2].isalnum() else cell


def without_name(image: str) -> str:
    """Return a reference without what eBay writes before it: Size=20 Bags=https://..."""
    return _NAMED_PHOTOGRAPH.sub("", image, count=1) if "=" in image and image[:8].find("://") < 0 else image
