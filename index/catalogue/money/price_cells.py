"""Grammar of a price in a cell: its number, its currency, and the names of what is no price.

Knows one cell and no column: which of "." and "," is the decimal sign is decided in `prices.py`. No pattern can take
more than linear time, and no more than `CELL_LIMIT` characters are read.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from index.catalogue.money.currencies import codes_of
from index.visible import excerpt

CELL_LIMIT = 100  # characters; what is longer is no price

_ZEROS = "٠۰०০੦૦୦௦౦೦൦๐໐༠၀０"  # of scripts that have ten digits in a row
_BLANKS = "\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_INVISIBLE = (
    "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_PLAIN = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width ASCII
    **{ord(zero) + digit: str(digit) for zero in _ZEROS for digit in range(10)},
    **dict.fromkeys(map(ord, _BLANKS), " "),
    **dict.fromkeys(map(ord, _INVISIBLE), ""),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣"), "-"),
    **dict.fromkeys(map(ord, "’‘‛ʼʹ´`′٬"), "'"),  # always between thousands; the last is Arabic's sign for them
    **dict.fromkeys(map(ord, "٫·"), "·"),  # always a decimal sign: Arabic's, and Britain's old one
    **{ord("،"): ",", ord("〜"): "~", ord("～"): "~", ord("￥"): "¥", ord("￡"): "£", ord("￠"): "¢"},
}
_ODD = re.compile(f"[{re.escape(''.join(map(chr, _PLAIN)))}]")

# A sign before the first digit is a decimal sign, but after letters it ends them: "$.99", "Rs.499".
_NUMBER = r"(?:(?<![^\W\d_])[.,·])?[0-9]++(?:[.,'· _][0-9]++)*+"
_CELL = re.compile(rf"([^0-9]*?)({_NUMBER})([^0-9]*)")
_NUMBERS = re.compile(_NUMBER)
_EXPONENT = re.compile(r"\+?[0-9]++(?:[.,][0-9]++)?e[+-]?[0-9]{1,9}", re.IGNORECASE)
_NO_CENTS = re.compile(r"([.,]) ?(?:-{1,2}|=)|/[-=]|:-{1,2}")  # "12,-", "12.--", "499/-", "99:-"
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)

_PLACEHOLDER = re.compile(r"[-_.?*/=#]+|#(?:n/a|value!|ref!|div/0!|name\?|null!|num!)")


def _words(listed: str) -> str:
    """Make a pattern of whole words. Beside digits, and in Chinese and Japanese, a word needs no blank at its ends."""
    return rf"(?<![^\W\d_一-龯])(?:{listed})(?![^\W\d_一-龯])"


def _compiled(patterns: dict[str, str]) -> dict[str, re.Pattern[str]]:
    return {reason: re.compile(pattern) for reason, pattern in patterns.items()}


# Reason -> pattern that a cell in lower case shows, in the order of trial: without a number, with any, with one.
_WITHOUT_NUMBER = _compiled(
    {
        "price is free": _words("free|gratis|kostenlos|umsonst|gratuit|gratuito|grátis|offert|бесплатно|免费|無料"),
        "item is sold out": _words(
            "sold|soldout|out of stock|unavailable|not available|discontinued|ausverkauft|vergriffen|nicht verfügbar|"
            "épuisé|agotado|esgotado|esaurito|uitverkocht|slutsåld"
        ),
        "price varies": _words("variable|varies|various|variabel|variiert|vary|multiple|diverse|variável|wechselnd"),
        "price is on request": _words(
            "call|request|anfrage|demande|devis|quote|inquire|enquire|contact|poa|por|consultar|consulta|richiesta|"
            "aanvraag|ask|anrufen|面议"
        ),
        "price is not given": _words(
            r"n/?a|n\.a|tb[adc]|none|null|nil|unknown|missing|pending|coming soon|k\.? ?a|not set|undefined|"
            "unbekannt|no price|ohne preis"
        ),
    }
)
_WITH_NUMBERS = _compiled(
    {
        "price is a percentage": "%",
        "price is for a unit": r"/\s*(?:[0-9]+(?:[.,][0-9]+)?\s*)?[^\W\d_]|"
        + _words(r"per|pro|je|each|ea|apiece|pp|pcs?|stk|stück|pièce|le kilo|cada|jede|jeweils|p\.? ?p"),
    }
)
_WITH_ONE_NUMBER = _compiled(
    {
        "price is a lower bound": r"^\s*[>≥]|[0-9]\W{0,3}\+|から|より|起|"
        + _words(
            "from|starting|starts|ab|as low as|min|minimum|at least|mindestens|dès|à partir|a partir|desde|vanaf|från|"
            "fra|od|от|and up|or more|da"
        ),
        "price is an upper bound": r"^\s*[<≤]|(?<!\w)jusqu|"
        + _words("up to|max|maximum|at most|bis|höchstens|under|below|less than|hasta|до|do"),
        "price is an approximation": "[~≈±]|"
        + _words("ca|circa|about|approx|approximately|etwa|environ|around|ungefähr|est|estimated"),
        "price is in cents or pence": r"[0-9]\s*" + _words("¢|cts?|cents?|c|p|pence|penny"),
    }
)
_BETWEEN = re.compile(r"-|~|…|\.\.|→|" + _words("to|bis|à|do|tot|til|till|until|hasta|až|thru|through|a|al|до"))


# What a cell begins or ends with where it tells of the tax: words before the name of a tax, behind it, or alone.
_TAX = (
    "(?:mwst|mehrwertsteuer|umsatzsteuer|ust|steuern?|vat|gst|hst|sales tax|tax(?:es)?|btw|moms|mva|iva|tva|dph|igv|"
    "kdv|ндс)"
)
_SHIPPING = r"(?: ?,? ?(?:und )?(?:zzgl|exkl|excl|plus|\+)\.? ?(?:versand(?:kosten)?|shipping)\.?)?"
_TAX_PHRASES = {
    kind: re.compile(rf"^\(?{phrase}\)?[ :]*|[ ,;]?[ ,;]?\(?{phrase}[)* ]*$", re.IGNORECASE)
    for kind, before, behind, alone in (
        (
            "with",
            "inkl|inklusive|incl|including|inc|mit|con|com|avec|with|с",
            "inkl|incl|included|inc|incluid[oa]|inclus[aeo]?|inbegrepen|compris[ae]?|dahil",
            r"t\.?t\.?c|tvac|brutto|税込み?|含税",
        ),
        (
            "without",
            r"exkl|exklusive|excl|excluding|exc|ex|zzgl|zuzüglich|plus|\+|ohne|without|hors|sans|sin|sem|senza|más|più|без",
            "exkl|excl|excluded|ex|esclus[ao]|exclu[es]?|hariç",
            r"h\.?t|htva|netto|税抜き?|税別|不含税|未税",
        ),
    )
    for phrase in [
        r"(?:(?<![^\W\d_一-龯])|(?=\+))"
        rf"(?:(?:{before})\.? ?(?:(?:der )?gesetzl(?:\.|iche[rn]?) ?)?(?:[0-9]{{1,2}}(?:[.,][0-9])? ?% ?)?{_TAX}|"
        rf"{_TAX}\.? ?(?:{behind})|{alone})(?![^\W\d_一-龯])\.?{_SHIPPING}"
    ]
}


class PriceParts(NamedTuple):
    """A cell that states an amount."""

    number: str  # digits, with signs among ".,·' _" before the first or between them, or a number with an exponent
    currencies: tuple[str, ...]  # ISO 4217 codes that its mark may stand for, the likeliest first; () without a mark
    negative: bool
    cents: str  # "," where ",-" stands in the place of cents
    dash: bool = False  # "-.95": negative, but where such a dash stands for no whole amount, as in Switzerland
    tax: str = ""  # "with" or "without", where the cell says so


def plain_text(cell: str) -> str:
    """Return a cell with ASCII digits, one kind of blank, dash and apostrophe, and without what nobody sees."""
    return cell.strip() if cell.isascii() or not _ODD.search(cell) else cell.translate(_PLAIN).strip()


def split_price(cell: str) -> PriceParts:
    """Split a cell into number and currency. Raises ValueError with the reason for what states no single amount."""
    text = plain_text(cell)
    if len(text) > CELL_LIMIT:
        raise ValueError(_refusal(cell, text))
    if parts := _split(text):
        return parts
    for tax, pattern in _TAX_PHRASES.items():
        bare = pattern.sub("", text, count=1).strip()
        if bare and bare != text:
            if parts := _split(bare):
                return parts._replace(tax=tax)
            text = bare
            break
    raise ValueError(_refusal(cell, text))


def _split(text: str) -> PriceParts | None:
    """Split a plain text into number and currency; None where it holds more."""
    found = _CELL.fullmatch(text)
    if not found:
        return PriceParts(text.lower(), (), False, "") if _EXPONENT.fullmatch(text) else None
    before, number, after = found.groups()
    if not before and not after:
        return PriceParts(number, (), False, "")
    if after == "." and number.isdigit():
        after = ""  # "5." is 5
    dash = before.endswith("-") and len(number) == 3 and not number[0].isdigit()
    surroundings = _read_surroundings(before.removesuffix("-") if dash else before, after)
    if surroundings is None:
        return None
    codes, negative, cents = surroundings
    return PriceParts(number, codes, negative or dash, cents, dash and not negative)


def number_tokens(cell: str) -> list[str]:
    """Return every number in a cell as it is written (`PriceParts.number`)."""
    return _NUMBERS.findall(plain_text(cell)[:CELL_LIMIT])


@lru_cache(4_096)  # a column has few
def _read_surroundings(before: str, after: str) -> tuple[tuple[str, ...], bool, str] | None:
    """Read what stands around a number, as the fields of `PriceParts` behind it; None where it is more than that."""
    cents = ""
    before, after = before.strip(" '+=\""), after.strip(" *\"'")
    if ending := _NO_CENTS.match(after):
        after, cents = after[ending.end() :].lstrip(), ending[1] or ""
    codes = _codes(before, after)
    if codes is not None:
        return codes, False, cents
    if "(" in before and after.endswith(")"):  # as accountants write what is negative
        codes = _codes(before.replace("(", "", 1).strip(), after[:-1].rstrip())
    elif "-" in before or "-" in after:
        codes = _codes(before.replace("-", "", 1).strip(" +"), after.replace("-", "", 1).strip())
    return None if codes is None else (codes, True, cents)


def _codes(before: str, after: str) -> tuple[str, ...] | None:
    """Return the codes that fit what stands before and after the number; () for nothing, None for what is no mark."""
    first, second = codes_of(before) if before else (), codes_of(after) if after else ()
    if (before and not first) or (after and not second):
        return codes_of(before + after) or None  # "AU" and "$" fit together only
    if not (first and second):
        return first or second
    return tuple(code for code in first if code in second) or None


def _refusal(cell: str, text: str) -> str:
    """Name what a cell is that states no single amount."""
    reason = "price is not a plain number"
    folded = text.casefold()
    if not text:
        return "no price"
    if _NOT_FINITE.fullmatch(text):
        reason = "price is not finite"
    elif len(text) <= CELL_LIMIT:
        pieces = _NUMBERS.split(folded)
        reason = (_without_number(folded) if len(pieces) == 1 else _with_numbers(folded, pieces)) or reason
    return f"{reason}: {excerpt(cell.strip())}"


def _without_number(folded: str) -> str:
    if _PLACEHOLDER.fullmatch(folded) or codes_of(folded):
        return "price is not given"
    return _first(_WITHOUT_NUMBER, folded)


def _with_numbers(folded: str, pieces: list[str]) -> str:
    """Name a cell with numbers in it; `pieces` stand before, between and after them."""
    if reason := _first(_WITH_NUMBERS, folded):
        return reason
    if len(pieces) > 2:
        is_range = len(pieces) == 3 and _BETWEEN.search(pieces[1])
        return "price is a range" if is_range else "price holds several numbers"
    two_currencies = all(codes_of(piece.strip()) for piece in pieces)
    return _first(_WITH_ONE_NUMBER, folded) or ("price has two currencies" if two_currencies else "")


def _first(patterns: dict[str, re.Pattern[str]], folded: str) -> str:
    return next((reason for reason, pattern in patterns.items() if pattern.search(folded)), "")
