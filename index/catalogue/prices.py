"""Prices in the cells of a file: which are amounts of money, and why others are not."""

import re

from index.visible import excerpt

LOWEST_PRICE, HIGHEST_PRICE = 1e-6, 1e12  # what is outside is a slip, and float32 would lose it

_NUMBER = re.compile(r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:e[+-]?\d{1,9})?", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"(\d{1,20}),(\d{1,2})", re.ASCII)  # "12,50"; "1,299" could be either and is refused
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


def read_price(cell: str | None) -> float:
    """Read a price in money. Raises `ValueError` with the reason for one that cannot be a price."""
    written = (cell or "").strip()
    if not written:
        raise ValueError("no price")
    if _NOT_FINITE.fullmatch(written):
        raise ValueError(f"price is not finite: {written}")
    if comma := _DECIMAL_COMMA.fullmatch(written):
        written = f"{comma[1]}.{comma[2]}"
    if not _NUMBER.fullmatch(written):
        raise ValueError(f"price is not a plain number: {excerpt(written)}")
    price = float(written)
    if price <= 0:
        raise ValueError(f"price is not positive: {excerpt(written)}")
    if not LOWEST_PRICE <= price <= HIGHEST_PRICE:
        raise ValueError(f"price is beyond {LOWEST_PRICE:g} to {HIGHEST_PRICE:g}: {excerpt(written)}")
    return price
