"""Schemas of the API: what a request may hold, what an answer holds, and examples of both.

They check the form. Whether an index has a column, or a photograph can be used, is for who prices.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from engine.serving.arguing.selection import MOST_IDS
from engine.settings.schema import MOST_ALPHA, MOST_NEIGHBOURS
from web.settings import LONGEST_TEXT, MOST_FURTHER, MOST_ITEMS, MOST_RULES

Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
IndexName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Positive = Annotated[FiniteFloat, Field(gt=0, le=1e9)]
IMAGE = "A `data:` URL in base64 (JPEG, PNG, WebP or GIF), or, where the server fetches, an http(s) address."
EXAMPLE: JsonDict = {"text": "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"}

WORDS_OR_IMAGE: list[JsonValue] = [
    {"required": ["text"], "properties": {"text": {"pattern": r"\S"}}},
    {"required": ["image"], "properties": {"image": {"type": "string"}}},
]
EXAMPLES: list[JsonValue] = [{"items": [EXAMPLE]}, {"items": [EXAMPLE], "k": 8, "band": 0.5}]


class ItemToPrice(BaseModel):
    """An item to price: words, a photograph, or both."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE], "anyOf": WORDS_OR_IMAGE})

    text: Text = Field("", description="What the item is, as a shop would describe it.")
    image: str | None = Field(None, description=IMAGE, json_schema_extra={"pattern": "^(https?://|data:)"})
    further: dict[Name, Text | FiniteFloat | None] = Field(
        default_factory=dict,
        max_length=MOST_FURTHER,
        description="What the item has in further columns of the catalogue, by name: brand, weight.",
    )

    current_price: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="What the item costs now, which the rule max_change is of: 4.99."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.text.strip() and not (self.image or "").strip():
            raise ValueError("There is nothing to price: give the item's text, its image, or both.")
        return self


class QuotesRequest(BaseModel):
    """Items to price, and what is to replace the index's own parameters of the correction."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": EXAMPLES})

    items: list[ItemToPrice] = Field(min_length=1, max_length=MOST_ITEMS)
    index: IndexName | None = Field(None, description="An index of this server; the first where none is given.")
    k: Annotated[int, Field(ge=1, le=MOST_NEIGHBOURS, strict=True)] | None = Field(
        None, description="How many neighbours correct a price."
    )
    band: Positive | Literal["inf"] | None = Field(
        None, description="Half-width in log price in which they lie: 0.35 is about a third, inf all."
    )
    decay: Positive | None = Field(
        None, alias="lambda", description="How fast a neighbour's weight falls with its distance."
    )
    alpha: Annotated[FiniteFloat, Field(gt=0, le=MOST_ALPHA)] | None = Field(
        None, description="Share of the neighbours' mean residual that is added."
    )
    answer: Literal["median", "mean"] = Field("median", description="The median of what an item may cost, or the mean.")

    without: list[Name] = Field(
        default_factory=list, max_length=MOST_IDS, description="Ids of comparables that are left out."
    )
    only: list[Name] = Field(
        default_factory=list,
        max_length=MOST_IDS,
        description="Ids of comparables that are pinned: no other counts, and no band.",
    )

    rules: dict[Name, Annotated[str, Field(max_length=200)]] = Field(
        default_factory=dict,
        max_length=MOST_RULES,
        description="Bounds of the price to set, by name as `price query --rule` takes them, in the place of the "
        "index's own: floor, ceiling, cost, margin, map, max_change, ending.",
        json_schema_extra={"examples": [{"floor": "3", "ending": ".99"}]},
    )

    def overrides(self) -> tuple[tuple[str, float], ...]:
        """Return what replaces the index's own parameters."""
        band = None if self.band is None else float(self.band)
        given = {"k": self.k, "band": band, "decay": self.decay, "alpha": self.alpha}
        return tuple((name, value) for name, value in given.items() if value is not None)


class PerUnit(BaseModel):
    """Price of one unit of an item."""

    price: float
    unit: str = Field(description="kg, litre, piece, metre or square metre")


class ComparableOut(BaseModel):
    """A row of the catalogue that corrected the price."""

    item_id: str
    name: str
    price: float
    similarity: float = Field(description="Cosine: 1 is the same.")
    residual: float = Field(description="Log price less what the models expected of it; 0.1 is about 10 % dearer.")
    weight: float = Field(description="Its share of the correction.")
    image: str | None = Field(description="Address of its photograph on this server, if it has one.")
    per_unit: PerUnit | None


class BeforeOut(BaseModel):
    """A price by all comparables and all models."""

    price: float
    low: float
    high: float


class QuoteOut(BaseModel):
    """A price, its interval, how it came about, and the comparables behind it; as `price query --json`."""

    model_config = ConfigDict(extra="allow")

    price: float
    low: float
    high: float
    parts: dict[str, float]
    comparables: list[ComparableOut]
    notes: list[str]
    per_unit: PerUnit | None
    confidence: Literal["high", "medium", "low"]
    within_20: float = Field(description="Share of such items that were within 20 % of their price.")
    why: list[str] = Field(description="What makes the price no surer, the weightiest first.")
    price_to_set: float | None = Field(None, description="The price by the rules, where there are any.")
    bound_by: str = Field("", description="The rules that bound it, with commas; empty where none did.")
    rule_note: str = Field("", description="What the rules say of it.")
    before: BeforeOut | None = Field(description="By all comparables, where some were left out or pinned.")


class QuotesAnswer(BaseModel):
    """Quotes in the order of the items, all by one generation of one index."""

    index: str
    generation: str
    currency: str
    coverage: float = Field(description="Share of the prices of such items that lie within the interval.")
    settings: dict[str, float | None] = Field(description="k, band (null for no limit), lambda and alpha, as used.")
    seconds: float
    quotes: list[QuoteOut]


class RowOut(BaseModel):
    """A row of the catalogue, as an index knows it."""

    index: str
    generation: str
    currency: str
    item_id: str
    name: str
    price: float
    residual: float
    image: str | None
    per_unit: PerUnit | None


class IndexOut(BaseModel):
    """Contents of an index, how it was made, and how good it is: `evaluation` is what `price evaluate` said."""

    index: str
    generation: str
    created: str
    rows: int
    rejected: int
    currency: str
    encoders: list[str]
    members: list[str]
    further: list[str] = Field(description="Further columns that it reads: `category:NAME` and `number:NAME`.")
    settings: dict[str, float | None]
    coverage: float
    indexes: list[str] = Field(description="Names of all indexes of this server.")
    newer: str = Field(description="Why a newer generation cannot be served; empty where there is none.")
    evaluation: dict[str, Any]


class FileJobOut(BaseModel):
    """A job that prices a file. `result` and `rejects` are addresses once its state is `done`."""

    id: str
    name: str
    index: str
    state: Literal["reading", "read", "pricing", "done", "refused"]
    rows: int
    rows_done: int
    detail: str = Field(description="Why the file was refused; empty where it was not.")
    reading: dict[str, Any] = Field(description="How the file was understood, as `price inspect --json`.")
    counts: dict[str, Any]
    result: str | None
    rejects: str | None


class ProblemOut(BaseModel):
    """A refusal, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


class Health(BaseModel):
    """State of the server."""

    status: Literal["ok"]
