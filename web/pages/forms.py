"""Form of the page that prices an item: what its fields mean, and the link that reproduces an answer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData, QueryParams, UploadFile

from engine.settings.schema import MOST_ALPHA, CorrectionParameters
from web.pricing.batches import Manner
from web.problems import Problem
from web.schemas import ItemToPrice
from web.settings import LONGEST_TEXT

SET = "set."  # begins the name of a field of a further column
WIDEST = 4.0  # half-width in log price from which the slider means all
MOST_K, MOST_LAMBDA = 200, 50.0  # ends of sliders
MARK = 16  # characters


@dataclass(frozen=True)
class Slider:
    """A slider of the page: `value` is where it stands, `own` the index's."""

    name: str
    label: str
    low: float
    high: float
    step: str
    value: float
    own: float


@dataclass(frozen=True)
class QuoteForm:
    """Fields of the form, as they were sent."""

    text: str = ""
    image: str = ""  # an address
    upload: bytes | None = None
    upload_name: str = ""
    index: str | None = None
    further: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)  # k, band, lambda, alpha
    answer: str = "median"
    without: tuple[str, ...] = ()  # ids of comparables that are left out
    only: tuple[str, ...] = ()  # and of those that are pinned
    before: float | None = None  # the price that was shown before this one
    before_of: str = ""  # mark of the item that it was the price of
    moved: bool = False  # from a page of another index

    @property
    def sent(self) -> bool:
        """Tell whether there is anything to price."""
        return bool(self.text.strip() or self.image.strip() or self.upload)

    def item(self) -> ItemToPrice:
        """Return the item, without an upload. Problem for a text that is too long."""
        if len(self.text) > LONGEST_TEXT:
            raise Problem(422, f"The text has over {LONGEST_TEXT:,} characters: describe one item.")
        return ItemToPrice.model_construct(text=self.text, image=self.image.strip() or None, further=dict(self.further))

    def mark(self, index: str) -> str:
        """Return a mark of the item at an index, by which two prices are known to be of the same item.

        It is made of the words, else of the photograph: what else is known of an item may change, and a photograph be
        added, and the price before is what that is compared with.
        """
        words = " ".join(self.text.split())  # browsers end lines in two ways
        item = words or self.image.strip() or hashlib.sha256(self.upload or b"").hexdigest()
        return hashlib.sha256("\0".join((index, item)).encode("utf-8", "surrogatepass")).hexdigest()[:MARK]

    def manner(self, index: str) -> Manner:
        """Return the manner of pricing. Problem for a number out of range."""
        given: dict[str, Any] = dict(self.numbers)
        if "band" in given and given["band"] >= WIDEST:
            given["band"] = math.inf
        if "k" in given:
            given["k"] = round(given["k"])
        if "lambda" in given:
            given["decay"] = given.pop("lambda")
        return Manner(index, self.answer, tuple(given.items()), self.without, self.only)

    def link(self, index: str, correction: CorrectionParameters) -> str:
        """Return the address that gives the same answer again, but for an upload."""
        fields = {"text": self.text, "image": self.image.strip(), "index": index, "answer": self.answer}
        fields |= {f"{SET}{name}": value for name, value in self.further.items()}
        band = correction.band if math.isfinite(correction.band) else WIDEST
        fields |= {"k": str(correction.k), "band": repr(band)}
        fields |= {"lambda": repr(correction.decay), "alpha": repr(correction.alpha)}
        chosen = [("without", item_id) for item_id in self.without] + [("only", item_id) for item_id in self.only]
        return "/?" + urlencode([*((name, value) for name, value in fields.items() if value), *chosen])


async def read_form(fields: QueryParams | FormData) -> QuoteForm:
    """Read the fields of a form or a link. Problem for one that cannot be used."""
    texts = {name: value for name, value in fields.multi_items() if isinstance(value, str)}
    file = fields.get("photograph")
    upload = await file.read() if isinstance(file, UploadFile) else b""
    numbers = {name: _number(name, texts[name]) for name in ("k", "band", "lambda", "alpha") if texts.get(name)}
    moved = texts.get("page_of") not in (None, texts.get("index"))
    answer = texts.get("answer", "median")
    if answer not in ("median", "mean"):
        raise Problem(422, "answer is the median or the mean: choose one of them.")
    return QuoteForm(
        text=texts.get("text", ""),
        image=texts.get("image", ""),
        upload=upload or None,
        upload_name=(file.filename or "") if upload and isinstance(file, UploadFile) else "",
        index=texts.get("index") or None,
        further={name.removeprefix(SET): value for name, value in texts.items() if name.startswith(SET) and value},
        numbers={} if moved else numbers,  # they stand where another index's own values are
        answer=answer,
        without=() if moved else _ids(fields, "without"),  # ids are those of another index
        only=() if moved else _ids(fields, "only"),
        before=_number("before", texts["before"]) if texts.get("before") else None,
        before_of=texts.get("before_of", ""),
        moved=moved,
    )


def _ids(fields: QueryParams | FormData, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in fields.getlist(name) if isinstance(value, str) and value))


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1e12:
        raise Problem(422, f"{name} is {text[:20]!r}: give a number above 0.")
    return number


def sliders(used: CorrectionParameters, own: CorrectionParameters) -> list[Slider]:
    """Return the sliders, standing where the answer was priced."""
    return [
        Slider("k", "Comparables (k)", 1, max(MOST_K, used.k), "1", used.k, own.k),
        Slider("band", "Price band", 0.05, WIDEST, "any", min(used.band, WIDEST), min(own.band, WIDEST)),
        Slider("lambda", "Fall of weight (λ)", 0.01, max(MOST_LAMBDA, used.decay), "any", used.decay, own.decay),
        Slider("alpha", "Share applied (α)", 0.01, min(1.5, MOST_ALPHA), "any", used.alpha, own.alpha),
    ]
