"""Read what a row of a price list says beside its item: its price now, its weight, its group, and rules of its own.

A cell that cannot be read leaves its row in place, with the reason. What the cells mean stands in `facts_of`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.serving.review.bounding import RowRules
from engine.settings.read import suggestion
from engine.settings.rules import ENDING, PERCENT_RULES, Rules, column_of, read_ending
from index.catalogue.formats.records import unmistakable
from index.catalogue.money import HIGHEST_PRICE
from index.catalogue.money.price_cells import split_price
from index.catalogue.money.prices import PriceConvention, PriceEvidence, amount_of
from index.catalogue.shops.headings import GROUP_WORDS, normalised
from index.catalogue.shops.values import read_number
from index.errors import DataRefused, UsageError
from index.visible import excerpt

if TYPE_CHECKING:
    import pyarrow as pa

    from index.arrays import Float64
    from index.catalogue.formats.records import Record
    from index.catalogue.reading import Reading

OWN = "own:"
CURRENT, WEIGHT, GROUP = "current", "weight", "group"
PRICE_FAULT, RULE_FAULT = "price_fault", "rule_fault"
NUMERIC_RULES = tuple(field.name for field in fields(Rules) if field.name != ENDING)
NO_PRICE = "no price"


@dataclass(frozen=True)
class Facts:
    """Facts that n rows state beside their items."""

    current: Float64  # NaN where unknown
    weight: Float64  # NaN where none is known; 1 where nobody asked for one
    group: Sequence[str]  # a category, "" for none
    fault: Sequence[str]  # why the current price or the weight cannot be read, "" where they can
    rules: RowRules


@dataclass(frozen=True)
class OwnColumns:
    """Columns of a file or frame that are read beside the items; None for none."""

    rules: Rules
    weight: str | None = None
    group: str | None = None

    @property
    def named(self) -> dict[str, str]:
        """Names of what is read -> the column that has it, but for the current price, which the file's reader finds."""
        beside = {WEIGHT: self.weight, GROUP: self.group}
        return {**self.rules.columns, **{name: column for name, column in beside.items() if column}}


