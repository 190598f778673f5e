"""The API under /v1: quotes, the index, and a row of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote as quoted

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.evaluation.report import read_report
from engine.serving.pricer import Item, Quote
from engine.serving.review.one_price import bound_price
from engine.serving.stored_rows import stored_row
from engine.settings.rules import require_rules, rules_of_options
from web.described import describe_generation, head, plain_settings
from web.json_bodies import StrictRoute
from web.pricing.batches import Answer, Manner
from web.problems import MEDIA_TYPE, Problem
from web.schemas import IndexName, IndexOut, ItemToPrice, ProblemOut, QuotesAnswer, QuotesRequest, RowOut
from web.served import Served

if TYPE_CHECKING:
    from web.pricing.indexes import ServedIndex

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut, "description": what, "content": {MEDIA_TYPE: {}}}
    for status, what in {
        400: "No JSON, or nothing that can be read.",
        401: "A token is needed.",
        403: "From a page of another site.",
        404: "No such index, row or job.",
        405: "This cannot be done here.",
        409: "The job is not so far.",
        408: "Too slow to arrive.",
        413: "Too large.",
        421: "Not a name of this server.",
        422: "What cannot be priced, with a sentence that says why.",
        429: "Full: try again after Retry-After.",
        503: "The index or an encoder cannot be used now.",
    }.items()
}
router = APIRouter(prefix="/v1", route_class=StrictRoute, responses=REFUSALS)


def served(request: Request) -> Served:
    """Return what the application serves."""
    state: Served = request.app.state.served
    return state


State = Annotated[Served, Depends(served)]


def chosen_index(state: Served, name: str | None) -> ServedIndex:
    """Return an index by its name, the first where none is given. Problem for an unknown one."""
    if name is None:
        return state.indexes[state.settings.default_index]
    if name not in state.indexes:
        known = ", ".join(state.indexes)
        raise Problem(404, f"There is no index {name!r:.60} here: name one of {known}.")
    return state.indexes[name]


@router.post("/quotes", response_model=QuotesAnswer, summary="Price items")
async def price_quotes(body: QuotesRequest, state: State) -> Response:
    """Price up to 100 items by one generation of an index. Requests that arrive together are priced together."""
    began = time.monotonic()
    index = chosen_index(state, body.index)
    state.log_items(lambda: [item.text for item in body.items])
    rules = rules_of_options(body.rules)
    require_rules(rules)
    if body.only and body.band is not None:
        raise Problem(422, "only counts comparables whatever they cost, and band says how far off: give one of them.")
    manner = Manner(index.name, body.answer, body.overrides(), tuple(body.without), tuple(body.only))
    answer = await price_with_photographs(state, manner, body.items)
    own, currency = replace(answer.pricer.settings.rules, **rules), answer.pricer.manifest.currency
    bounded = [
        bound_price(quote.price, item.current_price, own, currency)
        for item, quote in zip(body.items, answer.quotes, strict=True)
    ]
    return JSONResponse(
        {
            **head(index.name, answer.pricer),
            "coverage": answer.pricer.settings.coverage,
            "settings": plain_settings(replace(answer.correction, band=math.inf) if body.only else answer.correction),
            "seconds": time.monotonic() - began,
            "quotes": [
                plain_quote(quote, index.name, state) | by_rules
                for quote, by_rules in zip(answer.quotes, bounded, strict=True)
            ],
        }
    )


@router.get("/index", response_model=IndexOut, summary="What an index holds")
async def get_index(state: State, index: IndexName | None = None) -> Response:
    """Say what an index holds, how it was made, and how good it is."""
    return JSONResponse(await asyncio.to_thread(describe_index, state, chosen_index(state, index)))


@router.get("/comparables/{item_id:path}", response_model=RowOut, summary="A row of the catalogue")
async def get_comparable(item_id: str, state: State, index: IndexName | None = None) -> Response:
    """Say what an index knows of a row by its id."""
    chosen = chosen_index(state, index)
    pricer = chosen.pricer
    row = await asyncio.to_thread(stored_row, pricer, item_id)
    if row is None:
        raise Problem(404, f"The index {chosen.name} has no row {item_id!r:.60}: check the id.")
    image = photograph_address(chosen.name, row.item_id) if row.image and chosen.name in state.shown else None
    return JSONResponse({**head(chosen.name, pricer), **asdict(row), "image": image})


async def price_with_photographs(
    state: Served, manner: Manner, items: list[ItemToPrice], upload: bytes | None = None
) -> Answer:
    """Price items by their words and photographs; an `upload` in the place of all of these. Raises Problem."""
    images = [upload or item.image for item in items]
    given: list[str | bytes] = [image for image in dict.fromkeys(images) if image and image.strip()]
    with state.photographs.room(len(given)):
        read = dict(zip(given, await asyncio.gather(*map(state.photographs.read, given)), strict=True))
        priced = [
            Item(item.text, read[image][0] if image in read else None, item.further)
            for item, image in zip(items, images, strict=True)
        ]
        return await state.batcher.price(manner, priced, dict(read.values()))


def plain_quote(quote: Quote, index: str, state: Served) -> dict[str, Any]:
    """Return a quote for JSON; a comparable's photograph by its address here, never by a path."""
    shows = index in state.shown
    comparables = [
        vars(row)
        | {
            "image": photograph_address(index, row.item_id) if shows and row.image else None,
            "per_unit": row.per_unit and vars(row.per_unit),
        }
        for row in quote.comparables
    ]
    per_unit, before = (value and vars(value) for value in (quote.per_unit, quote.before))
    return vars(quote) | {"comparables": comparables, "per_unit": per_unit, "before": before}


def photograph_address(index: str, item_id: str) -> str:
    """Return where this server shows the photograph of a row."""
    return f"/photographs/{index}?id={quoted(item_id, safe='')}"


def describe_index(state: Served, index: ServedIndex) -> Mapping[str, Any]:
    """Return what an index holds, for JSON. IndexUnusable where its report cannot be read."""
    return {
        **describe_generation(index.name, index.pricer),
        "indexes": list(state.indexes),
        "newer": index.without_paths(index.trouble),
        "evaluation": read_report(index.pricer.folder),
    }
