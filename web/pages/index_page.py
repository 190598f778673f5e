"""The page of an index: what it holds, its score, how well its intervals hold, and which of its own prices look wrong.

And the page of the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from index.errors import PriceError
from web.api import State, chosen_index, describe_index
from web.pages.plots import score_plot
from web.pages.templating import page

router = APIRouter()


@router.get("/index")
async def index_page(request: Request, state: State, index: str | None = None) -> Response:
    """Show what an index holds and how good it is."""
    chosen = chosen_index(state, index or None)
    held = dict(await asyncio.to_thread(describe_index, state, chosen))
    evaluation = held["evaluation"]
    scores = score_plot(evaluation.get("stage_intervals", {}), evaluation.get("stages", {}))
    try:
        audit, unaudited = await asyncio.to_thread(chosen.worst_rows), ""
    except PriceError as error:  # the rest of the page stands without it
        audit, unaudited = None, state.problem_of(error).detail
    values = {"held": held, "evaluation": evaluation, "scores": scores, "audit": audit, "unaudited": unaudited}
    return page(request, "index.html", values)


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """Show the API by its own OpenAPI document."""
    document = request.app.openapi()
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    values = {"operations": operations, "document": document, "origin": str(request.base_url), "kind_of": kind_of}
    return page(request, "docs.html", values)


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in words."""
    kinds = [kind_of(choice) for choice in schema.get("anyOf", ())]
    named = str(schema.get("$ref", "")).rpartition("/")[2] or schema.get("type", "")
    of = f" of {kind_of(schema['items'])}" if "items" in schema else ""
    return " or ".join(dict.fromkeys(kinds)) or f"{named}{of}" or "anything"
