"""Claims about rules as they are written: what each may be, and what is refused in one sentence."""

import math
from pathlib import Path
from typing import Any

import pytest

from engine.settings.read import read_settings
from engine.settings.rules import Ending, Rules, read_ending, rules_of_options
from index.errors import UsageError


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (".99", Ending(1, 0.99)),
        ("0.99", Ending(1, 0.99)),
        (".9", Ending(1, 0.9)),
        ("9", Ending(10, 9)),
        ("95", Ending(100, 95)),
        ("9.50 below 100", Ending(10, 9.5, 100)),
        ("nearest 5 below 99.5 in eur", Ending(5, 0, 99.5, "EUR")),
        (" nearest 0.05 in CHF ", Ending(0.05, 0, math.inf, "CHF")),
    ],
)
def test_an_ending_is_read(text: str, ending: Ending) -> None:
    assert read_ending(text) == ending


@pytest.mark.parametrize("text", ["", "99c", ",99", "nearest", "nearest 0", ".999", "9 under 5", "9 below", "-9"])
def test_what_is_no_ending_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"ending is .*: give '\.99', '9'"):
        read_ending(text)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"floor": 9.0, "ceiling": 3.0}, "the floor 9 lies above the ceiling 3"),
        ({"floor": 9, "ceiling": 3}, "the floor 9 lies above the ceiling 3"),
        ({"margin": 30.0}, "margin is 30.0, and there is no cost"),
        ({"cost": 3.0, "margin": 100.0}, "margin is 100.0: give a number from 0 to 99.9"),
        ({"floor": -1.0}, "floor is -1.0: give a number"),
        ({"floor": math.nan}, "floor is nan: give a number"),
        ({"floor": "cheap"}, "floor is 'cheap': give a number, or column:NAME"),
        ({"floor": "column: "}, "floor is 'column: ': give a number, or column:NAME"),
        ({"ending": ("pretty",)}, "ending is 'pretty': give"),
        ({"ending": (".99", ".99")}, "ending names '.99' twice"),
    ],
)
def test_rules_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Rules(**given)


def test_options_name_rules_as_a_file_does() -> None:
    given = {
        "floor": " 3 ",
        "max-change": "10%",
        "cost": "column:cost price",
        "ending": ".99 below 20, 9",
        "map": "none",
    }
    assert rules_of_options(given) == {
        "floor": 3.0,
        "max_change": 10.0,
        "cost": "column:cost price",
        "ending": (".99 below 20", "9"),
        "map": None,
    }
    for key, value, why in (("flor", "3", "no rule 'flor': choose from floor"), ("floor", "3 USD", "is '3 USD'")):
        with pytest.raises(UsageError, match=why):
            rules_of_options({key: value})


def test_a_settings_file_has_rules_and_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "price.toml"
    path.write_text('[rules]\nfloor = 3\ncost = "column:cost"\nmargin = 25\nending = [".99 below 20", "9"]\n', "utf-8")
    rules = read_settings(path).rules
    assert rules == Rules(floor=3.0, cost="column:cost", margin=25.0, ending=(".99 below 20", "9"))
    assert rules.columns == {"cost": "cost"}
    path.write_text("[rules]\nflooor = 3\n", "utf-8")
    with pytest.raises(UsageError, match=r"no setting 'flooor' in \[rules\]; did you mean 'floor'"):
        read_settings(path)
    path.write_text("[rules]\nfloor = 9\nceiling = 3\n", "utf-8")
    with pytest.raises(UsageError, match=r"price.toml \[rules\]: the floor 9 lies above the ceiling 3"):
        read_settings(path)
