"""Claims about prices: each column has one convention, every price is read whole or rejected by name."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index.catalogue.money.prices import (
    HIGHEST_PRICE,
    LOWEST_PRICE,
    Money,
    PriceConvention,
    PriceEvidence,
    decide_convention,
    price_column_warning,
)

BLANKS = str.maketrans("·_", "\u00a0\u2009")


def labelled() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Name of a column -> its cells, and what they are: "1299 EUR", "12.5", or a reason."""
    table = Path(__file__).with_name("price_cases.txt").read_text(encoding="utf-8")
    for block in table.strip().split("\n\n")[1:]:
        name, *lines = block.splitlines()
        cells = [line.split(" | ", 1) for line in lines]
        yield name, [(_blanks(cell), label.replace(" | ", " ")) for cell, label in cells]


def _blanks(cell: str) -> str:
    return cell if cell in ("1_000", "£1·50") else cell.translate(BLANKS)


CASES = dict(labelled())


def outcome(convention: PriceConvention, cell: str) -> str:
    """What `read` makes of a cell, as it is labelled: the reason without the cell that it shows."""
    try:
        amount, currency = convention.read(cell)
    except ValueError as refusal:
        return str(refusal).removesuffix(f": {cell}")
    return " ".join([f"{amount:.15g}", *([currency] if currency else [])])


@pytest.mark.parametrize("name", CASES)
def test_every_labelled_cell_is_read_as_its_column_writes_it(name: str) -> None:
    convention = decide_convention([cell for cell, _ in CASES[name]])
    read = {cell: outcome(convention, cell) for cell, _ in CASES[name]}
    assert read == {cell: label.removesuffix(" -") for cell, label in CASES[name]}


def test_the_labelled_table_is_large() -> None:
    assert sum(map(len, CASES.values())) >= 250


CONVENTIONS = {
    "plain": lambda amount: f"{amount:.2f}",
    "American": lambda amount: f"{amount:,.2f}",
    "dollars": lambda amount: f"${amount:,.2f}",
    "German": lambda amount: swapped(f"{amount:,.2f}", ".,") + " €",
    "German, whole": lambda amount: swapped(f"{amount:,.2f}", ".,").replace(",00", ",-"),
    "French": lambda amount: swapped(f"{amount:,.2f}", "\u202f,") + "\u00a0€",
    "Swiss": lambda amount: "CHF " + f"{amount:,.2f}".replace(",", "’").replace(".00", ".–"),
    "Indian": lambda amount: "₹" + indian(amount),
    "Arabic": lambda amount: swapped(f"{amount:,.2f}", "٬٫").translate({48 + n: 0x660 + n for n in range(10)}),
    "program": lambda amount: repr(amount / 7),
}


def swapped(text: str, signs: str) -> str:
    return text.translate({ord(","): signs[0], ord("."): signs[1]})


def indian(amount: float) -> str:
    whole, _, cents = f"{amount:.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    while head:
        head, tail = head[:-2], f"{head[-2:]},{tail}"
    return f"{tail}.{cents}"


@pytest.mark.parametrize("name", CONVENTIONS)
def test_amounts_written_in_a_convention_are_read_back_exactly(name: str) -> None:
    rng = np.random.default_rng(0)
    for size in (3, 60, 500):
        drawn = rng.lognormal(4, 2, size).tolist()
        amounts = [max(round(amount, 2 * (n % 3 > 0)), 0.01) for n, amount in enumerate(drawn)] + [12.5]  # shows cents
        convention = decide_convention([CONVENTIONS[name](amount) for amount in amounts])
        exact = [amount / 7 if name == "program" else amount for amount in amounts]
        assert [convention.read(CONVENTIONS[name](amount)).amount for amount in amounts] == exact


@pytest.mark.parametrize("thousands", [".", ",", "'", " "])
def test_whole_prices_are_read_back_where_the_column_also_has_smaller_ones(thousands: str) -> None:
    rng = np.random.default_rng(0)
    amounts = [5, 57, 612, *rng.integers(1000, 2_000_000, 50).tolist()]
    cells = [f"{amount:,}".replace(",", thousands) for amount in amounts]
    convention = decide_convention(cells)
    assert [convention.read(cell).amount for cell in cells] == amounts


