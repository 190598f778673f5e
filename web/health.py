"""Health of the server: whether it lives, whether it can price, and its figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from web.api import REFUSALS, State
from web.problems import Problem
from web.schemas import Health

router = APIRouter()


@router.get("/healthz", response_model=Health, summary="Whether the server lives")
async def healthz() -> Response:
    """Answer, whatever else is at work."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_model=Health, summary="Whether every index is open", responses={503: REFUSALS[503]})
async def readyz(state: State) -> Response:
    """Answer where every index is open and found a row of its own by its vector when it was opened."""
    shut = [name for name, index in state.indexes.items() if not index.ready]
    if shut or not state.indexes:
        raise Problem(503, f"These indexes do not find their own rows: {', '.join(shut)}.")
    return JSONResponse({"status": "ok"})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(state: State) -> Response:
    """Return the figures in Prometheus's text format."""
    return Response(state.metrics.text(state.indexes), media_type=CONTENT_TYPE_LATEST)
