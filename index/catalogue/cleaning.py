"""Cleaning of a text: of markup as it is read; and before an encoder reads it, of emoji and numbers, each an option.

Source of the options: the cleaning of the towers-knn system. A text is left as it is but for the steps that are named.
"""

import html
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser

_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u231a\u231b\u23e9-\u23fa"  # pictures, flags, dingbats, clocks
    "\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]+"  # and what joins and styles them
)
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?(?![\w]|[.,]\d)")
_TAGS = (
    "p|br|div|span|ul|ol|li|b|i|u|em|strong|small|font|a|img|table|tbody|thead|tr|td|th|h[1-6]|hr|section|article|header|"
    "footer|blockquote|center|sup|sub|dl|dt|dd"
)
_MARKUP = re.compile(rf"</?(?:{_TAGS}|style|script|iframe)(?:\s[^<>]{{0,2000}})?/?>", re.IGNORECASE)
# What no reader of HTML could take for anything else than one of these tags.
_PLAIN_TAG = re.compile(rf'<(/?(?:{_TAGS}))(?:[ \t\n]+[a-z-]+="[^"<>]*+")*+[ \t\n]*+/?>', re.IGNORECASE | re.ASCII)
_CHARACTER = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_LINES = frozenset("p br div ul ol li table tr h1 h2 h3 h4 h5 h6 hr section article blockquote dl dt dd".split())
_CELLS = frozenset(("td", "th"))
_RAISED = frozenset(("sup", "sub"))
_UNREAD = frozenset(("script", "style"))
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_LONGEST = 3 * len(_GROUPS)  # digits; a longer number is an identifier, and read digit by digit


def clean(text: str, steps: Sequence[str]) -> str:
    """Return `text` without emoji where `steps` names "emoji", with numbers in words where it names "numbers"."""
    for name in steps:
        text = _STEPS[name](text)
    return text


def without_markup(text: str) -> str:
    """Return a text without its HTML: a line for each block, characters in the place of their names, nothing else.

    A text without a tag or a character's name is returned as it is.
    """
    if "<" in text and _MARKUP.search(text):
        lines = (" ".join(line.split()) for line in "".join(_plain_parts(text) or _parts(text)).splitlines())
        return "\n".join(line for line in lines if line)
    return html.unescape(text) if "&" in text and _CHARACTER.search(text) else text


def _plain_parts(text: str) -> list[str]:
    """The words and ends of lines of a text with plain tags alone, [] for any other: the short way to `_parts`."""
    pieces = _PLAIN_TAG.split(text)  # words, a tag's name, words, ...
    if 2 * text.count("<") + 1 != len(pieces):
        return []
    parts: list[str] = []
    for place, piece in enumerate(pieces):
        if place % 2:
            name = piece.removeprefix("/").lower()
            parts += _between(name, parts, opens=name == piece.lower())
        elif piece:
            words = html.unescape(piece)
            parts.append(words.replace("\n", " ") if parts else words)
    return parts


def _between(tag: str, before: list[str], *, opens: bool) -> list[str]:
    """Blank or end of a line that a tag leaves between words, as 1<sup>1</sup>/<sub>2</sub> needs."""
    if tag in _LINES:
        return ["\n"]
    raised = tag in _RAISED and opens and before and before[-1][-1:].isdigit()
    return [" "] if tag in _CELLS or raised else []


def _parts(text: str) -> list[str]:
    """The words and ends of lines of any text with tags."""
    reader = _MarkupReader()
    reader.feed(text)
    reader.close()
    return reader.parts


class _MarkupReader(HTMLParser):
    """A reader of HTML that keeps its words."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unread += tag in _UNREAD
        self.parts += _between(tag, self.parts, opens=True)

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in _UNREAD and self._unread > 0
        self.parts += _between(tag, self.parts, opens=False)

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(data.replace("\n", " ") if self.parts else data)


def without_emoji(text: str) -> str:
    """Turn each run of emoji into a blank where words would meet, and nothing elsewhere."""
    return re.sub(r"(?<=\S)\0(?=\S)", " ", _EMOJI.sub("\0", text)).replace("\0", "")


def spelled_out(text: str) -> str:
    """Spell numbers out: "12.5 oz, 1,200 ct" -> "twelve point five oz, one thousand two hundred ct"; B07 stays."""
    return _NUMBER.sub(lambda found: _spell(found[1].replace(",", ""), found[2] or ""), text)


def _spell(whole: str, decimals: str) -> str:
    words = _spell_whole(whole) if len(whole) <= _LONGEST else [_SMALL[int(digit)] for digit in whole]
    return " ".join([*words, *(["point"] if decimals else []), *(_SMALL[int(digit)] for digit in decimals)])


def _spell_whole(digits: str) -> list[str]:
    number, words = int(digits), list[str]()
    for group in _GROUPS:
        number, part = divmod(number, 1000)
        if part:
            words = [*_spell_hundreds(part), *([group] if group else []), *words]
    return words or [_SMALL[0]]


def _spell_hundreds(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        return [*words, _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")]
    return [*words, _SMALL[rest]] if rest else words


_STEPS: dict[str, Callable[[str], str]] = {"emoji": without_emoji, "numbers": spelled_out}
CLEANING = tuple(_STEPS)
"""The steps that `clean` knows, by name."""
