"""Roles of a file's columns: which one is what, by the names that a user gives, the headings and the values."""

import difflib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from index.catalogue.settings import ReadSettings
from index.catalogue.shops.exports import SHOPS, Shop
from index.catalogue.shops.headings import (
    CATEGORY_WORDS,
    NO_FEATURE,
    OPTION,
    OPTION_WORDS,
    SHOP_ROLES,
    WORDS,
    normalised,
)
from index.errors import DataRefused

# Shares of a sample's filled cells from which a column that nobody named is taken for a category or a number.
LEAST_FILLED = 0.05
MOST_DISTINCT = 0.2  # of a category: more are names
LONGEST_CATEGORY = 60  # characters, on average
LEAST_NUMERIC = 0.98
HIGHEST_NUMBER = 1e30
MOST_FURTHER = 40  # categories, and numbers, taken unasked
TEXT_ROLES = ("title", "description", "summary")


@dataclass(frozen=True)
class Roles:
    """Columns of one file by what they are. Places in its header; several where the first filled one counts."""

    header: tuple[str, ...]
    shop: Shop | None
    text: tuple[int, ...]  # the first is the title
    single: Mapping[str, tuple[int, ...]]  # every role of one value: id, image, price, sale_price, currency, date, ...
    options: tuple[int, ...]  # values that tell variants apart
    categories: tuple[int, ...]
    numbers: tuple[int, ...]
    priced: bool = True  # most rows have a price
    why: Mapping[str, str] = field(default_factory=dict)  # role -> how it was found

    def places(self, role: str) -> tuple[int, ...]:
        """Return the places of a role, in the order in which they count; () where the file has none."""
        return self.text if role == "text" else self.single.get(role, ())

    def named(self) -> dict[str, str | list[str]]:
        """Return the heading, or the headings, of every role that the file has."""
        roles: dict[str, tuple[int, ...]] = {
            **{role: places[:1] for role, places in self.single.items()},
            "text": self.text,
            "option": self.options,
            "category": self.categories,
            "number": self.numbers,
        }
        lists = ("text", "option", "category", "number")
        return {
            role: [self.header[at] for at in places] if role in lists else self.header[places[0]]
            for role, places in roles.items()
            if places
        }


def find_roles(
    path: Path, header: Sequence[str], sample: Sequence[Sequence[str | None]], settings: ReadSettings, *, priced: bool
) -> Roles:
    """Return what each column is. `sample` holds cells of the first rows, as long as the header.

    Raises DataRefused for a column that is named and not there, for two of one name that is needed, and where no
    column of words, or with `priced` of prices, can be found.
    """
    return _Finder(path, header, sample, settings).roles(priced=priced)


def find_column(path: Path, header: Sequence[str], role: str, name: str | None) -> int:
    """Return the place of the column `name`, or of the first that has a heading of the role. Raises DataRefused."""
    finder = _Finder(path, header, (), ReadSettings(id=name) if role == "id" else ReadSettings())
    places = finder.single(role)
    if not places:
        raise DataRefused(finder.nothing_for(role))
    return places[0]


def shop_of(header: Iterable[str]) -> Shop | None:
    """Return the shop whose export has these headings, None for a file of no known shop."""
    names = {normalised(name) for name in header}
    for shop in SHOPS:
        if any(_has(names, signature) for signature in shop.signatures):
            return shop
    return None


def _has(names: Set[str], signature: str) -> bool:
    return all(not names.isdisjoint(words.split("/")) for words in signature.split("|"))


