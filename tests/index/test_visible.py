"""Claims about text for eyes: all of it shows, on one line, and nothing in it acts."""

import sys
import unicodedata

import pytest

from index.visible import LONGEST_CELL, excerpt, visible, without_formula


@pytest.mark.parametrize(
    "text",
    [
        "Café crème, 2 × 330 ml – “extra”",
        "日本茶 100g",
        "[/b] <b> %s {}",
        "naïve 50% 🍵",
        "no-break\N{NO-BREAK SPACE}space",
        "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{COOKING}",
        "می\N{ZERO WIDTH NON-JOINER}خواهم",
    ],
)
def test_what_shows_is_left_alone(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),  # colours what follows, and rings
        ("\x9b2J", r"\x9b2J"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),  # turns what follows around
        ("in\u200bvi\u00adsi\ufeffble", r"in\u200bvi\xadsi\ufeffble"),
        ("1\u200d2", r"1\u200d2"),  # two ids that look alike
        ("\udc80\U000e0041", r"\udc80\U000e0041"),
        ("a\nb\rc\u2028d\x85e", r"a b c d\x85e"),
    ],
)
def test_what_is_hidden_or_acts_is_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_every_character_there_is_becomes_one_line_that_can_be_written() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = visible(everything)
    shown.encode("utf-8")
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert {unicodedata.category(character) for character in set(shown)} & hidden == set()
    assert {"a", "é", "語", "[", "🍵"} <= set(shown)


def test_an_excerpt_is_short_and_visible() -> None:
    assert excerpt("\0" + "x" * 5000) == r"\x00" + "x" * (LONGEST_CELL - 2) + "…"
    assert excerpt("short") == "short"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(1)", "＝1", "\t=1", "\r=1"])
def test_a_formula_is_a_formula_no_more(cell: str) -> None:
    assert without_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", "'=1", "1-1"])
def test_a_cell_that_is_no_formula_stays_as_it_is(cell: str) -> None:
    assert without_formula(cell) == cell
