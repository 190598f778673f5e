"""Tokens of a text: numbers, words and signs, in one form whatever the text's scripts and signs.

A character of a script that is written without blanks (Chinese, Japanese, Korean, Thai) is a token of its own. It knows
nothing of units; `read_decimal` reads what a number writes.
"""

import re
import unicodedata

WORDS_LIMIT = 2_000  # characters; an amount further down is seldom the listing's own
DIGITS = frozenset("0123456789")
PADDING = ["\n"] * 6  # ends the tokens, so that a rule may look a few ahead of the last, or behind the first

# A number with its fraction ("1/2", "4/12", a date), a word or code ("b12"), any sign. The "x" of "6x330" is a sign.
_NUMBER = r"[0-9]+(?:[.,/][0-9]+)*|(?<![\w.])\.[0-9]+"
_UNSPACED = "\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_ASCII_TOKEN = re.compile(rf"(?:x|of)(?=[0-9])|[a-z][a-z0-9]*|{_NUMBER}|\S")
_TOKEN = re.compile(rf"(?:[xх]|of)(?=[0-9])|[{_UNSPACED}]|[^\W\d_{_UNSPACED}][^\W_{_UNSPACED}]*|{_NUMBER}|\S")
_THIN_BLANK = re.compile("(?<=[0-9])[\u2009\u202f](?=[0-9]{3}(?![0-9]))")  # 1 500 as it is typeset

_FRACTIONS = dict(
    zip("½⅓⅔¼¾⅛⅜⅝⅞", (" 1/2", " 1/3", " 2/3", " 1/4", " 3/4", " 1/8", " 3/8", " 5/8", " 7/8"), strict=True)
)
_FOLDED = str.maketrans(
    _FRACTIONS
    | dict.fromkeys("“”„″‟", '"')
    | dict.fromkeys("‘’‚′‛", "'")
    | {chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0x966, 0xE50) for digit in range(10)}
    | dict.fromkeys([chr(code) for code in (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF)])
)


def fold(text: str) -> str:
    """Return the first `WORDS_LIMIT` characters in lower case, with plain digits, quotation marks and fractions."""
    if len(text) > WORDS_LIMIT:
        text = text[:WORDS_LIMIT]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _THIN_BLANK.sub("", text).translate(_FOLDED))
    return text.casefold()


def pattern_of(folded: str) -> re.Pattern[str]:
    """Return the pattern of the tokens of a folded text, which a text of ASCII letters alone has a faster one of."""
    return _ASCII_TOKEN if folded.isascii() else _TOKEN


def tokenize(folded: str) -> list[str]:
    """Return the tokens of a folded text. Who looks around them adds `PADDING`, which no text can have."""
    words: list[str] = pattern_of(folded).findall(folded)
    return words


def read_decimal(written: str, thousandths: str) -> float:
    """Return the number that is written, 0.0 if none is: "1,500", "1.5", "1,5", ".5", "1.234,5", "1,234,567".

    Three digits after a single comma or point are thousandths if that sign is in `thousandths`, else thousands;
    "0,500" is a half in any case.
    """
    if written.isdigit():
        return float(written) if len(written) <= 9 else 0.0
    last = max(written.rfind(","), written.rfind("."))
    sign, before, after = written[last], written[:last], written[last + 1 :]
    if before.isdigit():
        thousands = len(after) == 3 and len(before) <= 3 and before[0] != "0" and sign not in thousandths
        written = f"{before}{after}" if thousands else f"{before}.{after}"
    elif before:
        groups = before.replace(",", ".").split(".")
        whole = "".join(groups)
        grouped = before[0] != "0" and len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
        repeated = sign in before  # 1,234,567, and never 1,234.567,8
        if not grouped or (repeated and not (before.replace(sign, "").isdigit() and len(after) == 3)):
            return 0.0
        written = f"{whole}{after}" if repeated else f"{whole}.{after}"
    return float(written) if len(written) <= 24 and written.replace(".", "").isdigit() else 0.0
