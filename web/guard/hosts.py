"""Host and Origin of a request: a page from elsewhere, or a name that was bent to this address, gets no answer.

An address as Host cannot have been bent: that takes a name, which some foreign server resolves to this machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import Problem, as_json

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


def own_names(host: str, given: tuple[str, ...]) -> frozenset[str]:
    """Return the names, in lower case, by which a server that listens at `host` may be called."""
    return frozenset(name.lower() for name in (host, *given, socket.gethostname(), socket.getfqdn(), "localhost"))


class HostGuard:
    """Refuses requests whose Host is not a name of this server, and changes that a page from elsewhere asks for."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http" and (problem := self._problem(Headers(scope=scope), scope["method"])):
            await as_json(problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _problem(self, headers: Headers, method: str) -> Problem | None:
        given = headers.getlist("host")
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if not match or not self._is_own(match[1]):
            return Problem(421, "The server does not go by the name in Host: let `price serve --name` know it.")
        if method in SAFE:
            return None
        origins, site = headers.getlist("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = any(urlsplit(origin).netloc.lower() != given[0].lower() for origin in origins)
        if foreign or site not in ("same-origin", "none"):
            return Problem(403, "The request comes from a page of another site: send it from a page of this one.")
        return None

    def _is_own(self, name: str) -> bool:
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower().rstrip(".") in self.names
        return True
