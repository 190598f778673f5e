"""Search for the columns of a file: which is what, by the names that a user gives, the headings and the values."""

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from index.catalogue.further import CATEGORY, NUMBER
from index.catalogue.money.currencies import CODES
from index.catalogue.settings import IndexColumns, ReadSettings
from index.catalogue.shops import values
from index.catalogue.shops.exports import SHOPS, Shop
from index.catalogue.shops.headings import (
    CATEGORY_WORDS,
    LIKELY,
    NO_FEATURE,
    OPTION,
    OPTION_WORDS,
    SHOP_ROLES,
    WITHOUT_TAX,
    WORDS,
    normalised,
)
from index.catalogue.shops.paid import likely_prices, may_be_paid, says_with_tax
from index.catalogue.shops.roles import Roles
from index.errors import DataRefused

LEAST_FILLED = 0.05  # share of a sample's rows in which a column is filled that nobody named
MOST_FURTHER = 40  # categories, and numbers, taken unasked
TEXT_ROLES = ("title", "description", "summary")
SEVERAL = ("id", "image", "parent", "price", "currency")  # roles for which a shop has several columns


def find_roles(
    path: Path,
    header: Sequence[str],
    sample: Sequence[Sequence[str | None]],
    settings: ReadSettings,
    *,
    priced: bool,
    index: IndexColumns | None = None,
) -> Roles:
    """Return what each column is. `sample` holds cells of the first rows, as long as the header.

    Raises DataRefused for a column that is named, or that `index` reads, and not there, for two of one name that is
    needed, and where no column of words, or with `priced` of prices, can be found.
    """
    return _Finder(path, header, sample, settings, index).roles(priced=priced)


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
        self,
        path: Path,
        header: Sequence[str],
        sample: Sequence[Sequence[str | None]],
        settings: ReadSettings,
        index: IndexColumns | None = None,
    ) -> None:
        self._path = path
        self._header = tuple(name.strip() for name in header)
        self._sample = sample
        self._index = index
        self._settings = settings if index is None else self._as_built(settings, index)
        self._shop = shop_of(header)
        self._why: dict[str, str] = {}
        ignored = {self._named(name, "ignore") for name in settings.ignore if not self._may_lack(name)}
        self._places: dict[str, int] = {}  # normalised heading -> the first column of that name
        for at, name in enumerate(self._header):
            if at not in ignored:
                self._places.setdefault(normalised(name), at)

    def roles(self, *, priced: bool) -> Roles:
        """Return what each column is."""
        settings = self._settings
        single = {role: self.single(role) for role in (*WORDS, *SHOP_ROLES) if role not in TEXT_ROLES}
        if single["sale_price"] == single["price"]:  # for want of another
            single["sale_price"] = ()
        if not single["sale_price"]:
            single["on_sale"] = ()
        taken = {at for role in ("id", "price", "image", "sale_price") for at in single[role][:1]}
        text = self._text(taken)
        if not text:
            raise DataRefused(self.nothing_for("text"))
        if priced and not single["price"]:
            raise DataRefused(self.nothing_for("price"))
        if single["id"] and single["id"][0] == text[0] and settings.id is None:
            single["id"] = single["id"][1:]
        single["parent"] = self._parent(single)
        single["parent_key"] = self._parent_key(single)
        taken = {at for places in single.values() for at in places} | set(text)
        options = tuple(at for at in self._options() if at not in taken)
        self._tell("option", options, self._heading_of())
        taken |= set(options)
        taken -= self._variants_of_a_shop(options)
        categories, numbers, left_out = self._further(taken, single["price"]) if self._index is None else ((), (), ())
        known_as = {} if self._index is None else self._index_columns(self._index.further)
        return Roles(
            header=self._header,
            shop=self._shop,
            text=text,
            single={role: places for role, places in single.items() if places},
            options=options,
            categories=categories + tuple(at for at, name in known_as.items() if name.startswith(CATEGORY)),
            numbers=numbers + tuple(at for at, name in known_as.items() if name.startswith(NUMBER)),
            known_as=known_as,
            priced=any(2 * len(self._cells(at)) > len(self._sample) for at in single["price"]),
            left_out=left_out,
            other_prices=self._other_prices(taken),
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
        raise DataRefused(
            f"{self._path} has no column {given!r} for the {role.replace('_', ' ')}{suggestion} Its columns are: "
            f"{', '.join(names[:20])}. Name the right one with --{role.replace('_', '-')}-column."
        )

    def _heading_of(self) -> str:
        return f"{self._shop.name}'s heading" if self._shop else "its heading"

    def _tell(self, role: str, places: Iterable[int], why: str) -> None:
        for at in places:
            self._why[f"{role}:{self._header[at]}"] = why

    def _words(self, role: str) -> tuple[int, ...]:
        """The places of a role's headings, the shop's own words first."""
        own = self._shop.columns.get(role, "").split("|") if self._shop else []
        words: Sequence[str] = OPTION_WORDS if role == "option" else WORDS.get(role, ())
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
        why = self._heading_of()
        if role == "price" and self._shop is None:
            places, why = self._paid(places), "its heading"
        elif not places and self._shop is None:
            places, why = self._likely(role)
        if places:
            self._why[role] = why
            self._refuse_doubled(places[0])
        return places if role in SEVERAL and self._shop is not None else places[:1]

    def _likely(self, role: str) -> tuple[tuple[int, ...], str]:
        """The column whose heading holds a word of a role, or whose cells look like it; and why."""
        pattern = LIKELY.get(role)
        if pattern is None:
            return (), ""
        places = [at for name, at in self._places.items() if pattern.search(name)]
        if role == "id":
            places = [at for at in places if self._cells(at) and len(set(self._cells(at))) == len(self._cells(at))]
            if not places and (codes := [at for at in self._words("title") if values.are_codes(self._cells(at))]):
                return (codes[0],), "its values"
        if role == "currency":
            places = [at for at in places if self._cells(at) and CODES.issuperset(self._cells(at))]
            return tuple(places) if len(places) == 1 else (), "its heading"
        if role == "title":
            no_title = {*CATEGORY_WORDS, *WORDS["summary"], *WORDS["parent"]}
            places = [at for at in places if normalised(self._header[at]) not in no_title]
            return tuple(places), "its heading"
        if role == "image":
            places = [at for at in places or self._places.values() if values.are_photographs(self._cells(at))]
            return tuple(places[:1]), "its values"
        return tuple(places[:1]), "its heading"

    def _paid(self, known: tuple[int, ...]) -> tuple[int, ...]:
        """The columns of prices of a file of no known shop, what is paid first; `known` have a heading of prices."""
        likely = self._likely_prices()
        if known and WITHOUT_TAX.search(normalised(self._header[known[0]])):
            return (*(at for at in (*known, *likely) if says_with_tax(normalised(self._header[at]))), *known)
        return known or tuple(likely)

    def _likely_prices(self) -> list[int]:
        filled = [name for name, at in self._places.items() if self._filled(at)]
        return [self._places[name] for name in likely_prices(filled) or likely_prices(self._places)]

    def _other_prices(self, taken: Set[int]) -> tuple[int, ...]:
        """The columns that are not read, and might hold what is paid as well as the one that is."""
        if self._shop is not None or isinstance(self._settings.price, str):
            return ()
        places = [at for at in self._likely_prices() if at not in taken and may_be_paid(normalised(self._header[at]))]
        return tuple(at for at in places if values.are_amounts(self._cells(at)))

    def _refuse_doubled(self, at: int) -> None:
        name = self._header[at]
        if self._header.count(name) > 1:
            raise DataRefused(f"{self._path} has more than one column {name!r}: rename all but one.")

    def _text(self, taken: Set[int]) -> tuple[int, ...]:
        given = self._settings.text
        if given is not None:
            self._why["text"] = "named"
            return tuple(dict.fromkeys(self._named(name, "text") for name in given if name.strip()))
        titles, why = self._words("title"), self._heading_of()
        title = tuple(at for at in titles if self._shop or not values.are_codes(self._cells(at)))[:1]
        if title and normalised(self._header[title[0]]) == "catalog content":
            self._why["text"] = why
            return title
        description = self._words("description")[:1]
        if not title and self._shop is None:
            title = self._most_words([at for at in self._likely("title")[0] if at not in taken], least=1)
        if not title and not description:
            others = [at for at in self._places.values() if at not in taken]
            title, why = self._most_words(others, least=2), "it has the most words"
            title, why = (title, why) if title else (titles[:1], self._heading_of())  # numbers, for want of words
        if title or description:
            self._why["text"] = why
            self._refuse_doubled((*title, *description)[0])
        return tuple(dict.fromkeys([*title, *self._words("summary")[:1], *description]))

    def _most_words(self, places: Iterable[int], *, least: float) -> tuple[int, ...]:
        """The column with the most words, links aside; () where none has as many a row, or there is no sample."""
        words = {at: sum(len(cell.split()) for cell in self._cells(at) if "://" not in cell) for at in places}
        most = max(words, key=lambda at: words[at], default=None)
        return () if most is None or words[most] < least * max(1, len(self._sample)) else (most,)

    def _parent(self, single: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The column of parents: of a shop that has them, or of a file whose key is filled on several rows each."""
        places = single["parent"]
        if self._shop is not None:
            return places if self._shop.parent in ("shared", "reference") else ()
        return tuple(at for at in places if at not in single["id"][:1])

    def _parent_key(self, single: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The column by which a file of no known shop names parents: of "parent sku" it is "sku", else that of ids."""
        if self._shop is not None or not single["parent"]:
            return ()
        at = self._places.get(normalised(self._header[single["parent"][0]]).removeprefix("parent "))
        return single["id"] if at is None or at in single["parent"] else (at,)

    def _options(self) -> list[int]:
        """Columns of sizes and their like; none where the user names the words of a file that is no shop's."""
        numbered = [at for name, at in self._places.items() if OPTION.fullmatch(name)]
        if self._settings.text is not None and self._shop is None:
            return numbered
        return numbered or [at for at in self._words("option") if self._filled(at)]

    def _variants_of_a_shop(self, options: Sequence[int]) -> set[int]:
        """Options that are categories as well, as the shop has them: a colour."""
        if self._shop is None:
            return set()
        return {at for at in options if normalised(self._header[at]) in self._shop.categories.split("|")}

    def _further(
        self, taken: Set[int], price: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Categories and numbers, named ones first, then by headings or values; and numbers that follow the price."""
        found: dict[str, list[int]] = {"category": [], "number": []}
        for role, listed in found.items():
            listed.extend(dict.fromkeys(self._named(name, role) for name in getattr(self._settings, role)))
            self._tell(role, listed, "named")
        taken = taken | set(found["category"]) | set(found["number"])
        named = {role: len(places) for role, places in found.items()}
        left_out = []
        for name, at in self._places.items():
            if at in taken or not name or not self._filled(at):
                continue
            role, why = self._feature(name, at)
            if role == "number" and why == "its values" and self._follows_price(at, price):
                left_out.append(at)
            elif role and len(found[role]) < named[role] + MOST_FURTHER:
                found[role].append(at)
                self._tell(role, [at], why)
        return tuple(found["category"]), tuple(found["number"]), tuple(left_out)

    def _as_built(self, settings: ReadSettings, index: IndexColumns) -> ReadSettings:
        """`settings`, with the columns that the builder of an index named where they name none.

        The words and the photograph must be there, as the index reads them; others are found where they are not.
        """
        ignored, names = set(map(normalised, settings.ignore)), set(map(normalised, self._header))
        changes: dict[str, Any] = {}
        if settings.text is None and index.named.text is not None:
            changes["text"] = tuple(name for name in index.named.text if normalised(name) not in ignored) or None
        for role in ("id", "image", "price", "sale_price", "currency_column", "date"):
            name = getattr(index.named, role)
            if name is None or getattr(settings, role) is not None or normalised(name) in ignored:
                continue
            if role == "image" or normalised(name) in names:
                changes[role] = name
        return replace(settings, **changes)

    def _may_lack(self, name: str) -> bool:
        """Tell whether a column that the user leaves unread need not be there: an index reads one of its name."""
        if self._index is None or normalised(name) in map(normalised, self._header):
            return False
        named = self._index.named
        read = [*(named.text or ()), named.image or "", *(column.partition(":")[2] for column in self._index.further)]
        return normalised(name) in map(normalised, read)

    def _index_columns(self, further: Sequence[str]) -> dict[int, str]:
        """Place -> name of the index's further columns. Raises DataRefused for those that the file lacks."""
        ignored = set(map(normalised, self._settings.ignore))
        known: dict[int, str] = {}
        lacking = []
        for column in further:
            name = column.partition(":")[2]
            if normalised(name) in ignored:
                continue
            if name in self._header:
                known[self._named(name, column.partition(":")[0])] = column
            elif (at := self._places.get(normalised(name))) is not None:
                known[at] = column
            else:
                lacking.append(name)
        if not lacking:
            return known
        leave = " ".join(f"--ignore-column {shlex.quote(name)}" for name in lacking)
        raise DataRefused(
            f"{self._path} lacks what the index reads of every item: {', '.join(map(repr, lacking))}. Add "
            f"{'the columns' if len(lacking) > 1 else 'the column'}, or leave that unknown with {leave}."
        )

    def _feature(self, name: str, at: int) -> tuple[str, str]:
        """The role of a further column and why it has it, "" for none."""
        cells = self._cells(at)
        if self._shop is not None:
            if name in self._shop.categories.split("|"):
                return "category", self._heading_of()
            numeric = name in self._shop.numbers.split("|") and values.are_numbers(cells)
            return ("number", self._heading_of()) if numeric else ("", "")
        if name in CATEGORY_WORDS:
            return "category", "its heading"
        if NO_FEATURE.search(name):
            return "", ""
        if values.are_numbers(cells):
            return "number", "its values"
        return ("category", "its values") if values.are_kinds(cells) else ("", "")

    def _follows_price(self, at: int, price: Sequence[int]) -> bool:
        pairs = [(row[at] or "", row[price[0]] or "") for row in self._sample] if price else []
        return values.follow_the_price(pairs)

    def _cells(self, at: int) -> list[str]:
        return [cell for row in self._sample if at < len(row) and (cell := (row[at] or "").strip())]

    def _filled(self, at: int) -> bool:
        return len(self._cells(at)) > LEAST_FILLED * len(self._sample)

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