class CellReader:
    """Cells of a row -> values: money of rules, and weights, by a convention of each column."""

    def __init__(self, named: Mapping[str, str], currency: str, *, several_currencies: bool = False) -> None:
        self._named = named
        self._currency = currency
        self._several = several_currencies
        self._evidence = {name: PriceEvidence() for name in named if name not in (*PERCENT_RULES, GROUP, ENDING)}
        self._conventions: dict[str, PriceConvention] = {}

    def survey(self, name: str, cells: Mapping[str, int]) -> None:
        """Take note of how a column writes its money, or its weights; nothing of others."""
        if name in self._evidence:
            self._evidence[name].add(cells)

    @property
    def surveyed(self) -> bool:
        """Tell whether a column has to be surveyed before cells are read."""
        return bool(self._evidence)

    def read(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Values of a row by what they are, None where it has none; RULE_FAULT and PRICE_FAULT, "" for none."""
        values: dict[str, Any] = {GROUP: cells.get(GROUP, "").strip()}
        faults: dict[str, list[str]] = {PRICE_FAULT: [], RULE_FAULT: []}
        for name in self._named:
            cell = cells.get(name, "").strip()
            if not cell or name == GROUP:
                continue
            try:
                values[name] = self._value(name, cell)
            except (ValueError, UsageError) as error:
                kind = PRICE_FAULT if name in (CURRENT, WEIGHT) else RULE_FAULT
                faults[kind].append(f"{self._named[name]}: {error}".rstrip("."))
        return values | {kind: "; ".join(of_kind) for kind, of_kind in faults.items()}

    def _value(self, name: str, cell: str) -> float | str:
        """The value of a cell. ValueError or UsageError with the reason for one that cannot be read."""
        if name == ENDING:
            for text in cell.split(","):
                read_ending(text)
            return cell
        if name == WEIGHT:
            return self._weight(cell)
        if name in PERCENT_RULES:
            number = read_number(cell.removesuffix("%"))
            if number is None or not math.isfinite(number):
                raise ValueError(f"no number: {excerpt(cell)}")
            within: dict[str, Any] = {"cost": 1.0, name: number}
            Rules(**within)  # or it is refused
            return number
        if name != CURRENT and read_number(cell) == 0:
            return 0.0
        money = self._convention(name).read(cell)
        if money.currency is not None and money.currency != self._currency:
            raise ValueError(f"in {money.currency}, and the index is in {self._currency}: {excerpt(cell)}")
        if money.currency is None and self._several:
            raise ValueError(f"states no currency, and the file has several: {excerpt(cell)}")
        return money.amount

    def _weight(self, cell: str) -> float:
        """The number in a cell such as 3, 0.5, or 1,200. ValueError for none, and for one below 0."""
        try:
            parts = split_price(cell)
        except ValueError:
            raise ValueError(f"no number: {excerpt(cell)}") from None
        amount = None if parts.currencies else amount_of(parts, self._convention(WEIGHT).decimal)
        if amount is None or not math.isfinite(amount):
            raise ValueError(f"no number: {excerpt(cell)}")
        if parts.negative and amount:
            raise ValueError(f"below 0: {excerpt(cell)}")
        return amount

    def _convention(self, name: str) -> PriceConvention:
        if name not in self._conventions:
            decided = self._evidence[name].decide([self._currency])
            self._conventions[name] = replace(decided, currency=self._currency)
        return self._conventions[name]


class OwnReader:
    """A reader of a file's own cells, beside the articles that it is read for."""

    def __init__(self, reading: Reading, columns: OwnColumns, currency: str) -> None:
        """Find the columns. DataRefused for one that the file has not."""
        self.reading = reading
        named = columns.named
        header = reading.roles.header
        places = {name: _place(reading, column) for name, column in named.items()}
        if GROUP not in places and (at := _group_place(header)) is not None:
            places[GROUP], named = at, {**named, GROUP: header[at]}
        known = reading.articles.columns
        self.columns = (*known, *sorted(set(places.values()) - set(known)))
        self._at = {name: self.columns.index(place) for name, place in places.items()}
        self._width = len(known)
        self._cells = CellReader(named, currency, several_currencies=reading.rates is not None)
        if self._cells.surveyed:
            for batch in reading.source.batches(self.columns):
                for name, at in self._at.items():
                    self._cells.survey(name, Counter((record.cells[at] or "").strip() for record in batch))

    def batches(self) -> Iterator[list[tuple[Record, tuple[str | None, ...]]]]:
        """Records as the articles are read from, each with all its cells."""
        for batch in self.reading.source.batches(self.columns):
            yield [(record._replace(cells=record.cells[: self._width]), record.cells) for record in batch]

    def read(self, cells: tuple[str | None, ...], price: float | None, price_fault: str) -> dict[str, Any]:
        """Values of a row; its price now as the items' reader has it, or why it has none."""
        texts = {name: (cells[at] or "")[:1000] for name, at in self._at.items() if at < len(cells)}
        values = self._cells.read(texts)
        faults = [
            fault for fault in ("" if price is not None else price_fault or NO_PRICE, values[PRICE_FAULT]) if fault
        ]
        return {**values, CURRENT: price, PRICE_FAULT: "; ".join(faults)}


def _place(reading: Reading, column: str) -> int:
    header = reading.roles.header
    places = [at for at, name in enumerate(header) if name.strip() == column]
    places = places or [at for at, name in enumerate(header) if normalised(name) == normalised(column)]
    if len(places) == 1:
        return places[0]
    if places:
        raise DataRefused(f"{reading.path} has more than one column {column!r}: rename all but one.")
    raise DataRefused(f"{reading.path} has no column {column!r}{suggestion(column, dict.fromkeys(header[:20]))}.")


def _group_place(header: Sequence[str]) -> int | None:
    """The column that a summary is by where nobody names one: a category, by its heading."""
    return next((at for at, name in enumerate(header) if normalised(name) in GROUP_WORDS), None)


def own_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """Columns of n rows that `CellReader` has read, by the names under which a shard keeps them."""
    import pyarrow as pa

    numbers = (CURRENT, WEIGHT, *NUMERIC_RULES)
    kinds = {
        **dict.fromkeys(numbers, pa.float64()),
        **dict.fromkeys((GROUP, ENDING, PRICE_FAULT, RULE_FAULT), pa.string()),
    }
    return {OWN + name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}


def facts_of(columns: Mapping[str, pa.Array], own: OwnColumns) -> Facts:
    """Facts of n rows, of columns as `own_table` makes them; rules that are the same for all rows among them."""
    numbers = {
        name: np.asarray(columns[OWN + name].to_numpy(zero_copy_only=False), np.float64)
        for name in (CURRENT, WEIGHT, *NUMERIC_RULES)
    }
    texts = {
        name: [cell or "" for cell in columns[OWN + name].to_pylist()]
        for name in (GROUP, PRICE_FAULT, RULE_FAULT, ENDING)
    }
    rows = len(texts[GROUP])
    for name in NUMERIC_RULES:
        value = getattr(own.rules, name)
        if value is not None and column_of(value) is None:
            numbers[name] = np.full(rows, float(value))
    whole = own.rules.ending if column_of(own.rules.ending) is None else ()
    by_cell = {
        cell: tuple(read_ending(part) for part in cell.split(",")) if cell else tuple(map(read_ending, whole))
        for cell in set(texts[ENDING])
    }
    rules = RowRules(
        **{name: numbers[name] for name in NUMERIC_RULES},
        endings=[by_cell[cell] for cell in texts[ENDING]],
        fault=texts[RULE_FAULT],
    )
    weight = numbers[WEIGHT] if own.weight else np.ones(rows)
    return Facts(numbers[CURRENT], weight, texts[GROUP], texts[PRICE_FAULT], rules)


def facts_of_cells(cells: Mapping[str, Sequence[Any]], rows: int, own: OwnColumns, currency: str) -> Facts:
    """Facts of n rows of a frame or a query, by column; the current prices stand under CURRENT."""
    named = {**own.named, CURRENT: CURRENT}
    reader = CellReader(named, currency)
    texts = {name: [_text(value) for value in cells.get(column, [None] * rows)] for name, column in named.items()}
    for name, column in texts.items():
        reader.survey(name, Counter(column))
    read = []
    for row in range(rows):
        values = reader.read({name: column[row] for name, column in texts.items()})
        if values.get(CURRENT) is None and not values[PRICE_FAULT]:
            values[PRICE_FAULT] = NO_PRICE
        read.append(values)
    return facts_of(own_table(read), own)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if not isinstance(value, float) or abs(value) >= HIGHEST_PRICE:
        return str(value)
    return unmistakable(f"{value:.15g}")
