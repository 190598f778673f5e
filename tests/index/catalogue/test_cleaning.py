"""Claims about cleaning: emoji go and nothing else does, numbers are read as a person reads them."""

import random
import time

import pytest

from index.catalogue import cleaning
from index.catalogue.cleaning import clean, spelled_out, without_emoji


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("fun🎉time", "fun time"),
        ("great 👍🏽!", "great !"),
        ("🇫🇷 cheese ❤️", " cheese "),
        ("family 👨‍👩‍👧‍👦 pack", "family  pack"),
        ("1️⃣ first", "1 first"),
        ("☕ coffee ⏰", " coffee "),
        ("🎉", ""),
        ("", ""),
    ],
)
def test_emoji_go_and_words_stay_apart(text, left):
    assert without_emoji(text) == left


@pytest.mark.parametrize(
    "text", ["Nestlé® Café™ 12 oz – ½ cup", "お茶 100g", "чай №5", "5° × 3 µg ÷ 2", "a\nb\tc", "〈x〉 … §"]
)
def test_what_is_no_emoji_stays(text):
    assert without_emoji(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "zero"),
        ("7 of 13", "seven of thirteen"),
        ("20 21 99", "twenty twenty-one ninety-nine"),
        ("100, 101 and 342", "one hundred, one hundred one and three hundred forty-two"),
        ("1,200 ct", "one thousand two hundred ct"),
        ("1000000", "one million"),
        ("2000001", "two million one"),
        ("12.5 oz", "twelve point five oz"),
        ("0.05", "zero point zero five"),
        ("007", "seven"),
        ("9" * 15, "nine hundred ninety-nine trillion"),
        ("1" * 16, " ".join(["one"] * 16)),
        ("100.", "one hundred."),
        ("(6)", "(six)"),
    ],
)
def test_numbers_are_spelled_out(text, said):
    assert spelled_out(text).startswith(said)
    assert not any(character.isdigit() for character in spelled_out(text))


@pytest.mark.parametrize("text", ["B07", "12oz", "3x5", "1.2.3", "v2", "1,20", "no digits"])
def test_codes_and_what_is_no_plain_number_stay(text):
    assert spelled_out(text) == text


def test_every_number_up_to_a_thousand_is_read_back():
    small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    words = {word: value for value, word in enumerate([*small.split(), "seventeen", "eighteen", "nineteen"])}
    words |= {
        word: 10 * tens for tens, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
    }
    for number in range(1000):
        said, total = spelled_out(str(number)).replace("-", " ").split(), 0
        for word in said:
            total = total * 100 if word == "hundred" else total + words[word]
        assert total == number, said


def test_only_what_is_asked_for_is_done():
    text = "2 🎉 cups"
    assert clean(text, ()) == text
    assert clean(text, ("emoji",)) == "2  cups"
    assert clean(text, ("numbers",)) == "two 🎉 cups"
    assert clean(text, ("emoji", "numbers")) == "two  cups"


@pytest.mark.parametrize(
    "text", ["9" * 200_000 + "x", "1," * 100_000, "1,111" * 50_000, "1." * 100_000, "🎉 " * 100_000]
)
def test_no_text_makes_it_slow(text):
    started = time.thread_time()
    clean(text, ("emoji", "numbers"))
    assert time.thread_time() - started < 2  # of the processor's time: it takes 0.03 at most


def test_plain_tags_are_read_as_the_parser_of_html_reads_them():
    tags = [
        "<p>",
        "</p>",
        "<td>",
        "</td>",
        "<sup>",
        "</sup>",
        "<br/>",
        "<BR />",
        '<b class="x">',
        '<a href="x" title="y z">',
        "<h1>",
        "<p\n>",
        "<p/ >",
    ]
    odd = ["< p>", "<hr\x0b>", '<b a="1"b="2">', "<p a=b>", "<td a='x'>", "<p\u2003>", "<p", "a<b", "<3", "<script>"]
    pieces = [*tags, *odd, "<!-- c -->", "&amp;", "&lt", "&#39;", "&", "\n", " ", "word", "12", "é", "\x00"]
    source, plain = random.Random(0), 0  # noqa: S311
    for _ in range(10_000):
        text = "".join(source.choices(pieces, k=source.randrange(1, 8)))
        if parts := cleaning._plain_parts(text):
            plain += 1
            lines, expected = ("".join(words).splitlines() for words in (parts, cleaning._parts(text)))
            assert [line.split() for line in lines if line.strip()] == [
                line.split() for line in expected if line.strip()
            ], text
    assert plain > 1_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "<table><tr><th>Net weight</th><td>500 g</td></tr><tr><td>Packs</td><td>2</td></tr></table>",
            "Net weight 500 g",
        ),
        ("<p>1<sup>1</sup>/<sub>2</sub> lb</p>", "1 1/2 lb"),
        ("<p>12 m<sup>2</sup> of H<sub>2</sub>O</p>", "12 m2 of H2O"),
    ],
)
def test_markup_leaves_numbers_apart_that_stand_apart_on_the_page(text, words):
    assert cleaning.without_markup(text).split("\n")[0] == words
