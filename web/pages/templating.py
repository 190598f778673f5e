"""Templates of the pages: text is escaped everywhere, and shows what it hides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from index.visible import money, visible

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import HTMLResponse

TEMPLATES, STATIC = (Path(__file__).parent.parent / name for name in ("templates", "static"))
PAGES = (("/", "Price an item"), ("/files", "Price a file"), ("/index", "The index"), ("/docs", "API"))


@cache
def environment() -> Environment:
    """Return the templates with what they may call. Whatever is put in is escaped; what is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"money": money, "visible": visible, "figure": figure, "percent": percent}
    made.globals |= {"version": version("price-engine"), "static": "/static/", "pages": PAGES, "scripts": True}
    return made


def page(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return a page of the server, made of a template."""
    from starlette.responses import HTMLResponse

    text = environment().get_template(template).render(path=request.url.path, **values)
    return HTMLResponse(text, status, dict(headers or {}))


def figure(value: float) -> str:
    """Format a number with as many digits as are worth reading."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float) -> str:
    """Format a share."""
    return f"{share:.0%}"
