"""Choice of the column that holds what is paid, among those that hold prices: by their headings, of no known shop."""

from collections.abc import Iterable

from index.catalogue.shops.headings import BEFORE_DISCOUNT, LIKELY, NOT_PAID, WITH_TAX, WITHOUT_TAX, WORDS


def likely_prices(names: Iterable[str]) -> list[str]:
    """Return the headings that hold a word of prices, what is paid first.

    A sale price is a role of its own, which a price stands beside; without one, or beside a cost, it is the price.
    """
    prices = sorted((name for name in names if LIKELY["price"].search(name)), key=_rank)
    sales = [name for name in prices if name in WORDS["sale_price"]]
    others = [name for name in prices if name not in sales]
    if others and (BEFORE_DISCOUNT.search(others[0]) or not NOT_PAID.search(others[0])):
        return others
    return [*sales, *others]


def says_with_tax(name: str) -> bool:
    """Tell whether a heading is of what is paid, and says that tax is in it."""
    return not any(_rank(name))


def may_be_paid(name: str) -> bool:
    """Tell whether a heading says neither that its prices are of another kind, nor that they are without tax."""
    return not (NOT_PAID.search(name) or WITHOUT_TAX.search(name))


def _rank(name: str) -> tuple[bool, bool]:
    """Reasons to put a heading behind others: it is not of what is paid, or does not say that tax is in it."""
    return bool(NOT_PAID.search(name)), not WITH_TAX.search(name) or bool(WITHOUT_TAX.search(name))
