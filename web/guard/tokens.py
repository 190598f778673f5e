"""Token of a request: as `Authorization: Bearer TOKEN`, or as the password that a browser asks its user for."""

from __future__ import annotations

import base64
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import Problem, as_json

WITHOUT_TOKEN = frozenset({"/healthz", "/readyz"})  # which tell nothing but whether the server can be used
CHALLENGE = {"WWW-Authenticate": 'Basic realm="price", charset="UTF-8"'}


class TokenGuard:
    """Refuses requests that do not bring the token; it is compared in a time that tells nothing of it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http" and scope["path"] not in WITHOUT_TOKEN:
            given = _given(Headers(scope=scope).get("authorization", ""))
            if not hmac.compare_digest(given, self._token):
                detail = "A token is needed: send it as `Authorization: Bearer TOKEN`, or as the password here."
                await as_json(Problem(401, detail, headers=CHALLENGE))(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _given(authorization: str) -> bytes:
    """Return the token that a header brings, empty where it brings none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""