def test_a_convention_does_not_depend_on_the_order_or_the_batches_of_its_cells() -> None:
    cells = [cell for cell, _ in itertools.chain(*CASES.values())]
    counts = Counter(cells * 2)
    batches = PriceEvidence()
    for start in range(0, len(counts), 7):
        batches.add(dict(list(counts.items())[start : start + 7]))
    whole, parts = decide_convention(counts), batches.decide()
    backwards = decide_convention(dict(reversed(counts.items())))
    assert whole == parts
    assert (whole.decimal, whole.currencies) == (backwards.decimal, backwards.currencies)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["4.99", "1,299.00", "1,299"], ""),
        (["4.5", "1.299"], ""),
        (
            ["12,50", "1.299", "2.450"],
            "2 prices such as 1.299 are read as 1299, because cents are written as in 12,50.",
        ),
        (["12.50", "1.299"], "The price 1.299 is read as 1.299, because cents are written as in 12.50."),
        (["1.299 €"], "The price 1.299 € is read as 1299, because prices in EUR are mostly written so."),
        (["1.299"], "The price 1.299 is read as 1.299, because no other cell shows how it is meant."),
        (["1,299"], "The price 1,299 is read as 1299, because no cell has cents."),
        (
            ["12.50", "7.99", "8,49"],
            "The price 8,49 is not read, because 2 are written as 12.50.",
        ),
        (["$5"], "$5 is taken to be in USD: name another currency with --currency."),
        (["5 kr"], "The currency of 5 kr may be SEK or NOK or DKK or ISK: name it with --currency."),
        (["£5", "€6", "7 USD", "$8"], ""),
        (["€6", "5 kr"], ""),
        (["£5 ex VAT", "£6"], "The price £5 ex VAT is without tax."),
        (["£5 inc VAT", "£6"], ""),
        (
            ["£5 inc VAT", "£6 inc VAT", "£7 + VAT"],
            "The price £7 + VAT is not read, because 2 are with tax as £5 inc VAT.",
        ),
        (
            ["£5 inc VAT", "£6 ex VAT", "£7 + VAT"],
            "The price £5 inc VAT is not read, because 2 are without tax as £6 ex VAT.",
        ),
    ],
)
def test_what_is_ambiguous_is_decided_and_noted(cells: list[str], note: str) -> None:
    assert decide_convention(cells).note == note


@pytest.mark.parametrize(
    ("cell", "known", "currency"),
    [
        ("$5", (), "USD"),
        ("$5", ("CAD",), "CAD"),
        ("$5", ("$",), "USD"),
        ("$5", ("CAD", "AUD"), None),
        ("5 kr", ("NOK",), "NOK"),
        ("5 kr", ("EUR",), None),
        ("¥5", ("CNY",), "CNY"),
        ("€5", ("CAD",), "EUR"),
        ("US$5", ("CAD",), "USD"),
        ("5", ("CAD",), None),
    ],
)
def test_a_mark_of_many_currencies_is_the_one_that_is_known(cell: str, known: tuple[str, ...], currency: str) -> None:
    convention = decide_convention([cell], known)
    assert convention.read(cell) == Money(5, currency)


def test_a_convention_reads_cells_that_it_was_not_decided_from() -> None:
    german = decide_convention({"12,50": 3})
    assert german.read("1.299 €") == Money(1299, "EUR")
    assert german.read("$5") == Money(5, "USD")
    with pytest.raises(ValueError, match=r"unlike the column's others: 12\.50"):
        german.read("12.50")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "no price"),
        ("", "no price"),
        ("  ", "no price"),
        (str(2 * HIGHEST_PRICE), "price is beyond 1e-06 to 1e+12: 2000000000000.0"),
        (str(LOWEST_PRICE / 2), "price is beyond 1e-06 to 1e+12: 5e-07"),
        ("x" * 1000, f"price is not a plain number: {'x' * 79}…"),
        ("$" + "9" * 1000, f"price is not a plain number: ${'9' * 78}…"),
        ("\ud800 5", "price is not a plain number: \\ud800 5"),
    ],
)
def test_a_refusal_gives_the_reason_and_shows_the_cell(cell: str | None, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        PriceConvention().read(cell)
    assert str(refusal.value) == reason


def test_a_column_of_prices_that_are_none_is_taken_for_plain_numbers() -> None:
    assert decide_convention({}) == decide_convention(["free", "n/a"]) == PriceConvention()


def test_a_warning_says_that_the_rejected_prices_are_the_dear_end() -> None:
    prices = [float(price) for price in range(10, 210)]
    dear = {f"from {1000 + n},50": 1 for n in range(100)}
    assert price_column_warning(prices, dear) == (
        "The 100 rejected prices with a number are the dear end of the column: half are above 1050.5, as are only 0% "
        "of the prices that were read."
    )
    assert "cheap end" in price_column_warning(prices, {"50p": 0, "5/kg": 40})


def test_no_warning_is_given_for_few_rejects_or_for_rejects_like_the_others() -> None:
    prices = [float(price) for price in range(10, 210)]
    assert price_column_warning(prices, {"from 5000": 2}) == ""
    assert price_column_warning([float(price) for price in range(1, 1001)], {"from 5000": 4}) == ""
    assert price_column_warning(prices, {f"from {price}": 1 for price in range(10, 210, 3)}) == ""
    assert price_column_warning(prices, {"free": 500}) == ""
    assert price_column_warning([], {"from 5000": 100}) == ""
