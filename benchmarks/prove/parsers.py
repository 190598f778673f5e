"""The parsers of amounts, of prices and of catalogues on inputs that Hypothesis makes up, against what must hold.

    python benchmarks/prove/parsers.py [--scale 1] [--seed 0]

Amounts and prices: any text gives an answer within the documented bounds or the documented refusal, whatever it holds
and however long it is; what is written as a shop writes it is read as the number that was written. Catalogues: a table
is drawn, with its faults, written as CSV and read again; every row comes back, as the item that was written or as a
reject, and there is no third thing.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import hypothesis
import numpy as np
from hypothesis import strategies as st
from outcome import Tally, arguments, finish, scaled

from index.catalogue.items import read_catalogue
from index.catalogue.money import HIGHEST_PRICE, LOWEST_PRICE
from index.catalogue.money.prices import decide_convention
from index.catalogue.settings import FOUND
from index.catalogue.units import UNITS, is_sane, read_quantity
from index.catalogue.units.numbers import MAX_PACK
from index.catalogue.units.table import TABLE
from index.errors import DataRefused

MOST_SECONDS = 0.5  # of one core, for one text of any length: a pattern that backtracks takes minutes
LENGTHS = (2_000, 60_000)  # characters

LISTINGS = st.lists(
    st.sampled_from(
        "Acme Soda, 12 oz 6 x 330 ml (pack of 6 ) 1/2 1,5 1.500,5 kg - . , / # $ in ft 2 pack 9999 "
        'case of twelve fl oz count mg 10 protein ½ x × * 24 ct per box 1e9 0 00 M m² " 5-in-1 SPF 50'.split(" ")
    ),
    max_size=20,
).map(" ".join)  # pieces of what shops write, in any order
TEXTS = st.one_of(st.text(max_size=200), LISTINGS)
NUMBERISH = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.,' +-eE$€£%xX_ \u00a0\u066b", max_size=30),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.integers().map(str),
)


def amounts_of_any_text(text: str) -> None:
    """An amount is unknown or a sane one, in a known unit; blanks between words count as one."""
    quantity = read_quantity(text)
    assert quantity.unit in UNITS, quantity
    assert 1 <= quantity.pack <= MAX_PACK, quantity
    assert quantity.amount is None or is_sane(quantity.amount), quantity
    assert read_quantity("  ".join(text.split(" "))) == quantity, "more blanks, another amount"


def amounts_as_they_are_written(written: tuple[int, str, float, str, int]) -> None:
    """`Acme thing, 12 oz (Pack of 6)` is six times twelve ounces."""
    number, unit, factor, spelling, pack = written
    quantity = read_quantity(f"Acme thing, {number} {spelling}" + (f" (Pack of {pack})" if pack > 1 else ""))
    assert (quantity.unit, quantity.pack) == (unit, pack), quantity
    assert quantity.amount is not None and math.isclose(quantity.amount, number * factor * pack), quantity


def read_price(cell: str) -> float:
    """The price of a column of one cell."""
    return decide_convention([cell]).read(cell).amount


def prices_of_any_cell(cell: str) -> None:
    """A price is a positive amount within the bounds, or a ValueError that says in a line why there is none."""
    try:
        price = read_price(cell)
    except ValueError as refusal:
        assert str(refusal) and "\n" not in str(refusal).strip(), refusal
        return
    assert LOWEST_PRICE <= price <= HIGHEST_PRICE, price
    assert read_price(f"  {cell}\t") == price, "blanks around it, another price"
    assert read_price(repr(price)) == price, "the price itself is read as another"


def prices_as_they_are_written(price: Decimal) -> None:
    """A number with two decimals, with a point or a comma, is that number."""
    assert read_price(f"{price:f}") == float(price)
    assert read_price(f" {price:f} ".replace(".", ",")) == float(price)


def any_length_in_time(fragment: str) -> None:
    """A text of any length is read within a bound, also where a fragment is said again and again."""
    for length in LENGTHS:
        text = (fragment * (length // len(fragment) + 1))[:length]
        began = time.process_time()
        read_quantity(text)
        with contextlib.suppress(ValueError):
            read_price(text)
        spent = time.process_time() - began
        assert spent < MOST_SECONDS, f"{spent:.1f} s for {length} characters"


@dataclass(frozen=True)
class Drawn:
    """A table as it was drawn, and how it is written."""

    rows: list[dict[str, str]]
    lengths: list[int]  # cells added to each row (above 0), or taken from its end (below)
    header: list[str]
    delimiter: str
    ending: str
    quotes_all: bool
    mark: bool  # a byte order mark before the header


SURROGATES: tuple[Literal["Cs"]] = ("Cs",)
CELL = st.text(st.characters(exclude_categories=SURROGATES, exclude_characters="\0\ufeff"), max_size=25)
WORDS = st.one_of(
    st.just(""), CELL, st.lists(st.sampled_from(["tea", '"', "\n", "\r\n", ",", ";", "\t", " "])).map("".join)
)
PRICE = st.one_of(st.decimals("0.01", "9999", places=2).map(str), st.sampled_from(["", "0", "-1", "free", "nan"]))
ROW = st.fixed_dictionaries(
    {
        "sample_id": st.one_of(st.integers(0, 30).map(str), CELL),
        "catalog_content": WORDS,
        "image_link": st.sampled_from(["", "https://example.com/1.jpg", " a b.png "]),
        "price": PRICE,
        "more": WORDS,
    }
)


@st.composite
def tables(draw: Any) -> Drawn:
    """Tables of a few rows, some of them too short or too long."""
    rows = draw(st.lists(ROW, min_size=1, max_size=8))
    lengths = [draw(st.sampled_from([0, 0, 0, 0, -1, 1])) for _ in rows]
    # A row that is too long and goes on over lines may as well be one that a stray quote holds together.
    broken = [any("\n" in cell or "\r" in cell for cell in row.values()) for row in rows]
    lengths = [0 if more > 0 and over_lines else more for more, over_lines in zip(lengths, broken, strict=True)]
    header = draw(st.permutations(list(rows[0])))
    return Drawn(
        rows,
        lengths,
        header,
        draw(st.sampled_from(",;\t")),
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def write(drawn: Drawn, path: Path) -> None:
    """Write a table as RFC 4180 says; Python's own writer leaves a carriage return without quotes."""

    def line(cells: list[str]) -> str:
        special = (drawn.delimiter, '"', "\r", "\n")
        return drawn.delimiter.join(
            '"' + cell.replace('"', '""') + '"' if drawn.quotes_all or any(mark in cell for mark in special) else cell
            for cell in cells
        )

    lines = [line(drawn.header)]
    for row, more in zip(drawn.rows, drawn.lengths, strict=True):
        cells = [row[name] for name in drawn.header]
        lines.append(line(cells[:more] if more < 0 else cells + [""] * more))
    text = "".join(written + drawn.ending for written in lines)
    path.write_bytes(text.encode("utf-8-sig" if drawn.mark else "utf-8"))


