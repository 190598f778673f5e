"""Serving: the socket, the process or processes behind it, and their end.

The port is taken and every index is looked at before anything is served, so that what is wrong is one sentence.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from index.errors import UsageError
from index.storage.generations import current_generation
from index.storage.manifest import read_manifest
from web import metrics
from web.logs import start_log
from web.settings import ServeSettings

APPLICATION = "web.app:create_app_from_environment"
BACKLOG = 2048
SWITCH = 0.001  # seconds until the thread that prices lets the one that answers run, a fifth of Python's own
KEPT_OPEN = 30  # seconds that a connection without a request is kept
LAST_ANSWERS = 30  # seconds for requests at work when the server ends


def serve(settings: ServeSettings, workers: int, on_ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it. `on_ready` gets the address when requests are answered.

    Raises IndexUnusable for an index that cannot be opened, UsageError for a port that cannot be had.
    """
    for _, folder in settings.indexes:
        read_manifest(current_generation(Path(folder)), files=False)
    listener = listen(settings.host, settings.port)
    address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
    allow_many_files()
    sys.setswitchinterval(SWITCH)
    start_log(items=settings.log_items)
    if workers > 1:
        with tempfile.TemporaryDirectory(prefix="price-serve-") as shared:
            figures, jobs = Path(shared) / "figures", Path(shared) / "jobs"
            figures.mkdir()
            jobs.mkdir()
            os.environ[metrics.SHARED] = str(figures)
            replace(settings, jobs_dir=str(jobs)).to_environment()
            on_ready(address)
            Multiprocess(_config(APPLICATION, workers), sockets=[listener]).run()
        return
    from web.app import create_app
    from web.pricing.indexes import ServedIndex

    opened = {name: ServedIndex.open(name, folder, settings.runtime) for name, folder in settings.indexes}
    server = uvicorn.Server(_config(create_app(settings, opened)))
    on_ready(address)
    server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. UsageError where that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"There is no address {host}: name another with --host.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = (error.strerror or "it cannot be had").lower()
        raise UsageError(f"Port {port} of {host} cannot be listened at ({why}): name another with --port.") from error
    listener.set_inheritable(True)
    return listener


def allow_many_files() -> None:
    """Let the process have as many connections as the system allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(application: ASGIApp | str, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        factory=isinstance(application, str),
        workers=workers,
        access_log=False,  # it would hold the texts of links
        log_config=None,
        server_header=False,
        proxy_headers=False,  # anyone could send them
        timeout_keep_alive=KEPT_OPEN,
        timeout_graceful_shutdown=LAST_ANSWERS,
        ws="none",
        http="h11",
    )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
