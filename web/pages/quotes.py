"""The page that prices an item: a form, the answer, and the comparables behind it.

A form of words alone is a link; one with a photograph is sent. `part=answer` asks for the answer without the page
around it, which is what the script puts in the old one's place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from engine.serving.stored_rows import stored_row
from index.errors import PriceError
from web.api import State, chosen_index, photograph_address, price_with_photographs
from web.pages.forms import QuoteForm, read_form, sliders
from web.pages.plots import interval_plot
from web.pages.templating import page
from web.pricing.batches import Answer
from web.pricing.indexes import ServedIndex
from web.problems import Busy, Problem
from web.served import Served

router = APIRouter()
PART = "answer"
MOST_CARDS = 24
SAME = 0.005  # share by which a price is no other
TEXT, PHOTOGRAPH, NUMBERS = "text", "photograph", "numbers"  # where on the page a mistake was made


@router.get("/")
async def quote_page(request: Request, state: State) -> Response:
    """Show the form, and the answer where the link brings an item."""
    site = request.headers.get("sec-fetch-site", "none")
    fetches = site in ("none", "same-origin")  # else another site's page could have this server fetch
    return await _answer(request, state, request.query_params.get("part") == PART, fetches=fetches)


@router.post("/")
async def send_quote_form(request: Request, state: State) -> Response:
    """Show the answer to a form that was sent, with a photograph or without."""
    return await _answer(request, state, request.query_params.get("part") == PART, fetches=True)


async def _answer(request: Request, state: Served, part: bool, *, fetches: bool) -> Response:
    values: dict[str, Any] = {"form": QuoteForm(), "problem": None, "where": None, "answer": None}
    index, status = chosen_index(state, None), 200
    headers: dict[str, str] = {}
    try:
        form = values["form"] = await _form_of(request)
        index = chosen_index(state, form.index)
        if form.moved:
            known = {name for name, _ in _columns(index)}
            further = {name: value for name, value in form.further.items() if name in known}
            form = values["form"] = replace(form, further=further)
        if form.image and not fetches:
            form = values["form"] = replace(form, image="")
        if form.sent:
            answer = await _priced(state, index, form)
            values["answer"] = _shown(state, index, form, answer)
    except (PriceError, HTTPException) as error:
        problem = state.problem_of(error)
        if not isinstance(problem, Busy) and problem.status_code not in (422, 400):
            raise
        values |= {"problem": problem.detail, "where": _place_of(problem)}
        status, headers = problem.status_code, dict(problem.headers or {})
    values |= _of_index(state, index)
    return page(request, "answer.html" if part else "quote.html", values, status=status, headers=headers)


async def _form_of(request: Request) -> QuoteForm:
    if request.method != "POST":
        return await read_form(request.query_params)
    async with request.form(max_files=1, max_fields=100) as fields:
        return await read_form(fields)


async def _priced(state: Served, index: ServedIndex, form: QuoteForm) -> Answer:
    state.log_items(lambda: [form.text])
    return await price_with_photographs(state, form.manner(index.name), [form.item()], form.upload)


def _shown(state: Served, index: ServedIndex, form: QuoteForm, answer: Answer) -> dict[str, Any]:
    """Return what the page shows of an answer."""
    (quote,) = answer.quotes
    mark = form.mark(index.name)
    last = (form.before if form.before_of == mark else None) or (quote.before and quote.before.price)
    before = last if last and abs(last - quote.price) > SAME * quote.price else None
    parts = dict(quote.parts)
    shift, blend, stacker = parts.pop("shift"), parts.pop("blend"), parts.pop("stacker", None)
    median = parts.pop("median", None)
    return {
        "quote": quote,
        "currency": answer.pricer.manifest.currency,
        "coverage": answer.pricer.settings.coverage,
        "generation": answer.generation,
        "plot": interval_plot(quote, before),
        "before": before,
        "mark": mark,
        "members": parts,
        "blend": blend,
        "stacker": stacker,
        "shift": shift,
        "median": median,
        "sliders": sliders(answer.correction, answer.pricer.correction),
        "link": form.link(index.name, answer.correction),
        "most_cards": MOST_CARDS,
        "left_out": {item_id: _name_of(answer, item_id) for item_id in form.without},
        "pinned_unseen": {
            item_id: _name_of(answer, item_id)
            for item_id in form.only
            if item_id not in {row.item_id for row in quote.comparables[:MOST_CARDS]} | set(form.without)
        },
        "photographs": {
            row.item_id: photograph_address(index.name, row.item_id)
            for row in quote.comparables[:MOST_CARDS]
            if row.image and index.name in state.shown
        },
    }


def _name_of(answer: Answer, item_id: str) -> str:
    row = stored_row(answer.pricer, item_id)
    return row.name if row else item_id


def _of_index(state: Served, index: ServedIndex) -> dict[str, Any]:
    """Return what the form shows of the index."""
    return {
        "index": index.name,
        "indexes": list(state.indexes),
        "rows": len(index.pricer.reference.log_price),
        "columns": _columns(index),
        "reads_photographs": index.pricer.looks_at_photographs,
        "fetches": state.settings.allow_fetch,
    }


def _columns(index: ServedIndex) -> list[tuple[str, str]]:
    """Return names and kinds of the further columns of an index."""
    return [(name, kind) for kind, _, name in (column.partition(":") for column in index.pricer.manifest.further)]


def _place_of(problem: Problem) -> str:
    """Return where on the page the mistake was made."""
    words = problem.detail.lower()
    if any(word in words for word in ("photograph", "image")):
        return PHOTOGRAPH
    return (
        NUMBERS
        if words.startswith(
            ("k is", "band is", "lambda is", "alpha is", "the index has no row", "every comp", "without ", "only ")
        )
        else TEXT
    )
