"""Photographs of an index's rows, from this machine alone: decoded under the limits and made small JPEGs."""

from __future__ import annotations

import asyncio
import io

from fastapi import APIRouter
from starlette.responses import Response

from engine.serving.stored_rows import stored_row
from index.photographs.formats import ImageRefused
from index.photographs.source import Photographs
from web.api import State, chosen_index
from web.problems import Problem

router = APIRouter()
SIDE = 320  # pixels, of the longer one
KEPT = {"Cache-Control": "private, max-age=600"}
GONE = "There is no photograph of this row here."


@router.get("/photographs/{index}")
async def photograph(index: str, id: str, state: State) -> Response:
    """Return the photograph of a row as a small JPEG."""
    chosen = chosen_index(state, index)
    row = await asyncio.to_thread(stored_row, chosen.pricer, id)
    if row is None or row.image is None or chosen.name not in state.shown:
        raise Problem(404, GONE)
    data = await asyncio.to_thread(small_jpeg, state.shown[chosen.name], row.image)
    return Response(data, media_type="image/jpeg", headers=KEPT)


def small_jpeg(photographs: Photographs, reference: str) -> bytes:
    """Return a photograph as JPEG. Problem where it cannot be had."""
    from PIL import Image

    try:
        image = Image.fromarray(photographs.read(reference))
    except ImageRefused:
        raise Problem(404, GONE) from None
    image.thumbnail((SIDE, SIDE))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=80)
    return made.getvalue()
