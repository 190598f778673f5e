"""Effects of an item's parts on its price: the item without each of them, and with twice the amount, beside the item.

Leaving a part out says what the whole answer owes to it: models, neighbours and correction together. Parts that say the
same thing twice cover for each other, so the changes need not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.serving.quote import Item, Quote
from index.catalogue.fields.variants import BRANDS, Parts

OPENING_WORDS = 3  # of a name, at most, where a brand stands
LEAST_SHARING = 3  # rows of the index whose names begin with these words
LONGEST = 80  # characters of what a part says
PHOTOGRAPH, OPENING = "photograph", "first words"


@dataclass(frozen=True)
class Variant:
    """An item that is changed in one part; None where neither words nor a photograph would be left."""

    part: str
    says: str  # what the part says in the item
    item: Item | None


@dataclass(frozen=True)
class Effect:
    """Price of a variant, and its change from the item's own price: -0.1 is 10 % less without the part."""

    part: str
    says: str
    price: float | None  # None where nothing would be left to price: no words, and no photograph that can be read
    change: float | None


@dataclass(frozen=True)
class Explanation:
    """A quote, its change without each part of the item, and with an amount twice as large."""

    quote: Quote
    parts: tuple[Effect, ...]
    twice: Effect | None  # None where the text states no amount, or in no way that can be changed

    def to_json(self) -> dict[str, Any]:
        """Plain values of all but the quote, for scripts."""
        return {"parts": [asdict(effect) for effect in self.parts], "twice": self.twice and asdict(self.twice)}


def variants_of(
    item: Item, text: str, shared: frozenset[str], begins: Callable[[str], int], *, photograph: bool
) -> tuple[list[Variant], Variant | None]:
    """The item without each of its parts, and with twice the amount where that can be said.

    `text` as the index reads the item's, `shared` its first lines that are no names. `begins`: how many names of the
    index begin with some words. `photograph`: whether the index looks at it.
    """
    parts = Parts(text, shared)
    left: list[tuple[str, str, str]] = []  # part, what it says, the text without it
    if parts.name:
        left.append(("name", parts.name, parts.without_name()))
    if parts.amount:
        left.append(("amount", parts.amount, parts.without_amount()))
    if opening := _opening(parts.name, begins):
        left.append((OPENING, opening, parts.without_words(opening)))
    left += [(label, words, parts.without_attribute(label)) for label, words in parts.attributes.items()]
    if parts.prose:
        left.append(("description", parts.prose, parts.without_prose()))
    photographed = photograph and bool((item.image or "").strip())
    variants = [
        Variant(part, _short(says), replace(item, text=without) if without.strip() or photographed else None)
        for part, says, without in left
    ]
    variants += _without_cells(item, parts, photograph=photographed and bool(text.strip()))
    if (more := parts.with_twice_the_amount()) is None:
        return variants, None
    return variants, Variant("twice the amount", parts.twice_the_amount, replace(item, text=more))


def explained(
    quote: Quote, prices: Iterable[float | None], variants: Sequence[Variant], twice: Variant | None
) -> Explanation:
    """Compare an item's quote with the price of each variant that has an item, the one with twice the amount last.

    A price is None where the variant cannot be priced.
    """
    prices = iter(prices)
    effects = [_effect(quote, variant, prices) for variant in variants]
    return Explanation(quote, tuple(effects), None if twice is None else _effect(quote, twice, prices))


def _effect(quote: Quote, variant: Variant, prices: Iterator[float | None]) -> Effect:
    price = None if variant.item is None else next(prices)
    return Effect(variant.part, variant.says, price, None if price is None else price / quote.price - 1)


def _without_cells(item: Item, parts: Parts, *, photograph: bool) -> Iterator[Variant]:
    """The item without its photograph and each of its further columns; a brand goes from the name, too."""
    if item.image and photograph:
        yield Variant(PHOTOGRAPH, _short(item.image), replace(item, image=None))
    for name, cell in item.further.items():
        if cell is not None and (says := str(cell).strip()):
            without = parts.without_words(says) if name.casefold() in BRANDS else ""
            left = replace(item, text=without or item.text, further={**item.further, name: None})
            yield Variant(name, _short(says), left)


def _opening(name: str, begins: Callable[[str], int]) -> str:
    """The first words of a name that others begin with, too: its brand, more often than not; "" where there are none.

    Words are taken in as long as at least half of the names go on with the next.
    """
    words, opening, before = name.split(), "", 0
    for count in range(1, min(OPENING_WORDS, len(words) - 1) + 1):
        sharing = begins(" ".join(words[:count]))
        if sharing < LEAST_SHARING or 2 * sharing < before:
            break
        opening, before = " ".join(words[:count]), sharing
    return opening


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
