"""Problems by RFC 9457: every refusal as `application/problem+json`.

The sentences are those of the command line. What is no PriceError is told as a fault of ours, without its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from index.errors import DataRefused, DownloadNeeded, IndexLocked, IndexUnusable, PriceError, UsageError
from index.shortage import shortage
from index.visible import visible

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
FAULT = "The server met a fault of its own: try again, and tell its operator if it comes back."
STATUS = {DataRefused: 422, UsageError: 422, IndexUnusable: 503, DownloadNeeded: 503, IndexLocked: 503}
FOR_PROGRAMS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json")


class Problem(HTTPException):
    """A refusal with its status, one sentence, and headers. `errors` says where in the body something is wrong."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, visible(detail), dict(headers or {}))
        self.errors = errors or []


class Busy(Problem):
    """A refusal because the server has as much to do as it may take on; `seconds` until it may be worth another try."""

    def __init__(self, seconds: float) -> None:
        wait = max(1, min(60, round(seconds)))
        detail = f"The server has as many items waiting as it takes on: try again in {wait} s."
        super().__init__(429, detail, headers={"Retry-After": str(wait)})


def problem_of(error: BaseException) -> Problem:
    """Return the problem that an error is."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        detail = {404: "There is nothing here.", 405: "This cannot be done here."}.get(error.status_code, error.detail)
        return Problem(error.status_code, f"{detail}", headers=error.headers)
    if why := shortage(error):
        return Problem(503, why, headers={"Retry-After": "30"})
    if isinstance(error, PriceError):
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        return Problem(status, str(error), headers={"Retry-After": "5"} if status == 503 else None)
    return Problem(500, FAULT)


def without_folder(sentence: str, folder: Path, name: str) -> str:
    """Return a sentence in which a folder of this machine, by its path as given or resolved, has a name instead."""
    for path in dict.fromkeys((folder, folder.resolve())):
        sentence = re.sub(rf"(?<![\w./~-]){re.escape(str(path))}(?![\w-]|\.\w)", lambda _: name, sentence)
    return sentence


def problem_document(problem: Problem) -> dict[str, Any]:
    """Return the document of RFC 9457 that tells a problem."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "detail": problem.detail,
    }
    return document | ({"errors": problem.errors} if problem.errors else {})


def as_json(problem: Problem) -> Response:
    """Return the answer that tells a program of a problem."""
    document = problem_document(problem)
    return JSONResponse(document, problem.status_code, headers=problem.headers, media_type=MEDIA_TYPE)


def for_program(scope: Scope) -> bool:
    """Tell whether a program asked, by the path."""
    return str(scope["path"]).startswith(FOR_PROGRAMS)
