"""Currencies: their ISO 4217 codes, and the marks that stand for them beside an amount.

Codes are those in use, without metals, funds and testing codes. A mark such as "$" stands for many currencies; which,
a column decides (`prices.py`). The one currency that a file is in, and rates between currencies, stand in `rates.py`.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from index.visible import excerpt

CODES = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD "
    "HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY "
    "TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG".split()
)
# Codes whose cents are thousandths (ISO 4217) -> the decimal sign before them.
THREE_DECIMALS = {"BHD": ".", "IQD": ".", "JOD": ".", "KWD": ".", "LYD": ".", "OMR": ".", "TND": ","}
# Codes without cents (ISO 4217).
NO_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
# Where 1299 is written 1.299 (CLDR); of the euro's countries all but three (Ireland, Malta, Cyprus).
POINT_FOR_THOUSANDS = frozenset("ARS BAM BRL CLP COP DKK EUR IDR ISK MKD PYG RON RSD TRY UYU VES VND".split())

# Codes that are words of other columns too ("all 5", "5 pen"): read in capitals alone.
CODES_AS_WORDS = frozenset("ALL BAM COP CUP GEL LAK MAD MOP PEN RON SOS TOP TRY".split())
_DOLLARS = "USD AUD BBD BMD BND BSD BZD CAD FJD GYD HKD JMD KYD LRD NAD NZD SBD SGD SRD TTD TWD XCD ARS CLP COP MXN UYU"
# A mark, folded to lower case and without blanks -> the codes that it may stand for. The first is taken where nothing
# in the column says otherwise; "?" there means that none is likely enough to be taken.
MARKS: dict[str, tuple[str, ...]] = {
    mark: tuple(codes.split())
    for codes, marks in {
        _DOLLARS: "$ dollar dollars",
        "USD": "us$ u$s u$ usd$ us-$ usdollar usdollars",
        "AUD": "a$ au$ aud$", "BBD": "bds$", "BND": "b$", "BZD": "bz$", "CAD": "c$ ca$ can$ cdn$ cad$", "FJD": "fj$",
        "HKD": "hk$ hkd$", "JMD": "j$ ja$", "KYD": "ci$", "MXN": "mx$ mex$ mxn$", "NAD": "n$", "NZD": "nz$ nzd$",
        "SGD": "s$ sg$ sgd$", "TTD": "tt$", "TWD": "nt$ ntd$ ntd", "XCD": "ec$", "ARS": "ar$ ars$", "CLP": "cl$ clp$",
        "COP": "co$ col$ cop$", "UYU": "$u uy$", "BRL": "r$ brl$ reais", "DOP": "rd$",
        "EUR": "€ euro euros",
        "GBP EGP FKP GIP SHP SSP LBP SYP": "£ pound pounds",
        "GBP": "gb£ uk£", "EGP": "e£",
        "JPY CNY": "¥",
        "JPY": "円 jp¥ yen", "CNY": "元 圆 圓 rmb cn¥ 人民币 yuan",
        "? SEK NOK DKK ISK": "kr krona kronor kroner krone krónur",
        "SEK": "skr", "NOK": "nkr", "DKK": "dkr", "ISK": "íkr",
        "INR PKR LKR NPR MUR SCR": "rs ₨ rupee rupees", "INR": "₹ रु रू", "PKR": "pkrs", "LKR": "slrs රු",
        "CHF": "fr sfr francs franken", "XAF XOF": "fcfa cfa", "XPF": "fcfp",
        "KRW KPW": "₩", "KRW": "원", "RUB": "₽ руб р рублей", "TRY": "₺ tl", "UAH": "₴ грн", "ILS": "₪ nis ש״ח",
        "VND": "₫ đ vnđ", "THB": "฿ บาท baht", "PHP": "₱", "PLN": "zł zl złotych", "CZK": "kč kc", "HUF": "ft forint",
        "RON": "lei leu", "BGN": "лв", "RSD": "дин din", "MYR": "rm", "IDR": "rp", "ZAR": "r", "NGN": "₦",
        "GHS": "₵ gh₵ gh¢", "KES": "ksh kshs", "TZS": "tsh tshs", "UGX": "ush ushs", "KZT": "₸", "GEL": "₾",
        "CRC": "₡", "PYG": "₲", "PEN": "s/ s/.", "BOB VES": "bs", "AZN": "₼", "AMD": "֏",
        "BDT": "৳ tk", "KHR": "៛", "LAK": "₭", "MNT": "₮", "IRR SAR YER OMR QAR": "﷼", "AED MAD": "dh dhs",
        "AED": "د.إ درهم", "SAR": "sr ر.س ريال", "KWD": "د.ك kd", "QAR": "qr ر.ق", "BHD": "د.ب", "JOD": "jd د.ا",
        "EGP SDG": "ج.م", "MOP": "mop$", "DZD": "د.ج", "TND": "د.ت", "PAB": "b/ b/.", "NPR": "nrs",
    }.items()
    for mark in marks.split()
}  # fmt: skip
# A currency -> the one that a mark of its own is read as ("C$" is Nicaragua's too, "lei" Moldova's).
_MARKED_AS = {
    code: read_as
    for read_as, codes in {
        "AED": "MAD", "BND": "BSD", "CAD": "NIO", "CHF": "BIF CDF DJF GNF KMF RWF XAF XOF XPF", "CNY": "HKD MOP TWD",
        "INR": "NPR", "RON": "MDL", "RUB": "BYN", "SAR": "IRR OMR QAR SCR YER", "ZAR": "LSL NAD SZL",
    }.items()
    for code in codes.split()
}  # fmt: skip
_NOT_GIVEN = re.compile(r"[-–—_.?*/#]+|#?n/?a|n\.a\.?|none|null|nil|nan|unknown|undefined|not set", re.IGNORECASE)


@lru_cache(4_096)  # the marks of a column are few; what is no mark is refused, whatever it is
def codes_of(mark: str) -> tuple[str, ...]:
    """Return the codes that a mark may stand for, the likeliest first; () for what is no mark.

    The first is "?" where none is likely. A code beside a mark that fits it ("US $", "USD $", "€ EUR") is one mark.
    """
    compact = "".join(mark.split())
    if len(compact) > 12:
        return ()
    for name in (compact, compact.removesuffix(".")):
        if name.upper() in CODES and (name == name.upper() or name.upper() not in CODES_AS_WORDS):
            return (name.upper(),)
        if name.lower() in MARKS:
            return MARKS[name.lower()]
    for code, symbol in ((compact[:3], compact[3:]), (compact[-3:], compact[:-3])):
        if code.upper() in CODES and code.upper() in MARKS.get(symbol.lower(), ()):
            return (code.upper(),)
    return ()


def read_currency(cell: str | None, known: Collection[str] = ()) -> str | None:
    """Read the cell of a currency column, a code or a mark; None for "n/a" and the like. `known` as in `choose_code`.

    Raises ValueError with the reason for what is no currency, and for a mark that may stand for several.
    """
    text = (cell or "").strip()
    if not text or _NOT_GIVEN.fullmatch(text):
        return None
    codes = codes_of(text)
    if not codes:
        raise ValueError(f"currency is not known: {excerpt(text)}")
    code = choose_code(codes, known)
    if code is None:
        raise ValueError(f"currency may be {' or '.join(possible_codes(codes, known))}: {excerpt(text)}")
    return code


def choose_code(codes: tuple[str, ...], known: Collection[str]) -> str | None:
    """Choose among the codes that a mark may stand for: the one that is known to occur, else the likeliest.

    None where several are known to occur, or none is likely.
    """
    if len(codes) == 1:
        return codes[0]
    fitting = [code for code in codes if code in known]
    if fitting:
        return fitting[0] if len(fitting) == 1 else None
    return None if codes[0] == "?" else codes[0]


def possible_codes(codes: tuple[str, ...], known: Collection[str]) -> list[str]:
    """Return the codes that a mark may stand for where `choose_code` chooses none: those known to occur, else all."""
    listed = [code for code in codes if code != "?"]
    return [code for code in listed if code in known] or listed


def first_codes(labels: Iterable[str | None]) -> set[str]:
    """Return the likeliest codes of labels such as "EUR" and "$"; none of what is no mark."""
    return {code for label in labels if label for code in codes_of(label)[:1]}


def contradicts(code: str, stated: str) -> bool:
    """Tell whether a mark that is read as `code` cannot stand for the currency that is stated beside it."""
    return code != stated and _MARKED_AS.get(stated) != code


def decimals(code: str) -> int:
    """Digits behind the point of the smallest amount that a currency has; 2 for what is no code."""
    return 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2
