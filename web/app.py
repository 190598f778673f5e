"""The application: what it serves, its guards from the outside in, its routes, and how errors are told.

It is made of settings; nothing is opened before it starts.
"""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from index.errors import PriceError
from index.visible import visible
from web import api, health, problems
from web.guard.bodies import BodyGuard
from web.guard.headers import SafeHeaders
from web.guard.hosts import HostGuard, own_names
from web.guard.queues import QueueGuard
from web.guard.tokens import TokenGuard
from web.jobs import routes
from web.metrics import Measured, Metrics
from web.pages import index_page, photographs, quotes
from web.pages.templating import page
from web.pricing.indexes import ServedIndex
from web.pricing.memory import give_back_now_and_then
from web.served import Served, served
from web.settings import ServeSettings

LOOKED_EVERY = 1.0  # seconds between two looks at which generation is current
LOG = logging.getLogger("price")
MOST_ERRORS = 20  # shown of a body that is not of the form


def create_app(settings: ServeSettings, indexes: Mapping[str, ServedIndex] | None = None) -> FastAPI:
    """Make the application. `indexes` that are open already, or they are opened when it starts."""
    metrics = Metrics()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        opened = indexes or {
            name: ServedIndex.open(name, folder, settings.runtime) for name, folder in settings.indexes
        }
        with jobs_folder(settings) as jobs:
            state = app.state.served = served(settings, opened, metrics, jobs)
            state.batcher.start()
            work = (follow(opened), state.jobs.sweep(), give_back_now_and_then())
            tasks = [asyncio.create_task(task) for task in work]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await state.jobs.stop()
            await state.batcher.stop()

    guards = [
        Middleware(Measured, metrics),
        Middleware(SafeHeaders),
        Middleware(BodyGuard, settings.limits),
        Middleware(HostGuard, own_names(settings.host, settings.hosts)),
        *([Middleware(TokenGuard, settings.token)] if settings.token else []),
        Middleware(QueueGuard),
    ]
    app = FastAPI(
        title="price-engine",
        version=version("price-engine"),
        summary="What an item is worth, how sure that is, and which comparable items say so.",
        lifespan=life,
        middleware=guards,
        docs_url=None,  # theirs load scripts from elsewhere; ours is a page
        redoc_url=None,
    )
    app.include_router(api.router)
    app.include_router(routes.api)
    app.include_router(health.router)
    for pages in (quotes.router, routes.pages, index_page.router, photographs.router):
        app.include_router(pages, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), "static")
    for error in (PriceError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _tell)
    return app


def create_app_from_environment() -> FastAPI:
    """Make the application of a worker process."""
    return create_app(ServeSettings.from_environment())


@contextmanager
def jobs_folder(settings: ServeSettings) -> Iterator[Path]:
    """Yield the folder of files to be priced: the one that all workers share, or one that goes with the application."""
    if settings.jobs_dir is not None:
        yield Path(settings.jobs_dir)
        return
    with tempfile.TemporaryDirectory(prefix="price-serve-") as folder:
        yield Path(folder)


async def follow(indexes: Mapping[str, ServedIndex]) -> None:
    """Let each new generation of the indexes answer soon after it has become current."""
    while True:
        await asyncio.sleep(LOOKED_EVERY)
        for index in indexes.values():
            before = index.trouble
            (newer,) = await asyncio.gather(asyncio.to_thread(index.newer), return_exceptions=True)
            if isinstance(newer, BaseException):  # of a library, in a file that no loader of ours refused
                index.trouble = type(newer).__name__
            elif newer is not None:
                index.swap(*newer)
                LOG.info("%s: %s answers now", index.name, index.generation)
            if index.trouble and index.trouble != before:
                LOG.warning("%s: %s goes on: %s", index.name, index.generation, index.trouble)


async def _tell(request: Request, error: Exception) -> Response:
    state: Served = request.app.state.served
    problem = _of_form(error) if isinstance(error, RequestValidationError) else state.problem_of(error)
    if problem.status_code == 405:
        problem.headers = {"Allow": ", ".join(allowed_methods(request))}
    if problems.for_program(request.scope) or "text/html" not in request.headers.get("accept", ""):
        return problems.as_json(problem)
    values = {"problem": problem, "title": HTTPStatus(problem.status_code).phrase}
    return page(request, "problem.html", values, status=problem.status_code, headers=problem.headers)


def allowed_methods(request: Request) -> list[str]:
    """List the methods of all routes of a path, of which the framework names those of the first."""
    path, documented = request.url.path, request.app.openapi()["paths"]
    for value in ("[^/]+", ".+"):  # an id may hold slashes, where no other path is meant
        own = [documented[at] for at in documented if re.fullmatch(re.sub(r"\{[^}]*\}", value, at), path)]
        if own:
            return sorted({method.upper() for methods in own for method in methods})
    return ["GET", "POST"]


def _of_form(error: RequestValidationError) -> problems.Problem:
    """Return the problem of a request that has not the form of the schema: where, and what is wrong there."""
    errors = [
        {"where": "/".join(map(str, line["loc"])), "detail": visible(str(line["msg"]).removeprefix("Value error, "))}
        for line in error.errors()[:MOST_ERRORS]
    ]
    first = errors[0]
    return problems.Problem(422, f"{first['where']}: {first['detail']}", errors=errors)