def rows_of(drawn: Drawn) -> list[dict[str, str]]:
    """The rows of a table: a cell that is left off at the end is empty, and so is one too many; blanks are no row."""
    last = drawn.header[-1]
    rows = [row | {last: ""} if more < 0 else row for row, more in zip(drawn.rows, drawn.lengths, strict=True)]
    return [row for row in rows if any(map(str.strip, row.values()))]


def expected(drawn: Drawn) -> list[tuple[str, str, str | None, float]]:
    """The items of a table that have an id: rows with an id that is new, words and a price."""
    items: dict[str, tuple[str, str, str | None, float]] = {}
    for row in rows_of(drawn):
        item_id, text = row["sample_id"].strip(), row["catalog_content"]
        if not item_id or item_id in items or not text.strip() or row["price"] in ("", "0", "-1", "free", "nan"):
            continue
        items[item_id] = (item_id, text, row["image_link"].strip() or None, float(row["price"]))
    return list(items.values())


def catalogues_as_they_are_written(drawn: Drawn) -> None:
    """Rows in are items and rejects out, and the items hold what was written."""
    with tempfile.TemporaryDirectory() as folder:
        path, items = Path(folder) / "catalogue.csv", expected(drawn)
        write(drawn, path)
        try:
            read = read_catalogue(path, FOUND, priced=True)
        except DataRefused as error:
            assert not items or "is no text" in str(error), "a file with items was refused"
            return
    found = read.items.num_rows + len(read.rejects) + read.passed_over.total()
    rows = rows_of(drawn)
    assert found == len(rows), f"{found} rows of {len(rows)}"
    columns = [read.items[name].to_pylist() for name in ("item_id", "text", "image", "log_price")]
    named = [item for item in zip(*columns, strict=True) if item[0] in {item[0] for item in items}]
    assert [item[:3] for item in named] == [item[:3] for item in items]
    assert np.allclose([item[3] for item in named], [math.log(item[3]) for item in items], atol=1e-5)


def spellings() -> st.SearchStrategy[tuple[int, str, float, str, int]]:
    """Number, canonical member, factor, spelling and pack of an amount."""
    known = [
        (unit, factor, spelling)
        for unit in ("gram", "millilitre")
        for factor, listed in TABLE[unit].items()
        for spelling in listed.split(", ")
        if factor >= 1 and not spelling.startswith(("cc", "dry"))
    ]
    return st.tuples(st.integers(1, 999), st.sampled_from(known), st.integers(1, 48)).map(
        lambda drawn: (drawn[0], drawn[1][0], float(drawn[1][1]), drawn[1][2], drawn[2])
    )


PROPERTIES: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any], int]] = {
    "amounts of any text": (amounts_of_any_text, TEXTS, 5_000),
    "amounts as they are written": (amounts_as_they_are_written, spellings(), 5_000),
    "prices of any cell": (prices_of_any_cell, NUMBERISH, 5_000),
    "prices as they are written": (prices_as_they_are_written, st.decimals("0.01", "999999", places=2), 5_000),
    "texts of any length in time": (any_length_in_time, TEXTS.filter(bool), 1_000),
    "catalogues as they are written": (catalogues_as_they_are_written, tables(), 2_000),
}


def check(name: str, examples: int, seed: int | None = None) -> int:
    """Try a property on so many examples, drawn by a seed or, where it is None, always the same: how many there were.

    Raises what the property raises on the smallest example that was found, with that example as a note.
    """
    holds, strategy, _ = PROPERTIES[name]
    tried = 0

    def property_of(value: Any) -> None:
        nonlocal tried
        tried += 1
        holds(value)

    how = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seed is None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    test = how(hypothesis.given(strategy)(property_of))
    (test if seed is None else hypothesis.seed(seed)(test))()
    return tried


def main() -> None:
    given = arguments(__doc__).parse_args()
    tallies = []
    with ThreadPoolExecutor(1) as pool:
        for name, (*_, examples) in PROPERTIES.items():
            tally = Tally(f"parsers: {name}")
            future = pool.submit(check, name, scaled(examples, given.scale), given.seed)
            fault = future.exception()  # waits; an interrupt of the user is none of the property's
            tally.add("" if fault is None else f"{type(fault).__name__}: {fault} {getattr(fault, '__notes__', '')}")
            tally.trials = scaled(examples, given.scale) if fault else future.result()
            tallies.append(tally)
    finish(tallies)


if __name__ == "__main__":
    main()