class _Finder:
    """The search for the columns of one file."""

    def __init__(
        self, path: Path, header: Sequence[str], sample: Sequence[Sequence[str | None]], settings: ReadSettings
    ) -> None:
        self._path = path
        self._header = tuple(name.strip() for name in header)
        self._sample = sample
        self._settings = settings
        self._shop = shop_of(header)
        self._why: dict[str, str] = {}
        ignored = {self._named(name, "ignore") for name in settings.ignore}
        self._places: dict[str, int] = {}  # normalised heading -> the first column of that name
        for at, name in enumerate(self._header):
            if at not in ignored:
                self._places.setdefault(normalised(name), at)

    def roles(self, *, priced: bool) -> Roles:
        """Return what each column is."""
        settings = self._settings
        single = {role: self.single(role) for role in (*WORDS, *SHOP_ROLES) if role not in TEXT_ROLES}
        text = self._text()
        if not text:
            raise DataRefused(self.nothing_for("text"))
        if priced and not single["price"]:
            raise DataRefused(self.nothing_for("price"))
        if single["id"] and single["id"][0] == text[0] and settings.id is None:
            single["id"] = single["id"][1:]
        single["parent"] = self._parent(single)
        taken = {at for places in single.values() for at in places} | set(text)
        options = tuple(at for at in self._options() if at not in taken)
        taken |= set(options) - set(self._words("option"))
        categories = tuple(dict.fromkeys([self._named(name, "category") for name in settings.category]))
        numbers = tuple(dict.fromkeys([self._named(name, "number") for name in settings.number]))
        taken |= set(categories) | set(numbers)
        found_categories, found_numbers = self._further(taken, options)
        return Roles(
            header=self._header,
            shop=self._shop,
            text=text,
            single={role: places for role, places in single.items() if places},
            options=options,
            categories=categories + found_categories,
            numbers=numbers + found_numbers,
            priced=any(2 * len(self._cells(at)) > len(self._sample) for at in single["price"]),
            why=self._why,
        )

    def _named(self, name: str, role: str) -> int:
        """The place of a column that the user names."""
        names = [heading.strip() for heading in self._header]
        given = name.strip()
        if names.count(given) > 1:
            raise DataRefused(f"{self._path} has more than one column {given!r}: rename all but one.")
        if given in names:
            return names.index(given)
        same = [at for at, heading in enumerate(names) if normalised(heading) == normalised(given)]
        if len(same) == 1:
            return same[0]
        near = difflib.get_close_matches(given.casefold(), {heading.casefold(): heading for heading in names}, n=1)
        suggestion = f": did you mean {next(h for h in names if h.casefold() == near[0])!r}?" if near else "."
        option = role.replace("_", "-")
        raise DataRefused(
            f"{self._path} has no column {given!r} for the {role.replace('_', ' ')}{suggestion} Its columns are: "
            f"{', '.join(names[:20])}. Name the right one with --{option}{'' if role == 'ignore' else '-column'}."
        )

    def _words(self, role: str) -> tuple[int, ...]:
        """The places of a role's headings, the shop's own words first."""
        own = self._shop.columns.get(role, "").split("|") if self._shop else []
        if role == "option":
            words: Sequence[str] = OPTION_WORDS
        else:
            words = WORDS.get(role, ())
        chosen = [word for word in own if word] or words
        return tuple(dict.fromkeys(self._places[word] for word in chosen if word in self._places))

    def single(self, role: str) -> tuple[int, ...]:
        """Return the places of a role of one value."""
        given = getattr(self._settings, "currency_column" if role == "currency" else role, None)
        if isinstance(given, str):
            self._why[role] = "named"
            return (self._named(given, role),)
        places = self._words(role)
        if role in ("price", "image", "date") and self._sample:
            places = tuple(at for at in places if self._filled(at)) or places
        if not places and role == "price":
            sale = set(WORDS["sale_price"])
            places = tuple(at for name, at in self._places.items() if _ends_like(name, "price") and name not in sale)[
                :1
            ]
        if places:
            self._why[role] = f"a heading of {self._shop.name}" if self._shop else "its heading"
            self._refuse_doubled(places[0])
        several = role in ("id", "image", "parent", "price", "currency") and self._shop is not None
        return places if several else places[:1]

    def _refuse_doubled(self, at: int) -> None:
        name = self._header[at]
        if self._header.count(name) > 1:
            raise DataRefused(f"{self._path} has more than one column {name!r}: rename all but one.")

    def _text(self) -> tuple[int, ...]:
        given = self._settings.text
        if given is not None:
            self._why["text"] = "named"
            return tuple(dict.fromkeys(self._named(name, "text") for name in given if name.strip()))
        title = self._words("title")[:1]
        if title and normalised(self._header[title[0]]) == "catalog content":
            self._why["text"] = "its heading"
            return title
        if not title:
            title = self._words("description")[:1] or self._wordiest()
        if title:
            self._why.setdefault("text", f"a heading of {self._shop.name}" if self._shop else "its heading")
            self._refuse_doubled(title[0])
        further = [*self._words("summary")[:1], *self._words("description")[:1]]
        return tuple(dict.fromkeys([*title, *further]))

    def _wordiest(self) -> tuple[int, ...]:
        """The column with the most words, of those without links and numbers; () where there is no sample."""
        lengths = {
            at: sum(len(cell.split()) for cell in self._cells(at) if "://" not in cell)
            for at in self._places.values()
            if normalised(self._header[at]) not in set(WORDS["id"]) | set(WORDS["image"]) | set(WORDS["price"])
        }
        most = max(lengths, key=lambda at: lengths[at], default=None)
        if most is None or lengths[most] < 2 * len(self._sample):
            return ()
        self._why["text"] = "it has the most words"
        return (most,)

    def _parent(self, single: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The column of parents: of a shop that has them, or of a file whose key is filled on several rows each."""
        places = single["parent"]
        if self._shop is not None:
            return places if self._shop.parent in ("shared", "reference") else ()
        return tuple(at for at in places if at not in single["id"][:1])

    def _options(self) -> list[int]:
        numbered = [at for name, at in self._places.items() if OPTION.fullmatch(name)]
        return numbered or (list(self._words("option")) if self._shop or self._words("parent") else [])

    def _further(self, taken: set[int], options: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Categories and numbers that nobody named: by the shop's headings, or by headings and values."""
        categories: list[int] = []
        numbers: list[int] = []
        for name, at in self._places.items():
            if at in taken or not name:
                continue
            if self._shop is not None:
                if name in self._shop.categories.split("|") and self._filled(at):
                    categories.append(at)
                elif name in self._shop.numbers.split("|") and self._is_numeric(at):
                    numbers.append(at)
            elif name in CATEGORY_WORDS and self._filled(at):
                categories.append(at)
            elif not NO_FEATURE.search(name) and self._filled(at) and at not in options:
                if self._is_numeric(at):
                    numbers.append(at)
                elif self._is_category(at):
                    categories.append(at)
        return tuple(categories[:MOST_FURTHER]), tuple(numbers[:MOST_FURTHER])

    def _cells(self, at: int) -> list[str]:
        return [cell for row in self._sample if at < len(row) and (cell := (row[at] or "").strip())]

    def _filled(self, at: int) -> bool:
        return len(self._cells(at)) > LEAST_FILLED * len(self._sample)

    def _is_numeric(self, at: int) -> bool:
        cells = self._cells(at)
        numeric = sum(read_number(cell) is not None for cell in cells)
        return bool(cells) and numeric >= LEAST_NUMERIC * len(cells) and len(set(cells)) > 1

    def _is_category(self, at: int) -> bool:
        cells = self._cells(at)
        distinct = len(set(cells))
        short = sum(map(len, cells)) <= LONGEST_CATEGORY * len(cells)
        return 1 < distinct <= max(2, MOST_DISTINCT * len(cells)) and short and "://" not in cells[0]

    def nothing_for(self, role: str) -> str:
        """Return the sentence that refuses a file without a column for a role."""
        usual = {"text": "catalog_content", "price": "price", "id": "sample_id"}[role]
        names = [name for name in self._header if name]
        near = difflib.get_close_matches(usual, [name.casefold() for name in names], n=1)
        suggestion = f": did you mean {next(n for n in names if n.casefold() == near[0])!r}?" if near else "."
        return (
            f"{self._path} has no column {usual!r} for the {role}, nor one that looks like it{suggestion} Its columns "
            f"are: {', '.join(names[:20])}. Name the right one with --{role}-column."
        )


def read_number(cell: str) -> float | None:
    """Return the number in a cell, with a point or a comma for decimals; None for what is no number."""
    try:
        value = float(cell.strip().replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < HIGHEST_NUMBER else None


def _ends_like(name: str, word: str) -> bool:
    """Tell whether a heading of several words is of a kind: "net price eur" is a price, "price list" is not."""
    words = name.split()
    return (word in words and words[0] != word) or (words[:1] == [word] and len(words) <= 2)
