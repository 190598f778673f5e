"""JSON of requests, read strictly: no NaN, no infinity, no number that becomes one, no half of a character."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from web.problems import Problem

MOST_DIGITS = 400  # of a number


class StrictRequest(Request):
    """A request whose JSON is read strictly, once."""

    async def json(self) -> Any:
        """Return the document. Raises Problem."""
        if not hasattr(self, "_strict"):
            self._strict = strict_json(await self.body())
        return self._strict


class StrictRoute(APIRoute):
    """A route whose requests are strict."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler for a request that is made strict first."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def strict_json(body: bytes) -> Any:
    """Read a document. Raises Problem with one sentence for what is none."""
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
        if b"\\u" in body:  # only an escape can bring half of a character
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Problem(400, "The body holds what is no Unicode text: send JSON in UTF-8.") from None
    except (ValueError, RecursionError):
        raise Problem(400, "The body is no JSON: send one JSON object.") from None
    return document


def _refuse(name: str) -> NoReturn:
    raise Problem(400, f"The body holds {name}, which is no number: leave it out, or send null.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Problem(400, f"The body holds {text[:20]}, which is no finite number: send a smaller one.")
    return number


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise Problem(400, "The body holds a number of too many digits: send a smaller one.")
    return int(text)
