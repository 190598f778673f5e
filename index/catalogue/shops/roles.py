"""Roles of a file's columns: what each one is, and how that was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from index.catalogue.further import CATEGORY, NUMBER
from index.catalogue.shops.exports import Shop

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
    why: Mapping[str, str] = field(default_factory=dict)  # role, or role:heading of those LISTED -> how it was found

    @property
    def further(self) -> tuple[str, ...]:
        """The further columns of the items (`index.catalogue.further`), categories first."""
        places = [*((CATEGORY, at) for at in self.categories), *((NUMBER, at) for at in self.numbers)]
        return tuple(self.known_as.get(at, kind + self.header[at]) for kind, at in places)

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
