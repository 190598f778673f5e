"""Roles of a file's columns: what each one is, and how that was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from index.catalogue.further import CATEGORY, NUMBER
from index.catalogue.shops.exports import Shop
from index.catalogue.shops.headings import IN_CENTS, NOT_PAID, WITHOUT_TAX, WORDS, normalised

LISTED = ("text", "option", "category", "number")  # roles of several columns


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
    known_as: Mapping[int, str] = field(default_factory=dict)  # place of a further column -> its name in an index
    left_out: tuple[int, ...] = ()  # numbers that follow the price as costs do: not read, and said so
    other_prices: tuple[int, ...] = ()  # columns that may hold what is paid, too: not read, and said so
    why: Mapping[str, str] = field(default_factory=dict)  # role, or role:heading of those LISTED -> how it was found

    @property
    def further(self) -> tuple[str, ...]:
        """The further columns of the items (`index.catalogue.further`), categories first."""
        places = [*((CATEGORY, at) for at in self.categories), *((NUMBER, at) for at in self.numbers)]
        return tuple(self.known_as.get(at, kind + self.header[at]) for kind, at in places)

    @property
    def price_notes(self) -> tuple[str, ...]:
        """Sentences on prices that may not be what is paid, by the heading of their column."""
        if not self.places("price"):
            return ()
        heading = self.header[self.places("price")[0]]
        name = normalised(heading)
        notes = []
        if WITHOUT_TAX.search(name):
            notes.append(f"The prices of {heading!r} are without tax.")
        if IN_CENTS.search(name):
            notes.append(
                f"The prices of {heading!r} are in cents by its name, and read as they stand, 100 times too high: "
                f"divide them by 100, or name another column with --price-column."
            )
        elif self._may_not_be_paid(name):
            notes.append(
                f"No column says what is paid: prices are read from {heading!r}, which may be a cost, a list price, "
                f"a bound or a price per unit. --price-column names another."
            )
        if self.other_prices:
            others = ", ".join(repr(self.header[at]) for at in self.other_prices)
            notes.append(f"What is paid is read from {heading!r}, not from {others}: --price-column names another.")
        return tuple(notes)

    def _may_not_be_paid(self, name: str) -> bool:
        """Tell whether a column of prices was taken for want of a better one."""
        if self.shop is not None or self.why.get("price") == "named" or self.places("sale_price"):
            return False
        return name not in (*WORDS["price"], *WORDS["sale_price"]) and NOT_PAID.search(name) is not None

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
        return {
            role: [self.header[at] for at in places] if role in LISTED else self.header[places[0]]
            for role, places in roles.items()
            if places
        }
