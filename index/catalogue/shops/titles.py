"""Title of an article: what it says already, and how the values of other columns are said behind it."""

from index.catalogue.shops.headings import OPTION_WORDS
from index.catalogue.units import NONE, read_quantity


def with_unit(value: str, heading: str) -> str:
    """Return a bare number with its heading: 12 in a column "count" is 12 count."""
    return f"{value} {heading}" if heading in OPTION_WORDS and value.replace(".", "", 1).isdigit() else value


def is_said(value: str, title: str) -> bool:
    """Tell whether a title holds a value, and not as a part of another word or number: 10 oz is not in 110 oz."""
    folded, part = title.casefold(), value.casefold()
    at = folded.find(part)
    while at >= 0:
        before, after = folded[at - 1 : at] if at else "", folded[at + len(part) : at + len(part) + 1]
        if not (before.isalnum() and part[0].isalnum()) and not (after.isalnum() and part[-1].isalnum()):
            return True
        at = folded.find(part, at + 1)
    return False


def is_total(measure: str, title: str, pack: int) -> bool:
    """Tell whether a measure is that of several, of which the title says no size: it is not to be multiplied."""
    named, stated = read_quantity(title), read_quantity(measure)
    if stated.amount is None or named.unit not in (NONE, "count"):  # the title's own size counts
        return False
    several = max(named.amount or 1, pack)
    if stated.unit == "count":
        return named.amount in (None, named.pack) and 1 < several <= stated.amount
    return several > 1
